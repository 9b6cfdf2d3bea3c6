//! Random receivers, random failures, and an agent that dies at any moment.
//!
//! The test tests itself too: an agent that marks a message as delivered before it sends it is caught.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use proptest::collection::vec;
use proptest::prelude::*;
use proptest::test_runner::{Config, RngAlgorithm, TestRng, TestRunner};

use super::queue::{Batch, Next, Queue, Settlement};
use super::row::{IncidentPart, Row};
use super::stories::{SECOND, row};
use crate::notification::{Delivery, UndeliveredReason};

#[derive(Debug, Clone)]
enum Event {
    /// The incident with this number begins, changes or ends.
    Advance(u64),
    /// A message is sent.
    Send,
    /// The oldest or youngest message in flight is answered.
    Answer(bool, Answer),
    /// The process ends at once and starts again. Messages in flight arrived just then, or never.
    Kill(bool),
    /// A person has all given-up rows sent again.
    Retry,
    Wait(u64),
}

#[derive(Debug, Clone, Copy)]
enum Answer {
    Accept,
    Busy,
    /// The message arrives, but its answer does not.
    Lost,
    Refuse,
}

fn event() -> impl Strategy<Value = Event> {
    let answer = prop_oneof![3 => Just(Answer::Accept), 2 => Just(Answer::Busy), 1 => Just(Answer::Lost), 1 => Just(Answer::Refuse)];
    prop_oneof![
        4 => (0..6_u64).prop_map(Event::Advance),
        4 => Just(Event::Send),
        4 => (any::<bool>(), answer).prop_map(|(oldest, answer)| Event::Answer(oldest, answer)),
        1 => any::<bool>().prop_map(Event::Kill),
        1 => Just(Event::Retry),
        2 => (0..100_u64).prop_map(Event::Wait),
    ]
}

/// A row in the store.
#[derive(Debug, Clone)]
struct Stored {
    row: Row,
    is_sending: bool,
}

/// When the store records a delivery.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
enum Build {
    /// After the receiver confirmed it.
    #[default]
    Right,
    MarksBeforeItSends,
}

/// An agent with its store, and a receiver that records every message.
#[derive(Default)]
struct World {
    build: Build,
    queue: Queue,
    store: BTreeMap<u64, Stored>,
    /// Every row that was ever made.
    made: BTreeMap<u64, Row>,
    /// Incidents whose beginning was given up and not sent otherwise.
    without_beginning: BTreeSet<u64>,
    /// Youngest delivered row of each incident.
    delivered: BTreeMap<u64, u64>,
    under_way: Vec<Batch>,
    now: Duration,
    next_seq: u64,
    /// Number of rows made so far for each incident.
    rows_made: BTreeMap<u64, u64>,
    /// Rows that arrived, by message id.
    arrived: BTreeMap<String, Vec<u64>>,
    /// Rows in the order of their first arrival.
    received: Vec<Row>,
    dead: Vec<Row>,
}

impl World {
    fn advance(&mut self, incident: u64) {
        let step = self.rows_made.entry(incident).or_default();
        *step += 1;
        let part = match *step {
            1 => IncidentPart::Begin,
            2 | 3 => IncidentPart::Change,
            4 => IncidentPart::End,
            _ => return,
        };
        self.next_seq += 1;
        let row = row(self.next_seq, incident, part, &format!("group {}", incident % 2), self.now);
        self.made.insert(row.seq, row.clone());
        self.store.insert(row.seq, Stored { row: row.clone(), is_sending: false });
        self.queue.push(row);
    }

    fn send(&mut self) -> bool {
        match self.queue.take(self.now) {
            None => return false,
            Some(Next::Settle(settlement)) => self.store_settlement(&settlement),
            Some(Next::Send(batch)) => {
                for seq in &batch.seqs {
                    assert!(self.under_way.iter().all(|other| !other.seqs.contains(seq)), "{seq} is under way already");
                    if self.build == Build::MarksBeforeItSends {
                        self.store.remove(seq);
                        continue;
                    }
                    let stored = self.store.get_mut(seq).expect("only what is stored is sent");
                    stored.is_sending = true;
                    stored.row.message = Some(batch.id.clone());
                }
                self.under_way.push(batch);
            }
        }
        true
    }

