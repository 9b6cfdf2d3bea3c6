//! A message to one receiver, and the result of its delivery.
//!
//! The dispatcher and the delivery share only these types, so that neither depends on the other.

use std::time::Duration;

use serde::{Deserialize, Serialize};

use crate::finding::Severity;
use crate::subject::{Label, Subject};

/// Message about one group of alerts to one receiver.
#[derive(Debug, Clone)]
pub struct Message {
    /// Id of the message, which stays the same over retries.
    pub id: String,
    pub receiver: String,
    pub group_key: String,
    pub group_labels: Vec<Label>,
    pub alerts: Vec<MessageAlert>,
    /// Number of alerts of the group that fire and are not in this message.
    pub others_firing: u32,
    pub attempt: u32,
    pub agent: String,
    pub external_url: Option<String>,
}

#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct MessageAlert {
    /// Fingerprint of the alert: 16 hex digits.
    pub fingerprint: String,
    /// Number of the incident; 0 in rows of an earlier version.
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
    /// Measured facts, in the plugin's order and bounded. Empty in rows of an earlier version.
    #[serde(default)]
    pub evidence: Vec<Label>,
    pub runbook: Option<String>,
    pub value: Option<f64>,
    #[serde(default)]
    pub raise_at: Option<f64>,
    pub started_at_ms: u64,
    pub ended_at_ms: Option<u64>,
    /// Why the incident ended although no check found the subject well; `None` otherwise.
    #[serde(default)]
    pub ended_because: Option<String>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum MessageReason {
    Firing,
    Resolved,
    SeverityChanged,
    /// Reminder: the alert still fires, and its route has a repeat interval.
    Repeated,
    /// The incident began and ended before its receiver was notified.
    Summary,
    /// The alert flaps. The next notification follows once it is calm.
    Flapping,
    /// Test message: nothing is wrong, and a person checks that messages arrive.
    Test,
}

/// Result of one attempt to deliver a message.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Delivery {
    Accepted,
    /// The message was accepted for some recipients. The others, by their index, were refused for good, with the reason.
    Partial(Vec<(u32, String)>),
    /// The message did not arrive, or was not accepted. With `after`, the receiver works but asks to wait.
    Retry {
        after: Option<Duration>,
        why: String,
    },
    /// The message may have arrived. The next attempt repeats it unchanged, under the same id.
    Ambiguous(String),
    /// No attempt was made: the notifier plugin does not serve.
    Unavailable(String),
    /// The receiver refused the credentials, which may be about to change.
    Unauthorised(String),
    /// The receiver answered that it is gone for good.
    Gone(String),
    /// The message will never be accepted.
    Rejected {
        reason: FailureReason,
        why: String,
    },
}

/// Why a notification was not delivered. The names are stored, counted and served.
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
    /// A person dropped the notification.
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

    /// Returns true if giving up for this reason means that people miss a message. A dropped or overtaken one is missed by choice; the end
    /// of an unannounced incident is not missed.
    pub fn is_loss(self) -> bool {
        !matches!(self, Self::Untold | Self::Dropped | Self::Overtaken)
    }
}
