//! What alert plugins declare and say: rules, findings, and what they could not judge.
//!
//! The types mirror `wit/alert-rule.wit`. Nothing a plugin returned is used before [`Report::checked`] or
//! [`check_rules`] has seen it: both repair what can be repaired and say what they did.

mod check;
mod needs;
mod rules;
#[cfg(test)]
mod tests;

use std::{fmt, time::Duration};

use crate::subject::SubjectKind;
use serde::{Deserialize, Serialize};

pub use crate::subject::Label;
pub(crate) use check::kept_value;
pub use check::{CheckedReport, FINDINGS_MAX, FINDINGS_PER_RULE_MAX, LABELS_MAX, Repair, RepairKind};
pub use needs::{Unmet, collected, unmet};
pub use rules::{RULES_MAX, RuleError, check_rules};

/// How bad it is. An attribute of an alert, never part of its identity.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Severity {
    Info,
    Warning,
    Critical,
}

impl Severity {
    pub const ALL: [Self; 3] = [Self::Info, Self::Warning, Self::Critical];

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

/// Which side of the raise threshold the rule saw.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Strength {
    /// Not past the raise threshold, but not yet back past the clear threshold: keeps an alert, never starts one.
    Hold,
    /// Past the raise threshold.
    Raise,
}

/// Something that is wrong now.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Finding {
    pub rule: String,
    /// With plugin, rule and subject, what tells this alert from others. Sorted by name after the check.
    pub labels: Vec<Label>,
    pub severity: Severity,
    pub strength: Strength,
    /// 0 (fine) to 1 (red band), for the health score.
    pub score: Option<f64>,
    /// What was measured, in the unit of the rule's metric; so are `raise_at` and `clear_at`.
    pub value: Option<f64>,
    pub raise_at: Option<f64>,
    pub clear_at: Option<f64>,
    /// One line.
    pub title: String,
    pub detail: String,
    pub cause: Option<String>,
    pub fix: Option<String>,
    pub evidence: Vec<Label>,
}

/// Why a rule could not look.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum SkipReason {
    NoData,
    PartFailed(String),
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

/// A rule that could not look: without labels at anything, else at that label set. Its alerts freeze.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct Skipped {
    pub rule: String,
    pub labels: Vec<Label>,
    pub reason: SkipReason,
}

/// Everything one plugin says about one snapshot. What is in neither list is fine.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub struct Report {
    pub findings: Vec<Finding>,
    pub skipped: Vec<Skipped>,
    /// What the check left out. Nothing a plugin says.
    #[serde(default)]
    pub cut: Vec<Cut>,
}

/// Findings of one rule that a report had no room for.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Cut {
    pub rule: String,
    /// Those that raise: a hold starts no alert.
    pub count: u64,
    /// The gravest.
    pub severity: Severity,
}

/// What a plugin watches. Mirrors the WIT record `rule`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct RuleSpec {
    pub id: String,
    pub summary: String,
    /// Groups findings for the health score: `connections`, `locks`, `storage`.
    pub category: String,
    pub subject_kind: SubjectKind,
    /// Metrics and tables it reads.
    pub needs: Vec<String>,
    /// How long it must be raised before the alert fires.
    #[serde(rename = "for_ms", with = "milliseconds")]
    pub for_: Duration,
    /// How long it must be clear before the alert resolves.
    #[serde(rename = "keep_firing_ms", with = "milliseconds")]
    pub keep_firing: Duration,
    pub runbook: Option<String>,
}

/// The contract counts whole milliseconds, so its mirror is written as such.
mod milliseconds {
    use std::time::Duration;

    use serde::{Deserialize, Deserializer, Serializer};

    pub fn serialize<S: Serializer>(duration: &Duration, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_u64(u64::try_from(duration.as_millis()).unwrap_or(u64::MAX))
    }

    pub fn deserialize<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Duration, D::Error> {
        u64::deserialize(deserializer).map(Duration::from_millis)
    }
}
