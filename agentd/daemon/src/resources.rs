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

/// Everything in `text`, completed by what is found. `text` is `name(role):value;…`, a JSON array of resources, or the
/// `file://` of either, as in Mesos. `gpus`: how many are found. `reserved`: memory kept for the system,
/// MiB, where a person has said how much.
pub(crate) fn all(
    text: &str,
    work_dir: &Path,
    gpus: usize,
    reserved: Option<u64>,
) -> Result<Resources, SettingsError> {
    let fail = |e: String| SettingsError::new("--resources", e);
    let read = match text.trim().strip_prefix("file://") {
        Some(path) => {
            Some(std::fs::read_to_string(path).map_err(|e| fail(format!("read {path}: {e}")))?)
        }
        None => None,
    };
    let (mut resources, given) = parse(read.as_deref().unwrap_or(text)).map_err(fail)?;
    let mut complete = |name: &str, find: &dyn Fn() -> Value| {
        if !given.iter().any(|g| g == name) {
            resources.insert(name, find());
        }
    };
    complete("cpus", &|| whole(u64::from(machine::cpus())));
    complete("mem", &|| {
        whole(offered_memory(machine::memory().unwrap_or(0), reserved) / MB)
    });
    complete("disk", &|| {
        whole(offered_disk(disk::space(work_dir).map_or(0, |space| space.total)) / MB)
    });
    if gpus > 0 {
        complete("gpus", &|| whole(gpus as u64));
    }
    complete("ports", &|| Value::Ranges(Ranges::new([PORTS])));
    Ok(resources)
}

/// What is given, and the names it gives: one with nothing of it is not looked for either.
fn parse(text: &str) -> Result<(Resources, Vec<String>), String> {
    if !text.trim_start().starts_with('[') {
        let resources = resource_text::parse(text).map_err(|e| e.to_string())?;
        let names = text.split(';').filter_map(|item| item.split_once(':'));
        let bare = |name: &str| name.split('(').next().unwrap_or_default().trim().to_owned();
        return Ok((resources, names.map(|(name, _)| bare(name)).collect()));
    }
    let list = nesos_api::resources::parse_list(text)?;
    let resources = nesos_api::resources::bag(&list)?;
    if let Some(made) = resources.entries().iter().find(|entry| entry.is_made()) {
        return Err(format!(
            "{} is dynamically reserved or a persistent volume; these are made by operations, never configured",
            made.name()
        ));
    }
    let names = list.into_iter().map(|resource| resource.name).collect();
    Ok((resources, names))
}

fn offered_memory(total: u64, reserved: Option<u64>) -> u64 {
    if let Some(reserved) = reserved {
        return total.saturating_sub(reserved.saturating_mul(MB));
    }
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
        assert_eq!(offered_memory(128 * MB, None), 84 * MB);
        assert_eq!(offered_memory(16 * MB, None), 0);
        assert_eq!(offered_memory(128 * MB, Some(64)), 64 * MB);
        assert_eq!(offered_memory(128 * MB, Some(u64::MAX)), 0);
        assert_eq!(offered_memory(64 * GB, None), 64 * GB - 32 * MB - GB);
        assert_eq!(offered_disk(8 * GB), 4 * GB);
        assert_eq!(offered_disk(100 * GB), 95 * GB);
    }

    #[test]
    fn json_and_text_mean_the_same() {
        let json = r#"[{"name":"cpus","type":"SCALAR","scalar":{"value":2},"role":"db"},
            {"name":"mem","type":"SCALAR","scalar":{"value":64}},
            {"name":"disk","type":"SCALAR","scalar":{"value":0}},
            {"name":"ports","type":"RANGES","ranges":{"range":[{"begin":1,"end":2}]}}]"#;
        let text = "cpus(db):2;mem:64;disk:0;ports:[1-2]";
        let from_text = all(text, Path::new("/"), 0, None).expect("valid");
        assert_eq!(
            all(json, Path::new("/"), 0, None).expect("valid"),
            from_text
        );
        assert_eq!(
            resource_text::text(&from_text),
            "cpus(db):2;mem:64;ports:[1-2]"
        );
        let made = r#"[{"name":"cpus","type":"SCALAR","scalar":{"value":2},"role":"db","reservation":{}}]"#;
        let refusal = all(made, Path::new("/"), 0, None)
            .expect_err("dynamic")
            .to_string();
        assert!(refusal.contains("dynamically reserved"), "{refusal}");
    }

    #[test]
    fn gpus_are_found_unless_they_are_given() {
        let gpus = |text| {
            all(text, Path::new("/"), 2, None)
                .expect("valid")
                .scalar("gpus")
        };
        assert_eq!(gpus(""), Scalar(2000));
        assert_eq!(gpus("gpus:1"), Scalar(1000));
        assert_eq!(gpus("gpus:0"), Scalar(0));
    }

    #[test]
    fn what_is_given_is_not_detected() {
        let resources = all("cpus:0.5;ports:[1-2]", Path::new("/"), 0, None).expect("valid");
        assert_eq!(resources.scalar("cpus"), Scalar(500));
        assert!(resources.scalar("mem").0 > 0);
        assert_eq!(
            resource_text::value_text(resources.get("ports").expect("given")),
            "[1-2]"
        );
        assert!(all("cpus", Path::new("/"), 0, None).is_err());
        assert!(all("[{}]", Path::new("/"), 0, None).is_err());
        assert!(all("file:///does/not/exist", Path::new("/"), 0, None).is_err());
        assert!(
            all("mem:0", Path::new("/"), 0, None)
                .expect("valid")
                .get("mem")
                .is_none()
        );
    }
}
