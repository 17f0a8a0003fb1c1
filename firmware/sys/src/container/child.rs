//! What a cloned process does until its `exec`. Called by the parent module only, in the new process.
//!
//! Invariant: only raw system calls and memory prepared before the clone. No allocation, no lock, no libc function
//! that keeps state: musl's `setuid`, for one, would wait for threads that this process does not have.

use std::ffi::CStr;
use std::fmt;
use std::mem::size_of;
use std::os::fd::RawFd;

use nix::errno::Errno;

use super::rights;
use super::signals::LAST_SIGNAL;
use crate::user::Credentials;

/// Bytes of a failure report: the step, then errno.
pub(super) const REPORT_SIZE: usize = 5;
/// Exit code after a failed step; nobody sees it, the report has the reason.
const FAILED: libc::c_int = 127;

/// Steps of the new process.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[repr(u8)]
pub enum Step {
    /// setsid
    Session,
    /// setns(CLONE_NEWUSER), then root inside
    UserNamespace,
    /// unshare(CLONE_NEWCGROUP), or setns
    CgroupNamespace,
    /// dup2 of standard input, output and error
    Files,
    /// ioctl(TIOCSCTTY)
    Terminal,
    /// prlimit64, prctl, seccomp, capset
    Rights,
    /// setgroups, setresgid, setresuid
    User,
    /// chdir
    Directory,
    /// prctl(PR_SET_PDEATHSIG), or the parent was gone already
    ParentDeath,
    /// execve
    Exec,
}

impl Step {
    const ALL: [Step; 10] = [
        Step::Session,
        Step::UserNamespace,
        Step::CgroupNamespace,
        Step::Files,
        Step::Terminal,
        Step::Rights,
        Step::User,
        Step::Directory,
        Step::ParentDeath,
        Step::Exec,
    ];
}

impl fmt::Display for Step {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Step::Session => "make a session",
            Step::UserNamespace => "enter its user namespace",
            Step::CgroupNamespace => "take its cgroup for the root of all",
            Step::Files => "redirect standard input and output",
            Step::Terminal => "take the terminal",
            Step::Rights => "take rights from it",
            Step::User => "switch the user",
            Step::Directory => "enter the working directory",
            Step::ParentDeath => "tie it to its parent",
            Step::Exec => "execute",
        })
    }
}

/// [`super::View`], with the descriptor by its number.
#[derive(Debug, Clone, Copy)]
pub(super) enum CgroupView {
    Callers,
    Own,
    Of(RawFd),
}

/// Everything the child needs, in memory that exists already.
pub(super) struct Prepared<'a> {
    /// Paths to execute, null-terminated array.
    pub candidates: &'a [*const libc::c_char],
    /// Null-terminated array.
    pub argv: &'a [*const libc::c_char],
    /// Null-terminated array.
    pub envp: &'a [*const libc::c_char],
    /// Working directory.
    pub directory: &'a CStr,
    /// Whose cgroups it sees.
    pub cgroup_view: CgroupView,
    /// Descriptors to become 0, 1 and 2; all above 2, for std opens those three at start.
    pub stdio: [RawFd; 3],
    /// Signals that the caller ignores, signal n as bit n - 1.
    pub ignored: u64,
    /// Limit of open files, if it is not to be the caller's.
    pub open_files: Option<&'static libc::rlimit>,
    /// The first of them is a terminal to be controlled by.
    pub terminal: bool,
    /// Text for oom_score_adj.
    pub oom_score: Option<&'a str>,
    /// The user namespace to enter.
    pub user_namespace: Option<RawFd>,
    /// Who to become.
    pub user: Option<&'a Credentials>,
    /// What is left to it.
    pub rights: rights::Prepared<'a>,
    /// Die with this parent (its id as seen by the child).
    pub parent: Option<u32>,
    /// Close-on-exec pipe for the failure report.
    pub report: RawFd,
}

