//! `/registrar(1)/registry`: what the master has promised and keeps on disk, in the shape of Mesos's registry.
//!
//! Only reads; called by the router. Of agents the registry knows who they are, not what they have. What Mesos's has no
//! place for (the frameworks) stands in `nesos`.

use hyper::Response;
use masterd_core::schedule::Mode;
use masterd_core::{Master, View};
use nesos_api::v1;
use nesos_wire::command::AgentRecord;
use nesos_wire::maintenance::MachineId;
use serde_json::{Value, json};

use super::answer::Body;
use super::{Context, reads};
use crate::convert::{maintenance, operator, shares};

/// Answers with all of it.
pub(super) async fn show(context: &Context) -> Response<Body> {
    let about = context.app.about.clone();
    let key = ("/registrar(1)/registry", String::new());
    let shown = move |master: &View| registry(master, &about.master_info(master.id()));
    reads::json(context, key, shown).await
}

fn registry(master: &Master, info: &v1::MasterInfo) -> Value {
    let registry = master.registry();
    let here = registry
        .agents()
        .filter(|agent| agent.unreachable_since.is_none());
    let lost = registry
        .agents()
        .filter_map(|agent| Some((agent, agent.unreachable_since?)));
    let gone = registry
        .gone()
        .map(|(id, since)| json!({"id": {"value": id.as_str()}, "timestamp": time(since)}));
    let schedule = maintenance::schedule(master);
    let frameworks = registry.frameworks().map(|known| known.framework.as_str());
    json!({
        "master": {"info": info},
        "slaves": {"slaves": here.map(slave).collect::<Vec<_>>()},
        "unreachable": {"slaves": lost.map(unreachable).collect::<Vec<_>>()},
        "gone": {"slaves": gone.collect::<Vec<_>>()},
        "machines": {"machines": machines(master)},
        "schedules": if schedule.windows.is_empty() { vec![] } else { vec![schedule] },
        "quota_configs": shares::quota_status(master).configs,
        "weights": shares::weight_infos(master)
            .iter()
            .map(|info| json!({ "info": info }))
            .collect::<Vec<_>>(),
        "nesos": {
            "starts": registry.start(),
            "frameworks": frameworks.collect::<Vec<_>>(),
        },
    })
}

fn slave(agent: &AgentRecord) -> Value {
    let info = json!({
        "id": {"value": agent.agent.as_str()},
        "hostname": agent.hostname,
        "port": agent.port,
    });
    let mut shown = json!({ "info": info });
    put_upkeep(agent, &mut shown);
    shown
}

fn unreachable((agent, since): (&AgentRecord, f64)) -> Value {
    let mut shown = json!({
        "id": {"value": agent.agent.as_str()},
        "timestamp": time(since),
    });
    put_upkeep(agent, &mut shown);
    shown
}

fn put_upkeep(agent: &AgentRecord, shown: &mut Value) {
    if let Some(drain) = &agent.upkeep.drain {
        shown["drain_info"] = json!(operator::drain_info(drain));
    }
    shown["deactivated"] = json!(agent.upkeep.deactivated);
}

fn machines(master: &Master) -> Vec<Value> {
    let schedule = master.schedule();
    let of = |mode: Mode, name: &'static str| {
        let machines = schedule.machines(mode);
        machines.map(move |id| machine(master, id, name))
    };
    of(Mode::Draining, "DRAINING")
        .chain(of(Mode::Down, "DOWN"))
        .collect()
}

fn machine(master: &Master, id: &MachineId, mode: &str) -> Value {
    let mut info = json!({"id": maintenance::machine(id), "mode": mode});
    if let Some(when) = master.schedule().unavailability(id) {
        info["unavailability"] = json!(maintenance::unavailability(&when));
    }
    json!({ "info": info })
}

fn time(seconds: f64) -> Value {
    json!(operator::time(seconds))
}
