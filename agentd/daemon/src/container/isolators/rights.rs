//! The isolators that take rights from a task: capabilities, new privileges, system calls, rlimits.
//!
//! They say what is left; it is taken between clone and exec. Invariant: a task never gets more than the operator allows.

use nesos_api::v1::{self, CapabilityInfo, CapabilityInfoCapability as Capability};
use nesos_wire::rights::ResourceLimit;

use super::{Isolator, Refusal, Setup, Wish};
use crate::settings::{Settings, SettingsError};

/// Mesos's number of a capability is Linux's and this.
const FIRST: i32 = 1000;
/// What programs of containers usually need, and what gives no power over the machine: the rest needs
/// `--bounding_capabilities`. Mesos's default is all, which is root on the board.
pub(super) const DEFAULT_BOUNDING: u64 = bits(&[
    Capability::Chown,
    Capability::DacOverride,
    Capability::Fowner,
    Capability::Fsetid,
    Capability::Kill,
    Capability::Setgid,
    Capability::Setuid,
    Capability::Setpcap,
    Capability::NetBindService,
    Capability::NetRaw,
    Capability::SysChroot,
    Capability::AuditWrite,
    Capability::Setfcap,
]);

/// What nobody has in a user namespace but for what belongs to it, which is a network of its own.
const OF_NETWORK: u64 = bits(&[
    Capability::NetAdmin,
    Capability::NetBindService,
    Capability::NetRaw,
]);
/// What nobody has there at all.
const OF_HOST: u64 = bits(&[
    Capability::LinuxImmutable,
    Capability::Mknod,
    Capability::SysBoot,
    Capability::Syslog,
    Capability::SysModule,
    Capability::SysRawio,
    Capability::SysTime,
]);

/// The bounding and effective sets.
#[derive(Debug)]
pub(super) struct Capabilities {
    /// `--effective_capabilities`.
    effective: Option<u64>,
    /// `--bounding_capabilities`.
    bounding: u64,
}

impl Capabilities {
    pub(super) fn new(settings: &Settings) -> Result<Self, SettingsError> {
        let flags = &settings.flags;
        Self::of(
            flags.text("effective_capabilities"),
            flags.text("bounding_capabilities"),
        )
    }

    pub(super) fn of(
        effective: Option<&str>,
        bounding: Option<&str>,
    ) -> Result<Self, SettingsError> {
        let read = |name: &str, text: Option<&str>| {
            let read = text.map(|text| CapabilityInfo::from_json(text.as_bytes()));
            let read = read.transpose().map_err(|e| SettingsError::new(name, e))?;
            Ok::<_, SettingsError>(read.as_ref().map(set))
        };
        let effective = read("--effective_capabilities", effective)?;
        let bounding = read("--bounding_capabilities", bounding)?.unwrap_or(DEFAULT_BOUNDING);
        if effective.is_some_and(|effective| effective & !bounding != 0) {
            return Err(SettingsError::new(
                "--effective_capabilities",
                "expected some of --bounding_capabilities",
            ));
        }
        Ok(Self {
            effective,
            bounding,
        })
    }

    /// What tasks have unless they ask, and the most that they get.
    #[cfg(test)]
    pub(super) fn rule(&self) -> (Option<u64>, u64) {
        (self.effective, self.bounding)
    }
}

impl Isolator for Capabilities {
    fn name(&self) -> &'static str {
        "linux/capabilities"
    }

    fn prepare(&self, wish: &Wish<'_>, setup: &mut Setup) -> Result<(), Refusal> {
        let linux = wish.linux();
        let asked = match (&linux.capability_info, &linux.effective_capabilities) {
            (Some(_), Some(_)) => {
                return Err(Refusal::new(
                    "capability_info is the older name of effective_capabilities: only one of them can be set",
                ));
            }
            (older, newer) => newer.as_ref().or(older.as_ref()).map(set),
        };
        let bounding = linux.bounding_capabilities.as_ref().map(set);
        let effective = asked.or(self.effective);
        // Mesos: who asks for some and names no bounds is bounded by them.
        let bounding = bounding.or(asked).unwrap_or(self.bounding);
        if bounding & !self.bounding != 0 {
            return Err(Refusal::new(
                "it asks for capabilities beyond the agent's --bounding_capabilities",
            ));
        }
        if asked.is_some_and(|asked| asked & !bounding != 0) {
            return Err(Refusal::new(
                "its effective capabilities are not among its bounding capabilities",
            ));
        }
        if setup.rights.ids.is_some() {
            check_inside(asked.unwrap_or(0), setup.network.is_some())?;
        }
        setup.rights.bounding = Some(bounding);
        setup.rights.effective = effective.map(|effective| effective & bounding);
        Ok(())
    }
}