/// Runs all steps; the last one replaces the process.
///
/// # Safety
/// Only in a process that was just cloned, without CLONE_VM or on a stack of its own; every pointer in `p` must point to
/// live, terminated memory.
pub(super) unsafe fn run(p: &Prepared<'_>) -> ! {
    // SAFETY: the contract is passed on unchanged.
    let (step, errno) = unsafe { steps(p) };
    let mut report = [0u8; REPORT_SIZE];
    report[0] = step as u8;
    report[1..].copy_from_slice(&errno.to_ne_bytes());
    // SAFETY: the buffer is valid for its length; _exit runs no handlers of the copied process.
    unsafe {
        libc::write(p.report, report.as_ptr().cast(), report.len());
        libc::_exit(FAILED)
    }
}

/// A report's step and errno.
pub(super) fn decode_report(report: [u8; REPORT_SIZE]) -> (Step, Errno) {
    let [step, errno @ ..] = report;
    let step = Step::ALL
        .get(usize::from(step))
        .copied()
        .unwrap_or(Step::Exec);
    (step, Errno::from_raw(i32::from_ne_bytes(errno)))
}

/// Returns only when a step fails.
///
/// # Safety
/// As for [`run`].
unsafe fn steps(p: &Prepared<'_>) -> (Step, i32) {
    // SAFETY: system calls on the prepared memory that the contract covers; no call allocates or locks.
    unsafe {
        if libc::setsid() < 0 {
            return (Step::Session, errno());
        }
        libc::umask(0o022);
        set_oom_score(p.oom_score);
        for (target, source) in p.stdio.iter().enumerate() {
            if libc::dup2(*source, target as RawFd) < 0 {
                return (Step::Files, errno());
            }
        }
        if let Err(step) = enter_namespaces(p) {
            return (step, errno());
        }
        if p.terminal && libc::ioctl(0, libc::TIOCSCTTY as _, 0) < 0 {
            return (Step::Terminal, errno());
        }
        if !p.rights.take_before_user() {
            return (Step::Rights, errno());
        }
        if let Some(user) = p.user
            && !switch_user(user)
        {
            return (Step::User, errno());
        }
        if !p.rights.take_after_user() {
            return (Step::Rights, errno());
        }
        if libc::chdir(p.directory.as_ptr()) < 0 {
            return (Step::Directory, errno());
        }
        // After the switch of the user, which clears it.
        if let Some(parent) = p.parent {
            if libc::prctl(libc::PR_SET_PDEATHSIG, libc::SIGKILL) < 0 {
                return (Step::ParentDeath, errno());
            }
            if libc::getppid() as u32 != parent {
                return (Step::ParentDeath, libc::ESRCH);
            }
        }
        default_signals(p.ignored);
        if let Some(limit) = p.open_files {
            // Lowering what was raised cannot fail.
            libc::syscall(
                libc::SYS_prlimit64,
                0,
                libc::RLIMIT_NOFILE,
                std::ptr::from_ref(limit),
                std::ptr::null_mut::<libc::rlimit>(),
            );
        }
        // The report pipe among them: it closes by a successful exec, which is how the parent learns of it.
        libc::syscall(
            libc::SYS_close_range,
            3,
            libc::c_uint::MAX,
            libc::CLOSE_RANGE_CLOEXEC,
        );
        (Step::Exec, execute(p))
    }
}

/// With what only the host's root may do before. An error leaves errno set.
///
/// # Safety
/// As for [`run`].
unsafe fn enter_namespaces(p: &Prepared<'_>) -> Result<(), Step> {
    // SAFETY: the contract is passed on unchanged.
    unsafe {
        if !p.rights.take_limits() {
            return Err(Step::Rights);
        }
        // Before all that is to belong to it, and before capabilities are taken, which it gives anew.
        if let Some(namespace) = p.user_namespace
            && !enter_user_namespace(namespace)
        {
            return Err(Step::UserNamespace);
        }
        match take_view(p.cgroup_view) {
            true => Ok(()),
            false => Err(Step::CgroupNamespace),
        }
    }
}

