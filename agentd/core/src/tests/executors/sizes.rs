//! What a custom executor's container may use, while its tasks come and go.

use super::*;

/// The sizes that the container was given since the last question.
fn sizes(bench: &mut Bench) -> Vec<String> {
    let actions = bench.actions.drain(..);
    let sizes = actions.filter_map(|action| match action {
        Action::Resize { spec, .. } => Some(resource_text::text(&spec.resources)),
        _ => None,
    });
    sizes.collect()
}

#[test]
fn its_container_has_what_it_and_its_living_tasks_hold() {
    let mut bench = running();
    bench.give(&custom(), false, vec![given("b", &custom(), 2)], false);
    assert_eq!(sizes(&mut bench), ["cpus:1.5;mem:64"]);
    bench.says("e", "a", TaskState::Finished, 2);
    assert_eq!(sizes(&mut bench), ["cpus:1;mem:48"]);
    bench.says("e", "a", TaskState::Finished, 3);
    assert!(sizes(&mut bench).is_empty(), "that was its end already");
    bench.says("e", "b", TaskState::Failed, 4);
    assert_eq!(sizes(&mut bench), ["cpus:0.5;mem:32"]);
}

#[test]
fn an_end_that_was_written_down_and_not_acted_on_is_made_up_for() {
    let mut bench = running();
    bench.says("e", "a", TaskState::Finished, 2);
    // The agent is killed before it does anything but write.
    bench.restart(config());
    assert!(
        bench.agent.tasks().count() == 1,
        "the end is not acknowledged"
    );
    assert_eq!(sizes(&mut bench), ["cpus:0.5;mem:32"]);
}
