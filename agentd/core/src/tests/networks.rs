//! What statuses say of a network that a container has to itself.

use super::*;

#[test]
fn each_status_says_which_network_also_after_a_restart() {
    let mut bench = Bench::live();
    bench.launch(spec("t", 1));
    let status = b"addresses".to_vec();
    let networked = ContainerEvent::Networked {
        status: status.clone(),
    };
    bench.container_event("t", networked);
    bench.container_event("t", ContainerEvent::Started);
    bench.container_event("t", ContainerEvent::Running);
    assert_eq!(bench.last_update().status.extra, status);
    bench.drain("t");
    // Its end is told by an agentd that has not seen its beginning.
    bench.restart(config());
    bench.connect();
    bench.finish("t", Outcome::Exit(0));
    let newest = |bench: &Bench, task: &str| {
        let mut views = bench.agent.tasks();
        let view = views.find(|view| view.spec.key == key(task));
        let view = view.expect("is known");
        let extra = view.status.map(|status| status.extra.clone());
        (view.latest, extra.unwrap_or_default())
    };
    assert_eq!(newest(&bench, "t"), (TaskState::Finished, status));
    // Others have the host's, of which the master knows.
    bench.run("other");
    assert_eq!(newest(&bench, "other"), (TaskState::Running, Vec::new()));
}
