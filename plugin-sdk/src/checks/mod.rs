//! Graded checks: a table of things to watch, each one alert whose severity follows its value.
//!
//! A check says what it observes and how it explains a bad observation; thresholds, hysteresis, scores, skips and the operator's
//! overrides are the same for all and live here.

mod grade;
mod settings;
mod suite;

use std::time::Duration;

pub use grade::{Direction, Grading, Thresholds};
pub use settings::Settings;
pub use suite::Suite;

use crate::{Label, PartState, Reading, Row, Samples, Severity, SkipReason, Snapshot};

/// One entry of a plugin's table.
pub struct Check {
    pub id: &'static str,
    pub summary: &'static str,
    /// Groups findings for the health score: "connections", "locks", "storage", ...
    pub category: &'static str,
    /// Metrics it cannot do without. Where one is not readable, the check is skipped before it observes.
    pub needs: &'static [&'static str],
    /// How long it must be wrong before the alert fires.
    pub hold_off: Duration,
    /// How long it must be right before the alert resolves.
    pub keep_firing: Duration,
    pub grading: Grading,
    pub observe: fn(&Snapshot) -> Result<Vec<Observation>, SkipReason>,
    /// Called only for what is wrong, so it may read more of the snapshot.
    pub explain: fn(&Case) -> Explanation,
}

/// One number to grade, and which of several it is.
#[derive(Debug, Clone, PartialEq)]
pub struct Observation {
    pub labels: Vec<Label>,
    pub value: f64,
}

/// A bad observation, to be explained.
pub struct Case<'a> {
    pub snapshot: &'a Snapshot,
    pub labels: &'a [Label],
    pub value: f64,
    pub severity: Severity,
}

/// What a person needs in order to act. `fix` is a statement or a setting, not advice to "investigate".
#[derive(Debug, Clone, PartialEq, Default)]
pub struct Explanation {
    pub title: String,
    pub detail: String,
    pub cause: String,
    pub fix: String,
    pub evidence: Vec<Label>,
}

impl Case<'_> {
    /// The value of one of the observation's labels; empty where it has none of that name.
    pub fn label(&self, name: &str) -> &str {
        self.labels.iter().find(|label| label.name == name).map_or("", |label| &label.value)
    }

    /// Why parts could not be read: with a server down, all of them for the same reason.
    pub fn failure(&self) -> Option<String> {
        self.snapshot.parts().into_iter().find_map(|part| match part.state {
            PartState::Failed(why) => Some(why),
            _ => None,
        })
    }

    /// A metric that supports the explanation; none where it cannot be read, since the case stands without it.
    pub fn related(&self, metric: &str) -> Option<f64> {
        self.snapshot.value(metric).ok().flatten()
    }

    /// Like [`Case::related`], of the series that carries the observation's labels.
    pub fn related_series(&self, metric: &str) -> Option<f64> {
        let samples = self.snapshot.values(metric).ok()?;
        let row =
            samples.rows().find(|row| self.labels.iter().all(|label| row.label(&label.name).is_none_or(|value| value == label.value)))?;
        Some(row.value())
    }
}

/// Every series of a gauge.
pub fn each_value(snapshot: &Snapshot, metric: &str) -> Result<Vec<Observation>, SkipReason> {
    Ok(observations(snapshot, &snapshot.values(metric)?, |value| value))
}

/// How many events each series counted since the previous tick. A part may be read less often than its subject is judged, so the
/// number is an estimate; but where a rate is, there was one event at least.
pub fn each_increase(snapshot: &Snapshot, metric: &str) -> Result<Vec<Observation>, SkipReason> {
    let seconds = snapshot.interval_seconds();
    let events = |rate: f64| if rate > 0.0 { (rate * seconds).round().max(1.0) } else { rate };
    Ok(observations(snapshot, &snapshot.rates(metric)?, events))
}

/// How fast each series of a counter grows, per second. A series that has no rate yet is passed over.
pub fn each_rate(snapshot: &Snapshot, metric: &str) -> Result<Vec<Observation>, SkipReason> {
    Ok(observations(snapshot, &snapshot.rates(metric)?, |rate| rate))
}

/// The series of a 0-or-1 gauge that are 0, for a check that grades a fact.
pub fn each_zero(snapshot: &Snapshot, metric: &str) -> Result<Vec<Observation>, SkipReason> {
    let mut all = each_value(snapshot, metric)?;
    all.retain(|observation| observation.value == 0.0);
    Ok(all)
}

fn observations(snapshot: &Snapshot, samples: &Samples, value: impl Fn(f64) -> f64) -> Vec<Observation> {
    samples.rows().map(|row| Observation { labels: row.labels_beyond(snapshot.subject()), value: value(row.value()) }).collect()
}

/// A line of evidence.
pub fn evidence(name: &str, value: impl Into<String>) -> Label {
    Label { name: name.to_owned(), value: value.into() }
}

/// The largest series of a metric, most first, for evidence. Empty where it cannot be read.
pub fn top(snapshot: &Snapshot, metric: &str, reading: Reading, count: usize, show: fn(f64) -> String) -> Vec<Label> {
    if snapshot.readable(metric).is_err() {
        return Vec::new();
    }
    let samples = snapshot.samples(metric, &[], reading);
    let mut rows: Vec<_> = samples.rows().filter(|row| row.value() > 0.0).collect();
    rows.sort_by(|a, b| b.value().total_cmp(&a.value()));
    let line = |row: Row| {
        let labels = row.labels_beyond(snapshot.subject());
        let name: Vec<_> = labels.iter().map(|label| label.value.as_str()).collect();
        evidence(&name.join(", "), show(row.value()))
    };
    rows.into_iter().take(count).map(line).collect()
}
