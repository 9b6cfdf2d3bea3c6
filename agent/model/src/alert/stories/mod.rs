//! Stories as lines of text: the report of a plugin at each time, and the transitions that follow.
//!
//! `5m raise critical t=a, hold t=b, skip t=c` is one evaluation; `clear` is an empty report, `skip` alone the whole rule,
//! `unread t=c` a skip with a reason.
//! `fail`, `freeze`, `restart` and the `-removed` events are what else can happen. `{a b}` before an evaluation is what its snapshot has:
//! the replication slots a and b, read now, or at `@5m`; `{failed}`, `{unsupported}` and `{stale}` are why there are none.

mod flapping;
mod frozen;
mod gone;
mod waits;

use std::fmt::Write;
use std::sync::Arc;
use std::time::Duration;

use expect_test::Expect;

use super::*;
use crate::finding::{Finding, Report, RuleSpec, Severity, SkipReason, Skipped, Strength};
use crate::snapshot::{FamiliesBuilder, Part, PartState, Reading, Snapshot};
use crate::subject::SubjectKind;
use crate::subject::{Label, Subject};

pub(super) const SLOT_ACTIVE: &str = "pharos_postgres_slot_active";

pub(super) fn rule(for_: Duration, keep_firing: Duration) -> RuleSpec {
    RuleSpec {
        id: "lag".into(),
        summary: "replication lags".into(),
        category: "replication".into(),
        subject_kind: SubjectKind::Postgres,
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

/// A snapshot of the server that all stories are about, with these parts.
pub(super) fn snapshot(parts: impl IntoIterator<Item = (&'static str, Part)>) -> Snapshot {
    let parts = parts.into_iter().map(|(name, part)| (name.to_owned(), part)).collect();
    Snapshot { subject: Subject::new("postgres", "db1:5432"), parts, ..Snapshot::empty("postgres") }
}

/// The part that carries [`SLOT_ACTIVE`].
pub(super) fn slots(names: &[&str], at: Duration) -> Part {
    let mut rows = FamiliesBuilder::new(&["slot", "slot_type"], &[SLOT_ACTIVE]);
    for name in names {
        rows.push(&[name, "physical"], &[Some(0.0)]);
    }
    Part::present(Arc::new(Reading { at, fresh_until: Duration::MAX, epoch: 1, families: rows.finish(), ..Reading::default() }))
}

fn slots_of(words: &str, now: Duration) -> Part {
    match words {
        "failed" => Part::failed("permission denied"),
        "unsupported" => Part::unsupported("no such view"),
        "stale" => Part { state: PartState::Stale(Duration::from_secs(60)), ..Part::failed("") },
        names => {
            let (times, names): (Vec<&str>, Vec<&str>) = names.split_whitespace().partition(|word| word.starts_with('@'));
            slots(&names, times.first().map_or(now, |time| duration(&time[1..])))
        }
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
            "unread" => {
                let reason = SkipReason::PartFailed("timeout".into());
                report.skipped.push(Skipped { rule: "lag".into(), labels, reason });
            }
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
    fn step(&mut self, time: &str, words: &str) {
        let elapsed = duration(time);
        let (parts, words) = match words.strip_prefix('{').and_then(|rest| rest.split_once('}')) {
            Some((what, words)) => (Some(("replication", slots_of(what, elapsed))), words.trim()),
            None => (None, words),
        };
        let snapshot = snapshot(parts);
        let now = Now { monotonic: elapsed, wall_ms: elapsed.as_millis() as u64 };
        let rules = [self.rule.clone()];
        let mut apply = |outcome| self.book.apply(Cycle { plugin: "threshold", snapshot: &snapshot, rules: &rules, outcome }, now);
        let transitions = match words {
            "fail" => apply(Outcome::Failed("trap".into())),
            "freeze" => {
                self.book.freeze_plugin("threshold", "being replaced", now);
                Vec::new()
            }
            "restart" => {
                self.book = AlertBook::restore(self.book.export(), now);
                Vec::new()
            }
            "rule-removed" => self.book.rule_removed("threshold", "lag", now),
            "plugin-removed" => self.book.plugin_removed("threshold", now),
            "subject-removed" => self.book.subject_removed(&snapshot.subject.key(), now),
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

/// Runs a story of a rule with these times and compares every transition, then what is left open.
fn check(for_: &str, keep_firing: &str, story: &str, expected: Expect) {
    check_rule(rule(duration(for_), duration(keep_firing)), story, &expected);
}

fn check_rule(rule: RuleSpec, story: &str, expected: &Expect) {
    let mut run = Story { book: AlertBook::default(), rule, text: String::new() };
    for line in story.trim().lines() {
        let (time, words) = line.trim().split_once(' ').unwrap();
        run.step(time, words.trim());
    }
    for alert in run.book.alerts() {
        let Alert { incident, state, severity, since_ms, held, frozen, missing, .. } = alert;
        let seconds = |ms: &u64| Duration::from_millis(*ms);
        write!(run.text, "open: #{incident} {state} {severity} since {:?}, held {held:?}", seconds(since_ms)).unwrap();
        if let Some(since_ms) = &alert.flapping_since_ms {
            write!(run.text, ", flapping since {:?}", seconds(since_ms)).unwrap();
        }
        if let Some(Frozen { why, since_ms, evaluations }) = frozen {
            write!(run.text, ", frozen since {:?} ({evaluations}): {why}", seconds(since_ms)).unwrap();
        }
        if *missing > 0 {
            write!(run.text, ", missing {missing}").unwrap();
        }
        run.text.push('\n');
    }
    expected.assert_eq(&run.text);
}
