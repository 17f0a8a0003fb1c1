//! What this machine has: processors, memory, boot id, host name. Called by `agentd` for its resources and identity.
//!
//! Invariant: detection never fails; what cannot be read is `None` or the smallest sensible value.

use std::fs;
use std::thread;

/// Processors this process may use; at least 1.
pub fn cpus() -> u32 {
    thread::available_parallelism().map_or(1, |count| u32::try_from(count.get()).unwrap_or(1))
}

/// Main memory in bytes as the kernel manages it (less than what is soldered on).
pub fn memory() -> Option<u64> {
    meminfo("MemTotal")
}

/// Memory that could be had now without swapping, bytes.
pub fn memory_available() -> Option<u64> {
    meminfo("MemAvailable")
}

/// Random id of this boot; process ids and start times are comparable only inside one boot.
pub fn boot_id() -> Option<String> {
    let text = fs::read_to_string("/proc/sys/kernel/random/boot_id").ok()?;
    Some(text.trim().to_owned())
}

/// The kernel's host name.
pub fn hostname() -> Option<String> {
    let text = fs::read_to_string("/proc/sys/kernel/hostname").ok()?;
    Some(text.trim().to_owned()).filter(|name| !name.is_empty())
}

fn meminfo(key: &str) -> Option<u64> {
    parse_meminfo(&fs::read_to_string("/proc/meminfo").ok()?, key)
}

fn parse_meminfo(text: &str, key: &str) -> Option<u64> {
    let rest = text
        .lines()
        .find_map(|line| line.strip_prefix(key)?.strip_prefix(':'))?;
    rest.trim()
        .strip_suffix("kB")?
        .trim()
        .parse::<u64>()
        .ok()?
        .checked_mul(1024)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn meminfo_is_in_kibibytes() {
        let text = "MemTotal:         123 kB\nMemAvailable:      7 kB\n";
        assert_eq!(parse_meminfo(text, "MemTotal"), Some(123 * 1024));
        assert_eq!(parse_meminfo(text, "Mem"), None);
    }

    #[test]
    fn this_machine_has_something() {
        assert!(cpus() >= 1);
        assert!(memory() > memory_available());
    }
}
