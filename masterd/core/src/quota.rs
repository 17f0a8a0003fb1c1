//! Quota: what operators may set, what is taken back then, and the wait after a restart.
//!
//! Not how quota is kept while resources are given out (`allocator`). Called by `order` and by the master's start.
//! Invariants: the allocator's quotas are the registry's; an order changes all the roles it names, or none.

use std::collections::BTreeSet;

use nesos_wire::OfferId;
use nesos_wire::command::{Command, QuotaRecord};
use nesos_wire::resource::Scalar;
use nesos_wire::role;

use crate::allocator::Quota;
use crate::master::Master;
use crate::outgoing::Offer;
use crate::ready::Answer;
use crate::registry::{MAX_QUOTAS, MAX_ROLE};
use crate::roles::{self, Amounts};
use crate::state::AgentCondition;
use crate::timers::Timer;

impl Master {
    /// Sets the quota of these roles, all or none. Without `force` what is promised must be there, and no limit may lie
    /// below what its role has already.
    pub(crate) fn update_quota(&mut self, quotas: Vec<QuotaRecord>, force: bool) -> Answer {
        let judged = self.check_quotas(&quotas).and_then(|()| {
            if force {
                return Ok(());
            }
            self.check_guarantees(&quotas, self.capacity(|_| true))?;
            self.check_limits(&quotas)
        });
        if let Err(sentence) = judged {
            return Answer::Invalid(sentence);
        }
        self.put_quotas(quotas);
        Answer::Done
    }

    /// The older way: one role that has no quota yet; its guarantee is its limit too. Static reservations are not counted
    /// on.
    pub(crate) fn set_quota(&mut self, quota: QuotaRecord, force: bool) -> Answer {
        let quotas = vec![quota];
        if let Err(sentence) = self.check_quotas(&quotas) {
            return Answer::Invalid(sentence);
        }
        let role = &quotas[0].role;
        if self.registry.quota(role).is_some() {
            return Answer::Invalid(format!("Role '{role}' has quota already"));
        }
        let capacity = self.capacity(|first| first.is_none_or(|first| first.is_dynamic));
        if let Err(sentence) = self.check_guarantees(&quotas, capacity)
            && !force
        {
            return Answer::Conflict(sentence);
        }
        self.put_quotas(quotas);
        Answer::Done
    }

    /// The older way to take a role's quota away.
    pub(crate) fn remove_quota(&mut self, role: String) -> Answer {
        if self.registry.quota(&role).is_none() {
            return Answer::Invalid(format!("Role '{role}' has no quota set"));
        }
        self.put_quotas(vec![QuotaRecord {
            role,
            ..QuotaRecord::default()
        }]);
        Answer::Done
    }

    /// What the registry says of quota and weights. With quota nothing is offered until enough agents are back: the first
    /// ones to return must not all go to roles without a guarantee.
    pub(crate) fn recover_shares(&mut self) {
        self.recover_weights();
        let quotas: Vec<QuotaRecord> = self.registry.quotas().cloned().collect();
        if quotas.is_empty() {
            return;
        }
        for quota in quotas {
            self.tell_allocator(quota);
        }
        let is_awaited = |condition| condition == AgentCondition::Recovered;
        let awaited = self.agents.values().filter(|a| is_awaited(a.condition));
        let factor = self.config.allocator_agent_recovery_factor;
        // A fraction of an agent is not waited for, as in Mesos: a single one may be gone for good.
        let required = (awaited.count() as f64 * factor) as usize;
        if required > 0 {
            self.allocator.pause_until(required);
            let at = self.now + self.config.allocator_recovery_timeout;
            self.timers.arm(at, Timer::AllocatorRecovery);
        }
    }

    fn put_quotas(&mut self, mut quotas: Vec<QuotaRecord>) {
        quotas.retain(|quota| match self.registry.quota(&quota.role) {
            Some(known) => known != quota,
            None => !quota.is_default(),
        });
        if quotas.is_empty() {
            return;
        }
        self.propose(Command::SetQuotas(quotas.clone()));
        for quota in &quotas {
            self.tell_allocator(quota.clone());
        }
        for quota in &quotas {
            self.rescind_beyond(quota);
        }
        self.rescind_for_guarantees();
    }

    fn tell_allocator(&mut self, quota: QuotaRecord) {
        let role = quota.role;
        let quota = Quota {
            guarantees: quota.guarantees,
            limits: quota.limits,
        };
        self.allocator.set_quota(&role, quota);
    }

    fn check_quotas(&self, quotas: &[QuotaRecord]) -> Result<(), String> {
        let mut seen = BTreeSet::new();
        for quota in quotas {
            let role = quota.role.as_str();
            let invalid = |why: &str| Err(format!("Invalid 'QuotaConfig.role' '{role}': {why}"));
            role::check(role).map_err(|error| format!("Invalid 'QuotaConfig.role': {error}"))?;
            if role.contains('/') {
                return invalid("quota is for top-level roles only");
            }
            if role.len() > MAX_ROLE {
                return invalid(&format!("the name is longer than {MAX_ROLE} bytes"));
            }
            if !self.is_configured(role) {
                return invalid("it is not present in the master's --roles");
            }
            if !seen.insert(role) {
                return invalid("it stands twice in the request");
            }
            check_order(quota)?;
        }
        let is_new = |quota: &&QuotaRecord| {
            !quota.is_default() && self.registry.quota(&quota.role).is_none()
        };
        let (known, new) = (
            self.registry.quotas().count(),
            quotas.iter().filter(is_new).count(),
        );
        if known + new > MAX_QUOTAS {
            return Err(format!(
                "Invalid 'quota_configs': {known} roles have quota, and no more than {MAX_QUOTAS} may"
            ));
        }
        Ok(())
    }

