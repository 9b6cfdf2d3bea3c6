//! Compares the book with a simple model over random days, with time steps of any length.

mod simple;

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use proptest::collection::vec;
use proptest::prelude::*;

use self::simple::{Input, Simple};
use super::stories::{SLOT_ACTIVE, finding, rule, slots, snapshot};
use super::*;
use crate::finding::{Report, RuleSpec, Severity, SkipReason, Skipped, Strength};
use crate::snapshot::Part;
use crate::subject::Label;

/// The verdict of one evaluation about one label set.
#[derive(Debug, Clone, Copy, PartialEq)]
enum Verdict {
    Raise(Severity),
    Hold(Severity),
    Clear,
    SkipNoData,
    SkipFailed,
}

/// The state of the part with the series before an evaluation.
#[derive(Debug, Clone, Copy, PartialEq)]
enum Collected {
    /// The part is read now. True for each series that appeared or disappeared since the reading before.
    Read([bool; 2]),
    /// The reading before is still valid.
    NotYet,
    Failed,
}

#[derive(Debug, Clone)]
enum Event {
    /// One evaluation. With the last flag the whole rule is also skipped.
    Judge(Collected, [Verdict; 2], bool),
    Fail,
    FreezePlugin,
    Restart,
    /// The effect of a restart on each alert, without a new process.
    Pause,
}

#[derive(Debug, Clone)]
struct Day {
    for_s: u64,
    keep_firing_s: u64,
    /// Seconds since the event before, and the event.
    events: Vec<(u64, Event)>,
}

fn day() -> impl Strategy<Value = Day> {
    let severity = || prop::sample::select(Severity::ALL.to_vec());
    let verdict = || {
        prop_oneof![
            6 => severity().prop_map(Verdict::Raise),
            1 => severity().prop_map(Verdict::Hold),
            6 => Just(Verdict::Clear),
            1 => Just(Verdict::SkipNoData),
            1 => Just(Verdict::SkipFailed),
        ]
    };
    let flips = || prop::bool::weighted(0.1);
    let collected = || {
        prop_oneof![
            8 => (flips(), flips()).prop_map(|(a, b)| Collected::Read([a, b])),
            2 => Just(Collected::NotYet),
            1 => Just(Collected::Failed),
        ]
    };
    let event = prop_oneof![
        20 => (collected(), verdict(), verdict(), prop::bool::weighted(0.1)).prop_map(|(part, a, b, whole)| Event::Judge(part, [a, b], whole)),
        1 => Just(Event::Fail),
        1 => Just(Event::FreezePlugin),
        1 => Just(Event::Restart),
    ];
    let step = prop_oneof![8 => 0..3_u64, 1 => 3..5_000_u64];
    (0..4_u64, 0..4_u64, vec((step, event), 1..80)).prop_map(|(for_s, keep_firing_s, events)| Day { for_s, keep_firing_s, events })
}

const SLOTS: [&str; 2] = ["a", "b"];

fn labels(index: usize) -> Vec<Label> {
    vec![Label::new("slot", SLOTS[index])]
}

/// The series of the server and their latest reading.
#[derive(Debug, Clone, Copy)]
struct World {
    there: [bool; 2],
    /// The latest valid reading of this process: its second, and which series it contained.
    reading: Option<(u64, [bool; 2])>,
}

impl World {
    fn new() -> Self {
        Self { there: [true; 2], reading: None }
    }

    fn step(&mut self, event: &Event, at_s: u64) {
        match event {
            Event::Judge(Collected::Read(flips), ..) => {
                for (there, flips) in self.there.iter_mut().zip(flips) {
                    *there ^= flips;
                }
                self.reading = Some((at_s, self.there));
            }
            Event::Judge(Collected::NotYet, ..) => self.reading = self.reading.or(Some((at_s, self.there))),
            Event::Judge(Collected::Failed, ..) | Event::Restart | Event::Pause => self.reading = None,
            Event::Fail | Event::FreezePlugin => {}
        }
    }

    fn part(&self, booted_s: u64) -> Part {
        match self.reading {
            None => Part::failed("permission denied"),
            Some((read_s, there)) => {
                let names: Vec<&str> = SLOTS.into_iter().zip(there).filter_map(|(name, there)| there.then_some(name)).collect();
                slots(&names, Duration::from_secs(read_s - booted_s))
            }
        }
    }
}

