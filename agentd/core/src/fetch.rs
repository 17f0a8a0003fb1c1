//! Fetch plans: from a task's URIs to what the fetcher has to do, with names that cannot leave the sandbox.
//!
//! Pure; the shell copies, downloads and unpacks. Called by the shell before the task starts. Invariant: every target is
//! a relative path of plain components (no `..`, no empty ones, no control characters).

use nesos_wire::task::Uri;

/// Most URIs of one task: they are fetched one after another, before the task starts.
pub const MAX_URIS: usize = 64;
/// Longest URI in bytes.
pub const MAX_URI_LEN: usize = 4096;
/// Longest file name (Linux NAME_MAX).
const MAX_NAME_LEN: usize = 255;
/// What a URI ends with that says the SHA-256 of the file, in hexadecimal.
const CHECKSUM: &str = "#sha256=";
/// Names that the sandbox itself uses.
const RESERVED: [&str; 2] = ["stdout", "stderr"];

/// Where a file comes from.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Source {
    /// An absolute path on the agent's file system.
    Path(String),
    /// An `http://` or `https://` URL.
    Http(String),
}

/// Archive formats that are unpacked: Mesos's, and Zstandard's.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Archive {
    /// `.tar`
    Tar,
    /// `.tar.gz`, `.tgz`
    TarGz,
    /// `.tar.bz2`, `.tbz2`
    TarBz2,
    /// `.tar.xz`, `.txz`
    TarXz,
    /// `.tar.zst`, `.tzst`
    TarZst,
    /// `.gz`: one compressed file.
    Gz,
    /// `.zip`
    Zip,
}

impl Archive {
    /// What the fetcher's helper calls it.
    pub fn name(self) -> &'static str {
        match self {
            Archive::Tar => "tar",
            Archive::TarGz => "tar.gz",
            Archive::TarBz2 => "tar.bz2",
            Archive::TarXz => "tar.xz",
            Archive::TarZst => "tar.zst",
            Archive::Gz => "gz",
            Archive::Zip => "zip",
        }
    }
}

/// One file to fetch.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Fetch {
    /// The URI as the task gives it: for messages, and the cache's key.
    pub uri: String,
    /// From where.
    pub source: Source,
    /// To where, relative to the sandbox.
    pub target: String,
    /// `chmod +x` afterwards.
    pub executable: bool,
    /// Unpack into the sandbox afterwards.
    pub extract: Option<Archive>,
    /// Keep it for later tasks.
    pub cache: bool,
    /// What the file's SHA-256 must be.
    pub sha256: Option<[u8; 32]>,
}

/// Why a URI cannot be fetched.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum FetchError {
    /// More than [`MAX_URIS`].
    #[error("{0} URIs, at most {MAX_URIS} are allowed")]
    TooMany(usize),
    /// Longer than [`MAX_URI_LEN`].
    #[error("a URI of {0} bytes, at most {MAX_URI_LEN} are allowed")]
    TooLong(usize),
    /// Not a path, `file://`, `http://` or `https://`.
    #[error(
        "cannot fetch '{uri}': only absolute paths, file://, http:// and https:// are supported"
    )]
    Scheme {
        /// The URI.
        uri: String,
    },
    /// The URI or `output_file` names no file that may be written.
    #[error("cannot fetch '{uri}': '{name}' is not a name for a file in the sandbox")]
    Name {
        /// The URI.
        uri: String,
        /// The offending name.
        name: String,
    },
    /// `#sha256=` is not followed by a checksum.
    #[error(
        "cannot fetch '{uri}': after #sha256= come 64 hexadecimal digits, the checksum of the file"
    )]
    Checksum {
        /// The URI.
        uri: String,
    },
    /// Two different URIs of one task have the same target.
    #[error("cannot fetch '{uri}': '{name}' is the target of another URI too")]
    Twice {
        /// The URI.
        uri: String,
        /// The target.
        name: String,
    },
}

