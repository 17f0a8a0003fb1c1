//! The books, without a kernel. What the kernel makes of them is in `tests/networks.rs` and in the guest.
#![allow(clippy::unwrap_used)]

use super::*;
use nesos_wire::resource_text;

fn books() -> Rc<Books> {
    Rc::new(Books {
        name: "net".into(),
        bridge: "br".into(),
        resources: resource_text::parse("cpus:1;ports:[31000-31001]").unwrap(),
        state: RefCell::new(State {
            addresses: Addresses::new("10.87.0.0/24".parse().unwrap()),
            members: BTreeMap::new(),
            networks: BTreeMap::new(),
            kernel: None,
        }),
    })
}

#[test]
fn a_note_outlives_agentd_and_the_last_member_gives_all_back() {
    let run = tempfile::tempdir().unwrap();
    fs::write(run.path().join(NOTE), "pod 10.87.0.9 tcp:31000:80").unwrap();
    let bridge = Bridge(books());
    let [a, b] = ["a", "b"].map(ContainerId::new);
    bridge.adopt(&a, run.path());
    bridge.adopt(&b, run.path());
    bridge.adopt(&ContainerId::new("other"), Path::new("/nothing"));
    let address = IpAddr::from([10, 87, 0, 9]);
    let shown = bridge.0.shown(&a).unwrap();
    assert_eq!(bridge.0.shown(&b).unwrap(), shown);
    assert_eq!(shown.name.as_deref(), Some("net"));
    assert_eq!(shown.ip_addresses[0].ip_address, Some(address.to_string()));
    assert_eq!(shown.port_mappings[0].host_port, 31000);
    assert!(bridge.0.shown(&ContainerId::new("other")).is_none());
    bridge.release(&a);
    assert!(bridge.0.has(address));
    bridge.release(&b);
    assert!(!bridge.0.has(address) && bridge.0.shown(&b).is_none());
}

#[test]
fn mappings_are_of_ports_that_are_offered() {
    let books = books();
    let info = |host, protocol: Option<&str>| v1::NetworkInfo {
        port_mappings: vec![v1::NetworkInfoPortMapping {
            host_port: host,
            container_port: 80,
            protocol: protocol.map(Into::into),
        }],
        ..v1::NetworkInfo::default()
    };
    let read = |host, protocol| {
        books
            .mappings(&info(host, protocol))
            .map(|all| all[0].to_string())
    };
    assert_eq!(read(31000, None).unwrap(), "tcp:31000:80");
    assert_eq!(read(31001, Some("UDP")).unwrap(), "udp:31001:80");
    let error = read(5051, None).unwrap_err().to_string();
    assert!(
        error.contains("only ports that the agent offers"),
        "{error}"
    );
    let error = read(31000, Some("sctp")).unwrap_err().to_string();
    assert!(error.contains("'sctp:31000:80' is no mapping"), "{error}");
}

#[test]
fn name_servers_on_the_loopback_are_of_no_use() {
    assert!(!reaches_out(
        "# none\nnameserver 127.0.0.53\noptions edns0\n"
    ));
    assert!(reaches_out(
        "search x\nnameserver 127.0.0.53\nnameserver 192.0.2.1\n"
    ));
    assert!(!reaches_out(""));
}
