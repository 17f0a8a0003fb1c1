//! gzip: what it makes of an answer's body, and of a request's.
//!
//! Called by the router for answers and by `intake` for bodies. Streams are never compressed (their records must leave
//! one by one), nor small answers, as in Mesos. Invariant: a body is never inflated beyond the bound its caller names.

use std::io::{Read, Write};

use flate2::Compression;
use flate2::read::MultiGzDecoder;
use flate2::write::GzEncoder;
use hyper::header::{
    ACCEPT_ENCODING, CONTENT_ENCODING, CONTENT_LENGTH, HeaderMap, HeaderValue, VARY,
};
use hyper::{Response, StatusCode};

use super::answer::{self, Body};

/// Smaller answers are sent as they are (Mesos's value).
const MIN_BYTES: usize = 1024;
/// Larger ones are compressed beside the engine's thread, which must not stand still for them: a megabyte takes 10 ms.
const MAX_INLINE: usize = 64 * 1024;
const GZIP: &str = "gzip";

/// Why a body cannot be inflated.
#[derive(Debug, thiserror::Error)]
pub(super) enum InflateError {
    /// It is no gzip.
    #[error("Failed to decompress the body: {0}")]
    Damaged(#[from] std::io::Error),
    /// It grows beyond the bound.
    #[error("The body is larger than {0} bytes when decompressed")]
    TooLarge(usize),
}

/// Whether the client takes gzip.
pub(super) fn is_accepted(headers: &HeaderMap) -> bool {
    let ranges = headers.get_all(ACCEPT_ENCODING).iter();
    let mut ranges = ranges.filter_map(|value| value.to_str().ok());
    ranges.any(|value| value.split(',').any(names_gzip))
}

/// The answer, compressed if that is worth it.
pub(super) async fn compressed(mut response: Response<Body>) -> Response<Body> {
    if let Some(reader) = response.body_mut().reader() {
        if reader.len() < MIN_BYTES || reader.pack().await.is_err() {
            return response;
        }
        return marked(response);
    }
    let Some(bytes) = response.body().bytes() else {
        return response;
    };
    if bytes.len() < MIN_BYTES || response.headers().contains_key(CONTENT_ENCODING) {
        return response;
    }
    let packed = if bytes.len() > MAX_INLINE {
        let packing = tokio::task::spawn_blocking(move || pack(&[bytes]));
        packing
            .await
            .unwrap_or_else(|e| Err(std::io::Error::other(e)))
    } else {
        pack(&[bytes])
    };
    // Whoever takes gzip takes plain bytes too.
    let Ok(packed) = packed else {
        return response;
    };
    *response.body_mut() = Body::whole(packed);
    marked(response)
}

fn marked(mut response: Response<Body>) -> Response<Body> {
    let headers = response.headers_mut();
    headers.remove(CONTENT_LENGTH);
    headers.insert(CONTENT_ENCODING, HeaderValue::from_static(GZIP));
    headers.insert(VARY, HeaderValue::from_static("Accept-Encoding"));
    response
}

/// Whether the request's body is compressed; a form that is not gzip is refused.
pub(super) fn is_used(headers: &HeaderMap) -> Result<bool, Box<Response<Body>>> {
    match headers.get(CONTENT_ENCODING).map(|value| value.as_bytes()) {
        None | Some(b"identity") => Ok(false),
        Some(b"gzip") => Ok(true),
        Some(_) => Err(Box::new(answer::text(
            StatusCode::UNSUPPORTED_MEDIA_TYPE,
            "Expecting 'Content-Encoding' of gzip, or none",
        ))),
    }
}

/// What was compressed, at most `bound` bytes. It is parsed and dropped at once, so one of these exists at a time.
pub(super) fn inflated(packed: &[u8], bound: usize) -> Result<Vec<u8>, InflateError> {
    let mut plain = Vec::new();
    let mut reader = MultiGzDecoder::new(packed).take(bound as u64 + 1);
    reader.read_to_end(&mut plain)?;
    if plain.len() > bound {
        return Err(InflateError::TooLarge(bound));
    }
    Ok(plain)
}

/// The parts as one compressed body.
pub(super) fn pack(plain: &[impl AsRef<[u8]>]) -> std::io::Result<Vec<u8>> {
    let mut encoder = GzEncoder::new(Vec::new(), Compression::fast());
    for part in plain {
        encoder.write_all(part.as_ref())?;
    }
    encoder.finish()
}

fn names_gzip(range: &str) -> bool {
    let mut parts = range.split(';').map(str::trim);
    let name = parts.next().unwrap_or_default();
    let is_refused = parts.any(|part| {
        part.strip_prefix("q=")
            .is_some_and(|q| q.parse::<f32>().is_ok_and(|q| q <= 0.0))
    });
    (name.eq_ignore_ascii_case(GZIP) || name == "*") && !is_refused
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    #[test]
    fn a_bomb_is_not_inflated_and_damage_is_told() {
        let bomb = pack(&[vec![0; 1 << 20]]).unwrap();
        assert!(bomb.len() < 1 << 14);
        assert_eq!(inflated(&bomb, 1 << 20).unwrap().len(), 1 << 20);
        let error = inflated(&bomb, (1 << 20) - 1).unwrap_err();
        assert!(matches!(error, InflateError::TooLarge(_)));
        for bad in [&bomb[..bomb.len() / 2], b"plain", b"", &bomb[1..]] {
            assert!(matches!(
                inflated(bad, 1 << 20),
                Err(InflateError::Damaged(_))
            ));
        }
    }

    #[test]
    fn clients_say_whether_they_take_gzip() {
        for (text, expected) in [
            ("gzip", true),
            ("deflate, GZIP;q=0.5", true),
            ("*", true),
            ("gzip;q=0", false),
            ("identity", false),
            ("", false),
        ] {
            let mut headers = HeaderMap::new();
            headers.insert(ACCEPT_ENCODING, text.parse().unwrap());
            assert_eq!(is_accepted(&headers), expected, "{text}");
        }
        assert!(!is_accepted(&HeaderMap::new()));
    }
}
