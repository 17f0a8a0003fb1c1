//! What registries and image layouts say of images: indexes, manifests and configurations, OCI's and Docker's.

use serde::Deserialize;
use serde::de::DeserializeOwned;
use serde_json::Value;

use super::{Digest, Platform};

/// Largest document, as registries bound them.
pub const MAX_DOCUMENT: usize = 4 * 1024 * 1024;
/// Most layers of an image; overlayfs takes 500, Docker makes 127.
pub const MAX_LAYERS: usize = 127;
/// Most images of an index.
const MAX_CHOICES: usize = 1000;
/// What images in a layout are called by: containerd's whole name, and OCI's, which often is a tag alone.
const NAMES: [&str; 2] = [
    "io.containerd.image.name",
    "org.opencontainers.image.ref.name",
];
/// Kinds of layers that can be unpacked, and what their names contain.
const LAYERS: [&str; 5] = [
    "application/vnd.docker.image.rootfs.diff.tar.gzip",
    "application/vnd.docker.image.rootfs.diff.tar",
    "application/vnd.oci.image.layer.v1.tar+gzip",
    "application/vnd.oci.image.layer.v1.tar+zstd",
    "application/vnd.oci.image.layer.v1.tar",
];

/// Why a document cannot be used.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum DocumentError {
    /// Larger than [`MAX_DOCUMENT`].
    #[error("a document of {0} bytes, at most {MAX_DOCUMENT} are allowed")]
    TooLarge(usize),
    /// Not JSON of the expected shape.
    #[error("{0}")]
    Shape(String),
    /// A digest that is not a SHA-256.
    #[error("'{0}' is no digest: expected sha256: and 64 digits")]
    Digest(String),
    /// A path that leads out of an archive.
    #[error("'{0}' is no path inside the archive")]
    Path(String),
    /// Neither manifest nor index.
    #[error("neither a manifest nor an index of images of the second version")]
    Unknown,
    /// A kind of layer that cannot be unpacked.
    #[error("a layer is '{0}', which cannot be unpacked")]
    Layer(String),
    /// Too many layers or images, or none.
    #[error("{what}: {count}, expected 1 to {most}")]
    Count {
        /// Of what.
        what: &'static str,
        /// How many.
        count: usize,
        /// How many there may be.
        most: usize,
    },
    /// Images of several names where one is wanted.
    #[error("it holds several images ({0}): say which: #NAME:TAG behind its own name")]
    Several(String),
    /// None of the wanted name.
    #[error("it holds no image '{wanted}', only {found}")]
    NotListed {
        /// The name.
        wanted: String,
        /// What there is.
        found: String,
    },
    /// Manifest and configuration contradict each other.
    #[error("the manifest names {manifest} layers, the configuration {config}")]
    Layers {
        /// In the manifest.
        manifest: usize,
        /// In the configuration.
        config: usize,
    },
    /// An index without an image for this machine.
    #[error("no image for {wanted}, only for {found}")]
    Platform {
        /// This machine.
        wanted: String,
        /// What there is.
        found: String,
    },
}

/// Something that a document points to.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Descriptor {
    /// Its content's.
    pub digest: Digest,
    /// Its size in bytes.
    pub size: u64,
}

/// One of an index.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Choice {
    /// For which machine.
    pub platform: Platform,
    /// Where it is.
    pub descriptor: Descriptor,
    /// What a layout calls it.
    pub names: Vec<String>,
}

/// A document about images.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Document {
    /// Images for several machines; in a layout also of several names.
    Index(Vec<Choice>),
    /// One image.
    Manifest(Manifest),
}

/// One image.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Manifest {
    /// Its configuration.
    pub config: Descriptor,
    /// Its layers, the lowest first, as they are sent.
    pub layers: Vec<Descriptor>,
}

/// An image's configuration, as far as it is used.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Config {
    /// `NAME=VALUE`
    pub environment: Vec<(String, String)>,
    /// The program, and its first arguments.
    pub entrypoint: Vec<String>,
    /// The arguments unless others are given, or program and arguments.
    pub command: Vec<String>,
    /// Where it starts; empty: not said.
    pub working_directory: String,
    /// `USER[:GROUP]`, names or numbers; empty: not said.
    pub user: String,
    /// Digests of the layers' plain bytes, the lowest first.
    pub layers: Vec<Digest>,
    /// What it is for, as far as it is said.
    pub platform: Platform,
}

