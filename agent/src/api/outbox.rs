//! Notifications that wait, were delivered, or were given up.

use pharos_model::finding::Severity;
use pharos_model::outbox::{IncidentPart, OutboxState};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::list::Timestamp;
use super::names;

/// Notifications on a page if the request names no limit: as many as people read at once.
pub(crate) const OUTBOX_LIMIT_DEFAULT: u32 = 100;
/// A page has at most this many notifications. More would make one answer hold up others.
pub(crate) const OUTBOX_LIMIT_MAX: u32 = 1_000;

/// Which notifications are listed.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct OutboxQuery {
    /// Only those for this receiver.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub receiver: Option<String>,
    /// Only those in this state.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(schema_with = "names::notification_state")]
    pub state: Option<String>,
    /// Notifications on one page; 100 if absent.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 1, max = OUTBOX_LIMIT_MAX))]
    pub limit: Option<i64>,
    /// `next_cursor` of the page before.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub cursor: Option<String>,
}

/// A notification: a change of an incident that a receiver gets.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub(crate) struct NotificationItem {
    /// Number of the notification, with which it is retried or dropped. Newer notifications have greater numbers.
    pub id: u64,
    /// Identity of the change for this receiver. It stays the same after a restart.
    pub notification: String,
    /// Id of the message with this notification. A repeated message has the same id, so that its receiver can recognise it.
    pub message: Option<String>,
    pub receiver: String,
    /// Key of the group with which the notification is sent.
    pub group: String,
    /// Fingerprint of the alert.
    pub fingerprint: String,
    pub incident: u64,
    /// The part of the incident that is reported: its beginning, a change or its end.
    #[schemars(schema_with = "names::tells")]
    pub tells: IncidentPart,
    /// Title of the alert.
    pub title: String,
    #[schemars(schema_with = "names::severity")]
    pub severity: Severity,
    /// `waiting` until an attempt, `sending` during an attempt, then `delivered`; `dead` once the notification was given up.
    #[schemars(schema_with = "names::notification_state")]
    pub state: OutboxState,
    pub created_at: Timestamp,
    /// Time of the next attempt, or of the last one if no attempt follows.
    pub due_at: Timestamp,
    /// When the notification was delivered or given up.
    pub settled_at: Option<Timestamp>,
    /// Number of attempts so far.
    pub attempts: u32,
    /// Class of the last failure.
    pub reason: Option<String>,
    /// Answer of the receiver or the notifier to the last attempt.
    pub why: Option<String>,
}

/// The notifications that a request selects: by id, by receiver, or all. If several conditions are given, all must hold.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct ChosenNotifications {
    /// Numbers of notifications.
    pub ids: Option<Vec<u64>>,
    pub receiver: Option<String>,
    /// Must be true if neither `ids` nor `receiver` is given.
    #[serde(default)]
    pub all: bool,
}

/// Notifications that are retried.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub(crate) struct Retried {
    /// Their numbers.
    pub retried: Vec<u64>,
}

/// Notifications that were given up or removed.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub(crate) struct Dropped {
    /// Number of notifications.
    pub dropped: u64,
}
