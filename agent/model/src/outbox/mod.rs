//! Notifications on their way to one receiver: which goes next, and what an answer means for it.
//!
//! Each row is one change of one incident for one receiver; the store has them all, this has what decides the order. Rows of one incident
//! go in the order of their making, so that nobody hears "resolved" before "firing"; rows of different incidents never wait for each
//! other. Rows of one group that are due go together, as one message.
//!
//! A message that may have arrived is repeated as it was, under the same id. One that certainly did not arrive falls apart into its rows,
//! which may leave in other company: an incident that ended meanwhile is then told as a whole.

mod backoff;
mod breaker;
mod queue;

#[cfg(test)]
mod properties;
#[cfg(test)]
mod stories;

use std::str::FromStr;
use std::time::Duration;

use serde::{Deserialize, Serialize};

use crate::alert::Fingerprint;
use crate::notification::MessageAlert;

pub use breaker::BreakerState;
pub use queue::{Batch, Next, Queue, ROWS_PER_MESSAGE_MAX, Settlement};

/// Which part of an incident a row tells of.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Tells {
    /// The first that its receiver hears of it.
    Begin,
    Change,
    /// Told to nobody who never heard that it began.
    End,
}

impl Tells {
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Begin => "begin",
            Self::Change => "change",
            Self::End => "end",
        }
    }
}

/// Not `begin`, `change` or `end`.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("no part of an incident is called so")]
pub struct UnknownPart;

impl FromStr for Tells {
    type Err = UnknownPart;

    fn from_str(text: &str) -> Result<Self, UnknownPart> {
        [Self::Begin, Self::Change, Self::End].into_iter().find(|tells| tells.as_str() == text).ok_or(UnknownPart)
    }
}

/// How far a notification is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum OutboxState {
    /// It waits for its next attempt.
    Waiting,
    /// It is on its way, and may arrive even if the agent ends.
    Sending,
    Delivered,
    /// It was given up; a person may have it tried again.
    Dead,
}

impl OutboxState {
    pub const ALL: [Self; 4] = [Self::Waiting, Self::Sending, Self::Delivered, Self::Dead];

    /// The state as it is stored and served.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Waiting => "waiting",
            Self::Sending => "sending",
            Self::Delivered => "delivered",
            Self::Dead => "dead",
        }
    }
}

/// Not `waiting`, `sending`, `delivered` or `dead`.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("no notification is in such a state")]
pub struct UnknownState;

impl FromStr for OutboxState {
    type Err = UnknownState;

    fn from_str(text: &str) -> Result<Self, UnknownState> {
        Self::ALL.into_iter().find(|state| state.as_str() == text).ok_or(UnknownState)
    }
}

/// A row as it is made, before anybody tried to deliver it.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct NewRow {
    /// Stable and unique per receiver and change.
    pub id: String,
    pub receiver: String,
    pub group_key: String,
    pub group_labels: Vec<crate::subject::Label>,
    pub fingerprint: Fingerprint,
    pub incident: u64,
    pub tells: Tells,
    pub alert: MessageAlert,
    /// Alerts of its group that fire and are not told with it.
    pub others_firing: u32,
}

impl NewRow {
    /// What the queue wants to know of it, before its first attempt.
    pub fn queued(&self, seq: u64, due: Duration) -> Row {
        Row {
            seq,
            id: self.id.clone(),
            group_key: self.group_key.clone(),
            fingerprint: self.fingerprint,
            incident: self.incident,
            tells: self.tells,
            due,
            attempts: 0,
            waited: Duration::ZERO,
            message: None,
        }
    }
}

/// What the queue knows of a row.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Row {
    /// Rises with every row of the agent, over restarts too.
    pub seq: u64,
    pub id: String,
    pub group_key: String,
    pub fingerprint: Fingerprint,
    pub incident: u64,
    pub tells: Tells,
    /// Monotonic time before which it is not tried.
    pub due: Duration,
    /// Failed attempts.
    pub attempts: u32,
    /// All its pauses so far: by this it is given up, so that a stepped clock cannot do it.
    pub waited: Duration,
    /// The message that carried it and may have arrived; it is repeated as it was.
    pub message: Option<String>,
}
