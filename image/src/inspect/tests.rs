//! A small image with all its parts, and what is said of it whole and damaged.
#![allow(clippy::unwrap_used)]
use super::*;
use crate::disk::Layout;
use crate::personal::write_file;
use backhand::compression::Compressor;
use backhand::{FilesystemCompressor, FilesystemWriter, NodeHeader};
use fatfs::{FileSystem, FormatVolumeOptions, FsOptions};
use nesos_base::bundle::{Chunk, File as BundleFile, Header, Place};
use sha2::{Digest, Sha256};

const KERNEL: &[u8] = &[7; (1 << 20) + 5];

fn squashfs() -> Vec<u8> {
    let program = vec![3u8; 300_000];
    let release = "NAME=Nesos\nVERSION_ID=1.2.3\nNESOS_BOARD=\"toy\"\n";
    let mut writer = FilesystemWriter::default();
    writer.set_compressor(FilesystemCompressor::new(Compressor::Zstd, None).unwrap());
    let header = NodeHeader::new(0o755, 0, 0, 1);
    writer.push_dir_all("/etc", header).unwrap();
    writer
        .push_file(release.as_bytes(), "/etc/os-release", header)
        .unwrap();
    writer.push_file(&program[..], "/init", header).unwrap();
    writer.push_symlink("/init", "/sbin", header).unwrap();
    let mut bytes = io::Cursor::new(Vec::new());
    writer.write(&mut bytes).unwrap();
    bytes.into_inner()
}

fn head(root: &[u8]) -> Vec<u8> {
    let file = |place, bytes: &[u8]| BundleFile {
        place,
        length: bytes.len() as u64,
        digest: Sha256::digest(bytes).into(),
    };
    let chunks = [root, KERNEL]
        .into_iter()
        .flat_map(|bytes| bytes.chunks(100_000));
    let header = Header {
        board: "toy".into(),
        version: "1.2.3".into(),
        build_id: "abc".into(),
        build_time: 1,
        command_line: "quiet".into(),
        kernel: "Image".into(),
        device_tree: None,
        files: vec![
            file(Place::Root, root),
            file(Place::Boot("Image".into()), KERNEL),
        ],
        chunks: chunks
            .map(|bytes| Chunk {
                digest: Sha256::digest(bytes).into(),
                length: bytes.len() as u32,
            })
            .collect(),
    };
    Prelude::sign(header, |_| [0; 64]).unwrap().bytes().to_vec()
}

/// The image's bytes, and where its root begins.
fn image() -> (Vec<u8>, usize) {
    let layout = Layout::of_mib(64, 40, 4).unwrap();
    let root = squashfs();
    let files = [
        ("slot-a/Image".to_owned(), KERNEL.to_vec()),
        ("slot-a/slot.head".to_owned(), head(&root)),
        ("cluster.toml".to_owned(), b"name = 'a'\n".to_vec()),
    ];
    let mut boot = vec![0; layout.boot.length as usize];
    fatfs::format_volume(io::Cursor::new(&mut boot), FormatVolumeOptions::new()).unwrap();
    let volume = FileSystem::new(io::Cursor::new(&mut boot), FsOptions::new()).unwrap();
    volume.root_dir().create_dir("slot-a").unwrap();
    for (name, content) in files {
        write_file(&volume.root_dir(), &name, &content).unwrap();
    }
    volume.unmount().unwrap();
    let mut bytes = vec![0; 64 << 20];
    let at = layout.root_a.start as usize;
    for (start, content) in [
        (0, &layout.mbr(7)[..]),
        (layout.boot.start as usize, &boot),
        (at, &root),
    ] {
        bytes[start..start + content.len()].copy_from_slice(content);
    }
    let record = State::committed(Slot::A).encode();
    for start in STATE_AT {
        bytes[start as usize..][..STATE_BYTES].copy_from_slice(&record);
    }
    (bytes, at)
}

fn look(path: &Path, bytes: &[u8]) -> (Contents, Vec<Check>) {
    std::fs::write(path, bytes).unwrap();
    let opened = Opened::open(path).unwrap();
    let contents = opened.contents().unwrap();
    let all = checks(&opened, &contents);
    (contents, all)
}

