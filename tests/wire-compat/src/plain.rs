//! Samples of the greeting on a link without TLS.
//!
//! Called by `samples` only. Invariant: as for all samples, every field is set.

use nesos_wire::NodeId;
use nesos_wire::plain::{Challenge, Knock, Proof};
use nesos_wire::version::Version;

use super::{Sample, sample};

pub(super) fn greeting() -> Vec<Sample> {
    let knock = Knock {
        version: Version(1),
        node: NodeId::new("n"),
        nonce: [6; 32],
    };
    let prove = Challenge::Prove {
        nonce: [7; 32],
        proof: [8; 32],
    };
    let refused = Challenge::Refused {
        reason: "no".into(),
    };
    vec![
        sample("Knock", knock),
        sample("Challenge::Prove", prove),
        sample("Challenge::Refused", refused),
        sample("Proof", Proof { proof: [9; 32] }),
    ]
}
