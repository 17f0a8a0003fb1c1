//! The two halves of a board's disk, and which of them the boot loader starts: the record that U-Boot's script and the board both read
//! and write, and the names of systemd-boot's entries.
//!
//! No I/O: the image builder writes the first record, `init` and its updater the later ones, the boot loader counts tries. Invariant: the
//! committed slot has no counter, only a trial has, so no number of power cuts or resets can use up the slot that works.

use alloc::format;
use alloc::string::String;
use alloc::vec::Vec;
use core::fmt;

/// Where the two copies of the record are, in bytes from the start of the disk: in the gap before the first partition, in two erase
/// blocks of the smallest kind, so that a torn write spoils one of them at most.
pub const STATE_AT: [u64; 2] = [8192, 12288];
/// Bytes of the record: one sector, the unit that disks write whole.
pub const STATE_BYTES: usize = 512;
/// Tries of a slot on trial. One: what does not come up once is not worth another outage, and an orderly restart gives the try back.
pub const TRIES: u8 = 1;
/// The most tries that a record may hold: U-Boot's script counts them down without arithmetic.
pub const TRIES_MAX: u8 = 3;
/// The disk signature of images; partitions are named by it on kernels' command lines.
pub const DISK_SIGNATURE: u32 = 0x534f_454e;

const COMMITTED: &str = "nesos_slot";
const TRIAL: &str = "nesos_trial";
const TRIES_LEFT: &str = "nesos_tries";
const NO_TRIAL: &str = "-";

/// Half of an image: kernel, device trees, command line and root.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Slot {
    /// The one that a fresh image has filled.
    A,
    /// The other.
    B,
}

impl Slot {
    /// Both, in order.
    pub const ALL: [Slot; 2] = [Slot::A, Slot::B];

    /// The slot that is not this one.
    pub const fn other(self) -> Slot {
        match self {
            Slot::A => Slot::B,
            Slot::B => Slot::A,
        }
    }

    /// `a` or `b`.
    pub const fn letter(self) -> &'static str {
        match self {
            Slot::A => "a",
            Slot::B => "b",
        }
    }

    /// Its folder on the boot partition.
    pub const fn folder(self) -> &'static str {
        match self {
            Slot::A => "slot-a",
            Slot::B => "slot-b",
        }
    }

    /// Number of its root's partition.
    pub const fn partition(self) -> u32 {
        match self {
            Slot::A => 2,
            Slot::B => 3,
        }
    }

    /// Reads `a` or `b`.
    pub fn parse(text: &str) -> Option<Slot> {
        Slot::ALL.into_iter().find(|slot| slot.letter() == text)
    }

    /// What the kernel is told to mount: independent of what it calls the disk.
    pub fn root_argument(self) -> String {
        format!("root=PARTUUID={DISK_SIGNATURE:08x}-{:02}", self.partition())
    }
}

impl fmt::Display for Slot {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Slot::A => "A",
            Slot::B => "B",
        })
    }
}

/// A slot that has yet to prove itself.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Trial {
    /// Which.
    pub slot: Slot,
    /// How often the boot loader may still start it; 0: it was started and has not been committed.
    pub tries: u8,
}

/// What U-Boot's script starts.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct State {
    /// The slot that works.
    pub committed: Slot,
    /// The slot on trial, never the committed one.
    pub trial: Option<Trial>,
}

impl State {
    /// Of a fresh image, and where nothing is readable.
    pub const FRESH: State = State::committed(Slot::A);

    /// `slot` works and nothing is on trial.
    pub const fn committed(slot: Slot) -> State {
        State {
            committed: slot,
            trial: None,
        }
    }

    /// The slot that is not committed goes on trial.
    pub const fn with_trial(self) -> State {
        State {
            committed: self.committed,
            trial: Some(Trial {
                slot: self.committed.other(),
                tries: TRIES,
            }),
        }
    }

    /// An orderly restart before the verdict gives the try back.
    pub fn with_try_given_back(self) -> State {
        State {
            trial: self.trial.map(|trial| Trial {
                tries: (trial.tries + 1).min(TRIES),
                ..trial
            }),
            ..self
        }
    }

    /// What the boot loader does: the slot that it starts, and the record that it leaves. Its script says the same in U-Boot's words.
    pub fn at_boot(self) -> (Slot, State) {
        match self.trial {
            Some(trial) if trial.tries > 0 => (
                trial.slot,
                State {
                    trial: Some(Trial {
                        tries: trial.tries - 1,
                        ..trial
                    }),
                    ..self
                },
            ),
            _ => (self.committed, self),
        }
    }

