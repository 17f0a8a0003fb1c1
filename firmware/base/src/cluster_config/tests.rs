//! What the file may say, and what is said of a wrong one.
use super::*;

fn error(text: &str) -> String {
    ClusterConfig::parse(text.as_bytes())
        .expect_err(text)
        .to_string()
}

#[test]
fn an_empty_file_means_defaults() {
    let config = ClusterConfig::parse(b"").expect("valid");
    assert_eq!(
        (config.role, config.cluster.as_str()),
        (Role::Auto, DEFAULT_CLUSTER)
    );
}

#[test]
fn a_full_file_is_understood() {
    let key = ClusterKey([9; 32]).to_text();
    let text = format!(
        "name = 'shelf-1'\nrole = 'both'\n[cluster]\nname = 'home'\nkey = '{key}'\nmaster = '10.0.0.1:5050'\n\
             [network]\naddress = '10.0.0.7/24'\ngateway = '10.0.0.1'\n[api]\naccess = 'open'\n\
             [agent]\nattributes = 'rack:a'\nresources = 'cpus:2'\nisolation = 'cgroups/cpuset'\n"
    );
    let config = ClusterConfig::parse(text.as_bytes()).expect("valid");
    assert_eq!(config.network.map(|n| n.prefix), Some(24));
    assert_eq!(config.key, Some(ClusterKey([9; 32])));
    assert_eq!(config.api_access, ApiAccess::Open);
    assert_eq!(config.isolation.as_deref(), Some("cgroups/cpuset"));
}

#[test]
fn a_master_is_named_or_found() {
    let parse = |text: &str| ClusterConfig::parse(text.as_bytes()).expect("valid");
    let config = parse("[cluster]\nmaster = 'mdns'\nmasters = 3\nelection_timeout_ms = 900");
    assert_eq!(
        (config.master, config.masters, config.election_timeout_ms),
        (Some(MasterAt::Mdns), Some(3), Some(900))
    );
    let config = parse("[cluster]\nmaster = 'shelf:5050'");
    assert_eq!(
        config.master.as_ref().map(MasterAt::text),
        Some("shelf:5050")
    );
    assert_eq!((parse("").master, parse("").masters), (None, None));
}

#[test]
fn errors_name_key_and_expectation() {
    assert!(error("nmae = 'x'").contains("nmae"));
    let role = error("name = 'x'\nrole = 'boss'");
    assert!(
        role.contains("line 2") && role.contains("role: ") && role.contains("master"),
        "{role}"
    );
    assert!(error("role = 7").contains("role: "));
    assert!(error("name = 'a b'").contains("name: expected 1 to 30 letters"));
    assert!(error("[network]\naddress = '10.0.0.1'").contains("network.address"));
    assert!(error("[cluster]\nmaster = 'x'").contains("cluster.master: expected host:port"));
    for count in ["0", "2", "9", "300"] {
        let text = error(&format!("[cluster]\nmasters = {count}"));
        assert!(
            text.contains("cluster.masters: expected 1, 3, 5 or 7"),
            "{text}"
        );
    }
    let text = error("[cluster]\nelection_timeout_ms = 70000");
    assert!(
        text.contains("cluster.election_timeout_ms: expected 50 to 60000"),
        "{text}"
    );
    assert!(error("[cluster]\nmasters = -3").contains("masters"));
    assert!(error("[cluster]\ndomain = 'shed'").contains("cluster.domain: expected region/zone"));
    assert!(error("[agent]\nresources = 'cpus'").contains("agent.resources"));
    assert!(matches!(
        ClusterConfig::parse(&[0x61, 0xff]),
        Err(ConfigError::NotText(1))
    ));
    assert!(matches!(
        ClusterConfig::parse(&[b'#'; MAX_FILE + 1]),
        Err(ConfigError::TooLarge(_))
    ));
}

#[test]
fn a_broken_line_is_located_but_not_repeated() {
    let message = error("[cluster]\ntoken = 'nesos-0123\n");
    assert!(
        message.contains("line 2") && !message.contains("0123"),
        "{message}"
    );
    let message = error("[cluster]\ntoken = 'nesos-key-0123'\n");
    assert!(
        message.contains("cluster.token") && !message.contains("0123"),
        "{message}"
    );
}
