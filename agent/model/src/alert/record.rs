//! An alert as it is stored, shown and told.

use std::time::Duration;

use serde::{Deserialize, Serialize};

use super::fingerprint::Fingerprint;
use super::flapping::Verdicts;
use super::freeze;
use super::freeze::{Freeze, Frozen};
use super::now::Now;
use super::state::AlertState;
use crate::finding::Severity;
use crate::subject::{Label, Subject};

/// A finding over time. Serialises completely: what is read back goes on where it was.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Alert {
    pub fingerprint: Fingerprint,
    /// The number of this episode, from its first raise to its end. Unique in the book, and growing.
    pub incident: u64,
    /// Transitions of this incident so far.
    pub step: u32,
    pub plugin: String,
    pub rule: String,
    pub subject: Subject,
    /// Sorted by name.
    pub labels: Vec<Label>,
    pub state: AlertState,
    pub severity: Severity,
    /// Wall clock: when it entered its state.
    pub since_ms: u64,
    /// Wall clock: the first raise of this incident.
    pub started_at_ms: u64,
    /// Wall clock: when it fired; none while it is pending.
    pub fired_at_ms: Option<u64>,
    /// Time gathered towards `for` while pending, towards `keep_firing` while recovering.
    pub held: Duration,
    /// None while it is judged.
    #[serde(default, deserialize_with = "freeze::read")]
    pub frozen: Option<Frozen>,
    /// Evaluations in a row that found its series missing.
    #[serde(default)]
    pub missing: u32,
    #[serde(default)]
    pub verdicts: Verdicts,
    /// Wall clock: since when it flaps.
    #[serde(default)]
    pub flapping_since_ms: Option<u64>,
    pub runbook: Option<String>,
    // As the latest finding said.
    pub score: Option<f64>,
    pub value: Option<f64>,
    pub raise_at: Option<f64>,
    pub clear_at: Option<f64>,
    pub title: String,
    pub detail: String,
    pub cause: Option<String>,
    pub fix: Option<String>,
    pub evidence: Vec<Label>,
    /// Monotonic: the evaluation up to which `held` counts; none while the clock stands. Another process has another
    /// monotonic clock, so it is never stored.
    #[serde(skip)]
    pub(super) counted_to: Option<Duration>,
    /// Monotonic: the newest reading that was found without its series.
    #[serde(skip)]
    pub(super) missing_at: Option<Duration>,
    /// Nobody saw or missed its series since it was restored: rates need a second reading, and a collector its first run.
    #[serde(skip)]
    pub(super) unseen: bool,
}

impl Alert {
    pub fn is_flapping(&self) -> bool {
        self.flapping_since_ms.is_some()
    }

    /// Goes on in a new process, frozen until it is judged.
    pub(super) fn restore(&mut self, now: Now) {
        self.freeze(Freeze::Restored, now);
        if let Some(frozen) = &mut self.frozen {
            frozen.evaluations = 0;
        }
        (self.missing_at, self.unseen) = (None, true);
    }

    /// It ended, and is kept for its verdicts alone.
    pub(super) fn remember(mut self) -> Self {
        for text in [&mut self.title, &mut self.detail] {
            *text = String::new();
        }
        (self.cause, self.fix, self.runbook, self.evidence) = (None, None, None, Vec::new());
        (self.counted_to, self.missing_at, self.unseen) = (None, None, false);
        self
    }

    /// What the store must know exactly. The rest is said again by the next evaluation.
    pub(super) fn durable(&self) -> impl PartialEq + use<> {
        let frozen_since_ms = self.frozen.as_ref().map(|frozen| frozen.since_ms);
        (self.step, self.severity, self.held, frozen_since_ms, self.missing, self.verdicts)
    }
}
