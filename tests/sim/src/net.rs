//! The network between boards and master: connections whose frames stay in order, but which stall and break anywhere.
//!
//! A partition stalls what is under way until it ends (TCP repeats), and dials time out; a break loses what is under way,
//! and either side notices at its own time. Invariant: within one direction of one connection nothing is overtaken.

use agentd_core::{Event as AgentEvent, LinkError};
use masterd_core::{Event as MasterEvent, LinkId};
use nesos_base::time::{Duration, Instant};
use nesos_wire::message::{AgentToMaster, MasterToAgent};

use crate::planned::Planned;
use crate::upgrade;
use crate::world::World;

/// What travels.
#[derive(Debug)]
pub(crate) enum Frame<T> {
    /// The dial has succeeded (to the agent only).
    Up,
    Data(Box<T>),
    Close,
}

/// One connection.
#[derive(Debug)]
pub(crate) struct Conn {
    pub(crate) board: usize,
    pub(crate) board_generation: u64,
    /// The agent's number.
    pub(crate) agent_link: u64,
    /// The master's number.
    pub(crate) link: LinkId,
    pub(crate) master_generation: u64,
    pub(crate) is_broken: bool,
    /// The master's end was closed by the master or has noticed the close.
    pub(crate) is_master_done: bool,
    pub(crate) is_board_done: bool,
    last_up: Instant,
    last_down: Instant,
}

impl World {
    pub(crate) fn dial(&mut self, board: usize, link: u64) {
        let generation = self.boards[board].generation;
        if self.boards[board].partitioned_until > self.now {
            let after = self.rng.millis(1000, 4000);
            self.plan(
                after,
                Planned::DialFailed {
                    board,
                    generation,
                    link,
                },
            );
        } else {
            let after = self.rng.latency();
            self.plan(
                after,
                Planned::Dial {
                    board,
                    generation,
                    link,
                },
            );
        }
    }

    pub(crate) fn dial_arrives(&mut self, board: usize, generation: u64, link: u64) {
        let after = self.rng.latency();
        if self.master.core.is_none() || (!self.is_healed && self.rng.chance(5)) {
            self.plan(
                after,
                Planned::DialFailed {
                    board,
                    generation,
                    link,
                },
            );
            return;
        }
        let number = LinkId(self.master.next_link);
        self.master.next_link += 1;
        self.trace(&format!("accept board {board} link {link} as {}", number.0));
        self.conns.push(Conn {
            board,
            board_generation: generation,
            agent_link: link,
            link: number,
            master_generation: self.master.generation,
            is_broken: false,
            is_master_done: false,
            is_board_done: false,
            last_up: self.now,
            last_down: self.now,
        });
        let conn = self.conns.len() - 1;
        self.master.links.insert(number, conn);
        self.send_down(conn, Frame::Up);
    }

    pub(crate) fn dial_failed(&mut self, board: usize, generation: u64, link: u64) {
        if self.boards[board].generation == generation {
            let error = LinkError::Failed("connection refused".into());
            self.board_event(board, AgentEvent::LinkDown { link, error });
        }
    }

    pub(crate) fn send_up(&mut self, conn: usize, frame: Frame<AgentToMaster>) {
        let at = (self.now + self.rng.latency()).max(self.conns[conn].last_up);
        self.conns[conn].last_up = at;
        self.plan_at(at, Planned::ToMaster { conn, frame });
    }

    pub(crate) fn send_down(&mut self, conn: usize, frame: Frame<MasterToAgent>) {
        let at = (self.now + self.rng.latency()).max(self.conns[conn].last_down);
        self.conns[conn].last_down = at;
        self.plan_at(at, Planned::ToBoard { conn, frame });
    }

    /// Everything under way is lost; both ends learn that the connection is over, each in its own time.
    pub(crate) fn break_conn(&mut self, conn: usize) {
        if std::mem::replace(&mut self.conns[conn].is_broken, true) {
            return;
        }
        for is_up in [true, false] {
            let after = self.rng.millis(0, 4000);
            let at = self.now + after;
            if is_up {
                self.plan_at(
                    at,
                    Planned::ToMaster {
                        conn,
                        frame: Frame::Close,
                    },
                );
            } else {
                self.plan_at(
                    at,
                    Planned::ToBoard {
                        conn,
                        frame: Frame::Close,
                    },
                );
            }
        }
    }

