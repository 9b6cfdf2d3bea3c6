//! A plugin that opens as many alerts as it can, and the room that stays for others.

use std::ops::Range;

use super::*;
use crate::alert::book::AlertBook;
use crate::alert::cycle::{Cycle, Outcome};
use crate::alert::now::Now;
use crate::alert::stories::{finding, rule, snapshot};
use crate::alert::transition::Transition;
use crate::finding::{Report, RuleSpec, Severity, SkipReason, Skipped, Strength};

const MINUTE: Duration = Duration::from_mins(1);

struct Crowd {
    book: AlertBook,
    rules: Vec<RuleSpec>,
}

impl Crowd {
    /// A plugin with so many rules, `r0` and so on.
    fn new(rules: usize) -> Self {
        let named = |i| RuleSpec { id: format!("r{i}"), ..rule(Duration::ZERO, Duration::ZERO) };
        Self { book: AlertBook::default(), rules: (0..rules).map(named).collect() }
    }

    fn judge(&mut self, server: &str, at: Duration, report: Report) -> Vec<Transition> {
        let mut snapshot = snapshot([]);
        snapshot.subject.id = server.to_owned();
        let now = Now { monotonic: at, wall_ms: at.as_millis() as u64 };
        self.book.apply(Cycle { plugin: "crowd", snapshot: &snapshot, rules: &self.rules, outcome: Outcome::Judged(report) }, now)
    }

    /// New incidents, summaries aside.
    fn opens(&mut self, server: &str, at: Duration, findings: Vec<Finding>) -> usize {
        let transitions = self.judge(server, at, Report { findings, ..Report::default() });
        transitions.iter().filter(|transition| transition.step == 1 && !is_summary(transition)).count()
    }

    fn bytes(&self) -> usize {
        self.book.groups.values().map(|group| group.size.bytes).sum()
    }
}

fn is_summary(transition: &Transition) -> bool {
    AlertKey::new(&transition.alert.rule, &transition.alert.labels).is_summary()
}

fn findings(rule: usize, range: Range<usize>) -> Vec<Finding> {
    let one = |i| finding(Strength::Raise, Severity::Warning, &[Label::new("i", format!("{i}"))]);
    range.map(one).map(|finding| Finding { rule: format!("r{rule}"), title: "found".into(), ..finding }).collect()
}

/// Each evaluation finds a thousand label sets that the evaluation before did not find.
fn churn(crowd: &mut Crowd, evaluations: Range<usize>, pause: Duration) -> Vec<usize> {
    let new = |i| findings(0, 1_000 * i..1_000 * (i + 1));
    evaluations.map(|i| crowd.opens("a", pause * i as u32, new(i))).collect()
}

#[test]
fn labels_that_change_at_each_evaluation_soon_open_no_more_than_each_minute_adds() {
    let mut crowd = Crowd::new(2);
    let opened = churn(&mut crowd, 0..720, Duration::from_secs(5));
    assert_eq!(opened[..10], [1_000; 10], "honest trouble is as sudden");
    let an_hour: usize = opened.iter().sum();
    let filled = (NEW_PER_MINUTE + NEW_PER_MINUTE_AND_SUBJECT) as usize * 60;
    assert!(an_hour <= NEW_AT_ONCE_MAX as usize + filled, "{an_hour}");
    assert!(opened[600..].iter().all(|count| *count <= 12), "{:?}", &opened[600..]);
}

/// New alerts of a rule, its summary aside.
fn of_rule<'t>(transitions: &'t [Transition], rule: &'t str) -> impl Iterator<Item = &'t Transition> {
    transitions.iter().filter(move |transition| transition.alert.rule == rule && !is_summary(transition) && transition.step == 1)
}

/// A calm rule beside rules that find other label sets at each evaluation, of this severity.
#[track_caller]
fn check_neighbour(churning: usize, churn_severity: Severity, calm_severity: Severity) {
    let mut crowd = Crowd::new(churning + 1);
    let graded = |severity, findings: Vec<Finding>| findings.into_iter().map(move |finding| Finding { severity, ..finding });
    let new = |i: usize| -> Vec<Finding> {
        (0..churning).flat_map(|rule| graded(churn_severity, findings(rule, 900 * i..900 * (i + 1)))).collect()
    };
    for i in 0..300_u32 {
        crowd.opens("a", Duration::from_secs(5) * i, new(i as usize));
    }
    let calm = format!("r{churning}");
    let at = Duration::from_secs(5) * 300;
    let report = |findings| Report { findings, ..Report::default() };
    let one = |range| graded(calm_severity, findings(churning, range)).collect::<Vec<Finding>>();
    crowd.judge("a", at, report([new(300), one(0..1)].concat()));
    // Just after the other server, so that nothing was added meanwhile.
    let elsewhere = crowd.judge("b", at, report(one(1..2)));
    assert_eq!(of_rule(&elsewhere, &calm).count(), 1, "{churning} rules at {churn_severity}, a new one at {calm_severity}");
}

#[test]
fn rules_that_take_what_they_can_leave_room_for_another_rule_and_another_server() {
    check_neighbour(1, Severity::Warning, Severity::Warning);
    check_neighbour(5, Severity::Warning, Severity::Critical);
    check_neighbour(5, Severity::Critical, Severity::Critical);
}

