//! Several alerts at once: which alerts an evaluation changes, bounds, and what is stored.

use std::collections::BTreeSet;
use std::time::Duration;

use super::stories::{finding, report, rule, snapshot};
use super::*;
use crate::finding::{Report, RuleSpec, Severity, Strength};
use crate::snapshot::Snapshot;
use crate::subject::{Label, Subject};

fn cycle<'a>(snapshot: &'a Snapshot, rules: &'a [RuleSpec], outcome: Outcome) -> Cycle<'a> {
    Cycle { plugin: "threshold", snapshot, rules, outcome }
}

fn at(seconds: u64) -> Now {
    Now { monotonic: Duration::from_secs(seconds), wall_ms: 1_000 * seconds }
}

#[test]
fn a_rule_that_a_new_generation_lacks_resolves_at_the_next_evaluation() {
    let (snapshot, rules) = (snapshot([]), [rule(Duration::ZERO, Duration::ZERO)]);
    let mut book = AlertBook::default();
    book.apply(cycle(&snapshot, &rules, Outcome::Judged(report("raise"))), at(0));
    let transitions = book.apply(cycle(&snapshot, &[], Outcome::Judged(Report::default())), at(1));
    assert_eq!(transitions[0].to_string(), "lag of postgres db1:5432: firing → resolved (rule-removed, warning)");
}

#[test]
fn subjects_and_plugins_do_not_touch_each_other() {
    let rules = [rule(Duration::ZERO, Duration::ZERO)];
    let one = snapshot([]);
    let two = Snapshot { subject: Subject::new("redis", "db1:5432"), ..one.clone() };
    let mut book = AlertBook::default();
    for snapshot in [&one, &two] {
        book.apply(cycle(snapshot, &rules, Outcome::Judged(report("raise"))), at(0));
    }
    let elsewhere = Cycle { plugin: "other", ..cycle(&one, &rules, Outcome::Judged(Report::default())) };
    assert_eq!(book.apply(elsewhere, at(1)), []);
    assert_eq!(book.apply(cycle(&one, &rules, Outcome::Judged(Report::default())), at(1)).len(), 1);
    assert_eq!(book.alerts().map(|alert| alert.subject.kind.as_str()).collect::<Vec<_>>(), ["redis"]);
}

#[test]
fn changes_are_returned_until_they_are_stored() {
    let (snapshot, rules) = (snapshot([]), [rule(Duration::ZERO, Duration::ZERO)]);
    let mut book = AlertBook::default();
    let judge = |book: &mut AlertBook, words, second| {
        book.apply(cycle(&snapshot, &rules, Outcome::Judged(report(words))), at(second));
    };
    judge(&mut book, "raise t=a, raise t=b", 0);
    let lost = book.take_changes();
    assert_eq!((lost.upserts.len(), lost.removed.len(), lost.next_incident), (2, 0, 3));
    judge(&mut book, "raise t=a", 1);
    book.give_back(lost);
    let changes = book.take_changes();
    // The ended alert is stored, because it may flap.
    let states = |changes: &Changes| changes.upserts.iter().map(|alert| alert.state).collect::<Vec<_>>();
    assert_eq!((states(&changes), changes.removed.len()), (vec![AlertState::Firing, AlertState::Resolved], 0));
    for second in 2..21 {
        judge(&mut book, "raise t=a", second);
        assert_eq!(book.take_changes().upserts.len(), 2, "{second}: older verdicts move on");
    }
    judge(&mut book, "raise t=a", 21);
    let changes = book.take_changes();
    assert_eq!((states(&changes), changes.removed.len()), (vec![], 1), "both are calm");
    judge(&mut book, "raise t=a", 22);
    assert!(book.take_changes().is_empty(), "an alert that goes on firing is not written again");
}

#[test]
fn a_restored_book_never_reuses_an_incident() {
    let (snapshot, rules) = (snapshot([]), [rule(Duration::ZERO, Duration::ZERO)]);
    let mut book = AlertBook::new(7);
    book.apply(cycle(&snapshot, &rules, Outcome::Judged(report("raise"))), at(0));
    let saved = SavedBook { next_incident: 0, ..book.export() };
    assert_eq!(AlertBook::restore(saved, at(0)).export().next_incident, 8);
}

