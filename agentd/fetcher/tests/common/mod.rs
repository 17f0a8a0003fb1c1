//! Archives made by hand, and a place to unpack them in.
#![allow(dead_code, unreachable_pub, clippy::unwrap_used)]

use std::fs::{self, File};
use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use tar::{EntryType, Header};

/// Bytes that every archive may take.
pub const MOST: u64 = 8 << 20;

/// Compresses.
pub type Compress = fn(&[u8]) -> Vec<u8>;

/// Formats, and how to make them.
pub const COMPRESSIONS: [(&str, Compress); 5] = [
    ("tar", |bytes| bytes.to_vec()),
    ("tar.gz", |bytes| through("gzip", bytes)),
    ("tar.bz2", |bytes| through("bzip2", bytes)),
    ("tar.xz", |bytes| through("xz", bytes)),
    ("tar.zst", |bytes| through("zstd", bytes)),
];

/// A folder to unpack into, beside one that nobody may touch.
pub struct Place {
    folder: tempfile::TempDir,
    pub into: PathBuf,
}

impl Place {
    pub fn new() -> Self {
        let folder = tempfile::tempdir().unwrap();
        let into = folder.path().join("into");
        fs::create_dir(&into).unwrap();
        fs::create_dir(folder.path().join("outside")).unwrap();
        fs::write(folder.path().join("outside/kept"), "kept").unwrap();
        Self { folder, into }
    }

    pub fn run(&self, format: &str, archive: &[u8], more: &[&str]) -> (bool, String) {
        let path = self.folder.path().join("archive");
        fs::write(&path, archive).unwrap();
        let output = Command::new(env!("CARGO_BIN_EXE_nesos-fetcher"))
            .args(["unpack", "--format", format, &format!("--max-bytes={MOST}")])
            .args(more)
            .current_dir(&self.into)
            .stdin(File::open(path).unwrap())
            .output()
            .unwrap();
        assert!(output.status.code().is_some(), "{:?}", output.status);
        let said = String::from_utf8_lossy(&output.stderr).trim().to_string();
        (output.status.success(), said)
    }

    pub fn unpacks(&self, format: &str, archive: &[u8]) {
        let (done, said) = self.run(format, archive, &[]);
        assert!(done, "{format}: {said}");
    }

    /// What it says against it.
    pub fn refuses(&self, format: &str, archive: &[u8]) -> String {
        let (done, said) = self.run(format, archive, &[]);
        assert!(!done, "{format}: unpacked");
        assert!(
            !said.is_empty() && !said.contains("panicked"),
            "{format}: {said}"
        );
        said
    }

    /// Nothing stands beside the two folders and the archive, and nothing has changed there.
    pub fn is_intact(&self) {
        let count = |path: &Path| fs::read_dir(path).unwrap().count();
        assert_eq!(count(self.folder.path()), 3);
        assert_eq!(count(&self.folder.path().join("outside")), 1);
        let kept = fs::read_to_string(self.folder.path().join("outside/kept"));
        assert_eq!(kept.unwrap(), "kept");
        assert!(!Path::new("/tmp/escaped").exists());
    }

    /// As `is_intact`, without the archive beside it.
    pub fn nothing_outside(&self) {
        fs::write(self.folder.path().join("archive"), "").unwrap();
        self.is_intact();
    }

    /// Bytes of all files.
    pub fn size(&self) -> u64 {
        let files = fs::read_dir(&self.into).unwrap().flatten();
        files.map(|file| file.metadata().unwrap().len()).sum()
    }
}

fn through(program: &str, bytes: &[u8]) -> Vec<u8> {
    let mut child = Command::new(program)
        .arg("-c")
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    let mut stdin = child.stdin.take().unwrap();
    let bytes = bytes.to_vec();
    let writer = std::thread::spawn(move || stdin.write_all(&bytes));
    let output = child.wait_with_output().unwrap();
    writer.join().unwrap().unwrap();
    output.stdout
}

fn header(kind: EntryType, path: &str, size: u64) -> Header {
    let mut header = Header::new_gnu();
    header.set_entry_type(kind);
    // As it is: `set_path` would refuse what these tests are for.
    let name = &mut header.as_gnu_mut().unwrap().name;
    let length = path.len().min(name.len());
    name[..length].copy_from_slice(&path.as_bytes()[..length]);
    header.set_size(size);
    header.set_mode(0o644);
    header.set_uid(0);
    header.set_gid(0);
    header.set_mtime(1_000_000_000);
    header.set_cksum();
    header
}

fn padded(header: &Header, data: &[u8]) -> Vec<u8> {
    let mut bytes = header.as_bytes().to_vec();
    bytes.extend_from_slice(data);
    bytes.resize(bytes.len().next_multiple_of(512), 0);
    bytes
}

