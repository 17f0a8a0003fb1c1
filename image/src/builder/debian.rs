//! Debian packages for the boards, fetched through a private apt that uses this machine's own sources and mirrors.
//!
//! Installs nothing on the machine and changes none of its apt state. Called by the kernel and root builders. Invariant: a package
//! in the cache was verified by apt against the distribution's signature.

use super::tools::{ToolError, run, run_with};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

/// Architecture of every board.
const ARCHITECTURE: &str = "arm64";
/// This machine's sources of packages.
const SOURCES: &str = "/etc/apt";
/// Component of Debian's archive that holds everything free.
const MAIN: &str = "main";
/// Component that holds what GPUs and radios load; few machines have it among their sources.
const FIRMWARE: &str = "non-free-firmware";

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
    /// The package is there, the file in it is not.
    #[error("package {package} {version} has no file /{path}")]
    NoFile {
        /// The package.
        package: String,
        /// Its version.
        version: String,
        /// Path in the package.
        path: String,
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

    /// The bytes of the file at `path` in `package`, without its `/usr/src`.
    ///
    /// # Errors
    /// The package cannot be had or unpacked, or has no such file.
    pub fn file(&self, package: &str, version: &str, path: &str) -> Result<Vec<u8>, DebianError> {
        let unpacked = format!("{package}_{}", version.replace(':', "_"));
        let folder = self.folder.join("unpacked").join(unpacked);
        if !folder.is_dir() {
            let deb = self.fetch(package, version)?;
            let part = folder.with_extension("part");
            drop(std::fs::remove_dir_all(&part));
            create(&part)?;
            unpack(&deb, &part)?;
            std::fs::rename(&part, &folder).map_err(|source| DebianError::Cache {
                path: folder.clone(),
                source,
            })?;
        }
        std::fs::read(folder.join(path)).map_err(|_| DebianError::NoFile {
            package: package.to_owned(),
            version: version.to_owned(),
            path: path.to_owned(),
        })
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

    /// This machine's sources, each with the component for firmware: a source that has none answers with a warning.
    fn write_sources(&self) -> Result<(), DebianError> {
        let folder = self.folder.join("sources.list.d");
        create(&folder)?;
        let machine = Path::new(SOURCES);
        let mut files = vec![(
            machine.join("sources.list"),
            self.folder.join("sources.list"),
        )];
        let parts = std::fs::read_dir(machine.join("sources.list.d"));
        files.extend(parts.into_iter().flatten().flatten().map(|entry| {
            let to = folder.join(entry.file_name());
            (entry.path(), to)
        }));
        for (from, to) in files {
            let change = match from.extension().and_then(|kind| kind.to_str()) {
                Some("list") => with_firmware_line,
                Some("sources") => with_firmware_field,
                _ => continue,
            };
            // A machine may have only one of the two kinds.
            let text = std::fs::read_to_string(&from).unwrap_or_default();
            let lines: Vec<_> = text.lines().map(change).collect();
            let written = std::fs::write(&to, lines.join("\n") + "\n");
            written.map_err(|source| DebianError::Cache { path: to, source })?;
        }
        Ok(())
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
        self.write_sources()?;
        let root = self.folder.display();
        let mut command = Command::new(program);
        for option in [
            format!("APT::Architecture={ARCHITECTURE}"),
            format!("APT::Architectures::={ARCHITECTURE}"),
            format!("Dir::State={root}"),
            format!("Dir::State::lists={root}/lists"),
            format!("Dir::State::status={root}/status"),
            format!("Dir::Cache={root}"),
            format!("Dir::Etc::sourcelist={root}/sources.list"),
            format!("Dir::Etc::sourceparts={root}/sources.list.d"),
            "APT::Sandbox::User=".to_owned(),
            "Acquire::Languages=none".to_owned(),
            "Acquire::Retries=3".to_owned(),
        ] {
            command.arg("-o").arg(option);
        }
        Ok(command)
    }
}

/// `dpkg-deb -x` without the sources of a kernel, which are a gigabyte.
fn unpack(deb: &Path, folder: &Path) -> Result<(), DebianError> {
    let mut dpkg = Command::new("dpkg-deb");
    dpkg.arg("--fsys-tarfile").arg(deb).stdout(Stdio::piped());
    let start = |source| ToolError::Start {
        command: format!("dpkg-deb --fsys-tarfile {}", deb.display()),
        source,
    };
    let mut dpkg = dpkg.spawn().map_err(start)?;
    let Some(files) = dpkg.stdout.take() else {
        return Ok(());
    };
    let mut tar = Command::new("tar");
    tar.args(["-x", "--no-same-owner", "--exclude=./usr/src", "-C"])
        .arg(folder);
    let unpacked = run_with(&mut tar, files.into());
    dpkg.wait().map_err(start)?;
    unpacked?;
    Ok(())
}

/// A one-line source with the component for firmware beside main; other lines as they are.
fn with_firmware_line(line: &str) -> String {
    let words: Vec<&str> = line.split_whitespace().collect();
    if words.first() == Some(&"deb") && words.contains(&MAIN) && !words.contains(&FIRMWARE) {
        format!("{line} {FIRMWARE}")
    } else {
        line.to_owned()
    }
}

/// The same for a line of a deb822 source.
fn with_firmware_field(line: &str) -> String {
    let components = line.strip_prefix("Components:");
    let words: Vec<&str> = components.unwrap_or_default().split_whitespace().collect();
    if words.contains(&MAIN) && !words.contains(&FIRMWARE) {
        format!("{line} {FIRMWARE}")
    } else {
        line.to_owned()
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
    use super::{candidate, with_firmware_field, with_firmware_line};

    #[test]
    fn sources_get_the_component_for_firmware() {
        let line = "deb [signed-by=/k] http://archive.example bookworm main";
        assert_eq!(
            with_firmware_line(line),
            format!("{line} non-free-firmware")
        );
        for same in [
            "# deb x y main",
            "deb-src x y main",
            "deb x y main non-free-firmware",
            "",
        ] {
            assert_eq!(with_firmware_line(same), same);
        }
        let field = "Components: main contrib";
        assert_eq!(
            with_firmware_field(field),
            format!("{field} non-free-firmware")
        );
        for same in [
            "Suites: main",
            "Components: universe",
            "Components: main non-free-firmware",
        ] {
            assert_eq!(with_firmware_field(same), same);
        }
    }

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
