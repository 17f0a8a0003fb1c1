//! Which device files the processes of a cgroup may use: a small BPF program that the kernel asks at each `open` and `mknod`.
//!
//! Called by `agentd`. cgroup v2 has no file for it. The program lives as long as the cgroup and holds for all groups below it.
//! Invariant: what no rule allows is refused, whatever the rights of the process.

use std::ffi::CStr;
use std::mem::size_of;
use std::os::fd::{AsFd, AsRawFd, FromRawFd, OwnedFd};
use std::path::{Path, PathBuf};

use nix::errno::Errno;
use nix::sys::stat::{SFlag, major, minor, stat};

/// Most rules: the program then has some thousand instructions, fewer than the 4096 that every kernel takes.
pub const MAX_RULES: usize = 256;

/// linux/bpf.h
const BPF_PROG_LOAD: libc::c_long = 5;
const BPF_PROG_ATTACH: libc::c_long = 8;
const BPF_PROG_TYPE_CGROUP_DEVICE: u32 = 15;
const BPF_CGROUP_DEVICE: u32 = 6;
const BPF_DEVCG_DEV_BLOCK: i32 = 1;
const BPF_DEVCG_DEV_CHAR: i32 = 2;
/// The program calls nothing of the kernel, so that the kernel does not ask for a particular one.
const LICENSE: &CStr = c"Apache-2.0";

/// What may be done with a device file: bits of linux/bpf.h.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Access(u8);

impl Access {
    /// To make a file for it. Of no use to whoever may not open it.
    pub const MAKE: Access = Access(1);
    /// To read and write.
    pub const USE: Access = Access(2 | 4);
    const ALL: u8 = 7;
}

/// Kinds of device files.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    /// Disks.
    Block,
    /// All others.
    Character,
}

/// Something that is allowed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Rule {
    /// With files of this kind
    pub kind: Kind,
    /// and of this driver (none: of any)
    pub major: Option<u32>,
    /// and of this number (none: of any)
    pub minor: Option<u32>,
    /// this.
    pub access: Access,
}

/// What every container may do: make device files, as which kind of file hardly matters, and use those that hold no secrets.
pub const DEFAULT: [Rule; 11] = [
    Rule {
        kind: Kind::Character,
        major: None,
        minor: None,
        access: Access::MAKE,
    },
    Rule {
        kind: Kind::Block,
        major: None,
        minor: None,
        access: Access::MAKE,
    },
    // null, zero, full, random, urandom
    character(1, Some(3)),
    character(1, Some(5)),
    character(1, Some(7)),
    character(1, Some(8)),
    character(1, Some(9)),
    // tty, console, ptmx, pts/*: a container's own, as far as it has any
    character(5, Some(0)),
    character(5, Some(1)),
    character(5, Some(2)),
    character(136, None),
];

const fn character(major: u32, minor: Option<u32>) -> Rule {
    Rule {
        kind: Kind::Character,
        major: Some(major),
        minor,
        access: Access::USE,
    }
}

impl Rule {
    /// To use the device whose file is at `path`.
    ///
    /// # Errors
    /// Nothing is there, or it is no device file.
    pub fn of_file(path: &Path) -> Result<Rule, FilterError> {
        let fail = |errno| FilterError::File {
            path: path.to_owned(),
            errno,
        };
        let found = stat(path).map_err(fail)?;
        let format = SFlag::from_bits_truncate(found.st_mode) & SFlag::S_IFMT;
        let kind = match format {
            SFlag::S_IFCHR => Kind::Character,
            SFlag::S_IFBLK => Kind::Block,
            _ => return Err(fail(Errno::ENODEV)),
        };
        let number = |number: u64| u32::try_from(number).map_err(|_| fail(Errno::EOVERFLOW));
        Ok(Rule {
            kind,
            major: Some(number(major(found.st_rdev))?),
            minor: Some(number(minor(found.st_rdev))?),
            access: Access::USE,
        })
    }
}

/// Why a cgroup has no filter.
#[derive(Debug, thiserror::Error)]
pub enum FilterError {
    /// A device that is to be allowed.
    #[error("device file {path}: {errno}", path = .path.display())]
    File {
        /// Its path.
        path: PathBuf,
        /// What the kernel said.
        errno: Errno,
    },
    /// More than [`MAX_RULES`].
    #[error("{0} rules for devices, at most {MAX_RULES} are possible")]
    TooMany(usize),
    /// The kernel did not take it.
    #[error("{operation} the filter of devices: {errno}")]
    Kernel {
        /// What was tried.
        operation: &'static str,
        /// What it said.
        errno: Errno,
    },
}

/// A program in the kernel, for any number of cgroups.
#[derive(Debug)]
pub struct Filter(OwnedFd);

impl Filter {
    /// One that allows what `rules` say, and nothing else.
    ///
    /// # Errors
    /// Too many rules, no right to do it, or a kernel without BPF for cgroups.
    pub fn new(rules: &[Rule]) -> Result<Filter, FilterError> {
        if rules.len() > MAX_RULES {
            return Err(FilterError::TooMany(rules.len()));
        }
        let loaded = load(&program(rules)).map_err(|errno| FilterError::Kernel {
            operation: "load",
            errno,
        });
        loaded.map(Filter)
    }

