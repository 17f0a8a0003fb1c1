//! What this machine has to offer: what the flag says, and for the rest what is found.
//!
//! Called once at start, so that a `Hello` says the same as long as the process lives. Invariant: no resource is negative,
//! and something is left for the system itself.

use std::path::Path;

use nesos_sys::{disk, machine};
use nesos_wire::resource::{Ranges, Resources, Scalar, Value};
use nesos_wire::resource_text;

use crate::settings::SettingsError;

const MB: u64 = 1024 * 1024;
const GB: u64 = 1024 * MB;
/// Memory kept for kernel and daemons: what an idle board uses, twice.
const MEM_RESERVE: u64 = 32 * MB;
/// And this part of the rest, for page cache; with a cap as Mesos has it.
const MEM_RESERVE_PART: u64 = 8;
const MEM_RESERVE_MAX: u64 = GB;
/// Disk kept free on large disks (Mesos's number); small ones offer half.
const DISK_RESERVE: u64 = 5 * GB;
/// Mesos's default.
const PORTS: std::ops::RangeInclusive<u64> = 31_000..=32_000;

/// Everything in `text`, completed by what is found.
pub(crate) fn all(text: &str, work_dir: &Path) -> Result<Resources, SettingsError> {
    if text.trim_start().starts_with('[') {
        return Err(SettingsError::new(
            "--resources",
            "JSON is not supported yet, expected name:value;…",
        ));
    }
    let mut resources =
        resource_text::parse(text).map_err(|e| SettingsError::new("--resources", e))?;
    let given: Vec<String> = text
        .split(';')
        .filter_map(|item| Some(item.split_once(':')?.0.trim().to_string()))
        .collect();
    let mut complete = |name: &str, find: &dyn Fn() -> Value| {
        if !given.iter().any(|g| g == name) {
            resources.insert(name, find());
        }
    };
    complete("cpus", &|| whole(u64::from(machine::cpus())));
    complete("mem", &|| {
        whole(offered_memory(machine::memory().unwrap_or(0)) / MB)
    });
    complete("disk", &|| {
        whole(offered_disk(disk::space(work_dir).map_or(0, |space| space.total)) / MB)
    });
    complete("ports", &|| Value::Ranges(Ranges::new([PORTS])));
    Ok(resources)
}

fn offered_memory(total: u64) -> u64 {
    let rest = total.saturating_sub(MEM_RESERVE);
    rest - (rest / MEM_RESERVE_PART).min(MEM_RESERVE_MAX)
}

fn offered_disk(total: u64) -> u64 {
    if total > 2 * DISK_RESERVE {
        total - DISK_RESERVE
    } else {
        total / 2
    }
}

fn whole(units: u64) -> Value {
    Value::Scalar(Scalar(
        i64::try_from(units)
            .unwrap_or(i64::MAX / 1000)
            .saturating_mul(1000),
    ))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn something_is_kept_back() {
        assert_eq!(offered_memory(128 * MB), 84 * MB);
        assert_eq!(offered_memory(16 * MB), 0);
        assert_eq!(offered_memory(64 * GB), 64 * GB - 32 * MB - GB);
        assert_eq!(offered_disk(8 * GB), 4 * GB);
        assert_eq!(offered_disk(100 * GB), 95 * GB);
    }

    #[test]
    fn what_is_given_is_not_detected() {
        let resources = all("cpus:0.5;ports:[1-2]", Path::new("/")).expect("valid");
        assert_eq!(resources.scalar("cpus"), Scalar(500));
        assert!(resources.scalar("mem").0 > 0);
        assert_eq!(
            resource_text::value_text(resources.get("ports").expect("given")),
            "[1-2]"
        );
        assert!(all("cpus", Path::new("/")).is_err());
        assert!(all("[{}]", Path::new("/")).is_err());
        assert!(
            all("mem:0", Path::new("/"))
                .expect("valid")
                .get("mem")
                .is_none()
        );
    }
}
