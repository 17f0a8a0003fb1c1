//! What mDNS says of this master as its standing changes, and the look for a group to join.
//!
//! Not the protocol (`nesos_shell::mdns`), and no ground for trust. Started by `main`. Invariants: a master that nobody has
//! let in yet is not announced, since it can lead nobody anywhere; who leads no more says so before anything else.

use nesos_shell::mdns::{self, Advertisement, Advertiser, Mode};
use tokio::sync::watch;

use crate::engine::Engine;
use crate::replica::Standing;

/// Keeps the announcement as it should be.
pub(crate) struct Beacon {
    mode: Mode,
    what: Advertisement,
    standing: watch::Receiver<Standing>,
    advertiser: Option<Advertiser>,
}

/// What is to be announced.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Shown {
    /// Nothing.
    Nothing,
    /// That here is a master, and whether it leads.
    Master { leads: bool },
}

/// After `shown`. Who has known a leader once takes part; that there is none for a while is no reason to hide.
fn next(shown: Shown, standing: &Standing) -> Shown {
    match (standing, shown) {
        (Standing::Leads, _) => Shown::Master { leads: true },
        (Standing::Follows { leader: None }, Shown::Nothing) => Shown::Nothing,
        (Standing::Follows { .. }, _) => Shown::Master { leads: false },
    }
}

impl Beacon {
    /// Of the master whose engine this is.
    pub(crate) fn new(mode: Mode, what: Advertisement, engine: &Engine) -> Self {
        Self {
            mode,
            what,
            standing: engine.follow_standing(),
            advertiser: None,
        }
    }

    /// Announces what changes, for ever. Dropped, it says goodbye.
    pub(crate) async fn run(mut self) {
        if self.mode == Mode::Off {
            return;
        }
        let mut shown = Shown::Nothing;
        loop {
            let wanted = next(shown, &self.standing.borrow_and_update());
            if let (true, Shown::Master { leads }) = (wanted != shown, wanted) {
                self.show(leads);
                shown = wanted;
            }
            if self.standing.changed().await.is_err() {
                // masterd is stopping; this task is ended by `main`.
                return std::future::pending().await;
            }
        }
    }

    /// Not being found is no reason not to run.
    fn show(&mut self, leads: bool) {
        self.what.leads = leads;
        let done = match &self.advertiser {
            Some(advertiser) => advertiser.update(&self.what),
            None => mdns::advertise(&self.mode, &self.what).map(|made| self.advertiser = made),
        };
        if let Err(error) = done {
            tracing::warn!("{error}; boards find this master only by its address");
        }
    }
}

/// Asks each master of the cluster that mDNS finds for admission, until this one knows who the masters are.
pub(crate) async fn look_for_group(mode: Mode, cluster: String, engine: Engine) {
    let browser = match mdns::browse(&mode, Some(&cluster)) {
        Ok(browser) => browser,
        Err(error) => return tracing::error!("{error}; nobody can be asked to let this master in"),
    };
    let Some(mut browser) = browser else { return };
    let mut standing = engine.follow_standing();
    let mut is_told = false;
    while engine.replica(|replica| replica.knows_masters()).await == Some(false) {
        if !is_told {
            tracing::info!("looks for masters of cluster '{cluster}' by mDNS");
        }
        is_told = true;
        let found = tokio::select! {
            found = browser.next() => found,
            // Somebody has let it in, if it has a leader now.
            changed = standing.changed() => match changed {
                Ok(()) => continue,
                Err(_) => return,
            },
        };
        let Some(found) = found else { return };
        // The same way is taken to it by everybody, so its first address will do.
        let Some(address) = found.addresses.first().map(ToString::to_string) else {
            continue;
        };
        tracing::info!("found master {} at {address} by mDNS", found.name);
        let _ = engine
            .replica(move |replica| replica.add_seed(address))
            .await;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_announcement_follows_the_leadership() {
        let unknown = Standing::Follows { leader: None };
        let follows = Standing::Follows {
            leader: Some("10.0.0.1:5050".into()),
        };
        let (master, leader) = (
            Shown::Master { leads: false },
            Shown::Master { leads: true },
        );
        assert_eq!(next(Shown::Nothing, &unknown), Shown::Nothing);
        assert_eq!(next(Shown::Nothing, &follows), master);
        assert_eq!(next(Shown::Nothing, &Standing::Leads), leader);
        assert_eq!(next(master, &Standing::Leads), leader);
        for standing in [&unknown, &follows] {
            assert_eq!(next(leader, standing), master, "it leads no more");
            assert_eq!(next(master, standing), master);
        }
    }
}
