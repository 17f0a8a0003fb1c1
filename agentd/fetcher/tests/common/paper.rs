//! Reads any bytes as archives and checks what comes out of them. Shared by a test and the fuzz target `archives`.

use std::io::{Seek, Write};
use std::path::{Component, Path};

use nesos_fetcher::{Budget, Entry, Kind, Metered, Sink, UnpackError, unpack_tar, unpack_zip};

/// Bytes that an archive may take.
const MOST: u64 = 1 << 20;

/// Makes nothing, and checks what would be made.
#[derive(Default)]
struct Paper {
    bytes: u64,
}

impl Paper {
    fn check(&self, entry: &Entry) {
        let plain = |path: &Path| {
            path.components()
                .all(|part| matches!(part, Component::Normal(_)))
        };
        assert!(plain(&entry.path), "{entry:?}");
        assert!(entry.mode <= 0o777, "{entry:?}");
        match &entry.kind {
            Kind::Hard(existing) => assert!(plain(existing), "{entry:?}"),
            Kind::Symbolic(target) => assert!(!target.is_absolute(), "{entry:?}"),
            _ => {}
        }
    }
}

impl Sink for Paper {
    fn file(&mut self, entry: &mut Entry, bytes: &mut Metered<'_>) -> Result<(), UnpackError> {
        self.check(entry);
        let mut buffer = [0; 4096];
        loop {
            let count = bytes.next(&mut buffer)?;
            self.bytes += count as u64;
            assert!(self.bytes <= MOST);
            if count == 0 {
                return Ok(());
            }
        }
    }

    fn directory(&mut self, entry: &Entry) -> Result<(), UnpackError> {
        self.check(entry);
        Ok(())
    }

    fn link(&mut self, entry: &Entry) -> Result<(), UnpackError> {
        self.check(entry);
        Ok(())
    }

    fn finish(&mut self) -> Result<(), UnpackError> {
        Ok(())
    }
}

/// As tar, with any compression, and as zip. What it is not is an error; nothing else may happen.
pub(crate) fn archives(bytes: &[u8]) {
    let compression = nesos_fetcher::Compression::detect(bytes);
    if let Ok(mut plain) = nesos_fetcher::expand(bytes, compression) {
        let _ = unpack_tar(&mut plain, &mut Paper::default(), &mut Budget::new(MOST));
    }
    let mut file = tempfile::tempfile().expect("scratch file");
    file.write_all(bytes)
        .and_then(|()| file.rewind())
        .expect("written");
    let _ = unpack_zip(file, &mut Paper::default(), &mut Budget::new(MOST));
}
