//! The HTTP proxy of cluster.toml: which servers are reached through it, and how; and what tasks are told of it.
//!
//! Called by `client`, and by `settings` for tasks' environment. Invariant: the board's own network is never asked for through it, and
//! the answer to CONNECT is bounded.

use nesos_base::cluster_config::ClusterConfig;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

/// Longest answer to CONNECT: a status line and some headers.
const ANSWER_MAX: usize = 8 * 1024;
/// Never asked for through a proxy.
const OWN: [&str; 2] = ["localhost", ".local"];

/// A proxy, `http://host:port`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Proxy {
    address: String,
    /// Names and suffixes of names that are reached without it.
    direct: Vec<String>,
}

impl Proxy {
    /// The one that the file names.
    pub(crate) fn new(config: &ClusterConfig) -> Option<Self> {
        let address = config.proxy.as_deref()?.strip_prefix("http://")?;
        let direct = config.no_proxy.as_deref().unwrap_or_default().split(',');
        Some(Self {
            address: address.to_string(),
            direct: direct
                .chain(OWN)
                .filter(|d| !d.is_empty())
                .map(str::to_lowercase)
                .collect(),
        })
    }

    /// True if `host` is reached through it.
    pub(super) fn serves(&self, host: &str) -> bool {
        let host = host.to_lowercase();
        let is_loopback = host
            .parse()
            .is_ok_and(|ip: std::net::IpAddr| ip.is_loopback());
        let is_direct = |rule: &String| match rule.strip_prefix('.') {
            Some(domain) => host == domain || host.ends_with(rule.as_str()),
            None => {
                host == *rule
                    || host.ends_with(&format!(".{rule}"))
                    || in_network(&host, rule)
                    || rule == "*"
            }
        };
        !is_loopback && !self.direct.iter().any(is_direct)
    }

    pub(super) async fn connect(&self) -> Result<TcpStream, String> {
        let stream = TcpStream::connect(&self.address).await;
        stream.map_err(|e| format!("proxy {}: {e}", self.address))
    }

    /// A connection to `host` and `port` of which the proxy sees the bytes only.
    pub(super) async fn tunnel(&self, host: &str, port: u16) -> Result<TcpStream, String> {
        let failed = |e: std::io::Error| format!("proxy {}: {e}", self.address);
        let mut stream = self.connect().await?;
        let request = format!("CONNECT {host}:{port} HTTP/1.1\r\nHost: {host}:{port}\r\n\r\n");
        stream.write_all(request.as_bytes()).await.map_err(failed)?;
        let mut answer = Vec::new();
        // Byte by byte: what follows the empty line is the server's.
        while !answer.ends_with(b"\r\n\r\n") {
            if answer.len() >= ANSWER_MAX {
                return Err(format!("proxy {}: an answer without end", self.address));
            }
            answer.push(stream.read_u8().await.map_err(failed)?);
        }
        let text = String::from_utf8_lossy(&answer);
        let status = text.lines().next().unwrap_or_default();
        match status.split(' ').nth(1) {
            Some(code) if code.starts_with('2') => Ok(stream),
            _ => Err(format!("proxy {}: {status}", self.address)),
        }
    }
}

/// True if `host` is an IPv4 address in the network `rule`, such as 10.0.0.0/8.
fn in_network(host: &str, rule: &str) -> bool {
    let parse = |text: &str| text.parse::<std::net::Ipv4Addr>().ok().map(u32::from);
    let network = rule
        .split_once('/')
        .and_then(|(network, prefix)| Some((parse(network)?, prefix.parse::<u32>().ok()?)));
    let (Some(host), Some((network, prefix))) = (parse(host), network) else {
        return false;
    };
    let mask = u32::MAX
        .checked_shl(32u32.saturating_sub(prefix))
        .unwrap_or(0);
    prefix <= 32 && host & mask == network & mask
}

