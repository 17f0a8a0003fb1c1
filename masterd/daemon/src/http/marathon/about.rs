//! `/v2/info` and `/v2/leader`: who schedules services.
//!
//! Called by `mod`. The scheduler is part of the master that leads, so its leader is that one's.

use hyper::StatusCode;
use masterd_core::builtin::{FRAMEWORK, ROLE};
use nesos_api::marathon::about::{HttpConfig, Info, MarathonConfig};
use nesos_api::marathon::ports::CHOSEN;
use serde_json::json;

use super::{Answer, Asked, refuse, stopping};
use crate::about::NESOS_VERSION;

/// The version of Marathon whose API this is.
const VERSION: &str = "1.11.0";

/// `/v2/info`
pub(super) fn info(asked: &Asked<'_>) -> Answer {
    if asked.method != "GET" {
        return Err(asked.not_allowed("GET"));
    }
    let about = &asked.context.app.about;
    let info = Info {
        name: "marathon",
        version: VERSION,
        buildref: format!("nesos-{NESOS_VERSION}"),
        framework_id: FRAMEWORK.to_owned(),
        leader: about.endpoint(),
        elected: true,
        marathon_config: MarathonConfig {
            master: about.endpoint(),
            framework_name: FRAMEWORK,
            hostname: about.hostname.clone(),
            mesos_role: ROLE,
            checkpoint: true,
            ha: true,
            local_port_min: *CHOSEN.start(),
            local_port_max: *CHOSEN.end(),
            features: [],
        },
        http_config: HttpConfig {
            http_port: about.port,
            https_port: about.port,
        },
        zookeeper_config: Default::default(),
    };
    super::json(StatusCode::OK, &info)
}

/// `/v2/leader`; DELETE has another master lead.
pub(super) async fn leader(asked: &Asked<'_>) -> Answer {
    let app = &asked.context.app;
    if asked.method == "GET" {
        return super::json(StatusCode::OK, &json!({"leader": app.about.endpoint()}));
    }
    if asked.method != "DELETE" {
        return Err(asked.not_allowed("GET, DELETE"));
    }
    let done = app.engine.replica(|replica| replica.hand_over(None)).await;
    match done.ok_or_else(stopping)? {
        Ok(_) => super::json(StatusCode::OK, &json!({"message": "Leadership abdicated"})),
        Err(error) => Err(refuse(StatusCode::CONFLICT, error.to_string())),
    }
}
