//! Several alerts at once: whom an evaluation concerns, bounds, and what the store is told.

use std::time::Duration;

use super::{
    stories::{finding, report, rule},
    *,
};
use crate::finding::Severity;

fn cycle<'a>(subject: &'a Subject, rules: &'a [RuleSpec], outcome: Outcome) -> Cycle<'a> {
    Cycle { plugin: "threshold", subject, rules, outcome }
}

fn at(seconds: u64) -> Now {
    Now { monotonic: Duration::from_secs(seconds), wall_ms: 1_000 * seconds }
}

#[test]
fn a_rule_that_a_new_generation_lacks_resolves_at_the_next_evaluation() {
    let (subject, rules) = (Subject::new("postgres", "db1:5432"), [rule(Duration::ZERO, Duration::ZERO)]);
    let mut book = AlertBook::default();
    book.apply(cycle(&subject, &rules, Outcome::Judged(report("raise"))), at(0));
    let transitions = book.apply(cycle(&subject, &[], Outcome::Judged(Report::default())), at(1));
    assert_eq!(transitions[0].to_string(), "lag of postgres db1:5432: firing → resolved (rule-removed, warning)");
}

#[test]
fn subjects_and_plugins_do_not_touch_each_other() {
    let rules = [rule(Duration::ZERO, Duration::ZERO)];
    let (one, two) = (Subject::new("postgres", "db1:5432"), Subject::new("redis", "db1:5432"));
    let mut book = AlertBook::default();
    for subject in [&one, &two] {
        book.apply(cycle(subject, &rules, Outcome::Judged(report("raise"))), at(0));
    }
    let elsewhere = Cycle { plugin: "other", ..cycle(&one, &rules, Outcome::Judged(Report::default())) };
    assert_eq!(book.apply(elsewhere, at(1)), []);
    assert_eq!(book.apply(cycle(&one, &rules, Outcome::Judged(Report::default())), at(1)).len(), 1);
    assert_eq!(book.alerts().map(|alert| alert.subject.kind.as_str()).collect::<Vec<_>>(), ["redis"]);
}

#[test]
fn a_full_rule_keeps_its_alerts_and_says_how_many_it_could_not_take() {
    let (subject, rules) = (Subject::new("postgres", "db1:5432"), [rule(Duration::ZERO, Duration::ZERO)]);
    let mut book = AlertBook::default();
    let mut raise = |range: std::ops::Range<usize>, second| {
        let findings = range.map(|i| finding(Strength::Raise, Severity::Warning, &[Label::new("i", i.to_string())])).collect();
        let transitions = book.apply(cycle(&subject, &rules, Outcome::Judged(Report { findings, ..Report::default() })), at(second));
        (transitions.len(), book.alerts().count(), book.overflows().map(|overflow| overflow.dropped).collect::<Vec<_>>())
    };
    assert_eq!(raise(0..900, 0), (900, 900, vec![]));
    assert_eq!(raise(0..1_500, 1), (100, 1_000, vec![500]));
    assert_eq!(raise(600..700, 2), (900, 100, vec![]));
}

#[test]
fn changes_are_what_the_store_lacks_until_it_took_them() {
    let (subject, rules) = (Subject::new("postgres", "db1:5432"), [rule(Duration::ZERO, Duration::ZERO)]);
    let mut book = AlertBook::default();
    let judge = |book: &mut AlertBook, words, second| {
        book.apply(cycle(&subject, &rules, Outcome::Judged(report(words))), at(second));
    };
    judge(&mut book, "raise t=a, raise t=b", 0);
    let lost = book.take_changes();
    assert_eq!((lost.upserts.len(), lost.removed.len(), lost.next_incident), (2, 0, 3));
    judge(&mut book, "raise t=a", 1);
    book.give_back(lost);
    let changes = book.take_changes();
    assert_eq!((changes.upserts.len(), changes.removed.len()), (1, 1));
    judge(&mut book, "raise t=a", 2);
    assert!(book.take_changes().is_empty(), "an alert that goes on firing is not written again");
}

#[test]
fn a_restored_book_never_reuses_an_incident() {
    let (subject, rules) = (Subject::new("postgres", "db1:5432"), [rule(Duration::ZERO, Duration::ZERO)]);
    let mut book = AlertBook::new(7);
    book.apply(cycle(&subject, &rules, Outcome::Judged(report("raise"))), at(0));
    let saved = SavedBook { next_incident: 0, ..book.export() };
    assert_eq!(AlertBook::restore(saved).export().next_incident, 8);
}
