//! Masters announce themselves, and are found, on a network that the test makes for itself.
//!
//! The test runs itself once more in a network namespace: multicast on the machine's own network would be heard by others.
#![allow(clippy::unwrap_used)]
#![cfg(feature = "mdns")]

use std::process::Command;
use std::time::Duration;

use nesos_shell::mdns::{self, Advertisement, Browser, Found, Mode};

/// Set in the namespace.
const INSIDE: &str = "NESOS_TEST_INSIDE";
/// A network of one host: what it sends to all, it hears itself.
const NETWORK: &str = "ip link add nesos0 type veth peer name nesos1 && ip addr add 10.9.8.7/24 dev nesos0 && \
                       ip link set nesos0 up && ip link set nesos1 up && exec \"$0\" \"$@\"";
/// How long anything may take: generous, machines are shared.
const DEADLINE: Duration = Duration::from_secs(30);

#[test]
fn a_leader_is_found_and_takes_its_word_back() {
    if std::env::var_os(INSIDE).is_some() {
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_all()
            .build()
            .unwrap();
        let story = async { tokio::time::timeout(DEADLINE, story()).await.unwrap() };
        return runtime.block_on(story);
    }
    let mut again = Command::new("unshare");
    again.args(["--map-root-user", "--net", "sh", "-c", NETWORK]);
    again.arg(std::env::current_exe().unwrap());
    again.args([
        "--exact",
        "a_leader_is_found_and_takes_its_word_back",
        "--nocapture",
    ]);
    let output = again.env(INSIDE, "yes").output().unwrap();
    let text = String::from_utf8_lossy(&output.stdout);
    assert!(
        output.status.success() && text.contains("1 passed"),
        "{output:?}"
    );
}

async fn story() {
    let mode = Mode::parse("nesos0");
    let master = |node: &str, port, leads| Advertisement {
        cluster: "home".into(),
        node: node.into(),
        port,
        version: "1".into(),
        role: "both".into(),
        leads,
        address: None,
    };
    let browse = || mdns::browse(&mode, Some("home")).unwrap().unwrap();
    let (mut one, mut two) = (
        master("shelf-1", 5050, true),
        master("shelf-2", 5051, false),
    );
    let first = mdns::advertise(&mode, &one).unwrap().unwrap();
    let second = mdns::advertise(&mode, &two).unwrap().unwrap();
    // Somebody who has watched from the start hears of each change.
    let mut watching = browse();
    until(&mut watching, "home-shelf-1", true).await;
    until(&mut watching, "home-shelf-2", false).await;
    let found = browse().leader_within(DEADLINE).await.unwrap();
    assert_eq!(found.addresses, ["10.9.8.7:5050".parse().unwrap()]);
    assert!(found.leads);

    one.leads = false;
    first.update(&one).unwrap();
    until(&mut watching, "home-shelf-1", false).await;
    // Nobody leads for a moment: any master will do.
    assert!(!browse().leader_within(DEADLINE).await.unwrap().leads);
    two.leads = true;
    second.update(&two).unwrap();
    until(&mut watching, "home-shelf-2", true).await;
    let found = browse().leader_within(DEADLINE).await.unwrap();
    assert_eq!(
        (found.name.as_str(), found.addresses),
        ("home-shelf-2", vec!["10.9.8.7:5051".parse().unwrap()])
    );

    // Another cluster's masters are nobody's.
    let mut strangers = mdns::browse(&mode, Some("garden")).unwrap().unwrap();
    assert_eq!(strangers.leader_within(Duration::from_secs(2)).await, None);
}

async fn until(browser: &mut Browser, name: &str, leads: bool) {
    loop {
        let Found {
            name: found,
            leads: says,
            ..
        } = browser.next().await.unwrap();
        if (found.as_str(), says) == (name, leads) {
            return;
        }
    }
}
