//! Everything that reads bytes from outside, as functions that any bytes may be thrown at.
//!
//! Not tests themselves: `tests/any_bytes.rs` runs them on mutated samples, `tests/fuzz` for as long as one likes. Each
//! returns whether the bytes were accepted, so that a test can see that it reached the inside. Invariant: none panics,
//! and what was accepted is written and read back as the same.

use nesos_api::chronos::Job;
use nesos_api::executor;
use nesos_api::marathon::App;
use nesos_api::marathon::group::GroupUpdate;
use nesos_api::operator::{agent, master as operator};
use nesos_api::recordio::Decoder;
use nesos_api::resources::{ReservationFormat, Shape, bag, list};
use nesos_api::scheduler::{Call, Event};
use nesos_api::v1::Offer;
use nesos_base::cluster_config::ClusterConfig;
use nesos_base::preset::Preset;
use nesos_wire::command::Command;
use nesos_wire::executor::{BesideSpec, ExecutorSpec, ExitRecord, FromExecutor, ToExecutor};
use nesos_wire::frame;
use nesos_wire::join::{JoinAnswer, JoinRequest};
use nesos_wire::masters::MasterToMaster;
use nesos_wire::message::{AgentToMaster, MasterToAgent};
use nesos_wire::plain::{Challenge, Knock, Proof};
use serde::{Serialize, de::DeserializeOwned};

/// Bound of a RecordIO record in these tests, in bytes: small, so that the bound itself is met.
const RECORD_LIMIT: usize = 256;

/// One decoder: takes any bytes, says whether it accepted them.
pub type Target = fn(&[u8]) -> bool;

/// All of them by name.
pub const TARGETS: [(&str, Target); 9] = [
    ("json_call", json_call),
    ("protobuf_call", protobuf_call),
    ("executor_call", executor_call),
    ("recordio", recordio),
    ("wire_frame", wire_frame),
    ("cluster_toml", cluster_toml),
    ("preset", preset),
    ("resources", resources),
    ("definition", definition),
];

/// A scheduler's call or event, or an operator's call to master or agent, as JSON.
pub fn json_call(bytes: &[u8]) -> bool {
    let call = Call::from_json(bytes);
    if let Ok(call) = &call {
        let text = call.to_json();
        assert!(text.iter().all(|byte| (b' '..=b'~').contains(byte)));
        let again = Call::from_json(&text).expect("own JSON is read back");
        assert_eq!(again.to_json(), text);
    }
    let asked = operator::Call::from_json(bytes);
    if let Ok(asked) = &asked {
        let text = asked.to_json();
        let again = operator::Call::from_json(&text).expect("own JSON is read back");
        assert_eq!(again.to_json(), text);
    }
    let local = agent::Call::from_json(bytes);
    if let Ok(local) = &local {
        let text = local.to_json();
        let again = agent::Call::from_json(&text).expect("own JSON is read back");
        assert_eq!(again.to_json(), text);
    }
    Event::from_json(bytes).is_ok() | call.is_ok() | asked.is_ok() | local.is_ok()
}

/// A scheduler's call or event, or an operator's call to master or agent, as protobuf.
pub fn protobuf_call(bytes: &[u8]) -> bool {
    let call = Call::from_protobuf(bytes);
    if let Ok(call) = &call {
        let written = call.to_protobuf();
        let again = Call::from_protobuf(&written).expect("own protobuf is read back");
        // Bytes, not structs: a NaN does not equal itself.
        assert_eq!(again.to_protobuf(), written);
        let _ = call.to_json();
    }
    let asked = operator::Call::from_protobuf(bytes);
    if let Ok(asked) = &asked {
        let written = asked.to_protobuf();
        let again = operator::Call::from_protobuf(&written).expect("own protobuf is read back");
        assert_eq!(again.to_protobuf(), written);
    }
    let local = agent::Call::from_protobuf(bytes);
    if let Ok(local) = &local {
        let written = local.to_protobuf();
        let again = agent::Call::from_protobuf(&written).expect("own protobuf is read back");
        assert_eq!(again.to_protobuf(), written);
    }
    Event::from_protobuf(bytes).is_ok() | call.is_ok() | asked.is_ok() | local.is_ok()
}

