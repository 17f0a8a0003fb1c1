//! What is taken from a process before its program begins: limits, capabilities, system calls.
//!
//! Called by the child of the parent module, between clone and exec. Invariant: as there, only raw system calls on memory that
//! was prepared before; and whatever cannot be taken is an error, so that nothing runs with more than it should.

use nix::errno::Errno;

use crate::seccomp;

/// One of setrlimit's limits.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ResourceLimit {
    /// RLIMIT_* of Linux.
    pub resource: u32,
    /// In force.
    pub soft: u64,
    /// How far the process may raise it.
    pub hard: u64,
}

/// What a process is left with. Default: all that its maker has.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Rights {
    /// Limits to set.
    pub limits: Vec<ResourceLimit>,
    /// The capabilities that it and its children can ever have, as bits; root has just these.
    pub bounding: Option<u64>,
    /// The capabilities that it has even if it is not root, as bits.
    pub effective: Option<u64>,
    /// No program gives it more, set-user-id or not.
    pub no_new_privileges: bool,
    /// It runs behind the filter of system calls (module `seccomp`). Needs CAP_SYS_ADMIN or `no_new_privileges`.
    pub is_filtered: bool,
}

/// The same in the form that the kernel takes.
pub(super) struct Prepared<'a> {
    rights: &'a Rights,
    filter: Vec<libc::sock_filter>,
}

impl<'a> Prepared<'a> {
    pub(super) fn new(rights: &'a Rights) -> Prepared<'a> {
        let filter = if rights.is_filtered {
            seccomp::filter()
        } else {
            Vec::new()
        };
        Prepared { rights, filter }
    }

    /// As the user that made the process, who may give more than it has itself. False with errno set if it cannot be.
    ///
    /// # Safety
    /// In a process that was just cloned.
    pub(super) unsafe fn take_limits(&self) -> bool {
        self.rights.limits.iter().all(|limit| {
            let value = [limit.soft, limit.hard];
            let none = std::ptr::null_mut::<u64>();
            // SAFETY: the value is live and what the kernel reads.
            unsafe {
                libc::syscall(libc::SYS_prlimit64, 0, limit.resource, value.as_ptr(), none) == 0
            }
        })
    }

    /// Before the user is switched. False with errno set if something cannot be taken.
    ///
    /// # Safety
    /// In a process that was just cloned.
    pub(super) unsafe fn take_before_user(&self) -> bool {
        let rights = self.rights;
        // SAFETY: raw system calls on constants and on live memory of this struct.
        unsafe {
            if rights.no_new_privileges && libc::prctl(libc::PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) < 0 {
                return false;
            }
            // Now, while there is the right to; what follows until exec is not on its list.
            if !self.filter.is_empty() && !self.install() {
                return false;
            }
            if let Some(bounding) = rights.bounding
                && !drop_others(bounding)
            {
                return false;
            }
            // Else the switch of the user takes all of them.
            rights.effective.is_none() || libc::prctl(libc::PR_SET_KEEPCAPS, 1, 0, 0, 0) == 0
        }
    }

    /// As the user that the process is to be.
    ///
    /// # Safety
    /// As above.
    pub(super) unsafe fn take_after_user(&self) -> bool {
        let Some(effective) = self.rights.effective else {
            return true;
        };
        // SAFETY: raw system calls on constants and live memory.
        unsafe { set_capabilities(effective) && raise_ambient(effective) }
    }

    /// # Safety
    /// As above.
    unsafe fn install(&self) -> bool {
        let program = libc::sock_fprog {
            // A few hundred instructions.
            len: self.filter.len() as libc::c_ushort,
            filter: self.filter.as_ptr().cast_mut(),
        };
        let mode = libc::SECCOMP_SET_MODE_FILTER;
        // SAFETY: the program and its instructions are live; the kernel copies them.
        unsafe { libc::syscall(libc::SYS_seccomp, mode, 0, &raw const program) == 0 }
    }
}

/// # Safety
/// In a process that was just cloned.
unsafe fn drop_others(bounding: u64) -> bool {
    for capability in 0..u64::BITS {
        if bounding & (1 << capability) != 0 {
            continue;
        }
        // SAFETY: constants only.
        if unsafe { libc::prctl(libc::PR_CAPBSET_DROP, capability, 0, 0, 0) } < 0 {
            // EINVAL: the kernel knows none of this number, nor a higher one.
            return Errno::last_raw() == libc::EINVAL;
        }
    }
    true
}

/// # Safety
/// In a process that was just cloned.
unsafe fn set_capabilities(bits: u64) -> bool {
    /// linux/capability.h: version, and process 0 for this one.
    const HEADER: [u32; 2] = [0x2008_0522, 0];
    let (low, high) = (bits as u32, (bits >> 32) as u32);
    // Effective, permitted, inheritable; first the low halves.
    let data = [low, low, low, high, high, high];
    // SAFETY: both arrays have the size that the kernel reads for this version.
    unsafe { libc::syscall(libc::SYS_capset, HEADER.as_ptr(), data.as_ptr()) == 0 }
}

/// # Safety
/// In a process that was just cloned.
unsafe fn raise_ambient(bits: u64) -> bool {
    (0..u64::BITS)
        .filter(|capability| bits & (1 << capability) != 0)
        .all(|capability| {
            // SAFETY: constants only.
            unsafe {
                libc::prctl(
                    libc::PR_CAP_AMBIENT,
                    libc::PR_CAP_AMBIENT_RAISE,
                    capability,
                    0,
                    0,
                ) == 0
            }
        })
}
