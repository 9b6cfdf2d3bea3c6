//! Everything that was decided about an alert: which receivers were notified, which were not, and why.

use pharos_model::alert::AlertState;
use pharos_model::dispatch::{HoldReason, SilenceState};
use pharos_model::finding::Severity;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_json::Value;

use super::alert::AlertItem;
use super::list::Timestamp;
use super::names;
use super::outbox::NotificationItem;

/// An alert with its decisions, its history and its notifications.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
pub(crate) struct AlertExplanation {
    /// The alert now, or at its end.
    pub alert: AlertItem,
    pub decision: Decision,
    /// Its transitions and withheld notifications, newest first, at most 200.
    pub history: Vec<HistoryItem>,
    /// Its newest notifications, at most 200, oldest first.
    pub notifications: Vec<NotificationItem>,
}

/// The present decisions about an alert.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
pub(crate) struct Decision {
    /// Every route of the config, in its order.
    pub routes: Vec<RouteDecision>,
    pub receivers: Vec<ReceiverDecision>,
    /// Silences in any state that match the alert.
    pub silences: Vec<SilenceDecision>,
    /// The alert that explains this alert. While it fires, this alert is not reported.
    pub inhibited_by: Option<InhibitionItem>,
}

/// Whether a route takes the alert.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub(crate) struct RouteDecision {
    /// Number of the route, counted from 1 in the order of the config.
    pub number: u64,
    /// Matchers such as `severity="critical"`; all must hold.
    pub matchers: Vec<String>,
    pub receiver: String,
    pub taken: bool,
    /// Why the route does not take the alert.
    pub why: Option<String>,
}

/// The state of an alert at a receiver: what was sent, and what comes next.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
pub(crate) struct ReceiverDecision {
    pub receiver: String,
    /// Key of the group in which the alert is reported.
    pub group: String,
    /// Alerts of that group at this receiver, this one included.
    pub group_size: u64,
    /// The message that was made last. Null: no message was made for this incident.
    pub told: Option<ToldItem>,
    /// Seconds until the receiver is reminded. Null: it is not reminded.
    pub repeats_in_seconds: Option<f64>,
    /// When the group's next message is made. Null: there is nothing to report.
    pub due_at: Option<Timestamp>,
    /// Why nothing is sent although there is something to report.
    pub held: Option<String>,
}

/// A message that was made for a receiver.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub(crate) struct ToldItem {
    pub at: Timestamp,
    #[schemars(schema_with = "names::severity")]
    pub severity: Severity,
    /// Whether the message reported that the alert flaps, that is, begins and ends too often.
    pub flapping: bool,
}

/// A silence that matches the alert.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub(crate) struct SilenceDecision {
    pub id: String,
    #[schemars(schema_with = "names::silence_state")]
    pub state: SilenceState,
    pub author: String,
    pub comment: String,
    pub ends_at: Timestamp,
}

/// The alert that explains another one.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub(crate) struct InhibitionItem {
    /// Name of the `[[inhibit]]` rule.
    pub rule: String,
    /// Fingerprint of the explaining alert.
    pub by: String,
}

/// Entries on a page if the request names no limit: as many as people read at once.
pub(crate) const HISTORY_LIMIT_DEFAULT: u32 = 100;
/// A page has at most this many entries. More would make one answer hold up others.
pub(crate) const HISTORY_LIMIT_MAX: u32 = 1_000;

/// Which entries of a history are listed.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct HistoryQuery {
    /// Entries on one page; 100 if absent.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 1, max = HISTORY_LIMIT_MAX))]
    pub limit: Option<i64>,
    /// `next_cursor` of the page before.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub cursor: Option<String>,
}

/// An entry of an alert's history.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(tag = "what", rename_all = "lowercase")]
pub(crate) enum HistoryItem {
    /// The alert changed its state or severity.
    Transition(TransitionItem),
    /// A notification was withheld from a receiver.
    Withheld(WithheldItem),
    /// Another version of the agent stored this entry.
    #[serde(untagged)]
    Other(OtherItem),
}

impl HistoryItem {
    /// The incident of the entry. `None` if this version cannot read the entry.
    pub(crate) fn incident(&self) -> Option<u64> {
        match self {
            Self::Transition(transition) => Some(transition.incident),
            Self::Withheld(withheld) => Some(withheld.incident),
            Self::Other(_) => None,
        }
    }
}

/// A change of an alert.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
pub(crate) struct TransitionItem {
    pub at: Timestamp,
    pub incident: u64,
    #[schemars(schema_with = "names::alert_state")]
    pub from: AlertState,
    #[schemars(schema_with = "names::alert_state")]
    pub to: AlertState,
    /// The severity after the change.
    #[schemars(schema_with = "names::severity")]
    pub severity: Severity,
    #[schemars(schema_with = "names::transition_reason")]
    pub reason: String,
    /// The value that was measured last, in the unit of the rule's metric.
    pub value: Option<f64>,
}

/// A notification that was not sent.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub(crate) struct WithheldItem {
    pub at: Timestamp,
    pub receiver: String,
    pub incident: u64,
    #[schemars(schema_with = "names::hold_reason")]
    pub reason: HoldReason,
    /// The reason as a sentence.
    pub why: String,
    /// Whether the receiver is never notified of this incident, because the incident ended before the reason did.
    pub for_good: bool,
}

/// An entry that this version cannot read, as it is stored.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
pub(crate) struct OtherItem {
    pub at: Timestamp,
    /// The kind of the entry.
    pub what: String,
    pub detail: Value,
}
