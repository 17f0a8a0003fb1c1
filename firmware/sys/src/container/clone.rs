//! The clone3 call. Called by the parent module only.
//!
//! Where it can be, the new process runs in the caller's memory, on a stack of its own, while the calling thread sleeps until
//! its `exec`: no page table is copied. Not where it changes its user: then it would for a moment be another user's process
//! with the memory of this one. Invariant: the new process runs nothing but `child::run`.

use std::mem::size_of;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, FromRawFd, OwnedFd, RawFd};

use nix::errno::Errno;
use nix::sys::signal::{SigSet, SigmaskHow, pthread_sigmask};

use super::child::{self, Prepared};
use super::{Namespaces, SpawnPlan, Spawned};
use crate::pidfd::PidFd;

/// `CLONE_INTO_CGROUP` of linux/sched.h; the crate libc lacks it for musl.
const CLONE_INTO_CGROUP: u64 = 0x2_0000_0000;
/// Stack of a process in borrowed memory: many times what its few system calls take, debug builds included.
const STACK: usize = 64 * 1024;

/// `struct clone_args` of linux/sched.h, version 2 (88 bytes).
#[repr(C)]
#[derive(Default)]
struct CloneArgs {
    flags: u64,
    pidfd: u64,
    child_tid: u64,
    parent_tid: u64,
    exit_signal: u64,
    stack: u64,
    stack_size: u64,
    tls: u64,
    set_tid: u64,
    set_tid_size: u64,
    cgroup: u64,
}

impl CloneArgs {
    fn new(namespaces: Namespaces, cgroup: Option<BorrowedFd<'_>>, pidfd: &mut RawFd) -> CloneArgs {
        let mut args = CloneArgs {
            flags: libc::CLONE_PIDFD as u64 | namespaces.flags(),
            pidfd: (&raw mut *pidfd) as u64,
            exit_signal: libc::SIGCHLD as u64,
            ..CloneArgs::default()
        };
        if let Some(cgroup) = cgroup {
            args.flags |= CLONE_INTO_CGROUP;
            args.cgroup = cgroup.as_raw_fd() as u64;
        }
        args
    }
}

pub(super) fn clone(plan: &SpawnPlan, prepared: &Prepared<'_>) -> Result<Spawned, Errno> {
    let mut pidfd: RawFd = -1;
    let cgroup = plan.cgroup.as_ref().map(AsFd::as_fd);
    let mut args = CloneArgs::new(plan.namespaces, cgroup, &mut pidfd);
    // A handler of the caller must not run in the child: it would write into the caller's descriptors.
    let mut before = SigSet::empty();
    pthread_sigmask(
        SigmaskHow::SIG_SETMASK,
        Some(&SigSet::all()),
        Some(&mut before),
    )?;
    let result = if plan.user.is_none() && plan.user_namespace.is_none() {
        in_this_memory(&mut args, prepared)
    } else {
        in_a_copy(&mut args, prepared)
    };
    pthread_sigmask(SigmaskHow::SIG_SETMASK, Some(&before), None)?;
    // SAFETY: the kernel has stored a new descriptor there that nobody else owns.
    Ok(unsafe { spawned(result?, pidfd) })
}

/// Copies this process: the copy is its parent's child, and finds None here. `abort` is all that the C library cannot do any
/// more in a copy as it should: it signals the thread by its old number before it ends by other means.
///
/// # Safety
/// This process has one thread: of the others the copy would have the locks, but not the threads to open them.
pub(super) unsafe fn copy(
    namespaces: Namespaces,
    cgroup: Option<BorrowedFd<'_>>,
) -> Result<Option<Spawned>, Errno> {
    let mut pidfd: RawFd = -1;
    let mut args = CloneArgs::new(namespaces, cgroup, &mut pidfd);
    args.flags |= libc::CLONE_PARENT as u64;
    // The kernel takes the caller's own, and refuses any that is named.
    args.exit_signal = 0;
    // SAFETY: `args` is a valid clone_args of the given size, and what it points to outlives the call. Without CLONE_VM the
    // copy has its own copy of this memory, all of which is this thread's by the contract.
    let pid = unsafe { libc::syscall(libc::SYS_clone3, &raw mut args, size_of::<CloneArgs>()) };
    match u32::try_from(pid).map_err(|_| Errno::last())? {
        0 => Ok(None),
        // SAFETY: as in `clone`.
        pid => Ok(Some(unsafe { spawned(pid, pidfd) })),
    }
}

/// A child in new namespaces, CLONE_NEW* flags, that does nothing but wait until nobody holds the second of these ends of a
/// pipe: this process has it alone.
pub(crate) fn waiting(
    flags: u64,
    (reader, writer): (BorrowedFd<'_>, BorrowedFd<'_>),
) -> Result<PidFd, Errno> {
    let mut pidfd: RawFd = -1;
    let mut args = CloneArgs::new(Namespaces::NONE, None, &mut pidfd);
    args.flags |= flags;
    let (reader, writer) = (reader.as_raw_fd(), writer.as_raw_fd());
    let mut before = SigSet::empty();
    pthread_sigmask(
        SigmaskHow::SIG_SETMASK,
        Some(&SigSet::all()),
        Some(&mut before),
    )?;
    // SAFETY: `args` is a valid clone_args of the given size, and what it points to outlives the call. Without CLONE_VM the
    // child has its own copy of this memory.
    let pid = unsafe { libc::syscall(libc::SYS_clone3, &raw mut args, size_of::<CloneArgs>()) };
    if pid == 0 {
        let mut byte = 0u8;
        // SAFETY: this is the new process, single-threaded, with all signals blocked; system calls only, on its own stack.
        unsafe {
            libc::close(writer);
            libc::read(reader, (&raw mut byte).cast(), 1);
            libc::_exit(0)
        }
    }
    let made = Errno::result(pid);
    pthread_sigmask(SigmaskHow::SIG_SETMASK, Some(&before), None)?;
    made?;
    // SAFETY: the kernel has stored a new descriptor there that nobody else owns.
    Ok(PidFd::from(unsafe { OwnedFd::from_raw_fd(pidfd) }))
}

