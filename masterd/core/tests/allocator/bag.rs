//! Resources as the scripts write them.
//!
//! `cpus:2;mem(db):512` as in `--resources`; after an `@` what that form cannot say: `@revocable`, `@dynamic=ROLE`,
//! `@refined=ROLE` (on top of the reservation in parentheses), `@volume=ID`, `@shared=ID`, `@mount=PATH`, `@path=PATH`.

use nesos_wire::resource::{Disk, DiskSource, Entry, Reservation, Resources, Terms, Volume};
use nesos_wire::resource_text::parse;

pub(crate) fn bag(text: &str) -> Resources {
    let items = text.split(';').filter(|item| !item.is_empty());
    items.flat_map(entries).collect()
}

fn entries(item: &str) -> Vec<Entry> {
    let mut parts = item.split('@');
    let plain = parse(parts.next().unwrap_or_default()).unwrap();
    let marks: Vec<&str> = parts.collect();
    let marked = plain.entries().iter().map(|entry| {
        let mut terms = entry.terms().clone();
        marks.iter().for_each(|text| mark(&mut terms, text));
        entry.under(terms)
    });
    marked.collect()
}

fn mark(terms: &mut Terms, text: &str) {
    let (name, value) = text.split_once('=').unwrap_or((text, ""));
    let source = |of: fn(Option<String>) -> DiskSource| {
        Some(Disk {
            source: Some(of(Some(value.to_owned()))),
            volume: None,
        })
    };
    match name {
        "revocable" => terms.is_revocable = true,
        "dynamic" | "refined" => {
            terms.reservations.push(Reservation::dynamic(value, None));
        }
        "volume" | "shared" => {
            terms.is_shared = name == "shared";
            terms.disk.get_or_insert_default().volume = Some(Volume {
                id: value.to_owned(),
                principal: None,
                container_path: "data".to_owned(),
                is_read_only: false,
            });
        }
        "mount" => terms.disk = source(DiskSource::Mount),
        "path" => terms.disk = source(DiskSource::Path),
        _ => panic!("unknown mark {text}"),
    }
}
