//! A slot on trial: found at the boot, watched until the gate's verdict, then committed or left; and what is said when the board has
//! come back to its old slot.
//!
//! Called by `boot` (as a phase, and when all phases are done) and `shutdown`. Not here: what the boot loader reads (`slots`). Invariant:
//! a slot on trial becomes the committed one by a verdict only; without one the next start is of the old slot, or, after an orderly
//! restart, of this one again.

mod gate;

use crate::board::{BOOT, Board, Configuration};
use crate::phase::Outcome;
use crate::services;
use crate::slots::{BootPartition, SlotError, Slots};
use embassy_time::{Duration, Instant, Timer};
use gate::{Facts, Gate, Verdict};
use nesos_base::slots::{Slot, State};
use nesos_sys::reboot::Ending;
use std::fs;
use std::io::Read;
use std::rc::Rc;

/// Where agentd says how its self-test went, and masterd that it has its place.
pub(crate) const SELF_TEST: &str = "/run/nesos/self-test";
pub(crate) const MASTER_READY: &str = "/run/nesos/masterd-ready";
/// What became of the last update, for a person who puts the card into a reader.
const LAST_UPDATE: &str = "last-update.txt";
/// In a slot's folder: why it was left.
const FAILED: &str = "failed";
/// The same for agentd, which tells the master: `committed SLOT` or `failed SLOT`, and in the second case why.
const REPORT: &str = "/run/nesos/update";
/// How often the facts are looked at.
const LOOK_EVERY: Duration = Duration::from_millis(500);
/// Longest reason that is read back.
const REASON_MAX: u64 = 1024;

/// How far the trial is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Stage {
    /// No verdict yet.
    Open,
    /// Committed.
    Good,
    /// To be left.
    Bad,
}

/// The trial of the slot that runs.
#[derive(Debug, Clone)]
pub(crate) struct Trial {
    slots: Slots,
    slot: Slot,
    stage: Stage,
}

/// The phase: which slot runs, and whether on trial.
pub(crate) fn find(board: &Board) -> Outcome {
    let line = board.command_line.borrow().clone();
    let (Some(loader), Some(running)) = (line.loader, line.slot) else {
        return Outcome::Done("none: started without a boot loader that knows them".to_owned());
    };
    let Some(disk) = board.disk.borrow().clone() else {
        return Outcome::Degraded("no disk".to_owned());
    };
    let slots = Slots::new(loader, disk, BootPartition::mounted(BOOT));
    let state = match slots.state() {
        Ok(state) => state,
        Err(error) => return Outcome::Degraded(error.to_string()),
    };
    match state {
        State {
            trial: Some(trial), ..
        } if trial.slot == running => {
            *board.trial.borrow_mut() = Some(Trial {
                slots,
                slot: running,
                stage: Stage::Open,
            });
            Outcome::Done(format!("{running}, on trial"))
        }
        State {
            trial: Some(trial), ..
        } if trial.tries == 0 => fallen_back(&slots, running, trial.slot),
        State { committed, .. } if committed != running => Outcome::Degraded(format!(
            "{running}: slot {committed}, which worked before, cannot be loaded any more"
        )),
        _ => Outcome::Done(running.to_string()),
    }
}

/// What became of the slot `left`, and that nothing is on trial any more.
fn fallen_back(slots: &Slots, running: Slot, left: Slot) -> Outcome {
    let reason = read_reason(slots, left).unwrap_or_else(|| {
        "it did not come up: it hung, crashed or lost power before it could say why".to_owned()
    });
    let sentence =
        format!("the update in slot {left} failed, this is slot {running} again: {reason}");
    let told = tell(
        slots,
        &sentence,
        &format!("failed {}\n{reason}\n", left.letter()),
    );
    let settled = slots.settle(running);
    match told.and(settled) {
        Ok(()) => Outcome::Degraded(sentence),
        Err(error) => Outcome::Degraded(format!("{sentence}; not written down: {error}")),
    }
}

