//! Who may write through the master's API, and the realms it names.
//!
//! The rule itself is the shell's, and the same on agents. Called first by every handler that changes something.

use std::path::Path;

use hyper::Response;
use hyper::header::HeaderMap;
use nesos_shell::http::access as rule;

use super::Peer;
use super::answer::{self, Body};

/// Realm of the scheduler API.
pub(crate) const SCHEDULER_REALM: &str = "mesos-master-scheduler";
/// Realm of everything else that changes something.
pub(crate) const READWRITE_REALM: &str = "mesos-master-readwrite";

/// The rule.
#[derive(Debug, Clone)]
pub(crate) struct Access(rule::Access);

impl Access {
    /// `--api_access` and `--credentials`.
    pub(crate) fn from_flags(name: &str, credentials: Option<&Path>) -> Result<Self, String> {
        rule::Access::from_flags(name, credentials).map(Self)
    }

    /// Judges a request that changes something: the authenticated principal (`None`: no authentication), or the refusal.
    pub(super) fn check(
        &self,
        peer: Peer,
        headers: &HeaderMap,
        realm: &'static str,
    ) -> Result<Option<String>, Box<Response<Body>>> {
        let judged = self.0.check(peer.address.ip(), headers, realm);
        judged.map_err(|refusal| Box::new(answer::refusal(refusal)))
    }
}
