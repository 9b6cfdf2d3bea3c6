//! An alert as it is stored, shown and sent.

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

/// A finding over time. The stored form is complete: a restored alert continues where it was.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Alert {
    /// Identity of the alert.
    pub fingerprint: Fingerprint,
    /// Number of this incident, which lasts from its first raise to its end. Unique in the book; later incidents have higher numbers.
    pub incident: u64,
    /// Number of transitions of this incident so far.
    pub step: u32,
    /// Id of the plugin.
    pub plugin: String,
    /// Id of the rule.
    pub rule: String,
    /// Subject of the alert.
    pub subject: Subject,
    /// Labels of the alert, sorted by name.
    pub labels: Vec<Label>,
    /// State of the alert.
    pub state: AlertState,
    /// Severity of the alert.
    pub severity: Severity,
    /// When the alert entered its state: milliseconds since 1970.
    pub since_ms: u64,
    /// When this incident was first raised: milliseconds since 1970.
    pub started_at_ms: u64,
    /// When the alert first fired: milliseconds since 1970. `None` while it is pending.
    pub fired_at_ms: Option<u64>,
    /// Waiting time so far: towards `for` while pending, towards `keep_firing` while recovering.
    pub held: Duration,
    /// Why the latest evaluation could not judge the alert. `None` if it could.
    #[serde(default, deserialize_with = "freeze::read")]
    pub frozen: Option<Frozen>,
    /// Number of new readings in a row without the series of the alert.
    #[serde(default)]
    pub missing: u32,
    /// Verdicts of the last 21 judged evaluations, by which flapping is found.
    #[serde(default)]
    pub verdicts: Verdicts,
    /// When the alert began to flap: milliseconds since 1970. `None` while it does not flap.
    #[serde(default)]
    pub flapping_since_ms: Option<u64>,
    /// Address of a document for people; `None` if the rule has none.
    pub runbook: Option<String>,
    /// Badness from 0 (fine) to 1 (worst); `None` if the finding has none.
    pub score: Option<f64>,
    /// Measured value, in the unit of the rule's metric; `None` if the finding has none.
    pub value: Option<f64>,
    /// Threshold that raises the alert; `None` without one.
    pub raise_at: Option<f64>,
    /// Threshold that clears the alert; `None` without one.
    pub clear_at: Option<f64>,
    /// Title of one line.
    pub title: String,
    /// Explanation in several lines; may be empty.
    pub detail: String,
    /// Probable cause; `None` if unknown.
    pub cause: Option<String>,
    /// Advice, with commands between backticks; `None` without any.
    pub fix: Option<String>,
    /// Measured facts by name, for people.
    pub evidence: Vec<Label>,
    /// Monotonic time of the evaluation up to which `held` counts; `None` while no time counts. Another process has another monotonic
    /// clock, so this time is never stored.
    #[serde(skip)]
    pub(super) counted_to: Option<Duration>,
    /// Monotonic time of the newest reading without the series of the alert.
    #[serde(skip)]
    pub(super) missing_at: Option<Duration>,
    /// True from the restore until the first reading. That reading does not count as one without the series: rates need a second reading.
    #[serde(skip)]
    pub(super) awaits_first_reading: bool,
}

impl Alert {
    /// True while the alert flaps.
    pub fn is_flapping(&self) -> bool {
        self.flapping_since_ms.is_some()
    }

    /// Prepares a stored alert for a new process: it is frozen until it is judged.
    pub(super) fn restore(&mut self, now: Now) {
        self.freeze(Freeze::Restored, now);
        if let Some(frozen) = &mut self.frozen {
            frozen.evaluations = 0;
        }
        (self.missing_at, self.awaits_first_reading) = (None, true);
    }

    /// Removes the texts of an ended alert, which is stored only because of its verdicts.
    pub(super) fn into_ended(mut self) -> Self {
        for text in [&mut self.title, &mut self.detail] {
            *text = String::new();
        }
        (self.cause, self.fix, self.runbook, self.evidence) = (None, None, None, Vec::new());
        (self.counted_to, self.missing_at, self.awaits_first_reading) = (None, None, false);
        self
    }

    /// The values that the store must have exactly. The next evaluation reports all others again.
    pub(super) fn durable(&self) -> impl PartialEq + use<> {
        let frozen_since_ms = self.frozen.as_ref().map(|frozen| frozen.since_ms);
        (self.step, self.severity, self.held, frozen_since_ms, self.missing, self.verdicts)
    }
}
