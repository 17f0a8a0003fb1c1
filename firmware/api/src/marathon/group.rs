//! Groups as clients send them: apps in apps' folders, put all at once.
//!
//! Groups are not kept: a group is there while an app's path begins with its own. Pure. Invariant: what is wrong with any app of
//! a group is told by its path within the document.

use std::collections::{BTreeMap, BTreeSet};

use super::app::App;
use super::fields::{self, Fault, Faults, Node, Object, Refusal};
use super::id;

/// Groups within groups; paths are short anyway.
const MAX_DEPTH: usize = 16;

/// What a client wants of a group.
#[derive(Debug, Clone, PartialEq)]
pub enum GroupUpdate {
    /// These apps, and no others.
    Apps {
        /// Its path.
        id: String,
        /// The apps.
        apps: Vec<App>,
        /// Its groups, itself among them, whose apps were given: apps of theirs that were not go.
        given: BTreeSet<String>,
        /// Its groups, itself among them, whose groups were given, with these: others go.
        inner: BTreeMap<String, BTreeSet<String>>,
    },
    /// So many times as many instances.
    Scale {
        /// Its path.
        id: String,
        /// The factor.
        by: f64,
    },
    /// All apps as they were at this time, milliseconds since 1970.
    Version {
        /// Its path.
        id: String,
        /// The time.
        version: u64,
    },
}

impl GroupUpdate {
    /// Reads what is wanted of the group that the request's path names.
    ///
    /// # Errors
    /// No JSON, or fields that are wrong: all of them.
    pub fn from_json(text: &[u8], base: &str) -> Result<Self, Refusal> {
        let value = fields::parse(text)?;
        let faults = Faults::default();
        let root = Node {
            value: &value,
            path: String::new(),
            faults: &faults,
        };
        let Some(object) = root.object() else {
            return Err(Refusal::of("/", "error.expected.jsobject"));
        };
        let id = path(&object, base);
        if object.has("scaleBy") {
            let by = object.number("scaleBy", 0.0..=1e6, 1.0);
            return faults.unless_any(Self::Scale { id, by });
        }
        if let Some(text) = object.text("version") {
            let version = super::time::read(&text);
            if version.is_none() {
                object.fault("version", "error.expected.timestamp");
            }
            let version = version.unwrap_or_default();
            return faults.unless_any(Self::Version { id, version });
        }
        let mut reading = Reading::default();
        reading.group(&object, "", &id, &[], 0);
        let mut all = faults.unless_any(()).err().map_or_else(Vec::new, faults_of);
        all.extend(reading.faults);
        if !all.is_empty() {
            return Err(Refusal::Invalid(all));
        }
        Ok(Self::Apps {
            id,
            apps: reading.apps,
            given: reading.given,
            inner: reading.inner,
        })
    }

    /// Whether an app that is there is to go, as the group was given without it.
    #[must_use]
    pub fn drops(&self, path: &str) -> bool {
        let Self::Apps {
            apps, given, inner, ..
        } = self
        else {
            return false;
        };
        if apps.iter().any(|app| app.id == path) {
            return false;
        }
        let is_left_out = |(group, groups): (&String, &BTreeSet<String>)| {
            let is_deeper = id::is_within(id::parent(path), group);
            is_deeper && !groups.iter().any(|group| id::is_within(path, group))
        };
        given.contains(id::parent(path)) || inner.iter().any(is_left_out)
    }
}

#[derive(Debug, Default)]
struct Reading {
    apps: Vec<App>,
    given: BTreeSet<String>,
    inner: BTreeMap<String, BTreeSet<String>>,
    faults: Vec<Fault>,
}

impl Reading {
    fn group(
        &mut self,
        object: &Object<'_>,
        at: &str,
        group: &str,
        needed: &[String],
        depth: usize,
    ) {
        let mut needed = needed.to_vec();
        let named = object.list("dependencies", |node| {
            let path = id::resolve(&node.text()?, id::parent(group));
            path.map_err(|fault| node.fault(fault)).ok()
        });
        needed.extend(named.unwrap_or_default());
        let apps = object.get("apps").map(|apps| apps.items());
        if apps.is_some() {
            self.given.insert(group.to_owned());
        }
        for (index, node) in apps.into_iter().flatten().enumerate() {
            self.app(&node, &format!("{at}/apps({index})"), group, &needed);
        }
        let groups = object.get("groups").map(|groups| groups.items());
        if groups.is_some() {
            self.inner.entry(group.to_owned()).or_default();
        }
        for (index, node) in groups.into_iter().flatten().enumerate() {
            if depth >= MAX_DEPTH {
                node.fault(format!("groups must not be deeper than {MAX_DEPTH}"));
                return;
            }
            if let Some(inner) = node.object() {
                let path = path(&inner, group);
                if !id::is_within(&path, group) {
                    inner.fault("id", format!("must be within {group}"));
                }
                let inner_groups = self.inner.entry(group.to_owned()).or_default();
                inner_groups.insert(path.clone());
                let at = format!("{at}/groups({index})");
                self.group(&inner, &at, &path, &needed, depth + 1);
            }
        }
    }

