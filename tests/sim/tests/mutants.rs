//! Each checker can fail: what each way of breaking a cluster is found by.
#![allow(clippy::unwrap_used, clippy::expect_used)]

use nesos_sim::{Mutant, run_mutant};

/// Seeds that are tried for each: not in every run that happens which is broken.
const MOST_SEEDS: u64 = 150;

/// Every checker's sentence, and the mutant that some run finds by it. That of guarantees has a test of its own (`quota`).
const PROOFS: [(&str, Mutant); 31] = [
    ("who refused it", Mutant::ForgetsRefusals),
    ("lies idle", Mutant::IsDeafToRevive),
    ("although", Mutant::SwapsOffers),
    ("who cannot have it", Mutant::SwapsOffers),
    ("who or which is not active", Mutant::OffersNowhere),
    ("its limit is", Mutant::OffersTwice),
    ("the registry that was loaded", Mutant::LosesRegistry),
    // The agent core's own check.
    ("more is in use than", Mutant::MakesResources),
    ("has made or lost something", Mutant::StartsWithLess),
    ("the master makes or loses something", Mutant::Boasts),
    ("the master says", Mutant::MisplacesReservations),
    ("never asked for", Mutant::RenamesOperations),
    ("ends twice", Mutant::EndsOperationsAnew),
    ("was given the id", Mutant::RenamesFrameworks),
    ("never launched", Mutant::RenamesTasks),
    ("after its acknowledged end", Mutant::EndsTwice),
    ("ends twice", Mutant::EndsAnew),
    ("is not what its agent said", Mutant::AltersUpdates),
    ("after its acknowledgement", Mutant::RepeatsUpdates),
    ("that was never acknowledged", Mutant::AcknowledgesItself),
    ("is answered twice", Mutant::AnswersTwice),
    ("is not answered", Mutant::SwallowsAnswers),
    ("master: executor", Mutant::SwallowsEnds),
    ("scheduler 0: ", Mutant::SwallowsUpdates),
    ("is left", Mutant::LeavesRemains),
    ("is launched twice", Mutant::LaunchesTwice),
    ("is handed over twice", Mutant::HandsOverTwice),
    ("which is alive", Mutant::LeaksProcesses),
    ("is over-committed", Mutant::Overcommits),
    ("is over-committed", Mutant::KeepsSizes),
    ("is Unreachable", Mutant::RefusesEarlier),
];

/// Sentences of other checkers that may come first in other runs.
fn others(mutant: Mutant) -> &'static [&'static str] {
    match mutant {
        // Others of the role come first, or take it.
        Mutant::IsDeafToRevive => &["although", "would take what is free"],
        Mutant::SwapsOffers => &["who refused it", "who or which is not active"],
        Mutant::MakesResources => &["has made or lost something", "the master says"],
        // An acknowledgement was under way.
        Mutant::EndsAnew => &["after its acknowledged end"],
        Mutant::EndsTwice => &["ends twice"],
        // Who never got in is not unreachable either.
        Mutant::RefusesEarlier => &["the master says"],
        Mutant::LeaksProcesses => &["runs twice", "is over-committed", "is alive"],
        _ => &[],
    }
}

/// What is wrong with the proofs that this mutant is for.
fn judge(mutant: Mutant) -> Vec<String> {
    let mut wanted: Vec<&str> = PROOFS
        .iter()
        .filter(|(_, of)| *of == mutant)
        .map(|(sentence, _)| *sentence)
        .collect();
    let own = wanted.clone();
    let mut wrong = Vec::new();
    for seed in 0..MOST_SEEDS {
        if wanted.is_empty() {
            break;
        }
        let Some(found) = run_mutant(seed, mutant, false).failure else {
            continue;
        };
        wanted.retain(|sentence| !found.contains(sentence));
        let mut known = own.iter().chain(others(mutant));
        if !known.any(|sentence| found.contains(sentence)) {
            wrong.push(format!(
                "{mutant:?}, seed {seed}: found by another checker: {found}"
            ));
        }
    }
    wrong.extend(
        wanted
            .iter()
            .map(|sentence| format!("{mutant:?} is never found by {sentence:?}")),
    );
    wrong
}

#[test]
fn each_checker_finds_its_mutant() {
    let wrong: Vec<String> = Mutant::ALL.into_iter().flat_map(judge).collect();
    assert!(wrong.is_empty(), "{wrong:#?}");
}