    fn arrive(&mut self, batch: &Batch) {
        let before = self.arrived.insert(batch.id.clone(), batch.seqs.clone());
        assert!(before.is_none_or(|before| before == batch.seqs), "{} named other rows before", batch.id);
        let known: BTreeSet<u64> = self.received.iter().map(|row| row.seq).collect();
        self.received.extend(batch.seqs.iter().filter(|seq| !known.contains(seq)).map(|seq| self.made[seq].clone()));
    }

    fn answer(&mut self, batch: Batch, answer: Answer) {
        if matches!(answer, Answer::Accept | Answer::Lost) {
            self.arrive(&batch);
        }
        let delivery = match answer {
            Answer::Accept => Delivery::Accepted,
            Answer::Busy => Delivery::Retry { after: None, why: "busy".to_owned() },
            Answer::Lost => Delivery::Ambiguous("lost".to_owned()),
            Answer::Refuse => Delivery::Rejected { reason: UndeliveredReason::Rejected, why: "refused".to_owned() },
        };
        let settlement = self.queue.settle(&batch, delivery, self.now, 0.5);
        if self.build == Build::Right {
            self.store_settlement(&settlement);
        }
    }

    /// Stores a settlement.
    fn store_settlement(&mut self, settlement: &Settlement) {
        match settlement {
            Settlement::Delivered { seqs, .. } => {
                for seq in seqs {
                    let row = self.store.remove(seq).expect("settled once").row;
                    self.without_beginning.remove(&row.incident);
                    self.delivered.insert(row.incident, row.seq);
                }
            }
            Settlement::Waiting { seqs, attempts, pause, message, .. } => {
                for seq in seqs {
                    let stored = self.store.get_mut(seq).expect("still there");
                    stored.is_sending = false;
                    stored.row.message.clone_from(message);
                    stored.row.attempts = *attempts;
                    stored.row.waited += *pause;
                    stored.row.due = self.now + *pause;
                }
            }
            Settlement::Dead { seqs, .. } => {
                for seq in seqs {
                    let row = self.store.remove(seq).expect("settled once").row;
                    match row.part {
                        IncidentPart::Begin => self.without_beginning.insert(row.incident),
                        IncidentPart::Change => false,
                        IncidentPart::End => self.without_beginning.remove(&row.incident),
                    };
                    self.dead.push(row);
                }
            }
        }
    }

    fn kill(&mut self, arrived: bool) {
        for batch in std::mem::take(&mut self.under_way).iter().filter(|_| arrived) {
            self.arrive(batch);
        }
        self.queue = Queue::default();
        for incident in &self.without_beginning {
            self.queue.record_lost_beginning(super::stories::fingerprint(*incident), *incident);
        }
        for stored in self.store.values_mut() {
            if std::mem::take(&mut stored.is_sending) {
                stored.row.due = self.now;
            }
            self.queue.push(stored.row.clone());
        }
    }

    fn retry(&mut self) {
        let received = |row: &Row| self.delivered.get(&row.incident).is_some_and(|youngest| *youngest > row.seq);
        let (late, again) = std::mem::take(&mut self.dead).into_iter().partition(received);
        self.dead = late;
        self.queue.revive();
        for dead in again {
            let row = Row { due: self.now, attempts: 0, waited: Duration::ZERO, message: None, ..dead };
            self.store.insert(row.seq, Stored { row: row.clone(), is_sending: false });
            // The row may have arrived before it was given up; now it is sent again.
            self.received.retain(|received| received.seq != row.seq);
            if row.part == IncidentPart::Begin {
                self.without_beginning.remove(&row.incident);
            }
            if let Some(settlement) = self.queue.push_again(row) {
                self.store_settlement(&settlement);
            }
        }
    }

