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
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;
    use nesos_wire::resource::Scalar;

    fn attribute(name: &str, value: AttributeValue) -> Attribute {
        Attribute {
            name: name.into(),
            value,
        }
    }

    fn text(value: &str) -> AttributeValue {
        AttributeValue::Text(value.into())
    }

    fn pattern(text: &str) -> Pattern {
        Pattern::new(text).unwrap()
    }

    /// Whether a role with these groups accepts an agent of zone z in no region with these attributes.
    fn accepts(groups: Vec<Group>, attributes: &[Attribute]) -> bool {
        let roles = BTreeMap::from([("r".to_owned(), groups)]);
        let constraints = Constraints::new(roles, Vec::new()).unwrap();
        let agent = Properties {
            hostname: "host-1",
            region: None,
            zone: Some("z"),
            attributes,
        };
        constraints.accept("r", &agent)
    }

    fn on(name: &str, predicate: Predicate) -> Constraint {
        Constraint {
            selector: Selector::Attribute(name.into()),
            predicate,
        }
    }

    /// What a predicate says of: nothing, the texts `a` and `ab`, the number 2.
    fn verdicts(predicate: Predicate) -> [bool; 4] {
        let of =
            |attributes: &[Attribute]| accepts(vec![vec![on("k", predicate.clone())]], attributes);
        [
            of(&[]),
            of(&[attribute("k", text("a"))]),
            of(&[attribute("k", text("ab"))]),
            of(&[attribute("k", AttributeValue::Scalar(Scalar(2000)))]),
        ]
    }

    #[test]
    fn exists_and_not_exists() {
        assert_eq!(verdicts(Predicate::Exists), [false, true, true, true]);
        assert_eq!(verdicts(Predicate::NotExists), [true, false, false, false]);
    }

    #[test]
    fn text_equals_and_not_equals() {
        let equals = Predicate::TextEquals("a".into());
        assert_eq!(verdicts(equals), [false, true, false, true]);
        let differs = Predicate::TextNotEquals("a".into());
        assert_eq!(verdicts(differs), [true, false, true, true]);
        // A number passes even if its text would differ.
        let equals = Predicate::TextEquals("2".into());
        assert_eq!(verdicts(equals), [false, false, false, true]);
    }

    #[test]
    fn text_matches_and_not_matches_as_a_whole() {
        let matches = Predicate::TextMatches(pattern("a"));
        assert_eq!(verdicts(matches), [false, true, false, true]);
        let differs = Predicate::TextNotMatches(pattern("a"));
        assert_eq!(verdicts(differs), [true, false, true, true]);
        let branches = Predicate::TextMatches(pattern("a|ab"));
        assert_eq!(verdicts(branches), [false, true, true, true]);
        assert_eq!(
            verdicts(Predicate::TextNotMatches(pattern(".*b"))),
            [true, true, false, true]
        );
    }

    #[test]
    fn the_first_attribute_of_a_name_counts() {
        let wants_b = vec![vec![on("k", Predicate::TextEquals("b".into()))]];
        let both = [attribute("k", text("a")), attribute("k", text("b"))];
        assert!(!accepts(wants_b.clone(), &both));
        assert!(accepts(wants_b, &[both[1].clone(), both[0].clone()]));
    }

    #[test]
    fn pseudo_attributes_are_told_from_attributes() {
        let of = |selector: Selector, predicate: Predicate| {
            let attributes = [attribute("HOSTNAME", text("other"))];
            let constraint = Constraint {
                selector,
                predicate,
            };
            accepts(vec![vec![constraint]], &attributes)
        };
        let is = |text: &str| Predicate::TextEquals(text.into());
        assert!(of(Selector::Hostname, is("host-1")) && !of(Selector::Hostname, is("other")));
        assert!(of(
            Selector::Hostname,
            Predicate::TextMatches(pattern("host-[0-9]+"))
        ));
        assert!(of(Selector::Attribute("HOSTNAME".into()), is("other")));
        assert!(of(Selector::Zone, is("z")) && !of(Selector::Zone, Predicate::NotExists));
        assert!(of(Selector::Region, Predicate::NotExists));
        assert!(
            !of(Selector::Region, Predicate::Exists)
                && !of(Selector::Region, Predicate::TextMatches(pattern(".*")))
        );
    }

    #[test]
    fn groups_are_alternatives_of_things_that_hold_together() {
        let (a, b) = (on("a", Predicate::Exists), on("b", Predicate::Exists));
        let (has_a, has_b) = (attribute("a", text("")), attribute("b", text("")));
        let together = vec![vec![a.clone(), b.clone()]];
        assert!(!accepts(together.clone(), std::slice::from_ref(&has_a)));
        assert!(accepts(together, &[has_a.clone(), has_b.clone()]));
        let either = vec![vec![a], vec![b]];
        assert!(accepts(either.clone(), &[has_a]) && accepts(either.clone(), &[has_b]));
        assert!(!accepts(either, &[]));
    }

    #[test]
    fn other_roles_and_the_default_are_not_constrained() {
        let agent = Properties {
            hostname: "h",
            region: None,
            zone: None,
            attributes: &[],
        };
        let never = vec![vec![on("k", Predicate::Exists)]];
        let roles = BTreeMap::from([("r".to_owned(), never)]);
        let constraints = Constraints::new(roles, Vec::new()).unwrap();
        assert!(!constraints.accept("r", &agent) && constraints.accept("r/s", &agent));
        assert!(Constraints::default().accept("r", &agent));
    }

    #[test]
    fn what_cannot_be_is_refused() {
        for bad in ["(", "a)(b", "[", "a{2,1}", r"\p{Greek}", "(?x)a#"] {
            let error = Pattern::new(bad).unwrap_err().to_string();
            assert!(error.contains(bad), "{error}");
        }
        let complex = Pattern::new("(a{1,30}){1,30}").unwrap_err();
        assert!(complex.to_string().contains("size limit"), "{complex}");
        assert!(Pattern::new(&"x".repeat(MAX_PATTERN_BYTES / 8)).is_err());
        assert!(Pattern::new("(?i)rack-[0-9]{1,3}(-(left|right))?").is_ok());
        let of = |groups: Vec<Group>| {
            Constraints::new(BTreeMap::from([("r".to_owned(), groups)]), Vec::new())
        };
        let no_groups = ConstraintError::NoGroups("r".into());
        assert_eq!(of(Vec::new()), Err(no_groups));
        let one = vec![on("k", Predicate::Exists)];
        let empty = ConstraintError::EmptyGroup("r".into());
        assert_eq!(of(vec![one.clone(), Vec::new()]), Err(empty));
        let many = vec![one; MAX_CONSTRAINTS + 1];
        assert_eq!(of(many), Err(ConstraintError::TooMany));
    }
}
