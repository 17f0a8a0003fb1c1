//! What /proc tells about processes: start times, children, descendants; and becoming a subreaper.
//!
//! Called by `agentd` (checkpoints) and `nesos-executor` (ending a tree of processes). Invariant: a process that
//! vanishes while it is looked at is treated as not there, never as an error of the whole.

use std::collections::BTreeMap;
use std::fs;
use std::io;

use nix::errno::Errno;

/// Largest number of descendants collected in one look; a tree beyond it is ended in several rounds.
const MAX_DESCENDANTS: usize = 4096;

/// The fields of /proc/<pid>/stat that matter here.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Stat {
    /// Z is a zombie, X dead, others live.
    pub state: u8,
    /// Parent's process id.
    pub parent: u32,
    /// Its process group.
    pub group: u32,
    /// Its session.
    pub session: u32,
    /// Clock ticks after boot at which it started.
    pub start_time: u64,
}

/// What a process and the children it has waited for have used.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Consumed {
    /// Microseconds in user mode.
    pub user_us: u64,
    /// Microseconds in the kernel.
    pub system_us: u64,
    /// Bytes in memory now.
    pub resident: u64,
    /// Processes.
    pub processes: u32,
}

/// What the descendants of `root` (without it) have used. Reads all of /proc: meant for people's questions.
pub fn consumed_below(root: u32) -> Consumed {
    let mut sum = Consumed::default();
    for (pid, _) in descendants(root) {
        let text = fs::read(format!("/proc/{pid}/stat")).unwrap_or_default();
        if let Some(one) = parse_consumed(&text) {
            sum.user_us += one.user_us;
            sum.system_us += one.system_us;
            sum.resident += one.resident;
            sum.processes += 1;
        }
    }
    sum
}

/// Clock ticks after boot at which the process started: with its id, its identity until the next boot.
pub fn start_time(pid: u32) -> io::Result<u64> {
    stat(pid).map(|stat| stat.start_time)
}

/// Reads /proc/<pid>/stat.
pub fn stat(pid: u32) -> io::Result<Stat> {
    let text = fs::read(format!("/proc/{pid}/stat"))?;
    parse_stat(&text).ok_or_else(|| io::Error::from(io::ErrorKind::InvalidData))
}

/// Descendants of `root` (without it), nearest first, zombies left out. Reads all of /proc: meant for the end of a
/// task, not for a loop.
pub fn descendants(root: u32) -> Vec<(u32, Stat)> {
    let mut children: BTreeMap<u32, Vec<(u32, Stat)>> = BTreeMap::new();
    for (pid, stat) in living() {
        children.entry(stat.parent).or_default().push((pid, stat));
    }
    let mut found = children.remove(&root).unwrap_or_default();
    let mut next = 0;
    while let Some((parent, _)) = found.get(next).copied()
        && found.len() < MAX_DESCENDANTS
    {
        next += 1;
        found.extend(children.remove(&parent).unwrap_or_default());
    }
    found
}

/// Living processes in whose initial environment `entry` stands, as `NAME=value`. Reads all of /proc: meant for what an
/// accident has left behind. Processes of other users are seen by root only; one that is about to start (`execve` under way)
/// has no environment for a moment, so who wants all looks again.
pub fn with_environment(entry: &[u8]) -> Vec<(u32, Stat)> {
    let mut found = living();
    found.retain(|(pid, _)| {
        // A process that has just ended, or is none of ours to look at, is not found.
        let environment = fs::read(format!("/proc/{pid}/environ")).unwrap_or_default();
        environment.split(|byte| *byte == 0).any(|one| one == entry)
    });
    found
}

/// All processes but zombies.
fn living() -> Vec<(u32, Stat)> {
    let entries = fs::read_dir("/proc").into_iter().flatten().flatten();
    let pids = entries.filter_map(|entry| entry.file_name().to_str()?.parse::<u32>().ok());
    pids.filter_map(|pid| Some((pid, stat(pid).ok()?)))
        .filter(|(_, stat)| !matches!(stat.state, b'Z' | b'X'))
        .collect()
}

/// Makes this process the new parent of every orphaned descendant.
pub fn become_subreaper() -> Result<(), Errno> {
    nix::sys::prctl::set_child_subreaper(true)
}

