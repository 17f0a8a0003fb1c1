//! Constraints against attributes, and what is refused.
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
    let of = |attributes: &[Attribute]| accepts(vec![vec![on("k", predicate.clone())]], attributes);
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
