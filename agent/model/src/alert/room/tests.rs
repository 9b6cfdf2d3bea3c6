//! A plugin that takes all the room it can get, and what is left for others.

use std::ops::Range;

use super::*;
use crate::{
    alert::{
        AlertBook, Cycle, Now, Outcome, Transition,
        stories::{finding, rule, snapshot},
    },
    finding::{Report, RuleSpec, Severity, SkipReason, Skipped, Strength},
};

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

/// Every evaluation finds a thousand label sets that the evaluation before did not.
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

#[test]
fn a_rule_that_takes_what_it_can_leaves_room_for_another_one() {
    let mut crowd = Crowd::new(2);
    churn(&mut crowd, 0..720, Duration::from_secs(5));
    let both = [findings(0, 900_000..901_000), findings(1, 0..3)].concat();
    let transitions = crowd.judge("a", MINUTE * 60, Report { findings: both, ..Report::default() });
    assert_eq!(transitions.iter().filter(|transition| transition.alert.rule == "r1" && !is_summary(transition)).count(), 3);
    // What found no room is reported in sum.
    let summary = crowd.book.alerts().find(|alert| alert.rule == "r0" && AlertKey::new("r0", &alert.labels).is_summary()).unwrap();
    assert!(summary.value.is_some_and(|left_out| left_out > 900.0), "{summary:?}");
}

#[test]
fn alerts_about_many_servers_take_the_room_of_one_plugin() {
    let mut crowd = Crowd::new(10);
    let all = |_| (0..10).flat_map(|rule| findings(rule, 0..1_000)).collect::<Vec<Finding>>();
    let day = MINUTE * 60 * 24;
    let opened: Vec<usize> = (0..8).map(|i| crowd.opens(&format!("s{i}"), day * i, all(i))).collect();
    assert_eq!(opened, [10_000, 10_000, 10_000, 10_000, 10_000, 0, 0, 0], "a day fills the allowance, and open alerts stay");
    assert_eq!(crowd.opens("s0", day * 9, Vec::new()), 0, "all of them end");
    assert_eq!(crowd.opens("s9", day * 10, all(0)), 10_000);
}

/// The texts of a plugin that always finds more and never ends anything, each as long as it may be.
fn hoard(i: usize) -> Report {
    let large = |finding| Finding {
        detail: "d".repeat(4_000),
        cause: Some("c".repeat(4_000)),
        fix: Some("f".repeat(4_000)),
        evidence: vec![Label::new("e", "w".repeat(500)); 16],
        ..finding
    };
    let still = Skipped { rule: "r0".into(), labels: Vec::new(), reason: SkipReason::PartFailed("x".into()) };
    Report { findings: findings(0, 900 * i..900 * (i + 1)).into_iter().map(large).collect(), skipped: vec![still], ..Report::default() }
}

#[test]
fn texts_of_one_plugin_take_no_more_memory_than_it_has() {
    let mut crowd = Crowd::new(1);
    for i in 0..20 {
        crowd.judge(&format!("s{i}"), MINUTE * 60 * i as u32, hoard(0));
    }
    let open = crowd.book.alerts().count();
    assert!((3_000..4_000).contains(&open), "{open} alerts of some 20 KB");
    assert!(crowd.bytes() <= BYTES_PER_PLUGIN_MAX + (1 << 20), "{}", crowd.bytes());

    // Alerts that opened small do not grow beyond it: what they are about stays, long texts go.
    let mut crowd = Crowd::new(1);
    for round in 0..2 {
        for i in 0..20 {
            let report = if round == 0 { Report { findings: findings(0, 0..900), ..Report::default() } } else { hoard(0) };
            crowd.judge(&format!("s{i}"), MINUTE * 60 * (20 * round + i), report);
        }
    }
    assert_eq!(crowd.book.alerts().filter(|alert| alert.state.is_open()).count(), 18_000);
    assert!(crowd.bytes() <= BYTES_PER_PLUGIN_MAX + 18_000 * 1_200, "{}", crowd.bytes());
    let last = crowd.book.alerts().last().unwrap();
    assert_eq!((last.detail.len(), &last.cause, &last.fix, last.evidence.len()), (CUT_TEXT_BYTES_MAX + '…'.len_utf8(), &None, &None, 0));
}
