//! Random failures, random commands, and an agent that dies at any moment. Every incident is sent from its beginning to its end, or is
//! reported as withheld for good.
//!
//! The messages are judged at the end. The test tests itself too: agents that store in the wrong order are caught.

mod in_time;

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use proptest::collection::vec;
use proptest::prelude::*;
use proptest::test_runner::{Config, RngAlgorithm, TestRng, TestRunner};

use super::stories::{Story, alert, route};
use super::{IncidentKey, Route, SavedDispatch};
use crate::alert::SavedBook;
use crate::finding::Severity;
use crate::outbox::{IncidentPart, NewRow};

#[derive(Debug, Clone)]
enum Event {
    /// State of a subject: severities of the rules `lag`, `disk` and `server-down`.
    Judge(usize, [Option<Severity>; 3]),
    Pass(u64),
    Silence(usize, u64),
    Expire(usize),
    Acknowledge(usize, usize),
    Room(bool),
    /// The wall clock is set.
    Step(i64),
    Restart,
    /// The event happens, and the process dies before it has stored the result.
    Kill(Box<Event>),
}

const SUBJECTS: [&str; 2] = ["db1", "db2"];
const MATCHERS: [&str; 3] = ["rule=lag", "subject=db1", "severity=critical"];
const WRONG: [&str; 3] = ["lag", "disk", "server-down"];

fn event() -> impl Strategy<Value = Event> {
    prop_oneof![8 => single_event(), 1 => single_event().prop_map(|last| Event::Kill(Box::new(last)))]
}

fn single_event() -> impl Strategy<Value = Event> {
    let some = |severity| Just(Some(severity));
    let severity = || prop_oneof![3 => Just(None), 1 => some(Severity::Info), 2 => some(Severity::Warning), 2 => some(Severity::Critical)];
    let wrong = [severity().boxed(), severity().boxed(), prop_oneof![4 => Just(None), 1 => Just(Some(Severity::Critical))].boxed()];
    prop_oneof![
        6 => (0..2_usize, wrong).prop_map(|(subject, wrong)| Event::Judge(subject, wrong)),
        4 => prop_oneof![0..40_u64, 200..400_u64, 3_000..20_000_u64].prop_map(Event::Pass),
        1 => (0..3_usize, 10..5_000_u64).prop_map(|(which, seconds)| Event::Silence(which, seconds)),
        1 => (0..3_usize).prop_map(Event::Expire),
        1 => (0..2_usize, 0..2_usize).prop_map(|(subject, rule)| Event::Acknowledge(subject, rule)),
        1 => any::<bool>().prop_map(Event::Room),
        1 => prop_oneof![Just(3_600_i64), Just(-3_600), Just(315_360_000)].prop_map(Event::Step),
        1 => Just(Event::Restart),
    ]
}

/// Which of two parts that belong together an agent stores first.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Build {
    /// Neither: both are in one transaction.
    Right,
    RowsFirst,
    LedgerFirst,
}

/// An agent with its store, and the messages that its receivers got.
struct World {
    story: Story,
    build: Build,
    stored: (SavedBook, SavedDispatch),
    received: BTreeMap<(String, IncidentKey), Vec<IncidentPart>>,
    withheld: BTreeSet<(String, IncidentKey)>,
    /// Rows by receiver and id.
    rows: BTreeMap<(String, String), NewRow>,
    fired: BTreeSet<IncidentKey>,
    complaints: Vec<String>,
}

impl World {
    fn new(routes: Vec<Route>, build: Build) -> Self {
        let story = Story::new(routes);
        let stored = story.export();
        let (received, rows) = (BTreeMap::new(), BTreeMap::new());
        Self { story, build, stored, received, withheld: BTreeSet::new(), rows, fired: BTreeSet::new(), complaints: Vec::new() }
    }

    fn step(&mut self, event: &Event) {
        match event {
            Event::Kill(last) => self.die_after(last),
            event => {
                apply(&mut self.story, event);
                self.release();
            }
        }
        self.fired.extend(self.story.book.alerts().map(IncidentKey::from));
    }

