//! Installing on files in place of partitions: whole, interrupted, damaged, foreign.
#![allow(clippy::unwrap_used)]
use super::*;
use crate::slots::{BootPartition, Loader};
use crate::update::source::Feed;
use ed25519_compact::{KeyPair, Seed};
use nesos_base::bundle::{Chunk, File};
use nesos_base::slots::{STATE_AT, State};
use std::io::{BufRead, BufReader, Write};
use std::os::unix::net::UnixStream;

const SEED: [u8; 32] = [5; 32];

/// Files of a version: every content in chunks of 1000 bytes.
fn bundle(board: &str, seed: [u8; 32], files: &[(Place, Vec<u8>)]) -> Vec<u8> {
    let chunks = files
        .iter()
        .flat_map(|(_, bytes)| bytes.chunks(1000))
        .map(|bytes| Chunk {
            digest: content::digest(bytes),
            length: bytes.len() as u32,
        });
    let header = Header {
        board: board.into(),
        version: "2".into(),
        build_id: "new".into(),
        build_time: 1,
        command_line: "ro".into(),
        kernel: "Image".into(),
        device_tree: None,
        files: files
            .iter()
            .map(|(place, bytes)| File {
                place: place.clone(),
                length: bytes.len() as u64,
                digest: content::digest(bytes),
            })
            .collect(),
        chunks: chunks.collect(),
    };
    let pair = KeyPair::from_seed(Seed::new(seed));
    let prelude = Prelude::sign(header, |bytes| *pair.sk.sign(bytes, None)).unwrap();
    let mut all = prelude.bytes().to_vec();
    files.iter().for_each(|(_, bytes)| all.extend(bytes));
    all
}

fn noise(seed: u32, length: usize) -> Vec<u8> {
    let mut state = seed;
    (0..length)
        .map(|_| {
            state = state.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
            (state >> 24) as u8
        })
        .collect()
}

fn new_files() -> Vec<(Place, Vec<u8>)> {
    vec![
        (Place::Boot("Image".into()), noise(1, 5500)),
        (Place::Root, noise(2, 9900)),
    ]
}

struct Rig {
    _folder: tempfile::TempDir,
    board: Board,
}

impl Rig {
    /// A board that runs slot A, in files; slot B has an older version's rest.
    fn new() -> Rig {
        let folder = tempfile::tempdir().unwrap();
        let at = |name: &str| folder.path().join(name);
        let mut disk = vec![0; 64 * 1024];
        for place in STATE_AT {
            disk[place as usize..][..512].copy_from_slice(&State::FRESH.encode());
        }
        fs::write(at("disk"), disk).unwrap();
        for slot in ["slot-a", "slot-b"] {
            fs::create_dir_all(at("boot").join(slot)).unwrap();
        }
        fs::write(at("boot/slot-b/Image"), noise(9, 8000)).unwrap();
        fs::write(at("boot/slot-b/older.dtb"), "x").unwrap();
        fs::write(at("boot/slot-b/committed"), "x").unwrap();
        fs::write(at("a"), noise(7, 20_000)).unwrap();
        fs::write(at("b"), noise(8, 20_000)).unwrap();
        let boot = BootPartition::folder(&at("boot"));
        Rig {
            board: Board {
                name: "rpi3".into(),
                running: Slot::A,
                on_trial: false,
                running_root: at("a"),
                other_root: at("b"),
                slots: Slots::new(Loader::UBoot, at("disk"), boot),
                key: PublicKey(*KeyPair::from_seed(Seed::new(SEED)).pk),
            },
            _folder: folder,
        }
    }

    fn boot_file(&self, name: &str) -> Option<Vec<u8>> {
        fs::read(self.board.slots.boot().path(name)).ok()
    }

    fn other_root(&self, length: usize) -> Vec<u8> {
        fs::read(&self.board.other_root).unwrap()[..length].to_vec()
    }
}

/// A bundle in memory that counts what it was asked for.
struct Memory {
    bytes: Vec<u8>,
    position: usize,
    asked: u64,
    /// Flips a bit in the first answer to this position.
    spoil: Option<usize>,
}

impl Memory {
    fn new(bytes: Vec<u8>) -> Memory {
        Memory {
            bytes,
            position: 0,
            asked: 0,
            spoil: None,
        }
    }
}

impl Source for Memory {
    fn ask(&mut self, at: u64, length: u64) -> io::Result<()> {
        assert!(length <= RANGE_MAX);
        self.position = at as usize;
        self.asked += length;
        Ok(())
    }

