//! Which of several images of one name is for this machine.
//!
//! Called with the index that a registry or a layout has. Invariant: an image for another machine is never taken where an
//! index says what each is for.

use serde::Deserialize;

use super::{Choice, Descriptor, DocumentError};

/// Most of what an image is for that a sentence repeats.
const MAX_SHOWN: usize = 20;
/// Most images that a sentence lists.
const MAX_LISTED: usize = 8;

/// What an image is for.
#[derive(Debug, Clone, PartialEq, Eq, Default, Deserialize)]
pub struct Platform {
    /// `linux`
    #[serde(default)]
    pub os: String,
    /// `arm64`, `amd64`, `arm`…
    #[serde(default)]
    pub architecture: String,
    /// `v8`, `v7`…
    #[serde(default)]
    pub variant: String,
}

impl Platform {
    /// That of the machine whose processor Rust calls `arch`.
    pub fn of_machine(arch: &str) -> Self {
        let (architecture, variant) = match arch {
            "aarch64" => ("arm64", "v8"),
            "arm" => ("arm", "v7"),
            "x86_64" => ("amd64", ""),
            "x86" => ("386", ""),
            other => (other, ""),
        };
        Self {
            os: "linux".into(),
            architecture: architecture.into(),
            variant: variant.into(),
        }
    }

    /// Whether an image of this platform is for `machine`, as far as it says what it is for.
    pub fn suits(&self, machine: &Platform) -> bool {
        let fits = |own: &str, other: &str| own.is_empty() || own == other;
        fits(&self.os, &machine.os) && fits(&self.architecture, &machine.architecture)
    }

    /// `linux/arm64/v8`, for people.
    pub fn shown(&self) -> String {
        let parts = [&self.os, &self.architecture, &self.variant];
        let parts = parts.into_iter().filter(|part| !part.is_empty());
        let parts = parts.map(|part| part.chars().take(MAX_SHOWN).collect::<String>());
        parts.collect::<Vec<_>>().join("/")
    }

    fn is_said(&self) -> bool {
        !self.architecture.is_empty()
    }
}

/// The image for this machine: of its variant, else one without a variant. A single one that does not say what it is for is
/// taken too; its configuration says it again.
pub fn choose<'a>(
    index: &'a [Choice],
    machine: &Platform,
) -> Result<&'a Descriptor, DocumentError> {
    let fits = |variant: &str| {
        let found = index.iter().find(|Choice { platform, .. }| {
            platform.os == machine.os
                && platform.architecture == machine.architecture
                && platform.variant == variant
        });
        found.map(|choice| &choice.descriptor)
    };
    let single = || match index {
        [only] if !only.platform.is_said() => Some(&only.descriptor),
        _ => None,
    };
    let found = fits(&machine.variant).or_else(|| fits("")).or_else(single);
    found.ok_or_else(|| {
        let names = index.iter().take(MAX_LISTED);
        let names = names.map(|choice| match choice.platform.is_said() {
            true => choice.platform.shown(),
            false => "an unnamed machine".into(),
        });
        DocumentError::Platform {
            wanted: machine.shown(),
            found: names.collect::<Vec<_>>().join(", "),
        }
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::image::Document;

    fn digest(letter: char) -> String {
        format!("sha256:{}", letter.to_string().repeat(64))
    }

    fn platform(architecture: &str, variant: &str) -> Platform {
        Platform {
            os: "linux".into(),
            architecture: architecture.into(),
            variant: variant.into(),
        }
    }

    fn index(entries: &[(&str, &str, char)]) -> Vec<Choice> {
        let entry = |(architecture, variant, letter): &(&str, &str, char)| {
            let platform = match architecture.is_empty() {
                true => String::new(),
                false => format!(
                    r#","platform":{{"os":"linux","architecture":"{architecture}","variant":"{variant}"}}"#
                ),
            };
            let (digest, kind) = (
                digest(*letter),
                "application/vnd.oci.image.manifest.v1+json",
            );
            format!(r#"{{"mediaType":"{kind}","digest":"{digest}","size":7{platform}}}"#)
        };
        let entries: Vec<String> = entries.iter().map(entry).collect();
        let text = format!(r#"{{"manifests":[{}]}}"#, entries.join(","));
        let Ok(Document::Index(index)) = Document::parse(text.as_bytes()) else {
            panic!("no index");
        };
        index
    }

    #[test]
    fn an_index_has_an_image_for_this_machine_or_says_for_which() {
        let index = index(&[
            ("amd64", "", 'a'),
            ("arm", "v6", 'b'),
            ("arm", "v7", 'c'),
            ("arm64", "v8", 'd'),
        ]);
        for (machine, letter) in [
            (Platform::of_machine("aarch64"), 'd'),
            (Platform::of_machine("arm"), 'c'),
            (platform("amd64", "v1"), 'a'),
        ] {
            let chosen = choose(&index, &machine).expect("one fits");
            assert_eq!(chosen.digest.to_string(), digest(letter));
        }
        let error = choose(&index, &platform("riscv64", "")).expect_err("none");
        assert!(
            error
                .to_string()
                .contains("linux/riscv64, only for linux/amd64"),
            "{error}"
        );
    }

    #[test]
    fn a_single_image_may_leave_it_to_its_configuration() {
        let machine = Platform::of_machine("aarch64");
        let one = index(&[("", "", 'a')]);
        let chosen = choose(&one, &machine).expect("the only one");
        assert_eq!(chosen.digest.to_string(), digest('a'));
        assert!(choose(&index(&[("", "", 'a'), ("", "", 'b')]), &machine).is_err());
        assert!(Platform::default().suits(&machine) && machine.suits(&machine));
        assert!(!platform("amd64", "").suits(&machine));
    }
}
