//! Offer constraints: their protobuf to the core's form, and back for those who look.
//!
//! Called by the converter of subscriptions and by whatever shows frameworks. Only syntax is judged here; which roles may
//! be named, and what a pattern may cost, is the core's.

use std::collections::BTreeMap;

use masterd_core::constraints::{Constraint, Constraints, Group, Pattern, Predicate, Selector};
use nesos_api::scheduler::{
    AttributeConstraint, AttributeConstraintPredicate, AttributeConstraintSelector,
    AttributeConstraintSelectorPseudoattributeType as Pseudo, OfferConstraints,
};

/// Checks constraints. `Err` is the sentence of a 400 or an ERROR event.
pub(super) fn constraints(given: Option<&OfferConstraints>) -> Result<Constraints, String> {
    let Some(given) = given else {
        return Ok(Constraints::default());
    };
    let mut roles: BTreeMap<String, Vec<Group>> = BTreeMap::new();
    for (role, list) in &given.role_constraints {
        let groups = list.groups.iter().map(|group| {
            let each = group.attribute_constraints.iter().map(constraint);
            each.collect::<Result<Group, String>>()
        });
        let groups = groups.collect::<Result<Vec<Group>, String>>();
        let groups = groups
            .map_err(|e| format!("Role '{role}' has an invalid 'AttributeConstraint': {e}"))?;
        roles.insert(role.clone(), groups);
    }
    Constraints::new(roles, given.to_protobuf()).map_err(|e| e.to_string())
}

/// As the framework gave them; none if it gave none.
pub(crate) fn shown(constraints: &Constraints) -> Option<OfferConstraints> {
    let shown = (!constraints.shown.is_empty()).then_some(&constraints.shown)?;
    OfferConstraints::from_protobuf(shown).ok()
}

fn constraint(given: &AttributeConstraint) -> Result<Constraint, String> {
    Ok(Constraint {
        selector: selector(&given.selector)?,
        predicate: predicate(&given.predicate)?,
    })
}

fn selector(given: &AttributeConstraintSelector) -> Result<Selector, String> {
    match (&given.pseudoattribute_type, &given.attribute_name) {
        (None, Some(name)) => Ok(Selector::Attribute(name.clone())),
        (Some(Pseudo::Hostname), None) => Ok(Selector::Hostname),
        (Some(Pseudo::Region), None) => Ok(Selector::Region),
        (Some(Pseudo::Zone), None) => Ok(Selector::Zone),
        (Some(Pseudo::Unknown), None) => Err("Unknown pseudoattribute type".into()),
        _ => Err(
            "Exactly one of 'selector.attribute_name' and 'selector.pseudoattribute_type' must be set"
                .into(),
        ),
    }
}

fn predicate(given: &AttributeConstraintPredicate) -> Result<Predicate, String> {
    let pattern = |text: &str| Pattern::new(text).map_err(|e| e.to_string());
    let AttributeConstraintPredicate {
        exists,
        not_exists,
        text_equals,
        text_not_equals,
        text_matches,
        text_not_matches,
    } = given;
    let mut found = Vec::new();
    found.extend(exists.as_ref().map(|_| Predicate::Exists));
    found.extend(not_exists.as_ref().map(|_| Predicate::NotExists));
    let equals = text_equals.as_ref();
    found.extend(equals.map(|p| Predicate::TextEquals(p.value.clone())));
    let differs = text_not_equals.as_ref();
    found.extend(differs.map(|p| Predicate::TextNotEquals(p.value.clone())));
    if let Some(matches) = text_matches {
        found.push(Predicate::TextMatches(pattern(&matches.regex)?));
    }
    if let Some(differs) = text_not_matches {
        found.push(Predicate::TextNotMatches(pattern(&differs.regex)?));
    }
    match (found.pop(), found.is_empty()) {
        (Some(predicate), true) => Ok(predicate),
        _ => Err("Exactly one known predicate must be set in 'predicate'".into()),
    }
}
