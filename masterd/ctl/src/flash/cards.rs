//! What stands in the `cluster.toml` of each card of a shelf. Pure but for the cluster's key, which the caller makes.
//!
//! Called by the parent. Invariant: what is returned is read back by the board's own parser before anybody gets it.

use nesos_base::cluster_config::{ClusterConfig, ConfigError, is_host_label};
use nesos_base::token::ClusterKey;
use nesos_shell::tls::{self, TlsError};
use toml::{Table, Value};

/// What the command line says about the cards.
#[derive(Debug, Default)]
pub(super) struct Wishes {
    /// `--config`, as text.
    pub(super) config: String,
    /// `--name`.
    pub(super) name: Option<String>,
    /// `--cluster`.
    pub(super) cluster: Option<String>,
    /// `--token`.
    pub(super) token: Option<String>,
    /// `--role`.
    pub(super) role: Option<&'static str>,
    /// Network and key.
    pub(super) wifi: Option<(String, Option<String>)>,
    /// Lines of `--ssh-key`.
    pub(super) ssh_keys: Vec<String>,
    /// `--count`.
    pub(super) count: u16,
    /// `--masters`.
    pub(super) masters: u8,
}

/// Why there is no cluster.toml for a card.
#[derive(Debug, thiserror::Error)]
pub(crate) enum CardError {
    /// The file of `--config`, or what the options make of it, would be refused by the board.
    #[error(transparent)]
    Config(#[from] ConfigError),
    /// A value of the file is no table.
    #[error("cluster.toml: {0}: expected a table")]
    Table(&'static str),
    /// Written again it would not be TOML.
    #[error("write cluster.toml: {0}")]
    Write(#[from] toml::ser::Error),
    /// A name with a number that is too long or has other letters.
    #[error("{0:?} cannot be a node's name: expected 1 to 30 letters, digits and inner hyphens")]
    Name(String),
    /// Roles of a whole shelf are not one role.
    #[error(
        "--role is one card's: of {0} cards without a token the first --masters are master and agent, the others agents"
    )]
    Roles(u16),
    /// The token.
    #[error("derive the join token: {0}")]
    Token(#[from] TlsError),
}

/// The cards of one command.
#[derive(Debug)]
pub(super) struct Cards {
    wishes: Wishes,
    base: Table,
    /// Of the cluster that these cards found.
    key: Option<ClusterKey>,
}

/// One card's file.
#[derive(Debug)]
pub(super) struct Card {
    /// The node's name, if it has one.
    pub(super) name: Option<String>,
    /// `cluster.toml`; `None`: nothing was asked for, the image stays as it is.
    pub(super) toml: Option<String>,
}

impl Cards {
    /// Checks the wishes. `new_key` is called if a cluster is to be founded.
    pub(super) fn new(
        wishes: Wishes,
        new_key: impl FnOnce() -> Result<ClusterKey, TlsError>,
    ) -> Result<Self, CardError> {
        let config = ClusterConfig::parse(wishes.config.as_bytes())?;
        let base = toml::from_str(&wishes.config)
            .map_err(|e| ConfigError::Toml(e.message().to_owned()))?;
        let has_token = wishes.token.is_some() || config.token.is_some();
        let founds = wishes.count > 1 && !has_token;
        if founds && wishes.role.is_some() {
            return Err(CardError::Roles(wishes.count));
        }
        let key = match (founds, config.key) {
            (false, _) => None,
            (true, Some(key)) => Some(key),
            (true, None) => Some(new_key()?),
        };
        Ok(Self { wishes, base, key })
    }

    /// The join token of the cluster that these cards found.
    pub(super) fn token(&self) -> Result<Option<String>, CardError> {
        let token = self.key.as_ref().map(tls::join_token).transpose()?;
        Ok(token.map(|token| token.to_text()))
    }

    /// The card with this number.
    pub(super) fn card(&self, number: u16) -> Result<Card, CardError> {
        let Wishes {
            name,
            cluster,
            token,
            role,
            wifi,
            ssh_keys,
            count,
            ..
        } = &self.wishes;
        let mut root = self.base.clone();
        let given = name.clone().or_else(|| text(&root, "name"));
        let name = match *count {
            1 => given,
            _ => Some(format!("{}-{number}", given.as_deref().unwrap_or("node"))),
        };
        if let Some(name) = &name {
            if !is_host_label(name) {
                return Err(CardError::Name(name.clone()));
            }
            set(&mut root, "name", name);
        }
        if let Some(role) = role {
            set(&mut root, "role", role);
        }
        if let Some(cluster) = cluster {
            set(table(&mut root, "cluster")?, "name", cluster);
        }
        if let Some(token) = token {
            set(table(&mut root, "cluster")?, "token", token);
        }
        self.found(&mut root, number)?;
        if let Some((ssid, psk)) = wifi {
            let wifi = table(&mut root, "wifi")?;
            set(wifi, "ssid", ssid);
            wifi.remove("psk");
            if let Some(psk) = psk {
                set(wifi, "psk", psk);
            }
        }
        if !ssh_keys.is_empty() {
            let keys = ssh_keys.iter().cloned().map(Value::String).collect();
            table(&mut root, "ssh")?.insert("keys".to_owned(), Value::Array(keys));
        }
        if root == self.base {
            let unchanged = (!self.wishes.config.is_empty()).then(|| self.wishes.config.clone());
            return Ok(Card {
                name,
                toml: unchanged,
            });
        }
        let written = format!("# Written by `nesos flash`.\n{}", toml::to_string(&root)?);
        ClusterConfig::parse(written.as_bytes())?;
        Ok(Card {
            name,
            toml: Some(written),
        })
    }

    /// The roles in a new cluster: the first cards have its key, the others its token.
    fn found(&self, root: &mut Table, number: u16) -> Result<(), CardError> {
        let Some(key) = &self.key else { return Ok(()) };
        let masters = u16::from(self.wishes.masters);
        let is_master = number <= masters;
        set(root, "role", if is_master { "both" } else { "agent" });
        let cluster = table(root, "cluster")?;
        if !is_master {
            cluster.remove("key");
            set(cluster, "token", &tls::join_token(key)?.to_text());
            return Ok(());
        }
        set(cluster, "key", &key.to_text());
        if masters > 1 {
            cluster.insert("masters".to_owned(), Value::Integer(masters.into()));
        }
        if number > 1 {
            set(cluster, "master", "mdns");
        }
        Ok(())
    }
}

fn text(table: &Table, key: &str) -> Option<String> {
    table.get(key).and_then(Value::as_str).map(str::to_owned)
}

fn set(table: &mut Table, key: &str, value: &str) {
    table.insert(key.to_owned(), Value::String(value.to_owned()));
}

fn table<'a>(root: &'a mut Table, key: &'static str) -> Result<&'a mut Table, CardError> {
    let entry = root
        .entry(key)
        .or_insert_with(|| Value::Table(Table::new()));
    entry.as_table_mut().ok_or(CardError::Table(key))
}

/// WPA2's key of a password, as every access point makes it: 64 hex digits.
pub(super) fn wifi_key(ssid: &str, password: &str) -> String {
    /// Rounds that IEEE 802.11i asks for.
    const ROUNDS: u32 = 4096;
    let rounds = std::num::NonZeroU32::new(ROUNDS).unwrap_or(std::num::NonZeroU32::MIN);
    let mut key = [0; 32];
    let algorithm = ring::pbkdf2::PBKDF2_HMAC_SHA1;
    ring::pbkdf2::derive(
        algorithm,
        rounds,
        ssid.as_bytes(),
        password.as_bytes(),
        &mut key,
    );
    key.iter().map(|byte| format!("{byte:02x}")).collect()
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;
    use nesos_base::cluster_config::{MasterAt, Role};

    fn cards(wishes: Wishes) -> Result<Cards, CardError> {
        Cards::new(wishes, || Ok(ClusterKey([7; 32])))
    }

    fn shelf(wishes: Wishes) -> Vec<ClusterConfig> {
        let count = wishes.count;
        let cards = cards(wishes).unwrap();
        let one = |number| {
            ClusterConfig::parse(cards.card(number).unwrap().toml.unwrap().as_bytes()).unwrap()
        };
        (1..=count).map(one).collect()
    }

    #[test]
    fn a_shelf_founds_its_cluster() {
        let wishes = Wishes {
            config: "[agent]\nattributes = 'rack:a'\n".into(),
            cluster: Some("home".into()),
            count: 5,
            masters: 3,
            ssh_keys: vec![
                "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIJv8u0t7R0nH0uL3YQ2w5l7nVb0y me".into(),
            ],
            ..Wishes::default()
        };
        let all = shelf(wishes);
        let names: Vec<_> = all.iter().map(|c| c.name.clone().unwrap()).collect();
        assert_eq!(names, ["node-1", "node-2", "node-3", "node-4", "node-5"]);
        assert!(
            all.iter()
                .all(|c| c.cluster == "home" && c.ssh_keys.len() == 1 && c.attributes.is_some())
        );
        let masters: Vec<_> = all
            .iter()
            .map(|c| (c.role, c.key.is_some(), c.masters))
            .collect();
        assert_eq!(masters[..3], [(Role::Both, true, Some(3)); 3]);
        assert_eq!(masters[3..], [(Role::Agent, false, None); 2]);
        assert_eq!(
            (all[0].master.clone(), all[1].master.clone()),
            (None, Some(MasterAt::Mdns))
        );
        assert!(all[4].token.is_some() && all[0].token.is_none());
    }

    #[test]
    fn cards_of_a_cluster_that_is_there_have_its_token() {
        let token = tls::join_token(&ClusterKey([9; 32])).unwrap().to_text();
        let wishes = Wishes {
            name: Some("shelf".into()),
            token: Some(token),
            role: Some("agent"),
            count: 2,
            ..Wishes::default()
        };
        let all = shelf(wishes);
        assert!(
            all.iter()
                .all(|c| c.token.is_some() && c.key.is_none() && c.role == Role::Agent)
        );
        assert_eq!(all[1].name.as_deref(), Some("shelf-2"));
    }

    #[test]
    fn a_file_alone_stays_as_it_was_written() {
        let config = "# mine\nname = 'a'\n".to_owned();
        let one = |config: &str| {
            let wishes = Wishes {
                config: config.into(),
                count: 1,
                ..Wishes::default()
            };
            cards(wishes).unwrap().card(1).unwrap()
        };
        assert_eq!(one(&config).toml, Some(config));
        assert!(one("").toml.is_none());
    }

    #[test]
    fn what_a_board_would_refuse_is_not_written() {
        let error = |wishes: Wishes| match cards(wishes).map(|cards| cards.card(12)) {
            Err(error) | Ok(Err(error)) => error.to_string(),
            Ok(Ok(card)) => panic!("{card:?}"),
        };
        let named = |name: &str, count| Wishes {
            name: Some(name.into()),
            count,
            ..Wishes::default()
        };
        assert!(error(named("a b", 1)).contains("cannot be a node's name"));
        assert!(error(named(&"x".repeat(28), 20)).contains("cannot be a node's name"));
        let token = Wishes {
            token: Some("nesos-x".into()),
            count: 1,
            ..Wishes::default()
        };
        assert!(error(token).contains("cluster.token"));
        let role = Wishes {
            role: Some("agent"),
            count: 2,
            ..Wishes::default()
        };
        assert!(error(role).contains("--role is one card's"));
        let config = Wishes {
            config: "nmae = 'x'".into(),
            count: 1,
            ..Wishes::default()
        };
        assert!(error(config).contains("nmae"));
    }

    #[test]
    fn a_wireless_key_is_that_of_the_standard() {
        // IEEE 802.11i, annex H.4.
        assert_eq!(
            wifi_key("IEEE", "password"),
            "f42c6fc52df0ebef9ebb4b90b38a5f902e83fe1b135a70e23aed762e9710a12e"
        );
    }
}
