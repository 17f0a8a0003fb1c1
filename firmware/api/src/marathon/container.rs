//! Containers of definitions of apps: images and folders of the host.
//!
//! Each with its defaults and rules. Called by `read`. Invariant: what Nesos cannot run is refused with a sentence, never left out in
//! silence.

use serde::Serialize;

use super::fields::{Node, Object};
use super::parts::PortMapping;

/// A container of its own.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Container {
    /// `MESOS` or `DOCKER`: Nesos runs both alike.
    pub r#type: &'static str,
    /// Its image.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub docker: Option<Docker>,
    /// Folders of the host in it.
    pub volumes: Vec<Volume>,
    /// Its ports, on networks other than the host's.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub port_mappings: Vec<PortMapping>,
}

/// An image.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Docker {
    /// Its name.
    pub image: String,
    /// Whether it is asked for again although the agent has it.
    pub force_pull_image: bool,
}

/// A folder of the host.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Volume {
    /// Where it is seen.
    pub container_path: String,
    /// Where it is.
    pub host_path: String,
    /// `RO` or `RW`.
    pub mode: &'static str,
}

impl Container {
    pub(super) fn read(object: &Object<'_>) -> Self {
        let docker = object
            .object("docker")
            .and_then(|docker| Docker::read(&docker));
        let r#type = object.word("type", &["MESOS", "DOCKER"]).unwrap_or("MESOS");
        if r#type == "DOCKER" && !object.has("docker") {
            object.fault("docker", "error.path.missing");
        }
        if object.has("appc") {
            object.fault("appc", "is not supported, only images of Docker are");
        }
        let volumes = object.list("volumes", Volume::read);
        let mappings = object.list("portMappings", PortMapping::read);
        // Where they stood before Marathon 1.5.
        let older = object.object("docker");
        let older = older.and_then(|docker| docker.list("portMappings", PortMapping::read));
        Self {
            r#type,
            docker,
            volumes: volumes.unwrap_or_default(),
            port_mappings: mappings.or(older).unwrap_or_default(),
        }
    }
}

impl Docker {
    fn read(object: &Object<'_>) -> Option<Self> {
        if object.flag("privileged") == Some(true) {
            object.fault(
                "privileged",
                "is not supported: no container has all rights of the host",
            );
        }
        if object
            .list("parameters", Some)
            .is_some_and(|given| !given.is_empty())
        {
            object.fault(
                "parameters",
                "are not supported: there is no Docker whose command line they could be for",
            );
        }
        for name in ["credential", "pullConfig"] {
            if object.has(name) {
                object.fault(name, "is not supported: secrets are not kept here");
            }
        }
        Some(Self {
            image: object.needed_text("image")?,
            force_pull_image: object.flag("forcePullImage").unwrap_or(false),
        })
    }
}

impl Volume {
    fn read(node: Node<'_>) -> Option<Self> {
        let object = node.object()?;
        for (name, sentence) in [
            (
                "persistent",
                "is not supported: apps have no volumes that outlive their instances",
            ),
            (
                "external",
                "is not supported: there are no drivers of volumes",
            ),
            ("secret", "is not supported: secrets are not kept here"),
        ] {
            if object.has(name) {
                object.fault(name, sentence);
                return None;
            }
        }
        Some(Self {
            container_path: object.needed_text("containerPath")?,
            host_path: object.needed_text("hostPath")?,
            mode: object.word("mode", &["RO", "RW"]).unwrap_or("RW"),
        })
    }
}
