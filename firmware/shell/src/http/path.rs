//! Which handler a path belongs to: the longest registered prefix, as in libprocess.
//!
//! Called for each request by both daemons. Invariant: a prefix ends at a slash.

/// The route registered for the longest prefix of `path`, if there is one.
pub fn route<R: Copy>(routes: &[(&str, R)], path: &str) -> Option<R> {
    routes
        .iter()
        .filter(|(prefix, _)| after(path, prefix).is_some())
        .max_by_key(|(prefix, _)| prefix.len())
        .map(|(_, route)| *route)
}

/// `path` without the actor's name (`/master`, `/slave(1)`) in front and slashes at the end; `/` if nothing is left.
pub fn normal<'path>(path: &'path str, actor: &str) -> &'path str {
    match after(path, actor).unwrap_or(path).trim_end_matches('/') {
        "" => "/",
        path => path,
    }
}

/// What follows `prefix`, if it is one.
fn after<'path>(path: &'path str, prefix: &str) -> Option<&'path str> {
    path.strip_prefix(prefix)
        .filter(|rest| rest.is_empty() || rest.starts_with('/'))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_longest_prefix_wins_and_ends_at_a_slash() {
        let routes = [("/a", 1), ("/a/b", 2)];
        for (path, expected) in [
            ("/a", Some(1)),
            ("/a/b/c", Some(2)),
            ("/a/bc", Some(1)),
            ("/ab", None),
            ("/", None),
        ] {
            assert_eq!(route(&routes, path), expected, "{path}");
        }
    }

    #[test]
    fn the_actors_name_and_trailing_slashes_do_not_count() {
        for (path, expected) in [
            ("/slave(1)/state//", "/state"),
            ("/slave(10)/state", "/slave(10)/state"),
            ("/slave(1)", "/"),
            ("/", "/"),
            ("/stateful", "/stateful"),
        ] {
            assert_eq!(normal(path, "/slave(1)"), expected, "{path}");
        }
    }
}
