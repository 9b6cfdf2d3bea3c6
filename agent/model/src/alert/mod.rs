//! Findings over time: the book of all alerts, and what each evaluation does to it.
//!
//! Plugins only say what is wrong now; the book owns time, identity and incidents. It tells apart three answers that
//! monitoring tools like to mix: *found* (it is wrong), *clear* (the rule looked, it is fine) and *unknown* (nobody
//! could look), which freezes an alert and never resolves it. A finding counts even where its rule was also skipped,
//! because who finds something has looked; a skip of one label set counts before that of its rule.

mod fingerprint;
mod saved;
mod state;
mod transition;

#[cfg(test)]
mod properties;
#[cfg(test)]
mod stories;
#[cfg(test)]
mod tests;

use std::{
    cmp::Reverse,
    collections::{BTreeMap, BTreeSet},
};

use serde::Serialize;

use crate::{
    finding::{Finding, Report, RuleSpec, SkipReason, Strength},
    subject::{Label, Subject, SubjectKey},
};

pub use fingerprint::{Fingerprint, NotAFingerprint};
pub use saved::{Changes, SavedBook};
pub use state::{Alert, AlertState, Freeze};
pub use transition::{Now, Reason, Transition};

/// Open alerts of one rule about one subject. The ones that exist are kept; new ones wait until there is room.
pub const ALERTS_PER_RULE_MAX: usize = 1_000;
/// Open alerts of one plugin about one subject.
pub const ALERTS_PER_SUBJECT_MAX: usize = 10_000;

/// What came of asking one plugin about one subject.
#[derive(Debug, Clone, PartialEq)]
pub enum Outcome {
    /// What it said, after [`Report::checked`].
    Judged(Report),
    /// The call failed: nothing is known.
    Failed(String),
}

/// One evaluation.
#[derive(Debug)]
pub struct Cycle<'a> {
    pub plugin: &'a str,
    pub subject: &'a Subject,
    /// What the generation that judged declares. Alerts of rules that are no longer among them resolve.
    pub rules: &'a [RuleSpec],
    pub outcome: Outcome,
}

/// New alerts that found no room in the latest evaluation.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Overflow {
    pub plugin: String,
    pub subject: SubjectKey,
    pub rule: String,
    pub dropped: u64,
}

/// All alerts that are pending, firing or recovering.
#[derive(Debug, Clone)]
pub struct AlertBook {
    groups: BTreeMap<GroupKey, Group>,
    next_incident: u64,
    touched: Touched,
}

/// Alerts that the store does not have as they are.
type Touched = BTreeMap<GroupKey, BTreeSet<Fingerprint>>;

/// What one evaluation covers: alerts of one plugin about one subject.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
struct GroupKey {
    plugin: String,
    subject: SubjectKey,
}

#[derive(Debug, Clone, Default)]
struct Group {
    alerts: BTreeMap<AlertKey, Alert>,
    dropped: BTreeMap<String, u64>,
}

/// Tells alerts of one group apart.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
struct AlertKey {
    rule: String,
    labels: Vec<Label>,
}

impl AlertKey {
    fn new(rule: &str, labels: &[Label]) -> Self {
        let mut labels = labels.to_vec();
        labels.sort();
        Self { rule: rule.to_owned(), labels }
    }
}

impl Default for AlertBook {
    fn default() -> Self {
        Self::new(1)
    }
}

impl AlertBook {
    /// Empty. `first_incident` is above every number used before, should any be remembered.
    pub fn new(first_incident: u64) -> Self {
        Self { groups: BTreeMap::new(), next_incident: first_incident, touched: BTreeMap::new() }
    }

