//! Reports of a plugin about one snapshot: findings, and rules that could not judge.

use std::fmt;

use serde::{Deserialize, Serialize};

use crate::subject::Label;

/// Severity of an alert. It is not part of the alert's identity.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Severity {
    /// The lowest severity.
    Info,
    /// The middle severity.
    Warning,
    /// The highest severity. A new critical alert waits for no group interval, and takes room that others may not take.
    Critical,
}

impl Severity {
    /// All severities, from the lowest to the highest.
    pub const ALL: [Self; 3] = [Self::Info, Self::Warning, Self::Critical];

    /// Name of the severity in labels, in the store and in the API.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Info => "info",
            Self::Warning => "warning",
            Self::Critical => "critical",
        }
    }
}

impl fmt::Display for Severity {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.as_str())
    }
}

/// Which thresholds a value has crossed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Strength {
    /// The value is between the threshold that raises and the threshold that clears. It continues an alert and never starts one.
    Hold,
    /// The value has crossed the threshold that raises an alert.
    Raise,
}

/// A fault that a rule finds now.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Finding {
    /// Id of the rule.
    pub rule: String,
    /// Labels that are part of the alert's identity, next to plugin, rule and subject. The check sorts them by name.
    pub labels: Vec<Label>,
    /// Severity that the rule gives to the fault.
    pub severity: Severity,
    /// Which thresholds the value has crossed.
    pub strength: Strength,
    /// Badness from 0 (fine) to 1 (worst), for the health score.
    pub score: Option<f64>,
    /// Measured value, in the unit of the rule's metric. `raise_at` and `clear_at` have the same unit.
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
}

/// Why a rule could not judge.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum SkipReason {
    /// The snapshot has no data for the rule.
    NoData,
    /// A part that the rule needs could not be read. The text is the reason.
    PartFailed(String),
    /// The server cannot provide a part that the rule needs. The text is the reason.
    Unsupported(String),
}

impl fmt::Display for SkipReason {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::NoData => f.write_str("no data"),
            Self::PartFailed(why) => f.write_str(why),
            Self::Unsupported(why) => write!(f, "unsupported: {why}"),
        }
    }
}

/// A rule that could not judge. Without labels it judged nothing, else not this label set. Its alerts freeze.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct Skipped {
    /// Id of the rule.
    pub rule: String,
    /// Label set that was not judged; empty for all label sets.
    pub labels: Vec<Label>,
    /// Why the rule could not judge.
    pub reason: SkipReason,
}

/// Everything that one plugin reports about one snapshot. Everything not listed is fine.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub struct Report {
    /// Faults that the rules found.
    pub findings: Vec<Finding>,
    /// Rules that could not judge.
    pub skipped: Vec<Skipped>,
    /// Findings that the check left out. Never set by a plugin.
    #[serde(default)]
    pub cut: Vec<Cut>,
}

/// Findings of one rule that exceeded the limits of a report.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Cut {
    /// Id of the rule.
    pub rule: String,
    /// Number of findings that raise. Findings that hold start no alert and do not count.
    pub count: u64,
    /// Highest severity among them.
    pub severity: Severity,
}