/// An executor's call, or an event that it hears, in either form.
pub fn executor_call(bytes: &[u8]) -> bool {
    let text = executor::Call::from_json(bytes);
    if let Ok(call) = &text {
        let written = call.to_json();
        let again = executor::Call::from_json(&written).expect("own JSON is read back");
        assert_eq!(again.to_json(), written);
    }
    let binary = executor::Call::from_protobuf(bytes);
    if let Ok(call) = &binary {
        let written = call.to_protobuf();
        let again = executor::Call::from_protobuf(&written).expect("own protobuf is read back");
        assert_eq!(again.to_protobuf(), written);
    }
    let heard = executor::Event::from_json(bytes).is_ok();
    heard | executor::Event::from_protobuf(bytes).is_ok() | text.is_ok() | binary.is_ok()
}

/// The resources of an offer as JSON: what makes a bag is shown as what makes the same bag, in every format.
pub fn resources(bytes: &[u8]) -> bool {
    // Beyond this a double cannot hold every thousandth.
    const EXACT: i64 = 1 << 50;
    let Ok(offer) = Offer::from_json(bytes) else {
        return false;
    };
    let Ok(first) = bag(&offer.resources) else {
        return false;
    };
    let mut entries = first.entries().iter();
    if entries.all(|entry| entry.scalar().0 < EXACT) {
        for format in [ReservationFormat::Stack, ReservationFormat::Single] {
            let shape = Shape {
                allocation: None,
                format,
            };
            assert_eq!(bag(&list(&first, &shape)).as_ref(), Ok(&first));
        }
    }
    true
}

/// An app or a group in Marathon's JSON, or a job in Chronos's: with its defaults filled in it reads back as itself.
pub fn definition(bytes: &[u8]) -> bool {
    let app = App::from_json(bytes, "/");
    if let Ok(app) = &app {
        let text = serde_json::to_vec(app).expect("it has a form");
        let again = App::from_json(&text, "/").expect("own JSON is read back");
        assert_eq!(&again, app);
    }
    let job = Job::from_json(bytes);
    if let Ok(job) = &job {
        let again = Job::from_json(&job.to_json()).expect("own JSON is read back");
        assert_eq!(again.to_json(), job.to_json());
    }
    GroupUpdate::from_json(bytes, "/").is_ok() | app.is_ok() | job.is_ok()
}

/// A RecordIO stream, whole and in pieces: both give the same records.
pub fn recordio(bytes: &[u8]) -> bool {
    let whole = records(bytes, bytes.len().max(1));
    assert_eq!(whole, records(bytes, 1));
    assert_eq!(whole, records(bytes, 7));
    whole.1
}

fn records(bytes: &[u8], piece: usize) -> (Vec<Vec<u8>>, bool) {
    let mut decoder = Decoder::new(RECORD_LIMIT);
    let mut found = Vec::new();
    for piece in bytes.chunks(piece) {
        decoder.push(piece);
        while let Ok(Some(record)) = decoder.next_record() {
            assert!((1..=RECORD_LIMIT).contains(&record.len()));
            found.push(record);
        }
    }
    (found, decoder.finish().is_ok())
}

/// A frame of any link or checkpoint.
pub fn wire_frame(bytes: &[u8]) -> bool {
    framed::<AgentToMaster>(bytes)
        | framed::<MasterToAgent>(bytes)
        | framed::<MasterToMaster>(bytes)
        | framed::<Command>(bytes)
        | framed::<ExecutorSpec>(bytes)
        | framed::<ExitRecord>(bytes)
        | framed::<ToExecutor>(bytes)
        | framed::<BesideSpec>(bytes)
        | framed::<FromExecutor>(bytes)
        | framed::<JoinRequest>(bytes)
        | framed::<JoinAnswer>(bytes)
        | framed::<Knock>(bytes)
        | framed::<Challenge>(bytes)
        | framed::<Proof>(bytes)
}

fn framed<T: Serialize + DeserializeOwned>(bytes: &[u8]) -> bool {
    let Some(Ok((message, taken))) = frame::decode::<T>(bytes) else {
        return false;
    };
    assert!(taken <= bytes.len());
    let written = frame::encode(&message).expect("what fitted a frame fits one again");
    let (again, _) = frame::decode::<T>(&written)
        .expect("whole")
        .expect("own frame is read back");
    assert_eq!(frame::encode(&again), Ok(written));
    true
}

/// What Raspberry Pi Imager leaves on a card, in all of its formats.
pub fn preset(bytes: &[u8]) -> bool {
    let all = [
        Preset::of_preseed(bytes),
        Preset::of_script(bytes),
        Preset::of_cloud_init(bytes, bytes),
    ];
    all.iter().any(|preset| {
        assert!(preset.words().len() < 64 * 1024 + bytes.len() * 64);
        *preset != Preset::default()
    })
}

/// A board's `cluster.toml`.
pub fn cluster_toml(bytes: &[u8]) -> bool {
    ClusterConfig::parse(bytes).is_ok()
}
