//! Stories of what receivers get. The alert book is real, and the story moves the clock.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use super::{Dispatcher, Inhibition, LabelMatcher, Matchers, Release, Route, Routes, SavedDispatch, Silence};
use crate::alert::{Alert, AlertBook, Cycle, Now, Outcome, SavedBook};
use crate::finding::{Finding, Report, RuleSpec, Severity, Strength};
use crate::notification::MessageReason;
use crate::outbox::NewRow;
use crate::snapshot::{Family, Part, Reading, Snapshot};
use crate::subject::Subject;
use crate::subject::SubjectKind;

use Severity::{Critical, Info, Warning};

mod graver;
mod held;
mod restarts;
mod unreachable;

/// Every rule of the stories. All fire and resolve at once.
const RULES: [&str; 6] = ["lag", "disk", "server-down", "a", "b", "c"];

/// An alert that fires.
pub(crate) fn alert(rule: &str, subject: &str) -> Alert {
    let mut story = Story::new(vec![]);
    story.judge_by(&[rule], subject, &[(rule, Warning)]);
    story.book.alerts().next().expect("it fires").clone()
}

pub(super) fn route(matchers: &[&str], receiver: &str) -> Route {
    Route {
        matchers: Matchers(matchers.iter().map(|text| text.parse::<LabelMatcher>().expect("right")).collect()),
        receiver: receiver.to_owned(),
        continues: false,
        group_by: vec!["subject".to_owned()],
        group_wait: Duration::from_secs(30),
        group_interval: Duration::from_secs(300),
        repeat_interval: Duration::from_secs(4 * 3_600),
    }
}

/// Wall clock at the beginning of every story, in milliseconds since 1970.
const WALL_MS: u64 = 1_700_000_000_000;

/// Alert book, dispatcher and clock of a story.
pub(super) struct Story {
    pub book: AlertBook,
    pub dispatcher: Dispatcher,
    pub now: Now,
    pub routes: Routes,
    pub has_room: bool,
    /// True when servers answer although plugins report them as down.
    pub plugins_lie: bool,
}

impl Story {
    pub(super) fn new(routes: Vec<Route>) -> Self {
        let receivers = ["ops", "pager", "boss"].map(str::to_owned).into();
        let routes = Routes { routes, receivers };
        let now = Now { monotonic: Duration::from_secs(1_000), wall_ms: WALL_MS };
        let dispatcher = Dispatcher::new(routes.clone(), vec![], vec![]);
        Self { book: AlertBook::default(), dispatcher, now, routes, has_room: true, plugins_lie: false }
    }

    pub(super) fn with_inhibitions(mut self, inhibitions: Vec<Inhibition>) -> Self {
        self.dispatcher = Dispatcher::new(self.routes.clone(), inhibitions, vec![]);
        self
    }

    pub(super) fn pass(&mut self, seconds: u64) {
        self.advance(Duration::from_secs(seconds));
    }

    pub(super) fn advance(&mut self, by: Duration) {
        self.now.monotonic += by;
        self.now.wall_ms += u64::try_from(by.as_millis()).expect("no story lasts so long");
    }

    /// Evaluates a subject once: exactly these rules find something wrong.
    pub(super) fn judge(&mut self, subject: &str, wrong: &[(&str, Severity)]) {
        self.judge_by(&RULES, subject, wrong);
    }

    fn judge_by(&mut self, rules: &[&str], subject: &str, wrong: &[(&str, Severity)]) {
        let rules: Vec<RuleSpec> = rules.iter().map(|id| rule(id)).collect();
        let is_down = !self.plugins_lie && wrong.iter().any(|(rule, _)| *rule == "server-down");
        let snapshot = self.snapshot(subject, !is_down);
        let findings = wrong.iter().map(|(rule, severity)| finding(rule, *severity)).collect();
        let outcome = Outcome::Judged(Report { findings, ..Report::default() });
        let cycle = Cycle { plugin: "essentials", snapshot: &snapshot, rules: &rules, outcome };
        let transitions = self.book.apply(cycle, self.now);
        self.dispatcher.record_judged("essentials", &snapshot, &self.book);
        transitions.iter().for_each(|transition| self.dispatcher.observe(transition, self.now));
    }

    /// Snapshot of a server that can or cannot be reached.
    pub(super) fn snapshot(&self, subject: &str, is_reachable: bool) -> Snapshot {
        let up = Family::scalar("pharos_postgres_up", if is_reachable { 1.0 } else { 0.0 });
        let reading = Reading { at: self.now.monotonic, fresh_until: Duration::MAX, families: vec![up], ..Reading::default() };
        Snapshot {
            subject: Subject::new("postgres", subject),
            taken_at: self.now.monotonic,
            taken_at_ms: self.now.wall_ms,
            parts: BTreeMap::from([("up".to_owned(), Part::present(Arc::new(reading)))]),
            ..Snapshot::empty("postgres")
        }
    }

