//! Random events, with a judge that shares no code with the jobs: what goes on at once, how often each job starts by itself,
//! and that counters are what ended.

use proptest::prelude::*;

use super::*;

#[derive(Debug, Clone)]
enum Step {
    Pass(u64),
    SetBack(u64),
    Place,
    End(usize, OutcomeKind),
    Run(usize),
    Kill(usize),
    Failover,
}

fn step() -> impl Strategy<Value = Step> {
    let kind = prop_oneof![
        3 => Just(OutcomeKind::Finished),
        2 => Just(OutcomeKind::Failed),
        1 => Just(OutcomeKind::Lost),
        1 => Just(OutcomeKind::Killed),
    ];
    prop_oneof![
        6 => (1_u64..8_000).prop_map(Step::Pass),
        1 => (60_000_u64..2_000_000_000_000).prop_map(Step::Pass),
        1 => (1_u64..200_000).prop_map(Step::SetBack),
        6 => Just(Step::Place),
        6 => (0_usize..4, kind).prop_map(|(which, kind)| Step::End(which, kind)),
        1 => (0_usize..3).prop_map(Step::Run),
        1 => (0_usize..3).prop_map(Step::Kill),
        1 => Just(Step::Failover),
    ]
}

const NAMES: [&str; 3] = ["by-time", "many", "child"];

/// What the judge knows.
#[derive(Default)]
struct Judge {
    jobs: Jobs,
    wall_ms: u64,
    kept: BTreeMap<String, (JobRecord, JobFacts)>,
    facts: BTreeMap<String, JobFacts>,
    /// Wanted, without a place.
    wanted: BTreeMap<TaskId, (String, u32)>,
    placed: BTreeMap<TaskId, (String, u32)>,
    /// Finished ends of each job, as told to it.
    finished: BTreeMap<String, u64>,
    /// Ends that were not tried again.
    errors: BTreeMap<String, u64>,
}

impl Judge {
    fn new(repetitions: u64) -> Self {
        let mut judge = Self {
            wall_ms: NOON,
            ..Self::default()
        };
        let schedule = format!("R{repetitions}/2026-01-31T12:00:00Z/PT5S");
        let mut many = facts(by_time("R/2026-01-31T12:00:02Z/PT3S", NOON));
        many.concurrent = true;
        let all = [
            facts(by_time(&schedule, NOON)),
            many,
            facts(by_parents(&["by-time", "many"])),
        ];
        for (name, facts) in NAMES.iter().zip(all) {
            judge.facts.insert((*name).to_owned(), facts.clone());
            judge.jobs.put(name, Vec::new(), facts, NOON).expect("put");
            judge.obey();
        }
        judge
    }

    fn take(&mut self, step: Step) {
        let now = self.wall_ms;
        match step {
            Step::Pass(ms) => {
                self.wall_ms = (now + ms).min(200_000_000_000_000);
                self.jobs.tick(self.wall_ms);
            }
            Step::SetBack(ms) => {
                self.wall_ms = now - ms;
                self.jobs.tick(self.wall_ms);
            }
            Step::Place => {
                if let Some((task, owner)) = self.wanted.pop_first() {
                    self.jobs.started(&task, now);
                    self.placed.insert(task, owner);
                }
            }
            Step::End(which, kind) => {
                let task = self.placed.keys().nth(which).cloned();
                if let Some(task) = task {
                    self.end(&task, kind);
                }
            }
            Step::Run(which) => {
                let _ = self.jobs.run_now(NAMES[which], None, now);
            }
            Step::Kill(which) => self.jobs.kill_tasks(NAMES[which]).expect("it is there"),
            Step::Failover => {
                self.wanted.clear();
                self.jobs = after_failover(&self.kept, &self.placed, now);
                self.jobs.tick(now);
            }
        }
        self.obey();
    }

    fn end(&mut self, task: &TaskId, kind: OutcomeKind) {
        let Some((name, attempt)) = self.placed.remove(task) else {
            return;
        };
        let is_last = attempt >= self.facts[&name].retries;
        self.jobs.ended(task, outcome(kind), self.wall_ms);
        let kind = self
            .jobs
            .get(&name)
            .and_then(|job| Some(job.ends().last()?.outcome.kind));
        match kind.expect("it is remembered") {
            OutcomeKind::Finished => *self.finished.entry(name).or_default() += 1,
            OutcomeKind::Failed | OutcomeKind::Lost if is_last => {
                *self.errors.entry(name).or_default() += 1;
            }
            _ => {}
        }
    }

