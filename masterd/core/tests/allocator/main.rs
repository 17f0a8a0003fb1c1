//! Golden scripts of the pure allocator: what is given to whom after every command.
//!
//! Lines at the margin are commands, indented lines are what came of them, `---` starts anew with a fresh allocator. After
//! every command the allocator runs, as in the master after every batch of events, and its books are checked.
//!
//! `agent a cpus:2;mem:1024 [remote] [old]`, `resize a RESOURCES`, `inactive|active|gone|changed a`,
//! `framework f roles=a,b [suppress=a] [min=RESOURCES|min=] [caps=GPU,REGION,MULTI,REVOCABLE,SHARED,REFINED]`,
//! `change f OPTIONS` (UPDATE_FRAMEWORK), `deactivate|remove f`,
//! `decline f a [role] [for=SECONDS]`, `use f a role RESOURCES`, `free f a role RESOURCES`, `revive|suppress f ROLES`,
//! `weight role 2`, `quota role guarantees=RESOURCES limits=RESOURCES`, `exclude NAME`, `constrain f a,b` (agents allowed),
//! `advance SECONDS`, `share f role`, `roleshare role`, `consumed role`, `filters`, `holders a`, `roles`, `hold N`,
//! `resume`, `convert f a role FROM TO` (an operation on an offer), `operate a FROM TO` (an operator's). How resources are
//! written is said in `bag`.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

mod bag;

use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Write;

use bag::bag;
use masterd_core::allocator::{
    AgentFacts, Allocation, Allocator, Handle, Holder, Quota, Settings, Subscription,
};
use nesos_base::time::{Duration, Instant};
use nesos_wire::resource::{Resources, Scalar, Value};
use nesos_wire::resource_text::{parse, text};
use nesos_wire::{AgentId, FrameworkId};

struct Script {
    allocator: Allocator,
    /// What a framework holds, by agent and role.
    held: BTreeMap<(String, String, String), Resources>,
    allowed: BTreeMap<String, BTreeSet<String>>,
    now: Instant,
    out: String,
}

impl Script {
    fn new(excluded: &[String]) -> Self {
        let settings = Settings {
            min_allocatable: vec![parse("cpus:0.01").unwrap(), parse("mem:32").unwrap()],
            filter_gpu_resources: true,
            fair_sharing_excluded: excluded.to_vec(),
        };
        Self {
            allocator: Allocator::new(&settings),
            held: BTreeMap::new(),
            allowed: BTreeMap::new(),
            now: Instant::from_secs(1000),
            out: String::new(),
        }
    }

    fn command(&mut self, line: &str) {
        let words: Vec<&str> = line.split_whitespace().collect();
        let id = AgentId::new(words.get(1).copied().unwrap_or_default());
        match words.as_slice() {
            ["agent", _, resources, options @ ..] => {
                self.allocator.add_agent(&id, bag(resources));
                let facts = AgentFacts {
                    is_remote: options.contains(&"remote"),
                    is_multi_role: !options.contains(&"old"),
                    is_hierarchical: !options.contains(&"old"),
                };
                self.allocator.set_agent_facts(&id, facts);
            }
            ["resize", _, resources] => self.allocator.update_agent(&id, bag(resources)),
            ["inactive", _] => self.allocator.set_agent_active(&id, false),
            ["active", _] => self.allocator.set_agent_active(&id, true),
            ["changed", _] => self.allocator.clear_agent_filters(&id),
            ["gone", agent] => {
                self.allocator.remove_agent(&id);
                self.held.retain(|(_, on, _), _| on != agent);
            }
            ["weight", role, weight] => self.allocator.set_weight(role, weight.parse().unwrap()),
            ["quota", role, options @ ..] => self.quota(role, options),
            ["hold", agents] => self.allocator.pause_until(agents.parse().unwrap()),
            ["resume"] => self.allocator.resume(),
            ["operate", _, from, to] => {
                if !self.allocator.update_available(&id, &bag(from), &bag(to)) {
                    writeln!(self.out, "  refused").unwrap();
                }
            }
            [
                "roleshare" | "consumed" | "filters" | "holders" | "roles",
                ..,
            ] => self.show(&words),
            ["exclude", name] => *self = Self::new(&[(*name).to_owned()]),
            ["advance", seconds] => self.advance(seconds.parse().unwrap()),
            [command, framework, rest @ ..] => self.framework(command, framework, rest),
            _ => panic!("unknown command: {line}"),
        }
        self.run();
    }