    pub(super) fn release(&mut self) -> Release {
        self.dispatcher.release(&self.book, |_| self.has_room, self.now)
    }

    /// Releases, and returns one line for each row.
    pub(super) fn sent(&mut self) -> Vec<String> {
        self.release().rows.iter().map(line).collect()
    }

    pub(super) fn silence(&mut self, id: &str, matchers: &[&str], seconds: u64) {
        let silence = Silence {
            id: id.to_owned(),
            matchers: Matchers(matchers.iter().map(|text| text.parse().expect("right")).collect()),
            starts_at_ms: self.now.wall_ms,
            ends_at_ms: self.now.wall_ms + 1_000 * seconds,
            author: "ann".to_owned(),
            comment: "maintenance".to_owned(),
            created_at_ms: self.now.wall_ms,
            over: false,
            configured: false,
        };
        self.dispatcher.silence(silence, self.now).expect("it is right");
    }

    /// Returns the stored form of everything.
    pub(super) fn export(&self) -> (SavedBook, SavedDispatch) {
        (self.book.export(), self.dispatcher.export())
    }

    /// Starts a new process from what a store has now.
    pub(super) fn restart(&mut self) {
        self.restart_with(self.export());
    }

    /// Starts a new process from what a store had.
    pub(super) fn restart_with(&mut self, (book, dispatch): (SavedBook, SavedDispatch)) {
        let saved = serde_json::to_string(&dispatch).expect("it is JSON");
        let saved = serde_json::from_str(&saved).expect("it was written so");
        // A new process has a new monotonic clock.
        self.now.monotonic = Duration::from_secs(1);
        self.book = AlertBook::restore(book, self.now);
        self.dispatcher = Dispatcher::new(self.routes.clone(), vec![], vec![]);
        self.dispatcher.restore(saved, &self.book, self.now);
    }
}

pub(super) fn line(row: &NewRow) -> String {
    let reason = match row.alert.reason {
        MessageReason::Firing => "fires",
        MessageReason::Resolved => "resolved",
        MessageReason::SeverityChanged => "changed",
        MessageReason::Repeated => "still fires",
        MessageReason::Flapping => "flaps",
        MessageReason::Summary | MessageReason::Test => "?",
    };
    let rule = &row.alert.labels[1].value;
    let others = if row.others_firing == 0 { String::new() } else { format!(" (and {} more)", row.others_firing) };
    format!("{}: {rule} of {} {reason}, {}{others}", row.receiver, row.alert.subject.id, row.alert.severity)
}

fn rule(id: &str) -> RuleSpec {
    RuleSpec {
        id: id.to_owned(),
        summary: String::new(),
        category: String::new(),
        subject_kind: SubjectKind::Postgres,
        needs: Vec::new(),
        for_: Duration::ZERO,
        keep_firing: Duration::ZERO,
        runbook: None,
    }
}

fn finding(rule: &str, severity: Severity) -> Finding {
    Finding {
        rule: rule.to_owned(),
        labels: Vec::new(),
        severity,
        strength: Strength::Raise,
        score: None,
        value: None,
        raise_at: None,
        clear_at: None,
        title: String::new(),
        detail: String::new(),
        cause: None,
        fix: None,
        evidence: Vec::new(),
    }
}

#[test]
fn alerts_within_the_wait_are_sent_as_one_message() {
    let mut story = Story::new(vec![route(&[], "ops")]);
    story.judge("db1", &[("lag", Warning)]);
    assert!(story.sent().is_empty(), "the first of a group waits for others");
    story.pass(20);
    story.judge("db1", &[("lag", Warning), ("disk", Warning)]);
    story.judge("db2", &[("lag", Warning)]);
    story.pass(10);
    assert_eq!(story.sent(), ["ops: disk of db1 fires, warning", "ops: lag of db1 fires, warning"], "ids decide the order among equals");
    story.pass(20);
    assert_eq!(story.sent(), ["ops: lag of db2 fires, warning"], "another group has its own time");
    story.judge("db1", &[("disk", Warning)]);
    story.pass(200);
    assert!(story.sent().is_empty(), "news waits for the interval after the latest message of its group");
    story.pass(80);
    assert_eq!(story.sent(), ["ops: lag of db1 resolved, warning (and 1 more)"]);
    story.judge("db1", &[]);
    story.pass(300);
    assert_eq!(story.sent(), ["ops: disk of db1 resolved, warning"]);
}

