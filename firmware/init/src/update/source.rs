//! Where a bundle's bytes come from: a file on the board, or a caller that feeds them.
//!
//! Called by `install`. Invariant: no more than what was asked for is read.

use super::install::UpdateError;
use std::fs::File;
use std::io::{self, BufRead, Read, Seek, SeekFrom, Write};
use std::path::{Path, PathBuf};

/// A bundle by ranges.
pub(super) trait Source {
    /// The `length` bytes from `at` are read next, in pieces.
    fn ask(&mut self, at: u64, length: u64) -> io::Result<()>;

    /// The next bytes of what was asked for.
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<()>;

    /// Tells whoever watches how much is done, in bytes.
    fn progress(&mut self, done: u64, total: u64);
}

/// A bundle on the board.
#[derive(Debug)]
pub(super) struct FileSource {
    file: File,
    told: u64,
}

impl FileSource {
    pub(super) fn open(path: &Path) -> Result<FileSource, UpdateError> {
        let file = File::open(path).map_err(|source| UpdateError::Io {
            operation: "open",
            path: PathBuf::from(path),
            source,
        })?;
        Ok(FileSource { file, told: 0 })
    }
}

impl Source for FileSource {
    fn ask(&mut self, at: u64, _length: u64) -> io::Result<()> {
        self.file.seek(SeekFrom::Start(at)).map(drop)
    }

    fn read(&mut self, buffer: &mut [u8]) -> io::Result<()> {
        self.file.read_exact(buffer)
    }

    fn progress(&mut self, done: u64, total: u64) {
        let tenth = done * 10 / total.max(1);
        if tenth > self.told {
            self.told = tenth;
            eprintln!("{}0 %", tenth);
        }
    }
}

/// A bundle that the caller feeds: `need AT LENGTH` on the one side, exactly these bytes on the other.
#[derive(Debug)]
pub(super) struct Feed<R, W> {
    input: R,
    output: W,
    told: u64,
}

impl<R: BufRead, W: Write> Feed<R, W> {
    pub(super) fn new(input: R, output: W) -> Feed<R, W> {
        Feed {
            input,
            output,
            told: 0,
        }
    }

    /// One line to the caller.
    pub(super) fn say(&mut self, line: &str) -> io::Result<()> {
        writeln!(self.output, "{line}")?;
        self.output.flush()
    }
}

impl<R: BufRead, W: Write> Source for Feed<R, W> {
    fn ask(&mut self, at: u64, length: u64) -> io::Result<()> {
        self.say(&format!("need {at} {length}"))
    }

    fn read(&mut self, buffer: &mut [u8]) -> io::Result<()> {
        self.input.read_exact(buffer)
    }

    fn progress(&mut self, done: u64, total: u64) {
        // A hundred lines at most. A caller that is gone is noticed when it is asked for bytes.
        let percent = done * 100 / total.max(1);
        if percent > self.told {
            self.told = percent;
            _ = self.say(&format!("progress {done} {total}"));
        }
    }
}