    /// Takes in one evaluation. It concerns the alerts of this plugin about this subject and no others.
    pub fn apply(&mut self, cycle: Cycle<'_>, now: Now) -> Vec<Transition> {
        let Cycle { plugin, subject, rules, outcome } = cycle;
        let key = GroupKey { plugin: plugin.to_owned(), subject: subject.key() };
        match outcome {
            Outcome::Judged(report) => self.judge(key, subject, rules, Said::from(report), now),
            Outcome::Failed(why) => {
                self.freeze_where(|group| *group == key, &Freeze::Failed(why), Some(now));
                Vec::new()
            }
        }
    }

    fn judge(&mut self, key: GroupKey, subject: &Subject, rules: &[RuleSpec], mut said: Said, now: Now) -> Vec<Transition> {
        let rules: BTreeMap<&str, &RuleSpec> = rules.iter().map(|rule| (rule.id.as_str(), rule)).collect();
        let group = self.groups.entry(key.clone()).or_default();
        let mut touched = BTreeSet::new();
        let mut transitions = Vec::new();
        group.alerts.retain(|key, alert| {
            let durable = |alert: &Alert| (alert.step, alert.severity, alert.held, alert.frozen.clone());
            let before = durable(alert);
            match rules.get(key.rule.as_str()) {
                Some(rule) => {
                    alert.subject.clone_from(subject);
                    alert.step(said.about(key), rule, now, &mut transitions);
                }
                None => alert.close(Reason::RuleRemoved, now, &mut transitions),
            }
            if before != durable(alert) {
                touched.insert(alert.fingerprint);
            }
            alert.state.is_open()
        });
        for (alert_key, finding) in group.admit(said.into_new()) {
            let Some(rule) = rules.get(alert_key.rule.as_str()) else { continue };
            let alert = Alert::open(&key.plugin, subject, rule, finding, self.next_incident, now, &mut transitions);
            self.next_incident = self.next_incident.saturating_add(1);
            touched.insert(alert.fingerprint);
            group.alerts.insert(alert_key, alert);
        }
        if group.alerts.is_empty() {
            self.groups.remove(&key);
        }
        touch(&mut self.touched, &key, touched);
        transitions
    }

    /// The plugin no longer declares this rule; its alerts resolve now rather than at their next evaluation.
    pub fn rule_removed(&mut self, plugin: &str, rule: &str, now: Now) -> Vec<Transition> {
        self.close_where(|alert| alert.plugin == plugin && alert.rule == rule, Reason::RuleRemoved, now)
    }

    /// The plugin is gone for good. One that comes back soon wants [`freeze_plugin`](Self::freeze_plugin).
    pub fn plugin_removed(&mut self, plugin: &str, now: Now) -> Vec<Transition> {
        self.close_where(|alert| alert.plugin == plugin, Reason::PluginRemoved, now)
    }

    /// The subject is no longer watched.
    pub fn subject_removed(&mut self, subject: &SubjectKey, now: Now) -> Vec<Transition> {
        self.close_where(|alert| alert.subject.key() == *subject, Reason::SubjectRemoved, now)
    }

    /// The plugin does not serve for the moment.
    pub fn freeze_plugin(&mut self, plugin: &str, why: &str) {
        self.freeze_where(|group| group.plugin == plugin, &Freeze::Plugin(why.to_owned()), None);
    }

    /// In the order of plugin, subject, rule and labels.
    pub fn alerts(&self) -> impl Iterator<Item = &Alert> {
        self.groups.values().flat_map(|group| group.alerts.values())
    }

    pub fn alert(&self, fingerprint: Fingerprint) -> Option<&Alert> {
        self.alerts().find(|alert| alert.fingerprint == fingerprint)
    }

    /// The rules whose alerts do not all fit.
    pub fn overflows(&self) -> impl Iterator<Item = Overflow> {
        self.groups.iter().flat_map(|(key, group)| {
            group.dropped.iter().map(|(rule, dropped)| Overflow {
                plugin: key.plugin.clone(),
                subject: key.subject.clone(),
                rule: rule.clone(),
                dropped: *dropped,
            })
        })
    }

