//! What one evaluation covers: the alerts of one plugin about one subject.

use std::cmp::Reverse;
use std::collections::{BTreeMap, BTreeSet};
use std::mem;
use std::sync::Arc;

use super::fingerprint::Fingerprint;
use super::flapping::Verdicts;
use super::key::AlertKey;
use super::machine::Beginning;
use super::now::Now;
use super::overflow;
use super::overflow::AllDropped;
use super::record::Alert;
use super::room::{Admission, OfRule, Room, Size, leave_out_texts};
use super::said::Said;
use super::transition::{Reason, Transition};
use crate::finding::{Finding, Report, RuleSpec, Severity, Strength};
use crate::snapshot::Snapshot;

/// Ended alerts whose label sets may flap. The calmest are forgotten first.
pub const REMEMBERED_MAX: usize = 1_000;

#[derive(Debug, Clone, Default)]
pub(super) struct Group {
    /// The open ones. Whoever shows them holds on to them without a copy.
    pub alerts: BTreeMap<AlertKey, Arc<Alert>>,
    /// Ended ones, kept for their verdicts while these contain a change: without them, what comes and goes would be a new incident each
    /// time and never flap.
    pub ended: BTreeMap<AlertKey, Alert>,
    pub dropped: AllDropped,
    /// As of the latest evaluation.
    pub size: Size,
}

/// What a group is judged by.
pub(super) struct Judging<'a> {
    pub plugin: &'a str,
    pub snapshot: &'a Snapshot,
    pub rules: BTreeMap<&'a str, &'a RuleSpec>,
    pub now: Now,
}

/// What came of it.
#[derive(Default)]
pub(super) struct Effects {
    pub transitions: Vec<Transition>,
    /// Alerts that the store does not have as they are.
    pub touched: BTreeSet<Fingerprint>,
}

impl Group {
    pub(super) fn is_empty(&self) -> bool {
        self.alerts.is_empty() && self.ended.is_empty()
    }

    /// Open and ended ones.
    pub(super) fn all(&self) -> impl Iterator<Item = &Alert> {
        self.alerts.values().map(Arc::as_ref).chain(self.ended.values())
    }

    pub(super) fn judge(&mut self, judging: &Judging<'_>, report: Report, room: &mut Room<'_>, next_incident: &mut u64) -> Effects {
        let mut effects = Effects::default();
        self.dropped = AllDropped::default();
        self.dropped.add_cuts(&report.cut);
        let mut said = Said::from(report);
        for finding in said.take_summaries() {
            self.dropped.add(&finding.rule, 1, finding.severity);
        }
        self.step(judging, &mut said, |key| !key.is_summary(), &mut effects);
        let new = self.admit(said.take_new(), room);
        self.open(judging, new, next_incident, &mut effects);
        self.judge_summaries(judging, said, next_incident, &mut effects);
        self.forget_the_calmest(&mut effects);
        self.fit(room, &mut effects);
        effects
    }

    /// Counts what the alerts take, the remembered ones too.
    pub(super) fn measure(&mut self) {
        let open = self.alerts.iter().map(|(key, alert)| Size::of(key, alert));
        self.size = open.chain(self.ended.iter().map(|(key, alert)| Size::of(key, alert))).sum();
    }

    /// Where the plugin has no bytes left, ended alerts are forgotten and the mildest alerts lose their texts.
    fn fit(&mut self, room: &Room<'_>, effects: &mut Effects) {
        self.measure();
        if room.excess_bytes(self.size, false) == 0 {
            return;
        }
        effects.touched.extend(mem::take(&mut self.ended).into_values().map(|alert| alert.fingerprint));
        for is_critical in [false, true] {
            self.measure();
            let mut excess = room.excess_bytes(self.size, is_critical);
            let mut alerts: Vec<&mut Arc<Alert>> = self.alerts.values_mut().collect();
            alerts.retain(|alert| (alert.severity == Severity::Critical) == is_critical);
            alerts.sort_by_key(|alert| alert.severity);
            for alert in alerts {
                if excess == 0 {
                    break;
                }
                excess = excess.saturating_sub(leave_out_texts(Arc::make_mut(alert)));
            }
        }
        self.measure();
    }