    /// Decides, stores and sends.
    fn release(&mut self) {
        let release = self.story.release();
        let for_good = release.withheld.into_iter().filter(|withheld| withheld.for_good);
        self.withheld.extend(for_good.map(|withheld| (withheld.receiver, withheld.key)));
        self.stored = self.story.export();
        self.send(release.rows);
    }

    fn die_after(&mut self, last: &Event) {
        apply(&mut self.story, last);
        let release = self.story.release();
        match self.build {
            Build::Right => {}
            Build::RowsFirst => self.send(release.rows),
            Build::LedgerFirst => self.stored = self.story.export(),
        }
        self.story.restart_with(self.stored.clone());
        self.release();
    }

    /// Sends stored rows, each once.
    fn send(&mut self, rows: Vec<NewRow>) {
        for row in rows {
            match self.rows.insert((row.receiver.clone(), row.id.clone()), row.clone()) {
                Some(known) if known == row => {}
                Some(_) => self.complaints.push(format!("the id {} was given twice", row.id)),
                None => self.received.entry((row.receiver.clone(), IncidentKey::from(&row))).or_default().push(row.part),
            }
        }
    }

    /// Ends every alert, and removes everything that holds notifications back.
    fn settle(&mut self) {
        self.story.has_room = true;
        self.release();
        for which in 0..3 {
            drop(self.story.dispatcher.expire_silence(&format!("s{which}"), self.story.now));
        }
        // A flapping alert ends only after a long calm.
        for _ in 0..25 {
            self.story.pass(10);
            SUBJECTS.iter().for_each(|subject| self.story.judge(subject, &[]));
        }
        for _ in 0..4 {
            self.story.pass(1_000);
            self.release();
        }
    }

    /// All complaints, once everything has ended.
    fn judge(mut self) -> Vec<String> {
        self.settle();
        let mut complaints = self.complaints;
        for (who, received) in &self.received {
            let count = |wanted| received.iter().filter(|part| **part == wanted).count();
            let is_whole = received.first() == Some(&IncidentPart::Begin) && received.last() == Some(&IncidentPart::End);
            if !is_whole || count(IncidentPart::Begin) != 1 || count(IncidentPart::End) != 1 {
                complaints.push(format!("{who:?} got {received:?}"));
            }
            if self.withheld.contains(who) {
                complaints.push(format!("{who:?} got messages, but was reported as withheld"));
            }
        }
        // A route without matchers leads every alert to its receiver.
        for route in self.story.routes.routes.iter().filter(|route| route.matchers.0.is_empty()) {
            for key in &self.fired {
                let who = (route.receiver.clone(), *key);
                if !self.received.contains_key(&who) && !self.withheld.contains(&who) {
                    complaints.push(format!("{who:?} was neither sent nor reported as withheld"));
                }
            }
        }
        let left = self.story.dispatcher.export().entries;
        if !left.is_empty() || self.story.dispatcher.next_due(self.story.now).is_some() {
            complaints.push(format!("something is left: {left:?}"));
        }
        complaints
    }
}

fn apply(story: &mut Story, event: &Event) {
    match event {
        Event::Judge(subject, wrong) => {
            let wrong: Vec<(&str, Severity)> =
                WRONG.into_iter().zip(wrong).filter_map(|(rule, severity)| Some((rule, (*severity)?))).collect();
            story.judge(SUBJECTS[*subject], &wrong);
        }
        Event::Pass(seconds) => story.pass(*seconds),
        Event::Silence(which, seconds) => story.silence(&format!("s{which}"), &[MATCHERS[*which]], *seconds),
        Event::Expire(which) => drop(story.dispatcher.expire_silence(&format!("s{which}"), story.now)),
        Event::Acknowledge(subject, rule) => {
            let fingerprint = alert(WRONG[*rule], SUBJECTS[*subject]).fingerprint;
            drop(story.dispatcher.acknowledge(fingerprint, "ann", "on it", story.now));
        }
        Event::Room(has_room) => story.has_room = *has_room,
        Event::Step(seconds) => story.now.wall_ms = story.now.wall_ms.saturating_add_signed(1_000 * seconds),
        Event::Restart => story.restart(),
        Event::Kill(last) => apply(story, last),
    }
}

