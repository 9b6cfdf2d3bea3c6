//! A group: the alerts of one plugin about one subject. One evaluation covers one group.

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
use super::report_by_alert::ReportByAlert;
use super::room::{Admission, Room, RuleCount, Size, leave_out_texts};
use super::transition::{Reason, Transition};
use crate::finding::{Finding, Report, RuleSpec, Severity, Strength};
use crate::snapshot::Snapshot;

/// Most ended alerts of one group that the book stores because they may flap. Beyond it, the alerts without a change for longest are
/// removed.
pub const ENDED_ALERTS_MAX: usize = 1_000;

#[derive(Debug, Clone, Default)]
pub(super) struct Group {
    /// Open alerts. They are shared, so that readers store them without a copy.
    pub alerts: BTreeMap<AlertKey, Arc<Alert>>,
    /// Ended alerts, stored while their verdicts contain a change. Without them each return would be a new incident, and no alert that
    /// ends in between could flap.
    pub ended: BTreeMap<AlertKey, Alert>,
    /// Findings of the latest evaluation without an alert, because there was no room.
    pub dropped: AllDropped,
    /// Room that the alerts took after the latest evaluation.
    pub size: Size,
}

/// The input of one evaluation of a group.
pub(super) struct Judging<'a> {
    /// Id of the plugin.
    pub plugin: &'a str,
    /// The judged snapshot.
    pub snapshot: &'a Snapshot,
    /// Rules of the plugin, by id.
    pub rules: BTreeMap<&'a str, &'a RuleSpec>,
    /// Time of the snapshot.
    pub now: Now,
}

/// The effects of one evaluation on a group.
#[derive(Default)]
pub(super) struct Effects {
    /// Transitions, in the order in which they happened.
    pub transitions: Vec<Transition>,
    /// Alerts that must be stored again, or removed from the store.
    pub touched: BTreeSet<Fingerprint>,
}

impl Group {
    /// True if the group has neither open nor ended alerts, so that it can be removed.
    pub(super) fn is_empty(&self) -> bool {
        self.alerts.is_empty() && self.ended.is_empty()
    }

    /// Open and ended alerts.
    pub(super) fn all(&self) -> impl Iterator<Item = &Alert> {
        self.alerts.values().map(Arc::as_ref).chain(self.ended.values())
    }

    /// Applies one evaluation. `next_incident` is the number of the next incident, and grows with each new one.
    pub(super) fn judge(&mut self, judging: &Judging<'_>, report: Report, room: &mut Room<'_>, next_incident: &mut u64) -> Effects {
        let mut effects = Effects::default();
        self.dropped = AllDropped::default();
        self.dropped.add_cuts(&report.cut);
        let mut by_alert = ReportByAlert::from(report);
        for finding in by_alert.take_summaries() {
            self.dropped.add(&finding.rule, 1, finding.severity);
        }
        self.step(judging, &mut by_alert, |key| !key.is_summary(), &mut effects);
        let new = self.admit(by_alert.take_new(), room);
        self.open(judging, new, next_incident, &mut effects);
        self.judge_summaries(judging, by_alert, next_incident, &mut effects);
        self.remove_calmest_ended(&mut effects);
        self.fit(room, &mut effects);
        effects
    }

    /// Counts the room that open and ended alerts take.
    pub(super) fn measure(&mut self) {
        let open = self.alerts.iter().map(|(key, alert)| Size::of(key, alert));
        self.size = open.chain(self.ended.iter().map(|(key, alert)| Size::of(key, alert))).sum();
    }

    /// Frees memory if the plugin has no bytes left: removes ended alerts, then the texts of the mildest open alerts.
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

    /// Judges the summaries of dropped findings. They are alerts like others, except that they take no room.
    fn judge_summaries(&mut self, judging: &Judging<'_>, by_alert: ReportByAlert, next_incident: &mut u64, effects: &mut Effects) {
        let summaries = self.dropped.summaries();
        if summaries.is_empty() && !self.alerts.keys().chain(self.ended.keys()).any(AlertKey::is_summary) {
            return;
        }
        let rules: BTreeMap<&str, RuleSpec> = judging.rules.iter().map(|(id, rule)| (*id, overflow::rule(rule))).collect();
        let judging = Judging { rules: rules.iter().map(|(id, rule)| (*id, rule)).collect(), ..*judging };
        let mut by_alert = by_alert.with_findings(summaries);
        self.step(&judging, &mut by_alert, AlertKey::is_summary, effects);
        self.open(&judging, by_alert.take_new(), next_incident, effects);
    }

    /// Applies the report to each existing alert for which `concerned` is true.
    fn step(&mut self, judging: &Judging<'_>, by_alert: &mut ReportByAlert, concerned: fn(&AlertKey) -> bool, effects: &mut Effects) {
        let Effects { transitions, touched } = effects;
        self.ended.retain(|key, alert| {
            if !concerned(key) {
                return true;
            }
            let is_declared = judging.rules.contains_key(key.rule.as_str());
            match by_alert.finding_of(key) {
                _ if !is_declared => {}
                // A new raise opens a new incident with these verdicts if there is room.
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
                    alert.step(by_alert.evidence_for(key, rule, judging.snapshot), rule, judging.now, transitions);
                }
                None => alert.close(Reason::RuleRemoved, judging.now, transitions),
            }
            if before != alert.durable() {
                touched.insert(alert.fingerprint);
            }
            if !alert.state.is_open() && alert.verdicts.has_changes() {
                ended.push((key.clone(), alert.clone().into_ended()));
            }
            alert.state.is_open()
        });
        self.ended.extend(ended);
    }

    /// Returns the new findings that have room, the gravest first. The others are counted as dropped.
    fn admit(&mut self, mut new: Vec<(AlertKey, Finding)>, room: &mut Room<'_>) -> Vec<(AlertKey, Finding)> {
        if new.is_empty() {
            return new;
        }
        let mut per_rule: BTreeMap<String, RuleCount> = BTreeMap::new();
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

    /// Removes ended alerts beyond [`ENDED_ALERTS_MAX`], those without a change for longest first.
    pub(super) fn remove_calmest_ended(&mut self, effects: &mut Effects) {
        let beyond = self.ended.len().saturating_sub(ENDED_ALERTS_MAX);
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
