//! Graded checks: a table of things to watch, each one alert whose severity follows its value.
//!
//! A check says what it observes and how it explains a bad observation; thresholds, hysteresis, scores, skips and the operator's
//! overrides are the same for all and live here.

mod grade;
mod observe;
mod scope;
mod selection;
mod settings;
mod suite;
mod worst;

use std::rc::Rc;
use std::time::Duration;

pub use grade::{Direction, Grading, Thresholds};
pub use observe::{each_increase, each_one, each_rate, each_row, each_value, each_zero, top, unjudged, unvisited};
pub use scope::Scope;
pub use settings::Settings;
pub use suite::Suite;

use crate::{Label, PartState, Severity, SkipReason, Snapshot, Table};

/// Checks about one kind of subject; a plugin's file often is one.
#[derive(Clone, Copy)]
pub struct Family {
    pub subject_kind: &'static str,
    pub checks: &'static [Check],
}

impl Family {
    pub const fn of(subject_kind: &'static str, checks: &'static [Check]) -> Self {
        Self { subject_kind, checks }
    }

    /// The checks of all of them, in their order.
    pub fn all(families: &[Self]) -> impl Iterator<Item = &'static Check> {
        families.iter().flat_map(|family| family.checks)
    }
}

/// One entry of a plugin's table.
pub struct Check {
    pub id: &'static str,
    pub summary: &'static str,
    /// Groups findings for the health score: "connections", "locks", "storage", ...
    pub category: &'static str,
    /// Which servers it judges, and whether its alerts are theirs or their database's.
    pub scope: Scope,
    /// What tells one observation from another, beyond the labels of the subject. The operator may choose by them.
    pub labels: &'static [&'static str],
    /// Metrics and tables it cannot do without. Where one is not readable, the check is skipped before it observes.
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
    /// However large the value is.
    pub severity_max: Severity,
    /// Why the value is not known; then `value` is what it is at most, or no number.
    pub unknown: Option<SkipReason>,
    /// `value` is what it is at least, although it is not known: bad if that is bad, and never fine.
    pub is_minimum: bool,
    /// The row of the table that it was read from, for the explanation.
    pub row: Option<usize>,
}

impl Observation {
    pub fn new(labels: Vec<Label>, value: f64) -> Self {
        let unknown = value.is_nan().then_some(SkipReason::NoData);
        Self { labels, value, severity_max: Severity::Critical, unknown, is_minimum: false, row: None }
    }

    /// Everything that carries these labels cannot be judged: its alerts stand still.
    pub fn unknown(labels: Vec<Label>, reason: SkipReason) -> Self {
        Self { unknown: Some(reason), ..Self::new(labels, f64::NAN) }
    }

    /// The same, unless what it is at most is fine.
    pub fn unknown_up_to(labels: Vec<Label>, greatest: Option<f64>, reason: SkipReason) -> Self {
        Self { unknown: Some(reason), ..Self::new(labels, greatest.unwrap_or(f64::NAN)) }
    }

    /// What it is at least, where more is not known.
    pub fn at_least(labels: Vec<Label>, least: f64, reason: SkipReason) -> Self {
        Self { unknown: Some(reason), is_minimum: true, ..Self::new(labels, least) }
    }

    pub fn of_row(self, row: usize) -> Self {
        Self { row: Some(row), ..self }
    }

    pub fn at_most(self, severity_max: Severity) -> Self {
        Self { severity_max, ..self }
    }
}

/// A bad observation, to be explained.
pub struct Case<'a> {
    /// What was observed: of a check that servers share, the snapshot of the primary.
    pub snapshot: &'a Snapshot,
    pub labels: &'a [Label],
    pub value: f64,
    pub severity: Severity,
    /// The row of the observation, where it was one of a table.
    pub row: Option<usize>,
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

impl Case<'_> {
    /// Cells of the observation's row of a table, which is that which it was observed in.
    pub fn cells(&self, table: &str) -> Option<Cells> {
        Some(Cells { table: self.snapshot.table(table)?, row: self.row? })
    }
}

/// One row of a table.
pub struct Cells {
    table: Rc<Table>,
    row: usize,
}

impl Cells {
    pub fn number(&self, column: &str) -> Option<f64> {
        self.table.number(column, self.row)
    }

    /// None where it is empty.
    pub fn text(&self, column: &str) -> Option<String> {
        self.table.text(column, self.row).filter(|text| !text.is_empty())
    }

    /// A number as a line of evidence.
    pub fn line(&self, name: &str, column: &str, show: impl Fn(f64) -> String) -> Option<Label> {
        Some(evidence(name, show(self.number(column)?)))
    }
}

/// A label of an observation.
pub fn label(name: &str, value: impl Into<String>) -> Label {
    Label { name: name.to_owned(), value: value.into() }
}

/// Bytes that the host keeps of the name of a line of evidence, and of its value.
const NAME_BYTES_MAX: usize = 100;
const VALUE_BYTES_MAX: usize = 500;

/// A line of evidence. What servers say in several lines becomes one, and what is longer than the host keeps is cut.
pub fn evidence(name: &str, value: impl Into<String>) -> Label {
    Label { name: cut(one_line(name.to_owned()), NAME_BYTES_MAX), value: cut(one_line(value.into()), VALUE_BYTES_MAX) }
}

/// A text within a bound. One that is cut ends with a mark of the whole, so that two that begin alike stay apart.
fn cut(text: String, bytes_max: usize) -> String {
    if text.len() <= bytes_max {
        return text;
    }
    /// FNV-1a: there is no cryptography in a guest, and nobody gains by two lines of evidence that look alike.
    const OFFSET: u32 = 0x811c_9dc5;
    const PRIME: u32 = 0x0100_0193;
    let mark = text.bytes().fold(OFFSET, |mark, byte| (mark ^ u32::from(byte)).wrapping_mul(PRIME));
    let mark = format!("…~{mark:08x}");
    format!("{}{mark}", &text[..text.floor_char_boundary(bytes_max - mark.len())])
}

/// The host takes control characters out of texts, and reports a plugin that has them.
fn one_line(text: String) -> String {
    if text.contains(char::is_control) { text.split(char::is_control).map(str::trim).collect::<Vec<_>>().join(" ") } else { text }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn evidence_fits_what_the_host_keeps_and_long_names_stay_apart() {
        let long = |end: &str| evidence(&format!("{}{end}", "ä".repeat(100)), "v".repeat(501) + end);
        let (one, other) = (long("1"), long("2"));
        for label in [&one, &other] {
            assert!(label.name.len() <= NAME_BYTES_MAX && label.value.len() <= VALUE_BYTES_MAX, "{label:?}");
        }
        assert!(one.name != other.name && one.value != other.value, "{one:?} {other:?}");
        assert_eq!(evidence(&"n".repeat(NAME_BYTES_MAX), "v"), label(&"n".repeat(NAME_BYTES_MAX), "v"));
    }
}