    /// Whether all guarantees together, as they would be then, could be met.
    fn check_guarantees(&self, quotas: &[QuotaRecord], capacity: Amounts) -> Result<(), String> {
        let changed: BTreeSet<&str> = quotas.iter().map(|quota| quota.role.as_str()).collect();
        let is_kept = |known: &&QuotaRecord| !changed.contains(known.role.as_str());
        let all = self.registry.quotas().filter(is_kept).chain(quotas);
        let mut sum = Amounts::new();
        for (name, amount) in all.flat_map(|quota| &quota.guarantees) {
            roles::add(&mut sum, name, *amount);
        }
        match excess(&sum, &capacity) {
            Some((name, promised, there)) => Err(format!(
                "Invalid quota configuration: total quota guarantees of '{name}' would be {} but the cluster has {}",
                promised.to_f64(),
                there.to_f64()
            )),
            None => Ok(()),
        }
    }

    fn check_limits(&self, quotas: &[QuotaRecord]) -> Result<(), String> {
        if quotas.iter().all(|quota| quota.limits.is_empty()) {
            return Ok(());
        }
        let usage = self.roles();
        for quota in quotas {
            let consumed = usage.get(&quota.role).map(|usage| usage.consumed());
            let mut consumed = consumed.unwrap_or_default();
            consumed.retain(|name, _| quota.limits.contains_key(name));
            if let Some((name, has, limit)) = excess(&consumed, &quota.limits) {
                return Err(format!(
                    "Invalid 'QuotaConfig.limits' of role '{}': the limit of '{name}' is {} but the role consumes {} already",
                    quota.role,
                    limit.to_f64(),
                    has.to_f64()
                ));
            }
        }
        Ok(())
    }

    /// What connected agents have, as far as it is not revocable and `is_counted` likes its outermost reservation.
    fn capacity(
        &self,
        is_counted: impl Fn(Option<&nesos_wire::resource::Reservation>) -> bool,
    ) -> Amounts {
        let mut capacity = Amounts::new();
        for agent in self.agents.values().filter(|agent| agent.is_connected()) {
            let counted = agent.resources.entries().iter().filter(|entry| {
                roles::counts(entry) && is_counted(entry.terms().reservations.first())
            });
            for entry in counted {
                roles::add(&mut capacity, entry.name(), entry.scalar());
            }
        }
        capacity
    }

    /// Takes offers back that, with what the role has, are more than its limits.
    fn rescind_beyond(&mut self, quota: &QuotaRecord) {
        let is_own = |offer: &&Offer| roles::top(&offer.role) == quota.role;
        let own: Vec<OfferId> = self
            .offers
            .values()
            .filter(is_own)
            .map(|o| o.id.clone())
            .collect();
        for id in own {
            let consumed = self.allocator.consumed(&quota.role);
            let beyond = |name: &str| {
                let limit = quota.limits.get(name);
                limit.is_some_and(|limit| consumed.get(name).is_some_and(|has| has > limit))
            };
            if self
                .offers
                .get(&id)
                .is_some_and(|o| unreserved(o).keys().any(|n| beyond(n)))
            {
                self.rescind(&id);
            }
        }
    }

    /// Takes offers back while guarantees lack what they hold, except those that a guarantee needs itself.
    fn rescind_for_guarantees(&mut self) {
        let ids: Vec<OfferId> = self.offers.keys().cloned().collect();
        for id in ids {
            let missing = self.allocator.missing_for_guarantees();
            if missing.is_empty() {
                return;
            }
            let Some(offer) = self.offers.get(&id) else {
                continue;
            };
            let role = roles::top(&offer.role);
            let consumed = self.allocator.consumed(role);
            let guarantees = self.registry.quota(role).map(|quota| &quota.guarantees);
            let is_spare = |name: &str, amount: Scalar| {
                let has = consumed.get(name).map_or(0, |has| has.0);
                let needs = guarantees.and_then(|g| g.get(name)).map_or(0, |g| g.0);
                has - amount.0 >= needs
            };
            let offered = unreserved(offer);
            if offered
                .iter()
                .any(|(name, amount)| missing.contains_key(name) && is_spare(name, *amount))
            {
                self.rescind(&id);
            }
        }
    }

    /// Whether `--roles` allows the role.
    pub(crate) fn is_configured(&self, role: &str) -> bool {
        let allowed = &self.config.roles;
        allowed.is_empty() || role == role::DEFAULT || allowed.iter().any(|one| one == role)
    }
}

/// No guarantee above its limit.
fn check_order(quota: &QuotaRecord) -> Result<(), String> {
    let mut bounded = quota.guarantees.clone();
    bounded.retain(|name, _| quota.limits.contains_key(name));
    match excess(&bounded, &quota.limits) {
        Some((name, guarantee, limit)) => Err(format!(
            "Invalid 'QuotaConfig.guarantees' of role '{}': the guarantee of '{name}', {}, is above its limit, {}",
            quota.role,
            guarantee.to_f64(),
            limit.to_f64()
        )),
        None => Ok(()),
    }
}

/// The first name of which there is more in `amounts` than in `bound`, with both.
fn excess<'a>(amounts: &'a Amounts, bound: &Amounts) -> Option<(&'a str, Scalar, Scalar)> {
    amounts.iter().find_map(|(name, amount)| {
        let bound = bound.get(name).copied().unwrap_or_default();
        (*amount > bound).then_some((name.as_str(), *amount, bound))
    })
}

/// What of an offer comes out of what no role has reserved.
fn unreserved(offer: &Offer) -> Amounts {
    let bag = offer
        .resources
        .filter(|entry| entry.owner().is_none() && roles::counts(entry));
    roles::amounts(&bag)
}