/// A file, with a long name if need be.
pub fn file(path: &str, text: &str) -> Vec<u8> {
    let mut bytes = Vec::new();
    if path.len() > 100 {
        let name = header(EntryType::GNULongName, "././@LongLink", path.len() as u64);
        bytes = padded(&name, path.as_bytes());
    }
    bytes.extend(padded(
        &header(EntryType::Regular, path, text.len() as u64),
        text.as_bytes(),
    ));
    bytes
}

pub fn folder(path: &str) -> Vec<u8> {
    let mut header = header(EntryType::Directory, path, 0);
    header.set_mode(0o755);
    header.set_cksum();
    padded(&header, b"")
}

pub fn special(kind: EntryType, path: &str) -> Vec<u8> {
    padded(&header(kind, path, 0), b"")
}

pub fn link(kind: EntryType, path: &str, target: &str) -> Vec<u8> {
    let mut header = header(kind, path, 0);
    header.as_gnu_mut().unwrap().linkname[..target.len()].copy_from_slice(target.as_bytes());
    header.set_cksum();
    padded(&header, b"")
}

/// A file with a PAX header before it.
pub fn extended(records: &[(&str, &str)], path: &str, text: &str) -> Vec<u8> {
    let mut data = Vec::new();
    for (key, value) in records {
        let rest = key.len() + value.len() + 3;
        let mut length = rest;
        while length != rest + length.to_string().len() {
            length = rest + length.to_string().len();
        }
        data.extend(format!("{length} {key}={value}\n").into_bytes());
    }
    let mut bytes = padded(&header(EntryType::XHeader, "pax", data.len() as u64), &data);
    bytes.extend(file(path, text));
    bytes
}

/// A name of so many bytes, which are not there.
pub fn long_name(size: u64) -> Vec<u8> {
    padded(&header(EntryType::GNULongName, "name", size), b"")
}

/// Makes the first entry claim another size.
pub fn claim(archive: &mut [u8], size: u64) {
    change(archive, |header| header.set_size(size));
}

/// Changes the first header.
pub fn change(archive: &mut [u8], change: impl FnOnce(&mut Header)) {
    let mut changed = Header::new_gnu();
    changed.as_mut_bytes().copy_from_slice(&archive[..512]);
    change(&mut changed);
    changed.set_cksum();
    archive[..512].copy_from_slice(changed.as_bytes());
}

pub fn tar_of(entries: &[Vec<u8>]) -> Vec<u8> {
    let mut bytes = entries.concat();
    bytes.resize(bytes.len() + 1024, 0);
    bytes
}

/// A zip of stored entries with any names and modes.
pub fn raw_zip(entries: &[(&str, u32, &[u8])]) -> Vec<u8> {
    let (mut bytes, mut directory) = (Vec::new(), Vec::new());
    for (path, mode, data) in entries {
        let offset = bytes.len() as u32;
        let mut crc = flate2::Crc::new();
        crc.update(data);
        let mut common = Vec::new();
        for field in [20u16, 0, 0, 0, 0] {
            common.extend(field.to_le_bytes());
        }
        for field in [crc.sum(), data.len() as u32, data.len() as u32] {
            common.extend(field.to_le_bytes());
        }
        common.extend((path.len() as u16).to_le_bytes());
        common.extend(0u16.to_le_bytes());
        bytes.extend(0x0403_4b50u32.to_le_bytes());
        bytes.extend(&common);
        bytes.extend(path.as_bytes());
        bytes.extend(*data);
        directory.extend(0x0201_4b50u32.to_le_bytes());
        directory.extend(0x0314u16.to_le_bytes());
        directory.extend(&common);
        directory.extend([0; 6]);
        directory.extend((mode << 16).to_le_bytes());
        directory.extend(offset.to_le_bytes());
        directory.extend(path.as_bytes());
    }
    let begin = bytes.len() as u32;
    bytes.extend(&directory);
    bytes.extend(0x0605_4b50u32.to_le_bytes());
    bytes.extend([0; 4]);
    for _ in 0..2 {
        bytes.extend((entries.len() as u16).to_le_bytes());
    }
    bytes.extend((directory.len() as u32).to_le_bytes());
    bytes.extend(begin.to_le_bytes());
    bytes.extend([0; 2]);
    bytes
}

/// Makes the second entry of the directory point to the first one's bytes.
pub fn overlap(zip: &mut [u8]) {
    let signature = 0x0201_4b50u32.to_le_bytes();
    let second = zip
        .windows(4)
        .rposition(|bytes| bytes == signature)
        .unwrap();
    zip[second + 42..second + 46].copy_from_slice(&0u32.to_le_bytes());
}
