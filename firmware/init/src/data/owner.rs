//! Whose data is on the card: a board writes its node id down at the first start, and does not use what another board has left.
//!
//! Called by the parent once /data is mounted, before any daemon runs. Two boards with the same agent's or master's data would take
//! each other's place in the cluster, again and again. Invariant: nothing is deleted; what is not this board's is moved aside, and the
//! note changes last, so that a power cut in between leads to the same result.

use std::fs::{self, File};
use std::io::{self, Read, Write};
use std::path::Path;

/// The note: the node id of the board whose data this is.
const NOTE: &str = ".board";
/// Marks a card that came from another board; see [`came_from_another_board`].
const MOVED: &str = ".moved";
/// What is set aside is in a folder of this name and the other board's id.
const ASIDE: &str = "of-";
/// ext4's own.
const LOST_AND_FOUND: &str = "lost+found";
/// Longest note that is read: an id has 16 digits.
const NOTE_MAX: u64 = 64;

/// What was found.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Claim {
    /// This board's own data, or nobody's.
    Own,
    /// Another board's, which was set aside.
    Foreign {
        /// Its node id.
        whose: String,
        /// Where it is now, in the root.
        folder: String,
    },
    /// Another board's, which is this one's now because a person said so.
    Adopted {
        /// Its node id.
        whose: String,
    },
}

/// Claims the data in `root` for the board `id`; `adopts`: whosever it is. A board that has no id claims nothing.
pub(super) fn claim(root: &Path, id: &str, adopts: bool) -> io::Result<Claim> {
    if id.is_empty() {
        return Ok(Claim::Own);
    }
    let whose = match read_note(root)? {
        // Data of a version that did not write it down is taken for this board's.
        None => {
            write_note(root, id)?;
            return Ok(Claim::Own);
        }
        Some(whose) if whose == id => return Ok(Claim::Own),
        Some(whose) => whose,
    };
    if adopts {
        write_note(root, id)?;
        return Ok(Claim::Adopted { whose });
    }
    let folder = format!("{ASIDE}{whose}");
    set_aside(root, &folder)?;
    File::create(root.join(MOVED))?.sync_all()?;
    write_note(root, id)?;
    Ok(Claim::Foreign { whose, folder })
}

/// True if the card in `root` came from another board, whose data was set aside. Its configuration may hold the key of that board's
/// cluster, which must not be founded a second time.
pub(super) fn came_from_another_board(root: &Path) -> bool {
    root.join(MOVED).exists()
}

/// The node id in the note, as far as it can be one: it becomes part of a path.
fn read_note(root: &Path) -> io::Result<Option<String>> {
    let mut text = String::new();
    match File::open(root.join(NOTE)) {
        Ok(file) => file.take(NOTE_MAX).read_to_string(&mut text)?,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
        Err(error) => return Err(error),
    };
    let id = text.trim();
    let is_id = !id.is_empty() && id.bytes().all(|byte| byte.is_ascii_hexdigit());
    // A note that a power cut left empty says nothing.
    Ok(is_id.then(|| id.to_owned()))
}

fn write_note(root: &Path, id: &str) -> io::Result<()> {
    let new = root.join(".board.new");
    let mut file = File::create(&new)?;
    file.write_all(format!("{id}\n").as_bytes())?;
    file.sync_all()?;
    fs::rename(&new, root.join(NOTE))?;
    File::open(root)?.sync_all()
}

fn set_aside(root: &Path, folder: &str) -> io::Result<()> {
    let aside = root.join(folder);
    fs::create_dir_all(&aside)?;
    for entry in fs::read_dir(root)? {
        let name = entry?.file_name();
        let text = name.to_string_lossy();
        let stays = [LOST_AND_FOUND, NOTE, MOVED].contains(&&*text) || text.starts_with(ASIDE);
        if !stays {
            fs::rename(root.join(&name), aside.join(&name))?;
        }
    }
    File::open(&aside)?.sync_all()
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    const A: &str = "aaaaaaaaaaaaaaaa";
    const B: &str = "bbbbbbbbbbbbbbbb";

    fn used_by_a() -> tempfile::TempDir {
        let data = tempfile::tempdir().unwrap();
        assert_eq!(claim(data.path(), A, false).unwrap(), Claim::Own);
        fs::create_dir(data.path().join("agentd")).unwrap();
        fs::write(data.path().join("agentd/identity"), "a").unwrap();
        fs::create_dir(data.path().join("lost+found")).unwrap();
        data
    }

    #[test]
    fn a_board_keeps_its_own_data() {
        let data = used_by_a();
        assert_eq!(claim(data.path(), A, false).unwrap(), Claim::Own);
        assert_eq!(claim(data.path(), "", false).unwrap(), Claim::Own);
        assert!(data.path().join("agentd/identity").exists());
        assert!(!came_from_another_board(data.path()));
    }

    #[test]
    fn another_boards_data_is_set_aside_and_kept() {
        let data = used_by_a();
        let found = claim(data.path(), B, false).unwrap();
        let folder = format!("of-{A}");
        assert_eq!(
            found,
            Claim::Foreign {
                whose: A.into(),
                folder: folder.clone()
            }
        );
        assert!(came_from_another_board(data.path()));
        assert!(!data.path().join("agentd").exists() && data.path().join("lost+found").exists());
        let kept = fs::read_to_string(data.path().join(folder).join("agentd/identity"));
        assert_eq!(kept.unwrap(), "a");
        assert_eq!(claim(data.path(), B, false).unwrap(), Claim::Own);
    }

    #[test]
    fn a_power_cut_while_setting_aside_changes_nothing() {
        let data = used_by_a();
        // Half of it was done: one entry is moved, the note is still the old one.
        fs::create_dir(data.path().join("masterd")).unwrap();
        let aside = data.path().join(format!("of-{A}"));
        fs::create_dir(&aside).unwrap();
        fs::rename(data.path().join("agentd"), aside.join("agentd")).unwrap();
        assert!(matches!(
            claim(data.path(), B, false).unwrap(),
            Claim::Foreign { .. }
        ));
        assert!(aside.join("agentd").exists() && aside.join("masterd").exists());
    }

    #[test]
    fn a_person_may_have_it_adopted() {
        let data = used_by_a();
        assert_eq!(
            claim(data.path(), B, true).unwrap(),
            Claim::Adopted { whose: A.into() }
        );
        assert!(data.path().join("agentd/identity").exists());
        assert_eq!(claim(data.path(), B, false).unwrap(), Claim::Own);
    }

    #[test]
    fn a_note_that_is_none_leads_nowhere() {
        let data = used_by_a();
        for text in ["", "../../boot\n", "\u{0}\u{0}"] {
            fs::write(data.path().join(NOTE), text).unwrap();
            assert_eq!(claim(data.path(), B, false).unwrap(), Claim::Own);
        }
    }
}
