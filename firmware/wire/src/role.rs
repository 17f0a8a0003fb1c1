//! Role names: paths such as `lab/east`, and `*`, the role of whoever names none.
//!
//! Called wherever a role comes in: subscriptions, resources, quota, weights. Knows no tree.

use alloc::string::String;

/// The role of frameworks that name none; nothing can be reserved to it.
pub const DEFAULT: &str = "*";

/// Why a text is no role.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error(
    "Role '{0}' is not valid: it must be parts joined by single '/', none of them '.', '..', '*', starting with '-' or \
     containing white space"
)]
pub struct RoleError(String);

/// Checks Mesos's grammar of role names.
pub fn check(role: &str) -> Result<(), RoleError> {
    let is_bad = |part: &str| {
        part.is_empty()
            || matches!(part, "." | ".." | "*")
            || part.starts_with('-')
            || part.contains(|c: char| c.is_whitespace() || c == '\u{8}')
    };
    if role != DEFAULT && role.split('/').any(is_bad) {
        return Err(RoleError(role.into()));
    }
    Ok(())
}

/// Whether `role` is below `ancestor`: `a/b` is below `a`, `a` and `ab` are not.
pub fn is_below(role: &str, ancestor: &str) -> bool {
    role.strip_prefix(ancestor)
        .is_some_and(|rest| rest.starts_with('/'))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_grammar_is_mesoss() {
        for good in ["*", "web", "a/b", "a-b"] {
            assert!(check(good).is_ok(), "{good}");
        }
        for bad in ["", "/a", "a/", "a//b", ".", "a/..", "-a", "a b", "a/*"] {
            assert!(check(bad).is_err(), "{bad}");
        }
    }

    #[test]
    fn below_is_strict() {
        assert!(is_below("a/b", "a") && is_below("a/b/c", "a"));
        assert!(!is_below("a", "a") && !is_below("ab", "a") && !is_below("a", "a/b"));
    }
}
