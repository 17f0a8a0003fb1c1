//! What happened in the cluster as events of the operator API's stream.
//!
//! Called by the engine. Invariant: an event shows the state as it is when the event is made, which may be newer than
//! the change it tells of; what is gone by then is told by a later event only.

use masterd_core::{HEARTBEAT_SECONDS, Master, News};
use nesos_api::operator::master::{
    Event, EventAgentAdded, EventAgentRemoved, EventFrameworkAdded, EventFrameworkRemoved,
    EventFrameworkUpdated, EventSubscribed, EventTaskAdded, EventTaskUpdated, EventType,
    ResponseGetFrameworksFramework,
};
use nesos_wire::FrameworkId;

use super::{operator, status};

/// The first event: everything.
pub(crate) fn subscribed(master: &Master) -> Event {
    Event {
        r#type: Some(EventType::Subscribed),
        subscribed: Some(EventSubscribed {
            get_state: Some(operator::state(master)),
            heartbeat_interval_seconds: Some(HEARTBEAT_SECONDS as f64),
        }),
        ..Event::default()
    }
}

/// A change as an event. `None`: what it is about is gone already.
pub(crate) fn event(master: &Master, news: &News) -> Option<Event> {
    let mut event = Event::default();
    let kind = match news {
        News::TaskAdded(key) => {
            let task = status::task(master.find_task(key)?);
            event.task_added = Some(EventTaskAdded { task });
            EventType::TaskAdded
        }
        News::TaskUpdated { key, status } => {
            event.task_updated = Some(EventTaskUpdated {
                framework_id: key.framework.as_str().into(),
                status: status::status(&key.task, status),
                state: status::state(status.state),
            });
            EventType::TaskUpdated
        }
        News::AgentAdded(id) => {
            let agent = operator::agent(master, master.agent(id)?);
            event.agent_added = Some(EventAgentAdded { agent });
            EventType::AgentAdded
        }
        News::AgentRemoved(id) => {
            let agent_id = id.as_str().into();
            event.agent_removed = Some(EventAgentRemoved { agent_id });
            EventType::AgentRemoved
        }
        News::FrameworkAdded(id) => {
            let framework = framework(master, id)?;
            event.framework_added = Some(EventFrameworkAdded { framework });
            EventType::FrameworkAdded
        }
        News::FrameworkUpdated(id) => {
            let framework = framework(master, id)?;
            event.framework_updated = Some(EventFrameworkUpdated { framework });
            EventType::FrameworkUpdated
        }
        News::FrameworkRemoved(id) => {
            let mut completed = master.completed_frameworks();
            let ended = completed.find(|ended| ended.framework.id == *id)?;
            let framework_info = operator::framework_info(&ended.framework);
            event.framework_removed = Some(EventFrameworkRemoved { framework_info });
            EventType::FrameworkRemoved
        }
    };
    event.r#type = Some(kind);
    Some(event)
}

fn framework(master: &Master, id: &FrameworkId) -> Option<ResponseGetFrameworksFramework> {
    let known = master.framework(id)?;
    let executors = operator::by_framework(master);
    Some(operator::framework(master, known, &executors))
}
