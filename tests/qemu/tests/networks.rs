//! Containers with a network of their own, on the boards' own kernel: what they see, whom they reach, who reaches them, and that it
//! outlives agentd. One boot for all of it.
#![allow(clippy::unwrap_used, clippy::expect_used)]

use nesos_cluster_tests::eventually;
use nesos_qemu_tests::Lab;
use serde_json::{Value, json};

/// Longest wait for what an emulated board shows soon.
const SOON: std::time::Duration = std::time::Duration::from_secs(60);
/// Serves its sandbox on port 80 until the file `end` is there.
const SERVE: &str =
    "busybox httpd -f -p 80 -h . & until test -e end; do sleep 0.2; done; kill $!; exit 0";
/// The address of a board.
const ADDRESS: &str = "ip addr show eth0 | sed -n 's/.*inet \\([0-9.]*\\).*/\\1/p'";

#[test]
fn containers_have_networks_of_their_own() {
    let mut lab = Lab::new(json!({}));
    let [master, host] = ["board-1", "board-2"].map(|board| on(&lab, board, ADDRESS));
    only_what_is_its_own(&mut lab, &master);
    one_that_is_not_there(&mut lab);
    only_so_many_ports(&mut lab);
    datagrams(&mut lab, &host);
    let servers = two_on_the_same_port(&mut lab, &host);
    neighbours(&mut lab, &host);
    a_pod_is_one_place(&mut lab);
    another_agentd(&mut lab, &host);
    for server in &servers {
        end_of(&mut lab, server);
    }
    nothing_is_left(&lab, &host);
}

fn only_what_is_its_own(lab: &mut Lab, master: &str) {
    let text = format!(
        "ls /sys/class/net | tr '\\n' ' '; tail -n +3 /proc/net/dev | cut -d: -f1 | tr -d ' ' | sort | tr '\\n' ' '; \
         ifconfig eth0 | grep -o 'inet addr:[0-9.]*'; tail -1 /etc/hosts | cut -d' ' -f1; grep -q \" $(hostname)$\" /etc/hosts && echo named; \
         wget -q -O - http://{master}:5050/version | grep -c version; ifconfig eth0 10.1.1.1 2>/dev/null || echo refused"
    );
    let told = lab.contained(&text, network(json!([])));
    let status = told.status.clone();
    let shown = &status["container_status"]["network_infos"][0];
    let address = shown["ip_addresses"][0]["ip_address"].as_str().unwrap();
    assert_eq!(shown["name"], "mesos-bridge", "{shown}");
    assert!(address.starts_with("10.87.0."), "{shown}");
    let expected = format!("eth0 lo eth0 lo inet addr:{address}\n{address}\nnamed\n1\nrefused\n");
    assert_eq!(told.well(), expected);
    // Whoever asks for none has the host's.
    let told = lab.run("ls /sys/class/net | grep -c nesos0", json!({}));
    assert_eq!(told.well(), "1\n");
}

fn one_that_is_not_there(lab: &mut Lab) {
    let container = json!({"network_infos": [{"name": "elsewhere"}]});
    let refusal = lab.contained("true", container).refusal();
    assert!(refusal.contains("no network 'elsewhere'"), "{refusal}");
}

fn only_so_many_ports(lab: &mut Lab) {
    let mappings = |count: u32| {
        let one = |number| json!({"host_port": 31000 + number, "container_port": 1 + number});
        network((0..count).map(one).collect())
    };
    assert_eq!(lab.contained("echo all", mappings(64)).well(), "all\n");
    let refusal = lab.contained("true", mappings(65)).refusal();
    let sentence = "65 port mappings are asked for, 64 are possible";
    assert!(refusal.contains(sentence), "{refusal}");
    let agents = network(json!([{"host_port": 5051, "container_port": 80}]));
    let refusal = lab.contained("true", agents).refusal();
    assert!(
        refusal.contains("only ports that the agent offers"),
        "{refusal}"
    );
}

/// From another machine and from its own host. Nobody listens inside, where the kernel counts what came all the same.
fn datagrams(lab: &mut Lab, host: &str) {
    let count = "awk '/^Udp: [0-9]/ {print $3}' /proc/net/snmp";
    let text = format!("until test $({count}) -gt 0; do sleep 0.2; done; echo came");
    let mapping = json!([{"host_port": 31000, "container_port": 69, "protocol": "udp"}]);
    let mut container = network(mapping);
    container["type"] = "MESOS".into();
    for board in ["board-1", "board-2"] {
        let task = lab.launch(8, &text, json!({"container": container}));
        lab.wait_running(&task);
        let send = format!("timeout 3 busybox tftp -g -r x -l /tmp/x {host} 31000 2>/dev/null");
        on(lab, board, &send);
        assert_eq!(lab.end(&task).well(), "came\n", "{board}");
    }
}

