//! Services under random faults: afterwards everything is as operators wanted it last.

use std::collections::BTreeMap;

use nesos_wire::task::TaskState;

use crate::world::{World, facts, is_of};

/// Rounds of one seed; each has a fault or an operator's wish.
const ROUNDS: usize = 60;
/// Seconds in which everything must come to rest once nothing breaks any more: longer than boards are waited for.
const REST: u64 = 1500;

/// xorshift64*: the same for the same seed.
struct Random(u64);

impl Random {
    fn below(&mut self, bound: usize) -> usize {
        self.0 ^= self.0 >> 12;
        self.0 ^= self.0 << 25;
        self.0 ^= self.0 >> 27;
        (self.0.wrapping_mul(0x2545_f491_4f6c_dd1d) >> 33) as usize % bound
    }
}

fn run(seed: u64) {
    let mut random = Random(seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1);
    let mut world = World::new(3);
    let mut wanted: BTreeMap<&str, u32> = BTreeMap::new();
    for _ in 0..ROUNDS {
        let board = random.below(3);
        let service = ["/a", "/b/c", "/d"][random.below(3)];
        let running = world.running();
        match random.below(9) {
            0 => world.disconnect(board),
            1 | 2 => world.connect(board),
            3 => world.reboot(board),
            4 => world.crash_master(),
            5 if !running.is_empty() => {
                let (board, key) = running[random.below(running.len())].clone();
                let state = [TaskState::Failed, TaskState::Finished][random.below(2)];
                world.turn(board, &key, state);
            }
            6 | 7 => {
                let instances = random.below(5) as u32;
                let is_new = !wanted.contains_key(service);
                assert!(world.put(service, facts(instances), is_new || random.below(2) == 0));
                wanted.insert(service, instances);
            }
            8 if wanted.remove(service).is_some() => world.remove(service),
            _ => {}
        }
        world.pass(random.below(40) as u64);
    }
    (0..3).for_each(|board| world.connect(board));
    world.pass(REST);
    let running = world.running();
    for (service, instances) in &wanted {
        let of_service = running.iter().filter(|(_, key)| is_of(&key.task, service));
        assert_eq!(
            of_service.count(),
            *instances as usize,
            "seed {seed}: {service}"
        );
        let deployment = &world.builtin.service(service).unwrap().record.deployment;
        assert_eq!(*deployment, None, "seed {seed}: {service}");
    }
    let total: u32 = wanted.values().sum();
    assert_eq!(
        running.len(),
        total as usize,
        "seed {seed}: nothing else runs"
    );
    let kept: Vec<_> = world.registry.instances().map(|one| &one.task).collect();
    let known: Vec<_> = world
        .builtin
        .instances()
        .map(|one| &one.record.task)
        .collect();
    assert_eq!(kept, known, "seed {seed}: what is kept is what is known");
    assert_eq!(
        kept.len(),
        total as usize,
        "seed {seed}: nothing else is kept"
    );
    assert_eq!(world.builtin.deployments().count(), 0, "seed {seed}");
    assert_eq!(
        world.registry.services().count(),
        wanted.len(),
        "seed {seed}"
    );
}

#[test]
fn whatever_happens_services_come_to_what_was_wanted_last() {
    (0..100).for_each(run);
}
