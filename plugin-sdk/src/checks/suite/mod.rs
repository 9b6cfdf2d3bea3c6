//! The suite of a plugin: its checks with the operator's settings. A suite declares the rules and judges snapshots.

use super::grade::{Grade, Grading};
use super::scope::{DATABASE, Scope, primary};
use super::settings::{Gradings, Override, Settings, unknown};
use super::worst::worst;
use super::{Case, Check, Explanation, Family, Observation, evidence, one_line};
use crate::duration::millis;
use crate::settings::Ignored;
use crate::sql::marked;
use crate::{Failure, Finding, Report, Rule, SkipReason, Snapshot, Strength};

/// The checks of a plugin, with the operator's settings applied.
pub struct Suite {
    enabled: Vec<Enabled>,
    ignored: Vec<Ignored>,
}

struct Enabled {
    check: &'static Check,
    /// The kind of subject that owns the alerts.
    subject_kind: &'static str,
    gradings: Gradings,
    hold_off_ms: u64,
    keep_firing_ms: u64,
}

impl Suite {
    /// Applies the settings to the checks and preserves their order. An invalid setting is left out and reported to the host, so this
    /// function never fails; its result fits [`Plugin::new`](crate::Plugin::new).
    pub fn new(families: &[Family], settings: &Settings) -> Result<Self, Failure> {
        let mut ignored = settings.ignored.clone();
        ignored.extend(unknown(settings, &Family::all(families).map(|check| check.id).collect::<Vec<_>>()));
        let unchanged = Override::default();
        let mut enabled = Vec::new();
        for Family { subject_kind, checks } in families {
            for check in *checks {
                let change = settings.checks.get(check.id).unwrap_or(&unchanged);
                let armed = Enabled {
                    check,
                    subject_kind: check.scope.subject_kind(subject_kind),
                    gradings: Gradings::new(check, subject_kind, change, &mut ignored),
                    hold_off_ms: change.hold_off.map_or(millis(check.hold_off), |duration| duration.as_millis()),
                    keep_firing_ms: change.keep_firing_for.map_or(millis(check.keep_firing), |duration| duration.as_millis()),
                };
                if change.enabled != Some(false) {
                    enabled.push(armed);
                }
            }
        }
        ignored.iter().for_each(Ignored::report);
        Ok(Self { enabled, ignored })
    }

    /// The settings that were left out, each with its reason.
    pub fn ignored(&self) -> &[Ignored] {
        &self.ignored
    }

    /// The rules of the enabled checks, for [`AlertRule::rules`](crate::AlertRule::rules).
    pub fn rules(&self) -> Vec<Rule> {
        self.enabled.iter().map(Enabled::rule).collect()
    }

    /// Judges a snapshot by all enabled checks of its kind, for [`AlertRule::evaluate`](crate::AlertRule::evaluate).
    pub fn evaluate(&self, snapshot: &Snapshot) -> Report {
        let mut report = Report::empty();
        let concerned = self.enabled.iter().filter(|enabled| enabled.subject_kind == snapshot.subject().kind);
        let (shared, own): (Vec<&Enabled>, Vec<&Enabled>) = concerned.partition(|enabled| enabled.check.scope == Scope::Shared);
        own.into_iter().for_each(|enabled| enabled.judge(snapshot, &mut report));
        if !shared.is_empty() {
            judge_shared(&shared, snapshot, &mut report);
        }
        report
    }
}

/// Judges the checks of scope `Shared` on the snapshot of the database's primary. Without a primary, all of them are skipped.
fn judge_shared(checks: &[&Enabled], database: &Snapshot, report: &mut Report) {
    match primary(database) {
        Ok(primary) => checks.iter().for_each(|enabled| enabled.judge(&primary, report)),
        Err(reason) => {
            let concerned = checks.iter().filter(|enabled| enabled.gradings.selection.may_select(&[&database.subject().labels]));
            concerned.for_each(|enabled| report.skip(enabled.check.id, Vec::new(), reason.clone()));
        }
    }
}

impl Enabled {
    fn rule(&self) -> Rule {
        Rule {
            id: self.check.id.to_owned(),
            summary: self.check.summary.to_owned(),
            category: self.check.category.to_owned(),
            subject_kind: self.subject_kind.to_owned(),
            needs: self.check.needs.iter().map(|need| (*need).to_owned()).collect(),
            for_ms: self.hold_off_ms,
            keep_firing_ms: self.keep_firing_ms,
            runbook: None,
        }
    }