    pub(crate) fn master_hears(&mut self, conn: usize, frame: Frame<AgentToMaster>) {
        if let Some(at) = self.stalled_until(conn) {
            self.plan_at(at, Planned::ToMaster { conn, frame });
            return;
        }
        let known = &self.conns[conn];
        if known.is_master_done
            || known.master_generation != self.master.generation
            || self.master.core.is_none()
        {
            return;
        }
        let link = known.link;
        match frame {
            Frame::Data(_) if known.is_broken => {}
            Frame::Data(message) => {
                if !self.is_healed && self.rng.once_in(400) {
                    self.break_conn(conn);
                    return;
                }
                if let AgentToMaster::Hello(hello) = &*message {
                    let master = upgrade::window(self.seed, 0, self.master.generation);
                    self.mixed.note(master, hello.version);
                }
                let event = match *message {
                    AgentToMaster::Hello(hello) => MasterEvent::AgentHello {
                        link,
                        hello: Box::new(hello),
                    },
                    message => MasterEvent::AgentMessage { link, message },
                };
                self.master_event(event);
            }
            Frame::Close | Frame::Up => {
                self.conns[conn].is_master_done = true;
                self.master.links.remove(&link);
                self.master_event(MasterEvent::AgentClosed { link });
            }
        }
    }

    pub(crate) fn board_hears(&mut self, conn: usize, frame: Frame<MasterToAgent>) {
        if let Some(at) = self.stalled_until(conn) {
            self.plan_at(at, Planned::ToBoard { conn, frame });
            return;
        }
        let known = &self.conns[conn];
        let board = known.board;
        let link = known.agent_link;
        if known.is_board_done {
            return;
        }
        if known.board_generation != self.boards[board].generation
            || self.boards[board].agent.is_none()
        {
            // Nobody is there (any more): the kernel answers with a reset.
            self.conns[conn].is_board_done = true;
            if !self.conns[conn].is_broken {
                self.send_up(conn, Frame::Close);
            }
            return;
        }
        match frame {
            Frame::Up if known.is_broken => {}
            Frame::Up => {
                self.boards[board].conn = Some(conn);
                self.board_event(board, AgentEvent::LinkUp { link });
            }
            Frame::Data(_) if known.is_broken => {}
            Frame::Data(message) => {
                if !self.is_healed && self.rng.once_in(400) {
                    self.break_conn(conn);
                    return;
                }
                self.board_event(
                    board,
                    AgentEvent::Message {
                        link,
                        message: *message,
                    },
                );
            }
            Frame::Close => {
                self.conns[conn].is_board_done = true;
                if self.boards[board].conn == Some(conn) {
                    self.boards[board].conn = None;
                }
                let error = LinkError::Failed("closed by the master".into());
                self.board_event(board, AgentEvent::LinkDown { link, error });
            }
        }
    }

    /// The master closes its end: what it sent before still arrives.
    pub(crate) fn master_closes(&mut self, conn: usize) {
        self.master.links.remove(&self.conns[conn].link);
        if !std::mem::replace(&mut self.conns[conn].is_master_done, true)
            && !self.conns[conn].is_broken
        {
            self.send_down(conn, Frame::Close);
        }
    }

    /// The board closes its end, or its process ends. Without a word if its power is gone.
    pub(crate) fn board_closes(&mut self, conn: usize, is_silent: bool) {
        if self.boards[self.conns[conn].board].conn == Some(conn) {
            let board = self.conns[conn].board;
            self.boards[board].conn = None;
        }
        if !std::mem::replace(&mut self.conns[conn].is_board_done, true)
            && !self.conns[conn].is_broken
            && !is_silent
        {
            self.send_up(conn, Frame::Close);
        }
    }

    fn stalled_until(&self, conn: usize) -> Option<Instant> {
        let until = self.boards[self.conns[conn].board].partitioned_until;
        (until > self.now).then_some(until)
    }
}

/// How long a partition lasts.
pub(crate) fn partition_length(world: &mut World) -> Duration {
    world.rng.millis(1000, 80_000)
}
