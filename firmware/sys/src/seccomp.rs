//! The filter of system calls that tasks run behind: a list of what is refused, as classic BPF. Pure; the kernel is given it by
//! module `container`.
//!
//! It takes what no task needs and what has let programs out of containers: mounting, new namespaces, kernel keys, modules,
//! BPF, io_uring, handles of files, the clock, reboot. Capabilities refuse much of it already; a task that has them by request
//! is refused here all the same, unless it is unconfined. Invariant: a call of a foreign architecture, whose numbers mean
//! something else, ends the task.

/// What a refused call returns.
const EPERM: u32 = libc::EPERM as u32;
/// What a call returns that programs do without.
const ENOSYS: u32 = libc::ENOSYS as u32;

/// linux/seccomp.h
const KILL_PROCESS: u32 = 0x8000_0000;
const ERRNO: u32 = 0x0005_0000;
const ALLOW: u32 = 0x7fff_0000;
/// Offsets in `struct seccomp_data`; of an argument, its low half on the little-endian machines that Nesos runs on.
const NUMBER: u32 = 0;
const ARCHITECTURE: u32 = 4;
const fn argument(index: u32) -> u32 {
    16 + 8 * index
}

/// linux/audit.h
#[cfg(target_arch = "x86_64")]
const OWN_ARCHITECTURE: u32 = 0xc000_003e;
#[cfg(target_arch = "aarch64")]
const OWN_ARCHITECTURE: u32 = 0xc000_00b7;
/// The first number of the x32 calls, which have no architecture of their own.
#[cfg(target_arch = "x86_64")]
const FOREIGN_FROM: u32 = 0x4000_0000;

/// asm-generic/ioctls.h; the C libraries do not agree on its type.
const TIOCSTI: u32 = 0x5412;
/// Every CLONE_NEW* flag that clone takes.
const NEW_NAMESPACES: u32 = 0x7e02_0000;
/// The crate libc lacks it for musl.
#[cfg(target_arch = "x86_64")]
const KEXEC_FILE_LOAD: libc::c_long = 320;
#[cfg(target_arch = "aarch64")]
const KEXEC_FILE_LOAD: libc::c_long = 294;
/// Calls that are refused whatever their arguments are.
const REFUSED: [libc::c_long; 41] = [
    libc::SYS_acct,
    libc::SYS_add_key,
    libc::SYS_adjtimex,
    libc::SYS_bpf,
    libc::SYS_clock_settime,
    libc::SYS_delete_module,
    libc::SYS_fanotify_init,
    libc::SYS_finit_module,
    libc::SYS_fsconfig,
    libc::SYS_fsmount,
    libc::SYS_fsopen,
    libc::SYS_fspick,
    libc::SYS_init_module,
    libc::SYS_io_uring_enter,
    libc::SYS_io_uring_register,
    libc::SYS_io_uring_setup,
    KEXEC_FILE_LOAD,
    libc::SYS_kexec_load,
    libc::SYS_keyctl,
    libc::SYS_lookup_dcookie,
    libc::SYS_mount,
    libc::SYS_mount_setattr,
    libc::SYS_move_mount,
    libc::SYS_name_to_handle_at,
    libc::SYS_nfsservctl,
    libc::SYS_open_by_handle_at,
    libc::SYS_open_tree,
    libc::SYS_perf_event_open,
    libc::SYS_pivot_root,
    libc::SYS_quotactl,
    libc::SYS_reboot,
    libc::SYS_request_key,
    libc::SYS_setns,
    libc::SYS_settimeofday,
    libc::SYS_swapoff,
    libc::SYS_swapon,
    libc::SYS_syslog,
    libc::SYS_umount2,
    libc::SYS_unshare,
    libc::SYS_userfaultfd,
    libc::SYS_vhangup,
];

/// linux/bpf_common.h
const LOAD: u16 = 0x20;
const JUMP_IF_EQUAL: u16 = 0x15;
#[cfg(target_arch = "x86_64")]
const JUMP_IF_AT_LEAST: u16 = 0x35;
const JUMP_IF_ANY: u16 = 0x45;
const RETURN: u16 = 0x06;

/// The filter: the same for every task.
pub(crate) fn filter() -> Vec<libc::sock_filter> {
    let mut program = vec![load(ARCHITECTURE), skip_if(JUMP_IF_EQUAL, OWN_ARCHITECTURE)];
    program.extend([answer(KILL_PROCESS), load(NUMBER)]);
    #[cfg(target_arch = "x86_64")]
    program.extend([
        skip_unless(JUMP_IF_AT_LEAST, FOREIGN_FROM, 1),
        answer(KILL_PROCESS),
    ]);
    for call in REFUSED {
        program.extend([
            skip_unless(JUMP_IF_EQUAL, number(call), 1),
            answer(ERRNO | EPERM),
        ]);
    }
    // Its flags lie in memory, where no filter can look; C libraries then use clone.
    program.extend([
        skip_unless(JUMP_IF_EQUAL, number(libc::SYS_clone3), 1),
        answer(ERRNO | ENOSYS),
    ]);
    let guarded = [
        (libc::SYS_clone, 0, JUMP_IF_ANY, NEW_NAMESPACES),
        // Puts input into a terminal that the task may share with whoever looks at it.
        (libc::SYS_ioctl, 1, JUMP_IF_EQUAL, TIOCSTI),
    ];
    for (call, index, test, value) in guarded {
        program.extend([
            skip_unless(JUMP_IF_EQUAL, number(call), 4),
            load(argument(index)),
            skip_unless(test, value, 1),
            answer(ERRNO | EPERM),
            load(NUMBER),
        ]);
    }
    program.push(answer(ALLOW));
    program
}

