//! Groups of one, three and five masters under loss, partitions and power cuts; nothing here takes real time.
#![allow(clippy::unwrap_used)]

mod disk;
mod group;
mod versions;

use std::panic::{AssertUnwindSafe, catch_unwind};

use group::{Group, QUIET, Troubles, contradiction};
use masterd_core::consensus::{Consensus, ProposeError, Restored};
use nesos_base::time::{Duration, Instant};
use raft_proto::eraftpb::{ConfChangeType, ConfChangeV2};
use raft_proto::new_conf_change_single;

/// Seeds in every run of the tests; `NESOS_CONSENSUS_SEEDS` asks for others.
const SEEDS: u64 = 500;

fn ms(value: u64) -> Duration {
    Duration::from_millis(value)
}

fn has_leader(group: &Group) -> bool {
    group.leader().is_some()
}

/// A group that has a leader, and something in its log.
fn settled(count: u64, seed: u64) -> Group {
    let mut group = Group::new(count, seed, QUIET);
    group.until(ms(2000), has_leader).unwrap();
    assert!(group.propose());
    group.run(ms(300));
    group.judge_states();
    group
}

#[test]
fn a_master_alone_leads_at_once_and_commits_what_it_has_stored() {
    let mut group = Group::new(1, 7, QUIET);
    let waited = group.until(ms(100), has_leader).unwrap();
    assert!(waited < ms(1), "{waited:?}");
    for _ in 0..10 {
        assert!(group.propose());
    }
    assert_eq!((group.state(1).len(), group.known.len()), (10, 10));
    group.crash(1, false);
    group.start(1);
    group.until(ms(100), has_leader).unwrap();
    group.run(ms(1));
    assert_eq!(group.state(1).len(), 10);
}

#[test]
fn a_log_that_contradicts_itself_is_refused_in_words() {
    let now = Instant::from_secs(1);
    let refused = Consensus::new(1, contradiction(), 1, now).unwrap_err();
    assert!(
        refused.to_string().contains("9 is said to be committed"),
        "{refused}"
    );
    assert!(Consensus::new(0, Restored::default(), 1, now).is_err());
    let mut gap = Restored::founder(1);
    gap.entries = vec![raft_proto::eraftpb::Entry {
        index: 3,
        term: 1,
        ..Default::default()
    }];
    let refused = Consensus::new(1, gap, 1, now).unwrap_err();
    assert!(refused.to_string().contains("where 2"), "{refused}");
}

#[test]
fn only_the_leader_takes_proposals_and_others_name_it() {
    let mut group = settled(3, 11);
    let leader = group.leader().unwrap();
    let other = group
        .numbers()
        .into_iter()
        .find(|number| *number != leader)
        .unwrap();
    let refused = group.consensus(other).unwrap().propose(vec![1]);
    assert_eq!(
        refused,
        Err(ProposeError::NotLeader {
            leader: Some(leader)
        })
    );
}

#[test]
fn a_closed_connection_hurries_the_election_and_silence_ends_in_one_as_well() {
    let (mut hurried, mut patient) = (Vec::new(), Vec::new());
    for seed in 0..100 {
        for (notice, times) in [(true, &mut hurried), (false, &mut patient)] {
            let mut group = settled(3, seed);
            let old = group.leader().unwrap();
            group.crash(old, notice);
            let known = group.known.len();
            let begin = group.now;
            group.until(ms(3000), has_leader).unwrap();
            assert!(group.propose());
            group
                .until(ms(3000), |group| group.known.len() > known)
                .unwrap();
            times.push((group.now - begin).as_millis());
        }
    }
    hurried.sort_unstable();
    patient.sort_unstable();
    eprintln!(
        "leader gone to the next commit, ms: noticed p50 {} p99 {}; silent p50 {} p99 {}",
        hurried[50], hurried[99], patient[50], patient[99]
    );
    assert!(hurried[50] <= 30 && hurried[99] <= 250, "{hurried:?}");
    assert!(patient[50] <= 450 && patient[99] <= 800, "{patient:?}");
}

