//! Reads any bytes as what strangers say of images and checks what comes out. Shared by a test and the fuzz target `images`.

use agentd_core::image::{
    Archived, Challenge, Config, Document, Logins, MAX_LAYERS, Pick, Platform, Reference, choose,
    pick, token,
};

/// As each kind of document, and as text. What it is not is an error; nothing else may happen.
pub(crate) fn documents(bytes: &[u8]) {
    match Document::parse(bytes) {
        Ok(Document::Index(index)) => {
            for machine in ["aarch64", "arm", "x86_64", ""].map(Platform::of_machine) {
                match choose(&index, &machine) {
                    Ok(chosen) => assert!(index.iter().any(|known| known.descriptor == *chosen)),
                    Err(error) => assert!(error.to_string().len() < 2000, "{error}"),
                }
            }
            let names: Vec<_> = index.iter().map(|choice| choice.names.clone()).collect();
            if let Err(error) = pick(&names, Pick::Only) {
                assert!(error.to_string().len() < 4000, "{error}");
            }
        }
        Ok(Document::Manifest(manifest)) => {
            assert!((1..=MAX_LAYERS).contains(&manifest.layers.len()));
        }
        Err(_) => {}
    }
    if let Ok(config) = Config::parse(bytes) {
        assert!((1..=MAX_LAYERS).contains(&config.layers.len()));
        assert!(config.environment.iter().all(|(name, _)| !name.is_empty()));
    }
    if let Ok(image) = Archived::parse(bytes, Pick::Only) {
        let paths = image.layers.iter().chain([&image.config]);
        let is_plain = |path: &String| !path.split('/').any(|part| matches!(part, "" | "." | ".."));
        assert!(paths.into_iter().all(is_plain), "{image:?}");
    }
    if let Ok(token) = token(bytes) {
        assert!(!token.contains(char::is_control));
    }
    let _ = Logins::parse(bytes);
    let Ok(text) = std::str::from_utf8(bytes) else {
        return;
    };
    let _ = Challenge::parse(text).and_then(|challenge| challenge.token_url("a/b"));
    if let Ok(reference) = Reference::parse(text) {
        let url = format!(
            "{}/{}/{}",
            reference.host(),
            reference.repository,
            reference.version
        );
        let is_plain = |c: char| c.is_ascii_alphanumeric() || "-._:/".contains(c);
        // A tag may have several periods in a row, but nothing may be a step upwards.
        let leads_on = |part: &str| !matches!(part, "" | "." | "..");
        assert!(
            url.chars().all(is_plain) && url.split('/').all(leads_on),
            "{url}"
        );
    }
}