    fn read(&mut self, buffer: &mut [u8]) -> io::Result<()> {
        let end = self.position + buffer.len();
        let bytes = self.bytes.get(self.position..end);
        buffer.copy_from_slice(bytes.ok_or(io::ErrorKind::UnexpectedEof)?);
        if let Some(spoil) = self.spoil.filter(|at| (self.position..end).contains(at)) {
            buffer[spoil - self.position] ^= 1;
            self.spoil = None;
        }
        self.position = end;
        Ok(())
    }

    fn progress(&mut self, done: u64, total: u64) {
        assert!(done <= total);
    }
}

fn whole(rig: &Rig, files: &[(Place, Vec<u8>)]) {
    assert_eq!(rig.boot_file("slot-b/Image").unwrap(), files[0].1);
    assert_eq!(rig.other_root(files[1].1.len()), files[1].1);
    let environment = rig.boot_file("slot-b/boot.env").unwrap();
    assert_eq!(environment, b"cmdline=root=PARTUUID=534f454e-03 ro\n");
    assert!(Prelude::parse(&rig.boot_file("slot-b/slot.head").unwrap()).is_ok());
    let state = rig.board.slots.state().unwrap();
    assert_eq!(state, State::FRESH.with_trial());
}

/// Nothing was touched that the boot loader would start.
fn untouched(rig: &Rig) {
    assert_eq!(rig.boot_file("slot-b/Image").unwrap(), noise(9, 8000));
    assert_eq!(rig.other_root(20_000), noise(8, 20_000));
    assert_eq!(rig.board.slots.state().unwrap(), State::FRESH);
}

#[test]
fn a_bundle_is_installed_and_tried_next() {
    let rig = Rig::new();
    let files = new_files();
    let slot = install(&rig.board, &mut Memory::new(bundle("rpi3", SEED, &files))).unwrap();
    assert_eq!(slot, Slot::B);
    whole(&rig, &files);
    assert_eq!(rig.boot_file("slot-b/older.dtb"), None);
    assert!(
        rig.board.slots.boot().is_marked(Slot::A) && !rig.board.slots.boot().is_marked(Slot::B)
    );
}

#[test]
fn a_second_attempt_asks_only_for_what_is_missing() {
    let rig = Rig::new();
    let files = new_files();
    let bytes = bundle("rpi3", SEED, &files);
    let prelude = Prelude::parse(&bytes).unwrap();
    let mut cut = Memory::new(bytes[..bytes.len() - 4000].to_vec());
    let error = install(&rig.board, &mut cut).unwrap_err();
    assert!(matches!(error, UpdateError::Truncated), "{error}");
    assert_eq!(rig.board.slots.state().unwrap(), State::FRESH);
    let mut again = Memory::new(bytes);
    install(&rig.board, &mut again).unwrap();
    whole(&rig, &files);
    assert_eq!(
        again.asked - prelude.content_at(),
        4900,
        "the last five chunks"
    );
}

#[test]
fn what_the_running_slot_has_is_not_asked_for() {
    let rig = Rig::new();
    // Slot A has a version with the same kernel and half of the root.
    let mut old = new_files();
    old[1].1[..5000].copy_from_slice(&noise(3, 5000));
    let old_bundle = bundle("rpi3", SEED, &old);
    let prelude = Prelude::parse(&old_bundle).unwrap();
    let boot = rig.board.slots.boot();
    boot.write("slot-a/slot.head", prelude.bytes()).unwrap();
    boot.write("slot-a/Image", &old[0].1).unwrap();
    fs::write(&rig.board.running_root, &old[1].1).unwrap();
    let files = new_files();
    let bytes = bundle("rpi3", SEED, &files);
    let header = Prelude::parse(&bytes).unwrap().content_at();
    let mut source = Memory::new(bytes);
    install(&rig.board, &mut source).unwrap();
    whole(&rig, &files);
    assert_eq!(source.asked - header, 5000);
    // A running slot that has rotted gives its chunks no longer.
    let rotted = Rig::new();
    let boot = rotted.board.slots.boot();
    boot.write("slot-a/slot.head", prelude.bytes()).unwrap();
    boot.write("slot-a/Image", &noise(4, 5500)).unwrap();
    let mut source = Memory::new(bundle("rpi3", SEED, &files));
    install(&rotted.board, &mut source).unwrap();
    whole(&rotted, &files);
}

