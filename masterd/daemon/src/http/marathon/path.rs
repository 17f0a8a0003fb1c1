//! What a path of this API asks for.
//!
//! Pure. Called for each request. Paths of apps have slashes in them, so that what stands behind one is told from its last segments, as with
//! Marathon. Invariant: doubled slashes count once.

use super::super::query;

/// What is asked for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Wanted {
    Apps(Apps),
    Tasks,
    DeleteTasks,
    Groups(Groups),
    Deployments,
    Deployment(String),
    Queue,
    Delay(String),
    Info,
    Leader,
    Events,
    Nothing,
}

/// What is asked of apps, by path.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Apps {
    All,
    /// `GROUP/*`
    Within(String),
    App(String),
    Versions(String),
    Version(String, String),
    Restart(String),
    Tasks(String),
    /// `GROUP/*/tasks`
    TasksWithin(String),
    Task(String, String),
}

/// What is asked of groups, by path.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Groups {
    Group(String),
    Versions(String),
    Version(String, String),
}

/// Takes a path apart.
pub(super) fn wanted(path: &str) -> Wanted {
    // Some clients hide an app's slashes.
    let path = query::decode(path, false);
    let segments = path.split('/').filter(|segment| !segment.is_empty());
    let segments: Vec<&str> = segments.collect();
    let ["v2", what, rest @ ..] = segments.as_slice() else {
        return Wanted::Nothing;
    };
    match (*what, rest) {
        ("apps", rest) => Wanted::Apps(apps(rest)),
        ("groups", rest) => Wanted::Groups(groups(rest)),
        ("tasks", []) => Wanted::Tasks,
        ("tasks", ["delete"]) => Wanted::DeleteTasks,
        ("deployments", []) => Wanted::Deployments,
        ("deployments", [id]) => Wanted::Deployment((*id).to_owned()),
        ("queue", []) => Wanted::Queue,
        ("queue", [id @ .., "delay"]) if !id.is_empty() => Wanted::Delay(joined(id)),
        ("info", []) => Wanted::Info,
        ("leader", []) => Wanted::Leader,
        ("events", []) => Wanted::Events,
        _ => Wanted::Nothing,
    }
}

fn apps(rest: &[&str]) -> Apps {
    match rest {
        [] => Apps::All,
        [group @ .., "*"] => Apps::Within(joined(group)),
        [group @ .., "*", "tasks"] => Apps::TasksWithin(joined(group)),
        [_] => Apps::App(joined(rest)),
        [id @ .., "versions"] => Apps::Versions(joined(id)),
        [id @ .., "restart"] => Apps::Restart(joined(id)),
        [id @ .., "tasks"] => Apps::Tasks(joined(id)),
        [id @ .., "versions", version] if !id.is_empty() => {
            Apps::Version(joined(id), (*version).to_owned())
        }
        [id @ .., "tasks", task] if !id.is_empty() => Apps::Task(joined(id), (*task).to_owned()),
        id => Apps::App(joined(id)),
    }
}

fn groups(rest: &[&str]) -> Groups {
    match rest {
        [id @ .., "versions"] => Groups::Versions(joined(id)),
        [id @ .., "versions", version] => Groups::Version(joined(id), (*version).to_owned()),
        id => Groups::Group(joined(id)),
    }
}

fn joined(segments: &[&str]) -> String {
    format!("/{}", segments.join("/"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_stands_behind_an_app_is_told_from_its_last_segments() {
        let a = || "/a".to_owned();
        let ab = || "/a/b".to_owned();
        let v = || "2026-01-31T12:00:00.000Z".to_owned();
        for (path, expected) in [
            ("/v2/apps", Apps::All),
            ("/v2/apps//a", Apps::App(a())),
            ("/v2/apps/%2Fa", Apps::App(a())),
            ("/v2/apps/a/b", Apps::App(ab())),
            ("/v2/apps//a/b/versions", Apps::Versions(ab())),
            (
                "/v2/apps/a/versions/2026-01-31T12%3A00:00.000Z",
                Apps::Version(a(), v()),
            ),
            ("/v2/apps/a/restart", Apps::Restart(a())),
            ("/v2/apps/a/tasks", Apps::Tasks(a())),
            ("/v2/apps/a/b/tasks/t.1", Apps::Task(ab(), "t.1".into())),
            ("/v2/apps/tasks", Apps::App("/tasks".into())),
            ("/v2/apps/*", Apps::Within("/".into())),
            ("/v2/apps/a/*", Apps::Within(a())),
            ("/v2/apps/a/*/tasks", Apps::TasksWithin(a())),
        ] {
            assert_eq!(wanted(path), Wanted::Apps(expected), "{path}");
        }
    }

    #[test]
    fn the_rest_is_found() {
        for (path, expected) in [
            ("/v2/tasks", Wanted::Tasks),
            ("/v2/tasks/delete", Wanted::DeleteTasks),
            ("/v2/groups", Wanted::Groups(Groups::Group("/".into()))),
            (
                "/v2/groups//a/b",
                Wanted::Groups(Groups::Group("/a/b".into())),
            ),
            (
                "/v2/groups/versions",
                Wanted::Groups(Groups::Versions("/".into())),
            ),
            (
                "/v2/groups/a/versions/v",
                Wanted::Groups(Groups::Version("/a".into(), "v".into())),
            ),
            ("/v2/deployments/d", Wanted::Deployment("d".into())),
            ("/v2/queue//a/b/delay", Wanted::Delay("/a/b".into())),
            ("/v2/queue/delay", Wanted::Nothing),
            ("/v2/pods", Wanted::Nothing),
            ("/v2", Wanted::Nothing),
        ] {
            assert_eq!(wanted(path), expected, "{path}");
        }
    }
}
