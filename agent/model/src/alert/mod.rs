//! Findings over time: the book of all alerts, and what each evaluation does to it.
//!
//! Plugins only say what is wrong now; the book owns time, identity and incidents. It tells apart three answers that
//! monitoring tools like to mix: *found* (it is wrong), *clear* (the rule looked, it is fine) and *unknown* (nobody
//! could look), which freezes an alert and never resolves it; only a series that is really gone takes its alert along.

mod fingerprint;
mod flapping;
mod freeze;
mod group;
mod overflow;
mod record;
mod room;
mod said;
mod saved;
mod series;
mod sightings;
mod state;
mod transition;

#[cfg(test)]
mod properties;
#[cfg(test)]
mod stories;
#[cfg(test)]
mod tests;

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
};

use crate::{
    finding::{Report, RuleSpec},
    snapshot::Snapshot,
    subject::SubjectKey,
};

use self::{
    group::{AlertKey, Effects, Group, Judging},
    room::{Allowance, Room, Size},
};

pub use fingerprint::{Fingerprint, NotAFingerprint};
pub use flapping::Verdicts;
pub use freeze::{Freeze, Frozen};
pub use group::REMEMBERED_MAX;
pub use record::Alert;
pub use room::{ALERTS_PER_PLUGIN_MAX, ALERTS_PER_RULE_MAX, ALERTS_PER_SUBJECT_MAX, BYTES_PER_PLUGIN_MAX, NEW_AT_ONCE_MAX};
pub use saved::{Changes, SavedBook};
pub use sightings::{Sightings, Unseen};
pub use state::{AlertState, GONE_AFTER};
pub use transition::{Now, Reason, ReasonKind, Transition, UnknownReason};

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
    /// What was judged.
    pub snapshot: &'a Snapshot,
    /// What the generation that judged declares. Alerts of rules that are no longer among them resolve.
    pub rules: &'a [RuleSpec],
    pub outcome: Outcome,
}

/// All alerts that are pending, firing or recovering.
#[derive(Debug, Clone)]
pub struct AlertBook {
    groups: BTreeMap<GroupKey, Group>,
    next_incident: u64,
    touched: Touched,
    /// By plugin.
    allowances: BTreeMap<String, Allowance>,
}

/// Alerts that the store does not have as they are.
type Touched = BTreeMap<GroupKey, BTreeSet<Fingerprint>>;

/// What one evaluation covers: alerts of one plugin about one subject.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
struct GroupKey {
    plugin: String,
    subject: SubjectKey,
}

impl Default for AlertBook {
    fn default() -> Self {
        Self::new(1)
    }
}

impl AlertBook {
    /// Empty. `first_incident` is above every number used before, should any be remembered.
    pub fn new(first_incident: u64) -> Self {
        Self { groups: BTreeMap::new(), next_incident: first_incident, touched: BTreeMap::new(), allowances: BTreeMap::new() }
    }

    /// Takes in one evaluation. It concerns the alerts of this plugin about this subject and no others.
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

    /// The plugin no longer declares this rule; its alerts resolve now rather than at their next evaluation.
    pub fn rule_removed(&mut self, plugin: &str, rule: &str, now: Now) -> Vec<Transition> {
        self.close_where(|alert| alert.plugin == plugin && alert.rule == rule, Reason::RuleRemoved, now)
    }

    /// The plugin is gone for good. One that comes back soon wants [`freeze_plugin`](Self::freeze_plugin).
    pub fn plugin_removed(&mut self, plugin: &str, now: Now) -> Vec<Transition> {
        self.allowances.remove(plugin);
        self.close_where(|alert| alert.plugin == plugin, Reason::PluginRemoved, now)
    }

    /// The subject is no longer watched.
    pub fn subject_removed(&mut self, subject: &SubjectKey, now: Now) -> Vec<Transition> {
        self.close_where(|alert| alert.subject.key() == *subject, Reason::SubjectRemoved, now)
    }

    /// The plugin does not serve for the moment.
    pub fn freeze_plugin(&mut self, plugin: &str, why: &str, now: Now) {
        self.freeze_where(|group| group.plugin == plugin, |alert| alert.freeze(Freeze::Plugin(why.to_owned()), now));
    }

    /// Plugins and what they judged, as far as anything of it is remembered.
    pub fn concerns(&self) -> impl Iterator<Item = (&str, &SubjectKey)> {
        self.groups.keys().map(|key| (key.plugin.as_str(), &key.subject))
    }

    /// In the order of plugin, subject, rule and labels.
    pub fn alerts(&self) -> impl Iterator<Item = &Alert> {
        self.shared().map(Arc::as_ref)
    }

    /// The same, to hold on to.
    pub fn shared(&self) -> impl Iterator<Item = &Arc<Alert>> {
        self.groups.values().flat_map(|group| group.alerts.values())
    }

    /// The alert of the same plugin, rule, subject and labels as it is now, if it is open.
    pub fn same_as(&self, alert: &Alert) -> Option<&Alert> {
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
            let forgotten = group.ended.extract_if(.., |_, alert| concerned(alert));
            touched.extend(forgotten.map(|(_, alert)| alert.fingerprint));
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

fn touch(all: &mut Touched, key: &GroupKey, fingerprints: BTreeSet<Fingerprint>) {
    if !fingerprints.is_empty() {
        all.entry(key.clone()).or_default().extend(fingerprints);
    }
}
