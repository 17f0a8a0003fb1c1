//! Query strings, form bodies and path segments: percent-decoding.
//!
//! Pure. Called by the routers and handlers of both daemons.

/// Names and values of a query string or a form.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Query(Vec<(String, String)>);

impl Query {
    /// Reads `a=1&b=2`.
    pub fn parse(text: &str) -> Self {
        let pairs = text.split('&').filter(|pair| !pair.is_empty()).map(|pair| {
            let (name, value) = pair.split_once('=').unwrap_or((pair, ""));
            (decode(name, true), decode(value, true))
        });
        Self(pairs.collect())
    }

    /// The first value of this name.
    pub fn get(&self, name: &str) -> Option<&str> {
        self.0
            .iter()
            .find(|(n, _)| n == name)
            .map(|(_, value)| value.as_str())
    }

    /// All values of this name.
    pub fn all<'a>(&'a self, name: &'a str) -> impl Iterator<Item = &'a str> {
        let of_name = self.0.iter().filter(move |(n, _)| n == name);
        of_name.map(|(_, value)| value.as_str())
    }

    /// The first value of this name as a whole number that may be negative; `Err` is a sentence.
    pub fn signed(&self, name: &str) -> Result<Option<i64>, String> {
        let parse = |text: &str| {
            text.parse()
                .map_err(|_| format!("'{name}' must be a whole number, not '{text}'"))
        };
        self.get(name).map(parse).transpose()
    }

    /// The first value of this name as a number; `Err` is a sentence.
    pub fn number(&self, name: &str) -> Result<Option<u64>, String> {
        let parse = |text: &str| {
            text.parse()
                .map_err(|_| format!("'{name}' must be a whole number, not '{text}'"))
        };
        self.get(name).map(parse).transpose()
    }
}

/// Replaces `%41` by `A`, and in forms `+` by a space. What is not an escape stays as it is.
pub fn decode(text: &str, is_form: bool) -> String {
    let mut out = Vec::with_capacity(text.len());
    let mut bytes = text.bytes();
    while let Some(byte) = bytes.next() {
        let hex = |b: u8| char::from(b).to_digit(16);
        let mut ahead = bytes.clone();
        match (byte, ahead.next().and_then(hex), ahead.next().and_then(hex)) {
            (b'%', Some(high), Some(low)) => {
                out.push((high * 16 + low) as u8);
                bytes = ahead;
            }
            (b'+', ..) if is_form => out.push(b' '),
            _ => out.push(byte),
        }
    }
    String::from_utf8_lossy(&out).into_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn escapes_are_decoded_and_broken_ones_kept() {
        assert_eq!(decode("a%2Fb%20c+d", true), "a/b c d");
        assert_eq!(decode("a+b%", false), "a+b%");
        assert_eq!(decode("%zz%4", false), "%zz%4");
        assert_eq!(decode("slave%281%29", false), "slave(1)");
        let query = Query::parse("offset=5&name=a%3Db&flag");
        assert_eq!(
            (query.get("name"), query.get("flag"), query.number("offset")),
            (Some("a=b"), Some(""), Ok(Some(5)))
        );
        assert!(query.number("name").is_err());
        let query = Query::parse("a=1&b=2&a=3");
        assert_eq!(query.all("a").collect::<Vec<_>>(), ["1", "3"]);
    }
}