fn bad(all: &[Check]) -> Vec<(&'static str, String)> {
    let bad = all
        .iter()
        .filter_map(|check| Some((check.name, check.result.clone().err()?)));
    bad.collect()
}

#[test]
fn a_whole_image_is_read_and_passes() {
    let folder = tempfile::tempdir().unwrap();
    let (bytes, _) = image();
    for (name, bytes) in [
        ("raw", bytes.clone()),
        ("packed", zstd::encode_all(&bytes[..], 1).unwrap()),
    ] {
        let (contents, all) = look(&folder.path().join(name), &bytes);
        assert_eq!(bad(&all), []);
        let slot = all.iter().find(|check| check.name == "slot A").unwrap();
        assert_eq!(
            slot.result.as_deref(),
            Ok("toy 1.2.3, 2 files as described")
        );
        let [Ok(Some(root)), Ok(None)] = &contents.roots else {
            panic!("{:?}", contents.roots)
        };
        assert_eq!(root.release["NESOS_BOARD"], "toy");
        assert_eq!(
            (
                root.entries["/init"].bytes,
                root.entries["/sbin"].content.as_str()
            ),
            (300_000, "/init")
        );
        assert_eq!(
            contents.boot.unwrap()["slot-a/Image"].bytes,
            KERNEL.len() as u64
        );
        assert_eq!(contents.config.as_deref(), Some(&b"name = 'a'\n"[..]));
        assert_eq!(
            (contents.records, contents.data),
            ([Some(Some(State::FRESH)); 2], None)
        );
    }
}

#[test]
fn each_damage_is_named() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("image");
    let (whole, root) = image();
    let damaged = |change: &dyn Fn(&mut Vec<u8>)| {
        let mut bytes = whole.clone();
        change(&mut bytes);
        bad(&look(&path, &bytes).1)
    };
    let names =
        |found: &[(&'static str, String)]| found.iter().map(|(name, _)| *name).collect::<Vec<_>>();
    // A byte of a file's content: both the squashfs and its digest tell.
    let found = damaged(&|bytes| bytes[root + 100] ^= 1);
    assert!(names(&found).contains(&"slot A"), "{found:?}");
    let found = damaged(&|bytes| bytes[root + 40..root + 48].fill(0x7f));
    assert!(
        found[0].1.contains("bytes in a partition of 4194304"),
        "{found:?}"
    );
    let found = damaged(&|bytes| bytes[root..root + 96].fill(0));
    assert_eq!(names(&found), ["root A", "slot A"]);
    let at = whole.windows(64).position(|part| part == [7; 64]).unwrap();
    let found = damaged(&|bytes| bytes[at + 64] ^= 1);
    assert!(names(&found).contains(&"slot A"), "{found:?}");
    let found = damaged(&|bytes| {
        bytes[8192] ^= 1;
        bytes[12288] ^= 1;
    });
    assert_eq!(names(&found), ["record"]);
}

#[test]
fn no_damage_ends_the_program() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("image");
    let (whole, root) = image();
    std::fs::write(&path, &whole).unwrap();
    let length = squashfs().len();
    let file = std::fs::OpenOptions::new().write(true).open(&path).unwrap();
    let mut random = 88_172_645_463_325_252_u64;
    let mut next = |below: usize| {
        random ^= random << 13;
        random ^= random >> 7;
        random ^= random << 17;
        (random % below as u64) as usize
    };
    for _ in 0..150 {
        // Tables are at the end of a squashfs, numbers at its beginning, those of the FAT in its first sectors.
        let places = [
            root + next(96),
            root + length - 1 - next(600.min(length)),
            (1 << 20) + next(64),
            root + next(length),
        ];
        let at = places[next(places.len())];
        file.write_all_at(&[next(256) as u8], at as u64).unwrap();
        if let Ok(opened) = Opened::open(&path) {
            let contents = opened.contents().unwrap();
            checks(&opened, &contents);
        }
        file.write_all_at(&whole[at..=at], at as u64).unwrap();
    }
}