fn two_on_the_same_port(lab: &mut Lab, host: &str) -> Vec<String> {
    let servers = [("a", 31000), ("b", 31001)].map(|(name, port)| {
        let mapping = json!([{"host_port": port, "container_port": 80, "protocol": "tcp"}]);
        let mut container = network(mapping);
        container["type"] = "MESOS".into();
        let check = json!({"type": "HTTP", "http": {"port": 80, "path": "/name"}, "delay_seconds": 0.0,
            "interval_seconds": 0.5, "grace_period_seconds": 600.0});
        let members = json!({"container": container, "health_check": check});
        let task = lab.launch(8, &format!("echo {name} > name; {SERVE}"), members);
        lab.wait_running(&task);
        task
    });
    for (name, port) in [("a", 31000), ("b", 31001)] {
        // From another machine, and from its own host.
        for board in ["board-1", "board-2"] {
            answers(lab, board, host, port, name);
        }
    }
    eventually("both are healthy", SOON, || {
        let look = "wget -q -O - http://127.0.0.1:5050/tasks | grep -o '\"healthy\":true' | wc -l";
        (on(lab, "board-1", look) != "0").then_some(())
    });
    servers.to_vec()
}

/// By their own addresses, and by mapped ports of the host.
fn neighbours(lab: &mut Lab, host: &str) {
    let state: Value = serde_json::from_str(&on(
        lab,
        "board-2",
        "wget -q -O - http://127.0.0.1:5051/containers",
    ))
    .unwrap();
    let mut addresses: Vec<&str> = state
        .as_array()
        .unwrap()
        .iter()
        .map(|one| &one["status"]["network_infos"][0]["ip_addresses"][0]["ip_address"])
        .map(|address| address.as_str().unwrap())
        .collect();
    addresses.sort_unstable();
    let text = format!(
        "for u in {}:80 {}:80 {host}:31000 {host}:31001; do wget -q -O - http://$u/name; done | sort | tr '\\n' ' '; \
         timeout 5 wget -q -O - http://127.0.0.1:80/name || echo alone",
        addresses[0], addresses[1]
    );
    let told = lab.contained(&text, network(json!([])));
    assert_eq!(told.well(), "a a b b alone\n");
}

fn a_pod_is_one_place(lab: &mut Lab) {
    let texts = [
        "echo pod > name; exec busybox httpd -f -p 8080 -h .",
        "until wget -q -O - http://127.0.0.1:8080/name 2>/dev/null; do sleep 0.2; done; echo $MESOS_CONTAINER_IP; exit 3",
    ];
    let tasks = lab.launch_group(network(json!([])), &texts);
    let told = lab.end(&tasks[1]);
    assert!(told.stdout.starts_with("pod\n10.87.0."), "{told:?}");
    let server = lab.end(&tasks[0]).status;
    let address = |status: &Value| {
        status["container_status"]["network_infos"][0]["ip_addresses"][0]["ip_address"].clone()
    };
    assert!(address(&server).is_string(), "{server}");
    assert_eq!(address(&server), address(&told.status));
}

/// Everybody is reached while there is no agentd and when there is the next, which knows who has what.
fn another_agentd(lab: &mut Lab, host: &str) {
    // PID 1 brings it back at once, so the mapping is asked for while it is stopped, too.
    on(lab, "board-2", "kill -STOP $(pidof agentd)");
    answers(lab, "board-1", host, 31000, "a");
    on(lab, "board-2", "kill -9 $(pidof agentd)");
    answers(lab, "board-1", host, 31001, "b");
    let _ = lab.cluster.active_node("board-2");
    let mapping = json!([{"host_port": 31000, "container_port": 80}]);
    let refusal = loop {
        let told = lab.contained("true", network(mapping.clone()));
        // Offers of the time before agentd's restart may still lie here.
        if told.status["reason"] != "REASON_INVALID_OFFERS" {
            break told.refusal();
        }
    };
    assert!(refusal.contains("mapped to another container"), "{refusal}");
    answers(lab, "board-1", host, 31000, "a");
}

fn nothing_is_left(lab: &Lab, host: &str) {
    let look = "ls /sys/class/net/nesos0/brif; ls -d /run/nesos/agentd/*/ 2>/dev/null; pidof nesos-executor";
    eventually("nothing is left", SOON, || {
        on(lab, "board-2", look).is_empty().then_some(())
    });
    let ask = format!("timeout 5 wget -q -O - http://{host}:31000/name 2>&1 || echo nobody");
    assert!(on(lab, "board-1", &ask).ends_with("nobody"));
}

fn network(mappings: Value) -> Value {
    json!({"network_infos": [{"name": "mesos-bridge", "port_mappings": mappings}]})
}

/// Waits until this port of a host leads to the server of this name.
fn answers(lab: &Lab, from: &str, host: &str, port: u16, name: &str) {
    let ask = format!("timeout 5 wget -q -O - http://{host}:{port}/name 2>/dev/null");
    eventually(&format!("{name} answers {from}"), SOON, || {
        (on(lab, from, &ask) == name).then_some(())
    });
}

/// What a command says on a board. A console has one listener at a time.
fn on(lab: &Lab, board: &str, command: &str) -> String {
    lab.cluster.shell(board).run(command).0
}

fn end_of(lab: &mut Lab, task: &str) {
    let touch = "for s in /data/agentd/slaves/*/frameworks/*/executors/*/runs/latest; do touch $s/end; done";
    on(lab, "board-2", touch);
    assert_eq!(lab.end(task).well(), "");
}
