//! wip
use crate::{event::*, master::Master, call::Call};
use nesos_base::time::Instant;
use nesos_wire::{message::{AgentToMaster, Hello}, AgentId, FrameworkId, TaskKey};
impl Master {
    pub(crate) fn agent_hello(&mut self, _: LinkId, _: Hello) {}
    pub(crate) fn agent_message(&mut self, _: LinkId, _: AgentToMaster) {}
    pub(crate) fn agent_closed(&mut self, _: LinkId) {}
    pub(crate) fn subscribe(&mut self, _: Subscribe) {}
    pub(crate) fn call(&mut self, _: &FrameworkId, _: Call) {}
    pub(crate) fn stream_closed(&mut self, _: StreamId) {}
    pub(crate) fn operator_teardown(&mut self, _: RequestId, _: &FrameworkId) {}
    pub(crate) fn operator_kill(&mut self, _: RequestId, _: &TaskKey, _: Option<u32>) {}
    pub(crate) fn read_file(&mut self, _: RequestId, _: TaskKey, _: String, _: u64, _: u32) {}
    pub(crate) fn make_offers(&mut self) {}
    pub(crate) fn recover(&mut self) {}
    pub(crate) fn heartbeat_due(&mut self, _: StreamId, _: Instant) {}
    pub(crate) fn ping_due(&mut self, _: LinkId) {}
    pub(crate) fn unreachable_due(&mut self, _: &AgentId, _: Instant) {}
    pub(crate) fn removal_due(&mut self, _: &FrameworkId, _: Instant) {}
    pub(crate) fn request_due(&mut self, _: RequestId) {}
}
