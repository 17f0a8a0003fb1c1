//! Any message survives both formats; any bytes are refused or read, without a panic.
//!
//! Messages are filled through their tables, so a new message is covered as soon as a call or event reaches it.
//! Invariant: what is written is read back equal.
#![allow(clippy::unwrap_used)]

use nesos_api::legacy;
use nesos_api::message::{Enumeration, FieldValue, Item, Kind, Label, Message, Slot};
use nesos_api::operator::{agent, master};
use nesos_api::scheduler::{Call, Event};
use nesos_api::v1::{AgentInfo, MasterInfo, Task, TaskState};
use proptest::prelude::*;

/// A source of numbers from a seed: xorshift, good enough to vary tests.
struct Seed(u64);

impl Seed {
    fn next(&mut self) -> u64 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        self.0
    }
    fn below(&mut self, bound: u64) -> u64 {
        self.next() % bound
    }
}

const TEXTS: [&str; 6] = [
    "",
    "a",
    "*",
    "é🍏\u{0}\n\"\\/",
    "pi3-7",
    "0123456789abcdef0123456789abcdef",
];

fn fill(message: &mut dyn Message, seed: &mut Seed, depth: usize) {
    for field in message.descriptor().fields {
        let value = message.field_mut(field.number).unwrap();
        let count = match field.label {
            Label::Required => 1,
            Label::Optional => u64::from(depth < 9 && seed.below(3) == 0),
            Label::Repeated | Label::Map if depth < 9 => seed.below(3),
            Label::Repeated | Label::Map => 0,
        };
        for index in 0..count {
            match field.label {
                Label::Map => {
                    let Slot::Entry(entry) = value.slot(&format!("k{index}")) else {
                        panic!("no map")
                    };
                    put(entry, field.kind, seed, depth);
                }
                _ => put(value, field.kind, seed, depth),
            }
        }
    }
}

fn put(value: &mut dyn FieldValue, kind: Kind, seed: &mut Seed, depth: usize) {
    let bits = seed.next() >> seed.below(64);
    let text = TEXTS[seed.below(TEXTS.len() as u64) as usize];
    let item = match kind {
        Kind::Message => {
            let Slot::Message(message) = value.slot("") else {
                panic!("no message")
            };
            return fill(message, seed, depth + 1);
        }
        Kind::Bool => Item::Bool(bits & 1 == 1),
        Kind::I32 => Item::Int(i64::from(bits as i32)),
        Kind::I64 => Item::Int(bits as i64),
        Kind::U32 => Item::Uint(u64::from(bits as u32)),
        Kind::U64 => Item::Uint(bits),
        Kind::F64 => Item::Float(
            [
                bits as f64 / 7.0,
                -0.0,
                f64::INFINITY,
                f64::MIN_POSITIVE,
                1e300,
            ][bits as usize % 5],
        ),
        Kind::String => Item::Str(text),
        Kind::Bytes => Item::Bytes(text.as_bytes()),
        Kind::Enum(values) => Item::Enum(values[bits as usize % values.len()].0),
    };
    assert!(value.push(item));
}

macro_rules! survives {
    ($type:ty, $seed:expr) => {{
        let mut message = <$type>::default();
        fill(&mut message, &mut Seed($seed), 0);
        let protobuf = message.to_protobuf();
        assert_eq!(<$type>::from_protobuf(&protobuf).unwrap(), message);
        // JSON shows defaults, so the second writing is compared, and the first reading in all but defaults.
        let json = message.to_json();
        assert!(json.iter().all(|byte| (b' '..=b'~').contains(byte)));
        let shown = <$type>::from_json(&json).unwrap();
        assert_eq!(String::from_utf8(shown.to_json()).unwrap(), str::from_utf8(&json).unwrap());
        assert_eq!(<$type>::from_protobuf(&shown.to_protobuf()).unwrap(), shown);
        let inside: serde_json::Value = serde_json::to_value(&message).unwrap();
        let alone: serde_json::Value = serde_json::from_slice(&json).unwrap();
        assert_eq!(inside, alone);
        (json, protobuf)
    }};
}

/// Changes a few bytes, cuts or doubles the tail.
fn mutate(bytes: &mut Vec<u8>, seed: &mut Seed) {
    for _ in 0..1 + seed.below(4) {
        if bytes.is_empty() {
            return;
        }
        let at = seed.below(bytes.len() as u64) as usize;
        match seed.below(4) {
            0 => bytes[at] = seed.next() as u8,
            1 => bytes[at] ^= 1 << seed.below(8),
            2 => bytes.truncate(at),
            _ => bytes.extend_from_within(at..),
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::with_cases(256) })]

    #[test]
    fn messages_survive_both_formats(seed in 1_u64..) {
        survives!(Call, seed);
        survives!(Event, seed);
        survives!(AgentInfo, seed);
        survives!(MasterInfo, seed);
        survives!(Task, seed);
        let mut task = Task::default();
        fill(&mut task, &mut Seed(seed), 0);
        serde_json::to_string(&legacy::Task::from(&task)).unwrap();
    }

    #[test]
    fn mutated_messages_do_not_panic(seed in 1_u64..) {
        let (mut json, mut protobuf) = survives!(Call, seed);
        let mut seed = Seed(seed);
        for _ in 0..20 {
            mutate(&mut json, &mut seed);
            mutate(&mut protobuf, &mut seed);
            let _ = Call::from_json(&json);
            if let Ok(call) = Call::from_protobuf(&protobuf) {
                let _ = call.to_json();
            }
        }
    }

    #[test]
    fn any_bytes_do_not_panic(bytes in prop::collection::vec(any::<u8>(), 0..200)) {
        let _ = Call::from_json(&bytes);
        let _ = Event::from_protobuf(&bytes);
        let mut decoder = nesos_api::recordio::Decoder::new(100);
        decoder.push(&bytes);
        while let Ok(Some(record)) = decoder.next_record() {
            prop_assert!(!record.is_empty() && record.len() <= 100);
        }
    }
}

#[test]
fn tables_are_sound() {
    fn walk(message: &mut dyn Message, seen: &mut std::collections::BTreeSet<&'static str>) {
        let descriptor = message.descriptor();
        if !seen.insert(descriptor.name) {
            return;
        }
        assert_eq!(descriptor.by_number.len(), descriptor.fields.len());
        for field in descriptor.fields {
            assert!(
                field
                    .name
                    .bytes()
                    .all(|byte| byte.is_ascii_lowercase() || byte.is_ascii_digit() || byte == b'_')
            );
            let value = message.field_mut(field.number).unwrap();
            if field.label == Label::Map {
                assert!(
                    matches!(field.kind, Kind::Message | Kind::String),
                    "the JSON reader knows no other maps"
                );
            }
            if matches!(field.kind, Kind::Message) {
                match value.slot("k") {
                    Slot::Message(message) => walk(message, seen),
                    Slot::Entry(entry) => {
                        let Slot::Message(message) = entry.slot("") else {
                            panic!("no message")
                        };
                        walk(message, seen);
                    }
                    Slot::None => panic!("no message"),
                }
            }
        }
    }
    let mut seen = std::collections::BTreeSet::new();
    walk(&mut Call::default(), &mut seen);
    walk(&mut Event::default(), &mut seen);
    walk(&mut master::Response::default(), &mut seen);
    walk(&mut agent::Response::default(), &mut seen);
    assert!(seen.len() > 100, "{} messages reached", seen.len());
    assert!(
        TaskState::VALUES
            .iter()
            .all(|value| TaskState::from_number(value.0).unwrap().name() == value.1)
    );
}