/// One transition in a form that the book and the model share.
type Change = (usize, AlertState, AlertState, &'static str, Severity);

struct Real {
    book: AlertBook,
    rules: [RuleSpec; 1],
    world: World,
    /// A new process has a new monotonic clock.
    booted_s: u64,
}

impl Real {
    fn new(day: &Day) -> Self {
        let rule = rule(Duration::from_secs(day.for_s), Duration::from_secs(day.keep_firing_s));
        let rules = [RuleSpec { needs: vec![SLOT_ACTIVE.to_owned()], ..rule }];
        Self { book: AlertBook::default(), rules, world: World::new(), booted_s: 0 }
    }

    fn step(&mut self, event: &Event, at_s: u64) -> Vec<Transition> {
        self.world.step(event, at_s);
        let now = Now { monotonic: Duration::from_secs(at_s - self.booted_s), wall_ms: at_s * 1_000 };
        let outcome = match event {
            Event::Judge(_, verdict, whole) => Outcome::Judged(report(*verdict, *whole)),
            Event::Fail => Outcome::Failed("trap".into()),
            Event::FreezePlugin => {
                self.book.freeze_plugin("threshold", "being replaced", now);
                return Vec::new();
            }
            Event::Restart => {
                let text = serde_json::to_string(&self.book.export()).unwrap();
                self.book = AlertBook::restore(serde_json::from_str(&text).unwrap(), now);
                self.booted_s = at_s;
                return Vec::new();
            }
            Event::Pause => {
                for alert in self.book.groups.values_mut().flat_map(|group| group.alerts.values_mut()).map(Arc::make_mut) {
                    alert.restore(now);
                }
                return Vec::new();
            }
        };
        let snapshot = snapshot([("replication", self.world.part(self.booted_s))]);
        self.book.apply(Cycle { plugin: "threshold", snapshot: &snapshot, rules: &self.rules, outcome }, now)
    }
}

fn report(verdict: [Verdict; 2], whole: bool) -> Report {
    let mut report = Report::default();
    let skipped = |labels: Vec<Label>, reason| Skipped { rule: "lag".into(), labels, reason };
    for (index, verdict) in verdict.into_iter().enumerate() {
        let labels = labels(index);
        match verdict {
            Verdict::Raise(severity) => report.findings.push(finding(Strength::Raise, severity, &labels)),
            Verdict::Hold(severity) => report.findings.push(finding(Strength::Hold, severity, &labels)),
            Verdict::SkipNoData => report.skipped.push(skipped(labels, SkipReason::NoData)),
            Verdict::SkipFailed => report.skipped.push(skipped(labels, SkipReason::PartFailed("unreadable".into()))),
            Verdict::Clear => {}
        }
    }
    if whole {
        report.skipped.push(skipped(Vec::new(), SkipReason::NoData));
    }
    report
}

/// The input of the simple model for one event.
fn input_of(event: &Event, index: usize, world: &World) -> Input {
    let Event::Judge(_, verdict, whole) = event else {
        return match event {
            Event::Restart | Event::Pause => Input::Restart,
            Event::FreezePlugin => Input::Nothing,
            _ => Input::Unknown { there: false, silent: false },
        };
    };
    let verdict = if *whole && verdict[index] == Verdict::Clear { Verdict::SkipNoData } else { verdict[index] };
    let silent = verdict == Verdict::Clear;
    match (verdict, world.reading) {
        (Verdict::Raise(_) | Verdict::Hold(_), _) => Input::Judged(verdict),
        (Verdict::SkipFailed, _) => Input::Unknown { there: false, silent },
        (Verdict::Clear, Some((_, there))) if there[index] => Input::Judged(verdict),
        (_, Some((_, there))) if there[index] => Input::Unknown { there: true, silent },
        (_, Some((read_s, _))) => Input::Missing { read_s, silent },
        (_, None) => Input::Unknown { there: false, silent },
    }
}

fn change(transition: &Transition) -> Change {
    let index = usize::from(transition.alert.labels == labels(1));
    (index, transition.from, transition.to, transition.reason.as_str(), transition.severity)
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(600))]

    #[test]
    fn the_book_behaves_as_the_simple_model(day in day()) {
        let mut real = Real::new(&day);
        let mut simple = [Simple::new(), Simple::new()];
        let mut at_s = 0;
        for (after_s, event) in &day.events {
            at_s += after_s;
            let mut done: Vec<Change> = real.step(event, at_s).iter().map(change).collect();
            done.sort_by_key(|change| change.0);
            let mut expected: Vec<Change> = Vec::new();
            for (index, model) in simple.iter_mut().enumerate() {
                let changes = model.step(at_s, input_of(event, index, &real.world), &day);
                expected.extend(changes.into_iter().map(|(from, to, why, severity)| (index, from, to, why, severity)));
            }
            prop_assert_eq!(done, expected, "at {} s", at_s);
            for (index, model) in simple.iter().enumerate() {
                let alert = real.book.alerts().find(|alert| alert.labels == labels(index));
                prop_assert_eq!(alert.map_or(AlertState::Inactive, |alert| alert.state), model.state);
                let Some(alert) = alert else { continue };
                let frozen = alert.frozen.as_ref().map(|frozen| (frozen.since_ms / 1_000, frozen.evaluations));
                prop_assert_eq!((frozen, alert.missing, alert.is_flapping()), (model.frozen, model.missing, model.flapping));
            }
        }
    }

    #[test]
    fn an_incident_fires_after_its_time_and_resolves_exactly_once(day in day()) {
        let mut real = Real::new(&day);
        let mut incidents: BTreeMap<u64, Vec<(u64, Transition)>> = BTreeMap::new();
        let mut at_s = 0;
        // At the end all is clear until no alert flaps.
        real.world.there = [true; 2];
        let calm = (0..30).map(|_| (100, Event::Judge(Collected::Read([false; 2]), [Verdict::Clear; 2], false)));
        for (after_s, event) in day.events.iter().cloned().chain(calm) {
            at_s += after_s;
            for transition in real.step(&event, at_s) {
                incidents.entry(transition.incident).or_default().push((at_s, transition));
            }
        }
        prop_assert_eq!(real.book.export().alerts, []);
        for story in incidents.values() {
            let count = |to| story.iter().filter(|(_, change)| change.from != change.to && change.to == to).count();
            let fired = story.iter().find(|(_, change)| change.to == AlertState::Firing);
            prop_assert_eq!(count(AlertState::Resolved), usize::from(fired.is_some()));
            prop_assert_eq!(count(AlertState::Inactive), usize::from(fired.is_none()));
            if let Some((fired_s, _)) = fired {
                prop_assert!(fired_s - story[0].0 >= day.for_s);
            }
            prop_assert!(story.iter().all(|(_, change)| change.fingerprint == story[0].1.fingerprint));
            prop_assert!(story.windows(2).all(|pair| pair[0].1.to == pair[1].1.from && pair[0].1.step + 1 == pair[1].1.step));
        }
    }

    #[test]
    fn while_an_alert_flaps_only_graver_severities_and_its_end_are_sent(day in day()) {
        let mut real = Real::new(&day);
        let mut at_s = 0;
        for (after_s, event) in &day.events {
            at_s += after_s;
            for transition in real.step(event, at_s).iter().filter(|transition| transition.notifies()) {
                let may_be_sent = match transition.reason {
                    Reason::FlappingStarted | Reason::Gone => true,
                    Reason::SeverityChanged { from } => from < transition.severity || !transition.alert.is_flapping(),
                    _ => !transition.alert.is_flapping(),
                };
                prop_assert!(may_be_sent, "{}", transition);
            }
        }
    }

    #[test]
    fn a_restart_is_a_pause_and_nothing_else(day in day(), at in any::<prop::sample::Index>(), down_s in 0..10_000_u64) {
        let at = at.index(day.events.len() + 1);
        let run = |pause: Event, down_s: u64| {
            let mut real = Real::new(&day);
            let mut at_s = 0;
            let mut changes = Vec::new();
            for (index, (after_s, event)) in day.events.iter().enumerate() {
                if index == at {
                    at_s += down_s;
                    real.step(&pause, at_s);
                }
                at_s += after_s;
                changes.extend(real.step(event, at_s).iter().map(|transition| (transition.incident, transition.step, change(transition))));
            }
            changes
        };
        prop_assert_eq!(run(Event::Restart, down_s), run(Event::Pause, 0));
    }

    #[test]
    fn a_store_that_follows_the_changes_restores_the_book(day in day(), lost in vec(prop::bool::weighted(0.2), 80)) {
        let mut real = Real::new(&day);
        let mut store: BTreeMap<Fingerprint, String> = BTreeMap::new();
        let mut store_changes = |changes: &Changes| {
            store.retain(|fingerprint, _| !changes.removed.contains(fingerprint));
            store.extend(changes.upserts.iter().map(|alert| (alert.fingerprint, serde_json::to_string(alert).unwrap())));
        };
        let mut at_s = 0;
        for ((after_s, event), lost) in day.events.iter().zip(lost) {
            // A restart reads the store, which is not complete in this test.
            if matches!(event, Event::Restart) {
                continue;
            }
            at_s += after_s;
            real.step(event, at_s);
            let changes = real.book.take_changes();
            if lost {
                real.book.give_back(changes);
            } else {
                store_changes(&changes);
            }
        }
        store_changes(&real.book.take_changes());
        let now = Now { monotonic: Duration::ZERO, wall_ms: at_s * 1_000 };
        let alerts = store.values().map(|text| serde_json::from_str(text).unwrap()).collect();
        let restored = AlertBook::restore(SavedBook { alerts, next_incident: real.book.export().next_incident }, now);
        let expected = AlertBook::restore(real.book.export(), now);
        prop_assert_eq!(restored.export(), expected.export());
    }
}
