//! One message to one receiver, and what came of delivering it.
//!
//! Whoever decides what is told and whoever brings it there meet in these types, so that neither names the other.

use std::time::Duration;

use serde::{Deserialize, Serialize};

use crate::finding::Severity;
use crate::subject::{Label, Subject};

/// One group of alerts for one receiver.
#[derive(Debug, Clone)]
pub struct Message {
    /// Stable over retries.
    pub id: String,
    pub receiver: String,
    pub group_key: String,
    pub group_labels: Vec<Label>,
    pub alerts: Vec<MessageAlert>,
    /// Alerts of the group that fire and are not among these.
    pub others_firing: u32,
    pub attempt: u32,
    pub agent: String,
    pub external_url: Option<String>,
}

#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct MessageAlert {
    /// Sixteen hex digits.
    pub fingerprint: String,
    /// Rows of an earlier version have none.
    #[serde(default)]
    pub incident: u64,
    pub reason: MessageReason,
    pub severity: Severity,
    pub subject: Subject,
    pub labels: Vec<Label>,
    pub title: String,
    pub detail: String,
    pub cause: Option<String>,
    pub fix: Option<String>,
    /// What was measured, in the plugin's order and bounded. Rows of an earlier version have none.
    #[serde(default)]
    pub evidence: Vec<Label>,
    pub runbook: Option<String>,
    pub value: Option<f64>,
    #[serde(default)]
    pub raise_at: Option<f64>,
    pub started_at_ms: u64,
    pub ended_at_ms: Option<u64>,
    /// Why it ended, if nobody saw that it is fine again.
    #[serde(default)]
    pub ended_because: Option<String>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum MessageReason {
    Firing,
    Resolved,
    SeverityChanged,
    /// It still fires; its route asks to be reminded.
    Repeated,
    /// It began and ended before its receiver could be told.
    Summary,
    /// It comes and goes; nothing more is said until it is calm.
    Flapping,
    /// Nothing is wrong: a person wants to know whether messages arrive.
    Test,
}

/// What came of one attempt.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Delivery {
    Accepted,
    /// Accepted for some recipients; which others were refused for good, by their index, and why.
    Partial(Vec<(u32, String)>),
    /// It did not arrive, or was not taken. A receiver that says how long to wait works, but is busy.
    Retry {
        after: Option<Duration>,
        why: String,
    },
    /// It may have arrived; the same message under the same id on the next try.
    Ambiguous(String),
    /// Nobody was there to try: the notifier does not serve.
    Unavailable(String),
    /// Not with these credentials, which may be about to change.
    Unauthorised(String),
    /// The receiver says that it is gone for good.
    Gone(String),
    /// It never will be.
    Rejected {
        reason: FailureReason,
        why: String,
    },
}

/// Why a notification was not delivered, as it is stored, counted and served.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum FailureReason {
    /// The receiver asked to wait.
    Throttled,
    /// The attempt failed and may be repeated.
    Retry,
    /// The message may have arrived.
    Ambiguous,
    /// No notifier serves.
    Unavailable,
    /// The receiver refused the credentials.
    Unauthorised,
    /// The receiver is gone for good.
    Gone,
    /// The receiver refused the message for good.
    Rejected,
    /// The notifier lacks a grant.
    Denied,
    /// Attempts failed for too long.
    TooLate,
    /// The message of the beginning was given up, so the end is not sent.
    Untold,
    /// A person dropped it.
    Dropped,
    /// A younger notification of the incident is on its way.
    Overtaken,
}

impl FailureReason {
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Throttled => "throttled",
            Self::Retry => "retry",
            Self::Ambiguous => "ambiguous",
            Self::Unavailable => "unavailable",
            Self::Unauthorised => "unauthorised",
            Self::Gone => "gone",
            Self::Rejected => "rejected",
            Self::Denied => "denied",
            Self::TooLate => "too-late",
            Self::Untold => "untold",
            Self::Dropped => "dropped",
            Self::Overtaken => "overtaken",
        }
    }

    /// Whether giving up for this reason means that people miss a message. A dropped or overtaken one is missed by choice, and the end of
    /// an incident that was never announced is missed by no one.
    pub fn is_loss(self) -> bool {
        !matches!(self, Self::Untold | Self::Dropped | Self::Overtaken)
    }
}
