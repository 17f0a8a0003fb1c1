//! What is checked of an image: partitions, file systems, digests, the boot loader's record. Called by `nesos image verify`.
//!
//! Not checked: the signature of a slot's description, for whose key the board knows and this machine does not.

use super::{Contents, Opened, SLOT_HEAD};
use crate::flash::hex;
use nesos_base::bundle::{Place, Prelude};
use nesos_base::slots::Slot;

/// Partitions begin at a MiB: what cards erase at once, and what the builder does.
const ALIGNMENT: u64 = 1 << 20;

/// One thing that was looked at.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Check {
    /// What.
    pub name: &'static str,
    /// What was found, if it is as it should be; else what is wrong.
    pub result: Result<String, String>,
}

/// Checks all that can be checked.
pub fn checks(opened: &Opened, contents: &Contents) -> Vec<Check> {
    let check = |name, result| Check { name, result };
    vec![
        check("partitions", partitions(contents)),
        check("boot", boot(contents)),
        check("root A", root(contents, Slot::A)),
        check("root B", root(contents, Slot::B)),
        check("slot A", slot(opened, contents, Slot::A)),
        check("slot B", slot(opened, contents, Slot::B)),
        check("record", record(contents)),
        check("data", data(contents)),
    ]
}

fn partitions(contents: &Contents) -> Result<String, String> {
    let layout = &contents.layout;
    let all = [layout.boot, layout.root_a, layout.root_b, layout.data];
    match all.iter().position(|part| part.start % ALIGNMENT != 0) {
        Some(number) => Err(format!("partition {} does not begin at a MiB", number + 1)),
        None => {
            let sizes = all.map(|part| format!("{}", part.length >> 20));
            Ok(format!("{} MiB", sizes.join(", ")))
        }
    }
}

fn boot(contents: &Contents) -> Result<String, String> {
    let files = contents.boot.as_ref().map_err(Clone::clone)?;
    let bytes: u64 = files.values().map(|file| file.bytes).sum();
    let kernel = |slot: Slot| {
        let folder = format!("{}/", slot.folder());
        files
            .iter()
            .any(|(path, file)| path.starts_with(&folder) && file.bytes > 1 << 20)
    };
    match Slot::ALL.into_iter().any(kernel) {
        true => Ok(format!(
            "{} files, {:.2} MB",
            files.len(),
            bytes as f64 / 1e6
        )),
        false => Err("no slot has a kernel".to_owned()),
    }
}

fn root(contents: &Contents, slot: Slot) -> Result<String, String> {
    match of(&contents.roots, slot) {
        Ok(None)
            if slot == Slot::A
                && of(&contents.roots, Slot::B)
                    .as_ref()
                    .is_ok_and(Option::is_none) =>
        {
            Err("both roots are empty".to_owned())
        }
        Ok(None) => Ok("empty".to_owned()),
        Ok(Some(root)) => Ok(format!(
            "{} entries, {:.2} MB",
            root.entries.len(),
            root.bytes as f64 / 1e6
        )),
        Err(error) => Err(error.clone()),
    }
}

fn of<T>(both: &[T; 2], slot: Slot) -> &T {
    let [a, b] = both;
    match slot {
        Slot::A => a,
        Slot::B => b,
    }
}

fn slot(opened: &Opened, contents: &Contents, slot: Slot) -> Result<String, String> {
    let prelude = match of(&contents.heads, slot) {
        None => return Ok(format!("no {SLOT_HEAD}: nothing to compare with")),
        Some(Err(error)) => return Err(format!("{SLOT_HEAD}: {error}")),
        Some(Ok(prelude)) => prelude,
    };
    let Prelude { header, .. } = prelude;
    let partition = match slot {
        Slot::A => contents.layout.root_a,
        Slot::B => contents.layout.root_b,
    };
    for file in &header.files {
        let expected = hex(&file.digest);
        let (what, found) = match &file.place {
            Place::Root => ("the root".to_owned(), opened.digest(partition, file.length)),
            Place::Boot(name) => {
                let path = format!("{}/{name}", slot.folder());
                let found = contents
                    .boot
                    .as_ref()
                    .ok()
                    .and_then(|files| files.get(&path));
                (path, found.map(|file| file.sha256.clone()))
            }
        };
        match found {
            Some(found) if found == expected => {}
            Some(_) => return Err(format!("{what} is not what {SLOT_HEAD} describes")),
            None => return Err(format!("{what} is missing")),
        }
    }
    Ok(format!(
        "{} {}, {} files as described",
        header.board,
        header.version,
        header.files.len()
    ))
}

fn record(contents: &Contents) -> Result<String, String> {
    match contents.records {
        [None, None] => Ok("blank: slot A".to_owned()),
        [Some(Some(first)), Some(Some(second))] if first == second => {
            Ok(format!("slot {}", first.committed))
        }
        // Written one after the other: a power cut in between is healed at the next writing.
        [Some(Some(one)), _] | [_, Some(Some(one))] => {
            Ok(format!("slot {}, one of two copies", one.committed))
        }
        _ => Err(
            "no copy of the boot loader's record is whole: the slot that is marked is started"
                .to_owned(),
        ),
    }
}

fn data(contents: &Contents) -> Result<String, String> {
    match contents.data {
        None => Ok("not made yet".to_owned()),
        Some(bytes) if bytes > contents.layout.data.length => Err(format!(
            "an ext4 of {bytes} bytes in a partition of {}",
            contents.layout.data.length
        )),
        Some(bytes) => Ok(format!("ext4, {} MiB", bytes >> 20)),
    }
}
