//! Resources in both public formats, to bags and back. `parse` reads the JSON form, as `--resources` and calls do.

#![allow(clippy::unwrap_used)]

use nesos_api::resources::{ReservationFormat, Shape, allocated_role, bag, list};
use nesos_api::v1;
use nesos_wire::resource::Resources;
use nesos_wire::resource_text::text;

fn parse(json: &str) -> Result<Resources, String> {
    let resource = v1::Resource::from_json(json.as_bytes()).map_err(|e| e.to_string())?;
    bag(&[resource])
}

fn write(bag: &Resources, format: ReservationFormat) -> String {
    let shape = Shape {
        allocation: None,
        format,
    };
    let all = list(bag, &shape);
    String::from_utf8(all[0].to_json()).unwrap()
}

fn cpus(rest: &str) -> String {
    format!(r#"{{"name":"cpus","type":"SCALAR","scalar":{{"value":1}}{rest}}}"#)
}

fn disk(rest: &str) -> String {
    format!(r#"{{"name":"disk","type":"SCALAR","scalar":{{"value":64}}{rest}}}"#)
}

#[test]
fn lists_and_bags_convert_both_ways() {
    let list_in = [
        v1::Resource::scalar("cpus", 0.1),
        v1::Resource::ranges("ports", [(5, 9), (1, 4)]),
    ];
    let shape = Shape {
        allocation: Some("lab"),
        format: ReservationFormat::Single,
    };
    let list_out = list(&bag(&list_in).unwrap(), &shape);
    assert_eq!(list_out[0].scalar.as_ref().unwrap().value, 0.1);
    assert_eq!(list_out[1].ranges.as_ref().unwrap().range.len(), 1);
    assert_eq!(allocated_role(&list_out).unwrap().as_deref(), Some("lab"));
    assert_eq!(list_out[0].role.as_deref(), Some("*"));
}

#[test]
fn both_formats_of_a_reservation_mean_the_same() {
    let old = parse(&cpus(r#","role":"db","reservation":{"principal":"ops"}"#)).unwrap();
    let new = parse(&cpus(
        r#","reservations":[{"type":"DYNAMIC","role":"db","principal":"ops"}]"#,
    ));
    assert_eq!(Ok(&old), new.as_ref());
    assert_eq!(text(&old), "cpus(db, dynamic by ops):1");
    let fixed = parse(&cpus(r#","role":"db""#)).unwrap();
    assert_eq!(text(&fixed), "cpus(db):1");
    assert!(
        write(&old, ReservationFormat::Single)
            .contains(r#""role":"db","reservation":{"principal":"ops"}"#)
    );
    assert!(!write(&old, ReservationFormat::Single).contains("reservations"));
    assert!(!write(&old, ReservationFormat::Stack).contains(r#""reservation":"#));
    for format in [ReservationFormat::Single, ReservationFormat::Stack] {
        assert_eq!(parse(&write(&old, format)).as_ref(), Ok(&old));
    }
    let both = write(&old, ReservationFormat::Both);
    assert!(
        both.contains(r#""reservation":"#) && both.contains(r#""reservations":"#),
        "{both}"
    );
}

#[test]
fn a_refined_reservation_is_a_stack_in_every_format() {
    let json = cpus(
        r#","reservations":[{"type":"STATIC","role":"lab"},{"type":"DYNAMIC","role":"lab/east"}]"#,
    );
    let refined = parse(&json).unwrap();
    assert_eq!(text(&refined), "cpus(lab > lab/east, dynamic):1");
    for format in [
        ReservationFormat::Single,
        ReservationFormat::Stack,
        ReservationFormat::Both,
    ] {
        assert_eq!(parse(&write(&refined, format)).as_ref(), Ok(&refined));
    }
}

#[test]
fn volumes_and_disks_keep_what_they_are() {
    for rest in [
        r#","disk":{"source":{"type":"MOUNT","mount":{"root":"/mnt/a"}}}"#,
        r#","role":"db","disk":{"persistence":{"id":"v1"},"volume":{"container_path":"data","mode":"RW"}},"shared":{}"#,
        r#","role":"db","disk":{"persistence":{"id":"v1","principal":"p"},"volume":{"container_path":"data","mode":"RO"},"source":{"type":"PATH","path":{"root":"/d"}}}"#,
        r#","revocable":{}"#,
    ] {
        let bag = parse(&disk(rest)).unwrap();
        let again = parse(&write(&bag, ReservationFormat::Stack)).unwrap();
        assert_eq!(bag, again, "{rest}");
        assert_eq!(text(&bag), text(&again), "{rest}");
    }
}

#[test]
fn what_makes_no_sense_is_refused_with_its_name() {
    for (json, sentence) in [
        (
            cpus(r#","role":"a","reservations":[{"role":"a"}]"#),
            "one of the two formats",
        ),
        (cpus(r#","reservation":{}"#), "reserved to '*'"),
        (
            cpus(
                r#","reservations":[{"type":"DYNAMIC","role":"a"},{"type":"DYNAMIC","role":"b"}]"#,
            ),
            "a role below that",
        ),
        (
            cpus(
                r#","reservations":[{"type":"DYNAMIC","role":"a"},{"type":"STATIC","role":"a/b"}]"#,
            ),
            "not the first",
        ),
        (cpus(r#","role":"-a""#), "not valid"),
        (cpus(r#","shared":{}"#), "only persistent volumes"),
        (cpus(r#","role":"a","revocable":{}"#), "neither reserved"),
        (cpus(r#","disk":{}"#), "only 'disk'"),
        (cpus(r#","provider_id":{"value":"x"}"#), "resource provider"),
        (
            disk(r#","disk":{"persistence":{"id":"v"}}"#),
            "without a volume",
        ),
        (
            disk(r#","disk":{"volume":{"container_path":"d","mode":"RW"}}"#),
            "without persistence",
        ),
        (
            disk(r#","disk":{"source":{"type":"BLOCK"}}"#),
            "neither PATH nor MOUNT",
        ),
        (
            disk(r#","disk":{"source":{"type":"MOUNT","id":"x"}}"#),
            "storage plugin",
        ),
    ] {
        let refusal = parse(&json).unwrap_err();
        assert!(refusal.contains(sentence), "{json}: {refusal}");
    }
    assert!(bag(&[v1::Resource::scalar("cpus", -1.0)]).is_err());
    assert!(bag(&[v1::Resource::scalar("cpus", f64::NAN)]).is_err());
    let upside_down = bag(&[v1::Resource::ranges("ports", [(9, 5)])]).unwrap_err();
    assert!(upside_down.contains("upside down"));
}
