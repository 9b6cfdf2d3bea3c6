//! A `threshold` rule as it would be without plugins: compiled in, on the model's own types.

use pharos_model::finding::{CheckedReport, Finding, Report, RuleSpec, Severity, Strength};
use pharos_model::snapshot::{Change, Pattern, Quantity, Samples, SeriesFilter};
use pharos_model::subject::Label;

/// The series of one label value that are above a limit.
pub struct NativeRule {
    pub metric: &'static str,
    pub label: &'static str,
    pub wanted: String,
    pub above: f64,
}

impl NativeRule {
    pub fn judge(&self, change: &Change, rules: &[RuleSpec]) -> CheckedReport {
        let matcher = SeriesFilter { label: self.label.to_owned(), pattern: Pattern::Equals(self.wanted.clone()) };
        let samples = change.samples(self.metric, &[matcher], Quantity::Value);
        let past = samples.values.iter().enumerate().filter(|(_, value)| **value > self.above);
        let findings = past.map(|(row, value)| self.finding(change, &samples, row, *value)).collect();
        Report { findings, ..Report::default() }.checked(rules)
    }

    fn finding(&self, change: &Change, samples: &Samples, row: usize, value: f64) -> Finding {
        let own = samples.labels.iter().skip(change.snapshot.subject.labels.len());
        let label = |column: &pharos_model::snapshot::LabelColumn| Label::new(&column.name, column.values.text(row).unwrap_or_default());
        Finding {
            rule: "busy".to_owned(),
            labels: own.map(label).collect(),
            severity: Severity::Warning,
            strength: Strength::Raise,
            score: None,
            value: Some(value),
            raise_at: Some(self.above),
            clear_at: Some(self.above),
            title: format!("{} is {value}, above {}", self.metric, self.above),
            detail: format!("{} is {value}; the rule raises above {} and clears at {}.", self.metric, self.above, self.above),
            cause: None,
            fix: None,
            evidence: Vec::new(),
        }
    }
}