    fn freeze_where(&mut self, concerned: impl Fn(&GroupKey) -> bool, why: &Freeze, now: Option<Now>) {
        for (key, group) in self.groups.iter_mut().filter(|(key, _)| concerned(key)) {
            let mut touched = BTreeSet::new();
            for alert in group.alerts.values_mut() {
                let held = alert.held;
                if let Some(now) = now {
                    alert.stop_clock(now);
                }
                if alert.held != held || alert.frozen.as_ref() != Some(why) {
                    touched.insert(alert.fingerprint);
                }
                alert.freeze(why.clone());
            }
            touch(&mut self.touched, key, touched);
        }
    }

    fn close_where(&mut self, concerned: impl Fn(&Alert) -> bool, reason: Reason, now: Now) -> Vec<Transition> {
        let mut transitions = Vec::new();
        for (key, group) in &mut self.groups {
            let mut touched = BTreeSet::new();
            for (_, mut alert) in group.alerts.extract_if(.., |_, alert| concerned(alert)) {
                alert.close(reason, now, &mut transitions);
                touched.insert(alert.fingerprint);
            }
            touch(&mut self.touched, key, touched);
        }
        self.groups.retain(|_, group| !group.alerts.is_empty());
        transitions
    }
}

fn touch(all: &mut Touched, key: &GroupKey, fingerprints: BTreeSet<Fingerprint>) {
    if !fingerprints.is_empty() {
        all.entry(key.clone()).or_default().extend(fingerprints);
    }
}

impl Group {
    /// Those of the new findings that have room, the gravest first; the rest is counted.
    fn admit(&mut self, mut new: Vec<(AlertKey, Finding)>) -> Vec<(AlertKey, Finding)> {
        let mut total = self.alerts.len();
        let mut per_rule: BTreeMap<String, usize> = BTreeMap::new();
        for key in self.alerts.keys() {
            *per_rule.entry(key.rule.clone()).or_default() += 1;
        }
        self.dropped.clear();
        new.sort_by_key(|(_, finding)| Reverse(finding.severity));
        new.retain(|(key, _)| {
            let of_rule = per_rule.entry(key.rule.clone()).or_default();
            let fits = *of_rule < ALERTS_PER_RULE_MAX && total < ALERTS_PER_SUBJECT_MAX;
            if fits {
                *of_rule += 1;
                total += 1;
            } else {
                *self.dropped.entry(key.rule.clone()).or_default() += 1;
            }
            fits
        });
        new
    }
}

/// A report, by alert.
struct Said {
    findings: BTreeMap<AlertKey, Finding>,
    /// Without labels: the whole rule.
    skipped: BTreeMap<AlertKey, SkipReason>,
}

impl From<Report> for Said {
    fn from(report: Report) -> Self {
        let found = |mut finding: Finding| {
            finding.labels.sort();
            (AlertKey { rule: finding.rule.clone(), labels: finding.labels.clone() }, finding)
        };
        Self {
            findings: report.findings.into_iter().map(found).collect(),
            skipped: report.skipped.into_iter().map(|skip| (AlertKey::new(&skip.rule, &skip.labels), skip.reason)).collect(),
        }
    }
}

impl Said {
    /// The finding, nothing, or why nobody could look.
    fn about(&mut self, key: &AlertKey) -> Result<Option<Finding>, Freeze> {
        if let Some(finding) = self.findings.remove(key) {
            return Ok(Some(finding));
        }
        let whole_rule = || self.skipped.get(&AlertKey::new(&key.rule, &[]));
        match self.skipped.get(key).or_else(whole_rule) {
            Some(reason) => Err(Freeze::Skipped(reason.clone())),
            None => Ok(None),
        }
    }

    /// What is left starts alerts, if it raises.
    fn into_new(self) -> Vec<(AlertKey, Finding)> {
        self.findings.into_iter().filter(|(_, finding)| finding.strength == Strength::Raise).collect()
    }
}
