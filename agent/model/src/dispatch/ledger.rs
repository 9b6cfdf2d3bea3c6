//! What one receiver was told of one incident, and what keeps it from hearing more.

use std::{cmp::Ordering, fmt, time::Duration};

use serde::{Deserialize, Serialize};

use super::{IncidentKey, inhibit::UNREACHABLE, quiet::News};
use crate::{
    alert::{Alert, Fingerprint},
    finding::Severity,
    subject::Label,
};

/// One line of the ledger. Serialises completely: what is read back goes on where it was.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Entry {
    pub receiver: String,
    pub fingerprint: Fingerprint,
    pub incident: u64,
    pub group_key: String,
    pub group_labels: Vec<Label>,
    /// None: nothing yet.
    pub told: Option<Told>,
    /// Why there is something it was not told.
    pub hold: Option<Hold>,
    /// Wall clock: when its group is told, if it has news.
    pub due_at_ms: Option<u64>,
    /// Rows made so far; numbers them.
    pub rows: u32,
    /// How the incident ended, if that is still to be told.
    pub ended: Option<Box<Ended>>,
}

/// What was told last.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Told {
    pub severity: Severity,
    /// That it comes and goes.
    pub flapping: bool,
    /// Wall clock.
    pub at_ms: u64,
    /// Monotonic: when the receiver is reminded; none: never. Another process has another clock, so it is never stored.
    #[serde(skip)]
    pub repeat_at: Option<Duration>,
}

/// The end of an incident.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Ended {
    /// As it was then.
    pub alert: Alert,
    pub at_ms: u64,
    /// Why, if nobody saw that it is fine again.
    pub because: Option<String>,
}

/// Why a receiver does not hear of an alert.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "kind", rename_all = "kebab-case")]
pub enum Hold {
    Silenced {
        silence: String,
        author: String,
        comment: String,
        until_ms: u64,
    },
    Inhibited {
        rule: String,
        by: Fingerprint,
    },
    Acknowledged {
        author: String,
        at_ms: u64,
    },
    /// Too much waits for it already.
    Behind,
    /// No route leads to it any more.
    Unrouted,
}

/// The kind of a [`Hold`], as it is stored and counted.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum HoldReason {
    Silenced,
    Inhibited,
    Acknowledged,
    Behind,
    Unrouted,
}

impl HoldReason {
    /// The value of the label `reason` in metrics.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Silenced => "silenced",
            Self::Inhibited => "inhibited",
            Self::Acknowledged => "acknowledged",
            Self::Behind => "behind",
            Self::Unrouted => "unrouted",
        }
    }
}

impl Hold {
    pub fn reason(&self) -> HoldReason {
        match self {
            Self::Silenced { .. } => HoldReason::Silenced,
            Self::Inhibited { .. } => HoldReason::Inhibited,
            Self::Acknowledged { .. } => HoldReason::Acknowledged,
            Self::Behind => HoldReason::Behind,
            Self::Unrouted => HoldReason::Unrouted,
        }
    }

    /// The alert that said that the server could not be reached, and was right.
    pub(super) fn by_unreachable(&self) -> Option<Fingerprint> {
        match self {
            Self::Inhibited { rule, by } if rule == UNREACHABLE => Some(*by),
            _ => None,
        }
    }
}

impl fmt::Display for Hold {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Silenced { silence, author, comment, .. } => write!(f, "silenced by {author} ({silence}): {comment}"),
            Self::Inhibited { rule, by } => write!(f, "explained by alert {by} (inhibition `{rule}`)"),
            Self::Acknowledged { author, .. } => write!(f, "acknowledged by {author}"),
            Self::Behind => f.write_str("too many notifications wait for this receiver already"),
            Self::Unrouted => f.write_str("no route leads to this receiver any more"),
        }
    }
}

impl Entry {
    pub(super) fn new(receiver: &str, key: IncidentKey, group_key: String, group_labels: Vec<Label>) -> Self {
        let (fingerprint, incident) = key;
        Self {
            receiver: receiver.to_owned(),
            fingerprint,
            incident,
            group_key,
            group_labels,
            told: None,
            hold: None,
            due_at_ms: None,
            rows: 0,
            ended: None,
        }
    }

    pub fn key(&self) -> IncidentKey {
        (self.fingerprint, self.incident)
    }

    /// What there is about an alert that is open that its receiver does not know; none where it knows all.
    pub(super) fn news(&self, alert: &Alert) -> Option<News> {
        let Some(told) = &self.told else { return Some(News::New(alert.severity)) };
        match told.severity.cmp(&alert.severity) {
            Ordering::Less => Some(News::Graver),
            Ordering::Greater => Some(News::Calm),
            Ordering::Equal => (alert.is_flapping() && !told.flapping).then_some(News::Calm),
        }
    }
}