#[test]
fn ended_alerts_are_stored_while_they_may_flap_and_within_bounds() {
    let (snapshot, rules) = (snapshot([]), [rule(Duration::ZERO, Duration::ZERO)]);
    let mut book = AlertBook::default();
    let mut remembered = |range: std::ops::Range<usize>, second| {
        let findings = range.map(|i| finding(Strength::Raise, Severity::Warning, &[Label::new("i", i.to_string())])).collect();
        book.apply(cycle(&snapshot, &rules, Outcome::Judged(Report { findings, ..Report::default() })), at(second));
        let saved = book.export();
        assert_eq!(AlertBook::restore(saved.clone(), at(second)).export().alerts.len(), saved.alerts.len());
        let ended = saved.alerts.into_iter().filter(|alert| !alert.state.is_open());
        ended.map(|alert| alert.labels[0].value.parse::<usize>().unwrap()).collect::<BTreeSet<_>>()
    };
    assert_eq!(remembered(0..600, 0).len(), 0);
    assert_eq!(remembered(600..1_300, 1), (0..600).collect());
    let both = remembered(0..0, 2);
    assert_eq!(both.len(), ENDED_ALERTS_MAX);
    assert!((600..1_300).all(|young| both.contains(&young)), "the alerts that are calm for longest are removed first");
    for second in 3..22 {
        assert_eq!(remembered(0..0, second).is_empty(), second == 21 + 1, "{second}");
    }
    assert_eq!(remembered(0..0, 22).len(), 0, "all are calm");
}

#[test]
fn ended_alerts_are_removed_with_their_subject_plugin_or_rule() {
    let (snapshot, rules) = (snapshot([]), [rule(Duration::ZERO, Duration::ZERO)]);
    let mut ended = AlertBook::default();
    for (words, second) in [("raise", 0), ("clear", 1)] {
        ended.apply(cycle(&snapshot, &rules, Outcome::Judged(report(words))), at(second));
    }
    ended.take_changes();
    assert_eq!(ended.plugins_and_subjects().collect::<Vec<_>>(), [("threshold", &snapshot.subject.key())]);
    let left_after = |remove: &dyn Fn(&mut AlertBook) -> Vec<Transition>| {
        let mut book = ended.clone();
        assert_eq!(remove(&mut book), []);
        (book.plugins_and_subjects().count(), book.take_changes().removed.len())
    };
    assert_eq!(left_after(&|book| book.subject_removed(&snapshot.subject.key(), at(2))), (0, 1));
    assert_eq!(left_after(&|book| book.plugin_removed("threshold", at(2))), (0, 1));
    assert_eq!(left_after(&|book| book.rule_removed("threshold", "lag", at(2))), (0, 1));
    assert_eq!(left_after(&|book| book.apply(cycle(&snapshot, &[], Outcome::Judged(Report::default())), at(2))), (0, 1));
}

#[test]
fn alerts_that_an_older_version_stored_can_be_read() {
    let alert = |frozen: &str| {
        format!(
            r#"{{"fingerprint":"edf6855c0dd80a65","incident":4,"step":2,"plugin":"threshold","rule":"lag","subject":{{"kind":"postgres",
            "id":"db1:5432","version":"","labels":[]}},"labels":[],"state":"firing","severity":"warning","since_ms":1,"started_at_ms":1,
            "fired_at_ms":1,"held":{{"secs":0,"nanos":0}},"frozen":{frozen},"runbook":null,"score":null,"value":2.5,"raise_at":null,
            "clear_at":null,"title":"lags","detail":"","cause":null,"fix":null,"evidence":[]}}"#
        )
    };
    let before = ["null", r#""restored""#, r#"{"skipped":"no_data"}"#, r#"{"skipped":{"part_failed":"x"}}"#, r#"{"failed":"trap"}"#];
    for frozen in before {
        let alert: Alert = serde_json::from_str(&alert(frozen)).unwrap();
        assert_eq!((alert.value, alert.frozen.clone(), alert.verdicts), (Some(2.5), None, Verdicts::default()), "{frozen}");
        let restored = AlertBook::restore(SavedBook { alerts: vec![alert], next_incident: 5 }, at(9));
        let frozen = restored.alerts().next().unwrap().frozen.clone();
        assert_eq!(frozen, Some(Frozen { why: Freeze::Restored, since_ms: 9_000, evaluations: 0 }));
    }
    let now: Alert = serde_json::from_str(&alert(r#"{"why":{"skipped":"no_data"},"since_ms":7,"evaluations":2}"#)).unwrap();
    assert_eq!(
        now.frozen.map(|frozen| (frozen.to_string(), frozen.since_ms, frozen.evaluations)),
        Some(("skipped: no data".to_owned(), 7, 2))
    );
}
