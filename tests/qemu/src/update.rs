//! Update bundles for tests: what the image has, with another name and, where a test wants it, with something spoiled in it.
//!
//! Called by the tests, which panic. Invariant: signed with the key whose public half is in the image.

use std::io::Cursor;

use backhand::{FilesystemReader, FilesystemWriter};
use nesos_base::bundle::Place;
use nesos_base::bundle::key::SigningKey;
use nesos_image::builder::{About, Bundle, default_path, signing_key};
use nesos_image::{Artifacts, artifacts};

/// What names it: the commit that it pretends to be of.
const BUILD: &str = "another-build";

/// A bundle in the making.
#[derive(Debug)]
pub struct Update {
    image: Artifacts,
    files: Vec<(Place, Vec<u8>)>,
    options: String,
}

impl Update {
    /// The image of `board` as another build.
    ///
    /// # Panics
    /// The image is not built.
    #[must_use]
    pub fn of(board: &str) -> Self {
        let image = artifacts(board).unwrap_or_else(|error| panic!("{error}"));
        let folder = image.image.parent().expect("a folder").to_owned();
        let read = |name: &str| std::fs::read(folder.join(name)).expect("a part of the image");
        let slot = &image.manifest.slot;
        let files = slot.files.iter();
        let files = files.map(|name| (Place::Boot(name.clone()), read(&format!("slot/{name}"))));
        let mut files: Vec<_> = files.collect();
        files.push((Place::Root, read("root.squashfs")));
        let made = Self {
            options: format!("{} nesos.shell", slot.command_line),
            image,
            files,
        };
        let release = format!(
            "VERSION_ID={}\nBUILD_ID={BUILD}\nNESOS_BOARD={board}\n",
            made.image.manifest.version
        );
        made.with_root_file("/etc/os-release", release.as_bytes())
    }

    /// With these words on the kernel's command line.
    #[must_use]
    pub fn with_option(mut self, words: &str) -> Self {
        self.options = format!("{} {words}", self.options);
        self
    }

    /// With another content of a file of the root.
    ///
    /// # Panics
    /// The root has no such file.
    #[must_use]
    pub fn with_root_file(mut self, path: &str, content: &[u8]) -> Self {
        let (_, root) = self
            .files
            .iter_mut()
            .find(|(place, _)| *place == Place::Root)
            .expect("a root");
        let old = FilesystemReader::from_reader(Cursor::new(root.clone())).expect("squashfs");
        let mut new = FilesystemWriter::from_fs_reader(&old).expect("squashfs");
        new.replace_file(path, Cursor::new(content.to_vec()))
            .expect("a file of the root");
        let mut bytes = Cursor::new(Vec::new());
        new.write(&mut bytes).expect("squashfs");
        *root = bytes.into_inner();
        self
    }

    /// With another content of a file in the slot's folder.
    ///
    /// # Panics
    /// The slot has no such file.
    #[must_use]
    pub fn with_slot_file(mut self, name: &str, content: Vec<u8>) -> Self {
        let place = Place::Boot(name.to_owned());
        let found = self.files.iter_mut().find(|(other, _)| *other == place);
        found.expect("a file of the slot").1 = content;
        self
    }

    /// The bundle, signed with the image's key.
    ///
    /// # Panics
    /// There is no such key.
    #[must_use]
    pub fn signed(&self) -> Vec<u8> {
        let path = default_path().expect("a home folder");
        assert!(
            path.is_file(),
            "{} is missing: cargo xtask image makes it",
            path.display()
        );
        self.signed_with(&signing_key(&path).expect("a key"))
    }

    /// The bundle, signed with this key.
    ///
    /// # Panics
    /// The content is no slot's.
    #[must_use]
    pub fn signed_with(&self, key: &SigningKey) -> Vec<u8> {
        let manifest = &self.image.manifest;
        let about = About {
            board: &manifest.board,
            version: &manifest.version,
            build_id: BUILD,
            build_time: manifest.epoch,
            command_line: &self.options,
            kernel: manifest.slot.kernel.as_deref().expect("a kernel"),
            device_tree: manifest.slot.device_tree.as_deref(),
        };
        let bundle = Bundle::new(&about, &self.files, key).expect("a bundle");
        let mut bytes = Vec::new();
        bundle.write(&mut bytes).expect("memory");
        bytes
    }
}
