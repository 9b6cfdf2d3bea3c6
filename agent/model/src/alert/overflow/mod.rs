//! Summaries for rules with more findings than there is room for. Existing alerts stay, and one summary alert counts the findings without
//! an alert.

use std::collections::BTreeMap;

use super::key::{AlertKey, summary_labels};
use super::room::{ALERTS_PER_PLUGIN_MAX, ALERTS_PER_RULE_MAX, ALERTS_PER_SUBJECT_MAX, BYTES_PER_PLUGIN_MAX, NEW_AT_ONCE_MAX};
use crate::finding::{Cut, Finding, RuleSpec, Severity, Strength};

/// The findings of one rule that have no alert because there is no room.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Dropped {
    /// Number of these findings.
    pub count: u64,
    /// The gravest severity among them.
    pub severity: Severity,
}

/// Dropped findings of one group, by rule.
#[derive(Debug, Clone, Default)]
pub(super) struct AllDropped(pub BTreeMap<String, Dropped>);

impl AllDropped {
    /// Adds findings of a rule.
    pub(super) fn add(&mut self, rule: &str, count: u64, severity: Severity) {
        let dropped = self.0.entry(rule.to_owned()).or_insert(Dropped { count: 0, severity });
        dropped.count = dropped.count.saturating_add(count);
        dropped.severity = dropped.severity.max(severity);
    }

    /// Adds the findings that the check of the report left out.
    pub(super) fn add_cuts(&mut self, cuts: &[Cut]) {
        for cut in cuts {
            self.add(&cut.rule, cut.count, cut.severity);
        }
    }

    /// The summary of each rule, as a finding with the key of its alert.
    pub(super) fn summaries(&self) -> BTreeMap<AlertKey, Finding> {
        self.0.iter().map(|(rule, dropped)| (AlertKey::new(rule, &summary_labels()), dropped.summary(rule))).collect()
    }
}

impl Dropped {
    fn summary(self, rule: &str) -> Finding {
        let count = self.count;
        let findings = if count == 1 { "finding" } else { "findings" };
        Finding {
            rule: rule.to_owned(),
            labels: summary_labels(),
            severity: self.severity,
            strength: Strength::Raise,
            score: None,
            value: Some(count as f64),
            raise_at: None,
            clear_at: None,
            title: format!("{count} more {findings} of {rule}"),
            detail: format!(
                "{count} {findings} of the latest evaluation of {rule} have no alert of their own: there is no room. One rule has room for \
                 {ALERTS_PER_RULE_MAX} open alerts about one subject. One plugin has room for {ALERTS_PER_SUBJECT_MAX} about one subject, \
                 {ALERTS_PER_PLUGIN_MAX} in all with {} MiB of texts, and {NEW_AT_ONCE_MAX} new ones at once, later as many as each minute \
                 adds. Open alerts stay.",
                BYTES_PER_PLUGIN_MAX >> 20
            ),
            cause: Some(
                "One cause behind all of them, a rule that raises too early or covers too much, or labels that change at each evaluation."
                    .to_owned(),
            ),
            fix: Some(
                "Fix the problems that the alerts of this rule name, raise its threshold, narrow what it covers, or remove labels that \
                 never stay the same."
                    .to_owned(),
            ),
            evidence: Vec::new(),
        }
    }
}

/// The rule of a summary, which reads no metric. The summary waits before it fires as long as an alert of the rule does. It waits as long
/// again before it resolves, so that the findings that got room meanwhile could have fired.
pub(super) fn rule(rule: &RuleSpec) -> RuleSpec {
    RuleSpec { keep_firing: rule.for_, needs: Vec::new(), runbook: None, ..rule.clone() }
}

#[cfg(test)]
mod tests;
