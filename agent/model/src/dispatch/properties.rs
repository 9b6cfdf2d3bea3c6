//! Random troubles, random words, and an agent that starts anew at any moment: every incident is told from its beginning to its end, or it
//! is said for good why not.

use std::{
    collections::{BTreeMap, BTreeSet},
    time::Duration,
};

use proptest::{collection::vec, prelude::*};

use super::{
    IncidentKey, Route,
    stories::{Town, alert, route},
};
use crate::{alert::Fingerprint, finding::Severity, outbox::Tells};

#[derive(Debug, Clone)]
enum Event {
    /// What is wrong with a subject now, as severities of the rules `lag`, `disk` and `server-down`.
    Judge(usize, [Option<Severity>; 3]),
    Pass(u64),
    Silence(usize, u64),
    Expire(usize),
    Acknowledge(usize, usize),
    Room(bool),
    /// The clock on the wall is set.
    Step(i64),
    Restart,
}

const SUBJECTS: [&str; 2] = ["db1", "db2"];
const MATCHERS: [&str; 3] = ["rule=lag", "subject=db1", "severity=critical"];
const WRONG: [&str; 3] = ["lag", "disk", "server-down"];

fn event() -> impl Strategy<Value = Event> {
    let severity = || prop_oneof![2 => Just(None), 2 => Just(Some(Severity::Warning)), 1 => Just(Some(Severity::Critical))];
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

/// What was heard and what was said that nobody will hear.
#[derive(Default)]
struct Ears {
    heard: BTreeMap<(String, IncidentKey), Vec<Tells>>,
    withheld: BTreeSet<(String, IncidentKey)>,
    ids: BTreeSet<(String, String)>,
}

impl Ears {
    fn listen(&mut self, town: &mut Town) {
        let release = town.release();
        for row in release.rows {
            prop_assert_unique(self.ids.insert((row.receiver.clone(), row.id.clone())), &row.id);
            self.heard.entry((row.receiver, (row.fingerprint, row.incident))).or_default().push(row.tells);
        }
        for withheld in release.withheld.into_iter().filter(|withheld| withheld.for_good) {
            self.withheld.insert((withheld.receiver, withheld.key));
        }
    }
}

fn prop_assert_unique(is_new: bool, id: &str) {
    assert!(is_new, "the id {id} was given twice");
}

fn happen(town: &mut Town, event: &Event) {
    match event {
        Event::Judge(subject, wrong) => {
            let wrong: Vec<(&str, Severity)> =
                WRONG.into_iter().zip(wrong).filter_map(|(rule, severity)| Some((rule, (*severity)?))).collect();
            town.judge(SUBJECTS[*subject], &wrong);
        }
        Event::Pass(seconds) => town.pass(*seconds),
        Event::Silence(which, seconds) => town.silence(&format!("s{which}"), &[MATCHERS[*which]], *seconds),
        Event::Expire(which) => drop(town.dispatcher.expire_silence(&format!("s{which}"), town.now)),
        Event::Acknowledge(subject, rule) => {
            let fingerprint = alert(WRONG[*rule], SUBJECTS[*subject]).fingerprint;
            drop(town.dispatcher.acknowledge(fingerprint, "ann", "on it", town.now));
        }
        Event::Room(has_room) => town.has_room = *has_room,
        Event::Step(seconds) => town.now.wall_ms = town.now.wall_ms.saturating_add_signed(1_000 * seconds),
        Event::Restart => town.restart(),
    }
}

/// Everything ends, and nothing is in the way any more.
fn settle(town: &mut Town, ears: &mut Ears) {
    town.has_room = true;
    ears.listen(town);
    for which in 0..3 {
        drop(town.dispatcher.expire_silence(&format!("s{which}"), town.now));
    }
    // What comes and goes ends only after it was calm for long.
    for _ in 0..25 {
        town.pass(10);
        SUBJECTS.iter().for_each(|subject| town.judge(subject, &[]));
    }
    for _ in 0..4 {
        town.pass(1_000);
        ears.listen(town);
    }
}

fn check(routes: Vec<Route>, events: &[Event]) {
    let mut town = Town::new(routes);
    let mut ears = Ears::default();
    let mut fired: BTreeSet<IncidentKey> = BTreeSet::new();
    let mut note = |town: &Town| fired.extend(town.book.alerts().map(|alert| (alert.fingerprint, alert.incident)));
    for event in events {
        happen(&mut town, event);
        note(&town);
        ears.listen(&mut town);
    }
    settle(&mut town, &mut ears);
    for ((receiver, key), heard) in &ears.heard {
        assert_eq!(heard.first(), Some(&Tells::Begin), "{receiver} {key:?}");
        assert_eq!(heard.iter().filter(|tells| **tells == Tells::Begin).count(), 1, "{receiver} {key:?}: {heard:?}");
        assert_eq!(heard.last(), Some(&Tells::End), "{receiver} {key:?}");
        assert_eq!(heard.iter().filter(|tells| **tells == Tells::End).count(), 1, "{receiver} {key:?}: {heard:?}");
        assert!(!ears.withheld.contains(&(receiver.clone(), *key)), "{receiver} {key:?} was told, and said not to be");
    }
    let knows = |receiver: &str, key: &IncidentKey| {
        let who = (receiver.to_owned(), *key);
        ears.heard.contains_key(&who) || ears.withheld.contains(&who)
    };
    for key in &fired {
        assert!(knows("ops", key), "{key:?} was neither told nor said why not");
    }
    assert!(town.dispatcher.export().entries.is_empty(), "nothing is left: {:?}", town.dispatcher.export().entries);
    assert_eq!(town.dispatcher.next_due(town.now), None);
}

proptest! {
    #[test]
    fn every_incident_is_told_whole_or_it_is_said_why_not(events in vec(event(), 1..60)) {
        let pager = Route { continues: true, ..route(&["severity=critical"], "pager") };
        check(vec![pager, route(&[], "ops")], &events);
    }

    #[test]
    fn the_same_holds_without_any_wait(events in vec(event(), 1..60)) {
        let (wait, repeat) = (Duration::ZERO, Duration::ZERO);
        check(vec![Route { group_wait: wait, group_interval: wait, repeat_interval: repeat, group_by: vec![], ..route(&[], "ops") }], &events);
    }

    #[test]
    fn the_store_always_equals_the_ledger(events in vec(event(), 1..60)) {
        let mut town = Town::new(vec![route(&["severity=critical"], "pager"), route(&[], "ops")]);
        let mut store: BTreeMap<(String, Fingerprint, u64), super::Entry> = BTreeMap::new();
        for event in &events {
            happen(&mut town, event);
            town.release();
            let changes = town.dispatcher.take_changes();
            for entry in changes.entries {
                store.insert((entry.receiver.clone(), entry.fingerprint, entry.incident), entry);
            }
            for removed in changes.removed {
                store.remove(&removed);
            }
            let known = town.dispatcher.export().entries;
            let known: BTreeMap<_, _> = known.into_iter().map(|entry| ((entry.receiver.clone(), entry.fingerprint, entry.incident), entry)).collect();
            if !matches!(event, Event::Restart) {
                let written = |entries: &BTreeMap<_, super::Entry>| serde_json::to_string_pretty(&entries.values().collect::<Vec<_>>());
                prop_assert_eq!(written(&known).ok(), written(&store).ok());
            }
        }
    }
}
