//! Changing services: definitions made ready to be kept, put, removed, and told of.
//!
//! Not who may (`mod`) nor from what the definitions come. Called by the handlers that write, which hold the turn meanwhile. Invariant: a
//! definition that is kept has its service ports, and says what the scheduler can keep to.

use std::collections::BTreeSet;

use hyper::StatusCode;
use masterd_core::builtin::{Change, ServiceError};
use nesos_api::marathon::event::Event;
use nesos_api::marathon::{App, Refusal, ports};
use nesos_wire::TaskId;

use super::seen::Seen;
use super::{Asked, Refused, invalid, new_id, refuse, refused, stopping, view};
use crate::convert::service::{self, DefinitionError};

/// Apps that are to be put in one deployment, in the order in which they were given.
#[derive(Debug)]
pub(super) struct Changes {
    changes: Vec<Change>,
    apps: Vec<App>,
    used: BTreeSet<u16>,
    /// Tasks that are killed with it.
    kills: Vec<TaskId>,
    /// Deployments that are under way give way to this one.
    is_forced: bool,
}

/// What was done.
#[derive(Debug)]
pub(super) struct Done {
    pub(super) version: u64,
    pub(super) deployment: String,
    /// As they are kept.
    pub(super) apps: Vec<App>,
}

impl Changes {
    /// None yet; `seen` is all that there is.
    pub(super) fn new(seen: &Seen) -> Self {
        let apps = seen.services.iter().filter_map(|one| one.app());
        Self {
            changes: Vec::new(),
            apps: Vec::new(),
            used: apps.flat_map(|app| app.service_ports()).collect(),
            kills: Vec::new(),
            is_forced: false,
        }
    }

    /// These tasks are killed in the same moment, so that no others are to make the number right.
    pub(super) fn killing(self, kills: Vec<TaskId>) -> Self {
        Self { kills, ..self }
    }

    /// Deployments that are under way give way to this one, whether or not that was asked for.
    pub(super) fn forced(self) -> Self {
        Self {
            is_forced: true,
            ..self
        }
    }

    /// One more; `before` is what holds.
    pub(super) fn add(
        &mut self,
        mut app: App,
        before: Option<&App>,
        is_new: bool,
    ) -> Result<(), Refused> {
        let had = before.map(App::service_ports).unwrap_or_default();
        self.used.retain(|port| !had.contains(port));
        let chosen = ports::choose(&mut app, &had, &self.used);
        chosen.map_err(|error| refuse(StatusCode::UNPROCESSABLE_ENTITY, error.to_string()))?;
        self.used.extend(app.service_ports());
        let facts = service::app_facts(&app).map_err(|error| unfit(&error))?;
        let definition = serde_json::to_vec(&app.to_fields());
        let definition = definition
            .map_err(|error| refuse(StatusCode::UNPROCESSABLE_ENTITY, error.to_string()))?;
        self.changes.push(Change {
            id: app.id.clone(),
            definition,
            facts,
            is_new,
            replaces: before.is_none_or(|before| before.needs_replacement_by(&app)),
        });
        self.apps.push(app);
        Ok(())
    }

    /// Puts them, and removes `leaving`, all or none.
    pub(super) async fn carry_out(
        self,
        asked: &Asked<'_>,
        leaving: Vec<String>,
    ) -> Result<Done, Refused> {
        let deployment = new_id()?;
        let force = self.is_forced || asked.is_forced();
        let (changes, kills, id) = (self.changes, self.kills, deployment.clone());
        let engine = &asked.context.app.engine;
        let done = engine.operate(move |builtin, moment| {
            let is_locked = |id: &&String| {
                let service = builtin.service(id);
                service.is_some_and(|service| service.record.deployment.is_some())
            };
            // What is to go with them is looked at first, as what was put cannot be taken back.
            let version = match leaving.iter().find(is_locked) {
                Some(_) if !force => builtin.remove_services(&leaving, &id, false, moment)?,
                _ if changes.is_empty() => builtin.remove_services(&leaving, &id, force, moment)?,
                _ => {
                    let version = builtin.put_services(changes, &id, force, moment)?;
                    if !leaving.is_empty() {
                        builtin.remove_services(&leaving, &id, force, moment)?;
                    }
                    version
                }
            };
            builtin.kill_instances(&kills, moment);
            Ok::<u64, ServiceError>(version)
        });
        let version = done.await.ok_or_else(stopping)?;
        let version = version.map_err(|error| refused(&error))?;
        let apps = self.apps;
        for app in &apps {
            let shown = view::new_app(app.clone(), version, &deployment);
            asked.tell(Event::api_post(&asked.client(), &asked.uri, &shown));
        }
        Ok(Done {
            version,
            deployment,
            apps,
        })
    }
}

fn unfit(error: &DefinitionError) -> Refused {
    match error {
        DefinitionError::Field { field, reason } => {
            invalid(&Refusal::of(&format!("/{field}"), reason.clone()))
        }
        DefinitionError::Unread(reason) => refuse(StatusCode::UNPROCESSABLE_ENTITY, reason.clone()),
    }
}
