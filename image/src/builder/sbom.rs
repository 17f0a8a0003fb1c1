//! What an image consists of, as SPDX 2.3 in JSON, and under which licences it may be passed on.
//!
//! Called by [`super::build_image`]; both go onto the boot partition. Invariant: everything that is in an image and was not written here
//! is a component with version, licence and digest of what it was made from.

use super::config::Board;
use super::kernel::Kernel;
use super::output::Inputs;
use super::sources::Package;
use serde_json::{Value, json};
use std::collections::BTreeMap;

/// Name of the document on the boot partition.
pub(super) const FILE: &str = "sbom.spdx.json";
/// Folder of the licences' texts on the boot partition.
const LICENCES: &str = "licenses";
const IMAGE: &str = "SPDXRef-image";

/// A library that is linked into our programs.
#[derive(Clone, Debug)]
pub struct Library {
    /// Name.
    pub name: String,
    /// Version.
    pub version: String,
    /// SPDX expression.
    pub licence: String,
    /// SHA-256 of its source archive, hex.
    pub sha256: Option<String>,
    /// Where it is known: `cargo`, or nowhere.
    pub registry: Option<&'static str>,
}

/// Licences' texts by path: our own, our libraries', the packages'.
pub(super) fn licences(
    inputs: &Inputs<'_>,
    packages: &BTreeMap<String, Package>,
) -> BTreeMap<String, Vec<u8>> {
    let own = [
        ("nesos", inputs.licence.as_bytes()),
        ("libraries", inputs.libraries_licences.as_bytes()),
    ];
    let own = own.map(|(name, text)| (name.to_owned(), text.to_vec()));
    let theirs = packages
        .iter()
        .map(|(name, package)| (format!("debian-{name}"), package.licence.clone()));
    own.into_iter()
        .chain(theirs)
        .map(|(name, text)| (format!("{LICENCES}/{name}.txt"), text))
        .collect()
}

/// The document.
///
/// # Errors
/// Never in practice: it is made of text.
pub(super) fn document(
    board: &Board,
    inputs: &Inputs<'_>,
    kernel: &Kernel,
    packages: &BTreeMap<String, Package>,
) -> serde_json::Result<Vec<u8>> {
    let mut components = vec![json!({
        "SPDXID": IMAGE, "name": format!("nesos-{}", board.name), "versionInfo": inputs.version,
        "downloadLocation": "NOASSERTION", "filesAnalyzed": false, "copyrightText": "NOASSERTION",
        "licenseConcluded": "NOASSERTION", "licenseDeclared": "Apache-2.0",
        "comment": format!("commit {}, kernel configuration {}", inputs.build_id, kernel.facts.key),
    })];
    let mut texts = Vec::new();
    for (name, package) in packages {
        let reference = format!("LicenseRef-debian-{}", word(name));
        components.push(debian(name, package, &reference));
        texts.push(json!({
            "licenseId": reference, "name": format!("Licences of Debian's package {name}"),
            "extractedText": format!("{LICENCES}/debian-{name}.txt on the boot partition, from Debian's /usr/share/doc/{name}/copyright"),
        }));
    }
    components.extend(inputs.libraries.iter().map(library));
    let contains = components.iter().skip(1).map(|component| {
        json!({"spdxElementId": IMAGE, "relationshipType": "CONTAINS", "relatedSpdxElement": component["SPDXID"]})
    });
    let describes = json!({"spdxElementId": "SPDXRef-DOCUMENT", "relationshipType": "DESCRIBES", "relatedSpdxElement": IMAGE});
    let relationships: Vec<Value> = std::iter::once(describes).chain(contains).collect();
    let name = format!("nesos-{}-{}", board.name, inputs.version);
    let mut text = serde_json::to_vec_pretty(&json!({
        "spdxVersion": "SPDX-2.3", "dataLicense": "CC0-1.0", "SPDXID": "SPDXRef-DOCUMENT", "name": name,
        "documentNamespace": format!("https://spdx.org/spdxdocs/{name}-{}", inputs.build_id),
        "creationInfo": {"created": utc(inputs.epoch), "creators": [format!("Tool: nesos-image-{}", inputs.version)]},
        "packages": components, "hasExtractedLicensingInfos": texts, "relationships": relationships,
    }))?;
    text.push(b'\n');
    Ok(text)
}

