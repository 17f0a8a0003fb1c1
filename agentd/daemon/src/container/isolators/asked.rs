//! What a task may ask of its container, and the isolator that gives it. Mesos starts the task without what its isolators do
//! not know; here it is not started, and its framework learns which isolator the agent lacks.

use nesos_api::v1;
use nesos_api::v1::VolumeSourceType as SourceType;

use super::{Refusal, Wish};

/// Whether `has` names an isolator for each thing that is asked for.
pub(super) fn check(wish: &Wish<'_>, has: impl Fn(&str) -> bool) -> Result<(), Refusal> {
    for (what, isolator) in asked(wish) {
        if !has(isolator) {
            return Err(Refusal::new(format!(
                "it asks for {what}, which needs {isolator} in the agent's --isolation"
            )));
        }
    }
    Ok(())
}

fn asked(wish: &Wish<'_>) -> Vec<(&'static str, &'static str)> {
    let container = &wish.container;
    let linux = wish.linux();
    let mut asked: Vec<_> = container.volumes.iter().map(of_volume).collect();
    let mut add = |is_asked: bool, what, isolator| {
        if is_asked {
            asked.push((what, isolator));
        }
    };
    let image = wish.image_wanted().map(|image| image.r#type);
    add(
        image == Some(v1::ImageType::Docker),
        "an image",
        "docker/runtime",
    );
    let has_appc = |image: &v1::Image| image.r#type == v1::ImageType::Appc;
    add(
        wish.image_wanted().is_some_and(has_appc) || wish.volume_images().any(has_appc),
        "an image of type APPC",
        "appc/runtime",
    );
    add(
        container.hostname.is_some(),
        "a host name",
        "namespaces/uts",
    );
    let has_network = super::network::named(container).is_some()
        || wish
            .pod
            .is_some_and(|pod| super::network::named(&pod.info).is_some());
    add(has_network, "a network of its own", "network/bridge");
    let has_ipc = linux.shm_size.is_some() || linux.ipc_mode == Some(v1::LinuxInfoIpcMode::Private);
    add(has_ipc, "IPC of its own", "namespaces/ipc");
    let variables = wish
        .command
        .environment
        .iter()
        .flat_map(|environment| &environment.variables);
    let has_secret = variables
        .into_iter()
        .any(|variable| variable.secret.is_some());
    add(
        has_secret,
        "secrets in its environment",
        "environment_secret",
    );
    asked
}

/// Those that nobody gives here have Mesos's names.
fn of_volume(volume: &v1::Volume) -> (&'static str, &'static str) {
    let kind = volume.source.as_ref().and_then(|source| source.r#type);
    match kind {
        _ if volume.image.is_some() => ("an image as a volume", "volume/image"),
        Some(SourceType::SandboxPath) => ("a volume of a sandbox", "volume/sandbox_path"),
        Some(SourceType::Secret) => ("a secret in a file", "volume/secret"),
        Some(SourceType::DockerVolume) => ("a Docker volume", "docker/volume"),
        Some(SourceType::CsiVolume) => ("a CSI volume", "volume/csi"),
        // The older form has only `host_path`.
        None | Some(SourceType::HostPath | SourceType::Unknown) => {
            ("a volume of the host", "volume/host_path")
        }
    }
}