/// The name may contain anything, `)` and newlines included; hence the search from the end.
fn parse_stat(text: &[u8]) -> Option<Stat> {
    let end_of_name = text.iter().rposition(|byte| *byte == b')')?;
    let rest = std::str::from_utf8(text.get(end_of_name + 1..)?).ok()?;
    let mut fields = rest.split_ascii_whitespace();
    let state = *fields.next()?.as_bytes().first()?;
    let parent = fields.next()?.parse().ok()?;
    let group = fields.next()?.parse().ok()?;
    let session = fields.next()?.parse().ok()?;
    // Field 22 by proc(5)'s count; state is 3, the session 6.
    let start_time = fields.nth(15)?.parse().ok()?;
    Some(Stat {
        state,
        parent,
        group,
        session,
        start_time,
    })
}

fn parse_consumed(text: &[u8]) -> Option<Consumed> {
    // USER_HZ, which Linux has fixed for user space on all of our architectures.
    const TICK_US: u64 = 10_000;
    let page = nix::unistd::sysconf(nix::unistd::SysconfVar::PAGE_SIZE).ok()??;
    let end_of_name = text.iter().rposition(|byte| *byte == b')')?;
    let rest = std::str::from_utf8(text.get(end_of_name + 1..)?).ok()?;
    // Numbered as in proc(5); state is 3.
    let fields: Vec<&str> = rest.split_ascii_whitespace().collect();
    let field = |number: usize| fields.get(number - 3)?.parse::<u64>().ok();
    Some(Consumed {
        user_us: (field(14)? + field(16)?) * TICK_US,
        system_us: (field(15)? + field(17)?) * TICK_US,
        resident: field(24)? * u64::try_from(page).ok()?,
        processes: 1,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_with_brackets_and_spaces_does_not_shift_the_fields() {
        let text =
            b"42 (a) R 7 (b)) S 1 42 42 0 -1 4194560 1 0 0 0 0 0 0 0 20 0 1 0 1234567 1000 1\n";
        assert_eq!(
            parse_stat(text),
            Some(Stat {
                state: b'S',
                parent: 1,
                group: 42,
                session: 42,
                start_time: 1_234_567
            })
        );
        assert_eq!(parse_stat(b"42 (short) S 1"), None);
        assert_eq!(parse_stat(b""), None);
    }

    #[test]
    fn what_a_process_has_used_is_in_its_fields() {
        let text = b"42 (a b) S 1 42 42 0 -1 0 1 0 0 0 5 6 7 8 20 0 1 0 1234567 1000 3 1\n";
        let used = parse_consumed(text).expect("whole");
        assert_eq!((used.user_us, used.system_us), (120_000, 140_000));
        assert!(used.resident >= 3 * 4096 && used.processes == 1);
        assert_eq!(parse_consumed(b"42 (short) S 1"), None);
    }

    #[test]
    fn a_process_is_known_by_its_environment() {
        let mut child = std::process::Command::new("sleep")
            .arg("1000")
            .env("NESOS_TEST_CONTAINER", std::process::id().to_string())
            .spawn()
            .expect("sleep");
        let entry = format!("NESOS_TEST_CONTAINER={}", std::process::id());
        // `spawn` may return a moment before the new program's environment can be seen.
        let deadline = std::time::Instant::now() + std::time::Duration::from_secs(10);
        let mut found = Vec::new();
        while found.is_empty() && std::time::Instant::now() < deadline {
            found = with_environment(entry.as_bytes());
        }
        let part = with_environment(
            entry
                .trim_end_matches(|c: char| c.is_ascii_digit())
                .as_bytes(),
        );
        child.kill().expect("its parent may");
        child.wait().expect("its parent may");
        assert_eq!(
            found.iter().map(|(pid, _)| *pid).collect::<Vec<_>>(),
            [child.id()]
        );
        assert_eq!(
            (part.len(), with_environment(entry.as_bytes()).len()),
            (0, 0)
        );
    }

    #[test]
    fn this_process_has_a_start_time_and_is_its_parents_descendant() {
        let me = std::process::id();
        let own = stat(me).expect("own stat");
        assert!(own.start_time > 0);
        assert!(
            descendants(own.parent)
                .iter()
                .any(|(pid, stat)| (*pid, stat.start_time) == (me, own.start_time))
        );
    }
}
