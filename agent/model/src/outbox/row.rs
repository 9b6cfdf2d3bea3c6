//! Rows of the outbox: one change of one incident for one receiver.

use std::str::FromStr;
use std::time::Duration;

use serde::{Deserialize, Serialize};

use crate::alert::Fingerprint;
use crate::notification::MessageAlert;
use crate::subject::Label;

/// Part of an incident that a row reports.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum IncidentPart {
    /// The first notification of the incident for its receiver.
    Begin,
    /// A change of the incident: its severity, flapping or a reminder.
    Change,
    /// The end. Not sent to a receiver that never got the beginning.
    End,
}

impl IncidentPart {
    /// Stored name of the part.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Begin => "begin",
            Self::Change => "change",
            Self::End => "end",
        }
    }
}

/// Error for a text that is not `begin`, `change` or `end`.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("no part of an incident has this name")]
pub struct UnknownPart;

impl FromStr for IncidentPart {
    type Err = UnknownPart;

    fn from_str(text: &str) -> Result<Self, UnknownPart> {
        [Self::Begin, Self::Change, Self::End].into_iter().find(|part| part.as_str() == text).ok_or(UnknownPart)
    }
}

/// State of a notification on its way to the receiver.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum OutboxState {
    /// The row waits for its next attempt.
    Waiting,
    /// The row is being sent, and may arrive even if the agent ends.
    Sending,
    /// The receiver accepted the row.
    Delivered,
    /// The row was given up. A person may have it sent again.
    Dead,
}

impl OutboxState {
    /// All states.
    pub const ALL: [Self; 4] = [Self::Waiting, Self::Sending, Self::Delivered, Self::Dead];

    /// The name of the state in the store and in the API.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Waiting => "waiting",
            Self::Sending => "sending",
            Self::Delivered => "delivered",
            Self::Dead => "dead",
        }
    }
}

/// Error for a text that is not `waiting`, `sending`, `delivered` or `dead`.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("no state of a notification has this name")]
pub struct UnknownState;

impl FromStr for OutboxState {
    type Err = UnknownState;

    fn from_str(text: &str) -> Result<Self, UnknownState> {
        Self::ALL.into_iter().find(|state| state.as_str() == text).ok_or(UnknownState)
    }
}

/// A new row, before the first attempt to send it.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct NewRow {
    /// Id that is unique per receiver and change, and survives restarts.
    pub id: String,
    /// Name of the receiver.
    pub receiver: String,
    /// Key of the group within the receiver.
    pub group_key: String,
    /// Labels that all alerts of the group share.
    pub group_labels: Vec<Label>,
    /// Fingerprint of the alert.
    pub fingerprint: Fingerprint,
    /// Number of the incident.
    pub incident: u64,
    /// Part of the incident that the row reports.
    #[serde(rename = "tells")]
    pub part: IncidentPart,
    /// The alert as the message shows it.
    pub alert: MessageAlert,
    /// Number of alerts of the group that fire and are not part of this message.
    pub others_firing: u32,
}

impl NewRow {
    /// The row as the queue needs it, before its first attempt.
    pub fn queued(&self, seq: u64, due: Duration) -> Row {
        Row {
            seq,
            id: self.id.clone(),
            group_key: self.group_key.clone(),
            fingerprint: self.fingerprint,
            incident: self.incident,
            part: self.part,
            due,
            attempts: 0,
            waited: Duration::ZERO,
            message: None,
        }
    }
}

/// Row of the outbox, reduced to what the queue needs.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Row {
    /// Number that rises with every row of the agent, also over restarts.
    pub seq: u64,
    /// Id of the row.
    pub id: String,
    /// Key of the group within the receiver.
    pub group_key: String,
    /// Fingerprint of the alert.
    pub fingerprint: Fingerprint,
    /// Number of the incident.
    pub incident: u64,
    /// Part of the incident that the row reports.
    pub part: IncidentPart,
    /// Monotonic time before which the row is not sent.
    pub due: Duration,
    /// Number of failed attempts.
    pub attempts: u32,
    /// Sum of all pauses so far. A row is given up by this sum, so that a step of the clock cannot do it.
    pub waited: Duration,
    /// Id of the message that carried the row and may have arrived; it is repeated unchanged. `None` otherwise.
    pub message: Option<String>,
}
