//! What an agent says on its link, and what of it the judges remember.
//!
//! Called by `board`. Invariant: a status of which the agent has written down that it was acknowledged is not said again.

use agentd_core::Event;
use nesos_wire::message::{AgentToMaster, MasterToAgent};

use crate::mutant::Mutant;
use crate::net::Frame;
use crate::world::World;

impl World {
    pub(crate) fn board_sends(&mut self, board: usize, message: AgentToMaster) {
        if let AgentToMaster::Update(update) = &message {
            let line = format!(
                "board {board} > {} {:?} {:?}",
                update.key, update.status.state, update.latest
            );
            self.trace(&line);
            if let Some(uuid) = update.status.uuid {
                let said = (update.key.clone(), update.status.state);
                self.said.insert(uuid, said);
                if self.boards[board].closed.contains(&uuid) {
                    self.fail(format!(
                        "board {board} repeats {line} after its acknowledgement"
                    ));
                }
                if self.is(Mutant::AcknowledgesItself) {
                    let key = update.key.clone();
                    let message = MasterToAgent::Acknowledge { key, uuid };
                    self.board_told(board, message);
                }
            }
        }
        if let AgentToMaster::Hello(hello) = &message {
            for report in &hello.tasks {
                let status = report.status.as_ref();
                if let Some((uuid, status)) = status.and_then(|status| Some((status.uuid?, status)))
                {
                    let said = (report.spec.key.clone(), status.state);
                    self.said.insert(uuid, said);
                }
            }
        }
        if let Some(conn) = self.boards[board].conn {
            self.send_up(conn, Frame::Data(Box::new(message)));
        }
    }

    /// As if the master had said so.
    fn board_told(&mut self, board: usize, message: MasterToAgent) {
        let moment = self.moment();
        let conn = self.boards[board].conn.map(|conn| &self.conns[conn]);
        let link = conn.map(|conn| conn.agent_link);
        if let (Some(link), Some(agent)) = (link, &mut self.boards[board].agent) {
            agent.step(Event::Message { link, message }, moment);
        }
    }
}
