//! `cgroups/blkio`: traffic to disks, counted for whoever shows usage, and limited where somebody says so.
//!
//! Mesos's limits nothing. Here `--cgroups_io_max` holds for every container, and a task may ask for less by its label `io_max`;
//! both are about the disk of the work directory, where sandboxes and what is written to images lie.

use nesos_api::v1;
use nesos_shell::flags::parse_bytes;
use nesos_sys::cgroup::{IoMax, Limits};
use nesos_sys::disk;
use nesos_wire::framework_executor::ExecutorKind;
use nesos_wire::task::TaskSpec;

use super::{Isolator, Refusal, Setup, Wish};
use crate::settings::{Settings, SettingsError};

/// The label by which a task, or an executor, asks for a limit.
const LABEL: &str = "io_max";

/// The isolator.
#[derive(Debug)]
pub(super) struct Io {
    /// Of every container.
    most: IoMax,
    /// Major and minor number of the disk; none: it is none, or cannot be told.
    disk: Option<(u32, u32)>,
}

impl Io {
    pub(super) fn new(settings: &Settings) -> Result<Self, SettingsError> {
        let text = settings.flags.text_or_empty("cgroups_io_max");
        let most = parse(text).map_err(|e| SettingsError::new("--cgroups_io_max", e))?;
        Ok(Self {
            most,
            disk: disk::whole_disk(&settings.work_dir),
        })
    }

    /// The lower of what holds for all and what this one asks for.
    fn of(&self, spec: &TaskSpec) -> Result<IoMax, String> {
        match label(spec) {
            Some(text) => Ok(lower(self.most, parse(&text)?)),
            None => Ok(self.most),
        }
    }
}

impl Isolator for Io {
    fn name(&self) -> &'static str {
        "cgroups/blkio"
    }

    fn check(&self) -> Result<(), String> {
        match self.disk {
            None if self.most != IoMax::default() => {
                Err("--cgroups_io_max: work_dir is on no disk whose traffic can be limited".into())
            }
            _ => Ok(()),
        }
    }

    fn limit(&self, spec: &TaskSpec, limits: &mut Option<Limits>) {
        let limits = limits.get_or_insert_default();
        // One that cannot be understood was refused before.
        let most = self.of(spec).unwrap_or(self.most);
        limits.io_max = self
            .disk
            .filter(|_| most != IoMax::default())
            .map(|disk| (disk, most));
    }

    fn prepare(&self, wish: &Wish<'_>, _setup: &mut Setup) -> Result<(), Refusal> {
        let refuse = |e: String| Refusal::new(format!("label {LABEL}: {e}"));
        let most = self.of(wish.spec).map_err(refuse)?;
        match self.disk {
            None if most != IoMax::default() => Err(refuse(
                "the agent's work_dir is on no disk whose traffic can be limited".into(),
            )),
            _ => Ok(()),
        }
    }
}

fn label(spec: &TaskSpec) -> Option<String> {
    // Few have it, and reading the whole of all the others would be part of each launch.
    let mut places = spec.info.windows(LABEL.len());
    if !places.any(|bytes| bytes == LABEL.as_bytes()) {
        return None;
    }
    let labels = match spec.kind {
        ExecutorKind::Custom => v1::ExecutorInfo::from_protobuf(&spec.info).ok()?.labels,
        _ => v1::TaskInfo::from_protobuf(&spec.info).ok()?.labels,
    };
    let found = labels?
        .labels
        .into_iter()
        .find(|label| label.key == LABEL)?;
    found.value
}

