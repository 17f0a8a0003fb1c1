//! Reads the one thing we need from a certificate that rustls has verified: the subject's common name.
//!
//! Not an X.509 parser: chain, signature and validity are rustls's business. Any bytes are survived.

const SEQUENCE: u8 = 0x30;
const SET: u8 = 0x31;
const OBJECT_ID: u8 = 0x06;
const EXPLICIT_VERSION: u8 = 0xa0;
/// Object identifier 2.5.4.3.
const COMMON_NAME: [u8; 3] = [0x55, 4, 3];

/// The subject's common name: the node id in certificates that a master issued.
pub fn common_name(certificate: &[u8]) -> Option<String> {
    let (body, _) = element(certificate, SEQUENCE)?;
    let (mut fields, _) = element(body, SEQUENCE)?;
    if fields.first() == Some(&EXPLICIT_VERSION) {
        fields = skip(fields)?;
    }
    // Serial number, signature algorithm, issuer, validity.
    for _ in 0..4 {
        fields = skip(fields)?;
    }
    let (mut names, _) = element(fields, SEQUENCE)?;
    while !names.is_empty() {
        let (set, rest) = element(names, SET)?;
        let (pair, _) = element(set, SEQUENCE)?;
        let (kind, value) = element(pair, OBJECT_ID)?;
        if kind == COMMON_NAME {
            let (_, text, _) = any(value)?;
            return core::str::from_utf8(text).ok().map(Into::into);
        }
        names = rest;
    }
    None
}

/// Content of the first element, which must have this tag, and what follows it.
fn element(bytes: &[u8], tag: u8) -> Option<(&[u8], &[u8])> {
    let (found, content, rest) = any(bytes)?;
    (found == tag).then_some((content, rest))
}

fn skip(bytes: &[u8]) -> Option<&[u8]> {
    any(bytes).map(|(_, _, rest)| rest)
}

fn any(bytes: &[u8]) -> Option<(u8, &[u8], &[u8])> {
    let (&tag, rest) = bytes.split_first()?;
    let (&first, rest) = rest.split_first()?;
    let (len, rest) = match first {
        0..=0x7f => (usize::from(first), rest),
        0x81 => (usize::from(*rest.first()?), rest.get(1..)?),
        0x82 => (
            usize::from(u16::from_be_bytes([*rest.first()?, *rest.get(1)?])),
            rest.get(2..)?,
        ),
        // Our certificates have a few hundred bytes.
        _ => return None,
    };
    Some((tag, rest.get(..len)?, rest.get(len..)?))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn broken_bytes_have_no_name() {
        for bad in [
            &[][..],
            &[0x30],
            &[0x30, 0x82, 1],
            &[0x30, 2, 0x30, 0],
            &[0x30, 0x84, 0, 0, 0, 1],
        ] {
            assert_eq!(common_name(bad), None);
        }
    }
}
