//! The two forms of the v1 API, and how requests choose between them.
//!
//! Called by the handlers of `POST /api/v1…`. Invariant: types are compared as exact texts, as Mesos does.

use hyper::StatusCode;
use hyper::header::{ACCEPT, CONTENT_TYPE, HeaderMap, HeaderName};

use super::Refusal;

/// In which form a client speaks or wants answers.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Format {
    /// `application/json`
    Json,
    /// `application/x-protobuf`
    Protobuf,
}

impl Format {
    /// The media type, without parameters: clients compare it as a string.
    pub fn media_type(self) -> &'static str {
        match self {
            Self::Json => "application/json",
            Self::Protobuf => "application/x-protobuf",
        }
    }
}

/// The request's Content-Type as Mesos judges it: exact texts, no parameters.
pub fn content_type(headers: &HeaderMap) -> Result<Format, Refusal> {
    match headers.get(CONTENT_TYPE).map(|value| value.as_bytes()) {
        None => Err(Refusal::bad("Expecting 'Content-Type' to be present")),
        Some(b"application/json") => Ok(Format::Json),
        Some(b"application/x-protobuf") => Ok(Format::Protobuf),
        Some(_) => Err(Refusal::new(
            StatusCode::UNSUPPORTED_MEDIA_TYPE,
            "Expecting 'Content-Type' of application/json or application/x-protobuf",
        )),
    }
}

/// The form that `Accept` allows, JSON first. No header allows everything.
pub fn accepted(headers: &HeaderMap) -> Result<Format, Refusal> {
    if !headers.contains_key(ACCEPT) {
        return Ok(Format::Json);
    }
    [Format::Json, Format::Protobuf]
        .into_iter()
        .find(|format| allows(headers, &ACCEPT, format.media_type()))
        .ok_or_else(|| {
            Refusal::new(
                StatusCode::NOT_ACCEPTABLE,
                "Expecting 'Accept' to allow application/json or application/x-protobuf",
            )
        })
}

/// Whether a header with ranges of media types, such as `Accept`, allows this one.
pub fn allows(headers: &HeaderMap, name: &HeaderName, media_type: &str) -> bool {
    let values = headers.get_all(name).iter();
    let mut ranges = values
        .filter_map(|value| value.to_str().ok())
        .flat_map(|value| value.split(','));
    ranges.any(|range| {
        let mut parts = range.split(';').map(str::trim);
        let range = parts.next().unwrap_or_default();
        let is_refused = parts.any(|part| {
            part.strip_prefix("q=")
                .is_some_and(|q| q.parse::<f32>().is_ok_and(|q| q <= 0.0))
        });
        (range == "*/*" || range == "application/*" || range == media_type) && !is_refused
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn accept(text: &str) -> Option<Format> {
        let mut headers = HeaderMap::new();
        headers.insert(ACCEPT, text.parse().expect("a header"));
        accepted(&headers).ok()
    }

    #[test]
    fn accept_prefers_json() {
        assert_eq!(accepted(&HeaderMap::new()), Ok(Format::Json));
        assert_eq!(accept("*/*"), Some(Format::Json));
        assert_eq!(accept("application/x-protobuf"), Some(Format::Protobuf));
        assert_eq!(
            accept("application/x-protobuf, application/json;q=0.5"),
            Some(Format::Json)
        );
        assert_eq!(
            accept("application/json;q=0, application/*"),
            Some(Format::Json)
        );
        assert_eq!(accept("text/html"), None);
    }
}