fn debian(name: &str, package: &Package, licence: &str) -> Value {
    let component = if package.is_non_free {
        "non-free-firmware"
    } else {
        "main"
    };
    json!({
        "SPDXID": format!("SPDXRef-debian-{}", word(name)), "name": name, "versionInfo": package.version,
        "supplier": "Organization: Debian", "downloadLocation": "NOASSERTION", "filesAnalyzed": false,
        "licenseConcluded": "NOASSERTION", "licenseDeclared": licence, "copyrightText": "NOASSERTION",
        "comment": format!("Debian's {component}"),
        "checksums": [{"algorithm": "SHA256", "checksumValue": package.sha256}],
        "externalRefs": [purl(&format!("pkg:deb/debian/{name}@{}?arch=arm64", escaped(&package.version)))],
    })
}

fn library(library: &Library) -> Value {
    let Library {
        name,
        version,
        licence,
        ..
    } = library;
    let mut component = json!({
        "SPDXID": format!("SPDXRef-library-{}-{}", word(name), word(version)), "name": name, "versionInfo": version,
        "downloadLocation": "NOASSERTION", "filesAnalyzed": false, "licenseConcluded": "NOASSERTION",
        // Cargo allows `/` for OR, as it was once written.
        "licenseDeclared": licence.replace('/', " OR "), "copyrightText": "NOASSERTION",
    });
    if let Some(sum) = &library.sha256 {
        component["checksums"] = json!([{"algorithm": "SHA256", "checksumValue": sum}]);
    }
    if let Some(registry) = library.registry {
        let purl = purl(&format!("pkg:{registry}/{name}@{}", escaped(version)));
        component["externalRefs"] = json!([purl]);
    }
    component
}

fn purl(locator: &str) -> Value {
    json!({"referenceCategory": "PACKAGE-MANAGER", "referenceType": "purl", "referenceLocator": locator})
}

fn escaped(version: &str) -> String {
    version.replace('+', "%2B").replace(':', "%3A")
}

/// A part of an SPDX identifier: letters, digits, dots and hyphens.
fn word(text: &str) -> String {
    let plain = |c: char| c.is_ascii_alphanumeric() || c == '.' || c == '-';
    text.chars()
        .map(|c| if plain(c) { c } else { '-' })
        .collect()
}

/// Seconds since 1970 as SPDX writes a time. Days to the civil calendar by eras of 400 years that begin in March.
fn utc(seconds: u32) -> String {
    const ERA: u32 = 146_097;
    let (days, rest) = (seconds / 86_400 + 719_468, seconds % 86_400);
    let (era, day) = (days / ERA, days % ERA);
    let year = (day - day / 1460 + day / 36_524 - day / 146_096) / 365;
    let day = day - (365 * year + year / 4 - year / 100);
    let march = (5 * day + 2) / 153;
    let (day, month) = (day - (153 * march + 2) / 5 + 1, (march + 2) % 12 + 1);
    let year = year + 400 * era + u32::from(month <= 2);
    let (hour, minute, second) = (rest / 3600, rest / 60 % 60, rest % 60);
    format!("{year:04}-{month:02}-{day:02}T{hour:02}:{minute:02}:{second:02}Z")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_are_written_as_spdx_wants_them() {
        assert_eq!(utc(0), "1970-01-01T00:00:00Z");
        assert_eq!(utc(951_782_399), "2000-02-28T23:59:59Z");
        assert_eq!(utc(951_782_400), "2000-02-29T00:00:00Z");
        assert_eq!(utc(1_795_305_600), "2026-11-22T00:00:00Z");
    }

    #[test]
    fn identifiers_and_locators_hold_only_what_they_may() {
        assert_eq!(word("libfoo_bar+x"), "libfoo-bar-x");
        assert_eq!(escaped("1:1.35.0-4+b1"), "1%3A1.35.0-4%2Bb1");
    }
}
