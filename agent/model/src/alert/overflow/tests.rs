//! Floods of findings, and the one summary alert about them.

use std::ops::Range;
use std::time::Duration;

use expect_test::{Expect, expect};

use super::*;
use crate::alert::book::AlertBook;
use crate::alert::cycle::{Cycle, Outcome};
use crate::alert::key::is_summary;
use crate::alert::now::Now;
use crate::alert::stories::{finding, report, rule, snapshot};
use crate::alert::transition::Transition;
use crate::finding::{Report, Skipped};
use crate::subject::Label;

/// A book with the alerts of one rule.
struct Flood {
    book: AlertBook,
    second: u64,
}

impl Flood {
    fn new() -> Self {
        Self { book: AlertBook::default(), second: 0 }
    }

    fn apply(&mut self, outcome: Outcome) -> Vec<Transition> {
        let now = Now { monotonic: Duration::from_secs(self.second), wall_ms: 1_000 * self.second };
        self.second += 1;
        // The rule has other waits than its summary.
        let rules = [rule(Duration::ZERO, Duration::from_secs(60))];
        self.book.apply(Cycle { plugin: "threshold", snapshot: &snapshot([]), rules: &rules, outcome }, now)
    }

    fn judge(&mut self, report: Report) -> Vec<Transition> {
        self.apply(Outcome::Judged(report))
    }

    /// The open alerts but the summary, and what was dropped.
    fn alerts(&self) -> (usize, Vec<u64>) {
        let count = self.book.alerts().filter(|alert| !is_summary(&alert.labels)).count();
        (count, self.book.groups.values().flat_map(|group| group.dropped.0.values()).map(|dropped| dropped.count).collect())
    }

    fn check_summary(&self, expected: Expect) {
        let summary = self.book.alerts().find(|alert| is_summary(&alert.labels));
        let text = summary.map(|alert| {
            let frozen = alert.frozen.as_ref().map(|frozen| format!(", frozen: {frozen}")).unwrap_or_default();
            format!("{} {}, {}, value {:?}{frozen}", alert.state, alert.severity, alert.title, alert.value)
        });
        expected.assert_eq(&text.unwrap_or_default());
    }
}

fn findings(range: Range<usize>, severity: Severity) -> Vec<Finding> {
    range.map(|i| finding(Strength::Raise, severity, &[Label::new("i", format!("{i:04}"))])).collect()
}

fn raised(range: Range<usize>) -> Report {
    Report { findings: findings(range, Severity::Warning), ..Report::default() }
}

fn summary_transitions(transitions: &[Transition]) -> Vec<String> {
    let of_summary = transitions.iter().filter(|transition| is_summary(&transition.alert.labels));
    of_summary.map(|transition| format!("{}{}", transition.reason, if transition.notifies() { " 🔔" } else { "" })).collect()
}

#[test]
fn a_full_rule_keeps_its_alerts_and_a_summary_counts_the_other_findings() {
    let mut flood = Flood::new();
    assert_eq!(summary_transitions(&flood.judge(raised(0..900))), Vec::<String>::new());
    assert_eq!(flood.alerts(), (900, vec![]));

    assert_eq!(summary_transitions(&flood.judge(raised(0..1_500))), ["firing 🔔"]);
    assert_eq!(flood.alerts(), (1_000, vec![500]));
    flood.check_summary(expect!["firing warning, 500 more findings of lag, value Some(500.0)"]);

    // One more in a thousand and one: the summary takes no room of its own.
    let worse = Report {
        findings: [findings(0..1_000, Severity::Warning), findings(1_000..1_001, Severity::Critical)].concat(),
        ..Report::default()
    };
    assert_eq!(summary_transitions(&flood.judge(worse)), ["severity-changed 🔔"]);
    assert_eq!(flood.alerts(), (1_000, vec![1]));
    flood.check_summary(expect!["firing critical, 1 more finding of lag, value Some(1.0)"]);

    assert_eq!(summary_transitions(&flood.judge(raised(0..1_000))), ["resolved 🔔"], "at once, whatever the rule's own waits");
    assert_eq!(flood.alerts(), (1_000, vec![]));
    flood.check_summary(expect![""]);
}

#[test]
fn findings_that_the_check_cut_off_are_among_the_rest() {
    let rules = [rule(Duration::ZERO, Duration::ZERO)];
    let mut flood = Flood::new();
    let checked = raised(0..1_500).checked(&rules).report;
    assert_eq!(summary_transitions(&flood.judge(checked)), ["firing 🔔"]);
    assert_eq!(flood.alerts(), (1_000, vec![500]));
    // The rule was skipped because of it; the summary is judged all the same.
    flood.check_summary(expect!["firing warning, 500 more findings of lag, value Some(500.0)"]);
}

#[test]
fn a_summary_is_frozen_while_findings_cannot_be_counted() {
    let mut flood = Flood::new();
    flood.judge(raised(0..1_001));
    flood.apply(Outcome::Failed("trap".into()));
    flood.check_summary(expect!["firing warning, 1 more finding of lag, value Some(1.0), frozen: the plugin failed: trap"]);
    for _ in 0..5 {
        flood.judge(report("skip"));
    }
    flood.check_summary(expect!["firing warning, 1 more finding of lag, value Some(1.0), frozen: skipped: no data"]);
    assert_eq!(summary_transitions(&flood.judge(raised(0..1_000))), ["resolved 🔔"]);
}

#[test]
fn an_overflow_that_comes_and_goes_flaps() {
    let mut flood = Flood::new();
    let transitions: Vec<String> = (0..40)
        .flat_map(|i| summary_transitions(&flood.judge(raised(0..1_001 - i % 2))))
        .filter(|transitions| transitions.contains('🔔'))
        .collect();
    assert_eq!(transitions, ["firing 🔔", "resolved 🔔", "firing 🔔", "resolved 🔔", "firing 🔔", "flapping-started 🔔"]);
}

#[test]
fn a_finding_with_the_labels_of_a_summary_is_counted_in_one() {
    let mut flood = Flood::new();
    let own = |severity| Report { findings: vec![finding(Strength::Raise, severity, &summary_labels())], ..Report::default() };
    assert_eq!(summary_transitions(&flood.judge(own(Severity::Critical))), ["firing 🔔"]);
    flood.check_summary(expect!["firing critical, 1 more finding of lag, value Some(1.0)"]);
    let skipped = Skipped { rule: "lag".into(), labels: summary_labels(), reason: crate::finding::SkipReason::NoData };
    flood.judge(Report { skipped: vec![skipped], ..Report::default() });
    flood.check_summary(expect!["firing critical, 1 more finding of lag, value Some(1.0), frozen: skipped: no data"]);
}

#[test]
fn a_restart_keeps_the_summary() {
    let mut flood = Flood::new();
    flood.judge(raised(0..1_001));
    flood.book = AlertBook::restore(flood.book.export(), Now { monotonic: Duration::ZERO, wall_ms: 0 });
    assert_eq!(summary_transitions(&flood.judge(raised(0..1_001))), Vec::<String>::new());
    assert_eq!(flood.alerts(), (1_000, vec![1]));
    assert_eq!(flood.book.rule_removed("threshold", "lag", Now { monotonic: Duration::MAX, wall_ms: 0 }).len(), 1_001);
}