/// The numbers are small and positive.
fn number(call: libc::c_long) -> u32 {
    call as u32
}

fn load(offset: u32) -> libc::sock_filter {
    instruction(LOAD, 0, 0, offset)
}

fn answer(value: u32) -> libc::sock_filter {
    instruction(RETURN, 0, 0, value)
}

/// Skips the next instruction if the test is true.
fn skip_if(test: u16, value: u32) -> libc::sock_filter {
    instruction(test, 1, 0, value)
}

/// Skips the next `count` instructions unless the test is true.
fn skip_unless(test: u16, value: u32, count: u8) -> libc::sock_filter {
    instruction(test, 0, count, value)
}

fn instruction(code: u16, jt: u8, jf: u8, k: u32) -> libc::sock_filter {
    libc::sock_filter { code, jt, jf, k }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// What the kernel would answer: the four instructions that the filter uses.
    fn run(architecture: u32, call: libc::c_long, arguments: [u64; 6]) -> u32 {
        let mut data = Vec::new();
        data.extend((call as u32).to_le_bytes());
        data.extend(architecture.to_le_bytes());
        data.extend(0u64.to_le_bytes());
        data.extend(arguments.iter().flat_map(|argument| argument.to_le_bytes()));
        let program = filter();
        let (mut at, mut loaded) = (0, 0u32);
        loop {
            let i = program[at];
            let test = match i.code {
                LOAD => {
                    let k = i.k as usize;
                    loaded = u32::from_le_bytes(data[k..k + 4].try_into().expect("inside"));
                    at += 1;
                    continue;
                }
                RETURN => return i.k,
                JUMP_IF_EQUAL => loaded == i.k,
                0x35 => loaded >= i.k,
                JUMP_IF_ANY => loaded & i.k != 0,
                other => panic!("instruction {other:#x}"),
            };
            at += 1 + usize::from(if test { i.jt } else { i.jf });
        }
    }

    fn call(call: libc::c_long, arguments: [u64; 6]) -> u32 {
        run(OWN_ARCHITECTURE, call, arguments)
    }

    #[test]
    fn every_call_of_the_list_is_refused_and_its_neighbours_are_not() {
        for refused in REFUSED {
            assert_eq!(call(refused, [0; 6]), ERRNO | EPERM, "{refused}");
        }
        let guarded = [libc::SYS_clone3];
        for number in 0..600 {
            if !REFUSED.contains(&number) && !guarded.contains(&number) {
                assert_eq!(call(number, [0; 6]), ALLOW, "{number}");
            }
        }
        let mut sorted = REFUSED;
        sorted.sort_unstable();
        assert!(sorted.windows(2).all(|pair| pair[0] != pair[1]));
    }

    #[test]
    fn processes_and_threads_may_be_made_but_no_namespaces() {
        let fork = libc::SIGCHLD as u64;
        let thread = (libc::CLONE_VM | libc::CLONE_THREAD | libc::CLONE_SIGHAND) as u64;
        for flags in [fork, thread] {
            assert_eq!(call(libc::SYS_clone, [flags, 0, 0, 0, 0, 0]), ALLOW);
        }
        let namespaces = [
            libc::CLONE_NEWNS,
            libc::CLONE_NEWUSER,
            libc::CLONE_NEWPID,
            libc::CLONE_NEWNET,
            libc::CLONE_NEWCGROUP,
            libc::CLONE_NEWUTS,
            libc::CLONE_NEWIPC,
        ];
        for namespace in namespaces {
            let flags = fork | namespace as u64;
            assert_eq!(call(libc::SYS_clone, [flags, 0, 0, 0, 0, 0]), ERRNO | EPERM);
        }
        assert_eq!(call(libc::SYS_clone3, [0; 6]), ERRNO | ENOSYS);
    }

    #[test]
    fn terminals_get_no_input_from_tasks() {
        let ioctl = |request: u64| call(libc::SYS_ioctl, [0, request, 0, 0, 0, 0]);
        assert_eq!(ioctl(u64::from(TIOCSTI)), ERRNO | EPERM);
        assert_eq!(ioctl(0x5413), ALLOW);
        // The kernel looks at 32 bits of the request only.
        assert_eq!(ioctl(1 << 32 | u64::from(TIOCSTI)), ERRNO | EPERM);
    }

    #[test]
    fn another_architectures_numbers_end_the_task() {
        assert_eq!(run(0x4000_0028, libc::SYS_read, [0; 6]), KILL_PROCESS);
        #[cfg(target_arch = "x86_64")]
        assert_eq!(call(libc::SYS_read | 0x4000_0000, [0; 6]), KILL_PROCESS);
    }
}
