//! Graded checks: a plugin as a table of checks. Each check raises alerts whose severity follows a measured value.
//!
//! A check defines how it observes and how it explains a bad observation. Thresholds, hysteresis, scores, skips and the operator's
//! overrides work alike for all checks and live here.

mod grade;
mod observe;
mod scope;
mod selection;
mod settings;
mod suite;
mod worst;

use std::rc::Rc;
use std::time::Duration;

pub use self::grade::{Direction, Grading, Thresholds};
pub use self::observe::{each_increase, each_one, each_rate, each_row, each_value, each_zero, top, unjudged, unvisited};
pub use self::scope::Scope;
pub use self::settings::Settings;
pub use self::suite::Suite;

use crate::{Label, PartState, Severity, SkipReason, Snapshot, Table};

/// A table of checks about the same kind of subject. A plugin usually has a file for each family.
#[derive(Clone, Copy)]
pub struct Family {
    /// The kind of the subjects: `postgres`, `redis`, `database` or `agent`.
    pub subject_kind: &'static str,
    /// The checks, in the order of the README's tables.
    pub checks: &'static [Check],
}

impl Family {
    /// A family of checks about this kind of subject.
    pub const fn new(subject_kind: &'static str, checks: &'static [Check]) -> Self {
        Self { subject_kind, checks }
    }

    /// Iterates over the checks of all families, in order.
    pub fn all(families: &[Self]) -> impl Iterator<Item = &'static Check> {
        families.iter().flat_map(|family| family.checks)
    }
}

/// An entry of a plugin's table: a rule with its defaults and its code.
pub struct Check {
    /// The id of the rule, unique in the plugin, such as `server-down`. Settings and stored alerts refer to it.
    pub id: &'static str,
    /// The problem that the check finds, in one line without a full stop.
    pub summary: &'static str,
    /// The group of the findings in the health score: "connections", "locks", "storage", ...
    pub category: &'static str,
    /// The servers that the check judges, and whether an alert belongs to a server or to its database.
    pub scope: Scope,
    /// The labels that distinguish observations of the same subject. The operator may select by them and by the labels of the subject.
    pub labels: &'static [&'static str],
    /// Metrics and tables that the check requires. If any is unreadable, the check is skipped and its alerts stay as they are.
    pub needs: &'static [&'static str],
    /// The time that the problem must last before the alert fires.
    pub hold_off: Duration,
    /// The time that all must be well before the alert resolves.
    pub keep_firing: Duration,
    /// The severity, or the thresholds that give it.
    pub grading: Grading,
    /// Reads the observations from a snapshot. An error skips the whole check for this subject.
    pub observe: fn(&Snapshot) -> Result<Vec<Observation>, SkipReason>,
    /// Explains a bad observation. Only bad observations reach this function, so it may read much more of the snapshot.
    pub explain: fn(&Case) -> Explanation,
}

/// A number to grade, with the labels that identify it.
#[derive(Debug, Clone, PartialEq)]
pub struct Observation {
    /// The labels beyond those of the subject. Their names must be among the labels of the check.
    pub labels: Vec<Label>,
    /// The measured value, in the unit of the thresholds. For a fact the size does not matter.
    pub value: f64,
    /// The highest severity that this observation may get, however bad the value is.
    pub severity_max: Severity,
    /// The reason why the exact value is unknown. `value` is then the upper bound, the lower bound (`is_minimum`), or NaN.
    pub unknown: Option<SkipReason>,
    /// Whether `value` is only a lower bound. A bad bound raises an alert; any other bound never counts as fine.
    pub is_minimum: bool,
    /// The row of the table that the value was read from, for the explanation.
    pub row: Option<usize>,
}

impl Observation {
    /// An observation of an exact value. NaN becomes an unknown value with the reason `NoData`.
    pub fn new(labels: Vec<Label>, value: f64) -> Self {
        let unknown = value.is_nan().then_some(SkipReason::NoData);
        Self { labels, value, severity_max: Severity::Critical, unknown, is_minimum: false, row: None }
    }

    /// An observation without a value: nothing that carries these labels can be judged. Alerts with these labels stay as they are.
    pub fn unknown(labels: Vec<Label>, reason: SkipReason) -> Self {
        Self { unknown: Some(reason), ..Self::new(labels, f64::NAN) }
    }

    /// An observation of which only the upper bound is known. The alerts stay as they are, unless even the upper bound is fine.
    pub fn unknown_up_to(labels: Vec<Label>, greatest: Option<f64>, reason: SkipReason) -> Self {
        Self { unknown: Some(reason), ..Self::new(labels, greatest.unwrap_or(f64::NAN)) }
    }

    /// An observation of which only the lower bound is known. The alerts stay as they are, unless even the lower bound is bad.
    pub fn at_least(labels: Vec<Label>, least: f64, reason: SkipReason) -> Self {
        Self { unknown: Some(reason), is_minimum: true, ..Self::new(labels, least) }
    }

    /// Adds the row of the table that the value was read from.
    pub fn with_row(self, row: usize) -> Self {
        Self { row: Some(row), ..self }
    }

    /// Limits the severity of this observation.
    pub fn at_most(self, severity_max: Severity) -> Self {
        Self { severity_max, ..self }
    }
}

