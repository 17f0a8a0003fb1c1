//! Which boards an update is for, and in which order. Pure; the parent module asks the boards and does it.
//!
//! Invariant: the leader's board is the last, other masters' come right before it, so leadership moves once.

use crate::cluster::Node;
use nesos_base::bundle::Header;
use std::collections::BTreeMap;

/// What a board says of its image.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(super) struct Status {
    /// Its name in board-configs/.
    pub(super) board: String,
    /// Commit of what runs.
    pub(super) build_id: String,
    /// Version of what runs.
    pub(super) version: String,
    /// The slot that runs.
    pub(super) running: String,
    /// Whether that has yet to prove itself.
    pub(super) is_on_trial: bool,
    /// Names this start of the board.
    pub(super) boot_id: String,
    /// What became of the last update since this start: `committed b`, `failed b: why`.
    pub(super) last_update: String,
}

impl Status {
    /// From the agent's answer; what is missing is empty.
    pub(super) fn of(said: &BTreeMap<String, String>) -> Self {
        let text = |key: &str| said.get(key).cloned().unwrap_or_default();
        Self {
            board: text("board"),
            build_id: text("build_id"),
            version: text("version"),
            running: text("running"),
            is_on_trial: text("on_trial") == "true",
            boot_id: text("boot_id"),
            last_update: text("last_update"),
        }
    }

    /// Whether what runs is the bundle's.
    pub(super) fn runs(&self, bundle: &Header) -> bool {
        self.build_id == bundle.build_id && self.version == bundle.version
    }
}

/// What the cluster's leader calls a board among masters.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Rank {
    Agent,
    Master,
    Leader,
}

/// A board, and what it says, or why it says nothing.
#[derive(Debug, Clone)]
pub(super) struct Board {
    pub(super) node: Node,
    pub(super) rank: Rank,
    pub(super) status: Result<Status, String>,
}

/// What is to be done.
#[derive(Debug, Default)]
pub(super) struct Plan {
    /// In this order; the first is the canary.
    pub(super) update: Vec<Board>,
    /// Boards that run it already.
    pub(super) current: Vec<Board>,
    /// Boards that are left out, and why.
    pub(super) left_out: Vec<(String, String)>,
}

/// Plans `bundle` for those of `boards` that `wanted` names (empty: all).
pub(super) fn plan(boards: Vec<Board>, bundle: &Header, wanted: &[String]) -> Plan {
    let mut plan = Plan::default();
    for board in boards {
        let name = board.node.name.clone();
        if !wanted.is_empty() && !wanted.iter().any(|text| board.node.answers_to(text)) {
            continue;
        }
        let left_out = match &board.status {
            Err(why) => Some(why.clone()),
            Ok(status) if status.board != bundle.board => Some(format!(
                "it is a '{}', the bundle is for '{}'",
                status.board, bundle.board
            )),
            Ok(status) if status.runs(bundle) && !status.is_on_trial => {
                plan.current.push(board);
                continue;
            }
            Ok(status) if status.is_on_trial => {
                Some("what it runs has yet to prove itself".to_owned())
            }
            Ok(_) if board.node.state == "unreachable" => Some("it cannot be reached".to_owned()),
            Ok(_) => None,
        };
        match left_out {
            Some(why) => plan.left_out.push((name, why)),
            None => plan.update.push(board),
        }
    }
    plan.update
        .sort_by(|a, b| (a.rank, &a.node.name).cmp(&(b.rank, &b.node.name)));
    plan
}

/// What is to be thought of a board that was told to restart.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Verdict {
    /// It has not come back, or is on trial.
    Wait(&'static str),
    /// It runs the bundle and keeps it.
    Updated,
    /// It runs something else, and why.
    Failed(String),
}