    /// Holds for the processes of `cgroup` from now on, in the place of what held before.
    ///
    /// # Errors
    /// No right to do it, or a group above has one that allows no other.
    pub fn attach(&self, cgroup: impl AsFd) -> Result<(), FilterError> {
        let arguments = Attach {
            target: cgroup.as_fd().as_raw_fd() as u32,
            program: self.0.as_raw_fd() as u32,
            kind: BPF_CGROUP_DEVICE,
            flags: 0,
        };
        let attached = bpf(BPF_PROG_ATTACH, &arguments);
        attached.map(drop).map_err(|errno| FilterError::Kernel {
            operation: "attach",
            errno,
        })
    }
}

/// `struct bpf_insn` of linux/bpf.h.
#[repr(C)]
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Instruction {
    code: u8,
    registers: u8,
    offset: i16,
    immediate: i32,
}

/// The registers that the program uses by number.
const ANSWER: u8 = 0;
const CONTEXT: u8 = 1;
const KIND: u8 = 2;
const ACCESS: u8 = 3;
const MAJOR: u8 = 4;
const MINOR: u8 = 5;

/// `to` = the 32 bits at `offset` of the context.
const fn read(to: u8, offset: i16) -> Instruction {
    instruction(0x61, to, CONTEXT, offset, 0)
}
/// `to` = `from`, 32 bits.
const fn copy(to: u8, from: u8) -> Instruction {
    instruction(0xbc, to, from, 0, 0)
}
const fn and(register: u8, bits: i32) -> Instruction {
    instruction(0x54, register, 0, 0, bits)
}
const fn shift_right(register: u8, by: i32) -> Instruction {
    instruction(0x74, register, 0, 0, by)
}
/// Goes `skip` instructions further if `register` is not `value`.
const fn unless(register: u8, value: i32, skip: i16) -> Instruction {
    instruction(0x55, register, 0, skip, value)
}
const fn set(register: u8, value: i32) -> Instruction {
    instruction(0xb7, register, 0, 0, value)
}
const EXIT: Instruction = instruction(0x95, 0, 0, 0, 0);

const fn instruction(code: u8, to: u8, from: u8, offset: i16, immediate: i32) -> Instruction {
    // A bit field of C, whose order is that of the bytes.
    let registers = if cfg!(target_endian = "little") {
        to | from << 4
    } else {
        to << 4 | from
    };
    Instruction {
        code,
        registers,
        offset,
        immediate,
    }
}

/// The first rule that fits answers 1; behind the last one stands 0.
fn program(rules: &[Rule]) -> Vec<Instruction> {
    // struct bpf_cgroup_dev_ctx: access in the upper and kind in the lower half, major, minor.
    let mut all = vec![
        read(KIND, 0),
        copy(ACCESS, KIND),
        and(KIND, 0xffff),
        shift_right(ACCESS, 16),
        read(MAJOR, 4),
        read(MINOR, 8),
    ];
    for rule in rules {
        all.extend(block(rule));
    }
    all.extend([set(ANSWER, 0), EXIT]);
    all
}

fn block(rule: &Rule) -> Vec<Instruction> {
    let kind = match rule.kind {
        Kind::Block => BPF_DEVCG_DEV_BLOCK,
        Kind::Character => BPF_DEVCG_DEV_CHAR,
    };
    let mut tests = vec![(KIND, kind)];
    tests.extend(rule.major.map(|number| (MAJOR, number as i32)));
    tests.extend(rule.minor.map(|number| (MINOR, number as i32)));
    let refused = i32::from(Access::ALL & !rule.access.0);
    let end = [
        copy(ANSWER, ACCESS),
        and(ANSWER, refused),
        unless(ANSWER, 0, 2),
        set(ANSWER, 1),
        EXIT,
    ];
    let count = tests.len();
    let tests = tests
        .into_iter()
        .enumerate()
        .map(|(index, (register, value))| {
            let skip = count - index - 1 + end.len();
            unless(register, value, skip as i16)
        });
    tests.chain(end).collect()
}

/// `union bpf_attr` of linux/bpf.h for BPF_PROG_LOAD, as far as every kernel knows it.
#[repr(C)]
struct Load {
    kind: u32,
    count: u32,
    instructions: u64,
    license: u64,
    log_level: u32,
    log_size: u32,
    log: u64,
    kernel: u32,
    flags: u32,
}

/// The same for BPF_PROG_ATTACH.
#[repr(C)]
struct Attach {
    target: u32,
    program: u32,
    kind: u32,
    flags: u32,
}

fn load(program: &[Instruction]) -> Result<OwnedFd, Errno> {
    let arguments = Load {
        kind: BPF_PROG_TYPE_CGROUP_DEVICE,
        count: program.len() as u32,
        instructions: program.as_ptr() as u64,
        license: LICENSE.as_ptr() as u64,
        log_level: 0,
        log_size: 0,
        log: 0,
        kernel: 0,
        flags: 0,
    };
    let fd = bpf(BPF_PROG_LOAD, &arguments)?;
    // SAFETY: the kernel has just made this descriptor, and nobody else owns it.
    Ok(unsafe { OwnedFd::from_raw_fd(fd) })
}

/// The call with what belongs to it: `Load` or `Attach`.
fn bpf<A>(command: libc::c_long, arguments: &A) -> Result<i32, Errno> {
    // SAFETY: the kernel reads as many bytes as are said and follows the pointers inside, which lead to memory that is
    // borrowed by the caller for the length of this call.
    let result = unsafe {
        libc::syscall(
            libc::SYS_bpf,
            command,
            std::ptr::from_ref(arguments),
            size_of::<A>(),
        )
    };
    Errno::result(result).map(|result| result as i32)
}

#[cfg(test)]
mod tests;
