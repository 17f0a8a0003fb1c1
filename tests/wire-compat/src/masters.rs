//! Samples of what masters say to each other and of each other.
//!
//! Called by `samples` only. Invariant: as for all samples, every field is set.

use nesos_wire::masters::{MasterRecord, MasterToMaster};
use nesos_wire::message::MasterToAgent;
use nesos_wire::version::Version;

use super::{Sample, sample};

pub(super) fn master() -> MasterRecord {
    MasterRecord {
        number: 9,
        name: "pi-1".into(),
        address: "10.0.0.1:5050".into(),
        is_to_vote: true,
    }
}

pub(super) fn messages() -> Vec<Sample> {
    let introduce = MasterToMaster::Introduce {
        version: Version(1),
        cluster: "home".into(),
        master: master(),
    };
    let known = MasterToMaster::Known {
        masters: vec![master()],
    };
    let refused = MasterToMaster::Refused {
        reason: "no".into(),
    };
    let part = MasterToMaster::Raft {
        is_last: true,
        bytes: vec![1, 2],
    };
    let masters = MasterToAgent::Masters {
        addresses: vec!["10.0.0.1:5050".into()],
    };
    vec![
        sample("MasterToMaster::Introduce", introduce),
        sample("MasterToMaster::Known", known),
        sample("MasterToMaster::Refused", refused),
        sample("MasterToMaster::Raft", part),
        sample("MasterToAgent::Masters", masters),
    ]
}