/// The variables by which programs are told of a proxy, in both spellings: curl reads small letters only, others large ones.
pub(crate) fn environment(config: &ClusterConfig) -> Vec<(String, String)> {
    let Some(proxy) = &config.proxy else {
        return Vec::new();
    };
    let mut direct = OWN.join(",");
    direct.push_str(",127.0.0.0/8");
    if let Some(more) = &config.no_proxy {
        direct = format!("{direct},{more}");
    }
    let pairs = [
        ("http_proxy", proxy),
        ("https_proxy", proxy),
        ("no_proxy", &direct),
    ];
    let both = pairs.into_iter().flat_map(|(name, value)| {
        [name.to_string(), name.to_uppercase()].map(|name| (name, value.clone()))
    });
    both.collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use tokio::net::TcpListener;

    fn config(address: &str) -> ClusterConfig {
        let text = format!(
            "[network]\nproxy = 'http://{address}'\nno_proxy = '10.0.0.0/8,intern.example,.lan'\n"
        );
        ClusterConfig::parse(text.as_bytes()).expect("valid")
    }

    #[test]
    fn the_own_network_is_reached_directly() {
        let proxy = Proxy::new(&config("proxy:3128")).expect("a proxy");
        for host in [
            "example.org",
            "11.0.0.1",
            "2001:db8::1",
            "notintern.example",
        ] {
            assert!(proxy.serves(host), "{host}");
        }
        for host in [
            "localhost",
            "127.0.0.1",
            "::1",
            "shelf-1.local",
            "10.2.3.4",
            "intern.example",
            "a.INTERN.example",
            "x.lan",
            "lan",
        ] {
            assert!(!proxy.serves(host), "{host}");
        }
        assert_eq!(Proxy::new(&ClusterConfig::default()), None);
    }

    #[test]
    fn tasks_are_told_in_both_spellings() {
        let variables = environment(&config("proxy:3128"));
        let value = |name: &str| {
            variables
                .iter()
                .find(|(n, _)| n == name)
                .map(|(_, v)| v.as_str())
        };
        assert_eq!(value("https_proxy"), Some("http://proxy:3128"));
        assert_eq!(value("HTTP_PROXY"), Some("http://proxy:3128"));
        assert_eq!(
            value("no_proxy"),
            Some("localhost,.local,127.0.0.0/8,10.0.0.0/8,intern.example,.lan")
        );
        assert_eq!(environment(&ClusterConfig::default()), []);
    }

    #[tokio::test]
    async fn a_tunnel_gives_what_comes_after_the_answer_and_its_refusal() {
        for (answer, expected) in [
            ("HTTP/1.1 200 fine\r\nVia: x\r\n\r\nhello", Ok("hello")),
            ("HTTP/1.1 403 no\r\n\r\n", Err("HTTP/1.1 403 no")),
            ("HTTP/1.1 200", Err("end of file")),
        ] {
            let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
            let address = listener.local_addr().expect("an address").to_string();
            let proxy = Proxy::new(&config(&address)).expect("a proxy");
            let server = async {
                let (mut stream, _) = listener.accept().await.expect("a client");
                let mut request = [0; 1024];
                let count = stream.read(&mut request).await.expect("a request");
                assert!(request[..count].starts_with(b"CONNECT example.org:443 HTTP/1.1\r\n"));
                stream
                    .write_all(answer.as_bytes())
                    .await
                    .expect("an answer");
            };
            let client = async {
                let mut stream = proxy.tunnel("example.org", 443).await?;
                let mut text = String::new();
                stream
                    .read_to_string(&mut text)
                    .await
                    .map_err(|e| e.to_string())?;
                Ok::<String, String>(text)
            };
            let (found, ()) = tokio::join!(client, server);
            match (found, expected) {
                (Ok(found), Ok(expected)) => assert_eq!(found, expected),
                (Err(found), Err(expected)) => assert!(found.contains(expected), "{found}"),
                other => panic!("{other:?}"),
            }
        }
    }
}