/// # Safety
/// `pidfd` is the new process's descriptor, and nobody else's.
unsafe fn spawned(pid: u32, pidfd: RawFd) -> Spawned {
    // SAFETY: the contract says so.
    let pidfd = unsafe { OwnedFd::from_raw_fd(pidfd) };
    Spawned {
        pid,
        pidfd: PidFd::from(pidfd),
    }
}

/// The child gets a copy of this memory.
fn in_a_copy(args: &mut CloneArgs, prepared: &Prepared<'_>) -> Result<u32, Errno> {
    // SAFETY: `args` is a valid clone_args of the given size, and what it points to outlives the call. Without CLONE_VM the
    // child has its own copy of this memory, and it only runs `child::run`, which never returns.
    let pid = unsafe { libc::syscall(libc::SYS_clone3, &raw mut *args, size_of::<CloneArgs>()) };
    if pid == 0 {
        // SAFETY: this is the new process, single-threaded, with all signals blocked; `prepared` points into memory
        // that the caller's copy keeps alive.
        unsafe { child::run(prepared) }
    }
    u32::try_from(pid).map_err(|_| Errno::last())
}

/// The one stack of all of them, one after the other: memory that is taken and given back for each costs more than they do, since
/// to give back what two processes have used interrupts other processors. Pages that nobody has touched are none.
#[cfg(any(target_arch = "x86_64", target_arch = "aarch64"))]
static STACKS: std::sync::Mutex<Stack> = std::sync::Mutex::new(Stack(std::cell::UnsafeCell::new(
    [0; STACK / size_of::<u128>()],
)));

struct Stack(std::cell::UnsafeCell<[u128; STACK / size_of::<u128>()]>);

/// The child works in this memory while this thread waits for its `exec` or its end.
#[cfg(any(target_arch = "x86_64", target_arch = "aarch64"))]
fn in_this_memory(args: &mut CloneArgs, prepared: &Prepared<'_>) -> Result<u32, Errno> {
    let stack = STACKS.lock();
    let stack = stack.unwrap_or_else(std::sync::PoisonError::into_inner);
    args.flags |= (libc::CLONE_VM | libc::CLONE_VFORK) as u64;
    args.stack = stack.0.get() as u64;
    args.stack_size = STACK as u64;
    // SAFETY: `args` is a valid clone_args, and what it and `prepared` point to outlives the call, as does the stack, which is
    // locked: the call returns only when the child does not use this memory any more (CLONE_VFORK). The child leaves alone what is this
    // thread's, except for `errno`, which is read after no other call than its own.
    let result = unsafe { call(args, prepared) };
    drop(stack);
    u32::try_from(result).map_err(|_| Errno::from_raw(-result as i32))
}

#[cfg(not(any(target_arch = "x86_64", target_arch = "aarch64")))]
use in_a_copy as in_this_memory;

/// clone3 whose child, on its new stack, enters [`enter`]; the kernel's answer.
///
/// # Safety
/// `args` holds a stack that is nobody else's, and asks for CLONE_VM and CLONE_VFORK.
#[cfg(target_arch = "x86_64")]
unsafe fn call(args: &mut CloneArgs, prepared: &Prepared<'_>) -> isize {
    let result: isize;
    // SAFETY: the parent comes back behind the label with its stack untouched and the registers that a system call changes
    // named below; the child never gets there.
    unsafe {
        std::arch::asm!(
            "syscall",
            "test rax, rax",
            "jnz 2f",
            "xor ebp, ebp",
            "mov rdi, {data}",
            "call {enter}",
            "ud2",
            "2:",
            data = in(reg) std::ptr::from_ref(prepared),
            enter = in(reg) enter as extern "C" fn(&Prepared<'_>) -> !,
            inlateout("rax") libc::SYS_clone3 as isize => result,
            in("rdi") std::ptr::from_mut(args),
            in("rsi") size_of::<CloneArgs>(),
            out("rcx") _,
            out("r11") _,
        );
    }
    result
}

/// As above.
///
/// # Safety
/// As above.
#[cfg(target_arch = "aarch64")]
unsafe fn call(args: &mut CloneArgs, prepared: &Prepared<'_>) -> isize {
    let result: isize;
    // SAFETY: the parent comes back behind the label with its stack and all registers but x0 untouched; the child never gets
    // there.
    unsafe {
        std::arch::asm!(
            "svc #0",
            "cbnz x0, 2f",
            "mov x29, xzr",
            "mov x0, {data}",
            "blr {enter}",
            "brk #1",
            "2:",
            data = in(reg) std::ptr::from_ref(prepared),
            enter = in(reg) enter as extern "C" fn(&Prepared<'_>) -> !,
            inlateout("x0") std::ptr::from_mut(args) as isize => result,
            in("x1") size_of::<CloneArgs>(),
            in("x8") libc::SYS_clone3,
        );
    }
    result
}

/// Where the child begins.
#[cfg(any(target_arch = "x86_64", target_arch = "aarch64"))]
extern "C" fn enter(prepared: &Prepared<'_>) -> ! {
    // SAFETY: this is the new process, with all signals blocked, while the thread that prepared its memory waits.
    unsafe { child::run(prepared) }
}
