//! Images in files: an archive as `docker save` writes it, or an OCI layout, packed or as a folder.
//!
//! Called by `pull`. What is read was unpacked, or is copied file by file, by processes of the task's user. Invariant: no
//! path leads out of the folder.

use std::fs::{DirBuilder, File};
use std::io::Read;
use std::os::unix::fs::{DirBuilderExt, chown};
use std::path::{Path, PathBuf};

use agentd_core::fetch::{self, Source};
use agentd_core::image::{Digest, MAX_DOCUMENT};
use nesos_sys::fs::{Access, FsError, open_beneath};
use nesos_wire::task::Uri;

use super::store::Stage;
use crate::fetcher::cache::Cache;
use crate::fetcher::client::Client;
use crate::fetcher::helper::Helper;
use crate::fetcher::{self, Target};

/// The list of images of a layout, and of an archive.
const INDEX: &str = "index.json";
const MANIFEST: &str = "manifest.json";

/// A folder with an image's files.
#[derive(Debug)]
pub(super) struct Layout<'a> {
    folder: PathBuf,
    /// The layout on the machine, of which files are copied when they are wanted.
    origin: Option<String>,
    helper: &'a Helper,
    most: u64,
}

/// What a layout begins with.
#[derive(Debug)]
pub(super) enum Beginning {
    /// `index.json`
    Index(Vec<u8>),
    /// `manifest.json`
    Archive(Vec<u8>),
}

impl<'a> Layout<'a> {
    /// Brings the archive `name`, a path or a URI, into the stage and unpacks it there. `most`: bytes that it may take.
    pub(super) async fn open(
        name: &str,
        stage: &Stage,
        helper: &'a Helper,
        client: &Client,
        cache: &Cache,
        most: u64,
    ) -> Result<Self, String> {
        let folder = stage.path().join("files");
        let made = DirBuilder::new().mode(0o700).create(&folder);
        made.map_err(|e| e.to_string())?;
        if let Some(user) = &helper.user {
            chown(&folder, Some(user.uid), Some(user.gid)).map_err(|e| e.to_string())?;
        }
        let uri = Uri {
            value: name.into(),
            executable: false,
            extract: true,
            cache: false,
            output_file: None,
        };
        let plan = fetch::plan(&[uri]).map_err(|e| e.to_string())?;
        let mut layout = Self {
            folder,
            origin: None,
            helper,
            most,
        };
        match plan.first().map(|fetch| (&fetch.source, fetch.extract)) {
            Some((Source::Path(path), None)) if Path::new(path).is_dir() => {
                layout.origin = Some(path.clone());
                return Ok(layout);
            }
            Some((_, None)) => {
                return Err(format!(
                    "'{name}' is neither a folder nor called as archives are: .tar, .tar.gz, .tar.xz, .tar.zst"
                ));
            }
            _ => {}
        }
        let target = Target {
            sandbox: layout.folder.clone(),
            helper: helper.clone(),
            client: client.clone(),
            disk: Some(most),
        };
        let fetched = fetcher::fetch_all(&plan, &target, cache).await;
        fetched.map_err(|e| e.to_string())?;
        Ok(layout)
    }

    pub(super) async fn beginning(&self) -> Result<Beginning, String> {
        // Newer archives have both, and the same in them.
        if let Some(bytes) = self.read(INDEX).await? {
            return Ok(Beginning::Index(bytes));
        }
        let bytes = self.read(MANIFEST).await?;
        bytes.map(Beginning::Archive).ok_or_else(|| {
            format!("it holds neither {INDEX} nor {MANIFEST}: expected an OCI layout or what docker save writes")
        })
    }

    /// A document, bounded.
    pub(super) async fn document(&self, path: &str) -> Result<Vec<u8>, String> {
        let read = self.read(path).await?;
        read.ok_or_else(|| format!("it holds no {path}"))
    }

    /// A file that a document names.
    pub(super) async fn file(&self, path: &str) -> Result<File, String> {
        let file = self.find(path).await?;
        file.ok_or_else(|| format!("it holds no {path}"))
    }

    async fn read(&self, path: &str) -> Result<Option<Vec<u8>>, String> {
        let Some(file) = self.find(path).await? else {
            return Ok(None);
        };
        let mut bytes = Vec::new();
        let read = file.take(MAX_DOCUMENT as u64 + 1).read_to_end(&mut bytes);
        read.map_err(|e| format!("{path}: {e}"))?;
        Ok(Some(bytes))
    }

    async fn find(&self, path: &str) -> Result<Option<File>, String> {
        let inside = match &self.origin {
            None => path.to_string(),
            Some(origin) => {
                let source = format!("{origin}/{path}");
                if !Path::new(&source).exists() {
                    return Ok(None);
                }
                // One at a time is enough: what came before was read.
                let copy = "copy";
                let file = open_beneath(&self.folder, Path::new(copy), Access::Replace(0o600));
                let file = file.map_err(|e| e.to_string())?;
                self.helper.copy(&source, file, self.most).await?;
                copy.into()
            }
        };
        match open_beneath(&self.folder, Path::new(&inside), Access::Read) {
            Ok(file) => Ok(Some(file)),
            Err(error @ FsError::Io { .. }) if error.is_not_found() => Ok(None),
            Err(error) => Err(format!("{path}: {error}")),
        }
    }
}

/// Where a layout has the blob of a digest.
pub(super) fn blob_path(digest: &Digest) -> String {
    format!("blobs/sha256/{}", digest.digits())
}