#[test]
fn a_follower_that_lost_its_connection_disturbs_nobody() {
    let mut group = settled(3, 5);
    let leader = group.leader().unwrap();
    let term = group.consensus(leader).unwrap().role().term;
    let other = group
        .numbers()
        .into_iter()
        .find(|number| *number != leader)
        .unwrap();
    let now = group.now;
    group.order(other, |consensus| consensus.lost(leader, now));
    group.run(ms(1000));
    let role = group.consensus(leader).unwrap().role();
    assert!(role.leads && role.term == term, "{role:?}");
}

#[test]
fn a_leader_notices_a_follower_that_says_nothing_any_more() {
    let mut group = settled(3, 29);
    let leader = group.leader().unwrap();
    let others = group.numbers().into_iter().filter(|one| *one != leader);
    let [lost, left] = others.collect::<Vec<_>>()[..] else {
        panic!("three members");
    };
    group.run(ms(2000));
    let silent = |group: &mut Group| {
        let consensus = group.consensus(leader).unwrap();
        [lost, left, leader].map(|one| consensus.is_silent(one))
    };
    assert_eq!(silent(&mut group), [false; 3], "all answer");
    // As a board whose power was cut: no connection breaks.
    group.crash(lost, false);
    group.run(ms(400));
    assert_eq!(silent(&mut group), [false; 3], "too early to say");
    group.run(ms(300));
    assert_eq!(silent(&mut group), [true, false, false]);
    let follower = group.consensus(left).unwrap();
    assert!(
        !follower.is_silent(lost),
        "followers do not hear each other"
    );
    group.start(lost);
    group.run(ms(200));
    assert_eq!(silent(&mut group), [false; 3], "it is back");
}

#[test]
fn a_leader_is_sure_after_one_round_and_one_that_nobody_hears_never() {
    let mut group = settled(3, 17);
    let leader = group.leader().unwrap();
    let ask = |group: &mut Group| group.order(leader, Consensus::confirm).unwrap();
    let first = ask(&mut group);
    let (second, third) = (ask(&mut group), ask(&mut group));
    // Those who come while one is under way share the next.
    assert!(first < second && second == third);
    let sure = |group: &mut Group| group.consensus(leader).unwrap().confirmed();
    group.run(ms(2));
    assert_eq!(sure(&mut group), third);
    for other in group.numbers() {
        group.cut.insert((other, leader));
    }
    let last = ask(&mut group);
    group.run(ms(3000));
    assert!(group.leader().is_some_and(|now| now != leader));
    assert!(sure(&mut group) < last);
}

#[test]
fn a_leader_alone_is_sure_also_when_the_others_are_sent_away_meanwhile() {
    let mut group = settled(1, 17);
    let sure = |group: &mut Group| group.consensus(1).unwrap().confirmed();
    let asked = group.order(1, Consensus::confirm).unwrap();
    assert_eq!(sure(&mut group), asked);
    group.add(2, Restored::default());
    change_member(&mut group, 2, ConfChangeType::AddNode);
    group.cut.insert((1, 2));
    let asked = group.order(1, Consensus::confirm).unwrap();
    group.cut.clear();
    assert!(sure(&mut group) < asked);
    change_member(&mut group, 2, ConfChangeType::RemoveNode);
    assert_eq!(group.consensus(1).unwrap().members().voters, [1]);
    assert!(sure(&mut group) >= asked);
}

#[test]
fn leadership_is_handed_over_in_a_few_messages() {
    let mut group = settled(3, 3);
    let leader = group.leader().unwrap();
    let next = group
        .numbers()
        .into_iter()
        .find(|number| *number != leader)
        .unwrap();
    group.order(leader, |consensus| consensus.hand_over(next));
    let waited = group.until(ms(1000), |group| group.leader() == Some(next));
    assert!(waited.is_some_and(|waited| waited <= ms(15)), "{waited:?}");
}