impl Document {
    /// Reads a manifest or an index.
    pub fn parse(bytes: &[u8]) -> Result<Self, DocumentError> {
        let raw: RawDocument = json(bytes)?;
        if let Some(images) = raw.manifests {
            within("images of the index", images.len(), MAX_CHOICES)?;
            let choice = |mut image: RawDescriptor| {
                let annotations = image.annotations.take().unwrap_or_default();
                let named = NAMES.iter().filter_map(|key| annotations.get(*key));
                Ok(Choice {
                    platform: image.platform.take().unwrap_or_default(),
                    names: named.filter_map(Value::as_str).map(Into::into).collect(),
                    descriptor: image.check()?,
                })
            };
            let choices: Result<Vec<_>, DocumentError> = images.into_iter().map(choice).collect();
            return Ok(Document::Index(choices?));
        }
        let (Some(config), Some(layers)) = (raw.config, raw.layers) else {
            return Err(DocumentError::Unknown);
        };
        within("layers", layers.len(), MAX_LAYERS)?;
        let layer = |layer: RawDescriptor| match LAYERS.contains(&layer.media_type.as_str()) {
            true => layer.check(),
            false => Err(DocumentError::Layer(layer.media_type)),
        };
        Ok(Document::Manifest(Manifest {
            config: config.check()?,
            layers: layers.into_iter().map(layer).collect::<Result<_, _>>()?,
        }))
    }
}

impl Config {
    /// Reads the configuration of an image.
    pub fn parse(bytes: &[u8]) -> Result<Self, DocumentError> {
        let raw: RawImage = json(bytes)?;
        within("layers", raw.rootfs.diff_ids.len(), MAX_LAYERS)?;
        let config = raw.config.unwrap_or_default();
        let pair = |text: String| {
            let (name, value) = text.split_once('=')?;
            (!name.is_empty()).then(|| (name.to_string(), value.to_string()))
        };
        let digest = |text: String| Digest::parse(&text).ok_or(DocumentError::Digest(text));
        let ids = raw.rootfs.diff_ids.into_iter();
        Ok(Self {
            environment: config
                .env
                .unwrap_or_default()
                .into_iter()
                .filter_map(pair)
                .collect(),
            entrypoint: config.entrypoint.unwrap_or_default(),
            command: config.cmd.unwrap_or_default(),
            working_directory: config.working_dir.unwrap_or_default(),
            user: config.user.unwrap_or_default(),
            layers: ids.map(digest).collect::<Result<_, _>>()?,
            platform: Platform {
                os: raw.os,
                architecture: raw.architecture,
                variant: String::new(),
            },
        })
    }

    /// Whether it is the configuration of an image with so many layers.
    pub fn check_layers(&self, manifest: usize) -> Result<(), DocumentError> {
        let config = self.layers.len();
        match manifest == config {
            true => Ok(()),
            false => Err(DocumentError::Layers { manifest, config }),
        }
    }
}

#[derive(Deserialize)]
struct RawDocument {
    manifests: Option<Vec<RawDescriptor>>,
    config: Option<RawDescriptor>,
    layers: Option<Vec<RawDescriptor>>,
}

#[derive(Deserialize)]
struct RawDescriptor {
    #[serde(rename = "mediaType", default)]
    media_type: String,
    digest: String,
    size: u64,
    platform: Option<Platform>,
    annotations: Option<serde_json::Map<String, Value>>,
}

impl RawDescriptor {
    fn check(self) -> Result<Descriptor, DocumentError> {
        let digest = Digest::parse(&self.digest).ok_or(DocumentError::Digest(self.digest))?;
        Ok(Descriptor {
            digest,
            size: self.size,
        })
    }
}

#[derive(Deserialize)]
struct RawImage {
    #[serde(default)]
    os: String,
    #[serde(default)]
    architecture: String,
    config: Option<RawConfig>,
    rootfs: RawRoot,
}

