//! Containers of jobs: an image, folders of the host, a network.
//!
//! Called by `job`. Invariant: what Nesos cannot run is refused with a sentence, never left out in silence.

use serde::Serialize;

use super::fields::{FieldError, Node, Object};

/// A container of its own.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Container {
    /// `DOCKER` or `MESOS`: Nesos runs both alike.
    pub r#type: &'static str,
    /// The image's name.
    pub image: String,
    /// `HOST`, `BRIDGE`, `USER` or `NONE`.
    pub network: &'static str,
    /// A network by name.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub network_name: Option<String>,
    /// Networks by name.
    pub network_infos: Vec<Network>,
    /// Folders of the host in it.
    pub volumes: Vec<Volume>,
    /// Whether the image is asked for again although the agent has it.
    pub force_pull_image: bool,
    /// Always empty: there is no Docker whose command line they could be for.
    pub parameters: Vec<()>,
}

/// A network by name.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Network {
    /// Its name.
    pub name: String,
    /// For the network's plugin.
    pub labels: Vec<Label>,
}

/// A label.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Label {
    /// Its name.
    pub key: String,
    /// Its value.
    pub value: String,
}

/// A folder of the host.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Volume {
    /// Where it is; none: a new, empty one.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub host_path: Option<String>,
    /// Where it is seen.
    pub container_path: String,
    /// `RO` or `RW`.
    pub mode: &'static str,
}

impl Container {
    pub(super) fn read(node: &Node<'_>) -> Result<Self, FieldError> {
        let object = node.object()?;
        let parameters = object.list("parameters", Ok)?;
        if !parameters.is_empty() {
            let reason = "there is no Docker whose command line they could be for";
            return Err(object.refused("parameters", reason));
        }
        Ok(Self {
            r#type: word(&object, "type", &["DOCKER", "MESOS"], "DOCKER or MESOS")?,
            image: object.needed("image", "the name of an image")?,
            network: word(
                &object,
                "network",
                &["HOST", "BRIDGE", "USER", "NONE"],
                "HOST, BRIDGE, USER or NONE",
            )?,
            network_name: match object.text("networkName", "")? {
                name if name.is_empty() => None,
                name => Some(name),
            },
            network_infos: object.list("networkInfos", |node| Network::read(&node))?,
            volumes: object.list("volumes", |node| Volume::read(&node))?,
            force_pull_image: object.flag("forcePullImage", false)?,
            parameters: Vec::new(),
        })
    }
}

impl Network {
    fn read(node: &Node<'_>) -> Result<Self, FieldError> {
        let object = node.object()?;
        if !object.list("portMappings", Ok)?.is_empty() {
            let reason = "jobs have no ports, so that there is nothing to map";
            return Err(object.refused("portMappings", reason));
        }
        let label = |node: Node<'_>| {
            let object = node.object()?;
            Ok(Label {
                key: object.needed("key", "a name")?,
                value: object.text("value", "")?,
            })
        };
        Ok(Self {
            name: object.needed("name", "the name of a network")?,
            labels: object.list("labels", label)?,
        })
    }
}

impl Volume {
    fn read(node: &Node<'_>) -> Result<Self, FieldError> {
        let object = node.object()?;
        if object.get("external").is_some() {
            return Err(object.refused("external", "there are no drivers of volumes"));
        }
        Ok(Self {
            host_path: match object.text("hostPath", "")? {
                path if path.is_empty() => None,
                path => Some(path),
            },
            container_path: object.needed("containerPath", "a path")?,
            mode: word(&object, "mode", &["RW", "RO"], "RW or RO")?,
        })
    }
}

/// One of these words, in capitals or not; the first one if there is none.
fn word(
    object: &Object<'_>,
    name: &str,
    words: &[&'static str],
    expected: &'static str,
) -> Result<&'static str, FieldError> {
    let Some(node) = object.get(name) else {
        return Ok(words.first().copied().unwrap_or_default());
    };
    let text = node.text()?.to_ascii_uppercase();
    let word = words.iter().find(|word| **word == text);
    word.copied().ok_or_else(|| node.wrong(expected))
}
