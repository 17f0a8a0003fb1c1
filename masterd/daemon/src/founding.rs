//! Before a master founds a group: whether there is one of its cluster already.
//!
//! A founder whose card was replaced has the same cluster.toml and an empty disk; founding once more would make two clusters with
//! one key. Called once by `main`. Invariants: mDNS is only a hint, who answers counts if it has the cluster's key; a master that
//! has founded or been let in before does not come here.

use std::net::SocketAddr;
use std::time::Duration;

use nesos_base::token::ClusterKey;
use nesos_shell::mdns;
use nesos_shell::tls::{self, Authority};
use tokio::net::TcpStream;
use tokio::time::{Instant, timeout, timeout_at};

use crate::about::About;
use crate::client;
use crate::identity::Identity;
use crate::options::Options;

/// How long others are looked for: mDNS asks at once, after one second and after three; who takes part answers within 120 ms.
const LOOK: Duration = Duration::from_millis(3500);
/// How long one that was found may take to prove itself: a handshake on a slow board.
const PROOF: Duration = Duration::from_secs(2);

/// Whether this is to found a group of several masters, and others of its cluster take part in one already: then it is to ask
/// them to let it in.
pub(crate) async fn is_late(options: &Options, about: &About) -> anyhow::Result<bool> {
    let is_new = !options.work_dir.join("registry").exists();
    let founds_many = options.join.is_none() && options.masters > 1;
    if !is_new || !founds_many || options.mdns == mdns::Mode::Off {
        return Ok(false);
    }
    let identity = Identity::load(&options.work_dir, options.key.clone())?;
    // With a key that nobody else can have there are no others.
    if identity.is_new {
        return Ok(false);
    }
    about.await_address().await;
    let Some(mut browser) = mdns::browse(&options.mdns, Some(&about.cluster))? else {
        return Ok(false);
    };
    let end = Instant::now() + LOOK;
    while let Ok(Some(found)) = timeout_at(end, browser.next()).await {
        for address in found.addresses {
            match prove(address, &identity.key).await {
                Ok(()) => {
                    tracing::warn!(
                        "master {} at {address} is of this cluster already: this master asks to be let in instead of founding it anew",
                        found.name
                    );
                    return Ok(true);
                }
                Err(error) => tracing::info!("found {} at {address}: {error:#}", found.name),
            }
        }
    }
    Ok(false)
}

/// Whether a master of this cluster listens there: it shows a certificate of the cluster's CA, and takes this one's.
async fn prove(address: SocketAddr, key: &ClusterKey) -> anyhow::Result<()> {
    // Nobody's number: nothing is said.
    let config = client(&Authority::new(key)?, 0)?;
    let proof = async {
        let stream = TcpStream::connect(address).await?;
        tls::connect(config, stream).await?;
        anyhow::Ok(())
    };
    timeout(PROOF, proof).await?
}