/// # Safety
/// As for [`run`].
unsafe fn set_oom_score(score: Option<&str>) {
    let Some(score) = score else { return };
    // SAFETY: a constant path and a live buffer; a refused open or write leaves the inherited score.
    unsafe {
        let fd = libc::open(
            c"/proc/self/oom_score_adj".as_ptr(),
            libc::O_WRONLY | libc::O_CLOEXEC,
        );
        if fd >= 0 {
            libc::write(fd, score.as_ptr().cast(), score.len());
            libc::close(fd);
        }
    }
}

/// False with errno set if it fails. The process is in its cgroup already.
///
/// # Safety
/// As for [`run`].
unsafe fn take_view(view: CgroupView) -> bool {
    // SAFETY: system calls without pointers; the descriptor is open.
    unsafe {
        match view {
            CgroupView::Callers => true,
            CgroupView::Own => libc::unshare(libc::CLONE_NEWCGROUP) == 0,
            CgroupView::Of(namespace) => libc::setns(namespace, libc::CLONE_NEWCGROUP) == 0,
        }
    }
}

/// False with errno set if it fails. Whoever has entered is still the host's root to files, and so becomes root inside.
///
/// # Safety
/// As for [`run`].
unsafe fn enter_user_namespace(namespace: RawFd) -> bool {
    let none = std::ptr::null::<libc::gid_t>();
    // SAFETY: raw system calls; the descriptor is open, and an empty list of groups is not read.
    unsafe {
        libc::setns(namespace, libc::CLONE_NEWUSER) == 0
            && libc::syscall(libc::SYS_setgroups, 0, none) == 0
            && libc::syscall(libc::SYS_setresgid, 0, 0, 0) == 0
            && libc::syscall(libc::SYS_setresuid, 0, 0, 0) == 0
    }
}

/// False with errno set if it fails. A caller without rights may "become" itself.
///
/// # Safety
/// As for [`run`].
unsafe fn switch_user(user: &Credentials) -> bool {
    // SAFETY: raw system calls by number (see the header); `groups` is live for its length.
    unsafe {
        if libc::geteuid() == user.uid && user.uid != 0 {
            return true;
        }
        libc::syscall(libc::SYS_setgroups, user.groups.len(), user.groups.as_ptr()) == 0
            && libc::syscall(libc::SYS_setresgid, user.gid, user.gid, user.gid) == 0
            && libc::syscall(libc::SYS_setresuid, user.uid, user.uid, user.uid) == 0
    }
}

/// Handlers are gone at exec, but ignored signals (std ignores SIGPIPE) and the mask would be inherited.
///
/// # Safety
/// As for [`run`].
unsafe fn default_signals(ignored: u64) {
    // The kernel's own structure: default action, no flags, no restorer, empty mask. By number because the C library
    // refuses the signals that it uses itself, which may be ignored just as well.
    let default = [0u64; 4];
    let empty = 0u64;
    let set_size = size_of::<u64>();
    let none = std::ptr::null_mut::<u64>();
    // SAFETY: both arguments are live and at least as large as the kernel reads (32 and 8 bytes).
    unsafe {
        for signal in (1..=LAST_SIGNAL).filter(|signal| ignored & (1 << (signal - 1)) != 0) {
            libc::syscall(
                libc::SYS_rt_sigaction,
                signal,
                default.as_ptr(),
                none,
                set_size,
            );
        }
        libc::syscall(
            libc::SYS_rt_sigprocmask,
            libc::SIG_SETMASK,
            &raw const empty,
            none,
            set_size,
        );
    }
}

/// As execvp: goes on to the next candidate if one is not there; the errno that says most.
///
/// # Safety
/// As for [`run`].
unsafe fn execute(p: &Prepared<'_>) -> i32 {
    let mut reason = libc::ENOENT;
    for path in p.candidates.iter().take_while(|path| !path.is_null()) {
        // SAFETY: all three are terminated as the contract demands.
        unsafe { libc::execve(*path, p.argv.as_ptr(), p.envp.as_ptr()) };
        match errno() {
            libc::ENOENT | libc::ENOTDIR => {}
            libc::EACCES => reason = libc::EACCES,
            other => return other,
        }
    }
    reason
}

fn errno() -> i32 {
    Errno::last_raw()
}