/// A bad observation that needs an explanation.
pub struct Case<'a> {
    /// The snapshot with the observation. For a check of scope [`Scope::Shared`], the snapshot of the primary.
    pub snapshot: &'a Snapshot,
    /// The labels of the observation, without those of the subject.
    pub labels: &'a [Label],
    /// The observed value.
    pub value: f64,
    /// The severity that the value got.
    pub severity: Severity,
    /// The row of the table that the value was read from. None if the value comes from a metric.
    pub row: Option<usize>,
}

/// The texts of an alert: all that a person needs in order to act.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct Explanation {
    /// The problem in one line, with its number.
    pub title: String,
    /// The observation and its effect, in full sentences.
    pub detail: String,
    /// The usual reason.
    pub cause: String,
    /// The solution: a statement or a setting, not advice to "investigate".
    pub fix: String,
    /// Measured facts that support the explanation.
    pub evidence: Vec<Label>,
}

impl Case<'_> {
    /// The value of a label of the observation. Empty if the observation has no such label.
    pub fn label(&self, name: &str) -> &str {
        self.labels.iter().find(|label| label.name == name).map_or("", |label| &label.value)
    }

    /// The reason of the first part that could not be read. All parts of a server that is down have the same reason.
    pub fn failure(&self) -> Option<String> {
        self.snapshot.parts().into_iter().find_map(|part| match part.state {
            PartState::Failed(why) => Some(why),
            _ => None,
        })
    }

    /// The value of a metric that supports the explanation. None if the metric is unreadable or has no series.
    pub fn related(&self, metric: &str) -> Option<f64> {
        self.snapshot.value(metric).ok().flatten()
    }

    /// The value of the first series of a metric that fits the observation's labels. None if the metric is unreadable or no series fits.
    pub fn related_series(&self, metric: &str) -> Option<f64> {
        let samples = self.snapshot.values(metric).ok()?;
        let row =
            samples.rows().find(|row| self.labels.iter().all(|label| row.label(&label.name).is_none_or(|value| value == label.value)))?;
        Some(row.value())
    }
}

impl Case<'_> {
    /// The observation's row of a table. The table must be the one that the observation was read from. None if the observation has no row.
    pub fn cells(&self, table: &str) -> Option<Cells> {
        Some(Cells { table: self.snapshot.table(table)?, row: self.row? })
    }
}

/// A row of a table.
pub struct Cells {
    table: Rc<Table>,
    row: usize,
}

impl Cells {
    /// A cell of a column of integers, floats or booleans. None if the cell is null or the column does not exist.
    pub fn number(&self, column: &str) -> Option<f64> {
        self.table.number(column, self.row)
    }

    /// A cell of a column of texts. None if the cell is null or empty, or the column does not exist.
    pub fn text(&self, column: &str) -> Option<String> {
        self.table.text(column, self.row).filter(|text| !text.is_empty())
    }

    /// A number of the row as a line of evidence. None if the cell is null.
    pub fn line(&self, name: &str, column: &str, show: impl Fn(f64) -> String) -> Option<Label> {
        Some(evidence(name, show(self.number(column)?)))
    }
}

/// Creates a label of an observation.
pub fn label(name: &str, value: impl Into<String>) -> Label {
    Label { name: name.to_owned(), value: value.into() }
}

/// Bytes of the name of a line of evidence. The host cuts a longer name and reports the plugin.
const NAME_BYTES_MAX: usize = 100;
/// Bytes of the value of a line of evidence. The host cuts a longer value and reports the plugin.
const VALUE_BYTES_MAX: usize = 500;

/// Creates a line of evidence. Several lines are joined into a single line. A name over 100 bytes or a value over 500 bytes is cut.
pub fn evidence(name: &str, value: impl Into<String>) -> Label {
    Label { name: cut(one_line(name.to_owned()), NAME_BYTES_MAX), value: cut(one_line(value.into()), VALUE_BYTES_MAX) }
}

/// Cuts a text to at most `bytes_max` bytes. A cut text ends with a hash of the whole, so that two texts with the same beginning differ.
fn cut(text: String, bytes_max: usize) -> String {
    if text.len() <= bytes_max {
        return text;
    }
    // The hash FNV-1a needs no cryptography, which a guest does not have. An attacker gains nothing from two equal hashes here.
    const OFFSET: u32 = 0x811c_9dc5;
    const PRIME: u32 = 0x0100_0193;
    let mark = text.bytes().fold(OFFSET, |mark, byte| (mark ^ u32::from(byte)).wrapping_mul(PRIME));
    let mark = format!("…~{mark:08x}");
    format!("{}{mark}", &text[..text.floor_char_boundary(bytes_max - mark.len())])
}

/// Joins several lines into a single line. The host removes control characters from texts and reports the plugin.
fn one_line(text: String) -> String {
    if text.contains(char::is_control) { text.split(char::is_control).map(str::trim).collect::<Vec<_>>().join(" ") } else { text }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn evidence_fits_the_limits_of_the_host_and_long_names_stay_distinct() {
        let long = |end: &str| evidence(&format!("{}{end}", "ä".repeat(100)), "v".repeat(501) + end);
        let (one, other) = (long("1"), long("2"));
        for label in [&one, &other] {
            assert!(label.name.len() <= NAME_BYTES_MAX && label.value.len() <= VALUE_BYTES_MAX, "{label:?}");
        }
        assert!(one.name != other.name && one.value != other.value, "{one:?} {other:?}");
        assert_eq!(evidence(&"n".repeat(NAME_BYTES_MAX), "v"), label(&"n".repeat(NAME_BYTES_MAX), "v"));
    }
}
