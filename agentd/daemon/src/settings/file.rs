//! cluster.toml, as far as it is agentd's. Called by the parent module. Invariant: the command line takes precedence.

use nesos_base::cluster_config::{self, ClusterConfig, MasterAt};
use nesos_shell::flags::Values;

use super::SettingsError;

/// The file that `--config` names; without one all is as it is by default.
pub(super) fn read(flags: &Values) -> Result<ClusterConfig, SettingsError> {
    let Some(path) = flags.path("config") else {
        return Ok(ClusterConfig::default());
    };
    let place = || format!("--config {}", path.display());
    let size = std::fs::metadata(&path)
        .map_err(|e| SettingsError::new(place(), e))?
        .len();
    if size > cluster_config::MAX_FILE as u64 {
        return Err(SettingsError::new(
            place(),
            cluster_config::ConfigError::TooLarge(size as usize),
        ));
    }
    let bytes = std::fs::read(&path).map_err(|e| SettingsError::new(place(), e))?;
    ClusterConfig::parse(&bytes).map_err(|e| SettingsError::new(place(), e))
}

/// Gives flags that are not on the command line what the file says.
pub(super) fn fill(flags: &mut Values, config: &ClusterConfig) -> Result<(), SettingsError> {
    let cluster = Some(config.cluster.clone()).filter(|name| !name.is_empty());
    let master = match &config.master {
        Some(MasterAt::Address(address)) => Some(address.clone()),
        // What an agent does that is told of none.
        Some(MasterAt::Mdns) | None => None,
    };
    let values = [
        ("master", &master),
        ("resources", &config.resources),
        ("attributes", &config.attributes),
        ("cluster", &cluster),
        ("api_access", &Some(config.api_access.name().to_string())),
        ("domain", &config.domain),
    ];
    for (name, value) in values {
        if let Some(value) = value {
            flags
                .fill(name, value)
                .map_err(|e| SettingsError::new(format!("--config: {name}"), e))?;
        }
    }
    Ok(())
}

/// The isolators of the command line, and those that the file adds.
pub(super) fn isolation(flags: &Values, config: &ClusterConfig) -> Vec<String> {
    let more = config.isolation.as_deref().unwrap_or_default();
    let names = [flags.text_or_empty("isolation"), more];
    let names = names.into_iter().flat_map(|names| names.split(','));
    let names = names.map(|name| name.trim().to_string());
    names.filter(|name| !name.is_empty()).collect()
}