/// Whether capabilities that are asked for mean something in a user namespace.
fn check_inside(asked: u64, has_network: bool) -> Result<(), Refusal> {
    if asked & OF_HOST != 0 {
        return Err(Refusal::new(
            "of the capabilities that it asks for nobody has LINUX_IMMUTABLE, MKNOD, SYS_BOOT, SYSLOG, SYS_MODULE, SYS_RAWIO and SYS_TIME in a user namespace (namespaces/user)",
        ));
    }
    if asked & OF_NETWORK != 0 && !has_network {
        return Err(Refusal::new(
            "in a user namespace (namespaces/user) NET_ADMIN, NET_BIND_SERVICE and NET_RAW are for a network of its own only, and it asks for none",
        ));
    }
    Ok(())
}

/// No program gives a task more than it has.
#[derive(Debug)]
pub(super) struct NoNewPrivileges;

impl Isolator for NoNewPrivileges {
    fn name(&self) -> &'static str {
        "linux/nnp"
    }

    fn prepare(&self, _wish: &Wish<'_>, setup: &mut Setup) -> Result<(), Refusal> {
        setup.rights.no_new_privileges = true;
        Ok(())
    }
}

/// The filter of system calls; there is one.
#[derive(Debug)]
pub(super) struct Seccomp;

impl Isolator for Seccomp {
    fn name(&self) -> &'static str {
        "linux/seccomp"
    }

    fn prepare(&self, wish: &Wish<'_>, setup: &mut Setup) -> Result<(), Refusal> {
        let seccomp = wish.linux().seccomp.unwrap_or_default();
        if let Some(name) = seccomp.profile_name {
            return Err(Refusal::new(format!(
                "there is no seccomp profile '{name}', only the one that tasks without a name get"
            )));
        }
        setup.rights.is_filtered = seccomp.unconfined != Some(true);
        Ok(())
    }
}

/// setrlimit.
#[derive(Debug)]
pub(super) struct ResourceLimits;

impl Isolator for ResourceLimits {
    fn name(&self) -> &'static str {
        "posix/rlimits"
    }

    fn needs_root(&self) -> bool {
        false
    }

    fn prepare(&self, wish: &Wish<'_>, setup: &mut Setup) -> Result<(), Refusal> {
        let limits = wish.container.rlimit_info.iter();
        for limit in limits.flat_map(|info| &info.rlimits) {
            let limit = resource_limit(limit).map_err(Refusal::new)?;
            let mut known = setup.rights.limits.iter();
            if known.any(|known| known.resource == limit.resource) {
                return Err(Refusal::new("it sets an rlimit twice"));
            }
            setup.rights.limits.push(limit);
        }
        Ok(())
    }
}

fn resource_limit(limit: &v1::RLimitInfoRLimit) -> Result<ResourceLimit, String> {
    let resource = limit.r#type.and_then(linux_number);
    let resource = resource.ok_or("an rlimit has no type that is known")?;
    let (soft, hard) = match (limit.soft, limit.hard) {
        (None, None) => (u64::MAX, u64::MAX),
        (Some(soft), Some(hard)) if soft <= hard => (soft, hard),
        (Some(soft), Some(hard)) => {
            return Err(format!(
                "an rlimit's soft limit {soft} is above its hard limit {hard}"
            ));
        }
        _ => return Err("an rlimit has both a soft and a hard limit, or neither".into()),
    };
    Ok(ResourceLimit {
        resource,
        soft,
        hard,
    })
}

/// Linux's numbers on every machine that Nesos runs on.
fn linux_number(kind: v1::RLimitInfoRLimitType) -> Option<u8> {
    use v1::RLimitInfoRLimitType::*;
    Some(match kind {
        Unknown => return None,
        RlmtCpu => 0,
        RlmtFsize => 1,
        RlmtData => 2,
        RlmtStack => 3,
        RlmtCore => 4,
        RlmtRss => 5,
        RlmtNproc => 6,
        RlmtNofile => 7,
        RlmtMemlock => 8,
        RlmtAs => 9,
        RlmtLocks => 10,
        RlmtSigpending => 11,
        RlmtMsgqueue => 12,
        RlmtNice => 13,
        RlmtRtprio => 14,
        RlmtRttime => 15,
    })
}

fn set(info: &CapabilityInfo) -> u64 {
    bits(&info.capabilities)
}

/// Linux's bits; one that is not known stands for none.
const fn bits(capabilities: &[Capability]) -> u64 {
    let mut bits = 0;
    let mut index = 0;
    while index < capabilities.len() {
        let number = capabilities[index] as i32 - FIRST;
        if number >= 0 {
            bits |= 1 << number;
        }
        index += 1;
    }
    bits
}
