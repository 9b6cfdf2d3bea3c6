//! The book of all open alerts. Each evaluation changes only the alerts of one plugin about one subject.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use super::cycle::{Cycle, Outcome};
use super::fingerprint::Fingerprint;
use super::freeze::Freeze;
use super::group::{Effects, Group, Judging};
use super::key::AlertKey;
use super::now::Now;
use super::record::Alert;
use super::room::{Allowance, Room, Size};
use super::transition::{Reason, Transition};
use crate::subject::SubjectKey;

/// All alerts that are pending, firing or recovering.
#[derive(Debug, Clone)]
pub struct AlertBook {
    pub(super) groups: BTreeMap<GroupKey, Group>,
    pub(super) next_incident: u64,
    pub(super) touched: Touched,
    /// How many new alerts each plugin may still open, by plugin.
    pub(super) allowances: BTreeMap<String, Allowance>,
}

/// Alerts that changed since the store last received them.
pub(super) type Touched = BTreeMap<GroupKey, BTreeSet<Fingerprint>>;

/// What one evaluation covers: alerts of one plugin about one subject.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct GroupKey {
    pub(super) plugin: String,
    pub(super) subject: SubjectKey,
}

impl Default for AlertBook {
    fn default() -> Self {
        Self::new(1)
    }
}

impl AlertBook {
    /// An empty book. `first_incident` must be above every number that was used before: two incidents with one number would be mixed up.
    pub fn new(first_incident: u64) -> Self {
        Self { groups: BTreeMap::new(), next_incident: first_incident, touched: BTreeMap::new(), allowances: BTreeMap::new() }
    }

    /// Applies one evaluation to the alerts of its plugin about its subject, and returns their transitions. Other alerts stay unchanged.
    pub fn apply(&mut self, cycle: Cycle<'_>, now: Now) -> Vec<Transition> {
        let Cycle { plugin, snapshot, rules, outcome } = cycle;
        let key = GroupKey { plugin: plugin.to_owned(), subject: snapshot.subject.key() };
        let report = match outcome {
            Outcome::Judged(report) => report,
            Outcome::Failed(why) => {
                self.freeze_where(
                    |group| *group == key,
                    |alert| {
                        alert.stop_clock(now);
                        alert.freeze_evaluated(Freeze::Failed(why.clone()), now);
                    },
                );
                return Vec::new();
            }
        };
        let judging = Judging { plugin, snapshot, rules: rules.iter().map(|rule| (rule.id.as_str(), rule)).collect(), now };
        let elsewhere: Vec<Size> =
            of_plugin(&self.groups, plugin).filter(|(other, _)| **other != key).map(|(_, group)| group.size).collect();
        let allowance = self.allowances.entry(plugin.to_owned()).or_insert_with(|| Allowance::full(now.monotonic));
        let mut room = Room::new(allowance, &elsewhere, now.monotonic);
        let group = self.groups.entry(key.clone()).or_default();
        let Effects { transitions, touched } = group.judge(&judging, report, &mut room, &mut self.next_incident);
        if group.is_empty() {
            self.groups.remove(&key);
        }
        touch(&mut self.touched, &key, touched);
        transitions
    }

    /// Closes the alerts of a rule that its plugin no longer declares. They resolve now, not at their next evaluation.
    pub fn rule_removed(&mut self, plugin: &str, rule: &str, now: Now) -> Vec<Transition> {
        self.close_where(|alert| alert.plugin == plugin && alert.rule == rule, Reason::RuleRemoved, now)
    }

    /// Closes the alerts of a plugin that is removed for good. For a plugin that comes back soon use
    /// [`freeze_plugin`](Self::freeze_plugin).
    pub fn plugin_removed(&mut self, plugin: &str, now: Now) -> Vec<Transition> {
        self.allowances.remove(plugin);
        self.close_where(|alert| alert.plugin == plugin, Reason::PluginRemoved, now)
    }

    /// Closes the alerts about a subject that is no longer monitored.
    pub fn subject_removed(&mut self, subject: &SubjectKey, now: Now) -> Vec<Transition> {
        self.close_where(|alert| alert.subject.key() == *subject, Reason::SubjectRemoved, now)
    }

    /// Freezes the alerts of a plugin that does not serve at the moment. `why` is shown with them.
    pub fn freeze_plugin(&mut self, plugin: &str, why: &str, now: Now) {
        self.freeze_where(|group| group.plugin == plugin, |alert| alert.freeze(Freeze::Plugin(why.to_owned()), now));
    }

    /// Every pair of plugin and subject that has open alerts, or ended alerts that are stored because they may flap.
    pub fn plugins_and_subjects(&self) -> impl Iterator<Item = (&str, &SubjectKey)> {
        self.groups.keys().map(|key| (key.plugin.as_str(), &key.subject))
    }

    /// All open alerts, sorted by plugin, subject, rule and labels.
    pub fn alerts(&self) -> impl Iterator<Item = &Alert> {
        self.shared_alerts().map(Arc::as_ref)
    }

    /// All open alerts as [`alerts`](Self::alerts) returns them, but shared: a reader can store them without a copy.
    pub fn shared_alerts(&self) -> impl Iterator<Item = &Arc<Alert>> {
        self.groups.values().flat_map(|group| group.alerts.values())
    }

    /// The open alert with the plugin, rule, subject and labels of `alert`, in its present state.
    pub fn find_open(&self, alert: &Alert) -> Option<&Alert> {
        let key = GroupKey { plugin: alert.plugin.clone(), subject: alert.subject.key() };
        self.groups.get(&key)?.alerts.get(&AlertKey::new(&alert.rule, &alert.labels)).map(Arc::as_ref)
    }

    fn freeze_where(&mut self, concerned: impl Fn(&GroupKey) -> bool, freeze: impl Fn(&mut Alert)) {
        for (key, group) in self.groups.iter_mut().filter(|(key, _)| concerned(key)) {
            let mut touched = BTreeSet::new();
            for alert in group.alerts.values_mut().map(Arc::make_mut) {
                let before = alert.durable();
                freeze(alert);
                if before != alert.durable() {
                    touched.insert(alert.fingerprint);
                }
            }
            touch(&mut self.touched, key, touched);
        }
    }

    fn close_where(&mut self, concerned: impl Fn(&Alert) -> bool, reason: Reason, now: Now) -> Vec<Transition> {
        let mut transitions = Vec::new();
        for (key, group) in &mut self.groups {
            let mut touched = BTreeSet::new();
            for (_, mut alert) in group.alerts.extract_if(.., |_, alert| concerned(alert)) {
                let alert = Arc::make_mut(&mut alert);
                alert.close(reason, now, &mut transitions);
                touched.insert(alert.fingerprint);
            }
            let removed = group.ended.extract_if(.., |_, alert| concerned(alert));
            touched.extend(removed.map(|(_, alert)| alert.fingerprint));
            touch(&mut self.touched, key, touched);
        }
        self.groups.retain(|_, group| !group.is_empty());
        transitions
    }
}

fn of_plugin<'a>(groups: &'a BTreeMap<GroupKey, Group>, plugin: &'a str) -> impl Iterator<Item = (&'a GroupKey, &'a Group)> {
    let first = GroupKey { plugin: plugin.to_owned(), subject: SubjectKey::new("", "") };
    groups.range(first..).take_while(move |(key, _)| key.plugin == plugin)
}

pub(super) fn touch(all: &mut Touched, key: &GroupKey, fingerprints: BTreeSet<Fingerprint>) {
    if !fingerprints.is_empty() {
        all.entry(key.clone()).or_default().extend(fingerprints);
    }
}
