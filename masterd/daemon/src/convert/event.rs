//! Events of a framework's stream: the core's form to bytes of the stream's format, one RecordIO record each.
//!
//! Called by the engine. Invariant: one event becomes one record, and one record one HTTP chunk (clients rely on it).

use bytes::Bytes;
use masterd_core::{FrameworkEvent, Offer};
use nesos_api::message::Bytes as Data;
use nesos_api::{recordio, scheduler, v1};
pub(crate) use nesos_shell::http::media::Format;

use super::resource::{self, ReservationFormat, Shape};
use super::{maintenance, operation, status};

/// One event as a record.
pub(crate) fn record(event: &scheduler::Event, format: Format) -> Bytes {
    let bytes = match format {
        Format::Json => event.to_json(),
        Format::Protobuf => event.to_protobuf(),
    };
    recordio::encode(&bytes).into()
}

/// The only event of a stream that is refused after its headers.
pub(crate) fn error(message: String) -> scheduler::Event {
    scheduler::Event {
        r#type: Some(scheduler::EventType::Error),
        error: Some(scheduler::EventError { message }),
        ..scheduler::Event::default()
    }
}

/// The core's event in its public form. `refined`: the framework has RESERVATION_REFINEMENT; `master` is asked for only
/// by SUBSCRIBED.
pub(crate) fn public(
    event: FrameworkEvent,
    refined: bool,
    master: impl FnOnce() -> v1::MasterInfo,
) -> scheduler::Event {
    use scheduler::EventType;
    let mut out = scheduler::Event::default();
    let kind = match event {
        FrameworkEvent::Subscribed {
            framework,
            heartbeat_interval_seconds,
        } => {
            out.subscribed = Some(scheduler::EventSubscribed {
                framework_id: framework.as_str().into(),
                heartbeat_interval_seconds: Some(heartbeat_interval_seconds),
                master_info: Some(master()),
            });
            EventType::Subscribed
        }
        FrameworkEvent::Heartbeat => EventType::Heartbeat,
        FrameworkEvent::Offers(offers) => {
            let offers = offers.iter().map(|o| offer(o, refined)).collect();
            out.offers = Some(scheduler::EventOffers { offers });
            EventType::Offers
        }
        FrameworkEvent::Rescind(offer) => {
            out.rescind = Some(scheduler::EventRescind {
                offer_id: offer.as_str().into(),
            });
            EventType::Rescind
        }
        FrameworkEvent::InverseOffers(offers) => maintenance::asked(&mut out, &offers),
        FrameworkEvent::RescindInverseOffer(offer) => maintenance::rescinded(&mut out, &offer),
        FrameworkEvent::Update { key, status } => {
            out.update = Some(scheduler::EventUpdate {
                status: status::status(&key.task, &status),
            });
            EventType::Update
        }
        FrameworkEvent::Operation(update) => {
            let status = operation::status(&update, reservations(refined));
            out.update_operation_status = Some(scheduler::EventUpdateOperationStatus { status });
            EventType::UpdateOperationStatus
        }
        FrameworkEvent::Message {
            agent,
            executor,
            data,
        } => {
            out.message = Some(scheduler::EventMessage {
                agent_id: agent.as_str().into(),
                executor_id: executor.as_str().into(),
                data: Data(data),
            });
            EventType::Message
        }
        FrameworkEvent::Failure { agent, executor } => {
            let ended = executor.as_ref();
            out.failure = Some(scheduler::EventFailure {
                agent_id: Some(agent.as_str().into()),
                executor_id: ended.map(|ended| ended.executor.as_str().into()),
                status: ended.map(|ended| ended.status),
            });
            EventType::Failure
        }
        FrameworkEvent::Error(message) => return error(message),
    };
    out.r#type = Some(kind);
    out
}

/// How a framework reads reservations, with RESERVATION_REFINEMENT or without.
fn reservations(refined: bool) -> ReservationFormat {
    if refined {
        ReservationFormat::Stack
    } else {
        ReservationFormat::Single
    }
}

/// Where an agent's HTTP server is.
pub(super) fn agent_url(hostname: &str, ip: &str, port: u16) -> v1::URL {
    v1::URL {
        scheme: "http".into(),
        address: v1::Address {
            hostname: Some(hostname.into()),
            ip: Some(ip.into()),
            port: i32::from(port),
        },
        path: Some("/slave(1)".into()),
        ..v1::URL::default()
    }
}

/// An offer in its public form.
pub(crate) fn offer(offer: &Offer, refined: bool) -> v1::Offer {
    let role = offer.multi_role.then_some(offer.role.as_str());
    let shape = Shape {
        allocation: role,
        format: reservations(refined),
    };
    v1::Offer {
        id: offer.id.as_str().into(),
        framework_id: offer.framework.as_str().into(),
        agent_id: offer.agent.as_str().into(),
        hostname: offer.hostname.to_string(),
        url: Some(agent_url(&offer.hostname, &offer.ip, offer.port)),
        unavailability: offer
            .unavailability
            .as_ref()
            .map(maintenance::unavailability),
        resources: resource::list(&offer.resources, &shape),
        attributes: resource::attributes(&offer.attributes),
        domain: offer.domain.as_ref().map(nesos_api::domain::shown),
        executor_ids: offer
            .executors
            .iter()
            .map(|id| id.as_str().into())
            .collect(),
        allocation_info: role.map(|role| v1::ResourceAllocationInfo {
            role: Some(role.into()),
        }),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_heartbeat_is_twenty_bytes() {
        let event = public(FrameworkEvent::Heartbeat, true, v1::MasterInfo::default);
        assert_eq!(
            &record(&event, Format::Json)[..],
            b"20\n{\"type\":\"HEARTBEAT\"}"
        );
    }
}
