//! Which of several images in one archive or layout is meant: by the names that it has for them.
//!
//! Called with what an archive's documents list. Invariant: of images with different names none is taken unless one is asked
//! for, and then only if nothing else could be meant.

use super::{DocumentError, Reference};

/// Most names that a sentence lists, and most bytes of each.
const MAX_LISTED: usize = 8;
const MAX_SHOWN: usize = 100;

/// What is asked for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Pick<'a> {
    /// The only one there is.
    Only,
    /// `NAME:TAG`, `NAME` or `TAG`.
    Named(&'a str),
    /// The only one, whatever it is called; of several the one with this name.
    Rather(&'a str),
}

/// The entries that are meant: more than one are the same image for different machines. `names`: what each is called.
pub fn pick(names: &[Vec<String>], wanted: Pick<'_>) -> Result<Vec<usize>, DocumentError> {
    let all: Vec<usize> = (0..names.len()).collect();
    let text = match wanted {
        Pick::Only => return one_name(names, all),
        Pick::Rather(_) if is_one(names, &all) => return Ok(all),
        Pick::Named(text) | Pick::Rather(text) => text,
    };
    // A whole name counts for more than a part of one.
    for is_meant in [is_called, is_called_in_part] {
        let mut found = all.clone();
        found.retain(|entry| names[*entry].iter().any(|name| is_meant(name, text)));
        if !found.is_empty() {
            return one_name(names, found);
        }
    }
    Err(DocumentError::NotListed {
        wanted: shown(text),
        found: listed(names, &all),
    })
}

fn one_name(names: &[Vec<String>], entries: Vec<usize>) -> Result<Vec<usize>, DocumentError> {
    match is_one(names, &entries) {
        true => Ok(entries),
        false => Err(DocumentError::Several(listed(names, &entries))),
    }
}

fn is_one(names: &[Vec<String>], entries: &[usize]) -> bool {
    entries
        .windows(2)
        .all(|pair| names[pair[0]] == names[pair[1]])
}

fn is_called(name: &str, wanted: &str) -> bool {
    let same = || Some(Reference::parse(name).ok()? == Reference::parse(wanted).ok()?);
    name == wanted || same().unwrap_or(false)
}

/// The wanted one is the tag of a name, or what is listed is the tag of the wanted one.
fn is_called_in_part(name: &str, wanted: &str) -> bool {
    tag_of(name) == Some(wanted) || tag_of(wanted) == Some(name)
}

fn tag_of(name: &str) -> Option<&str> {
    let (_, tag) = name.rsplit_once(':')?;
    (!tag.contains('/')).then_some(tag)
}

fn listed(names: &[Vec<String>], entries: &[usize]) -> String {
    let names = entries.iter().map(|entry| match names[*entry].as_slice() {
        [] => "one without a name".into(),
        [first, ..] => shown(first),
    });
    let listed: Vec<String> = names.take(MAX_LISTED).collect();
    let more = entries.len().saturating_sub(MAX_LISTED);
    match more {
        0 => listed.join(", "),
        more => format!("{} and {more} more", listed.join(", ")),
    }
}

fn shown(text: &str) -> String {
    let kept = text.chars().filter(|c| !c.is_control());
    kept.take(MAX_SHOWN).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn names(entries: &[&[&str]]) -> Vec<Vec<String>> {
        let all = |names: &&[&str]| names.iter().map(|name| (*name).to_owned()).collect();
        entries.iter().map(all).collect()
    }

    #[test]
    fn a_name_picks_one_of_several() {
        let several = names(&[&["a/web:1", "a/web:new"], &["db:2"], &["h.example/db:3"]]);
        for (wanted, entry) in [
            ("a/web:1", 0),
            ("a/web:new", 0),
            ("docker.io/library/db:2", 1),
            ("db:2", 1),
            ("h.example/db:3", 2),
            ("3", 2),
        ] {
            assert_eq!(
                pick(&several, Pick::Named(wanted)),
                Ok(vec![entry]),
                "{wanted}"
            );
            assert_eq!(pick(&several, Pick::Rather(wanted)), Ok(vec![entry]));
        }
        let error = pick(&several, Pick::Named("db")).expect_err("no latest");
        assert_eq!(
            error.to_string(),
            "it holds no image 'db', only a/web:1, db:2, h.example/db:3"
        );
        let error = pick(&several, Pick::Only).expect_err("which?");
        assert!(
            error.to_string().contains("say which: #NAME:TAG"),
            "{error}"
        );
        // Layouts have tags alone.
        let tags = names(&[&["1"], &["2"]]);
        assert_eq!(pick(&tags, Pick::Named("x/db:2")), Ok(vec![1]));
        let twins = names(&[&["a:1"], &["b:1"]]);
        assert!(
            pick(&twins, Pick::Named("1")).is_err(),
            "either could be meant"
        );
    }

    #[test]
    fn one_image_needs_no_name_and_may_be_there_for_several_machines() {
        let machines = names(&[&["a:1"], &["a:1"]]);
        assert_eq!(pick(&machines, Pick::Only), Ok(vec![0, 1]));
        assert_eq!(pick(&machines, Pick::Rather("other")), Ok(vec![0, 1]));
        assert!(pick(&machines, Pick::Named("other")).is_err());
        assert_eq!(pick(&names(&[&[], &[]]), Pick::Only), Ok(vec![0, 1]));
        let many: Vec<Vec<String>> = (0..20).map(|n| vec![format!("n{n}")]).collect();
        let error = pick(&many, Pick::Named("\u{7}x")).expect_err("none");
        assert!(error.to_string().ends_with("n7 and 12 more"), "{error}");
    }
}