    fn step(&mut self, event: Event) {
        match event {
            Event::Advance(incident) => self.advance(incident),
            Event::Send => drop(self.send()),
            Event::Answer(oldest, answer) => {
                if !self.under_way.is_empty() {
                    let index = if oldest { 0 } else { self.under_way.len() - 1 };
                    let batch = self.under_way.remove(index);
                    self.answer(batch, answer);
                }
            }
            Event::Kill(arrived) => self.kill(arrived),
            Event::Retry => self.retry(),
            Event::Wait(seconds) => self.now += SECOND * u32::try_from(seconds).unwrap_or(0),
        }
    }

    /// Lets the receiver accept everything until nothing is left.
    fn settle(&mut self) {
        for _ in 0..1_000 {
            while self.send() {}
            for batch in std::mem::take(&mut self.under_way) {
                self.answer(batch, Answer::Accept);
            }
            match self.queue.next_due() {
                Some(due) => self.now = self.now.max(due),
                None => return,
            }
        }
        panic!("something waits for ever: {:?}", self.queue);
    }

    /// All complaints, once everything is settled.
    fn judge(mut self) -> Vec<String> {
        self.settle();
        let mut complaints = Vec::new();
        if !self.queue.is_empty() || !self.store.is_empty() {
            complaints.push(format!("something is left: {:?}", self.queue));
        }
        let ended: BTreeSet<u64> = self.received.iter().chain(&self.dead).map(|row| row.seq).collect();
        let lost = self.made.values().filter(|row| !ended.contains(&row.seq));
        complaints.extend(lost.map(|row| format!("neither received nor given up: {row:?}")));
        for incident in self.rows_made.keys() {
            let of: Vec<&Row> = self.received.iter().filter(|row| row.incident == *incident).collect();
            if !of.is_sorted_by_key(|row| row.seq) {
                complaints.push(format!("out of order: {of:?}"));
            }
            if of.first().is_some_and(|first| first.part == IncidentPart::End) {
                complaints.push(format!("an end of what never began: {of:?}"));
            }
        }
        complaints
    }
}

fn complaints(build: Build, events: Vec<Event>) -> Vec<String> {
    let mut world = World { build, ..World::default() };
    events.into_iter().for_each(|event| world.step(event));
    world.judge()
}

#[test]
fn an_agent_that_marks_before_it_sends_is_caught() {
    let config = Config { failure_persistence: None, max_shrink_iters: 0, ..Config::with_cases(500) };
    let caught = |build| {
        let rng = TestRng::deterministic_rng(RngAlgorithm::ChaCha);
        let verdict = TestRunner::new_with_rng(config.clone(), rng).run(&vec(event(), 1..120), |events| {
            let complaints = complaints(build, events);
            if complaints.is_empty() { Ok(()) } else { Err(TestCaseError::fail(complaints.join("\n"))) }
        });
        verdict.err().map(|err| err.to_string())
    };
    assert_eq!(caught(Build::Right), None);
    let complaint = caught(Build::MarksBeforeItSends).expect("it loses what was under way when it died");
    assert!(complaint.contains("neither received nor given up"), "{complaint}");
}

proptest! {
    #[test]
    fn every_row_arrives_or_is_given_up_in_order_and_ids_never_change_their_rows(events in vec(event(), 1..120)) {
        prop_assert_eq!(complaints(Build::Right, events), [""; 0]);
    }

    #[test]
    fn no_incident_waits_for_another_one(stuck in 0..5_u64, rows in vec((0..5_u64, 0..2_u64), 1..20)) {
        let mut queue = Queue::default();
        queue.push(row(1, stuck, IncidentPart::Begin, "stuck", Duration::ZERO));
        let Some(Next::Send(_hanging)) = queue.take(Duration::ZERO) else { panic!("it is due") };
        for (index, (incident, group)) in rows.iter().enumerate() {
            queue.push(row(index as u64 + 2, *incident, IncidentPart::Change, &group.to_string(), Duration::ZERO));
        }
        let mut sent = BTreeSet::new();
        while let Some(Next::Send(batch)) = queue.take(Duration::ZERO) {
            sent.extend(batch.seqs.iter().copied());
            queue.settle(&batch, Delivery::Accepted, Duration::ZERO, 0.5);
        }
        let others = rows.iter().filter(|(incident, _)| *incident != stuck).count();
        prop_assert_eq!(sent.len(), others);
    }
}
