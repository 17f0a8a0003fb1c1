//! Debian packages for the boards, fetched through a private apt that uses this machine's own sources and mirrors.
//!
//! Installs nothing on the machine and changes none of its apt state. Called by the kernel and root builders. Invariant: a package
//! in the cache was verified by apt against the distribution's signature.

use super::tools::{ToolError, run};
use std::path::{Path, PathBuf};
use std::process::Command;

/// Architecture of every board.
const ARCHITECTURE: &str = "arm64";

/// A package that cannot be had.
#[derive(Debug, thiserror::Error)]
pub enum DebianError {
    /// apt or dpkg failed.
    #[error(transparent)]
    Tool(#[from] ToolError),
    /// No source offers it.
    #[error(
        "apt knows no package {package} for arm64: this machine's sources must include Debian's main archive \
         (bookworm with its security suite, or newer)"
    )]
    Missing {
        /// The package.
        package: String,
    },
    /// The cache cannot be written.
    #[error("{path}: {source}")]
    Cache {
        /// File or folder.
        path: PathBuf,
        /// What went wrong.
        source: std::io::Error,
    },
}

/// The private apt.
#[derive(Clone, Debug)]
pub struct Debian {
    folder: PathBuf,
}

impl Debian {
    /// Keeps its lists and packages below `cache`.
    pub fn new(cache: &Path) -> Self {
        Self {
            folder: cache.join(format!("apt-{ARCHITECTURE}")),
        }
    }

    /// The version of `package` that would be fetched. Package lists are downloaded once and again only when they lack it.
    ///
    /// # Errors
    /// apt fails or no source has the package.
    pub fn version(&self, package: &str) -> Result<String, DebianError> {
        if let Some(version) = self.known_version(package)? {
            return Ok(version);
        }
        self.update()?;
        self.known_version(package)?
            .ok_or_else(|| DebianError::Missing {
                package: package.to_owned(),
            })
    }

    /// Downloads `package` in `version` unless the cache has it, and returns the `.deb`.
    ///
    /// # Errors
    /// apt fails: no network, or the archive has replaced that version (the message says which).
    pub fn fetch(&self, package: &str, version: &str) -> Result<PathBuf, DebianError> {
        let archives = self.folder.join("debs");
        create(&archives)?;
        let found = || find_deb(&archives, package, version);
        if let Some(path) = found() {
            return Ok(path);
        }
        let wanted = format!("{package}={version}");
        run(self
            .apt("apt-get")?
            .current_dir(&archives)
            .args(["--quiet", "download", &wanted]))?;
        found().ok_or(DebianError::Missing { package: wanted })
    }

    /// Downloads the package lists again, so that [`Debian::version`] answers with what the archive has today.
    ///
    /// # Errors
    /// apt fails.
    pub fn update(&self) -> Result<(), DebianError> {
        run(self.apt("apt-get")?.args(["--quiet", "update"]))?;
        Ok(())
    }

    fn known_version(&self, package: &str) -> Result<Option<String>, DebianError> {
        let text = run(self
            .apt("apt-cache")?
            .env("LC_ALL", "C")
            .args(["policy", package]))?;
        Ok(candidate(&String::from_utf8_lossy(&text)))
    }

    fn apt(&self, program: &str) -> Result<Command, DebianError> {
        for folder in ["lists/partial", "archives/partial"] {
            create(&self.folder.join(folder))?;
        }
        let status = self.folder.join("status");
        if !status.exists() {
            std::fs::write(&status, "").map_err(|source| DebianError::Cache {
                path: status.clone(),
                source,
            })?;
        }
        let root = self.folder.display();
        let mut command = Command::new(program);
        for option in [
            format!("APT::Architecture={ARCHITECTURE}"),
            format!("APT::Architectures::={ARCHITECTURE}"),
            format!("Dir::State={root}"),
            format!("Dir::State::lists={root}/lists"),
            format!("Dir::State::status={root}/status"),
            format!("Dir::Cache={root}"),
            "APT::Sandbox::User=".to_owned(),
            "Acquire::Languages=none".to_owned(),
            "Acquire::Retries=3".to_owned(),
        ] {
            command.arg("-o").arg(option);
        }
        Ok(command)
    }
}

/// The candidate in the output of `apt-cache policy`.
fn candidate(policy: &str) -> Option<String> {
    let line = policy
        .lines()
        .find_map(|line| line.trim().strip_prefix("Candidate:"))?;
    Some(line.trim().to_owned()).filter(|version| version != "(none)")
}

fn find_deb(folder: &Path, package: &str, version: &str) -> Option<PathBuf> {
    let start = format!("{package}_{}_", version.replace(':', "%3a"));
    let mut entries = std::fs::read_dir(folder).ok()?.flatten();
    entries.find_map(|entry| {
        let name = entry.file_name().into_string().ok()?;
        (name.starts_with(&start) && name.ends_with(".deb")).then(|| entry.path())
    })
}

fn create(folder: &Path) -> Result<(), DebianError> {
    std::fs::create_dir_all(folder).map_err(|source| DebianError::Cache {
        path: folder.to_owned(),
        source,
    })
}

#[cfg(test)]
mod tests {
    use super::candidate;

    #[test]
    fn reads_apts_policy() {
        let text = "linux-source-6.12:\n  Installed: (none)\n  Candidate: 6.12.117-1~deb12u1\n  Version table:\n";
        assert_eq!(candidate(text).as_deref(), Some("6.12.117-1~deb12u1"));
        assert_eq!(
            candidate("x:\n  Installed: (none)\n  Candidate: (none)\n"),
            None
        );
        assert_eq!(candidate(""), None);
    }
}