    fn framework(&mut self, command: &str, name: &str, rest: &[&str]) {
        let id = FrameworkId::new(name);
        let roles = || -> BTreeSet<String> {
            rest.iter()
                .flat_map(|text| text.split(','))
                .map(str::to_owned)
                .collect()
        };
        match command {
            "framework" => {
                let subscription = self.subscription(&id, rest);
                self.allocator.put_framework(&id, subscription);
            }
            "change" => {
                let subscription = self.subscription(&id, rest);
                self.allocator.update_framework(&id, subscription);
            }
            "convert" => self.convert(name, rest),
            "deactivate" => self.allocator.deactivate_framework(&id),
            "remove" => {
                self.allocator.remove_framework(&id);
                self.held.retain(|(of, _, _), _| of != name);
            }
            "revive" => self.allocator.revive(&id, &roles()),
            "suppress" => self.allocator.suppress(&id, &roles()),
            "decline" => self.decline(name, rest),
            "use" => {
                let resources = bag(rest[2]);
                let agent = AgentId::new(rest[0]);
                self.allocator.allocated(&id, rest[1], &agent, &resources);
                self.hold(name, rest[0], rest[1], &resources);
            }
            "free" => self.free(name, rest[0], rest[1], &bag(rest[2])),
            "share" => {
                let share = self.allocator.dominant_share(rest[0], &id);
                writeln!(self.out, "  {share:.3}").unwrap();
            }
            "constrain" => {
                self.allowed.insert(name.to_owned(), roles());
            }
            _ => panic!("unknown command: {command}"),
        }
    }

    fn show(&mut self, words: &[&str]) {
        let text = match *words {
            ["roleshare", role] => format!("{:.3}", self.allocator.role_share(role)),
            ["consumed", role] => {
                let consumed = self.allocator.consumed(role);
                let amounts = consumed
                    .iter()
                    .map(|(name, amount)| format!("{name}:{}", amount.to_f64()));
                amounts.collect::<Vec<_>>().join(";")
            }
            ["filters"] => self.allocator.active_filters().to_string(),
            ["holders", agent] => {
                let holders = self.allocator.holders(&AgentId::new(agent));
                let holders = holders.iter().map(FrameworkId::as_str);
                holders.collect::<Vec<_>>().join(" ")
            }
            ["roles"] => {
                let roles = self.allocator.roles();
                roles.into_iter().collect::<Vec<_>>().join(" ")
            }
            _ => panic!("unknown command: {words:?}"),
        };
        let text = if text.is_empty() { "nothing" } else { &text };
        writeln!(self.out, "  {text}").unwrap();
    }

    /// `agent role FROM TO`
    fn convert(&mut self, name: &str, rest: &[&str]) {
        let (from, to) = (bag(rest[2]), bag(rest[3]));
        let holder = Holder {
            framework: &FrameworkId::new(name),
            role: rest[1],
            agent: &AgentId::new(rest[0]),
            handle: Handle::default(),
        };
        if !self.allocator.update_allocation(holder, &from, &to) {
            writeln!(self.out, "  refused").unwrap();
            return;
        }
        let key = (name.to_owned(), rest[0].to_owned(), rest[1].to_owned());
        let held = self.held.entry(key).or_default();
        held.subtract(&from);
        held.add(&to);
    }

    fn subscription(&mut self, id: &FrameworkId, options: &[&str]) -> Subscription {
        let mut subscription = Subscription {
            active: true,
            ..Subscription::default()
        };
        let list = |text: &str| text.split(',').map(str::to_owned).collect::<BTreeSet<_>>();
        for option in options {
            match option.split_once('=').expect("option=value") {
                ("roles", value) => subscription.roles = list(value),
                ("suppress", value) => subscription.suppressed = list(value),
                ("min", value) => {
                    let least: Vec<Resources> = [value]
                        .iter()
                        .filter(|text| !text.is_empty())
                        .map(|text| parse(text).unwrap())
                        .collect();
                    subscription.min_allocatable = subscription
                        .roles
                        .iter()
                        .map(|role| (role.clone(), least.clone()))
                        .collect();
                }
                ("caps", value) => {
                    let caps = list(value);
                    subscription.wants_gpus = caps.contains("GPU");
                    subscription.wants_revocable = caps.contains("REVOCABLE");
                    subscription.wants_shared = caps.contains("SHARED");
                    subscription.wants_refined = caps.contains("REFINED");
                    subscription.is_region_aware = caps.contains("REGION");
                    subscription.is_multi_role = caps.contains("MULTI");
                }
                _ => panic!("unknown option {option}"),
            }
        }
        if self.allowed.contains_key(id.as_str()) {
            subscription.constrained = subscription.roles.clone();
        }
        subscription
    }

