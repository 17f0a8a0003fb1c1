//! What `docker save` writes beside the layers: `manifest.json`, a list of images with paths inside the archive.
//!
//! Newer archives are OCI layouts too and are read as such. Invariant: the paths are relative and plain.

use serde::Deserialize;

use super::document::{MAX_LAYERS, json, within};
use super::{DocumentError, Pick, pick};
use crate::fetch::is_plain_path;

/// Most images of an archive.
const MAX_IMAGES: usize = 1000;

/// One image of an archive.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Archived {
    /// Path of its configuration.
    pub config: String,
    /// Paths of its layers, the lowest first.
    pub layers: Vec<String>,
}

impl Archived {
    /// Reads `manifest.json`, and of the images that it lists the one that is meant.
    pub fn parse(bytes: &[u8], wanted: Pick<'_>) -> Result<Self, DocumentError> {
        let mut images: Vec<RawArchived> = json(bytes)?;
        within("images of the archive", images.len(), MAX_IMAGES)?;
        let tags = images.iter_mut().map(|image| image.repo_tags.take());
        let names: Vec<Vec<String>> = tags.map(Option::unwrap_or_default).collect();
        let found = pick(&names, wanted)?;
        // It says nothing of machines: images of the same name cannot be told apart.
        within("images of this name", found.len(), 1)?;
        let raw = images.remove(found[0]);
        within("layers", raw.layers.len(), MAX_LAYERS)?;
        let paths = raw.layers.iter().chain([&raw.config]);
        let wrong = paths.into_iter().find(|path| !is_plain_path(path)).cloned();
        match wrong {
            Some(path) => Err(DocumentError::Path(path.chars().take(100).collect())),
            None => Ok(Self {
                config: raw.config,
                layers: raw.layers,
            }),
        }
    }
}

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
struct RawArchived {
    config: String,
    repo_tags: Option<Vec<String>>,
    layers: Vec<String>,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_archive_holds_one_image_with_paths_inside() {
        let one =
            r#"{"Config":"c.json","RepoTags":["x:1"],"Layers":["a/layer.tar","b/layer.tar"]}"#;
        let read = Archived::parse(format!("[{one}]").as_bytes(), Pick::Only).expect("valid");
        assert_eq!(read.config, "c.json");
        assert_eq!(read.layers, ["a/layer.tar", "b/layer.tar"]);
        for (text, sentence) in [
            ("[]".to_string(), "expected 1 to"),
            (format!("[{one},{one}]"), "images of this name: 2"),
            (
                format!("[{one},{}]", one.replace("x:1", "y:1")),
                "several images (x:1, y:1)",
            ),
            (format!("[{}]", one.replace("a/", "../")), "no path"),
            (
                format!("[{}]", one.replace("c.json", "/etc/shadow")),
                "no path",
            ),
            (r#"[{"Config":"c","Layers":[]}]"#.into(), "expected 1 to"),
            ("{}".into(), "invalid type"),
        ] {
            let error = Archived::parse(text.as_bytes(), Pick::Only).expect_err(sentence);
            assert!(error.to_string().contains(sentence), "{sentence}: {error}");
        }
        let two = format!(
            "[{one},{}]",
            one.replace("x:1", "y:1").replace("c.j", "d.j")
        );
        let read = Archived::parse(two.as_bytes(), Pick::Named("y:1")).expect("there");
        assert_eq!(read.config, "d.json");
    }
}
