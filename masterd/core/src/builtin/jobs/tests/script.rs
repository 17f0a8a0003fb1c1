//! Stories of jobs as text: `tests/jobs/*.txt`, each line a command or, indented, what came of it.
//!
//! `UPDATE_EXPECT=1` writes what comes now. Tasks are called `a1`, `a2` by their job and order.
#![allow(clippy::unwrap_used)]

use std::fmt::Write as _;
use std::fs;
use std::path::Path;

use super::*;

#[derive(Default)]
struct Story {
    jobs: Jobs,
    wall_ms: u64,
    names: BTreeMap<TaskId, String>,
    counts: BTreeMap<String, u32>,
    kept: BTreeMap<String, (JobRecord, JobFacts)>,
    facts: BTreeMap<String, JobFacts>,
    attempts: BTreeMap<String, (String, u32)>,
    running: BTreeMap<TaskId, (String, u32)>,
    told: String,
}

impl Story {
    fn task(&self, name: &str) -> TaskId {
        let named = self.names.iter().find(|(_, named)| *named == name);
        named.unwrap_or_else(|| panic!("no task {name}")).0.clone()
    }

    fn obey(&mut self, line: &str) {
        let words: Vec<&str> = line.split_whitespace().collect();
        let now = self.wall_ms;
        let outcome = |kind| outcome(kind);
        let done = match words[..] {
            ["at", time] => {
                self.wall_ms = moment_ms(time).unwrap();
                self.jobs.tick(self.wall_ms);
                Ok(())
            }
            // As the shell does it: each time that something is due, until then.
            ["until", time] => return self.until(moment_ms(time).unwrap()),
            ["put", name, trigger, ref options @ ..] => {
                let facts = with_options(trigger, options, now);
                self.facts.insert(name.to_owned(), facts.clone());
                self.jobs.put(name, b"{}".to_vec(), facts, now)
            }
            ["run", name] => self.jobs.run_now(name, None, now),
            ["run", name, arguments] => self.jobs.run_now(name, Some(arguments.into()), now),
            ["success", name] => self.jobs.mark_success(name, now),
            ["kill", name] => self.jobs.kill_tasks(name),
            ["remove", name] => self.jobs.remove(name, now),
            ["heirs", name] => {
                let heirs = self.jobs.inherited(name);
                let _ = writeln!(self.told, "  {heirs:?}");
                Ok(())
            }
            ["placed", name] => {
                let task = self.task(name);
                self.running
                    .insert(task.clone(), self.attempts[name].clone());
                self.jobs.started(&task, now);
                Ok(())
            }
            [how, task] if ["finished", "failed", "lost", "killed"].contains(&how) => {
                let task = self.task(task);
                self.running.remove(&task);
                let kind = match how {
                    "finished" => OutcomeKind::Finished,
                    "failed" => OutcomeKind::Failed,
                    "lost" => OutcomeKind::Lost,
                    _ => OutcomeKind::Killed,
                };
                self.jobs.ended(&task, outcome(kind), now);
                Ok(())
            }
            ["failover"] => {
                self.jobs = after_failover(&self.kept, &self.running, now);
                self.jobs.tick(now);
                Ok(())
            }
            ["show", name] => return self.show(name),
            _ => panic!("no command: {line}"),
        };
        if let Err(error) = done {
            let _ = writeln!(self.told, "  {error}");
        }
        self.tell();
    }

    fn until(&mut self, end: u64) {
        while let Some(due) = self.jobs.next_due().filter(|due| *due <= end) {
            assert!(due > self.wall_ms, "the time does not go on");
            self.wall_ms = due;
            let _ = writeln!(self.told, "  {}", timestamp(due));
            self.jobs.tick(due);
            self.tell();
        }
        self.wall_ms = end;
        self.jobs.tick(end);
        self.tell();
    }

    fn show(&mut self, name: &str) {
        let job = self.jobs.get(name).unwrap();
        let progress = job.progress();
        let _ = writeln!(
            self.told,
            "  {} {:?}{} successes {} errors {} since {} ends {}",
            job.schedule().unwrap_or("by parents".into()),
            job.state(),
            if job.is_disabled() { " disabled" } else { "" },
            progress.successes,
            progress.errors,
            progress.errors_since_success,
            job.ends().count(),
        );
    }

    fn tell(&mut self) {
        for wish in self.jobs.take_wishes() {
            let line = match wish {
                JobWish::Put(record) => self.put(record),
                JobWish::Remove { name } => {
                    self.kept.remove(&name);
                    format!("REMOVE {name}")
                }
                JobWish::Start {
                    name,
                    task,
                    attempt,
                    arguments,
                } => {
                    let count = self.counts.entry(name.clone()).or_default();
                    *count += 1;
                    let alias = format!("{name}{count}");
                    self.names.insert(task, alias.clone());
                    self.attempts.insert(alias.clone(), (name, attempt));
                    let arguments =
                        arguments.map_or(String::new(), |given| format!(" with {given}"));
                    format!("START {alias} attempt {attempt}{arguments}")
                }
                JobWish::Kill { task } => format!("KILL {}", self.names[&task]),
                JobWish::Forget { task } => format!("FORGET {}", self.names[&task]),
            };
            let _ = writeln!(self.told, "  {line}");
        }
    }

    fn put(&mut self, record: JobRecord) -> String {
        let progress = &record.progress;
        let due = progress.due.map_or("never".to_owned(), timestamp);
        let left = progress
            .remaining
            .map_or("for ever".to_owned(), |left| left.to_string());
        let line = format!(
            "PUT {} due {due} left {left} runs {}",
            record.name,
            progress.runs.len()
        );
        let facts = self.facts[&record.name].clone();
        self.kept.insert(record.name.clone(), (record, facts));
        line
    }
}

fn with_options(trigger: &str, options: &[&str], now: u64) -> JobFacts {
    let mut facts = match trigger.strip_prefix("after=") {
        Some(parents) => facts(by_parents(&parents.split(',').collect::<Vec<_>>())),
        None => facts(by_time(trigger, now)),
    };
    for option in options {
        match option.split_once('=') {
            Some(("retries", count)) => facts.retries = count.parse().unwrap(),
            Some(("epsilon", text)) => facts.epsilon_ms = duration_ms(text).unwrap(),
            Some(("longest", text)) => facts.longest_ms = duration_ms(text),
            _ if *option == "disabled" => facts.disabled = true,
            _ if *option == "concurrent" => facts.concurrent = true,
            _ if *option == "soft" => facts.soft_error = true,
            _ => panic!("no option: {option}"),
        }
    }
    facts
}

fn retold(text: &str) -> String {
    let mut story = Story::default();
    for line in text.lines() {
        if line == "---" {
            story = Story {
                told: story.told,
                ..Story::default()
            };
        }
        if line.starts_with("  ") {
            continue;
        }
        let _ = writeln!(story.told, "{line}");
        if !line.is_empty() && !line.starts_with('#') && line != "---" {
            story.obey(line);
        }
    }
    story.told
}

#[test]
fn stories_are_what_they_were() {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/jobs");
    let mut files: Vec<_> = fs::read_dir(folder)
        .unwrap()
        .map(|file| file.unwrap().path())
        .collect();
    files.sort();
    assert!(!files.is_empty());
    for file in files {
        let text = fs::read_to_string(&file).unwrap();
        let now = retold(&text);
        if std::env::var_os("UPDATE_EXPECT").is_some() {
            fs::write(&file, &now).unwrap();
        } else {
            let (old, now): (Vec<_>, Vec<_>) = (text.lines().collect(), now.lines().collect());
            assert_eq!(old, now, "{}", file.display());
        }
    }
}
