//! Headers of bundles: sound ones read back, unsound ones are refused by the field. Not here: installing (`init::update`).
#![allow(clippy::unwrap_used)]
use super::*;
use alloc::vec;

fn chunk(length: u32) -> Chunk {
    Chunk {
        digest: [length as u8; 32],
        length,
    }
}

fn header() -> Header {
    Header {
        board: "rpi3".into(),
        version: "1.2.0".into(),
        build_id: "abc".into(),
        build_time: 1_800_000_000,
        command_line: "ro quiet".into(),
        kernel: "Image.gz".into(),
        device_tree: None,
        files: vec![
            File {
                place: Place::Boot("Image.gz".into()),
                length: 300,
                digest: [1; 32],
            },
            File {
                place: Place::Root,
                length: 50,
                digest: [2; 32],
            },
        ],
        chunks: vec![chunk(200), chunk(100), chunk(50)],
    }
}

fn signed(header: Header) -> Prelude {
    Prelude::sign(header, |bytes| [bytes.len() as u8; SIGNATURE]).unwrap()
}

/// What a header that is written although it is unsound is refused with.
fn refusal(change: impl FnOnce(&mut Header)) -> BundleError {
    let mut header = header();
    change(&mut header);
    let encoded = postcard::to_allocvec(&header).unwrap();
    let mut bytes: Vec<u8> = MAGIC.into();
    bytes.extend((encoded.len() as u32).to_le_bytes());
    bytes.extend(encoded);
    bytes.extend([0; SIGNATURE]);
    let parsed = Prelude::parse(&bytes).unwrap_err();
    assert_eq!(
        Prelude::sign(header, |_| [0; SIGNATURE]).unwrap_err(),
        parsed
    );
    parsed
}

#[test]
fn a_prelude_reads_back_whatever_follows_it() {
    let made = signed(header());
    let mut bytes = made.bytes().to_vec();
    bytes.extend(b"content");
    let read = Prelude::parse(&bytes).unwrap();
    assert_eq!(read, made);
    let (message, signature) = read.signed();
    assert_eq!(signature, [message.len() as u8; SIGNATURE]);
    assert_eq!(read.total(), made.bytes().len() as u64 + 350);
}

#[test]
fn pieces_know_their_places() {
    let header = header();
    let pieces: Vec<_> = header
        .pieces()
        .map(|p| (p.file, p.at, p.content_at))
        .collect();
    assert_eq!(pieces, [(0, 0, 0), (0, 200, 200), (1, 0, 300)]);
}

#[test]
fn every_truncation_is_named() {
    let bytes = signed(header()).bytes().to_vec();
    for length in 0..bytes.len() {
        let error = Prelude::parse(&bytes[..length]).unwrap_err();
        assert!(
            matches!(error, BundleError::Truncated { .. }),
            "{length}: {error}"
        );
    }
    assert_eq!(Prelude::parse(b"PK\x03\x04"), Err(BundleError::Magic));
    let mut long = bytes.clone();
    long[8..12].copy_from_slice(&u32::MAX.to_le_bytes());
    assert_eq!(
        Prelude::parse(&long),
        Err(BundleError::HeaderLength(u32::MAX as usize))
    );
    // A byte more in the header than it says.
    let mut trailing = bytes.clone();
    let length = u32::from_le_bytes(*bytes[8..].first_chunk().unwrap());
    trailing[8..12].copy_from_slice(&(length + 1).to_le_bytes());
    trailing.push(0);
    assert_eq!(Prelude::parse(&trailing), Err(BundleError::Header));
}

#[test]
fn unsound_headers_name_the_field() {
    let field = |change: fn(&mut Header)| match refusal(change) {
        BundleError::Field { field, .. } => field,
        other => panic!("{other}"),
    };
    assert_eq!(field(|h| h.board = "../x".into()), "board");
    assert_eq!(field(|h| h.board.clear()), "board");
    assert_eq!(field(|h| h.version = "1\n2".into()), "version");
    assert_eq!(field(|h| h.command_line = "x".repeat(1025)), "command_line");
    assert_eq!(
        field(|h| h.files[0].place = Place::Boot("a/b".into())),
        "files"
    );
    assert_eq!(
        field(|h| h.files[0].place = Place::Boot("..".into())),
        "files"
    );
    assert_eq!(field(|h| h.files[0].place = Place::Root), "files");
    assert_eq!(
        field(|h| h.files[1].place = Place::Boot("x".into())),
        "files"
    );
    assert_eq!(field(|h| h.files[0].length = 0), "files");
    assert_eq!(field(|h| h.kernel = "zImage".into()), "kernel");
    assert_eq!(field(|h| h.kernel.clear()), "kernel");
    assert_eq!(
        field(|h| h.device_tree = Some("x.dtb".into())),
        "device_tree"
    );
    assert_eq!(field(|h| h.chunks[0].length = CHUNK_MAX + 1), "chunks");
    assert_eq!(field(|h| h.chunks.push(chunk(1))), "chunks");
    assert_eq!(field(|h| h.chunks.truncate(2)), "chunks");
    assert_eq!(field(|h| h.files[1].length = u64::MAX), "chunks");
    // A chunk that reaches over the end of its file.
    assert_eq!(field(|h| h.chunks = vec![chunk(200), chunk(150)]), "chunks");
}

#[test]
fn the_command_line_names_the_slots_root() {
    assert_eq!(
        header().boot_environment(Slot::B),
        "cmdline=root=PARTUUID=534f454e-03 ro quiet\n"
    );
}

#[test]
fn bytes_at_random_are_refused_without_panic() {
    let good = signed(header()).bytes().to_vec();
    let mut state = 7_u32;
    for _ in 0..20_000 {
        let mut bytes = good.clone();
        for _ in 0..3 {
            state = state.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
            let at = (state >> 8) as usize % bytes.len();
            bytes[at] = (state >> 24) as u8;
        }
        if let Ok(prelude) = Prelude::parse(&bytes) {
            assert_eq!(prelude.header.pieces().count(), prelude.header.chunks.len());
        }
    }
}
