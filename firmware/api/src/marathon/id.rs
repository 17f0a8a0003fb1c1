//! Paths of apps and groups: `/group/app`.
//!
//! Pure. Used wherever clients name one. Invariant: a path begins with a slash, has no empty, `.` or `..` segment, and
//! its segments are host names, since tasks are found by them.

/// Longest path in bytes: with a suffix it becomes a task's id, of which Mesos allows 255.
pub const MAX_PATH: usize = 180;

const RULE: &str = "must fully match regular expression '^(([a-z0-9]|[a-z0-9][a-z0-9\\-]*[a-z0-9])\\.)*([a-z0-9]|[a-z0-9][a-z0-9\\-]*[a-z0-9])|(\\.|\\.\\.)$'";

/// Makes a path of what a client wrote: relative to `base`, doubled slashes count once.
///
/// # Errors
/// A sentence, if a segment is no name.
pub fn resolve(text: &str, base: &str) -> Result<String, String> {
    let mut segments: Vec<&str> = match text.starts_with('/') {
        true => Vec::new(),
        false => parts(base).collect(),
    };
    for part in parts(text) {
        match part {
            "." => {}
            ".." => drop(segments.pop()),
            part if part.split('.').all(is_label) => segments.push(part),
            _ => return Err(RULE.to_owned()),
        }
    }
    let path = format!("/{}", segments.join("/"));
    match path.len() {
        0..=MAX_PATH => Ok(path),
        len => Err(format!("must have {MAX_PATH} bytes at most, it has {len}")),
    }
}

/// The segments of a path.
pub fn parts(path: &str) -> impl DoubleEndedIterator<Item = &str> {
    path.split('/').filter(|part| !part.is_empty())
}

/// The group that a path is in.
pub fn parent(path: &str) -> &str {
    match path.rsplit_once('/') {
        Some(("", _)) | None => "/",
        Some((parent, _)) => parent,
    }
}

/// Whether a path is in a group, at whatever depth.
pub fn is_within(path: &str, group: &str) -> bool {
    let rest = path.strip_prefix(group.trim_end_matches('/'));
    rest.is_some_and(|rest| rest.starts_with('/') && rest.len() > 1)
}

/// The path as a host name, innermost first: `/a/b` is `b.a`.
pub fn host_name(path: &str) -> String {
    parts(path).rev().collect::<Vec<_>>().join(".")
}

fn is_label(label: &str) -> bool {
    let is_inner = |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit() || byte == b'-';
    !label.is_empty()
        && label.bytes().all(is_inner)
        && !label.starts_with('-')
        && !label.ends_with('-')
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    #[test]
    fn paths_are_made_whole() {
        for (text, base, path) in [
            ("a", "/", "/a"),
            ("/a", "/g", "/a"),
            ("a", "/g", "/g/a"),
            ("//a//b/", "/", "/a/b"),
            ("../a", "/g/h", "/g/a"),
            ("./x.y-1", "/g", "/g/x.y-1"),
            ("../../..", "/g", "/"),
            ("", "/", "/"),
        ] {
            assert_eq!(resolve(text, base).unwrap(), path, "{text} in {base}");
        }
        assert_eq!(host_name("/a/b/c"), "c.b.a");
        assert_eq!(
            (parent("/a/b"), parent("/a"), parent("/")),
            ("/a", "/", "/")
        );
    }

    #[test]
    fn segments_are_host_names() {
        for text in ["A", "a_b", "-a", "a-", "a..b", "a b", "ä", ".a"] {
            let fault = resolve(text, "/").unwrap_err();
            assert!(fault.contains("regular expression"), "{text}: {fault}");
        }
        let long = "a/".repeat(MAX_PATH);
        assert!(resolve(&long, "/").unwrap_err().contains("180 bytes"));
    }

    #[test]
    fn what_is_in_a_group_is_below_it() {
        for (path, group, is_in) in [
            ("/a/b", "/a", true),
            ("/a/b/c", "/a", true),
            ("/ab", "/a", false),
            ("/a", "/a", false),
            ("/a", "/", true),
        ] {
            assert_eq!(is_within(path, group), is_in, "{path} in {group}");
        }
    }
}