fn complaints(routes: Vec<Route>, build: Build, events: &[Event]) -> Vec<String> {
    let mut world = World::new(routes, build);
    events.iter().for_each(|event| world.step(event));
    world.judge()
}

/// Critical alerts go to two receivers.
fn two_receivers() -> Vec<Route> {
    vec![Route { continues: true, ..route(&["severity=critical"], "pager") }, route(&[], "ops")]
}

#[test]
fn an_agent_that_does_not_store_all_at_once_is_caught() {
    let config = Config { failure_persistence: None, max_shrink_iters: 0, ..Config::with_cases(500) };
    let caught = |build| {
        let rng = TestRng::deterministic_rng(RngAlgorithm::ChaCha);
        let verdict = TestRunner::new_with_rng(config.clone(), rng).run(&vec(event(), 1..60), |events| {
            let complaints = complaints(two_receivers(), build, &events);
            if complaints.is_empty() { Ok(()) } else { Err(TestCaseError::fail(complaints.join("\n"))) }
        });
        verdict.err().map(|err| err.to_string())
    };
    assert_eq!(caught(Build::Right), None);
    let complaint = caught(Build::RowsFirst).expect("it sends rows that its ledger does not have after the restart");
    assert!(complaint.contains(" got ["), "{complaint}");
    let complaint = caught(Build::LedgerFirst).expect("it records messages as sent that never arrived");
    assert!(complaint.contains(" got [") || complaint.contains("neither sent nor reported as withheld"), "{complaint}");
}

proptest! {
    #[test]
    fn every_incident_is_sent_as_a_whole_or_reported_as_withheld(events in vec(event(), 1..60)) {
        prop_assert_eq!(complaints(two_receivers(), Build::Right, &events), [""; 0]);
    }

    #[test]
    fn every_incident_is_sent_or_withheld_without_any_wait(events in vec(event(), 1..60)) {
        let (wait, repeat) = (Duration::ZERO, Duration::ZERO);
        let at_once = Route { group_wait: wait, group_interval: wait, repeat_interval: repeat, group_by: vec![], ..route(&[], "ops") };
        prop_assert_eq!(complaints(vec![at_once], Build::Right, &events), [""; 0]);
    }

    #[test]
    fn every_incident_is_sent_or_withheld_with_reminders_faster_than_news(events in vec(event(), 1..60)) {
        let (wait, interval, repeat) = (Duration::from_secs(30), Duration::from_secs(20), Duration::from_secs(15));
        let nagging = |receiver, continues| {
            Route { group_wait: wait, group_interval: interval, repeat_interval: repeat, continues, ..route(&[], receiver) }
        };
        prop_assert_eq!(complaints(vec![nagging("boss", true), nagging("ops", false)], Build::Right, &events), [""; 0]);
    }

    #[test]
    fn the_store_always_equals_the_ledger(events in vec(event(), 1..60)) {
        let mut story = Story::new(vec![route(&["severity=critical"], "pager"), route(&[], "ops")]);
        let mut store: BTreeMap<(String, IncidentKey), super::Entry> = BTreeMap::new();
        for event in &events {
            apply(&mut story, event);
            story.release();
            let changes = story.dispatcher.take_changes();
            for entry in changes.entries {
                store.insert((entry.receiver.clone(), entry.key()), entry);
            }
            for removed in changes.removed {
                store.remove(&removed);
            }
            let known = story.dispatcher.export().entries;
            let known: BTreeMap<_, _> = known.into_iter().map(|entry| ((entry.receiver.clone(), entry.key()), entry)).collect();
            if !matches!(event, Event::Restart) {
                let written = |entries: &BTreeMap<_, super::Entry>| serde_json::to_string_pretty(&entries.values().collect::<Vec<_>>());
                prop_assert_eq!(written(&known).ok(), written(&store).ok());
            }
        }
    }
}