#[test]
fn a_graver_alert_does_not_wait_for_the_interval() {
    let mut story = Story::new(vec![route(&[], "ops")]);
    story.judge("db1", &[("lag", Warning)]);
    story.pass(30);
    story.sent();
    story.judge("db1", &[("lag", Critical)]);
    story.pass(30);
    assert_eq!(story.sent(), ["ops: lag of db1 changed, critical"]);
    story.judge("db1", &[("lag", Info)]);
    story.pass(30);
    assert!(story.sent().is_empty());
}

#[test]
fn an_incident_that_ended_before_it_was_sent_is_sent_as_a_whole() {
    let mut story = Story::new(vec![route(&[], "ops")]);
    story.judge("db1", &[("lag", Warning)]);
    story.pass(5);
    story.judge("db1", &[]);
    story.pass(25);
    assert_eq!(story.sent(), ["ops: lag of db1 fires, warning", "ops: lag of db1 resolved, warning"]);
    story.pass(10_000);
    assert!(story.sent().is_empty());
    assert_eq!(story.dispatcher.export(), SavedDispatch::default(), "nothing is left");
}

#[test]
fn routes_apply_in_order_and_continue_only_if_configured() {
    let first = Route { continues: true, ..route(&["severity=critical"], "pager") };
    let mut story = Story::new(vec![first, route(&["rule=lag"], "ops"), route(&[], "boss")]);
    story.judge("db1", &[("lag", Critical), ("disk", Warning), ("a", Critical)]);
    story.pass(30);
    let mut sent = story.sent();
    sent.sort();
    assert_eq!(
        sent,
        [
            "boss: a of db1 fires, critical",
            "boss: disk of db1 fires, warning",
            "ops: lag of db1 fires, critical",
            "pager: a of db1 fires, critical",
            "pager: lag of db1 fires, critical"
        ]
    );
}

#[test]
fn receivers_of_the_beginning_get_the_end_and_another_severity_adds_a_receiver() {
    let mut story = Story::new(vec![route(&["severity=critical"], "pager"), route(&[], "ops")]);
    story.judge("db1", &[("lag", Warning)]);
    story.pass(30);
    assert_eq!(story.sent(), ["ops: lag of db1 fires, warning"]);
    story.judge("db1", &[("lag", Critical)]);
    story.pass(30);
    assert_eq!(story.sent(), ["ops: lag of db1 changed, critical", "pager: lag of db1 fires, critical"]);
    story.judge("db1", &[]);
    story.pass(300);
    assert_eq!(story.sent(), ["ops: lag of db1 resolved, critical", "pager: lag of db1 resolved, critical"]);
}

#[test]
fn receivers_get_reminders_until_the_end_or_an_acknowledgement() {
    let mut story = Story::new(vec![route(&[], "ops")]);
    story.judge("db1", &[("lag", Warning)]);
    story.pass(30);
    story.sent();
    story.pass(4 * 3_600);
    assert_eq!(story.sent(), ["ops: lag of db1 still fires, warning"]);
    let fingerprint = alert("lag", "db1").fingerprint;
    story.dispatcher.acknowledge(fingerprint, "ann", "on it", story.now).expect("it fires");
    story.pass(4 * 3_600);
    assert!(story.sent().is_empty(), "a person takes care of it");
    story.judge("db1", &[("lag", Critical)]);
    story.pass(30);
    assert_eq!(story.sent(), ["ops: lag of db1 changed, critical"], "it became graver than what was acknowledged");
    story.pass(4 * 3_600);
    assert_eq!(story.sent(), ["ops: lag of db1 still fires, critical"], "and no person acknowledged that");
    story.judge("db1", &[]);
    story.pass(300);
    assert_eq!(story.sent(), ["ops: lag of db1 resolved, critical"]);
}

#[test]
fn a_group_with_a_wait_of_zero_is_sent_at_once() {
    let at_once =
        Route { group_wait: Duration::ZERO, group_interval: Duration::ZERO, repeat_interval: Duration::ZERO, ..route(&[], "ops") };
    let mut story = Story::new(vec![at_once]);
    story.judge("db1", &[("lag", Warning)]);
    assert_eq!(story.sent(), ["ops: lag of db1 fires, warning"]);
    story.judge("db1", &[("lag", Warning), ("disk", Warning)]);
    assert_eq!(story.sent(), ["ops: disk of db1 fires, warning (and 1 more)"]);
    story.pass(100_000);
    assert!(story.sent().is_empty(), "reminders are off");
    assert_eq!(story.dispatcher.next_due(story.now), None);
}
