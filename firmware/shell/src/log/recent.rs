//! The newest lines of this process's log, in memory, as one file whose beginning is cut off now and then.
//!
//! What `/master/log` and `/slave/log` show. Not a file on disk: a board must not write to its card while nothing happens,
//! and init's journal keeps the lines of every process anyway. Written by the log's subscriber, read by the HTTP servers.
//! Invariants: never more than [`MAX`] bytes; cuts fall between lines, as a rotation's do, so offsets stay valid until then.

use std::io;
use std::sync::{Mutex, PoisonError};

use tracing_subscriber::fmt::MakeWriter;

/// Most bytes kept: some thousand lines; memory that a board of 64 MB can spare.
pub const MAX: usize = 128 * 1024;
/// Bytes that are kept and dropped together.
const HALF: usize = MAX / 2;

static LOG: Mutex<Recent> = Mutex::new(Recent::new());

/// Length of what is kept, and up to `length` bytes of it from `offset`.
pub fn read(offset: u64, length: usize) -> (u64, Vec<u8>) {
    LOG.lock()
        .unwrap_or_else(PoisonError::into_inner)
        .read(offset, length)
}

/// Two halves: the newer one is filled; when it is full the older one is dropped.
#[derive(Debug)]
struct Recent {
    old: Vec<u8>,
    new: Vec<u8>,
}

impl Recent {
    const fn new() -> Self {
        Self {
            old: Vec::new(),
            new: Vec::new(),
        }
    }

    fn push(&mut self, line: &[u8]) {
        // A line longer than a half is cut: nothing else fits the bound.
        let line = &line[..line.len().min(HALF)];
        if self.new.len() + line.len() > HALF {
            std::mem::swap(&mut self.old, &mut self.new);
            self.new.clear();
        }
        self.new.extend_from_slice(line);
    }

    fn read(&self, offset: u64, length: usize) -> (u64, Vec<u8>) {
        let size = self.old.len() + self.new.len();
        let begin = usize::try_from(offset).unwrap_or(usize::MAX).min(size);
        let end = begin.saturating_add(length).min(size);
        let bytes = self.old.iter().chain(&self.new);
        (
            size as u64,
            bytes.skip(begin).take(end - begin).copied().collect(),
        )
    }
}

/// Takes formatted events, one per write.
#[derive(Debug, Clone, Copy)]
pub(super) struct Writer;

impl io::Write for Writer {
    fn write(&mut self, line: &[u8]) -> io::Result<usize> {
        LOG.lock()
            .unwrap_or_else(PoisonError::into_inner)
            .push(line);
        Ok(line.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

impl MakeWriter<'_> for Writer {
    type Writer = Self;

    fn make_writer(&self) -> Self {
        *self
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn old_lines_go_in_halves_and_offsets_hold_between() {
        let mut log = Recent::new();
        let line = vec![b'a'; 1023];
        let lines = HALF / 1023;
        for _ in 0..lines {
            log.push(&line);
        }
        log.push(b"first of the second half\n");
        let (size, tail) = log.read((lines * 1023) as u64, 100);
        assert_eq!(tail, b"first of the second half\n");
        assert_eq!(size as usize, lines * 1023 + tail.len());
        for _ in 0..10 * lines {
            log.push(&line);
            assert!(log.old.len() + log.new.len() <= MAX);
        }
        assert_eq!(log.read(0, 5).1, b"aaaaa");
        assert_eq!(log.read(u64::MAX, 5).1, b"");
        log.push(&vec![b'b'; 2 * MAX]);
        assert!(log.read(0, usize::MAX).1.len() <= MAX);
    }
}
