//! Each checker can fail: what each way of breaking a cluster is found by.
#![allow(clippy::unwrap_used, clippy::expect_used)]

use nesos_sim::{Mutant, run_mutant};

/// Seeds that are tried for each: not in every run that happens which is broken.
const MOST_SEEDS: u64 = 150;

/// The sentences of the checkers that may notice it first.
fn sentences(mutant: Mutant) -> &'static [&'static str] {
    match mutant {
        Mutant::ForgetsRefusals => &["refused it"],
        // The others of the role, whom the checkers believe to be asked again, come first or take it.
        Mutant::IsDeafToRevive => &["would take it", "would take what is free", "although"],
        Mutant::SwapsOffers => &[
            "although",
            "who cannot have it",
            "who or which is not active",
        ],
        Mutant::OffersTwice => &["its limit is"],
        Mutant::LosesRegistry => &["the registry that was loaded is not the one that was written"],
        // The second is the agent core's own check, made after each of its steps.
        Mutant::MakesResources => &["has made or lost something", "more is in use than"],
        Mutant::SwallowsUpdates => &["not settled"],
        Mutant::EndsTwice => &["ends twice", "after its acknowledged end"],
        Mutant::AltersUpdates => &["is not what its agent said"],
        Mutant::AcknowledgesItself => &["that was never acknowledged"],
        Mutant::LaunchesTwice => &["is launched twice"],
        Mutant::HandsOverTwice => &["is handed over twice"],
        Mutant::LeaksProcesses => &["which is alive", "runs twice", "is over-committed"],
        Mutant::Overcommits => &["is over-committed"],
    }
}

/// Nothing: the mutant is found by its checker; else what is wrong with that.
fn judge(mutant: Mutant) -> Option<String> {
    let mut seeds = 0..MOST_SEEDS;
    let found = seeds.find_map(|seed| Some((seed, run_mutant(seed, mutant, false).failure?)));
    let Some((seed, found)) = found else {
        return Some(format!("{mutant:?}: nobody notices"));
    };
    let expected = sentences(mutant);
    let is_found = expected.iter().any(|sentence| found.contains(sentence));
    (!is_found).then(|| format!("{mutant:?}, seed {seed}: found by another checker: {found}"))
}

#[test]
fn each_mutant_is_found_by_its_checker() {
    let wrong: Vec<String> = Mutant::ALL.into_iter().filter_map(judge).collect();
    assert!(wrong.is_empty(), "{wrong:#?}");
}
