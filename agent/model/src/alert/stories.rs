//! Stories told in lines: at each time what a plugin says, and what becomes of it.
//!
//! `5m raise critical t=a, hold t=b, skip t=c` is one evaluation; `clear` is an empty report, `skip` alone the whole rule.
//! `fail`, `freeze`, `restart` and the `-removed` events are what else can happen.

mod frozen;
mod waits;

use std::{fmt::Write, time::Duration};

use expect_test::Expect;

use super::*;
use crate::finding::{Severity, Skipped};

pub(super) fn rule(for_: Duration, keep_firing: Duration) -> RuleSpec {
    RuleSpec {
        id: "lag".into(),
        summary: "replication lags".into(),
        category: "replication".into(),
        subject_kind: "postgres".into(),
        needs: Vec::new(),
        for_,
        keep_firing,
        runbook: None,
    }
}

pub(super) fn finding(strength: Strength, severity: Severity, labels: &[Label]) -> Finding {
    Finding {
        rule: "lag".into(),
        labels: labels.to_vec(),
        severity,
        strength,
        score: None,
        value: None,
        raise_at: None,
        clear_at: None,
        title: "lags".into(),
        detail: String::new(),
        cause: None,
        fix: None,
        evidence: Vec::new(),
    }
}

fn duration(text: &str) -> Duration {
    let (digits, seconds) = match text.strip_suffix('m') {
        Some(minutes) => (minutes, 60),
        None => (text.strip_suffix('s').unwrap(), 1),
    };
    Duration::from_secs(digits.parse::<u64>().unwrap() * seconds)
}

pub(super) fn report(words: &str) -> Report {
    let mut report = Report::default();
    for item in words.split(',') {
        let mut words = item.split_whitespace();
        let verb = words.next().unwrap();
        let mut severity = Severity::Warning;
        let mut labels = Vec::new();
        for word in words {
            match word.split_once('=') {
                Some((name, value)) => labels.push(Label::new(name, value)),
                None => severity = Severity::ALL.into_iter().find(|severity| severity.as_str() == word).unwrap(),
            }
        }
        match verb {
            "raise" => report.findings.push(finding(Strength::Raise, severity, &labels)),
            "hold" => report.findings.push(finding(Strength::Hold, severity, &labels)),
            "skip" => report.skipped.push(Skipped { rule: "lag".into(), labels, reason: SkipReason::NoData }),
            "clear" => {}
            other => panic!("unknown verb {other}"),
        }
    }
    report
}

struct Story {
    book: AlertBook,
    rule: RuleSpec,
    text: String,
}

impl Story {
    fn tell(&mut self, time: &str, words: &str) {
        let subject = Subject::new("postgres", "db1:5432");
        let elapsed = duration(time);
        let now = Now { monotonic: elapsed, wall_ms: elapsed.as_millis() as u64 };
        let rules = [self.rule.clone()];
        let mut apply = |outcome| self.book.apply(Cycle { plugin: "threshold", subject: &subject, rules: &rules, outcome }, now);
        let transitions = match words {
            "fail" => apply(Outcome::Failed("trap".into())),
            "freeze" => {
                self.book.freeze_plugin("threshold", "being replaced");
                Vec::new()
            }
            "restart" => {
                self.book = AlertBook::restore(self.book.export());
                Vec::new()
            }
            "rule-removed" => self.book.rule_removed("threshold", "lag", now),
            "plugin-removed" => self.book.plugin_removed("threshold", now),
            "subject-removed" => self.book.subject_removed(&subject.key(), now),
            report_words => apply(Outcome::Judged(report(report_words))),
        };
        for transition in transitions {
            let Transition { incident, from, to, reason, severity, alert, .. } = &transition;
            let bell = if transition.notifies() { " 🔔" } else { "" };
            let labels: String = alert.labels.iter().map(|label| format!(" {}={}", label.name, label.value)).collect();
            writeln!(self.text, "{time} #{incident}{labels} {from} → {to}: {reason}, {severity}{bell}").unwrap();
        }
    }
}

/// Tells a story of a rule with these times and compares every transition, then what is left open.
fn check(for_: &str, keep_firing: &str, story: &str, expected: Expect) {
    let rule = rule(duration(for_), duration(keep_firing));
    let mut told = Story { book: AlertBook::default(), rule, text: String::new() };
    for line in story.trim().lines() {
        let (time, words) = line.trim().split_once(' ').unwrap();
        told.tell(time, words.trim());
    }
    for Alert { incident, state, severity, since_ms, held, frozen, .. } in told.book.alerts() {
        let frozen = frozen.as_ref().map(|why| format!(", frozen: {why}")).unwrap_or_default();
        let since = Duration::from_millis(*since_ms);
        writeln!(told.text, "open: #{incident} {state} {severity} since {since:?}, held {held:?}{frozen}").unwrap();
    }
    expected.assert_eq(&told.text);
}
