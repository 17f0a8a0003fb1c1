//! JSONP: `?jsonp=name` wraps a JSON answer into a call of that function.
//!
//! Pure. Called by both daemons' routers. Invariant: what stands before the bracket is a name and nothing else.

use super::Refusal;
use super::query::Query;

/// The function's name, if one is asked for.
pub fn callback(query: &Query) -> Result<Option<&str>, Refusal> {
    let Some(name) = query.get("jsonp") else {
        return Ok(None);
    };
    let is_name = !name.is_empty()
        && name
            .bytes()
            .all(|b| b.is_ascii_alphanumeric() || b"_.$".contains(&b));
    if is_name {
        Ok(Some(name))
    } else {
        Err(Refusal::bad("'jsonp' must be the name of a function"))
    }
}

/// The call; its media type is `text/javascript`.
pub fn wrapped(name: &str, json: &[u8]) -> Vec<u8> {
    [name.as_bytes(), b"(", json, b");"].concat()
}
