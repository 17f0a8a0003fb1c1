//! What is told on `/v2/events`, and how a line of it looks.
//!
//! Pure. Made by masterd of what its scheduler tells. Invariant: only Marathon's names of events and keys are used, and an event is one
//! line of JSON: some clients end at a name that they do not know.

use serde::Serialize;
use serde_json::{Value, json};

use super::progress::{Action, Step};
use super::shown::ShownApp;
use super::time;

/// An event: its name, and all of its fields but the name and the time.
#[derive(Debug, Clone, PartialEq)]
pub struct Event {
    /// `status_update_event` and so on.
    pub name: &'static str,
    /// An object.
    pub fields: Value,
}

/// A deployment's plan, as events have it.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Plan {
    /// Its id.
    pub id: String,
    /// When it was asked for.
    pub version: String,
    /// What there is to be afterwards.
    pub target: State,
    /// What there was: not kept.
    pub original: State,
    /// All its steps.
    pub steps: Vec<Step>,
}

/// The apps of a plan.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct State {
    /// The root group.
    pub id: &'static str,
    /// When it was so.
    pub version: String,
    /// The apps that are changed.
    pub apps: Vec<ShownApp>,
    /// In `apps`, whatever their paths.
    pub groups: [(); 0],
    /// Of apps only.
    pub dependencies: [(); 0],
    /// None, ever.
    pub pods: [(); 0],
}

/// What became of a task.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Status {
    /// Its agent's id.
    pub slave_id: String,
    /// Its id.
    pub task_id: String,
    /// `TASK_...`
    pub task_status: &'static str,
    /// A sentence.
    pub message: String,
    /// Its app's path.
    pub app_id: String,
    /// Its agent's host name.
    pub host: String,
    /// Its host ports.
    pub ports: Vec<u16>,
    /// The definition that it was made by.
    pub version: String,
}

impl Plan {
    /// Of a deployment that is to make these apps so.
    #[must_use]
    pub fn new(id: &str, version: u64, actions: Vec<Action>, target: Vec<ShownApp>) -> Self {
        let state = |version, apps| State {
            id: "/",
            version: time::write(version),
            apps,
            groups: [],
            dependencies: [],
            pods: [],
        };
        Self {
            id: id.to_owned(),
            version: time::write(version),
            target: state(version, target),
            original: state(0, Vec::new()),
            steps: vec![Step { actions }],
        }
    }
}

impl Event {
    fn new(name: &'static str, fields: Value) -> Self {
        Self { name, fields }
    }

    /// A stream begins.
    #[must_use]
    pub fn attached(remote: &str) -> Self {
        Self::new("event_stream_attached", json!({"remoteAddress": remote}))
    }

    /// A stream has ended.
    #[must_use]
    pub fn detached(remote: &str) -> Self {
        Self::new("event_stream_detached", json!({"remoteAddress": remote}))
    }

    /// Somebody has asked for an app to be so.
    #[must_use]
    pub fn api_post(client: &str, uri: &str, app: &ShownApp) -> Self {
        let fields = json!({"clientIp": client, "uri": uri, "appDefinition": app});
        Self::new("api_post_event", fields)
    }

    /// A task has another state.
    #[must_use]
    pub fn status(status: &Status) -> Self {
        Self::new("status_update_event", json!(status))
    }

    /// A task was found healthy, or not.
    #[must_use]
    pub fn health(app: &str, version: u64, task: &str, is_alive: bool) -> Self {
        let fields = json!({
            "appId": app, "taskId": task, "instanceId": task,
            "version": time::write(version), "alive": is_alive,
        });
        Self::new("health_status_changed_event", fields)
    }

    /// A deployment has begun.
    #[must_use]
    pub fn deployment_info(plan: &Plan) -> Self {
        let step = plan.steps.first();
        let fields = json!({"plan": plan, "currentStep": step});
        Self::new("deployment_info", fields)
    }

    /// A deployment is over: what is told of that.
    #[must_use]
    pub fn deployment_ended(plan: &Plan, is_success: bool) -> Vec<Self> {
        let step = match is_success {
            true => "deployment_step_success",
            false => "deployment_step_failure",
        };
        let end = match is_success {
            true => "deployment_success",
            false => "deployment_failed",
        };
        let of_step = json!({"plan": plan, "currentStep": plan.steps.first()});
        let of_end = json!({"id": plan.id, "plan": plan});
        vec![Self::new(step, of_step), Self::new(end, of_end)]
    }

    /// An app is there no more.
    #[must_use]
    pub fn app_terminated(app: &str) -> Self {
        Self::new("app_terminated_event", json!({"appId": app}))
    }

    /// As it is sent.
    #[must_use]
    pub fn text(&self, wall_ms: u64) -> String {
        let mut fields = self.fields.clone();
        if let Some(fields) = fields.as_object_mut() {
            fields.insert("eventType".into(), self.name.into());
            fields.insert("timestamp".into(), time::write(wall_ms).into());
        }
        // The writer escapes line breaks within texts.
        format!("event: {}\r\ndata: {fields}\r\n\r\n", self.name)
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    #[test]
    fn an_event_is_one_line() {
        let text = Event::attached("1.2.3.4\nx").text(0);
        let lines: Vec<&str> = text.split("\r\n").collect();
        assert_eq!(lines[0], "event: event_stream_attached");
        let data: Value = serde_json::from_str(lines[1].strip_prefix("data: ").unwrap()).unwrap();
        assert_eq!(data["eventType"], "event_stream_attached");
        assert_eq!(data["timestamp"], "1970-01-01T00:00:00.000Z");
        assert_eq!(data["remoteAddress"], "1.2.3.4\nx");
        assert_eq!(&lines[2..], ["", ""]);
    }

    #[test]
    fn the_end_of_a_deployment_names_it() {
        let plan = Plan::new("d", 7, Vec::new(), Vec::new());
        let names = |is_success| -> Vec<_> {
            let events = Event::deployment_ended(&plan, is_success);
            events.iter().map(|event| event.name).collect()
        };
        assert_eq!(
            names(true),
            ["deployment_step_success", "deployment_success"]
        );
        assert_eq!(
            names(false),
            ["deployment_step_failure", "deployment_failed"]
        );
        let ended = Event::deployment_ended(&plan, true).pop().unwrap();
        assert_eq!(ended.fields["id"], "d");
    }
}
