//! `NetworkInfo`: what a container may ask of networks, as far as no agent is needed to say so.
//!
//! Called for the containers of tasks and executors. Whether an agent has a network of this name, and the ports, is the
//! agent's to find out.

use nesos_api::v1;

/// Without a name it is the host's network, as in Mesos.
pub(super) fn check(container: &v1::ContainerInfo) -> Result<(), String> {
    let infos = &container.network_infos;
    let named = infos.iter().filter(|info| info.name.is_some()).count();
    if named > 1 {
        return Err("A container can be in one network only, 'network_infos' names more".into());
    }
    infos.iter().try_for_each(check_one)
}

/// HTTP and TCP checks of a task of a group that has a network of its own are refused by Mesos: its executor, which is to look,
/// is not in it.
pub(super) fn check_grouped(info: &v1::TaskInfo) -> Result<(), String> {
    let infos = info.container.iter().flat_map(|own| &own.network_infos);
    if infos.count() == 0 {
        return Ok(());
    }
    let health = info.health_check.as_ref().and_then(|check| check.r#type);
    let check = info.check.as_ref().and_then(|check| check.r#type);
    let is_remote = matches!(
        health,
        Some(v1::HealthCheckType::Http | v1::HealthCheckType::Tcp)
    ) || matches!(
        check,
        Some(v1::CheckInfoType::Http | v1::CheckInfoType::Tcp)
    );
    match is_remote {
        true => Err(
            "HTTP and TCP checks are not supported for a task of a group with 'network_infos' of its own"
                .into(),
        ),
        false => Ok(()),
    }
}

fn check_one(info: &v1::NetworkInfo) -> Result<(), String> {
    match info.name.as_deref() {
        Some("") => return Err("'NetworkInfo.name' must not be empty".into()),
        None if !info.port_mappings.is_empty() => {
            return Err(
                "'NetworkInfo.port_mappings' need 'NetworkInfo.name': the host's own network maps nothing".into(),
            );
        }
        _ => {}
    }
    if info.name.is_some() && info.ip_addresses.iter().any(|one| one.ip_address.is_some()) {
        return Err("'NetworkInfo.ip_addresses' cannot be chosen, the agent gives them".into());
    }
    if info
        .ip_addresses
        .iter()
        .any(|one| one.protocol() == v1::NetworkInfoProtocol::IPv6)
    {
        return Err("'NetworkInfo.ip_addresses': container networks are IPv4 only".into());
    }
    info.port_mappings.iter().try_for_each(check_mapping)
}

fn check_mapping(mapping: &v1::NetworkInfoPortMapping) -> Result<(), String> {
    let ports = [
        ("host_port", mapping.host_port),
        ("container_port", mapping.container_port),
    ];
    for (field, port) in ports {
        if !(1..=65_535).contains(&port) {
            return Err(format!(
                "'PortMapping.{field}' must be from 1 to 65535, found {port}"
            ));
        }
    }
    match mapping.protocol.as_deref().map(str::to_ascii_lowercase) {
        Some(other) if other != "tcp" && other != "udp" => Err(format!(
            "'PortMapping.protocol' must be 'tcp' or 'udp', found '{other}'"
        )),
        _ => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    fn container(infos: &str) -> v1::ContainerInfo {
        let text = format!(r#"{{"type":"MESOS","network_infos":{infos}}}"#);
        v1::ContainerInfo::from_json(text.as_bytes()).unwrap()
    }

    #[test]
    fn what_an_agent_may_have_passes() {
        let mapped = r#"[{"name":"n","labels":{"labels":[]},"port_mappings":[{"host_port":31000,"container_port":80},
            {"host_port":1,"container_port":65535,"protocol":"UDP"}]}]"#;
        for infos in ["[]", "[{}]", r#"[{"ip_addresses":[{}]}]"#, mapped] {
            assert_eq!(check(&container(infos)), Ok(()), "{infos}");
        }
    }

    #[test]
    fn the_rest_names_its_field() {
        let mapping = |text: &str| format!(r#"[{{"name":"n","port_mappings":[{{{text}}}]}}]"#);
        let cases = [
            (r#"[{"name":"a"},{"name":"b"}]"#.to_owned(), "names more"),
            (r#"[{"name":""}]"#.to_owned(), "'NetworkInfo.name'"),
            (
                r#"[{"port_mappings":[{"host_port":1,"container_port":1}]}]"#.to_owned(),
                "need 'NetworkInfo.name'",
            ),
            (
                r#"[{"name":"n","ip_addresses":[{"ip_address":"10.0.0.9"}]}]"#.to_owned(),
                "cannot be chosen",
            ),
            (
                r#"[{"name":"n","ip_addresses":[{"protocol":"IPv6"}]}]"#.to_owned(),
                "IPv4 only",
            ),
            (
                mapping(r#""host_port":0,"container_port":1"#),
                "'PortMapping.host_port' must be from 1 to 65535, found 0",
            ),
            (
                mapping(r#""host_port":1,"container_port":70000"#),
                "'PortMapping.container_port'",
            ),
            (
                mapping(r#""host_port":1,"container_port":1,"protocol":"sctp""#),
                "found 'sctp'",
            ),
        ];
        for (infos, says) in cases {
            let why = check(&container(&infos)).unwrap_err();
            assert!(why.contains(says), "{infos}: {why}");
        }
    }
}