    /// Carries out what is wished, and looks at it.
    fn obey(&mut self) {
        for wish in self.jobs.take_wishes() {
            match wish {
                JobWish::Put(record) => {
                    let facts = self.facts[&record.name].clone();
                    self.kept.insert(record.name.clone(), (record, facts));
                }
                JobWish::Start {
                    name,
                    task,
                    attempt,
                    ..
                } => {
                    self.wanted.insert(task, (name, attempt));
                }
                JobWish::Forget { task } => {
                    assert!(self.wanted.remove(&task).is_some(), "{task} is not wanted");
                }
                JobWish::Kill { task } => assert!(self.placed.contains_key(&task), "{task}"),
                JobWish::Remove { name } => panic!("{name} was removed"),
            }
        }
        for name in ["by-time", "child"] {
            let runs = self.wanted.values().chain(self.placed.values());
            let at_once = runs.filter(|(owner, _)| owner == name).count();
            assert!(at_once <= 1, "{at_once} runs of {name} at once");
        }
        for (name, job) in self.jobs.iter() {
            let counted = |counts: &BTreeMap<String, u64>| counts.get(name).copied().unwrap_or(0);
            assert_eq!(job.progress().successes, counted(&self.finished), "{name}");
            assert_eq!(job.progress().errors, counted(&self.errors), "{name}");
            assert!(job.progress().due.is_none_or(|due| due > 0));
        }
        let due = self.jobs.next_due();
        assert!(
            due.is_none_or(|due| due > self.wall_ms),
            "{due:?} is not later than now"
        );
    }
}

/// Writes what is to be kept of job `a`; its starts.
fn starts_of(jobs: &mut Jobs, kept: &mut BTreeMap<String, (JobRecord, JobFacts)>) -> Vec<TaskId> {
    let facts = jobs.get("a").expect("it is there").facts().clone();
    let mut starts = Vec::new();
    for wish in jobs.take_wishes() {
        match wish {
            JobWish::Put(record) => drop(kept.insert("a".to_owned(), (record, facts.clone()))),
            JobWish::Start { task, .. } => starts.push(task),
            wish => panic!("{wish:?}"),
        }
    }
    starts
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 400, ..ProptestConfig::default() })]

    #[test]
    fn never_two_at_once_and_counters_are_what_ended(
        repetitions in 0_u64..6,
        steps in proptest::collection::vec(step(), 1..120),
    ) {
        let mut judge = Judge::new(repetitions);
        for step in steps {
            judge.take(step);
        }
    }

    /// However late places are found and however long runs take, and also over changes of the leader: exactly n.
    #[test]
    fn a_job_that_is_to_start_n_times_starts_n_times(
        repetitions in 0_u64..8,
        period in 1_u64..20,
        delays in proptest::collection::vec((0_u64..40_000, 0_u64..40_000, 0_u8..6), 40),
    ) {
        let text = format!("R{repetitions}/2026-01-31T12:00:01Z/PT{period}S");
        let facts = facts(by_time(&text, NOON));
        let mut jobs = Jobs::default();
        jobs.put("a", Vec::new(), facts.clone(), NOON).expect("put");
        let mut kept = BTreeMap::new();
        let (mut wall_ms, mut starts) = (NOON, 0);
        let mut wanted = starts_of(&mut jobs, &mut kept);
        for (place, run, chance) in delays {
            if chance == 0 {
                wanted.clear();
                jobs = after_failover(&kept, &BTreeMap::new(), wall_ms);
            }
            wall_ms = jobs.next_due().unwrap_or(wall_ms).max(wall_ms);
            jobs.tick(wall_ms);
            wanted.extend(starts_of(&mut jobs, &mut kept));
            let mut then = Vec::new();
            for task in wanted.drain(..) {
                wall_ms += place;
                jobs.started(&task, wall_ms);
                wall_ms += run;
                jobs.ended(&task, outcome(OutcomeKind::Finished), wall_ms);
                starts += 1;
                then.extend(starts_of(&mut jobs, &mut kept));
            }
            wanted = then;
        }
        let job = jobs.get("a").expect("it is there");
        prop_assert_eq!(starts, repetitions);
        prop_assert_eq!(job.progress().successes, repetitions);
        prop_assert!(job.is_disabled());
        prop_assert_eq!(jobs.next_due(), None);
    }
}
