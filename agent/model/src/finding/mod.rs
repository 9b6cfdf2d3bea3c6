//! Declarations and reports of alert plugins: rules, findings, and rules that could not be judged.
//!
//! The types mirror `wit/alert-rule.wit`. Nothing that a plugin returns is used before [`Report::checked`] or [`check_rules`]. Both repair
//! what can be repaired, and report what they changed.

mod check;
mod needs;
mod report;
mod rule_spec;
mod rules;
#[cfg(test)]
mod tests;

pub(crate) use self::check::checked_value;
pub use self::check::{CheckedReport, FINDINGS_MAX, FINDINGS_PER_RULE_MAX, LABELS_MAX, Repair, RepairKind};
pub use self::needs::{Unmet, collected, unmet};
pub use self::report::{Cut, Finding, Report, Severity, SkipReason, Skipped, Strength};
pub use self::rule_spec::RuleSpec;
pub use self::rules::{RULES_MAX, RuleError, check_rules};
pub use crate::subject::Label;
