//! journald's native protocol and plain output lines as entries of the ring. Pure; called by `journal`.
//!
//! Invariant: an entry is one printable line of at most [`LINE_MAX`] bytes, whatever a program sends.

/// Longest text of an entry, bytes: four console lines; a panic message with its location fits.
pub(super) const LINE_MAX: usize = 1024;
/// Priority of a record that names none: `info`.
const DEFAULT_PRIORITY: u8 = 6;

/// What one record says.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Record {
    /// 0 (emergency) to 7 (debug), as in syslog.
    pub(super) priority: u8,
    /// The program's name for itself.
    pub(super) identifier: Option<String>,
    /// The message, and the event's own fields as `name=value`.
    pub(super) text: String,
}

impl Record {
    /// Reads a datagram. `None` for one without a message, such as the empty one by which clients probe the socket.
    pub(super) fn parse(datagram: &[u8]) -> Option<Record> {
        let mut record = Record {
            priority: DEFAULT_PRIORITY,
            identifier: None,
            text: String::new(),
        };
        let (mut message, mut fields) = (None, String::new());
        for (name, value) in Fields(datagram) {
            match name {
                b"MESSAGE" => message = Some(value),
                b"PRIORITY" => record.priority = priority(value).unwrap_or(record.priority),
                b"SYSLOG_IDENTIFIER" => record.identifier = Some(printable(value, 32)),
                // tracing-journald marks the fields of an event by this prefix.
                _ if name.starts_with(b"F_") => {
                    fields.push(' ');
                    fields.push_str(&printable(&name[2..], 32).to_ascii_lowercase());
                    fields.push('=');
                    fields.push_str(&printable(value, LINE_MAX));
                }
                _ => {}
            }
        }
        record.text = printable(message?, LINE_MAX);
        record.text.push_str(&fields);
        truncate(&mut record.text, LINE_MAX);
        Some(record)
    }
}

/// Name of a priority, four letters or fewer.
pub(super) fn priority_name(priority: u8) -> &'static str {
    match priority {
        0..=2 => "crit",
        3 => "err",
        4 => "warn",
        5 => "note",
        6 => "info",
        _ => "dbg",
    }
}

/// `bytes` as one line: control characters, which could steer a terminal, become blanks.
pub(super) fn printable(bytes: &[u8], limit: usize) -> String {
    let head = &bytes[..bytes.len().min(limit)];
    let mut text: String = String::from_utf8_lossy(head)
        .chars()
        .map(|c| if c.is_control() { ' ' } else { c })
        .collect();
    truncate(&mut text, limit);
    text.truncate(text.trim_end().len());
    text
}

fn truncate(text: &mut String, limit: usize) {
    if text.len() > limit {
        let end = (0..=limit)
            .rev()
            .find(|at| text.is_char_boundary(*at))
            .unwrap_or(0);
        text.truncate(end);
    }
}

fn priority(value: &[u8]) -> Option<u8> {
    match value {
        [digit @ b'0'..=b'7'] => Some(digit - b'0'),
        _ => None,
    }
}

/// The fields of a datagram; ends at the first that is broken or cut.
struct Fields<'a>(&'a [u8]);

impl<'a> Iterator for Fields<'a> {
    type Item = (&'a [u8], &'a [u8]);

    fn next(&mut self) -> Option<Self::Item> {
        let end = self.0.iter().position(|b| *b == b'\n')?;
        let (line, rest) = (&self.0[..end], &self.0[end + 1..]);
        if let Some(equals) = line.iter().position(|b| *b == b'=') {
            self.0 = rest;
            return Some((&line[..equals], &line[equals + 1..]));
        }
        let (length, rest) = rest.split_first_chunk::<8>()?;
        let length = usize::try_from(u64::from_le_bytes(*length)).ok()?;
        // A record that was cut to the buffer ends in the middle of its largest field: keep what is there.
        let (value, rest) = rest.split_at_checked(length).unwrap_or((rest, &[]));
        self.0 = rest.get(1..).unwrap_or(&[]);
        Some((line, value))
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    fn long(name: &str, value: &[u8]) -> Vec<u8> {
        [
            name.as_bytes(),
            b"\n",
            &(value.len() as u64).to_le_bytes(),
            value,
            b"\n",
        ]
        .concat()
    }

    #[test]
    fn both_field_forms_are_read() {
        let mut datagram = b"PRIORITY=4\nSYSLOG_IDENTIFIER=agentd\n".to_vec();
        datagram.extend(long("MESSAGE", b"join refused\nby master"));
        datagram.extend(b"F_NODE=abc\nCODE_LINE=7\n");
        let record = Record::parse(&datagram).unwrap();
        assert_eq!(record.priority, 4);
        assert_eq!(record.identifier.as_deref(), Some("agentd"));
        assert_eq!(record.text, "join refused by master node=abc");
    }

    #[test]
    fn probes_and_garbage_are_no_records() {
        assert_eq!(Record::parse(b""), None);
        assert_eq!(Record::parse(b"PRIORITY=3\n"), None);
        assert_eq!(Record::parse(b"MESSAGE=unfinished"), None);
        assert_eq!(Record::parse(b"MESSAGE\n\x05\0\0"), None);
        assert_eq!(
            Record::parse(b"PRIORITY=99\nMESSAGE=x\n").unwrap().priority,
            DEFAULT_PRIORITY
        );
    }

    #[test]
    fn a_cut_or_lying_length_keeps_what_is_there_within_the_limit() {
        let mut datagram = long("MESSAGE", &[b'a'; 5000]);
        datagram.truncate(3000);
        assert_eq!(Record::parse(&datagram).unwrap().text, "a".repeat(LINE_MAX));
        let lying = [b"MESSAGE\n".as_slice(), &u64::MAX.to_le_bytes(), b"short"].concat();
        assert_eq!(Record::parse(&lying).unwrap().text, "short");
    }

    #[test]
    fn nothing_that_steers_a_terminal_passes() {
        let record = Record::parse(b"MESSAGE=\x1b[2Jred\x07 \xff\n").unwrap();
        assert!(record.text.chars().all(|c| !c.is_control()));
        assert_eq!(printable("ä".repeat(600).as_bytes(), 1023).len() % 2, 0);
    }
}