#[test]
fn an_idle_group_hardly_wakes_up() {
    let mut group = settled(3, 9);
    let leader = group.leader().unwrap();
    let before: Vec<_> = group
        .numbers()
        .iter()
        .map(|number| group.wakeups(*number))
        .collect();
    group.run(Duration::from_secs(10));
    for (number, before) in group.numbers().into_iter().zip(before) {
        let per_second = (group.wakeups(number) - before) / 10;
        let most = if number == leader { 30 } else { 12 };
        assert!(per_second <= most, "member {number}: {per_second} a second");
    }
}

/// Has member 1, which leads, make a member something else.
fn change_member(group: &mut Group, number: u64, kind: ConfChangeType) {
    let change = ConfChangeV2 {
        changes: vec![new_conf_change_single(number, kind)],
        ..ConfChangeV2::default()
    };
    let proposed = group.order(1, |leader| leader.propose_members(change, Vec::new()));
    proposed.unwrap().unwrap();
    group.run(ms(500));
}

#[test]
fn newcomers_learn_the_state_then_vote_and_those_who_leave_are_not_needed() {
    let mut group = settled(1, 21);
    for _ in 0..20 {
        assert!(group.propose());
    }
    group.save(1);
    for number in [2, 3] {
        group.add(number, Restored::default());
        for kind in [ConfChangeType::AddLearnerNode, ConfChangeType::AddNode] {
            change_member(&mut group, number, kind);
        }
        assert!(
            group
                .consensus(number)
                .unwrap()
                .members()
                .voters
                .contains(&number)
        );
    }
    assert!(group.propose());
    group.run(ms(500));
    group.judge_states();
    change_member(&mut group, 1, ConfChangeType::RemoveNode);
    group.crash(1, true);
    group.until(ms(2000), has_leader).unwrap();
    assert!(group.propose());
    group.run(ms(500));
    group.judge_states();
}

/// It has heard who leads, and does not know yet who votes.
#[test]
fn a_newcomer_that_loses_its_connection_is_not_elected_by_nobody() {
    let mut group = settled(1, 21);
    group.add(2, Restored::default());
    let change = ConfChangeV2 {
        changes: vec![new_conf_change_single(2, ConfChangeType::AddLearnerNode)],
        ..ConfChangeV2::default()
    };
    let proposed = group.order(1, |leader| leader.propose_members(change, Vec::new()));
    proposed.unwrap().unwrap();
    let hears = |group: &mut Group| group.consensus(2).unwrap().role().leader == Some(1);
    while !hears(&mut group) {
        group.run(Duration::from_micros(10));
    }
    assert!(group.consensus(2).unwrap().members().voters.is_empty());
    let now = group.now;
    group.order(2, |newcomer| newcomer.lost(1, now));
    group.order(2, |newcomer| newcomer.advance(now + ms(30)));
    let role = group.consensus(2).unwrap().role();
    assert!(
        !role.leads && role.term == group.consensus(1).unwrap().role().term,
        "{role:?}"
    );
    group.run(ms(1000));
    group.judge_states();
}

#[test]
fn a_founder_that_restarts_knows_that_it_is_not_alone_any_more() {
    for seed in 0..50 {
        let mut group = Group::new(1, seed, QUIET);
        group.run(ms(100));
        for number in [2, 3] {
            group.add(number, Restored::default());
            for kind in [ConfChangeType::AddLearnerNode, ConfChangeType::AddNode] {
                change_member(&mut group, number, kind);
            }
        }
        // Nothing was written since that would have told its disk by the way how far the group had agreed.
        group.crash(1, true);
        group
            .until(ms(2000), |group| group.leader().is_some())
            .unwrap();
        group.start(1);
        // Two that lead in one term are found by the group itself.
        group.run(ms(1000));
        assert!(group.propose(), "seed {seed}");
        group.run(ms(500));
        group.judge_states();
    }
}

