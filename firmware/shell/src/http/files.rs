//! `/files/browse|read|download|debug` and LIST_FILES, READ_FILE as far as both daemons answer them alike.
//!
//! Which files there are is each daemon's business, and so is opening them. Invariant: no answer holds more than
//! [`MAX_READ`] bytes of a file, unless it is streamed.

use serde::{Serialize, Serializer};

use super::Refusal;
use super::query::Query;
use crate::log::recent;

/// Most bytes of a file in one answer (Mesos: 16 pages).
pub const MAX_READ: u64 = 64 * 1024;

/// The part of a file that is asked for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Part {
    /// `None`: only the file's length.
    pub offset: Option<u64>,
    /// At most [`MAX_READ`].
    pub length: u64,
}

impl Part {
    /// Reads `?offset=&length=`. Without an offset, or with -1, only the length is asked for.
    pub fn of(query: &Query) -> Result<Self, Refusal> {
        let number = |name| query.signed(name).map_err(Refusal::bad);
        let (offset, length) = (number("offset")?, number("length")?);
        let offset = offset.unwrap_or(-1);
        if offset < -1 {
            return Err(Refusal::bad(format!("Negative offset provided: {offset}")));
        }
        let length = length.unwrap_or(-1);
        if length < -1 {
            return Err(Refusal::bad(format!("Negative length provided: {length}")));
        }
        Ok(Self {
            offset: u64::try_from(offset).ok(),
            length: u64::try_from(length).unwrap_or(MAX_READ).min(MAX_READ),
        })
    }

    /// What READ_FILE asks for: no length is as much as there may be.
    pub fn from_call(offset: u64, length: Option<u64>) -> Self {
        Self {
            offset: Some(offset),
            length: length.unwrap_or(MAX_READ).min(MAX_READ),
        }
    }
}

/// A part of a file, and how long the file is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Piece {
    /// Of the whole file.
    pub size: u64,
    /// The bytes asked for.
    pub data: Vec<u8>,
}

impl Piece {
    /// Of the newest lines of this process's log.
    pub fn of_log(part: Part) -> Self {
        let length = if part.offset.is_some() {
            part.length
        } else {
            0
        };
        let (size, data) = recent::read(part.offset.unwrap_or(0), length as usize);
        Self { size, data }
    }

    /// The answer of `/files/read`: an offset that was not given is the file's length. What is not UTF-8 is replaced.
    pub fn to_json(&self, part: Part) -> Vec<u8> {
        #[derive(Serialize)]
        struct Read<'a> {
            offset: u64,
            data: &'a str,
        }
        let read = Read {
            offset: part.offset.unwrap_or(self.size),
            data: &String::from_utf8_lossy(&self.data),
        };
        // Two plain fields cannot fail.
        serde_json::to_vec(&read).unwrap_or_default()
    }
}

/// The `path` of the query, without slashes at its end.
pub fn path(query: &Query) -> Result<&str, Refusal> {
    match query.get("path").filter(|path| !path.is_empty()) {
        Some(path) => Ok(path.trim_end_matches('/')),
        None => Err(Refusal::bad("Expecting 'path=value' in query.")),
    }
}

/// 404 for a path that is no file here.
pub fn missing() -> Refusal {
    Refusal::not_found("There is no such file here.")
}

/// One entry of a directory; as JSON, one element of the answer of `/files/browse`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Entry {
    /// Group's name, or its number.
    pub gid: String,
    /// As `stat` tells it; `-rw-r--r--` in JSON.
    #[serde(serialize_with = "as_text")]
    pub mode: u32,
    /// Last change, seconds since 1970.
    pub mtime: i64,
    /// Hard links.
    pub nlink: u64,
    /// The path asked for, and this entry's name.
    pub path: String,
    /// Bytes.
    pub size: u64,
    /// Owner's name, or its number.
    pub uid: String,
}

fn as_text<S: Serializer>(mode: &u32, serializer: S) -> Result<S::Ok, S::Error> {
    serializer.serialize_str(&mode_text(*mode))
}

/// As `ls -l` shows it: `-rw-r--r--`.
pub fn mode_text(mode: u32) -> String {
    let kind = match mode & 0o170_000 {
        0o040_000 => 'd',
        0o120_000 => 'l',
        0o010_000 => 'p',
        0o140_000 => 's',
        0o020_000 => 'c',
        0o060_000 => 'b',
        _ => '-',
    };
    let bits = (0..9).map(|at| {
        let is_set = mode & (0o400 >> at) != 0;
        if is_set { ['r', 'w', 'x'][at % 3] } else { '-' }
    });
    std::iter::once(kind).chain(bits).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn parts_are_bounded_and_minus_one_asks_for_the_length() {
        let part = |text: &str| Part::of(&Query::parse(text));
        let of = |offset, length| Ok(Part { offset, length });
        assert_eq!(part(""), of(None, MAX_READ));
        assert_eq!(part("offset=-1&length=5"), of(None, 5));
        assert_eq!(part("offset=7&length=-1"), of(Some(7), MAX_READ));
        assert_eq!(part("offset=7&length=99999999"), of(Some(7), MAX_READ));
        for bad in ["offset=-2", "length=-2", "offset=x", "length=1.5"] {
            assert!(part(bad).is_err(), "{bad}");
        }
    }

    #[test]
    fn answers_have_mesoss_keys() {
        let part = Part::from_call(3, Some(2));
        let piece = Piece {
            size: 9,
            data: vec![b'a', 0xff],
        };
        assert_eq!(
            piece.to_json(part),
            "{\"offset\":3,\"data\":\"a\u{fffd}\"}".as_bytes()
        );
        let entry = Entry {
            path: "/s/out".into(),
            nlink: 1,
            size: 5,
            mtime: 7,
            mode: 0o100_644,
            uid: "root".into(),
            gid: "0".into(),
        };
        assert_eq!(
            serde_json::to_string(&[entry]).expect("plain"),
            r#"[{"gid":"0","mode":"-rw-r--r--","mtime":7,"nlink":1,"path":"/s/out","size":5,"uid":"root"}]"#
        );
        assert_eq!(mode_text(0o040_750), "drwxr-x---");
    }
}
