//! What clients are shown of what is under way: deployments, and instances that wait for offers.
//!
//! Data only. Invariant: each key is one that Marathon has.

use serde::Serialize;

use super::shown::ShownApp;

/// A deployment under way.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Deployment {
    /// Its id.
    pub id: String,
    /// When it was asked for.
    pub version: String,
    /// Apps that it changes.
    pub affected_apps: Vec<String>,
    /// None, ever: there are no pods here.
    pub affected_pods: [(); 0],
    /// All its steps.
    pub steps: Vec<Step>,
    /// What is done now.
    pub current_actions: Vec<CurrentAction>,
    /// Which step, from 1.
    pub current_step: usize,
    /// How many steps.
    pub total_steps: usize,
}

/// A step of a deployment.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Step {
    /// All at once.
    pub actions: Vec<Action>,
}

/// What is done to an app.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Action {
    /// `ScaleApplication` and so on.
    pub action: &'static str,
    /// The app's path.
    pub app: String,
}

/// What is done to an app now.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct CurrentAction {
    /// `ScaleApplication` and so on.
    pub action: &'static str,
    /// The app's path.
    pub app: String,
    /// None, ever: there are no readiness checks here.
    pub readiness_check_results: [(); 0],
}

/// An app of which instances wait for offers.
#[derive(Debug, Clone, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct QueueItem {
    /// How many.
    pub count: u32,
    /// How long they wait because others have failed.
    pub delay: Delay,
    /// Since when.
    pub since: String,
    /// Offers that came meanwhile.
    pub processed_offers_summary: OffersSummary,
    /// None, ever: offers are not kept.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub last_unused_offers: Option<[(); 0]>,
    /// The app.
    pub app: ShownApp,
}

/// How long instances wait because others have failed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Delay {
    /// Seconds.
    pub time_left_seconds: u64,
    /// Whether none is left.
    pub overdue: bool,
}

/// Offers that came while instances waited.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct OffersSummary {
    /// Those that were looked at.
    pub processed_offers_count: u64,
    /// Those of them that did not suit.
    pub unused_offers_count: u64,
    /// Why, of the newest ones: not kept.
    pub reject_summary_last_offers: [(); 0],
    /// Why, of all of them: not kept.
    pub reject_summary_launch_attempt: [(); 0],
}
