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
    /// Name of the receiver.
    pub receiver: String,
    /// Key of the group within the receiver.
    pub group_key: String,
    /// Labels that all alerts of the group share.
    pub group_labels: Vec<Label>,
    /// Alerts of the message.
    pub alerts: Vec<MessageAlert>,
    /// Number of alerts of the group that fire and are not in this message.
    pub others_firing: u32,
    /// Number of the attempt, from 1.
    pub attempt: u32,
    /// Name of the agent that sends the message.
    pub agent: String,
    /// Address of the agent's web pages for links; `None` without one.
    pub external_url: Option<String>,
}

/// Alert in a message.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct MessageAlert {
    /// Fingerprint of the alert: 16 hex digits.
    pub fingerprint: String,
    /// Number of the incident; 0 in rows of an earlier version.
    #[serde(default)]
    pub incident: u64,
    /// Why the alert is in the message.
    pub reason: MessageReason,
    /// Severity of the alert.
    pub severity: Severity,
    /// Subject of the alert.
    pub subject: Subject,
    /// Labels of the alert, besides those of its subject.
    pub labels: Vec<Label>,
    /// Title of one line.
    pub title: String,
    /// Explanation in several lines.
    pub detail: String,
    /// Probable cause; `None` if unknown.
    pub cause: Option<String>,
    /// Advice, with commands between backticks; `None` without any.
    pub fix: Option<String>,
    /// Measured facts, in the plugin's order and bounded. Empty in rows of an earlier version.
    #[serde(default)]
    pub evidence: Vec<Label>,
    /// Address of a document for people; `None` without one.
    pub runbook: Option<String>,
    /// Measured value; `None` without one.
    pub value: Option<f64>,
    /// Threshold that raised the alert; `None` without one.
    #[serde(default)]
    pub raise_at: Option<f64>,
    /// Start of the incident, in milliseconds since 1970.
    pub started_at_ms: u64,
    /// End of the incident, in milliseconds since 1970; `None` while it is open.
    pub ended_at_ms: Option<u64>,
    /// Why the incident ended although no check found the subject well; `None` otherwise.
    #[serde(default)]
    pub ended_because: Option<String>,
}

/// Why an alert is in a message.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum MessageReason {
    /// The alert began to fire.
    Firing,
    /// The alert ended.
    Resolved,
    /// The severity of the alert changed.
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
    /// The receiver accepted the message.
    Accepted,
    /// The message was accepted for some recipients. The others, by their index, were refused for good, with the reason.
    Partial(Vec<(u32, String)>),
    /// The message did not arrive, or was not accepted. With `after`, the receiver works but asks to wait.
    Retry {
        /// Pause that the receiver asks for; `None` if it asks for none.
        after: Option<Duration>,
        /// Reason for people.
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
        /// Reason as stored and counted.
        reason: UndeliveredReason,
        /// Reason for people.
        why: String,
    },
}

/// Why a notification was not delivered. The names are stored, counted and served.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum UndeliveredReason {
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
    BeginningNotSent,
    /// A person dropped the notification.
    Dropped,
    /// A younger notification of the incident is on its way.
    Overtaken,
}

impl UndeliveredReason {
    /// Name of the reason in the store, in metrics and in the API.
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
            Self::BeginningNotSent => "untold",
            Self::Dropped => "dropped",
            Self::Overtaken => "overtaken",
        }
    }

    /// Returns true if giving up for this reason means that people miss a message. A dropped or overtaken one is missed by choice; the end
    /// of an unannounced incident is not missed.
    pub fn is_loss(self) -> bool {
        !matches!(self, Self::BeginningNotSent | Self::Dropped | Self::Overtaken)
    }
}
