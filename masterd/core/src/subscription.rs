//! Which subscriptions and updates of frameworks are accepted.
//!
//! Only what needs the master's state or concerns roles; the protobuf's syntax is the daemon's. Called by `frameworks`
//! and the daemon. A refused subscription is the sentence of an ERROR event, since by then the stream has begun.

use std::collections::BTreeSet;

use nesos_wire::command::FrameworkFacts;
use nesos_wire::{FrameworkId, role};

use crate::call::{CallRefusal, FrameworkUpdate};
use crate::constraints::Constraints;
use crate::event::Subscribe;
use crate::master::Master;

/// Who may be refused by `--no-root_submissions`.
const ROOT: &str = "root";

impl Master {
    /// Everything that Mesos answers with an ERROR event after the stream has begun.
    pub(crate) fn check_subscription(&self, subscribe: &Subscribe) -> Result<(), String> {
        let facts = &subscribe.facts;
        self.check_facts(facts, &subscribe.suppressed_roles, &subscribe.constraints)?;
        let known = match &subscribe.framework {
            Some(id) if self.registry.is_removed(id) => {
                return Err("Framework has been removed".to_owned());
            }
            Some(id) => self.frameworks.get(id),
            None => None,
        };
        match known {
            // A recovered one's principal is known only if it comes from the registry.
            _ if facts.user == ROOT && !self.config.root_submissions => Err(
                "User 'root' is not allowed to run frameworks without --root_submissions"
                    .to_owned(),
            ),
            Some(known) if known.facts.principal != facts.principal && !known.is_orphan() => {
                Err("Changing framework's principal is not allowed".to_owned())
            }
            None if self.frameworks.len() >= self.config.max_frameworks => Err(format!(
                "There are {} frameworks already, which is as many as this master takes",
                self.frameworks.len()
            )),
            _ => Ok(()),
        }
    }

    /// What Mesos answers to UPDATE_FRAMEWORK with 400 after the checks that all calls pass ([`Master::check_call`]).
    ///
    /// # Errors
    /// [`CallRefusal::InvalidUpdate`] names the field that cannot be, or cannot change.
    pub fn check_update(
        &self,
        framework: &FrameworkId,
        update: &FrameworkUpdate,
    ) -> Result<(), CallRefusal> {
        let known = self
            .frameworks
            .get(framework)
            .ok_or(CallRefusal::UnknownFramework)?;
        let (old, new) = (&known.facts, &update.facts);
        let fixed = [
            ("principal", old.principal != new.principal),
            ("user", old.user != new.user),
            ("checkpoint", old.checkpoint != new.checkpoint),
        ];
        if let Some((field, _)) = fixed.into_iter().find(|(_, differs)| *differs) {
            return Err(CallRefusal::InvalidUpdate(format!(
                "Updating 'FrameworkInfo.{field}' is unsupported"
            )));
        }
        self.check_facts(new, &update.suppressed_roles, &update.constraints)
            .map_err(CallRefusal::InvalidUpdate)
    }

    fn check_facts(
        &self,
        facts: &FrameworkFacts,
        suppressed: &[String],
        constraints: &Constraints,
    ) -> Result<(), String> {
        check_roles(facts)?;
        if let Some(role) = suppressed.iter().find(|role| !facts.roles.contains(role)) {
            return Err(format!(
                "Suppressed role '{role}' is not contained in the list of roles"
            ));
        }
        let mut constrained = constraints.roles();
        if let Some(role) = constrained.find(|role| !facts.roles.contains(role)) {
            return Err(format!(
                "Offer constraints name role '{role}', which is not contained in the list of roles"
            ));
        }
        match facts.roles.iter().find(|role| !self.is_configured(role)) {
            Some(role) => Err(format!(
                "Role '{role}' is not present in the master's --roles"
            )),
            None => Ok(()),
        }
    }
}

/// Roles must be there, differ, and obey Mesos's grammar.
fn check_roles(facts: &FrameworkFacts) -> Result<(), String> {
    if facts.roles.is_empty() {
        // A MULTI_ROLE framework may subscribe to nothing yet.
        return if facts.is_capable("MULTI_ROLE") {
            Ok(())
        } else {
            Err("The framework has no role".to_owned())
        };
    }
    if facts.roles.len() > 1 && !facts.is_capable("MULTI_ROLE") {
        return Err("A framework without MULTI_ROLE must have exactly one role".to_owned());
    }
    let mut seen = BTreeSet::new();
    for role in &facts.roles {
        if !seen.insert(role) {
            return Err(format!("Duplicate role '{role}'"));
        }
        role::check(role).map_err(|e| e.to_string())?;
    }
    Ok(())
}
