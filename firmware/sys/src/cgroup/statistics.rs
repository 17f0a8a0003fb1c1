//! What a cgroup tells about itself in more words than [`Usage`](super::Usage): the parts of its memory, its devices' traffic,
//! and how long it has waited for each (PSI).
//!
//! Called for people's questions only: it reads eight files. Invariant: a file that is not there, or has another form, reads as
//! nothing; it is never an error of the whole.

use super::{Cgroup, keyed};

/// Most devices told of.
const MAX_DEVICES: usize = 64;

/// Beside [`Usage`](super::Usage).
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Statistics {
    /// Periods of the quota in which it ran, and in how many of them it was held back.
    pub periods: u64,
    /// Of them.
    pub throttled_periods: u64,
    /// Processes now; threads are counted in `Usage::pids`.
    pub processes: u64,
    /// Bytes of memory that belongs to no file.
    pub anonymous: u64,
    /// Bytes of cached files, those in memory only among them.
    pub files: u64,
    /// Bytes of files that are mapped.
    pub mapped: u64,
    /// Bytes that cannot be reclaimed.
    pub unevictable: u64,
    /// Bytes in the kernel.
    pub kernel: u64,
    /// Bytes of its own in swap.
    pub swap: u64,
    /// Traffic by device.
    pub devices: Vec<Device>,
    /// Waiting for a processor.
    pub cpu: Option<Pressure>,
    /// Waiting for memory.
    pub memory: Option<Pressure>,
    /// Waiting for devices.
    pub io: Option<Pressure>,
}

/// What has gone to and from one block device.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Device {
    /// Its numbers.
    pub major: u64,
    /// Its numbers.
    pub minor: u64,
    /// Bytes read.
    pub read_bytes: u64,
    /// Bytes written.
    pub written_bytes: u64,
    /// Reads.
    pub reads: u64,
    /// Writes.
    pub writes: u64,
}

/// How much of the time somebody, and everybody, has waited.
#[derive(Debug, Clone, Copy, Default, PartialEq)]
pub struct Pressure {
    /// At least one process.
    pub some: Waiting,
    /// All that had something to do.
    pub full: Waiting,
}

/// Per cent of the last seconds, and all of it.
#[derive(Debug, Clone, Copy, Default, PartialEq)]
pub struct Waiting {
    /// Per cent of the last 10 seconds.
    pub last_10: f64,
    /// Per cent of the last 60 seconds.
    pub last_60: f64,
    /// Per cent of the last 300 seconds.
    pub last_300: f64,
    /// Microseconds since it was made.
    pub total_us: u64,
}

impl Cgroup {
    /// All that it tells.
    pub fn statistics(&self) -> Statistics {
        let text = |file| self.read(file).unwrap_or_default();
        let (cpu, memory) = (text("cpu.stat"), text("memory.stat"));
        Statistics {
            periods: keyed(&cpu, "nr_periods"),
            throttled_periods: keyed(&cpu, "nr_throttled"),
            processes: text("cgroup.procs").lines().count() as u64,
            anonymous: keyed(&memory, "anon"),
            files: keyed(&memory, "file"),
            mapped: keyed(&memory, "file_mapped"),
            unevictable: keyed(&memory, "unevictable"),
            kernel: keyed(&memory, "kernel"),
            swap: text("memory.swap.current").trim().parse().unwrap_or(0),
            devices: text("io.stat")
                .lines()
                .filter_map(device)
                .take(MAX_DEVICES)
                .collect(),
            cpu: pressure(&text("cpu.pressure")),
            memory: pressure(&text("memory.pressure")),
            io: pressure(&text("io.pressure")),
        }
    }
}

/// What the whole machine waits for: processors and memory. None where the kernel does not tell.
pub fn of_machine() -> Option<(Pressure, Pressure)> {
    let read = |what| {
        let text = std::fs::read_to_string(format!("/proc/pressure/{what}")).ok()?;
        pressure(&text)
    };
    Some((read("cpu")?, read("memory")?))
}

/// `8:0 rbytes=1 wbytes=2 rios=3 wios=4 dbytes=0 dios=0`
fn device(line: &str) -> Option<Device> {
    let (numbers, rest) = line.split_once(' ')?;
    let (major, minor) = numbers.split_once(':')?;
    let value = |key| value(rest, key).and_then(|text| text.parse().ok());
    Some(Device {
        major: major.parse().ok()?,
        minor: minor.parse().ok()?,
        read_bytes: value("rbytes")?,
        written_bytes: value("wbytes")?,
        reads: value("rios")?,
        writes: value("wios")?,
    })
}

/// `some avg10=0.00 avg60=0.00 avg300=0.00 total=0`, and the same with `full`, which old kernels lack for processors.
fn pressure(text: &str) -> Option<Pressure> {
    let waiting = |kind| {
        let line = text.lines().find_map(|line| line.strip_prefix(kind))?;
        let number = |key| value(line, key)?.parse().ok();
        Some(Waiting {
            last_10: number("avg10")?,
            last_60: number("avg60")?,
            last_300: number("avg300")?,
            total_us: value(line, "total")?.parse().ok()?,
        })
    };
    Some(Pressure {
        some: waiting("some ")?,
        full: waiting("full ").unwrap_or_default(),
    })
}

/// Of `key=value` words.
fn value<'a>(words: &'a str, key: &str) -> Option<&'a str> {
    let mut words = words.split_ascii_whitespace();
    words.find_map(|word| word.strip_prefix(key)?.strip_prefix('='))
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;
    use std::fs;

    #[test]
    fn everything_is_read_where_it_is() {
        let folder = tempfile::tempdir().unwrap();
        let group = Cgroup::at(folder.path());
        assert_eq!(group.statistics(), Statistics::default());
        for (file, text) in [
            (
                "cpu.stat",
                "usage_usec 9\nnr_periods 7\nnr_throttled 3\nthrottled_usec 5\n",
            ),
            ("cgroup.procs", "1\n12\n"),
            (
                "memory.stat",
                "anon 1\nfile 2\nkernel 6\nfile_mapped 3\nunevictable 4\n",
            ),
            ("memory.swap.current", "5\n"),
            (
                "io.stat",
                "254:0 rbytes=10 wbytes=20 rios=1 wios=2 dbytes=0 dios=0\n7:1\nnonsense\n",
            ),
            (
                "cpu.pressure",
                "some avg10=1.50 avg60=2.00 avg300=3.25 total=77\n",
            ),
            (
                "io.pressure",
                "some avg10=0.00 avg60=0.00 avg300=0.00 total=2\nfull avg10=0.10 avg60=0.00 avg300=0.00 total=1\n",
            ),
        ] {
            fs::write(folder.path().join(file), text).unwrap();
        }
        let found = group.statistics();
        assert_eq!(
            (found.periods, found.throttled_periods, found.processes),
            (7, 3, 2)
        );
        let memory = [
            found.anonymous,
            found.files,
            found.mapped,
            found.unevictable,
            found.swap,
            found.kernel,
        ];
        assert_eq!(memory, [1, 2, 3, 4, 5, 6]);
        let disk = Device {
            major: 254,
            minor: 0,
            read_bytes: 10,
            written_bytes: 20,
            reads: 1,
            writes: 2,
        };
        assert_eq!(found.devices, [disk]);
        let cpu = found.cpu.unwrap();
        assert_eq!(
            (cpu.some.last_10, cpu.some.last_300, cpu.some.total_us),
            (1.5, 3.25, 77)
        );
        assert_eq!(cpu.full, Waiting::default());
        assert_eq!(found.io.unwrap().full.total_us, 1);
        assert_eq!(found.memory, None);
    }
}
