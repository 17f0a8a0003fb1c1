//! Which signals this process ignores: a started process would inherit that, so these are set back there.
//!
//! Called by the parent module before the clone. Invariant: what is asked is the kernel, as the C library refuses the
//! signals that it uses itself, which may be ignored just as well.

use std::mem::size_of;
use std::sync::OnceLock;

/// The highest signal number of Linux.
pub(super) const LAST_SIGNAL: libc::c_int = 64;

/// The ignored signals, signal n as bit n - 1. Asked once: a process ignores what it was started with, and what the
/// standard library adds before `main`.
pub(super) fn ignored() -> u64 {
    static IGNORED: OnceLock<u64> = OnceLock::new();
    *IGNORED.get_or_init(|| {
        (1..=LAST_SIGNAL)
            .filter(|signal| is_ignored(*signal))
            .fold(0, |all, signal| all | 1 << (signal - 1))
    })
}

fn is_ignored(signal: libc::c_int) -> bool {
    // The kernel's own structure begins with the handler.
    let mut action = [0u64; 4];
    let none = std::ptr::null::<u64>();
    // SAFETY: nothing is set, and `action` is at least as large as what the kernel writes (32 bytes).
    let result = unsafe {
        libc::syscall(
            libc::SYS_rt_sigaction,
            signal,
            none,
            action.as_mut_ptr(),
            size_of::<u64>(),
        )
    };
    result == 0 && action[0] == libc::SIG_IGN as u64
}
