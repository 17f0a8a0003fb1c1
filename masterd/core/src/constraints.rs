//! Offer constraints: which agents a framework's role wants offers from.
//!
//! Not the protobuf (the daemon translates it) and not the decision who gets what (the allocator asks). Made when a
//! framework subscribes or is updated, asked before every offer to a constrained role. Invariant: a pattern that was
//! accepted matches any text in time linear in both, within the memory that [`MAX_PATTERN_BYTES`] allows.

use std::collections::BTreeMap;

use nesos_wire::task::{Attribute, AttributeValue};
use regex_lite::{Regex, RegexBuilder};

use crate::state::Agent;

/// Memory of a compiled pattern. One to two hundred instructions; Mesos allows 100 (`--offer_constraints_re2_max_program_size`).
pub const MAX_PATTERN_BYTES: usize = 8192;

/// Constraints of one framework, over all roles: every offer to it may have to ask each of them.
pub const MAX_CONSTRAINTS: usize = 1024;

/// Why constraints cannot be.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum ConstraintError {
    /// The pattern is no regular expression, or costs too much.
    #[error("Failed to construct regex from pattern '{pattern}': {reason}")]
    Pattern {
        /// As it was given.
        pattern: String,
        /// What is wrong with it.
        reason: String,
    },
    /// No group: no agent could ever do.
    #[error("'OfferConstraints.role_constraints' has empty 'groups' for role '{0}'")]
    NoGroups(String),
    /// A group without constraints.
    #[error(
        "'OfferConstraints.role_constraints' for role '{0}' has a group without 'attribute_constraints'"
    )]
    EmptyGroup(String),
    /// Too many of them.
    #[error("There are more than {MAX_CONSTRAINTS} attribute constraints")]
    TooMany,
}

/// What a constraint looks at.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Selector {
    /// The first attribute of this name.
    Attribute(String),
    /// The agent's host name.
    Hostname,
    /// The region of the agent's fault domain.
    Region,
    /// The zone of the agent's fault domain.
    Zone,
}

/// What must hold of it. An attribute that is not a text passes the four predicates about texts.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Predicate {
    /// It is there.
    Exists,
    /// It is not there.
    NotExists,
    /// It is this text.
    TextEquals(String),
    /// It is not this text, or not there.
    TextNotEquals(String),
    /// The whole text matches.
    TextMatches(Pattern),
    /// The text as a whole does not match, or is not there.
    TextNotMatches(Pattern),
}

/// A regular expression that is cheap enough.
#[derive(Debug, Clone)]
pub struct Pattern {
    text: String,
    whole: Regex,
}

impl Pattern {
    /// Compiles a pattern.
    ///
    /// # Errors
    /// [`ConstraintError::Pattern`] says what is wrong with it, or that it is too complex.
    pub fn new(text: &str) -> Result<Self, ConstraintError> {
        let compile = |pattern: &str| {
            let mut builder = RegexBuilder::new(pattern);
            let built = builder.size_limit(MAX_PATTERN_BYTES).build();
            built.map_err(|reason| ConstraintError::Pattern {
                pattern: text.to_owned(),
                reason: reason.to_string(),
            })
        };
        // Alone first: `a)(b` must not become right by what is put around it.
        compile(text)?;
        Ok(Self {
            text: text.to_owned(),
            whole: compile(&format!(r"\A(?:{text})\z"))?,
        })
    }
}

impl PartialEq for Pattern {
    fn eq(&self, other: &Self) -> bool {
        self.text == other.text
    }
}

impl Eq for Pattern {}

impl Predicate {
    /// What holds of something that is not there.
    fn holds_of_nothing(&self) -> bool {
        matches!(
            self,
            Self::NotExists | Self::TextNotEquals(_) | Self::TextNotMatches(_)
        )
    }

    fn holds_of_text(&self, text: &str) -> bool {
        match self {
            Self::Exists => true,
            Self::NotExists => false,
            Self::TextEquals(wanted) => text == wanted,
            Self::TextNotEquals(other) => text != other,
            Self::TextMatches(pattern) => pattern.whole.is_match(text),
            Self::TextNotMatches(pattern) => !pattern.whole.is_match(text),
        }
    }

    fn holds_of(&self, value: &AttributeValue) -> bool {
        match value {
            AttributeValue::Text(text) => self.holds_of_text(text),
            _ => *self != Self::NotExists,
        }
    }
}

/// One thing that must hold of an agent.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Constraint {
    /// What it looks at.
    pub selector: Selector,
    /// What must hold of it.
    pub predicate: Predicate,
}

impl Constraint {
    fn holds(&self, agent: &Properties<'_>) -> bool {
        let text = match &self.selector {
            Selector::Attribute(name) => {
                let first = agent.attributes.iter().find(|found| found.name == *name);
                return match first {
                    Some(attribute) => self.predicate.holds_of(&attribute.value),
                    None => self.predicate.holds_of_nothing(),
                };
            }
            Selector::Hostname => Some(agent.hostname),
            Selector::Region => agent.region,
            Selector::Zone => agent.zone,
        };
        match text {
            Some(text) => self.predicate.holds_of_text(text),
            None => self.predicate.holds_of_nothing(),
        }
    }
}

/// What constraints can look at.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Properties<'a> {
    /// The agent's host name.
    pub hostname: &'a str,
    /// Its fault domain's region, if it has a fault domain.
    pub region: Option<&'a str>,
    /// Its fault domain's zone, if it has a fault domain.
    pub zone: Option<&'a str>,
    /// In the agent's own order.
    pub attributes: &'a [Attribute],
}

impl<'a> From<&'a Agent> for Properties<'a> {
    fn from(agent: &'a Agent) -> Self {
        Self {
            hostname: &agent.hostname,
            region: agent.domain.as_ref().map(|domain| domain.region.as_str()),
            zone: agent.domain.as_ref().map(|domain| domain.zone.as_str()),
            attributes: &agent.attributes,
        }
    }
}

/// Some of an agent's properties that must hold together.
pub type Group = Vec<Constraint>;

/// The constraints of a framework. The default constrains nothing.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Constraints {
    roles: BTreeMap<String, Vec<Group>>,
    /// Protobuf of the public `OfferConstraints`, for whoever shows it; empty if there were none.
    pub shown: Vec<u8>,
}

impl Constraints {
    /// Constraints by role: an agent is offered if all constraints of one of the groups hold. `shown` is their protobuf.
    ///
    /// # Errors
    /// [`ConstraintError`] if a role has no group, a group nothing in it, or there are too many.
    pub fn new(
        roles: BTreeMap<String, Vec<Group>>,
        shown: Vec<u8>,
    ) -> Result<Self, ConstraintError> {
        for (role, groups) in &roles {
            if groups.is_empty() {
                return Err(ConstraintError::NoGroups(role.clone()));
            }
            if groups.iter().any(Vec::is_empty) {
                return Err(ConstraintError::EmptyGroup(role.clone()));
            }
        }
        let all = roles.values().flatten().map(Vec::len).sum::<usize>();
        if all > MAX_CONSTRAINTS {
            return Err(ConstraintError::TooMany);
        }
        Ok(Self { roles, shown })
    }

    /// The roles that are constrained.
    pub fn roles(&self) -> impl Iterator<Item = &String> {
        self.roles.keys()
    }

    /// Whether the role wants offers from such an agent.
    pub fn accept(&self, role: &str, agent: &Properties<'_>) -> bool {
        let fits = |group: &Group| group.iter().all(|constraint| constraint.holds(agent));
        self.roles
            .get(role)
            .is_none_or(|groups| groups.iter().any(fits))
    }
}

#[cfg(test)]
mod tests;