    fn judge(&self, snapshot: &Snapshot, report: &mut Report) {
        if !self.gradings.selection.may_select(&[&snapshot.subject().labels]) {
            return;
        }
        match self.observe(snapshot) {
            Err(reason) => report.skip(self.check.id, Vec::new(), reason),
            Ok(observations) => {
                let bad = observations
                    .into_iter()
                    .filter_map(|observation| Some((self.grade(snapshot, &observation, report)?, observation)))
                    .collect();
                for (grade, observation) in worst(bad, self.check.id, report) {
                    self.find(snapshot, grade, observation, report);
                }
            }
        }
    }

    /// Reads the observations of the check. Empty for a server in a role that the check does not judge.
    fn observe(&self, snapshot: &Snapshot) -> Result<Vec<Observation>, SkipReason> {
        if !self.check.scope.applies_to(snapshot)? {
            return Ok(Vec::new());
        }
        self.check.needs.iter().try_for_each(|need| readable(snapshot, need))?;
        (self.check.observe)(snapshot)
    }

    /// Grades an observation. None if it is fine, or not selected by the operator, or unknown. An unknown one is reported as skipped.
    fn grade(&self, snapshot: &Snapshot, observation: &Observation, report: &mut Report) -> Option<Grade> {
        let Observation { labels, value, severity_max, unknown, is_minimum, .. } = observation;
        debug_assert!(labels.iter().all(|label| self.check.labels.contains(&label.name.as_str())), "{}: {labels:?}", self.check.id);
        let every_label = [&snapshot.subject().labels[..], labels];
        let grade = |grading: Grading| grading.at_most(*severity_max).grade(*value);
        let is_chosen = self.gradings.selection.selects(&every_label);
        let graded = || if is_chosen { grade(self.gradings.for_labels(&every_label)) } else { None };
        let Some(reason) = unknown else { return graded() };
        if *is_minimum && let Some(bad) = graded().filter(|grade| grade.strength == Strength::Raise) {
            return Some(bad);
        }
        // A series behind an unknown observation may have labels that an override names, so all possible gradings count.
        let is_fine =
            !is_minimum && !value.is_nan() && self.gradings.possible(&every_label).into_iter().all(|grading| grade(grading).is_none());
        if !is_fine && self.gradings.selection.may_select(&every_label) {
            report.skip(self.check.id, labels.clone(), reason.clone());
        }
        None
    }

    fn find(&self, snapshot: &Snapshot, grade: Grade, observation: Observation, report: &mut Report) {
        let Observation { labels, value, row, .. } = observation;
        let case = Case { snapshot, labels: &labels, value, severity: grade.severity, row };
        let Explanation { title, detail, cause, fix, evidence: mut lines } = (self.check.explain)(&case);
        if self.check.scope == Scope::Shared {
            // The alert of a database has no label `server`, but its fix must run on the primary.
            lines.push(evidence("primary", &snapshot.subject().id));
        }
        let [title, detail, cause, fix] = [title, detail, cause, marked(fix)].map(one_line);
        let mut finding = Finding::new(self.check.id, grade.severity, title)
            .strength(grade.strength)
            .labels(labels)
            .value(value)
            .score(grade.score)
            .detail(detail)
            .cause(cause)
            .fix(fix);
        finding.evidence = lines;
        if let Some((raise_at, clear_at)) = grade.thresholds {
            finding = finding.thresholds(raise_at, clear_at);
        }
        report.findings.push(finding);
    }
}

/// Checks that a needed metric or table is readable. A name that begins with `pharos_` or `process_` is a metric, any other name is a
/// table. Metrics of a database's servers pass: the check reads them from each server itself.
fn readable(snapshot: &Snapshot, need: &str) -> Result<(), SkipReason> {
    if snapshot.subject().kind == DATABASE && need.starts_with("pharos_postgres_") {
        return Ok(());
    }
    if need.starts_with("pharos_") || need.starts_with("process_") {
        return snapshot.readable(need);
    }
    match snapshot.table(need) {
        Some(_) => Ok(()),
        None => Err(SkipReason::PartFailed(format!("there is no table `{need}`"))),
    }
}

#[cfg(test)]
mod tests;
