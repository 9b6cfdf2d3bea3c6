//! The book against a model of one page, over random days.
//!
//! The model keeps no clock: it remembers what was said since a state began, and adds up the stretches that count.

use std::{collections::BTreeMap, time::Duration};

use proptest::{collection::vec, prelude::*};

use super::{
    stories::{finding, rule},
    *,
};
use crate::finding::{Severity, Skipped};

/// What one evaluation says about one label set.
#[derive(Debug, Clone, Copy, PartialEq)]
enum Seen {
    Raise(Severity),
    Hold(Severity),
    Clear,
    Skip,
}

#[derive(Debug, Clone)]
enum Event {
    /// One evaluation; with the last flag the rule as a whole is skipped too.
    Judge([Seen; 2], bool),
    Fail,
    FreezePlugin,
    Restart,
}

#[derive(Debug, Clone)]
struct Day {
    for_s: u64,
    keep_firing_s: u64,
    /// Seconds since the one before, and what happens.
    events: Vec<(u64, Event)>,
}

fn day() -> impl Strategy<Value = Day> {
    let severity = || prop::sample::select(Severity::ALL.to_vec());
    let seen = || {
        prop_oneof![
            4 => severity().prop_map(Seen::Raise),
            1 => severity().prop_map(Seen::Hold),
            3 => Just(Seen::Clear),
            1 => Just(Seen::Skip),
        ]
    };
    let event = prop_oneof![
        12 => (seen(), seen(), prop::bool::weighted(0.1)).prop_map(|(a, b, whole)| Event::Judge([a, b], whole)),
        1 => Just(Event::Fail),
        1 => Just(Event::FreezePlugin),
        1 => Just(Event::Restart),
    ];
    (0..4_u64, 0..4_u64, vec((0..3_u64, event), 1..60)).prop_map(|(for_s, keep_firing_s, events)| Day { for_s, keep_firing_s, events })
}

fn labels(index: usize) -> Vec<Label> {
    vec![Label::new("table", ["a", "b"][index])]
}