    fn app(&mut self, node: &Node<'_>, at: &str, group: &str, needed: &[String]) {
        match App::from_value(node.value, group) {
            Ok(app) if !id::is_within(&app.id, group) => {
                self.fault(at, "/id", format!("must be within {group}"));
            }
            Ok(app) if self.apps.iter().any(|other| other.id == app.id) => {
                self.fault(at, "/id", format!("{} is there twice", app.id));
            }
            Ok(mut app) => {
                let own = app.dependencies.clone();
                let more = needed.iter().filter(|path| !own.contains(path));
                app.dependencies.extend(more.cloned());
                self.apps.push(app);
            }
            Err(Refusal::Invalid(faults)) => {
                self.faults.extend(faults.into_iter().map(|fault| Fault {
                    path: format!("{at}{}", fault.path),
                    ..fault
                }));
            }
            Err(Refusal::Json { reason }) => self.fault(at, "", reason),
        }
    }

    fn fault(&mut self, at: &str, field: &str, error: String) {
        self.faults.push(Fault {
            path: format!("{at}{field}"),
            errors: vec![error],
        });
    }
}

fn faults_of(refusal: Refusal) -> Vec<Fault> {
    match refusal {
        Refusal::Invalid(faults) => faults,
        Refusal::Json { .. } => Vec::new(),
    }
}

fn path(object: &Object<'_>, base: &str) -> String {
    let Some(text) = object.text("id") else {
        return base.to_owned();
    };
    id::resolve(&text, base).unwrap_or_else(|fault| {
        object.fault("id", fault);
        base.to_owned()
    })
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    fn read(text: &str, base: &str) -> Result<GroupUpdate, Refusal> {
        GroupUpdate::from_json(text.as_bytes(), base)
    }

    #[test]
    fn groups_hold_apps_and_groups() {
        let text = r#"{"id":"g","dependencies":["/db"],"apps":[{"id":"a","cmd":"x"}],"groups":[
            {"id":"h","apps":[{"id":"b","cmd":"x","dependencies":["../a"]},{"id":"/g/h/c","cmd":"x"}]},{"id":"e"}]}"#;
        let update = read(text, "/").unwrap();
        for (path, is_dropped) in [
            ("/g/a", false),
            ("/g/x", true),
            ("/g/h/b", false),
            ("/g/h/x", true),
            ("/g/e/x", false),
            ("/g/i/x", true),
            ("/g/i/j/x", true),
            ("/x", false),
        ] {
            assert_eq!(update.drops(path), is_dropped, "{path}");
        }
        let GroupUpdate::Apps {
            id, apps, given, ..
        } = update
        else {
            panic!("apps were given");
        };
        assert_eq!(id, "/g");
        let ids: Vec<_> = apps.iter().map(|app| &*app.id).collect();
        assert_eq!(ids, ["/g/a", "/g/h/b", "/g/h/c"]);
        assert_eq!(apps[1].dependencies, ["/g/a", "/db"]);
        let expected: Vec<_> = given.iter().map(String::as_str).collect();
        assert_eq!(expected, ["/g", "/g/h"]);
    }

    #[test]
    fn groups_are_scaled_and_taken_back() {
        let (id, by) = ("/g".to_owned(), 2.0);
        assert_eq!(
            read(r#"{"scaleBy":2}"#, "/g"),
            Ok(GroupUpdate::Scale { id: id.clone(), by })
        );
        let back = GroupUpdate::Version { id, version: 1000 };
        assert_eq!(
            read(r#"{"version":"1970-01-01T00:00:01.000Z"}"#, "/g"),
            Ok(back)
        );
    }

    #[test]
    fn faults_are_told_by_their_path() {
        let text = r#"{"id":"g","groups":[{"id":"H","apps":[{"id":"/x","cmd":"x"}]},
            {"id":"i","apps":[{"id":"a"},{"id":"b","cmd":"x","cpus":"1"},{"id":"c","cmd":"x"},{"id":"c","cmd":"x"}]}]}"#;
        let Err(Refusal::Invalid(faults)) = read(text, "/") else {
            panic!("it has faults");
        };
        let paths: Vec<_> = faults.iter().map(|fault| &*fault.path).collect();
        let expected = [
            "/groups(0)/id",
            "/groups(0)/apps(0)/id",
            "/groups(1)/apps(0)/",
            "/groups(1)/apps(1)/cpus",
            "/groups(1)/apps(3)/id",
        ];
        assert_eq!(paths, expected);
        assert_eq!(read("[]", "/").unwrap_err().answer().0, 422);
        assert_eq!(read("{", "/").unwrap_err().answer().0, 400);
    }
}
