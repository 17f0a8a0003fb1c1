//! Maintenance in its public form: schedules, machines and their status, inverse offers.
//!
//! Called by the operator's calls and endpoints, and for the events of frameworks. Pure; whether a schedule makes sense is
//! the core's to judge.

use std::collections::BTreeMap;

use masterd_core::schedule::Mode;
use masterd_core::{InverseOffer, Maintained, Master};
use nesos_api::operator::common::{
    ClusterStatus, ClusterStatusDrainingMachine, InverseOfferStatus,
    InverseOfferStatusStatus as Status, Schedule, Window,
};
use nesos_api::scheduler::{Event, EventInverseOffers, EventRescindInverseOffer, EventType};
use nesos_api::v1;
use nesos_wire::OfferId;
use nesos_wire::maintenance::{self as core, MachineId};

use super::{event, operator};

/// A schedule that an operator wishes.
pub(crate) fn windows(schedule: &Schedule) -> Vec<core::Window> {
    let window = |window: &Window| core::Window {
        machines: machines(&window.machine_ids),
        unavailability: core::Unavailability {
            start_ns: window.unavailability.start.nanoseconds,
            duration_ns: window
                .unavailability
                .duration
                .as_ref()
                .map(|d| d.nanoseconds),
        },
    };
    schedule.windows.iter().map(window).collect()
}

/// Machines that an operator names.
pub(crate) fn machines(machines: &[v1::MachineID]) -> Vec<MachineId> {
    let machine = |machine: &v1::MachineID| MachineId {
        hostname: machine.hostname.clone().unwrap_or_default(),
        ip: machine.ip.clone().unwrap_or_default(),
    };
    machines.iter().map(machine).collect()
}

/// The schedule as it stands.
pub(crate) fn schedule(master: &Master) -> Schedule {
    let window = |window: &core::Window| Window {
        machine_ids: window.machines.iter().map(machine).collect(),
        unavailability: unavailability(&window.unavailability),
    };
    Schedule {
        windows: master.schedule().windows().iter().map(window).collect(),
    }
}

/// Which machines are scheduled, what the frameworks on them say, and which machines are down.
pub(crate) fn status(master: &Master) -> ClusterStatus {
    let mut on_machines: BTreeMap<MachineId, Vec<InverseOfferStatus>> = BTreeMap::new();
    for (agent, maintained) in master.all_maintained() {
        if let Some(agent) = master.agent(agent) {
            let statuses = on_machines.entry(agent.machine()).or_default();
            statuses.extend(stances(maintained));
        }
    }
    let schedule = master.schedule();
    let draining = schedule.machines(Mode::Draining);
    ClusterStatus {
        draining_machines: draining
            .map(|id| ClusterStatusDrainingMachine {
                id: machine(id),
                statuses: on_machines.remove(id).unwrap_or_default(),
            })
            .collect(),
        down_machines: schedule.machines(Mode::Down).map(machine).collect(),
    }
}

/// When something will not be there.
pub(crate) fn unavailability(unavailability: &core::Unavailability) -> v1::Unavailability {
    let duration = |nanoseconds| v1::DurationInfo { nanoseconds };
    v1::Unavailability {
        start: v1::TimeInfo {
            nanoseconds: unavailability.start_ns,
        },
        duration: unavailability.duration_ns.map(duration),
    }
}

/// An inverse offer.
pub(crate) fn inverse_offer(offer: &InverseOffer) -> v1::InverseOffer {
    v1::InverseOffer {
        id: offer.id.as_str().into(),
        url: Some(event::agent_url(&offer.hostname, &offer.ip, offer.port)),
        framework_id: offer.framework.as_str().into(),
        agent_id: Some(offer.agent.as_str().into()),
        unavailability: unavailability(&offer.unavailability),
        ..v1::InverseOffer::default()
    }
}

/// Sets the member of INVERSE_OFFERS.
pub(super) fn asked(event: &mut Event, offers: &[InverseOffer]) -> EventType {
    let inverse_offers = offers.iter().map(inverse_offer).collect();
    event.inverse_offers = Some(EventInverseOffers { inverse_offers });
    EventType::InverseOffers
}

/// Sets the member of RESCIND_INVERSE_OFFER.
pub(super) fn rescinded(event: &mut Event, offer: &OfferId) -> EventType {
    let inverse_offer_id = offer.as_str().into();
    event.rescind_inverse_offer = Some(EventRescindInverseOffer { inverse_offer_id });
    EventType::RescindInverseOffer
}

fn stances(maintained: &Maintained) -> impl Iterator<Item = InverseOfferStatus> {
    let status = |accepts| match accepts {
        None => Status::Unknown,
        Some(true) => Status::Accept,
        Some(false) => Status::Decline,
    };
    maintained
        .stances
        .iter()
        .map(move |(framework, stance)| InverseOfferStatus {
            status: status(stance.accepts),
            framework_id: framework.as_str().into(),
            timestamp: operator::time(stance.since),
        })
}

/// A machine's name.
pub(crate) fn machine(machine: &MachineId) -> v1::MachineID {
    let text = |text: &str| (!text.is_empty()).then(|| text.to_owned());
    v1::MachineID {
        hostname: text(&machine.hostname),
        ip: text(&machine.ip),
    }
}