/// What may happen in a bad half minute.
fn live_badly(seed: u64, troubles: Troubles) -> Group {
    let count = [3, 5][seed as usize % 2];
    let mut group = Group::new(count, seed, troubles);
    let mut damaged = 0;
    for _ in 0..120 {
        let number = 1 + group.random(count);
        match group.random(12) {
            0 => {
                let notice = group.random(2) == 0;
                group.crash(number, notice);
            }
            1 | 2 if !group.runs(number) && !group.is_damaged(number) => group.start(number),
            3 => {
                // One way only: the worst kind.
                let other = 1 + group.random(count);
                group.cut.insert((number, other));
            }
            4 => group.cut.clear(),
            8 if group.random(3) == 0 => {
                // It goes on to believe that it leads, while the others go on without it.
                if let Some(leader) = group.leader() {
                    let others = group.numbers().into_iter();
                    group.cut.extend(others.map(|other| (other, leader)));
                }
                for _ in 0..8 {
                    group.run(ms(100));
                    group.propose();
                    group.ask();
                }
            }
            5 if group.runs(number) => group.save(number),
            7 if !group.runs(number) && damaged < count / 2 => {
                damaged += u64::from(group.flip(number));
            }
            6 => {
                if let Some(leader) = group.leader() {
                    group.order(leader, |consensus| consensus.hand_over(number));
                }
            }
            _ => {
                for _ in 0..group.random(5) {
                    group.propose();
                }
            }
        }
        let span = ms(group.random(250));
        for _ in 0..4 {
            group.ask();
            group.run(span / 4);
        }
    }
    heal(&mut group);
    group
}

/// All is well again; then something must be decided soon, and everybody must have heard of it.
fn heal(group: &mut Group) {
    group.cut.clear();
    group.troubles = QUIET;
    for number in group.numbers() {
        if !group.runs(number) && !group.is_damaged(number) {
            group.start(number);
        }
    }
    let known = group.known.len();
    group.run(ms(2000));
    assert!(
        group.propose(),
        "nobody leads after all was well for two seconds"
    );
    group.run(ms(1000));
    assert!(
        group.known.len() > known,
        "nothing is decided though all is well"
    );
    group.judge_states();
}

const BAD: Troubles = Troubles {
    lost: 50,
    way_us: 20_000,
    flush_us: 0,
    lying_disks: false,
};

#[test]
fn nothing_committed_is_lost_and_all_agree_whatever_happens() {
    let asked = std::env::var("NESOS_CONSENSUS_SEEDS");
    let seeds = asked.map_or(SEEDS, |seeds| seeds.parse().unwrap());
    let (mut committed, mut damaged, mut confirmed, mut deposed) = (0, 0, 0, 0);
    for seed in 0..seeds {
        // Every other group has slow disks: its members hear and are told things while they wait for them.
        let troubles = Troubles {
            flush_us: seed % 2 * 30_000,
            ..BAD
        };
        let lived = catch_unwind(AssertUnwindSafe(|| live_badly(seed, troubles)));
        let group = lived.unwrap_or_else(|_| panic!("seed {seed}"));
        committed += group.known.len();
        confirmed += group.confirmed;
        deposed += group.deposed;
        let numbers = group.numbers().into_iter();
        damaged += numbers.filter(|number| group.is_damaged(*number)).count();
        if seed % 51 == 0 {
            assert_eq!(
                group.trace,
                live_badly(seed, troubles).trace,
                "seed {seed} twice"
            );
        }
    }
    eprintln!(
        "{seeds} seeds, {committed} commands committed, {damaged} disks damaged and found out, {confirmed} leaders sure, {deposed} deposed ones not"
    );
    assert!(committed as u64 > 20 * seeds, "{committed}");
    assert!(damaged as u64 > seeds / 50, "{damaged}");
    assert!(confirmed > 10 * seeds, "{confirmed}");
    assert!(deposed > seeds / 100, "{deposed}");
}

#[test]
fn disks_that_lie_are_found_out() {
    let lying = Troubles {
        lying_disks: true,
        ..BAD
    };
    let found =
        (0..40).any(|seed| catch_unwind(AssertUnwindSafe(|| live_badly(seed, lying))).is_err());
    assert!(found, "the checks see nothing");
}
