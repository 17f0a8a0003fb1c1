//! An answer that is nothing but a status, a sentence and perhaps a header.
//!
//! Made here and by handlers; each daemon turns it into its own kind of response.

use std::borrow::Cow;

use hyper::StatusCode;
use hyper::header::{ALLOW, HeaderName};

/// Why a request is not answered with what it asked for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Refusal {
    /// The status.
    pub status: StatusCode,
    /// The body: plain text for people.
    pub sentence: Cow<'static, str>,
    /// One more header.
    pub header: Option<(HeaderName, String)>,
}

impl Refusal {
    /// A status and a sentence.
    pub fn new(status: StatusCode, sentence: impl Into<Cow<'static, str>>) -> Self {
        Self {
            status,
            sentence: sentence.into(),
            header: None,
        }
    }

    /// 400
    pub fn bad(sentence: impl Into<Cow<'static, str>>) -> Self {
        Self::new(StatusCode::BAD_REQUEST, sentence)
    }

    /// 404
    pub fn not_found(sentence: impl Into<Cow<'static, str>>) -> Self {
        Self::new(StatusCode::NOT_FOUND, sentence)
    }

    /// 405 in Mesos's words.
    pub fn method(allowed: &'static str, received: &hyper::Method) -> Self {
        let sentence = format!(
            "405 Method Not Allowed. Expecting one of {{ '{allowed}' }}, but received '{received}'."
        );
        Self {
            header: Some((ALLOW, allowed.into())),
            ..Self::new(StatusCode::METHOD_NOT_ALLOWED, sentence)
        }
    }
}
