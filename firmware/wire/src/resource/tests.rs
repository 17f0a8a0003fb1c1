//! Bags: any sequence of additions and subtractions keeps the books right.

use super::*;
use alloc::{borrow::ToOwned, string::ToString, vec};
use proptest::prelude::*;

fn scalar(thousandths: i64) -> Value {
    Value::Scalar(Scalar(thousandths))
}

fn terms() -> impl Strategy<Value = Terms> {
    prop_oneof![
        3 => Just(Terms::default()),
        1 => Just(reserved("a")),
        1 => Just(Terms { is_revocable: true, ..Terms::default() }),
    ]
}

fn bag() -> impl Strategy<Value = Resources> {
    let amounts = prop::collection::vec((0usize..3, terms(), 0i64..5000), 0..6);
    let ports = prop::collection::vec((0u64..60, 0u64..8), 0..5);
    (amounts, ports).prop_map(|(amounts, ports)| {
        let ports = Ranges::new(ports.into_iter().map(|(b, n)| b..=b + n));
        let mut bag: Resources = [("ports", Value::Ranges(ports))].into_iter().collect();
        for (name, terms, amount) in amounts {
            bag.put(Entry::new(
                ["cpus", "mem", "ink"][name],
                terms,
                scalar(amount),
            ));
        }
        bag
    })
}

fn reserved(role: &str) -> Terms {
    Terms {
        reservations: vec![Reservation::fixed(role)],
        ..Terms::default()
    }
}

fn volume(id: &str, container_path: &str, is_shared: bool) -> Entry {
    let volume = Volume {
        id: id.to_owned(),
        principal: None,
        container_path: container_path.to_string(),
        is_read_only: false,
    };
    let disk = Disk {
        source: None,
        volume: Some(volume),
    };
    let terms = Terms {
        disk: Some(disk),
        is_shared,
        ..reserved("db")
    };
    Entry::new("disk", terms, scalar(64_000))
}

proptest! {
    #[test]
    fn what_was_taken_out_fits_back(total in bag(), part in bag()) {
        let mut left = total.clone();
        left.subtract(&part);
        if total.contains(&part) {
            left.add(&part);
            prop_assert_eq!(left, total);
        } else {
            prop_assert!(total.contains(&left));
        }
    }

    #[test]
    fn sum_contains_both(a in bag(), b in bag()) {
        let mut sum = a.clone();
        sum.add(&b);
        prop_assert!(sum.contains(&a) && sum.contains(&b));
    }

    #[test]
    fn bytes_in_any_order_make_the_same_bag(bag in bag(), seed in any::<u64>()) {
        let mut entries = bag.entries().to_vec();
        if !entries.is_empty() {
            let middle = seed as usize % entries.len();
            entries.rotate_left(middle);
        }
        let bytes = postcard::to_allocvec(&entries).expect("small");
        prop_assert_eq!(postcard::from_bytes::<Resources>(&bytes).expect("entries"), bag);
    }
}

#[test]
fn tenths_add_up_exactly() {
    let mut sum = Resources::new();
    for _ in 0..10 {
        sum.insert(
            "cpus",
            Value::Scalar(Scalar::from_f64(0.1).expect("finite")),
        );
    }
    assert_eq!(sum.scalar("cpus"), Scalar(1000));
}

#[test]
fn reserved_and_unreserved_stand_side_by_side() {
    let mut bag = Resources::new();
    bag.insert("cpus", scalar(1000));
    bag.put(Entry::new("cpus", reserved("a"), scalar(2000)));
    assert_eq!(bag.scalar("cpus"), Scalar(3000));
    assert_eq!(bag.get("cpus"), Some(&scalar(1000)));
    let mut wanted = Resources::new();
    wanted.insert("cpus", scalar(1500));
    assert!(!bag.contains(&wanted));
    let for_roles = |role: &str| {
        bag.filter(|entry| entry.is_allocatable_to(role))
            .scalar("cpus")
    };
    assert_eq!(for_roles("a"), Scalar(3000));
    assert_eq!(for_roles("a/b"), Scalar(3000));
    assert_eq!(for_roles("ab"), Scalar(1000));
}

#[test]
fn a_volume_is_taken_whole_whatever_its_path() {
    let bag: Resources = [volume("v", "data", false)].into_iter().collect();
    let elsewhere: Resources = [volume("v", "other", false)].into_iter().collect();
    assert!(bag.contains(&elsewhere));
    let half = Entry {
        value: scalar(32_000),
        ..volume("v", "data", false)
    };
    assert!(!bag.contains(&[half].into_iter().collect()));
    let other: Resources = [volume("w", "data", false)].into_iter().collect();
    assert!(!bag.contains(&other));
}

#[test]
fn shared_volumes_are_counted_by_holder() {
    let one: Resources = [volume("v", "data", true)].into_iter().collect();
    let mut two = one.clone();
    two.add(&one);
    assert_eq!(two.scalar("disk"), Scalar(64_000));
    assert!(one.contains(&two));
    two.subtract(&one);
    assert_eq!(two, one);
    two.subtract(&one);
    assert!(two.is_empty());
}