fn read_reason(slots: &Slots, slot: Slot) -> Option<String> {
    let path = slots.boot().path(&format!("{}/{FAILED}", slot.folder()));
    let mut text = String::new();
    let file = fs::File::open(path).ok()?;
    file.take(REASON_MAX).read_to_string(&mut text).ok()?;
    Some(text.trim().replace('\n', " "))
}

fn tell(slots: &Slots, sentence: &str, report: &str) -> Result<(), SlotError> {
    // In memory, and read by agentd alone: without it the master learns the same from the version that joins.
    let _ = fs::write(REPORT, report);
    let _writable = slots.boot().writable()?;
    slots
        .boot()
        .write(LAST_UPDATE, format!("{sentence}\n").as_bytes())
}

/// True while the slot that runs has to prove itself.
pub(crate) fn is_open(board: &Board) -> bool {
    let trial = board.trial.borrow();
    trial
        .as_ref()
        .is_some_and(|trial| trial.stage == Stage::Open)
}

/// Waits for the verdict and obeys it.
pub(crate) async fn watch(board: Rc<Board>) {
    let mut gate = Gate::default();
    while is_open(&board) {
        match gate.step(&facts(&board), Instant::now()) {
            Verdict::Wait => Timer::after(LOOK_EVERY).await,
            Verdict::Commit => commit(&board),
            Verdict::Fail(why) => fail(&board, &why),
        }
    }
}

fn facts(board: &Board) -> Facts {
    let expected = services::expected(board);
    let self_test = fs::read_to_string(SELF_TEST).ok();
    let mut missing = Vec::new();
    if *board.configuration.borrow() == Configuration::Refused {
        // The old image took it, or nothing would have updated this board.
        missing.push("cluster.toml is refused");
    }
    if expected.contains(&"agentd") && self_test.is_none() {
        missing.push("agentd has joined no master");
    }
    if expected.contains(&"masterd") && !fs::exists(MASTER_READY).unwrap_or(false) {
        missing.push("masterd knows no leader");
    }
    Facts {
        failed_phase: board.failed_phase.get(),
        daemon_ends: board.services.ends(),
        missing,
        failed_test: self_test
            .map(|text| text.trim().to_owned())
            .filter(|text| text != "ok"),
    }
}

fn commit(board: &Board) {
    let Some(trial) = board.trial.borrow().clone() else {
        return;
    };
    match trial.slots.commit(trial.slot) {
        Ok(()) => {
            set_stage(board, Stage::Good);
            let sentence = format!("slot {} has proven itself and stays", trial.slot);
            let report = format!("committed {}\n", trial.slot.letter());
            let told = tell(&trial.slots, &sentence, &report);
            board.say("trial", &sentence);
            if let Err(error) = told {
                board.say("trial", &error.to_string());
            }
        }
        Err(error) => fail(board, &format!("it works but cannot be kept: {error}")),
    }
}

/// Writes down why the slot is left, and restarts into the old one.
pub(crate) fn fail(board: &Board, why: &str) {
    let Some(trial) = board.trial.borrow().clone() else {
        return;
    };
    set_stage(board, Stage::Bad);
    let name = format!("{}/{FAILED}", trial.slot.folder());
    let written = trial.slots.boot().writable().and_then(|_writable| {
        trial
            .slots
            .boot()
            .write(&name, format!("{why}\n").as_bytes())
    });
    if let Err(error) = written {
        board.say("trial", &error.to_string());
    }
    board.end(
        Ending::Restart,
        &format!("slot {} is left: {why}", trial.slot),
    );
}

/// The board ends in order: a trial without a verdict may be repeated.
pub(crate) fn ending(board: &Board) {
    let trial = board.trial.borrow().clone();
    if let Some(trial) = trial.filter(|trial| trial.stage == Stage::Open)
        && let Err(error) = trial.slots.give_back()
    {
        board.say("trial", &error.to_string());
    }
}

fn set_stage(board: &Board, stage: Stage) {
    if let Some(trial) = board.trial.borrow_mut().as_mut() {
        trial.stage = stage;
    }
}
