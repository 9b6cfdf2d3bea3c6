//! The report of one evaluation, sorted by alert.

use std::collections::BTreeMap;

use super::freeze::Freeze;
use super::key::AlertKey;
use super::machine::Evidence;
use super::series::Series;
use crate::finding::{Finding, Report, RuleSpec, SkipReason, Strength};
use crate::snapshot::Snapshot;
use crate::subject::Label;

/// Findings and skips of a report, by alert. A finding counts even if its rule was also skipped, because the rule did read its facts. A
/// skip covers every alert that has all labels of the skip; if several cover an alert, the one with most labels counts.
pub(super) struct ReportByAlert {
    findings: BTreeMap<AlertKey, Finding>,
    /// Skips by rule and labels. A skip without labels covers the whole rule.
    skipped: BTreeMap<String, BTreeMap<Vec<Label>, SkipReason>>,
}

impl From<Report> for ReportByAlert {
    fn from(report: Report) -> Self {
        let found = |mut finding: Finding| {
            finding.labels.sort();
            (AlertKey { rule: finding.rule.clone(), labels: finding.labels.clone() }, finding)
        };
        let mut skipped: BTreeMap<String, BTreeMap<Vec<Label>, SkipReason>> = BTreeMap::new();
        for skip in report.skipped {
            let key = AlertKey::new(&skip.rule, &skip.labels);
            skipped.entry(key.rule).or_default().insert(key.labels, skip.reason);
        }
        Self { findings: report.findings.into_iter().map(found).collect(), skipped }
    }
}

impl ReportByAlert {
    /// Removes and returns the findings whose labels are those of a summary.
    pub(super) fn take_summaries(&mut self) -> impl Iterator<Item = Finding> + use<> {
        let taken: Vec<Finding> = self.findings.extract_if(.., |key, _| key.is_summary()).map(|(_, finding)| finding).collect();
        taken.into_iter()
    }

    /// Replaces the findings. The skips stay.
    pub(super) fn with_findings(self, findings: BTreeMap<AlertKey, Finding>) -> Self {
        Self { findings, ..self }
    }

    /// Removes the finding of an existing alert and returns the result of the evaluation for that alert.
    pub(super) fn evidence_for(&mut self, key: &AlertKey, rule: &RuleSpec, snapshot: &Snapshot) -> Evidence {
        if let Some(finding) = self.findings.remove(key) {
            return Evidence::Judged(Some(finding));
        }
        let series = || Series::of(rule, &key.labels, snapshot);
        match self.skip_reason(key) {
            // If all parts were read and the rule saw no data, the series counts as missing, unless it is there.
            Some(SkipReason::NoData) => match series() {
                Series::Undetermined { read_at: Some(read_at) } => {
                    Evidence::Unknown(Freeze::Skipped(SkipReason::NoData), Series::Missing { read_at })
                }
                series => Evidence::Unknown(Freeze::Skipped(SkipReason::NoData), series),
            },
            Some(reason) => Evidence::Unknown(Freeze::Skipped(reason.clone()), Series::Undetermined { read_at: None }),
            None => match series() {
                Series::Present | Series::Undetermined { .. } => Evidence::Judged(None),
                series @ Series::Missing { .. } => Evidence::Unknown(Freeze::NoData("its series is gone".to_owned()), series),
                Series::Unreadable(why) => Evidence::Unknown(Freeze::NoData(why.clone()), Series::Unreadable(why)),
            },
        }
    }

    /// The finding of a label set without an open alert. `Some(None)` if it is clear; `None` if the rule could not judge.
    pub(super) fn finding_of(&self, key: &AlertKey) -> Option<Option<&Finding>> {
        match self.findings.get(key) {
            Some(finding) => Some(Some(finding)),
            None => self.skip_reason(key).is_none().then_some(None),
        }
    }

    /// Removes and returns the remaining findings that raise. They open new alerts.
    pub(super) fn take_new(&mut self) -> Vec<(AlertKey, Finding)> {
        self.findings.extract_if(.., |_, finding| finding.strength == Strength::Raise).collect()
    }

    fn skip_reason(&self, key: &AlertKey) -> Option<&SkipReason> {
        let of_rule = self.skipped.get(&key.rule)?;
        let covering = || {
            // No data for some labels does not mean no data for a series with more labels.
            let covers_more_labels = |(labels, reason): &(&Vec<Label>, &SkipReason)| labels.is_empty() || **reason != SkipReason::NoData;
            let fewer = of_rule.iter().filter(covers_more_labels).filter(|(labels, _)| labels.len() < key.labels.len());
            fewer.filter(|(labels, _)| labels.iter().all(|label| key.labels.contains(label)))
        };
        let most = || covering().max_by_key(|(labels, _)| labels.len()).map(|(_, reason)| reason);
        of_rule.get(&key.labels).or_else(most)
    }
}
