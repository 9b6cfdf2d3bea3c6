//! Stories told in lines: at each time what a plugin says, and what becomes of it.
//!
//! `5m raise critical t=a, hold t=b, skip t=c` is one evaluation; `clear` is an empty report, `skip` alone the whole rule.
//! `fail`, `freeze`, `restart` and the `-removed` events are what else can happen.

use std::{fmt::Write, time::Duration};

use expect_test::{Expect, expect};

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

#[test]
fn an_alert_waits_for_its_rule_then_fires_and_resolves_once() {
    check(
        "5m",
        "2m",
        "0s clear
         1m raise
         3m raise
         6m raise
         7m raise
         8m clear
         9m clear
        10m clear
        11m clear",
        expect![[r#"
            1m #1 inactive → pending: raised, warning
            6m #1 pending → firing: firing, warning 🔔
            8m #1 firing → recovering: recovering, warning
            10m #1 recovering → resolved: resolved, warning 🔔
        "#]],
    );
}

#[test]
fn without_waits_it_fires_and_resolves_at_once() {
    check(
        "0s",
        "0s",
        "0s raise\n 10s clear\n 20s raise",
        expect![[r#"
        0s #1 inactive → firing: firing, warning 🔔
        10s #1 firing → resolved: resolved, warning 🔔
        20s #2 inactive → firing: firing, warning 🔔
        open: #2 firing warning since 20s, held 0ns
    "#]],
    );
}

#[test]
fn what_ends_before_its_time_tells_nobody() {
    check(
        "5m",
        "0s",
        "0s raise\n 4m raise\n 5m clear\n 6m raise\n 7m raise",
        expect![[r#"
        0s #1 inactive → pending: raised, warning
        5m #1 pending → inactive: cleared, warning
        6m #2 inactive → pending: raised, warning
        open: #2 pending warning since 360s, held 60s
    "#]],
    );
}

#[test]
fn a_raise_while_recovering_is_the_same_incident() {
    check(
        "0s",
        "5m",
        "0s raise\n 1m clear\n 4m raise\n 5m clear\n 9m clear\n 10m clear",
        expect![[r#"
        0s #1 inactive → firing: firing, warning 🔔
        1m #1 firing → recovering: recovering, warning
        4m #1 recovering → firing: returned, warning
        5m #1 firing → recovering: recovering, warning
        10m #1 recovering → resolved: resolved, warning 🔔
    "#]],
    );
}

#[test]
fn a_hold_keeps_an_alert_but_never_starts_one() {
    check(
        "0s",
        "0s",
        "0s hold\n 1m raise\n 2m hold\n 3m hold\n 4m clear\n 5m hold",
        expect![[r#"
        1m #1 inactive → firing: firing, warning 🔔
        4m #1 firing → resolved: resolved, warning 🔔
    "#]],
    );
}

#[test]
fn a_hold_brings_a_recovering_alert_back() {
    check(
        "0s",
        "5m",
        "0s raise\n 1m clear\n 2m hold\n 3m clear\n 8m clear",
        expect![[r#"
        0s #1 inactive → firing: firing, warning 🔔
        1m #1 firing → recovering: recovering, warning
        2m #1 recovering → firing: returned, warning
        3m #1 firing → recovering: recovering, warning
        8m #1 recovering → resolved: resolved, warning 🔔
    "#]],
    );
}

#[test]
fn a_pending_alert_under_hold_waits_without_its_clock() {
    check(
        "5m",
        "0s",
        "0s raise\n 2m raise\n 3m hold\n 20m hold\n 21m raise\n 23m raise\n 24m raise",
        expect![[r#"
            0s #1 inactive → pending: raised, warning
            23m #1 pending → firing: firing, warning 🔔
            open: #1 firing warning since 1380s, held 0ns
        "#]],
    );
}

#[test]
fn severity_changes_inside_one_incident() {
    check(
        "1m",
        "0s",
        "0s raise\n 30s raise info\n 1m raise\n 2m raise critical\n 3m raise critical\n 4m raise\n 5m clear",
        expect![[r#"
        0s #1 inactive → pending: raised, warning
        1m #1 pending → firing: firing, warning 🔔
        2m #1 firing → firing: severity-changed, critical 🔔
        4m #1 firing → firing: severity-changed, warning 🔔
        5m #1 firing → resolved: resolved, warning 🔔
    "#]],
    );
}

#[test]
fn a_hold_may_lower_a_severity_but_not_raise_it() {
    check(
        "0s",
        "0s",
        "0s raise\n 1m hold critical\n 2m raise critical\n 3m hold warning",
        expect![[r#"
        0s #1 inactive → firing: firing, warning 🔔
        2m #1 firing → firing: severity-changed, critical 🔔
        3m #1 firing → firing: severity-changed, warning 🔔
        open: #1 firing warning since 0ns, held 0ns
    "#]],
    );
}

#[test]
fn a_graver_return_is_told() {
    check(
        "0s",
        "5m",
        "0s raise\n 1m clear\n 2m raise critical",
        expect![[r#"
        0s #1 inactive → firing: firing, warning 🔔
        1m #1 firing → recovering: recovering, warning
        2m #1 recovering → firing: returned, warning
        2m #1 firing → firing: severity-changed, critical 🔔
        open: #1 firing critical since 120s, held 0ns
    "#]],
    );
}

#[test]
fn a_skipped_rule_freezes_a_firing_alert() {
    check(
        "0s",
        "0s",
        "0s raise t=a\n 1m skip\n 60m skip",
        expect![[r#"
        0s #1 t=a inactive → firing: firing, warning 🔔
        open: #1 firing warning since 0ns, held 0ns, frozen: skipped: no data
    "#]],
    );
}

#[test]
fn a_skipped_label_set_freezes_only_its_alert() {
    check(
        "0s",
        "0s",
        "0s raise t=a, raise t=b, raise t=c\n 1m skip t=a, raise t=c",
        expect![[r#"
        0s #1 t=a inactive → firing: firing, warning 🔔
        0s #2 t=b inactive → firing: firing, warning 🔔
        0s #3 t=c inactive → firing: firing, warning 🔔
        1m #2 t=b firing → resolved: resolved, warning 🔔
        open: #1 firing warning since 0ns, held 0ns, frozen: skipped: no data
        open: #3 firing warning since 0ns, held 0ns
    "#]],
    );
}

#[test]
fn a_finding_counts_although_its_rule_was_skipped() {
    check(
        "0s",
        "0s",
        "0s raise t=a, raise t=b\n 1m raise critical t=a, skip",
        expect![[r#"
        0s #1 t=a inactive → firing: firing, warning 🔔
        0s #2 t=b inactive → firing: firing, warning 🔔
        1m #1 t=a firing → firing: severity-changed, critical 🔔
        open: #1 firing critical since 0ns, held 0ns
        open: #2 firing warning since 0ns, held 0ns, frozen: skipped: no data
    "#]],
    );
}

#[test]
fn frozen_time_counts_neither_towards_firing_nor_towards_resolving() {
    check(
        "5m",
        "0s",
        "0s raise\n 2m raise\n 3m fail\n 60m raise\n 62m raise\n 63m raise",
        expect![[r#"
            0s #1 inactive → pending: raised, warning
            62m #1 pending → firing: firing, warning 🔔
            open: #1 firing warning since 3720s, held 0ns
        "#]],
    );
    check(
        "0s",
        "5m",
        "0s raise\n 1m clear\n 3m clear\n 4m freeze\n 60m clear\n 62m clear\n 63m clear",
        expect![[r#"
        0s #1 inactive → firing: firing, warning 🔔
        1m #1 firing → recovering: recovering, warning
        63m #1 recovering → resolved: resolved, warning 🔔
    "#]],
    );
}

#[test]
fn a_restart_neither_promotes_nor_forgets() {
    check(
        "5m",
        "0s",
        "0s raise\n 4m raise\n 5m restart\n 60m raise",
        expect![[r#"
        0s #1 inactive → pending: raised, warning
        open: #1 pending warning since 0ns, held 240s
    "#]],
    );
    check(
        "0s",
        "5m",
        "0s raise\n 1m clear\n 5m clear\n 6m restart\n 60m clear\n 61m clear",
        expect![[r#"
        0s #1 inactive → firing: firing, warning 🔔
        1m #1 firing → recovering: recovering, warning
        61m #1 recovering → resolved: resolved, warning 🔔
    "#]],
    );
}

#[test]
fn the_first_absence_after_a_restart_is_a_real_one() {
    check(
        "0s",
        "0s",
        "0s raise\n 1m restart\n 2m skip\n 3m clear",
        expect![[r#"
        0s #1 inactive → firing: firing, warning 🔔
        3m #1 firing → resolved: resolved, warning 🔔
    "#]],
    );
}

#[test]
fn one_snapshot_judged_twice_adds_no_time() {
    check(
        "1m",
        "0s",
        "0s raise\n 50s raise\n 50s raise\n 40s raise\n 59s raise\n 60s raise",
        expect![[r#"
        0s #1 inactive → pending: raised, warning
        60s #1 pending → firing: firing, warning 🔔
        open: #1 firing warning since 60s, held 0ns
    "#]],
    );
}

#[test]
fn what_is_no_longer_watched_resolves_with_its_reason() {
    check(
        "0s",
        "9m",
        "0s raise t=a\n 1m clear\n 2m rule-removed",
        expect![[r#"
        0s #1 t=a inactive → firing: firing, warning 🔔
        1m #1 t=a firing → recovering: recovering, warning
        2m #1 t=a recovering → resolved: rule-removed, warning 🔔
    "#]],
    );
    check(
        "1m",
        "9m",
        "0s raise t=a\n 1m raise t=a, raise t=b\n 2m plugin-removed",
        expect![[r#"
        0s #1 t=a inactive → pending: raised, warning
        1m #1 t=a pending → firing: firing, warning 🔔
        1m #2 t=b inactive → pending: raised, warning
        2m #1 t=a firing → resolved: plugin-removed, warning 🔔
        2m #2 t=b pending → inactive: plugin-removed, warning
    "#]],
    );
    check(
        "0s",
        "9m",
        "0s raise\n 1m fail\n 2m subject-removed\n 3m raise",
        expect![[r#"
        0s #1 inactive → firing: firing, warning 🔔
        2m #1 firing → resolved: subject-removed, warning 🔔
        3m #2 inactive → firing: firing, warning 🔔
        open: #2 firing warning since 180s, held 0ns
    "#]],
    );
}
