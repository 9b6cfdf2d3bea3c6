//! A threshold rule: the series that it reads, the limit, and the text of its findings.

use std::collections::BTreeSet;

use pharos_plugin::{Finding, Label, Matcher, Reading, Report, Row, Rule, Samples, SkipReason, Snapshot, Strength, Subject, text};

use crate::settings::{Refusal, RuleSettings};
use crate::summary::Summary;

pub(crate) struct ThresholdRule {
    settings: RuleSettings,
    limit: Limit,
    summary: Summary,
}

/// A threshold that raises an alert, and a threshold that clears it. A value equal to a threshold is not past it.
#[derive(Debug, Clone, Copy, PartialEq)]
enum Limit {
    Above { raise: f64, clear: f64 },
    Below { raise: f64, clear: f64 },
}

impl ThresholdRule {
    pub(crate) fn new(settings: RuleSettings) -> Result<Self, Refusal> {
        let limit = Limit::new(&settings)?;
        let summary = settings.summary.as_deref().unwrap_or(limit.default_summary());
        let summary = Summary::parse(summary).map_err(|why| settings.refuse("summary", &why))?;
        Ok(Self { limit, summary, settings })
    }

    pub(crate) fn declare(&self) -> Rule {
        let RuleSettings { id, metric, hold_off, keep_firing_for, category, runbook, .. } = &self.settings;
        Rule {
            id: id.clone(),
            summary: format!("{metric} {}", self.condition()),
            category: category.clone().unwrap_or_else(|| "thresholds".to_owned()),
            subject_kind: self.subject_kind().to_owned(),
            needs: vec![metric.clone()],
            for_ms: hold_off.as_millis(),
            keep_firing_ms: keep_firing_for.as_millis(),
            runbook: runbook.clone(),
        }
    }

    pub(crate) fn judge(&self, snapshot: &Snapshot, report: &mut Report) {
        let subject = snapshot.subject();
        if subject.kind != self.subject_kind() {
            return;
        }
        let Some(matching) = self.matchers(subject) else { return self.skip_unmatched(report) };
        if let Err(reason) = snapshot.readable(&self.settings.metric) {
            return report.skip(&self.settings.id, Vec::new(), reason);
        }
        let samples = snapshot.samples(&self.settings.metric, &matching, self.settings.reading);
        if samples.values.is_empty() && snapshot.samples(&self.settings.metric, &matching, Reading::Value).values.is_empty() {
            return self.skip_unmatched(report);
        }
        if self.settings.reading == Reading::Rate {
            self.skip_without_rate(snapshot, &matching, &samples, report);
        }
        for row in samples.rows() {
            self.judge_row(subject, row, report);
        }
    }

    fn judge_row(&self, subject: &Subject, row: Row, report: &mut Report) {
        if row.value().is_nan() {
            report.skip(&self.settings.id, row.labels_beyond(subject), SkipReason::NoData);
        } else if let Some(strength) = self.limit.strength(row.value()) {
            report.findings.push(self.finding(subject, row, strength));
        }
    }

    /// Skips the series that have a value but no rate: they are new or were reset. Without the skip, they would count as fine.
    fn skip_without_rate(&self, snapshot: &Snapshot, matching: &[Matcher], rates: &Samples, report: &mut Report) {
        let values = snapshot.samples(&self.settings.metric, matching, Reading::Value);
        if values.values.len() == rates.values.len() {
            return;
        }
        if rates.values.is_empty() {
            return report.skip(&self.settings.id, Vec::new(), SkipReason::NoData);
        }
        let subject = snapshot.subject();
        let rated: BTreeSet<_> = rates.rows().map(|row| identity(row.labels_beyond(subject))).collect();
        for labels in values.rows().map(|row| row.labels_beyond(subject)) {
            if !rated.contains(&identity(labels.clone())) {
                report.skip(&self.settings.id, labels, SkipReason::NoData);
            }
        }
    }

    /// Skips a rule that fits no series. If a rule is skipped everywhere and always, the host reports it: probably the operator mistyped
    /// it. The skip carries only the wanted labels, so no alert of another series is frozen.
    fn skip_unmatched(&self, report: &mut Report) {
        let wanted = self.settings.matching.iter().map(|(name, wanted)| Label { name: name.clone(), value: wanted.to_string() });
        report.skip(&self.settings.id, wanted.collect(), SkipReason::NoData);
    }