#[test]
fn foreign_signatures_boards_and_sizes_are_refused_untouched() {
    let rig = Rig::new();
    let refused = |bytes: Vec<u8>| {
        let error = install(&rig.board, &mut Memory::new(bytes)).unwrap_err();
        untouched(&rig);
        error.to_string()
    };
    let files = new_files();
    assert!(refused(bundle("rpi3", [6; 32], &files)).contains("not signed"));
    assert!(refused(bundle("rpi4", SEED, &files)).contains("for board 'rpi4', this is 'rpi3'"));
    let mut large = files.clone();
    large[1].1 = noise(1, 20_001);
    assert!(refused(bundle("rpi3", SEED, &large)).contains("20001 bytes, more than"));
    let mut changed = bundle("rpi3", SEED, &files);
    let version = changed.windows(2).position(|w| w == b"\x012").unwrap() + 1;
    changed[version] = b'3';
    assert!(refused(changed).contains("not signed"));
    assert!(refused(b"PK".to_vec()).contains("bundle"));
    assert!(refused(bundle("rpi3", SEED, &files)[..40].to_vec()).contains("truncated"));
}

#[test]
fn a_damaged_chunk_is_asked_for_again_and_never_written() {
    let rig = Rig::new();
    let files = new_files();
    let bytes = bundle("rpi3", SEED, &files);
    let mut source = Memory::new(bytes.clone());
    source.spoil = Some(bytes.len() - 10);
    install(&rig.board, &mut source).unwrap();
    whole(&rig, &files);
    // One that stays damaged.
    let rig = Rig::new();
    let mut bytes = bytes;
    let last = bytes.len() - 10;
    bytes[last] ^= 1;
    let error = install(&rig.board, &mut Memory::new(bytes)).unwrap_err();
    assert!(
        error
            .to_string()
            .contains("1 chunks of the bundle are damaged"),
        "{error}"
    );
    assert_eq!(rig.board.slots.state().unwrap(), State::FRESH);
}

#[test]
fn what_is_on_trial_is_not_updated() {
    let mut rig = Rig::new();
    rig.board.on_trial = true;
    let error = install(&rig.board, &mut Memory::new(Vec::new())).unwrap_err();
    assert!(matches!(error, UpdateError::OnTrial));
    untouched(&rig);
}

#[test]
fn a_caller_feeds_what_is_asked_for() {
    let rig = Rig::new();
    let files = new_files();
    let bytes = bundle("rpi3", SEED, &files);
    let (near, far) = UnixStream::pair().unwrap();
    let feeder = std::thread::spawn(move || {
        let mut lines = Vec::new();
        let mut answer = far.try_clone().unwrap();
        for line in BufReader::new(far).lines().map_while(Result::ok) {
            let words: Vec<&str> = line.split(' ').collect();
            if let ["need", at, length] = words[..] {
                let at: usize = at.parse().unwrap();
                let length: usize = length.parse().unwrap();
                answer.write_all(&bytes[at..at + length]).unwrap();
            }
            lines.push(line);
        }
        lines
    });
    let mut feed = Feed::new(BufReader::new(near.try_clone().unwrap()), near);
    install(&rig.board, &mut feed).unwrap();
    feed.say("installed b").unwrap();
    drop(feed);
    whole(&rig, &files);
    let lines = feeder.join().unwrap();
    assert_eq!(lines[0], "need 0 12");
    assert_eq!(lines.last().unwrap(), "installed b");
    assert!(
        lines.contains(&"progress 15400 15400".to_owned()),
        "{lines:?}"
    );
}

#[test]
fn ranges_are_neighbours_within_a_bound() {
    let piece = |content_at, length| Piece {
        chunk: Chunk {
            digest: [0; 32],
            length,
        },
        file: 0,
        at: 0,
        content_at,
    };
    let half = RANGE_MAX as u32 / 2;
    let pieces = [
        piece(0, half),
        piece(u64::from(half), half),
        piece(RANGE_MAX, 10),
        piece(RANGE_MAX + 20, 5),
    ];
    let lengths: Vec<_> = ranges(&pieces).iter().map(|range| range.len()).collect();
    assert_eq!(lengths, [2, 1, 1]);
}

#[test]
fn a_neighbour_is_given_any_part_of_what_runs() {
    let mut rig = Rig::new();
    let files = new_files();
    let bytes = bundle("rpi3", SEED, &files);
    install(&rig.board, &mut Memory::new(bytes.clone())).unwrap();
    rig.board.running = Slot::B;
    std::mem::swap(&mut rig.board.running_root, &mut rig.board.other_root);
    let part = |at: usize, length: usize| {
        let mut read = Vec::new();
        super::super::status::read(&rig.board, at as u64, length as u64, &mut read).unwrap();
        assert_eq!(
            read,
            bytes[at.min(bytes.len())..(at + length).min(bytes.len())],
            "{at} {length}"
        );
    };
    let head = Prelude::parse(&bytes).unwrap().bytes().len();
    for at in [
        0,
        1,
        head - 1,
        head,
        head + 5499,
        head + 5500,
        bytes.len() - 1,
        bytes.len(),
    ] {
        for length in [0, 1, 2, 5500, bytes.len()] {
            part(at, length);
        }
    }
}
