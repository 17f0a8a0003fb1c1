//! The flags of images, Mesos's. Called by `settings`.

use std::fs::File;
use std::io::Read;
use std::path::{Path, PathBuf};

use agentd_core::image::{Logins, MAX_CONFIG, is_host};
use nesos_shell::flags::Values;

use crate::settings::SettingsError;

/// Below the work directory, unless `--docker_store_dir` says otherwise.
const STORE: &str = "store/docker";
/// Below the work directory: what containers write over their images.
const CONTAINERS: &str = "provisioner/containers";

/// Where images without a registry in their name come from.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Registry {
    /// `http` or `https`, and `host[:port]`.
    Server { scheme: &'static str, host: String },
    /// Archives called `NAME:TAG.tar`.
    Folder(PathBuf),
}

/// What was said about images.
#[derive(Debug, Clone)]
pub(crate) struct Options {
    pub(crate) store: PathBuf,
    pub(crate) containers: PathBuf,
    pub(crate) registry: Registry,
    pub(crate) logins: Logins,
    /// Where tasks with an image find their sandbox.
    pub(crate) sandbox: String,
}

impl Options {
    pub(crate) fn new(flags: &Values, work_dir: &Path) -> Result<Self, SettingsError> {
        check_providers(flags)?;
        let store = flags
            .path("docker_store_dir")
            .unwrap_or_else(|| work_dir.join(STORE));
        let store =
            std::path::absolute(store).map_err(|e| SettingsError::new("--docker_store_dir", e))?;
        let sandbox = flags.text_or_empty("sandbox_directory").to_string();
        let is_path = sandbox.starts_with('/') && !sandbox.split('/').any(|part| part == "..");
        if !is_path || sandbox == "/" {
            let reason =
                format!("expected an absolute path such as /mnt/mesos/sandbox, found '{sandbox}'");
            return Err(SettingsError::new("--sandbox_directory", reason));
        }
        Ok(Self {
            store,
            containers: work_dir.join(CONTAINERS),
            registry: registry(flags.text_or_empty("docker_registry"))?,
            logins: logins(flags.text("docker_config"))?,
            sandbox,
        })
    }
}

/// Mesos's way to say which kinds of images there are; here the isolator says it.
fn check_providers(flags: &Values) -> Result<(), SettingsError> {
    let wrong = |reason: String| Err(SettingsError::new("--image_providers", reason));
    let Some(text) = flags.text("image_providers") else {
        return Ok(());
    };
    if let Some(other) = text
        .split(',')
        .map(str::trim)
        .find(|name| *name != "docker")
    {
        return wrong(format!("expected docker, found '{other}'"));
    }
    let isolation = flags.text_or_empty("isolation").split(',');
    match isolation
        .map(str::trim)
        .any(|name| matches!(name, "docker/runtime" | "volume/image"))
    {
        true => Ok(()),
        false => wrong("docker needs docker/runtime or volume/image in --isolation".into()),
    }
}

fn registry(text: &str) -> Result<Registry, SettingsError> {
    let folder = text.strip_prefix("file://").unwrap_or(text);
    if folder.starts_with('/') {
        return Ok(Registry::Folder(folder.into()));
    }
    let (scheme, host) = match text.split_once("://") {
        Some(("http", host)) => ("http", host),
        Some(("https", host)) => ("https", host),
        _ => ("", ""),
    };
    let host = host.trim_end_matches('/');
    match is_host(host) && !scheme.is_empty() {
        true => Ok(Registry::Server {
            scheme,
            host: host.into(),
        }),
        false => Err(SettingsError::new(
            "--docker_registry",
            format!(
                "expected https://HOST[:PORT], http://HOST[:PORT] or the absolute path of a folder of archives, found '{text}'"
            ),
        )),
    }
}

/// A file, or its text.
fn logins(text: Option<&str>) -> Result<Logins, SettingsError> {
    let Some(text) = text else {
        return Ok(Logins::default());
    };
    let fail = |reason: String| SettingsError::new("--docker_config", reason);
    let path = text.strip_prefix("file://").unwrap_or(text);
    if !path.starts_with('/') {
        return Logins::parse(text.as_bytes()).map_err(|e| {
            fail(format!(
                "expected the absolute path of Docker's config.json, or its JSON: {e}"
            ))
        });
    }
    let mut bytes = Vec::new();
    let read = File::open(path).and_then(|file| {
        let file = file.take(MAX_CONFIG as u64 + 1);
        { file }.read_to_end(&mut bytes)
    });
    read.map_err(|e| fail(format!("{path}: {e}")))?;
    Logins::parse(&bytes).map_err(|e| fail(format!("{path}: {e}")))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_registry_is_a_server_or_a_folder() {
        let server = |scheme, host: &str| Registry::Server {
            scheme,
            host: host.into(),
        };
        for (text, expected) in [
            (
                "https://registry-1.docker.io",
                server("https", "registry-1.docker.io"),
            ),
            ("http://10.0.0.1:5000/", server("http", "10.0.0.1:5000")),
            ("/srv/images", Registry::Folder("/srv/images".into())),
            ("file:///srv", Registry::Folder("/srv".into())),
        ] {
            assert_eq!(registry(text).expect(text), expected);
        }
        for wrong in [
            "",
            "docker.io",
            "ftp://h",
            "https://",
            "https://h/v2",
            "https://u@h",
        ] {
            assert!(registry(wrong).is_err(), "{wrong}");
        }
    }

    #[test]
    fn logins_are_read_from_a_file_or_given() {
        let text = r#"{"auths":{"h":{"auth":"YTpi"}}}"#;
        let folder = tempfile::tempdir().expect("scratch folder");
        let path = folder.path().join("config.json");
        std::fs::write(&path, text).expect("write");
        let path = path.to_str().expect("utf-8");
        for given in [text, path, &format!("file://{path}")] {
            assert_eq!(logins(Some(given)).expect("read").of("h"), Some("YTpi"));
        }
        assert!(logins(Some("/nothing/there")).is_err());
        assert!(logins(Some("{")).is_err());
    }
}
