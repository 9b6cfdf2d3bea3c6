//! What one report says, alert by alert.

use std::collections::BTreeMap;

use super::freeze::Freeze;
use super::key::AlertKey;
use super::machine::Evidence;
use super::series::Series;
use crate::finding::{Finding, Report, RuleSpec, SkipReason, Strength};
use crate::snapshot::Snapshot;
use crate::subject::Label;

/// A report, by alert. A finding counts even where its rule was also skipped, because who finds something has looked. A skip is of
/// everything that has its labels, and the one that says most of them counts.
pub(super) struct Said {
    findings: BTreeMap<AlertKey, Finding>,
    /// By rule. Without labels: the whole rule.
    skipped: BTreeMap<String, BTreeMap<Vec<Label>, SkipReason>>,
}

impl From<Report> for Said {
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

impl Said {
    /// The findings that took the label set of summaries.
    pub(super) fn take_summaries(&mut self) -> impl Iterator<Item = Finding> + use<> {
        let taken: Vec<Finding> = self.findings.extract_if(.., |key, _| key.is_summary()).map(|(_, finding)| finding).collect();
        taken.into_iter()
    }

    /// The same skips, with other findings.
    pub(super) fn with(self, findings: BTreeMap<AlertKey, Finding>) -> Self {
        Self { findings, ..self }
    }

    /// About an alert.
    pub(super) fn about(&mut self, key: &AlertKey, rule: &RuleSpec, snapshot: &Snapshot) -> Evidence {
        if let Some(finding) = self.findings.remove(key) {
            return Evidence::Judged(Some(finding));
        }
        let series = || Series::of(rule, &key.labels, snapshot);
        match self.skip(key) {
            // A rule that sees no data where all was read counts for a series that is missing, unless the series is there.
            Some(SkipReason::NoData) => match series() {
                Series::Untold { read_at: Some(read_at) } => {
                    Evidence::Unknown(Freeze::Skipped(SkipReason::NoData), Series::Missing { read_at })
                }
                series => Evidence::Unknown(Freeze::Skipped(SkipReason::NoData), series),
            },
            Some(reason) => Evidence::Unknown(Freeze::Skipped(reason.clone()), Series::Untold { read_at: None }),
            None => match series() {
                Series::There | Series::Untold { .. } => Evidence::Judged(None),
                series @ Series::Missing { .. } => Evidence::Unknown(Freeze::NoData("its series is gone".to_owned()), series),
                Series::Unreadable(why) => Evidence::Unknown(Freeze::NoData(why.clone()), Series::Unreadable(why)),
            },
        }
    }

    /// About a label set without an alert: its finding, nothing, or none when nobody could look.
    pub(super) fn verdict(&self, key: &AlertKey) -> Option<Option<&Finding>> {
        match self.findings.get(key) {
            Some(finding) => Some(Some(finding)),
            None => self.skip(key).is_none().then_some(None),
        }
    }

    /// What is left of the findings starts alerts, if it raises.
    pub(super) fn take_new(&mut self) -> Vec<(AlertKey, Finding)> {
        self.findings.extract_if(.., |_, finding| finding.strength == Strength::Raise).collect()
    }

    fn skip(&self, key: &AlertKey) -> Option<&SkipReason> {
        let of_rule = self.skipped.get(&key.rule)?;
        let covering = || {
            // Where a rule saw no data under some labels, it says nothing of a series that has more.
            let says_why = |(labels, reason): &(&Vec<Label>, &SkipReason)| labels.is_empty() || **reason != SkipReason::NoData;
            let fewer = of_rule.iter().filter(says_why).filter(|(labels, _)| labels.len() < key.labels.len());
            fewer.filter(|(labels, _)| labels.iter().all(|label| key.labels.contains(label)))
        };
        let most = || covering().max_by_key(|(labels, _)| labels.len()).map(|(_, reason)| reason);
        of_rule.get(&key.labels).or_else(most)
    }
}
