//! The ledger: notifications that one receiver got about one incident, and the reason that holds further ones back.

use std::cmp::Ordering;
use std::time::Duration;

use serde::{Deserialize, Serialize};

use super::hold::Hold;
use super::key::{GroupId, IncidentKey};
use super::message_intervals::News;
use crate::alert::{Alert, Fingerprint};
use crate::finding::Severity;
use crate::subject::Label;

/// Ledger entry of one incident at one receiver. It is stored completely (except reminder times), so a new process continues from it.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Entry {
    /// Name of the receiver.
    pub receiver: String,
    /// Fingerprint of the alert.
    pub fingerprint: Fingerprint,
    /// Number of the incident.
    pub incident: u64,
    /// Key of the group within the receiver.
    pub group_key: String,
    /// Labels that all alerts of the group share.
    pub group_labels: Vec<Label>,
    /// Latest notification; `None` before the first one.
    #[serde(rename = "told")]
    pub sent: Option<SentState>,
    /// Reason that holds a notification back; `None` if nothing does.
    pub hold: Option<Hold>,
    /// Wall clock, milliseconds since 1970: when the group is due, if this entry has news.
    pub due_at_ms: Option<u64>,
    /// Number of rows made so far. The next row takes its id from it.
    pub rows: u32,
    /// How the incident ended, while its end is not sent; `None` before.
    pub ended: Option<Box<Ended>>,
}

/// State of the alert in the latest notification.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct SentState {
    /// Severity that the notification reported.
    pub severity: Severity,
    /// True if the notification reported the alert as flapping.
    pub flapping: bool,
    /// Wall clock of the notification, milliseconds since 1970.
    pub at_ms: u64,
    /// Monotonic time of the next reminder; `None` without reminders. Not stored, because another process has another clock.
    #[serde(skip)]
    pub repeat_at: Option<Duration>,
}

/// End of an incident.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Ended {
    /// The alert as it was at its end.
    pub alert: Alert,
    /// Wall clock of the end, milliseconds since 1970.
    pub at_ms: u64,
    /// Why the incident ended although no check found the subject well; `None` if it resolved.
    pub because: Option<String>,
}

impl Entry {
    pub(super) fn new(receiver: &str, key: IncidentKey, group_key: String, group_labels: Vec<Label>) -> Self {
        let IncidentKey { fingerprint, incident } = key;
        Self {
            receiver: receiver.to_owned(),
            fingerprint,
            incident,
            group_key,
            group_labels,
            sent: None,
            hold: None,
            due_at_ms: None,
            rows: 0,
            ended: None,
        }
    }

    /// Key of the entry's incident.
    pub fn key(&self) -> IncidentKey {
        IncidentKey { fingerprint: self.fingerprint, incident: self.incident }
    }

    pub(super) fn group_id(&self) -> GroupId {
        GroupId { receiver: self.receiver.clone(), group_key: self.group_key.clone() }
    }

    /// Compares an open alert with what its receiver was sent. Returns the difference, or `None` without one.
    pub(super) fn news(&self, alert: &Alert) -> Option<News> {
        let Some(sent) = &self.sent else { return Some(News::New(alert.severity)) };
        match sent.severity.cmp(&alert.severity) {
            Ordering::Less => Some(News::Graver),
            Ordering::Greater => Some(News::Calm),
            Ordering::Equal => (alert.is_flapping() && !sent.flapping).then_some(News::Calm),
        }
    }
}