#[test]
fn a_summary_waits_like_its_rule_both_before_it_fires_and_before_it_resolves() {
    let wait = MINUTE * 10;
    let mut crowd = Crowd::new(1);
    crowd.rules[0].for_ = wait;
    let mut changes = Vec::new();
    for minute in 0..40_u32 {
        // One finding too many in the first twenty minutes, later room for all.
        let count = if minute < 20 { 1_001 } else { 1_000 };
        let transitions = crowd.judge("a", MINUTE * minute, Report { findings: findings(0, 0..count), ..Report::default() });
        changes.extend(
            transitions.iter().filter(|transition| is_summary(transition)).map(|transition| (minute, transition.reason.to_string())),
        );
    }
    let expected = [(0, "raised"), (10, "firing"), (20, "recovering"), (30, "resolved")];
    assert_eq!(changes, expected.map(|(minute, reason)| (minute, reason.to_owned())));
}

#[test]
fn alerts_about_many_servers_take_the_room_of_one_plugin() {
    let mut crowd = Crowd::new(10);
    let all = || (0..10).flat_map(|rule| findings(rule, 0..1_000)).collect::<Vec<Finding>>();
    let day = MINUTE * 60 * 24;
    let opened: Vec<usize> = (0..5).map(|i| crowd.opens(&format!("s{i}"), day * i, all())).collect();
    assert_eq!(opened, [10_000, 10_000, 7_000, 0, 0], "a day fills the allowance, open alerts stay, and a tenth is for critical ones");
    assert_eq!(crowd.opens("s0", day * 9, Vec::new()), 0, "all of them end");
    assert_eq!(crowd.opens("s9", day * 10, all()), 10_000);
}

/// A report that adds findings and ends no alert. Each text has its greatest length.
fn hoard(range: Range<usize>) -> Report {
    let large = |finding| Finding {
        detail: "d".repeat(4_000),
        cause: Some("c".repeat(4_000)),
        fix: Some("f".repeat(4_000)),
        evidence: vec![Label::new("e", "w".repeat(500)); 16],
        ..finding
    };
    let still = Skipped { rule: "r0".into(), labels: Vec::new(), reason: SkipReason::PartFailed("x".into()) };
    Report { findings: findings(0, range).into_iter().map(large).collect(), skipped: vec![still], ..Report::default() }
}

fn small(range: Range<usize>) -> Report {
    Report { findings: findings(0, range), ..Report::default() }
}

#[test]
fn texts_of_one_plugin_take_no_more_memory_than_it_has() {
    let mut crowd = Crowd::new(1);
    for i in 0..20 {
        crowd.judge(&format!("s{i}"), MINUTE * 60 * i, hoard(0..900));
    }
    assert!((2_500..3_500).contains(&crowd.book.alerts().count()), "{} alerts of some 20 KB", crowd.book.alerts().count());
    assert!(crowd.bytes() <= BYTES_PER_PLUGIN_MAX, "{}", crowd.bytes());
}

/// Labels and titles stay, and the gravest alerts keep their texts.
#[test]
fn alerts_that_grow_lose_texts_before_they_exceed_the_limit_of_bytes() {
    let mut crowd = Crowd::new(1);
    for i in 0..15 {
        crowd.judge(&format!("s{i}"), MINUTE * 60 * i, small(0..900));
    }
    for i in 15..30 {
        // A third of the alerts at a time, while the others are frozen.
        for part in 0..3 {
            crowd.judge(&format!("s{}", i - 15), MINUTE * (60 * i + part), hoard(300 * part as usize..300 * (part as usize + 1)));
        }
    }
    assert_eq!(crowd.book.alerts().count(), 13_500);
    let lines = 13_500 * TEXTS_LEFT_OUT.len();
    assert!(crowd.bytes() <= BYTES_PER_PLUGIN_MAX + lines, "{}", crowd.bytes());
    let last = crowd.book.alerts().last().unwrap();
    assert_eq!((last.detail.as_str(), &last.cause, &last.fix, last.evidence.len()), (TEXTS_LEFT_OUT, &None, &None, 0));

    let mut grave = hoard(0..900);
    grave.findings[7].severity = Severity::Critical;
    crowd.judge("s14", MINUTE * 60 * 40, grave);
    let critical = crowd.book.alerts().find(|alert| alert.severity == Severity::Critical).unwrap();
    assert_eq!(critical.fix.as_ref().map(String::len), Some(4_000));
    assert!(crowd.bytes() <= BYTES_PER_PLUGIN_MAX + lines, "{}", crowd.bytes());
}

/// Ended alerts are stored because they may flap.
#[test]
fn ended_alerts_count_against_the_same_limit_of_bytes() {
    let long = |finding: Finding| Finding {
        labels: (0..16).map(|i| Label::new(format!("{i:02}{}", finding.labels[0].value), "v".repeat(500))).collect(),
        ..finding
    };
    let mut crowd = Crowd::new(1);
    for i in 0..40 {
        let found = Report { findings: findings(0, 0..900).into_iter().map(long).collect(), ..Report::default() };
        crowd.judge(&format!("s{i}"), MINUTE * 60 * i, found);
        crowd.judge(&format!("s{i}"), MINUTE * 60 * i + MINUTE, Report::default());
    }
    assert!(crowd.bytes() <= BYTES_PER_PLUGIN_MAX, "{}", crowd.bytes());
}