    fn quota(&mut self, role: &str, options: &[&str]) {
        let amounts = |name: &str| -> BTreeMap<String, Scalar> {
            let text = options
                .iter()
                .find_map(|option| option.strip_prefix(name)?.strip_prefix('='));
            let resources = text.map(|text| parse(text).unwrap()).unwrap_or_default();
            let scalars = resources
                .iter()
                .filter(|(_, value)| matches!(value, Value::Scalar(_)));
            scalars
                .map(|(name, _)| (name.to_owned(), resources.scalar(name)))
                .collect()
        };
        let quota = Quota {
            guarantees: amounts("guarantees"),
            limits: amounts("limits"),
        };
        self.allocator.set_quota(role, quota);
    }

    /// Declines all that the framework holds on an agent, in one role or in all.
    fn decline(&mut self, name: &str, rest: &[&str]) {
        let seconds = rest.iter().find_map(|word| word.strip_prefix("for="));
        let role = rest.get(1).filter(|word| !word.starts_with("for="));
        let held: Vec<_> = self
            .held
            .iter()
            .filter(|((of, agent, _), _)| of == name && agent == rest[0])
            .filter(|((_, _, of), _)| role.is_none_or(|role| role == of))
            .map(|(key, resources)| (key.2.clone(), resources.clone()))
            .collect();
        assert!(!held.is_empty(), "{name} holds nothing on {}", rest[0]);
        for (role, resources) in held {
            self.free(name, rest[0], &role, &resources);
            if let Some(seconds) = seconds {
                let agent = AgentId::new(rest[0]);
                let holder = Holder {
                    framework: &FrameworkId::new(name),
                    role: &role,
                    agent: &agent,
                    handle: Handle::default(),
                };
                let until = self.now + Duration::from_secs(seconds.parse().unwrap());
                self.allocator.refuse(holder, resources, until);
            }
        }
    }

    fn free(&mut self, name: &str, agent: &str, role: &str, resources: &Resources) {
        let key = (name.to_owned(), agent.to_owned(), role.to_owned());
        let held = self.held.get_mut(&key).expect("held");
        assert!(held.contains(resources), "{name} does not hold that");
        held.subtract(resources);
        if held.is_empty() {
            self.held.remove(&key);
        }
        self.allocator.recover(
            &FrameworkId::new(name),
            role,
            &AgentId::new(agent),
            resources,
        );
    }

    fn hold(&mut self, name: &str, agent: &str, role: &str, resources: &Resources) {
        let key = (name.to_owned(), agent.to_owned(), role.to_owned());
        self.held.entry(key).or_default().add(resources);
    }

    fn advance(&mut self, seconds: u64) {
        let end = self.now + Duration::from_secs(seconds);
        while let Some(at) = self.allocator.next_deadline().filter(|at| *at <= end) {
            self.now = at;
            self.allocator.expire_filters(at);
            self.run();
        }
        self.now = end;
    }

    fn run(&mut self) {
        let allowed = self.allowed.clone();
        let given = self.allocator.allocate_where(|framework, _, agent| {
            allowed
                .get(framework.as_str())
                .is_none_or(|agents| agents.contains(agent.as_str()))
        });
        for Allocation {
            framework,
            role,
            agent,
            resources,
            ..
        } in given
        {
            let text = text(&resources);
            writeln!(self.out, "  {framework} <- {agent} for {role}: {text}").unwrap();
            self.hold(framework.as_str(), agent.as_str(), &role, &resources);
        }
        assert_eq!(
            self.allocator.violations(),
            Vec::<String>::new(),
            "{}",
            self.out
        );
    }
}

#[test]
fn scripts_give_what_they_say() {
    let folder = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/allocator");
    let entries = std::fs::read_dir(folder).unwrap();
    let mut paths: Vec<_> = entries.map(|entry| entry.unwrap().path()).collect();
    paths.retain(|path| path.extension().is_some_and(|extension| extension == "txt"));
    paths.sort();
    assert!(!paths.is_empty());
    for path in paths {
        let expected = std::fs::read_to_string(&path).unwrap();
        let mut script = Script::new(&[]);
        let mut out = String::new();
        for line in expected.lines().filter(|line| !line.starts_with("  ")) {
            writeln!(out, "{line}").unwrap();
            if line.starts_with("---") {
                script = Script::new(&[]);
            } else if !line.is_empty() && !line.starts_with('#') {
                script.command(line);
                out.push_str(&std::mem::take(&mut script.out));
            }
        }
        if std::env::var_os("UPDATE_EXPECT").is_some() {
            std::fs::write(&path, &out).unwrap();
            continue;
        }
        let differing = (1..)
            .zip(out.lines().zip(expected.lines()))
            .find(|(_, (is, was))| is != was);
        if let Some((at, (is, was))) = differing {
            panic!("{}:{at}\n  says {was}\n  got  {is}", path.display());
        }
        assert_eq!(
            out.lines().count(),
            expected.lines().count(),
            "{} ends early",
            path.display()
        );
    }
}
