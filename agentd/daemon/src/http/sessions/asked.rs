//! What the calls about sessions and operators' own containers say, in this program's words.

use nesos_api::v1;
use nesos_wire::task::{Command, Uri};

use crate::container::terminal;

/// What is to run in a session.
pub(in crate::http) fn command(info: Option<&v1::CommandInfo>) -> Result<Command, String> {
    let command = whole_command(info, false)?;
    if !command.uris.is_empty() {
        return Err("'command.uris' is not supported for sessions".into());
    }
    Ok(command)
}

/// What is to run. With an image in its container, a command may leave it to the image what that is.
pub(in crate::http) fn whole_command(
    info: Option<&v1::CommandInfo>,
    has_image: bool,
) -> Result<Command, String> {
    let empty = v1::CommandInfo {
        shell: Some(!has_image),
        ..v1::CommandInfo::default()
    };
    let info = info.unwrap_or(&empty);
    let value = info.value.clone().unwrap_or_default();
    if value.is_empty() && (info.shell() || !has_image) {
        return Err("Expecting 'command.value' to be present".into());
    }
    let mut environment = Vec::new();
    for variable in info.environment.iter().flat_map(|all| &all.variables) {
        if variable.secret.is_some() {
            // The isolator environment_secret reads it from the CommandInfo.
            continue;
        }
        let value = variable
            .value
            .clone()
            .ok_or_else(|| format!("environment variable '{}' has no value", variable.name))?;
        environment.push((variable.name.clone(), value));
    }
    let uris = info.uris.iter().map(|uri| Uri {
        value: uri.value.clone(),
        executable: uri.executable.unwrap_or(false),
        extract: uri.extract(),
        cache: uri.cache.unwrap_or(false),
        output_file: uri.output_file.clone(),
    });
    Ok(Command {
        shell: info.shell(),
        value,
        arguments: info.arguments.clone(),
        environment,
        uris: uris.collect(),
        user: info.user.clone(),
    })
}

/// The window of the terminal that is asked for.
pub(in crate::http) fn window(
    container: Option<&v1::ContainerInfo>,
) -> Result<Option<(u16, u16)>, String> {
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
    Ok(container.tty_info.as_ref().map(terminal::window))
}

/// `OUTER.INNER`
pub(in crate::http) fn text(id: &v1::ContainerID) -> String {
    match &id.parent {
        Some(parent) => format!("{}.{}", text(parent), id.value),
        None => id.value.clone(),
    }
}