    /// Summaries are alerts like others, except that they need no room.
    fn judge_summaries(&mut self, judging: &Judging<'_>, said: Said, next_incident: &mut u64, effects: &mut Effects) {
        let summaries = self.dropped.summaries();
        if summaries.is_empty() && !self.alerts.keys().chain(self.ended.keys()).any(AlertKey::is_summary) {
            return;
        }
        let rules: BTreeMap<&str, RuleSpec> = judging.rules.iter().map(|(id, rule)| (*id, overflow::rule(rule))).collect();
        let judging = Judging { rules: rules.iter().map(|(id, rule)| (*id, rule)).collect(), ..*judging };
        let mut said = said.with(summaries);
        self.step(&judging, &mut said, AlertKey::is_summary, effects);
        self.open(&judging, said.take_new(), next_incident, effects);
    }

    /// Every alert there is, as far as it is concerned.
    fn step(&mut self, judging: &Judging<'_>, said: &mut Said, concerned: fn(&AlertKey) -> bool, effects: &mut Effects) {
        let Effects { transitions, touched } = effects;
        self.ended.retain(|key, alert| {
            if !concerned(key) {
                return true;
            }
            let is_declared = judging.rules.contains_key(key.rule.as_str());
            match said.verdict(key) {
                _ if !is_declared => {}
                // If there is room it becomes an incident, with these verdicts.
                None | Some(Some(Finding { strength: Strength::Raise, .. })) => return true,
                Some(finding) => alert.verdicts.enter(finding),
            }
            touched.insert(alert.fingerprint);
            is_declared && alert.verdicts.has_changes()
        });
        let mut ended = Vec::new();
        self.alerts.retain(|key, alert| {
            if !concerned(key) {
                return true;
            }
            let alert = Arc::make_mut(alert);
            let before = alert.durable();
            match judging.rules.get(key.rule.as_str()) {
                Some(rule) => {
                    alert.subject.clone_from(&judging.snapshot.subject);
                    alert.step(said.about(key, rule, judging.snapshot), rule, judging.now, transitions);
                }
                None => alert.close(Reason::RuleRemoved, judging.now, transitions),
            }
            if before != alert.durable() {
                touched.insert(alert.fingerprint);
            }
            if !alert.state.is_open() && alert.verdicts.has_changes() {
                ended.push((key.clone(), alert.clone().remember()));
            }
            alert.state.is_open()
        });
        self.ended.extend(ended);
    }

    /// Those of the new findings that have room, the gravest first; the rest is counted.
    fn admit(&mut self, mut new: Vec<(AlertKey, Finding)>, room: &mut Room<'_>) -> Vec<(AlertKey, Finding)> {
        if new.is_empty() {
            return new;
        }
        let mut per_rule: BTreeMap<String, OfRule> = BTreeMap::new();
        for key in self.alerts.keys().filter(|key| !key.is_summary()) {
            per_rule.entry(key.rule.clone()).or_default().open += 1;
        }
        self.measure();
        let has_critical = self.alerts.iter().any(|(key, alert)| !key.is_summary() && alert.severity == Severity::Critical);
        let mut admission = Admission::new(room, self.size, has_critical);
        new.sort_by_key(|(_, finding)| Reverse(finding.severity));
        new.retain(|(key, finding)| {
            let fits = admission.admits(per_rule.entry(key.rule.clone()).or_default(), finding);
            if !fits {
                self.dropped.add(&key.rule, 1, finding.severity);
            }
            fits
        });
        new
    }

    fn open(&mut self, judging: &Judging<'_>, new: Vec<(AlertKey, Finding)>, next_incident: &mut u64, effects: &mut Effects) {
        for (key, finding) in new {
            let Some(rule) = judging.rules.get(key.rule.as_str()) else { continue };
            let verdicts = self.ended.remove(&key).map_or_else(Verdicts::default, |ended| ended.verdicts);
            let subject = &judging.snapshot.subject;
            let beginning = Beginning { plugin: judging.plugin, subject, rule, incident: *next_incident, verdicts };
            let alert = Alert::open(beginning, finding, judging.now, &mut effects.transitions);
            *next_incident = next_incident.saturating_add(1);
            effects.touched.insert(alert.fingerprint);
            self.alerts.insert(key, Arc::new(alert));
        }
    }

    pub(super) fn forget_the_calmest(&mut self, effects: &mut Effects) {
        let beyond = self.ended.len().saturating_sub(REMEMBERED_MAX);
        if beyond == 0 {
            return;
        }
        let mut calmest: Vec<(usize, AlertKey)> = self.ended.iter().map(|(key, alert)| (alert.verdicts.calm_for(), key.clone())).collect();
        calmest.sort_by_key(|(calm_for, _)| Reverse(*calm_for));
        for (_, key) in calmest.into_iter().take(beyond) {
            effects.touched.extend(self.ended.remove(&key).map(|alert| alert.fingerprint));
        }
    }
}
