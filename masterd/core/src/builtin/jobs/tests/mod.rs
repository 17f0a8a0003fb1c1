//! Tests of the jobs: told as texts (`tests/jobs`), and at random.

mod random;
mod script;

use std::collections::BTreeSet;

use super::*;
use crate::builtin::Need;

/// 2026-01-31T12:00:00Z
const NOON: u64 = 1_769_860_800_000;

fn facts(trigger: Trigger) -> JobFacts {
    JobFacts {
        trigger,
        retries: 2,
        disabled: false,
        concurrent: false,
        soft_error: false,
        epsilon_ms: EPSILON_MS,
        longest_ms: None,
        need: Need::default(),
        past: Past::default(),
    }
}

fn by_time(text: &str, now: u64) -> Trigger {
    Trigger::Schedule(Schedule::parse(text, "", now).expect("a schedule"))
}

fn by_parents(names: &[&str]) -> Trigger {
    Trigger::Parents(names.iter().map(|name| (*name).to_owned()).collect())
}

fn outcome(kind: OutcomeKind) -> Outcome {
    Outcome {
        kind,
        agent: None,
        message: String::new(),
    }
}

/// As a new leader finds them.
fn after_failover(
    kept: &BTreeMap<String, (JobRecord, JobFacts)>,
    running: &BTreeMap<TaskId, (String, u32)>,
    wall_ms: u64,
) -> Jobs {
    let mut jobs = Jobs::default();
    for (name, (record, facts)) in kept {
        let of_job = running.iter().filter(|(_, (owner, _))| owner == name);
        let running = of_job.map(|(task, (_, attempt))| (task.clone(), *attempt));
        jobs.recover(record.clone(), facts.clone(), running.collect(), wall_ms);
    }
    jobs
}

#[test]
fn names_and_bounds_are_checked() {
    let mut jobs = Jobs::default();
    let mut put = |name: &str, definition: usize, trigger: Trigger| {
        jobs.put(name, vec![0; definition], facts(trigger), NOON)
            .map_err(|error| error.to_string())
    };
    let far = || by_time("R1/2030-01-01T00:00:00Z/P1D", NOON);
    let long = "x".repeat(MAX_NAME + 1);
    for name in ["", ".", "..", "a/b", "a:b", " a", "a ", "ä", "a\n", &long] {
        let error = put(name, 1, far()).expect_err(name);
        assert!(
            error.starts_with("name: expected 1 to 180 letters"),
            "{error}"
        );
    }
    assert_eq!(put("My job_1-2.3#4", 1, far()), Ok(()));
    assert_eq!(put(&"x".repeat(MAX_NAME), MAX_DEFINITION, far()), Ok(()));
    let error = put("b", MAX_DEFINITION + 1, far()).expect_err("too large");
    assert!(
        error.starts_with("the definition has 65537 bytes"),
        "{error}"
    );
    for number in 2..MAX_JOBS {
        assert_eq!(put(&format!("j{number}"), 1, far()), Ok(()));
    }
    let error = put("one-more", 1, far()).expect_err("too many");
    assert_eq!(error, "there are 1000 jobs, and no more may be");
    assert_eq!(
        put("j2", 1, far()),
        Ok(()),
        "a new definition is no new job"
    );
}

#[test]
fn ids_are_ids_and_none_is_used_twice() {
    let mut jobs = Jobs::default();
    let name = "n".repeat(MAX_NAME);
    let mut all = BTreeSet::new();
    for _ in 0..10 {
        let trigger = by_time("R1/9999-12-31T23:59:59Z/P1D", NOON);
        jobs.put(&name, Vec::new(), facts(trigger), NOON)
            .expect("put");
        jobs.run_now(&name, None, u64::MAX).expect("run");
        for wish in jobs.take_wishes() {
            if let JobWish::Start { task, .. } = wish {
                assert_eq!(TaskId::parse(task.as_str()), Ok(task.clone()));
                assert!(all.insert(task.clone()), "{task}");
                jobs.ended(&task, outcome(OutcomeKind::Finished), NOON);
            }
        }
        jobs.remove(&name, NOON).expect("remove");
    }
    assert_eq!(all.len(), 10);
}

/// A place is found, and the master dies before it has written the job's record.
#[test]
fn a_run_that_the_record_does_not_know_is_not_started_again() {
    let mut jobs = Jobs::default();
    let trigger = by_time("R2/2026-01-31T12:00:00Z/PT1H", NOON);
    let facts = facts(trigger);
    jobs.put("a", Vec::new(), facts.clone(), NOON).expect("put");
    let wishes = jobs.take_wishes();
    let [JobWish::Put(record), JobWish::Start { task, attempt, .. }] = &wishes[..] else {
        panic!("{wishes:?}");
    };
    let mut next = Jobs::default();
    next.recover(
        record.clone(),
        facts,
        vec![(task.clone(), *attempt)],
        NOON + 1000,
    );
    next.tick(NOON + 1000);
    let wishes = next.take_wishes();
    let [JobWish::Put(record)] = &wishes[..] else {
        panic!("{wishes:?}");
    };
    assert_eq!(record.progress.remaining, Some(1));
    assert_eq!(record.progress.due, Some(NOON + 3_600_000));
    assert_eq!(next.get("a").map(Job::state), Some(JobState::Running(1)));
}
