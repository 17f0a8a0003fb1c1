//! What the calls about sessions say, in this program's words.

use nesos_api::v1;
use nesos_wire::task::Command;

/// A window whose size nobody has told.
const WINDOW: (u16, u16) = (24, 80);

/// What is to run.
pub(super) fn command(info: Option<&v1::CommandInfo>) -> Result<Command, String> {
    let value = info.and_then(|info| info.value.clone());
    let (Some(info), Some(value)) = (info, value.filter(|value| !value.is_empty())) else {
        return Err("Expecting 'command.value' to be present".into());
    };
    if !info.uris.is_empty() {
        return Err("'command.uris' is not supported for sessions".into());
    }
    let mut environment = Vec::new();
    for variable in info.environment.iter().flat_map(|all| &all.variables) {
        let value = variable
            .value
            .clone()
            .ok_or_else(|| format!("environment variable '{}' has no value", variable.name))?;
        environment.push((variable.name.clone(), value));
    }
    Ok(Command {
        shell: info.shell(),
        value,
        arguments: info.arguments.clone(),
        environment,
        uris: Vec::new(),
        user: info.user.clone(),
    })
}

/// The window of the terminal that is asked for.
pub(super) fn window(container: Option<&v1::ContainerInfo>) -> Result<Option<(u16, u16)>, String> {
    let Some(container) = container else {
        return Ok(None);
    };
    let plain = v1::ContainerInfo {
        r#type: container.r#type,
        tty_info: container.tty_info.clone(),
        ..v1::ContainerInfo::default()
    };
    if *container != plain || container.r#type != v1::ContainerInfoType::Mesos {
        return Err(
            "Of 'container' only type MESOS and 'tty_info' are supported for sessions".into(),
        );
    }
    Ok(container.tty_info.as_ref().map(size))
}

/// Rows and columns.
pub(super) fn size(terminal: &v1::TTYInfo) -> (u16, u16) {
    let fit = |number: u32| u16::try_from(number).unwrap_or(u16::MAX);
    let size = terminal.window_size.as_ref();
    size.map_or(WINDOW, |size| (fit(size.rows), fit(size.columns)))
}

/// `OUTER.INNER`
pub(super) fn text(id: &v1::ContainerID) -> String {
    match &id.parent {
        Some(parent) => format!("{}.{}", text(parent), id.value),
        None => id.value.clone(),
    }
}