/// What to fetch, in order.
pub fn plan(uris: &[Uri]) -> Result<Vec<Fetch>, FetchError> {
    if uris.len() > MAX_URIS {
        return Err(FetchError::TooMany(uris.len()));
    }
    let mut fetches: Vec<Fetch> = Vec::with_capacity(uris.len());
    for uri in uris {
        let fetch = plan_one(uri)?;
        // As in Mesos, the same may be wanted twice.
        if fetches.contains(&fetch) {
            continue;
        }
        if fetches.iter().any(|other| other.target == fetch.target) {
            return Err(FetchError::Twice {
                uri: uri.value.clone(),
                name: fetch.target,
            });
        }
        fetches.push(fetch);
    }
    Ok(fetches)
}

/// Whether `path` is relative and made of plain components only.
pub fn is_plain_path(path: &str) -> bool {
    !path.is_empty() && path.split('/').all(is_plain_name)
}

fn plan_one(uri: &Uri) -> Result<Fetch, FetchError> {
    let whole = uri.value.trim();
    if whole.len() > MAX_URI_LEN {
        return Err(FetchError::TooLong(whole.len()));
    }
    let (value, sha256) = match whole.rsplit_once(CHECKSUM) {
        Some((value, digits)) => {
            let sha256 = hexadecimal(digits);
            let wrong = || FetchError::Checksum { uri: whole.into() };
            (value, Some(sha256.ok_or_else(wrong)?))
        }
        None => (whole, None),
    };
    let (source, tail) = source(value).ok_or_else(|| FetchError::Scheme { uri: value.into() })?;
    let default_name = tail.rsplit('/').next().unwrap_or_default();
    let target = uri.output_file.as_deref().unwrap_or(default_name);
    if !is_plain_path(target) || RESERVED.contains(&target) {
        return Err(FetchError::Name {
            uri: value.into(),
            name: target.into(),
        });
    }
    let extract = if uri.extract && !uri.executable {
        archive(target)
    } else {
        None
    };
    Ok(Fetch {
        uri: whole.into(),
        source,
        target: target.into(),
        executable: uri.executable,
        extract,
        cache: uri.cache,
        sha256,
    })
}

fn hexadecimal(digits: &str) -> Option<[u8; 32]> {
    let mut bytes = [0; 32];
    if digits.len() != 64 || !digits.bytes().all(|byte| byte.is_ascii_hexdigit()) {
        return None;
    }
    for (at, byte) in bytes.iter_mut().enumerate() {
        *byte = u8::from_str_radix(digits.get(2 * at..2 * at + 2)?, 16).ok()?;
    }
    Some(bytes)
}

/// The source, and the part of the URI whose last segment names the file.
fn source(value: &str) -> Option<(Source, &str)> {
    if value.contains(|c: char| c.is_control()) {
        return None;
    }
    if value.starts_with('/') {
        return Some((Source::Path(value.into()), value));
    }
    let (scheme, rest) = value.split_once("://")?;
    if scheme.eq_ignore_ascii_case("file") {
        let path = rest.strip_prefix("localhost").unwrap_or(rest);
        return path
            .starts_with('/')
            .then(|| (Source::Path(path.into()), path));
    }
    let scheme = ["http", "https"]
        .into_iter()
        .find(|known| scheme.eq_ignore_ascii_case(known))?;
    let before_query = rest.split(['?', '#']).next().unwrap_or_default();
    let (host, path) = before_query.split_once('/')?;
    (!host.is_empty()).then(|| (Source::Http(format!("{scheme}://{rest}")), path))
}

fn is_plain_name(name: &str) -> bool {
    !name.is_empty()
        && name != "."
        && name != ".."
        && name.len() <= MAX_NAME_LEN
        && !name.contains(|c: char| c.is_control() || c == '\\')
}