/// `rbps=10MB,wbps=5MB,riops=100,wiops=50`; what is left out is not limited.
fn parse(text: &str) -> Result<IoMax, String> {
    let mut most = IoMax::default();
    for part in text
        .split(',')
        .map(str::trim)
        .filter(|part| !part.is_empty())
    {
        let (name, value) = part.split_once('=').unwrap_or((part, ""));
        let (place, number) = match name {
            "rbps" => (&mut most.read_bytes, parse_bytes(value)),
            "wbps" => (&mut most.write_bytes, parse_bytes(value)),
            "riops" => (&mut most.reads, value.parse().ok()),
            "wiops" => (&mut most.writes, value.parse().ok()),
            _ => return Err(format!("'{name}' is none of rbps, wbps, riops and wiops")),
        };
        *place = number.filter(|number| *number > 0);
        if place.is_none() {
            let expected = match name {
                "rbps" | "wbps" => "bytes a second such as 10MB",
                _ => "operations a second such as 100",
            };
            return Err(format!("'{part}': expected {expected}"));
        }
    }
    Ok(most)
}

fn lower(a: IoMax, b: IoMax) -> IoMax {
    let lower = |a: Option<u64>, b: Option<u64>| match (a, b) {
        (Some(a), Some(b)) => Some(a.min(b)),
        (a, b) => a.or(b),
    };
    IoMax {
        read_bytes: lower(a.read_bytes, b.read_bytes),
        write_bytes: lower(a.write_bytes, b.write_bytes),
        reads: lower(a.reads, b.reads),
        writes: lower(a.writes, b.writes),
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    fn spec(label: &str) -> TaskSpec {
        let key = nesos_wire::TaskKey {
            framework: nesos_wire::FrameworkId::new("f"),
            task: nesos_wire::TaskId::new("t"),
        };
        let text = format!(
            r#"{{"name":"n","task_id":{{"value":"t"}},"agent_id":{{"value":"a"}},"command":{{"value":"true"}},
                "labels":{{"labels":[{{"key":"other","value":"1"}}{label}]}}}}"#
        );
        TaskSpec {
            info: v1::TaskInfo::from_json(text.as_bytes())
                .unwrap()
                .to_protobuf(),
            ..crate::container::tests::spec(&key)
        }
    }

    #[test]
    fn a_task_may_ask_for_less_than_all_have() {
        let io = Io {
            most: parse("wbps=2MB, riops=100").unwrap(),
            disk: Some((8, 0)),
        };
        let limits = |label: &str| {
            let mut limits = None;
            io.limit(&spec(label), &mut limits);
            limits.unwrap().io_max.unwrap()
        };
        let all = IoMax {
            write_bytes: Some(2 << 20),
            reads: Some(100),
            ..IoMax::default()
        };
        assert_eq!(limits(""), ((8, 0), all));
        let less = r#",{"key":"io_max","value":"wbps=1MB,riops=500,wiops=7"}"#;
        let expected = IoMax {
            write_bytes: Some(1 << 20),
            writes: Some(7),
            ..all
        };
        assert_eq!(limits(less), ((8, 0), expected));
    }

    #[test]
    fn what_cannot_be_is_refused_in_words() {
        for (text, words) in [
            ("speed=1", "'speed' is none of rbps"),
            ("wbps", "'wbps': expected bytes a second"),
            ("riops=0", "'riops=0': expected operations"),
        ] {
            assert!(parse(text).unwrap_err().contains(words), "{text}");
        }
        let nowhere = Io {
            most: IoMax::default(),
            disk: None,
        };
        nowhere.check().unwrap();
        let container = nesos_wire::ContainerId::new("c");
        let refuse = |spec: &TaskSpec| {
            let wish = Wish::new(spec, &container, std::path::Path::new("/s"), None);
            nowhere.prepare(&wish, &mut Setup::default())
        };
        refuse(&spec("")).unwrap();
        let error = refuse(&spec(r#",{"key":"io_max","value":"wbps=1MB"}"#)).unwrap_err();
        assert!(
            error.to_string().contains("no disk whose traffic"),
            "{error}"
        );
        let error = refuse(&spec(r#",{"key":"io_max","value":"fast"}"#)).unwrap_err();
        assert!(
            error.to_string().contains("label io_max: 'fast'"),
            "{error}"
        );
    }
}
