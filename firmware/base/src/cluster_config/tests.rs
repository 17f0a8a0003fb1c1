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

#[test]
fn what_is_about_the_board_itself_is_understood() {
    let key =
        "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIJv8u0t7R0nH0uL3YQ2w5l7nVb0yqD0o3bq0x9m0a1b2 me@home";
    let text = format!(
        "[network]\nproxy = 'http://10.0.0.1:3128/'\nno_proxy = '10.0.0.0/8,.local'\nntp = ['10.0.0.1', 'time.example.org']\n\
         [wifi]\nssid = 'Käse'\npsk = 'hunter22'\ncountry = 'de'\n[ssh]\nkeys = ['{key}']\n\
         [agent]\nattributes = 'rack:a;'\nreserved_memory = 96\n[agent.labels]\nzone = 'shed'\n"
    );
    let config = ClusterConfig::parse(text.as_bytes()).expect("valid");
    assert_eq!(config.proxy.as_deref(), Some("http://10.0.0.1:3128"));
    assert_eq!(config.no_proxy.as_deref(), Some("10.0.0.0/8,.local"));
    assert_eq!(config.ntp, ["10.0.0.1", "time.example.org"]);
    let wifi = config.wifi.expect("wifi");
    assert_eq!(wifi.secret, Some(WifiSecret::Password("hunter22".into())));
    assert_eq!(wifi.country.as_deref(), Some("DE"));
    assert!(!format!("{wifi:?}").contains("hunter"));
    assert_eq!(config.ssh_keys, [key]);
    assert_eq!(config.attributes.as_deref(), Some("rack:a;zone:shed"));
    assert_eq!(config.reserved_memory, Some(96));
}

#[test]
fn wrong_values_about_the_board_are_named_without_secrets() {
    for (text, expected) in [
        ("[wifi]\npsk = 'hunter22'", "wifi.ssid"),
        (
            "[wifi]\nssid = 'x'\npsk = 'short'",
            "wifi.psk: expected a password",
        ),
        ("[wifi]\nssid = 'x'\ncountry = 'DEU'", "wifi.country"),
        (
            "[ssh]\nkeys = ['AAAA me']",
            "ssh.keys: expected public keys",
        ),
        ("[ssh]\nkeys = ['ssh-rsa AAAA']", "ssh.keys"),
        (
            "[network]\nproxy = 'http://me:secret@host:1'",
            "network.proxy",
        ),
        ("[network]\nproxy = 'https://host:1'", "network.proxy"),
        ("[network]\nno_proxy = 'a, b'", "network.no_proxy"),
        ("[network]\nntp = ['a b']", "network.ntp"),
        (
            "[agent]\nreserved_memory = 2000000",
            "agent.reserved_memory",
        ),
        ("[agent.labels]\nrack = 'a;b'", "agent.labels"),
    ] {
        let message = error(text);
        assert!(message.contains(expected), "{text}: {message}");
        assert!(!message.contains("secret") && !message.contains("'short'"));
    }
}
