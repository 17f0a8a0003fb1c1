//! The isolator of user namespaces: root in a container is nobody on the host.
//!
//! It keeps the books of whose ids are whose; the namespace itself is made with a container's network, or by the helper, which
//! also shows the container's own files with its ids. Tasks of a pod, and what operators start inside a container, share a range.
//! Called by the containerizer. Invariant: what a container has, its run directory says, so that a later agentd knows.

use std::cell::RefCell;
use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};

use agentd_core::user_ids::{IdSpace, UserIds};
use nesos_sys::user_namespace::{self, IdMap};
use nesos_wire::ContainerId;
use nesos_wire::rights::IdRange;

use super::{Isolator, Refusal, Setup, Wish};
use crate::settings::{Settings, SettingsError};

/// The note of what a container has: whose range it is in, its first id and their number.
const NOTE: &str = "userns";

/// See the module.
#[derive(Debug)]
pub(super) struct User {
    work_dir: PathBuf,
    space: IdSpace,
    state: RefCell<State>,
}

#[derive(Debug)]
struct State {
    ids: UserIds,
    /// Whose range each container has: its own, its pod's, or that of the container around it.
    members: BTreeMap<ContainerId, ContainerId>,
}

impl User {
    pub(super) fn new(settings: &Settings) -> Result<Self, SettingsError> {
        let text = settings.flags.text_or_empty("userns_range");
        Self::of(text, &settings.work_dir).map_err(|e| SettingsError::new("--userns_range", e))
    }

    pub(super) fn of(
        range: &str,
        work_dir: &Path,
    ) -> Result<Self, agentd_core::user_ids::UserIdsError> {
        let space: IdSpace = range.parse()?;
        Ok(Self {
            work_dir: work_dir.into(),
            space,
            state: RefCell::new(State {
                ids: UserIds::new(space),
                members: BTreeMap::new(),
            }),
        })
    }

    fn owner(&self, wish: &Wish<'_>) -> ContainerId {
        if let Some(pod) = wish.pod {
            return pod.container.clone();
        }
        let around = wish.container_id.as_str().rsplit_once('.');
        let state = self.state.borrow();
        let owner = around.and_then(|(around, _)| state.members.get(&ContainerId::new(around)));
        owner.unwrap_or(wish.container_id).clone()
    }
}

impl Isolator for User {
    fn name(&self) -> &'static str {
        "namespaces/user"
    }

    fn check(&self) -> Result<(), String> {
        let example = id_map(self.space.example());
        user_namespace::check(example, &self.work_dir).map_err(|error| error.to_string())
    }

    fn prepare(&self, wish: &Wish<'_>, setup: &mut Setup) -> Result<(), Refusal> {
        let owner = self.owner(wish);
        let mut state = self.state.borrow_mut();
        let range = state.ids.give(&owner);
        // Also without one: it is given back all the same.
        let members = &mut state.members;
        members.insert(wish.container_id.clone(), owner.clone());
        let range = range.map_err(|error| Refusal::new(error.to_string()))?;
        let user = wish.user.into_iter();
        let mut ids =
            user.flat_map(|user| [user.uid, user.gid].into_iter().chain(user.groups.clone()));
        if let Some(id) = ids.find(|id| *id >= range.count) {
            return Err(Refusal::new(format!(
                "user or group {id} of it is none of the {} ids of a user namespace",
                range.count
            )));
        }
        let note = format!("{owner} {} {}", range.first, range.count);
        setup.notes.push((NOTE, note));
        setup.rights.ids = Some(range);
        Ok(())
    }

    fn adopt(&self, container: &ContainerId, run: &Path) {
        let note = fs::read_to_string(run.join(NOTE)).unwrap_or_default();
        let mut words = note.split_ascii_whitespace();
        let (Some(owner), Some(first), Some(count)) = (words.next(), words.next(), words.next())
        else {
            return;
        };
        match (first.parse(), count.parse()) {
            (Ok(first), Ok(count)) => {
                let mut state = self.state.borrow_mut();
                let owner = ContainerId::new(owner);
                state.ids.adopt(&owner, IdRange { first, count });
                state.members.insert(container.clone(), owner);
            }
            _ => tracing::warn!("container {container}: its ids: '{note}' is no range"),
        }
    }

    fn release(&self, container: &ContainerId) {
        let mut state = self.state.borrow_mut();
        let Some(owner) = state.members.remove(container) else {
            return;
        };
        if !state.members.values().any(|other| *other == owner) {
            state.ids.give_back(&owner);
        }
    }
}

/// The same in the kernel's terms.
pub(super) fn id_map(range: IdRange) -> IdMap {
    IdMap {
        first: range.first,
        count: range.count,
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;
    use nesos_sys::user::Credentials;

    fn prepare(users: &User, name: &str, uid: u32) -> Result<u32, String> {
        let spec = crate::container::tests::spec(&nesos_wire::TaskKey {
            framework: nesos_wire::FrameworkId::new("f"),
            task: nesos_wire::TaskId::new("t"),
        });
        let (container, user) = (
            ContainerId::new(name),
            Credentials {
                uid,
                gid: 0,
                groups: vec![0],
            },
        );
        let mut wish = Wish::new(&spec, &container, Path::new("/w/s"), None);
        wish.user = Some(&user);
        let mut setup = Setup::default();
        let prepared = users.prepare(&wish, &mut setup);
        prepared.map_err(|error| error.to_string())?;
        Ok(setup.rights.ids.unwrap().first)
    }

    #[test]
    fn a_note_outlives_agentd_and_the_last_member_gives_all_back() {
        let users = || User::of("65536-196607", Path::new("/w")).unwrap();
        let run = tempfile::tempdir().unwrap();
        let before = users();
        assert_eq!(prepare(&before, "x", 65_535).unwrap(), 65_536);
        fs::write(run.path().join(NOTE), "x 65536 65536").unwrap();
        let users = users();
        users.adopt(&ContainerId::new("x"), run.path());
        users.adopt(&ContainerId::new("other"), Path::new("/nothing"));
        // What is inside it shares its range.
        assert_eq!(prepare(&users, "x.in", 0).unwrap(), 65_536);
        assert_eq!(prepare(&users, "y", 0).unwrap(), 131_072);
        users.release(&ContainerId::new("x"));
        assert!(
            prepare(&users, "z", 0)
                .unwrap_err()
                .contains("all 2 ranges")
        );
        users.release(&ContainerId::new("x.in"));
        assert_eq!(prepare(&users, "z", 0).unwrap(), 65_536);
    }

    #[test]
    fn a_user_without_a_place_inside_is_refused() {
        let users = User::of("65536-196607", Path::new("/w")).unwrap();
        let sentence = prepare(&users, "x", 65_536).unwrap_err();
        assert!(
            sentence.contains("65536 of it is none of the 65536 ids"),
            "{sentence}"
        );
    }
}