#[derive(Deserialize)]
struct RawRoot {
    diff_ids: Vec<String>,
}

#[derive(Deserialize, Default)]
#[serde(rename_all = "PascalCase")]
struct RawConfig {
    env: Option<Vec<String>>,
    entrypoint: Option<Vec<String>>,
    cmd: Option<Vec<String>>,
    working_dir: Option<String>,
    user: Option<String>,
}

pub(super) fn json<T: DeserializeOwned>(bytes: &[u8]) -> Result<T, DocumentError> {
    if bytes.len() > MAX_DOCUMENT {
        return Err(DocumentError::TooLarge(bytes.len()));
    }
    serde_json::from_slice(bytes).map_err(|error| DocumentError::Shape(error.to_string()))
}

pub(super) fn within(what: &'static str, count: usize, most: usize) -> Result<(), DocumentError> {
    match count {
        1.. if count <= most => Ok(()),
        _ => Err(DocumentError::Count { what, count, most }),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn digest(letter: char) -> String {
        format!("sha256:{}", letter.to_string().repeat(64))
    }

    fn descriptor(kind: &str, letter: char) -> String {
        format!(
            r#"{{"mediaType":"{kind}","digest":"{}","size":7}}"#,
            digest(letter)
        )
    }

    fn manifest(layers: &[String]) -> String {
        let config = descriptor("application/vnd.oci.image.config.v1+json", 'c');
        format!(
            r#"{{"schemaVersion":2,"config":{config},"layers":[{}]}}"#,
            layers.join(",")
        )
    }

    #[test]
    fn a_manifest_names_its_layers() {
        let layers = [descriptor(LAYERS[0], 'a'), descriptor(LAYERS[3], 'b')];
        let Ok(Document::Manifest(read)) = Document::parse(manifest(&layers).as_bytes()) else {
            panic!("no manifest");
        };
        assert_eq!(read.config.digest.to_string(), digest('c'));
        let names: Vec<String> = read.layers.iter().map(|l| l.digest.to_string()).collect();
        assert_eq!(names, [digest('a'), digest('b')]);
    }

    #[test]
    fn hostile_manifests_are_refused() {
        let one = || descriptor(LAYERS[0], 'a');
        let foreign = descriptor(
            "application/vnd.docker.image.rootfs.foreign.diff.tar.gzip",
            'a',
        );
        for (text, sentence) in [
            (manifest(&[]), "expected 1 to 127"),
            (manifest(&vec![one(); 128]), "expected 1 to 127"),
            (manifest(&[foreign]), "cannot be unpacked"),
            (
                manifest(&[one().replace(&digest('a'), "sha256:../../x")]),
                "no digest",
            ),
            (manifest(&[one().replace('7', "-7")]), "invalid value"),
            (
                r#"{"schemaVersion":1,"fsLayers":[]}"#.into(),
                "second version",
            ),
            (r#"{"x":"#.to_string() + &"[".repeat(100_000), "EOF"),
            ("{".into(), "EOF"),
            (" ".repeat(MAX_DOCUMENT + 1), "at most"),
        ] {
            let error = Document::parse(text.as_bytes())
                .expect_err(sentence)
                .to_string();
            assert!(error.contains(sentence), "{sentence}: {error}");
        }
    }

    #[test]
    fn a_configuration_says_what_is_run() {
        let text = format!(
            r#"{{"config":{{"Env":["A=b=c","bad","=x"],"Entrypoint":["/e"],"Cmd":null,"WorkingDir":"/w","User":"1:2"}},
                "rootfs":{{"type":"layers","diff_ids":["{}"]}}}}"#,
            digest('a')
        );
        let config = Config::parse(text.as_bytes()).expect("valid");
        assert_eq!(config.environment, [("A".to_string(), "b=c".to_string())]);
        assert_eq!((config.entrypoint.len(), config.command.len()), (1, 0));
        assert_eq!(
            (config.working_directory.as_str(), config.user.as_str()),
            ("/w", "1:2")
        );
        assert_eq!(config.check_layers(1), Ok(()));
        let error = config.check_layers(2).expect_err("another number");
        assert!(error.to_string().contains("2 layers"), "{error}");
    }
}
