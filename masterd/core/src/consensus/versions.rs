//! What masters of several wire versions may say to each other through the log.
//!
//! Not the versions themselves (the registry has them, each master says its own when it comes). Called by the shell before it
//! proposes, and at every turn of a leader. Invariants: the group speaks what each of its masters can read, those that are away
//! included; what a master said itself counts before it is agreed on, so that one that has gone back is heeded at once.

use nesos_wire::command::Command;
use nesos_wire::masters::MasterRecord;
use nesos_wire::version::Version;

use crate::Registry;

/// The newest version whose commands all masters can read, if those that are connected `said` that they speak these.
pub fn speaks(registry: &Registry, said: impl IntoIterator<Item = Version>) -> Version {
    said.into_iter().fold(registry.version(), Version::min)
}

/// What the registry is to know of a master.
pub fn told(master: &MasterRecord, version: Version) -> [Command; 2] {
    let number = master.number;
    [
        Command::PutMaster(master.clone()),
        Command::PutMasterVersion { number, version },
    ]
}

/// By which commands the registry knows as they are the masters that `said` this of themselves, and that it knows. Whether they are to vote is
/// not theirs to say.
pub fn corrections<'a>(
    registry: &Registry,
    said: impl IntoIterator<Item = (&'a MasterRecord, Version)>,
) -> Vec<Command> {
    let corrected = said.into_iter().filter_map(|(master, version)| {
        let known = registry.master(master.number)?;
        let master = MasterRecord {
            is_to_vote: known.is_to_vote,
            ..master.clone()
        };
        let is_known = *known == master && registry.version_of(master.number) == version;
        (!is_known).then(|| told(&master, version))
    });
    corrected.flatten().collect()
}