/// Judges `now` of a board that said `before` when it was given the bundle.
pub(super) fn judge(before: &Status, now: &Status, bundle: &Header) -> Verdict {
    if now.boot_id == before.boot_id {
        return Verdict::Wait("it has yet to restart");
    }
    if now.runs(bundle) {
        return match now.is_on_trial {
            true => Verdict::Wait("it is on trial"),
            false => Verdict::Updated,
        };
    }
    Verdict::Failed(match now.last_update.strip_prefix("failed ") {
        Some(why) => format!("it came back as it was: slot {why}"),
        None => format!("it runs {} {}", now.version, now.build_id),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn bundle() -> Header {
        Header {
            board: "rpi3".into(),
            version: "2".into(),
            build_id: "new".into(),
            build_time: 0,
            command_line: String::new(),
            kernel: String::new(),
            device_tree: None,
            files: Vec::new(),
            chunks: Vec::new(),
        }
    }

    fn status(build_id: &str) -> Status {
        Status {
            board: "rpi3".into(),
            build_id: build_id.into(),
            version: "2".into(),
            running: "a".into(),
            boot_id: "1".into(),
            ..Status::default()
        }
    }

    fn board(name: &str, rank: Rank, status: Result<Status, String>) -> Board {
        Board {
            node: Node {
                agent: format!("m-{name}"),
                name: name.to_owned(),
                address: "10.0.0.1:5051".to_owned(),
                active: true,
                state: "active",
                total: Default::default(),
                used: Default::default(),
                version: String::new(),
            },
            rank,
            status,
        }
    }

    fn names(boards: &[Board]) -> Vec<&str> {
        boards
            .iter()
            .map(|board| board.node.name.as_str())
            .collect()
    }

    #[test]
    fn agents_come_first_and_the_leader_last() {
        let boards = vec![
            board("l", Rank::Leader, Ok(status("old"))),
            board("b", Rank::Agent, Ok(status("old"))),
            board("m", Rank::Master, Ok(status("old"))),
            board("a", Rank::Agent, Ok(status("old"))),
        ];
        let plan = plan(boards, &bundle(), &[]);
        assert_eq!(names(&plan.update), ["a", "b", "m", "l"]);
        assert!(plan.left_out.is_empty() && plan.current.is_empty());
    }

    #[test]
    fn boards_that_run_it_or_cannot_take_it_are_told_apart() {
        let other = Status {
            board: "rpi4".into(),
            ..status("old")
        };
        let trying = Status {
            is_on_trial: true,
            ..status("new")
        };
        let boards = vec![
            board("a", Rank::Agent, Ok(status("new"))),
            board("b", Rank::Agent, Ok(other)),
            board("c", Rank::Agent, Err("no slots".into())),
            board("d", Rank::Agent, Ok(trying)),
            board("e", Rank::Agent, Ok(status("old"))),
        ];
        let all = plan(boards.clone(), &bundle(), &[]);
        assert_eq!(names(&all.update), ["e"]);
        assert_eq!(names(&all.current), ["a"]);
        let out: Vec<_> = all.left_out.iter().map(|(name, _)| name.as_str()).collect();
        assert_eq!(out, ["b", "c", "d"]);
        assert!(all.left_out[0].1.contains("'rpi4'"));
        let some = plan(boards, &bundle(), &["c".to_owned()]);
        assert_eq!((some.update.len(), some.left_out.len()), (0, 1));
    }

    #[test]
    fn a_board_is_judged_after_its_restart() {
        let before = status("old");
        let after = |build: &str| Status {
            boot_id: "2".into(),
            ..status(build)
        };
        let judge = |now: &Status| super::judge(&before, now, &bundle());
        assert!(matches!(judge(&before), Verdict::Wait(_)));
        let stale = Status {
            last_update: "failed b: of yesterday".into(),
            ..before.clone()
        };
        assert!(matches!(judge(&stale), Verdict::Wait(_)));
        let trying = Status {
            is_on_trial: true,
            ..after("new")
        };
        assert!(matches!(judge(&trying), Verdict::Wait(_)));
        assert_eq!(judge(&after("new")), Verdict::Updated);
        let back = Status {
            last_update: "failed b: no leader".into(),
            ..after("old")
        };
        match judge(&back) {
            Verdict::Failed(why) => assert!(why.contains("no leader"), "{why}"),
            other => panic!("{other:?}"),
        }
        assert!(matches!(judge(&after("old")), Verdict::Failed(_)));
    }
}