    fn finding(&self, subject: &Subject, row: Row, strength: Strength) -> Finding {
        let (raise, clear) = self.limit.thresholds();
        let title = self.summary.fill(|name| match name {
            "value" => Some(self.quantity(row.value())),
            "raise" => Some(self.quantity(raise)),
            "clear" => Some(self.quantity(clear)),
            "metric" => Some(self.settings.metric.clone()),
            label => row.label(label).or_else(|| label_of(subject, label)).map(str::to_owned),
        });
        let detail = format!(
            "{} is {}; the rule raises {} and clears at {}.",
            self.settings.metric,
            self.quantity(row.value()),
            self.condition(),
            self.quantity(clear)
        );
        Finding::new(&self.settings.id, self.settings.severity, title)
            .strength(strength)
            .labels(row.labels_beyond(subject))
            .value(row.value())
            .thresholds(raise, clear)
            .detail(detail)
    }

    fn condition(&self) -> String {
        match self.limit {
            Limit::Above { raise, .. } => format!("above {}", self.quantity(raise)),
            Limit::Below { raise, .. } => format!("below {}", self.quantity(raise)),
        }
    }

    fn quantity(&self, value: f64) -> String {
        let quantity = text::quantity(&self.settings.metric, value);
        if self.settings.reading == Reading::Rate { format!("{quantity}/s") } else { quantity }
    }

    fn subject_kind(&self) -> &'static str {
        if self.settings.metric.starts_with("pharos_postgres_") {
            "postgres"
        } else if self.settings.metric.starts_with("pharos_redis_") {
            "redis"
        } else if self.settings.metric.starts_with("pharos_database_") {
            "database"
        } else {
            "agent"
        }
    }

    /// The conditions that the host must check. None if the subject's own labels already contradict the rule.
    fn matchers(&self, subject: &Subject) -> Option<Vec<Matcher>> {
        let mut matchers = Vec::new();
        for (label, wanted) in &self.settings.matching {
            match label_of(subject, label) {
                Some(value) if wanted.accepts(value) => {}
                Some(_) => return None,
                None => matchers.push(Matcher { label: label.clone(), pattern: wanted.0.clone() }),
            }
        }
        Some(matchers)
    }
}

fn label_of<'a>(subject: &'a Subject, name: &str) -> Option<&'a str> {
    subject.labels.iter().find(|label| label.name == name).map(|label| label.value.as_str())
}

fn identity(labels: Vec<Label>) -> Vec<(String, String)> {
    labels.into_iter().map(|label| (label.name, label.value)).collect()
}

impl Limit {
    fn new(settings: &RuleSettings) -> Result<Self, Refusal> {
        let refuse = |key: &'static str, correction: &str| Err(settings.refuse(key, correction));
        match (settings.above, settings.below) {
            (None, None) => refuse("above", "a rule needs one threshold; give `above` or `below`"),
            (Some(_), Some(_)) => refuse("below", "a rule has one threshold; drop `above` or `below`, or write two rules"),
            (Some(raise), None) => match settings.clear.unwrap_or(raise) {
                clear if clear > raise => refuse("clear", &format!("{clear} is above the threshold; give at most {raise}")),
                clear => Ok(Self::Above { raise, clear }),
            },
            (None, Some(raise)) => match settings.clear.unwrap_or(raise) {
                clear if clear < raise => refuse("clear", &format!("{clear} is below the threshold; give at least {raise}")),
                clear => Ok(Self::Below { raise, clear }),
            },
        }
    }

    fn strength(self, value: f64) -> Option<Strength> {
        let (past_raise, past_clear) = match self {
            Self::Above { raise, clear } => (value > raise, value > clear),
            Self::Below { raise, clear } => (value < raise, value < clear),
        };
        match (past_raise, past_clear) {
            (true, _) => Some(Strength::Raise),
            (false, true) => Some(Strength::Hold),
            (false, false) => None,
        }
    }

    fn thresholds(self) -> (f64, f64) {
        let (Self::Above { raise, clear } | Self::Below { raise, clear }) = self;
        (raise, clear)
    }

    fn default_summary(self) -> &'static str {
        match self {
            Self::Above { .. } => "{metric} is {value}, above {raise}",
            Self::Below { .. } => "{metric} is {value}, below {raise}",
        }
    }
}