    /// The sector: an environment as U-Boot's `env export -c` writes it.
    pub fn encode(self) -> [u8; STATE_BYTES] {
        let (trial, tries) = match self.trial {
            Some(trial) => (trial.slot.letter(), trial.tries),
            None => (NO_TRIAL, 0),
        };
        let text = format!(
            "{COMMITTED}={}\0{TRIAL}={trial}\0{TRIES_LEFT}={tries}\0",
            self.committed.letter()
        );
        let mut sector = [0; STATE_BYTES];
        let (sum, content) = sector.split_at_mut(4);
        content
            .iter_mut()
            .zip(text.bytes())
            .for_each(|(to, from)| *to = from);
        sum.copy_from_slice(&crc32fast::hash(content).to_le_bytes());
        sector
    }

    /// Reads one copy; `None` if its checksum or what it says is wrong.
    pub fn decode(sector: &[u8]) -> Option<State> {
        let (sum, content) = sector.get(..STATE_BYTES)?.split_first_chunk()?;
        if u32::from_le_bytes(*sum) != crc32fast::hash(content) {
            return None;
        }
        let value = |name: &str| {
            content
                .split(|byte| *byte == 0)
                .take_while(|pair| !pair.is_empty())
                .filter_map(|pair| core::str::from_utf8(pair).ok()?.split_once('='))
                .find(|(key, _)| *key == name)
                .map(|(_, value)| value)
        };
        let committed = Slot::parse(value(COMMITTED)?)?;
        let trial = match value(TRIAL)? {
            NO_TRIAL => None,
            text => Some(Trial {
                slot: Slot::parse(text).filter(|slot| *slot != committed)?,
                tries: value(TRIES_LEFT)?
                    .parse()
                    .ok()
                    .filter(|n| *n <= TRIES_MAX)?,
            }),
        };
        Some(State { committed, trial })
    }

    /// What both copies say together; where neither is readable, `marked` decides, which are the slots with a file `committed`.
    pub fn of_copies(copies: [&[u8]; 2], marked: impl Fn(Slot) -> bool) -> State {
        copies
            .into_iter()
            .find_map(State::decode)
            .unwrap_or_else(|| {
                let marked = Slot::ALL.into_iter().find(|slot| marked(*slot));
                State::committed(marked.unwrap_or(Slot::A))
            })
    }
}

/// One of systemd-boot's entries for us, as its file name tells: `nesos-b.conf`, or `nesos-b+1.conf` and `nesos-b+0-1.conf` with tries
/// left and done (the Automatic Boot Assessment of systemd).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct EntryName {
    /// Which slot it starts.
    pub slot: Slot,
    /// Tries left; `None`: committed.
    pub tries: Option<u8>,
    /// Tries done.
    pub done: u8,
}

impl EntryName {
    /// Reads a file name in `loader/entries`; `None` if it is not one of ours.
    pub fn parse(file: &str) -> Option<EntryName> {
        let name = file.strip_prefix("nesos-")?.strip_suffix(".conf")?;
        let (slot, counter) = match name.split_once('+') {
            Some((slot, counter)) => (slot, Some(counter)),
            None => (name, None),
        };
        let (left, done) = match counter.map(|text| text.split_once('-').unwrap_or((text, "0"))) {
            Some((left, done)) => (Some(left.parse().ok()?), done.parse().ok()?),
            None => (None, 0),
        };
        Some(EntryName {
            slot: Slot::parse(slot)?,
            tries: left,
            done,
        })
    }
}

impl fmt::Display for EntryName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "nesos-{}", self.slot.letter())?;
        match (self.tries, self.done) {
            (None, _) => {}
            (Some(left), 0) => write!(f, "+{left}")?,
            (Some(left), done) => write!(f, "+{left}-{done}")?,
        }
        f.write_str(".conf")
    }
}

/// What one of systemd-boot's entries says. Paths are on the boot partition, with a leading `/`.
#[derive(Clone, Copy, Debug)]
pub struct Entry<'a> {
    /// Which slot it starts.
    pub slot: Slot,
    /// Every installation has one more than the last: the newest is started first, unless its tries are used up.
    pub generation: u32,
    /// What a person sees in the menu.
    pub version: &'a str,
    /// The kernel.
    pub kernel: &'a str,
    /// The device tree, where the firmware's is not the kernel's.
    pub device_tree: Option<&'a str>,
    /// The kernel's command line.
    pub options: &'a str,
}

impl Entry<'_> {
    /// The file's content.
    pub fn text(&self) -> String {
        let mut lines: Vec<String> = [
            format!("title Nesos {} (slot {})", self.version, self.slot),
            String::from("sort-key nesos"),
            format!("version {}", self.generation),
            format!("linux {}", self.kernel),
        ]
        .into();
        lines.extend(self.device_tree.map(|path| format!("devicetree {path}")));
        lines.push(format!("options {}\n", self.options));
        lines.join("\n")
    }

    /// Reads the generation out of an entry's text; 0 if it names none.
    pub fn generation_of(text: &str) -> u32 {
        text.lines()
            .find_map(|line| line.strip_prefix("version ")?.trim().parse().ok())
            .unwrap_or(0)
    }
}

#[cfg(test)]
#[path = "slots/tests.rs"]
mod tests;
