//! Service ports: by which others find an app, whatever its instances' ports are.
//!
//! A pure function of those in use. Called where definitions are taken in. Invariant: two apps never get the same one by
//! themselves; who names a port gets it, as with Marathon.

use std::collections::BTreeSet;
use std::ops::RangeInclusive;

use super::app::App;
use super::parts::NetworkMode;

/// Chosen from these, as with Marathon.
pub const CHOSEN: RangeInclusive<u16> = 10_000..=20_000;

/// No port is left.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("there is no service port left from {} to {}", CHOSEN.start(), CHOSEN.end())]
pub struct NoPortLeft;

/// Chooses a port for each that is 0: the one that it had before, or else the lowest that nobody has.
///
/// # Errors
/// None is left.
pub fn choose(app: &mut App, before: &[u16], used: &BTreeSet<u16>) -> Result<(), NoPortLeft> {
    let mut taken = used.clone();
    taken.extend(app.service_ports());
    let mut choose = |index: usize, port: &mut u16| {
        if *port != 0 {
            return Ok(());
        }
        let had = before.get(index).copied().filter(|port| *port != 0);
        let free = had.into_iter().chain(CHOSEN);
        let chosen = free.into_iter().find(|port| !taken.contains(port));
        *port = chosen.ok_or(NoPortLeft)?;
        taken.insert(*port);
        Ok(())
    };
    if app.network_mode() != NetworkMode::Host {
        let mappings = app.container.iter_mut();
        let mut mappings = mappings.flat_map(|own| &mut own.port_mappings).enumerate();
        return mappings.try_for_each(|(index, mapping)| choose(index, &mut mapping.service_port));
    }
    let mut definitions = app.port_definitions.iter_mut().enumerate();
    definitions.try_for_each(|(index, definition)| choose(index, &mut definition.port))?;
    app.ports = app.service_ports();
    Ok(())
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    fn app(rest: &str) -> App {
        let text = format!(r#"{{"id":"a","cmd":"x",{rest}}}"#);
        App::from_json(text.as_bytes(), "/").unwrap()
    }

    #[test]
    fn ports_that_nobody_has_are_chosen_and_kept() {
        let mut one = app(r#""ports":[0,10001,0,0]"#);
        let used = BTreeSet::from([10_000, 10_003]);
        choose(&mut one, &[], &used).unwrap();
        assert_eq!(one.service_ports(), [10_002, 10_001, 10_004, 10_005]);
        assert_eq!(one.ports, one.service_ports());
        let mut again = app(r#""ports":[0,0,0]"#);
        choose(&mut again, &one.service_ports(), &used).unwrap();
        assert_eq!(again.service_ports(), [10_002, 10_001, 10_004]);
        let mut mapped = app(r#""container":{"portMappings":[{"containerPort":80}]}"#);
        choose(&mut mapped, &[], &used).unwrap();
        assert_eq!(mapped.service_ports(), [10_001]);
        let all = CHOSEN.collect();
        let refused = choose(&mut app(r#""ports":[0]"#), &[], &all).unwrap_err();
        assert!(
            refused.to_string().contains("from 10000 to 20000"),
            "{refused}"
        );
    }
}