fn archive(name: &str) -> Option<Archive> {
    // `.gz` after `.tar.gz`: the first that fits counts.
    const KNOWN: [(&str, Archive); 11] = [
        (".tar", Archive::Tar),
        (".tar.gz", Archive::TarGz),
        (".tgz", Archive::TarGz),
        (".tar.bz2", Archive::TarBz2),
        (".tbz2", Archive::TarBz2),
        (".tar.xz", Archive::TarXz),
        (".txz", Archive::TarXz),
        (".tar.zst", Archive::TarZst),
        (".tzst", Archive::TarZst),
        (".gz", Archive::Gz),
        (".zip", Archive::Zip),
    ];
    KNOWN
        .iter()
        .find(|(suffix, _)| name.ends_with(suffix))
        .map(|(_, archive)| *archive)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn uri(value: &str) -> Uri {
        Uri {
            value: value.into(),
            executable: false,
            extract: true,
            cache: false,
            output_file: None,
        }
    }

    fn target(value: &str) -> Option<String> {
        plan(&[uri(value)])
            .ok()
            .map(|fetches| fetches[0].target.clone())
    }

    #[test]
    fn names_come_from_the_last_segment() {
        assert_eq!(target("/etc/hosts").as_deref(), Some("hosts"));
        assert_eq!(target("file:///a/b.sh").as_deref(), Some("b.sh"));
        assert_eq!(
            target("HTTP://h:80/x/y.tgz?v=1/2#z").as_deref(),
            Some("y.tgz")
        );
        let secure = plan(&[uri("HTTPS://h/z")]).expect("valid");
        assert_eq!(secure[0].source, Source::Http("https://h/z".into()));
    }

    #[test]
    fn hostile_names_are_refused() {
        for bad in [
            "/",
            "/a/..",
            "http://h",
            "http://h/",
            "http:///x",
            "https://h",
            "file://x",
            "ftp://h/x",
            "x",
            "",
            "/a\nb",
            "/a/stdout",
        ] {
            assert_eq!(target(bad), None, "{bad:?}");
        }
        for name in [
            "", ".", "..", "/x", "a/../b", "a//b", "a/", "stderr", "a\\b", "a\0",
        ] {
            let named = Uri {
                output_file: Some(name.into()),
                ..uri("/etc/hosts")
            };
            assert!(
                matches!(plan(&[named]), Err(FetchError::Name { .. })),
                "{name:?}"
            );
        }
    }

    #[test]
    fn two_files_do_not_share_a_name() {
        assert!(matches!(
            plan(&[uri("/a/x"), uri("/b/x")]),
            Err(FetchError::Twice { .. })
        ));
        let same = plan(&[uri("/a/x"), uri("/a/x")]).expect("valid");
        assert_eq!(same.len(), 1);
        assert_eq!(
            plan(&vec![uri("/a/x"); MAX_URIS + 1]),
            Err(FetchError::TooMany(MAX_URIS + 1))
        );
    }

    #[test]
    fn a_fragment_says_the_checksum() {
        let digits = "0123456789abcdefABCDEF00112233445566778899aabbccddeeff0000000000";
        for start in ["/a/x.tgz", "https://h/x.tgz?v=1"] {
            let planned = plan(&[uri(&format!("{start}#sha256={digits}"))]).expect("valid");
            let sha256 = planned[0].sha256.expect("a checksum");
            assert_eq!((sha256[0], sha256[1], sha256[31]), (0x01, 0x23, 0));
            assert_eq!(planned[0].target, "x.tgz");
            assert_eq!(planned[0].extract, Some(Archive::TarGz));
        }
        for wrong in ["", "00", &digits[1..], &digits.replace('0', "g")] {
            let planned = plan(&[uri(&format!("/a/x#sha256={wrong}"))]);
            assert!(
                matches!(planned, Err(FetchError::Checksum { .. })),
                "{wrong}"
            );
        }
    }

    #[test]
    fn executables_are_not_unpacked() {
        let plain = plan(&[uri("/a/x.tar.gz")]).expect("valid");
        assert_eq!(plain[0].extract, Some(Archive::TarGz));
        let executable = Uri {
            executable: true,
            ..uri("/a/x.tar.gz")
        };
        assert_eq!(plan(&[executable]).expect("valid")[0].extract, None);
    }

    proptest! {
        #[test]
        fn no_target_leaves_the_sandbox(value in "(/|file://|http://)?[a./\\\\%h:?#]{0,20}", name in prop::option::of("[a./\\\\]{0,10}")) {
            let uri = Uri { output_file: name, ..uri(&value) };
            if let Ok(fetches) = plan(&[uri]) {
                prop_assert!(fetches[0].target.split('/').all(|part| !matches!(part, "" | "." | "..")));
            }
        }
    }
}