/// One thing that changed, as both sides say it.
type Change = (usize, AlertState, AlertState, &'static str, Severity);

struct Real {
    book: AlertBook,
    rules: [RuleSpec; 1],
    /// A new process has a new monotonic clock.
    booted_s: u64,
}

impl Real {
    fn new(day: &Day) -> Self {
        let rules = [rule(Duration::from_secs(day.for_s), Duration::from_secs(day.keep_firing_s))];
        Self { book: AlertBook::default(), rules, booted_s: 0 }
    }

    fn step(&mut self, event: &Event, at_s: u64) -> Vec<Transition> {
        let now = Now { monotonic: Duration::from_secs(at_s - self.booted_s), wall_ms: at_s * 1_000 };
        let subject = Subject::new("postgres", "db1:5432");
        let outcome = match event {
            Event::Judge(seen, whole) => Outcome::Judged(report(*seen, *whole)),
            Event::Fail => Outcome::Failed("trap".into()),
            Event::FreezePlugin => {
                self.book.freeze_plugin("threshold", "being replaced");
                return Vec::new();
            }
            Event::Restart => {
                self.book = AlertBook::restore(self.book.export());
                self.booted_s = at_s;
                return Vec::new();
            }
        };
        self.book.apply(Cycle { plugin: "threshold", subject: &subject, rules: &self.rules, outcome }, now)
    }
}

fn report(seen: [Seen; 2], whole: bool) -> Report {
    let mut report = Report::default();
    for (index, seen) in seen.into_iter().enumerate() {
        let labels = labels(index);
        match seen {
            Seen::Raise(severity) => report.findings.push(finding(Strength::Raise, severity, &labels)),
            Seen::Hold(severity) => report.findings.push(finding(Strength::Hold, severity, &labels)),
            Seen::Skip => report.skipped.push(Skipped { rule: "lag".into(), labels, reason: SkipReason::NoData }),
            Seen::Clear => {}
        }
    }
    if whole {
        report.skipped.push(Skipped { rule: "lag".into(), labels: Vec::new(), reason: SkipReason::NoData });
    }
    report
}

fn change(transition: &Transition) -> Change {
    let index = usize::from(transition.alert.labels == labels(1));
    (index, transition.from, transition.to, transition.reason.as_str(), transition.severity)
}

/// The model of one alert: its state, and all that was said since it entered it, with the time. None: nobody was asked.
struct Simple {
    state: AlertState,
    severity: Severity,
    said: Vec<(u64, Option<Seen>)>,
}

impl Simple {
    /// Seconds that began with an evaluation for which `agrees` holds and ended with one that happened.
    fn gathered(&self, agrees: fn(Seen) -> bool) -> u64 {
        let counts = |pair: &&[(u64, Option<Seen>)]| pair[0].1.is_some_and(agrees) && pair[1].1.is_some();
        self.said.windows(2).filter(counts).map(|pair| pair[1].0 - pair[0].0).sum()
    }

    fn step(&mut self, at_s: u64, seen: Option<Seen>, day: &Day) -> Vec<(AlertState, AlertState, &'static str, Severity)> {
        use AlertState::{Firing, Inactive, Pending, Recovering, Resolved};
        self.said.push((at_s, seen));
        let raised = |gathered: u64| gathered >= day.for_s;
        let before = self.severity;
        match (self.state, seen) {
            (_, Some(Seen::Raise(severity))) => self.severity = severity,
            (Pending | Firing | Recovering, Some(Seen::Hold(severity))) => self.severity = severity.min(before),
            _ => {}
        }
        let graver = (self.severity != before).then_some((Firing, Firing, "severity-changed", self.severity));
        let changes = match (self.state, seen) {
            (Inactive, Some(Seen::Raise(_))) if raised(0) => vec![(Inactive, Firing, "firing", self.severity)],
            (Inactive, Some(Seen::Raise(_))) => vec![(Inactive, Pending, "raised", self.severity)],
            (Pending, Some(Seen::Raise(_))) if raised(self.gathered(|seen| matches!(seen, Seen::Raise(_)))) => {
                vec![(Pending, Firing, "firing", self.severity)]
            }
            (Pending, Some(Seen::Clear)) => vec![(Pending, Inactive, "cleared", before)],
            (Firing, Some(Seen::Raise(_) | Seen::Hold(_))) => graver.into_iter().collect(),
            (Firing, Some(Seen::Clear)) if day.keep_firing_s == 0 => vec![(Firing, Resolved, "resolved", before)],
            (Firing, Some(Seen::Clear)) => vec![(Firing, Recovering, "recovering", before)],
            (Recovering, Some(Seen::Raise(_) | Seen::Hold(_))) => {
                [(Recovering, Firing, "returned", before)].into_iter().chain(graver).collect()
            }
            (Recovering, Some(Seen::Clear)) if self.gathered(|seen| seen == Seen::Clear) >= day.keep_firing_s => {
                vec![(Recovering, Resolved, "resolved", before)]
            }
            _ => Vec::new(),
        };
        if let Some((from, to, ..)) = changes.last() {
            let to = if *to == Resolved { Inactive } else { *to };
            if changes.len() > 1 || from != &to {
                self.said = vec![(at_s, seen)];
            }
            self.state = to;
        }
        changes
    }
}

/// What the model is told of an event. A skip is an evaluation that happened but said nothing.
fn told(event: &Event, index: usize) -> Option<Seen> {
    match event {
        Event::Judge(seen, true) if seen[index] == Seen::Clear => Some(Seen::Skip),
        Event::Judge(seen, _) => Some(seen[index]),
        Event::Fail => Some(Seen::Skip),
        Event::FreezePlugin | Event::Restart => None,
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(1_500))]

    #[test]
    fn the_book_does_what_the_simple_model_does(day in day()) {
        let mut real = Real::new(&day);
        let new = || Simple { state: AlertState::Inactive, severity: Severity::Info, said: Vec::new() };
        let mut simple = [new(), new()];
        let mut at_s = 0;
        for (after_s, event) in &day.events {
            at_s += after_s;
            let mut done: Vec<Change> = real.step(event, at_s).iter().map(change).collect();
            done.sort_by_key(|change| change.0);
            let mut expected: Vec<Change> = Vec::new();
            for (index, model) in simple.iter_mut().enumerate() {
                let changes = model.step(at_s, told(event, index), &day);
                expected.extend(changes.into_iter().map(|(from, to, why, severity)| (index, from, to, why, severity)));
            }
            prop_assert_eq!(done, expected, "at {} s", at_s);
            for alert in real.book.alerts() {
                let index = usize::from(alert.labels == labels(1));
                prop_assert_eq!(alert.state, simple[index].state);
                prop_assert_eq!(alert.frozen.is_some(), matches!(told(event, index), None | Some(Seen::Skip)));
            }
        }
    }

    #[test]
    fn an_incident_fires_after_its_time_and_resolves_exactly_once(day in day()) {
        let mut real = Real::new(&day);
        let mut incidents: BTreeMap<u64, Vec<(u64, Transition)>> = BTreeMap::new();
        let mut at_s = 0;
        for (after_s, event) in &day.events {
            at_s += after_s;
            for transition in real.step(event, at_s) {
                incidents.entry(transition.incident).or_default().push((at_s, transition));
            }
        }
        let end = Event::Judge([Seen::Clear; 2], false);
        for after_s in [1, 100, 100] {
            at_s += after_s;
            for transition in real.step(&end, at_s) {
                incidents.entry(transition.incident).or_default().push((at_s, transition));
            }
        }
        prop_assert_eq!(real.book.alerts().count(), 0);
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
        prop_assert_eq!(run(Event::Restart, down_s), run(Event::FreezePlugin, 0));
    }

    #[test]
    fn a_store_that_follows_the_changes_equals_the_book(day in day()) {
        let mut real = Real::new(&day);
        let mut store: BTreeMap<Fingerprint, Alert> = BTreeMap::new();
        let mut at_s = 0;
        for (after_s, event) in day.events.iter().filter(|(_, event)| !matches!(event, Event::Restart)) {
            at_s += after_s;
            real.step(event, at_s);
            let changes = real.book.take_changes();
            store.retain(|fingerprint, _| !changes.removed.contains(fingerprint));
            store.extend(changes.upserts.into_iter().map(|alert| (alert.fingerprint, alert)));
            let durable = |alert: &Alert| (alert.fingerprint, alert.incident, alert.step, alert.state, alert.severity, alert.held);
            let mut book: Vec<_> = real.book.alerts().map(durable).collect();
            book.sort_by_key(|alert| alert.0);
            prop_assert_eq!(store.values().map(durable).collect::<Vec<_>>(), book);
        }
    }
}
