//! Random receivers, random troubles, and an agent that dies at any moment.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use proptest::{collection::vec, prelude::*};

use super::stories::{SECOND, row};
use super::{Batch, Next, Queue, Row, Settlement, Tells};
use crate::notification::Delivery;

#[derive(Debug, Clone)]
enum Event {
    /// The incident with this number goes on: begins, changes or ends.
    Tell(u64),
    /// A message goes out.
    Send,
    /// The oldest or youngest message under way is answered.
    Answer(bool, Answer),
    /// The process ends at once and starts anew.
    Kill,
    Wait(u64),
}

#[derive(Debug, Clone, Copy)]
enum Answer {
    Accept,
    Busy,
    /// The receiver has it, and the agent does not know.
    Lost,
    Refuse,
}

fn event() -> impl Strategy<Value = Event> {
    let answer = prop_oneof![3 => Just(Answer::Accept), 2 => Just(Answer::Busy), 1 => Just(Answer::Lost), 1 => Just(Answer::Refuse)];
    prop_oneof![
        4 => (0..6_u64).prop_map(Event::Tell),
        4 => Just(Event::Send),
        4 => (any::<bool>(), answer).prop_map(|(oldest, answer)| Event::Answer(oldest, answer)),
        1 => Just(Event::Kill),
        2 => (0..100_u64).prop_map(Event::Wait),
    ]
}

/// A row as the store has it.
#[derive(Debug, Clone)]
struct Stored {
    row: Row,
    is_sending: bool,
}

/// The agent with its store, and the receiver with its memory.
#[derive(Default)]
struct World {
    queue: Queue,
    store: BTreeMap<u64, Stored>,
    /// Incidents whose beginning was given up and that are not told otherwise.
    untold: BTreeSet<u64>,
    under_way: Vec<Batch>,
    now: Duration,
    next_seq: u64,
    /// Rows of each incident made so far.
    told: BTreeMap<u64, u64>,
    /// By message id: the rows that came under it.
    arrived: BTreeMap<String, Vec<u64>>,
    /// Rows in the order of their first arrival.
    heard: Vec<Row>,
    dead: Vec<Row>,
}

impl World {
    fn tell(&mut self, incident: u64) {
        let step = self.told.entry(incident).or_default();
        *step += 1;
        let tells = match *step {
            1 => Tells::Begin,
            2 | 3 => Tells::Change,
            4 => Tells::End,
            _ => return,
        };
        self.next_seq += 1;
        let row = row(self.next_seq, incident, tells, &format!("group {}", incident % 2), self.now);
        self.store.insert(row.seq, Stored { row: row.clone(), is_sending: false });
        self.queue.push(row);
    }

    fn send(&mut self) -> bool {
        match self.queue.take(self.now) {
            None => return false,
            Some(Next::Settle(settlement)) => self.keep(&settlement),
            Some(Next::Send(batch)) => {
                for seq in &batch.seqs {
                    assert!(self.under_way.iter().all(|other| !other.seqs.contains(seq)), "{seq} is under way already");
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
        let known: BTreeSet<u64> = self.heard.iter().map(|row| row.seq).collect();
        for seq in batch.seqs.iter().filter(|seq| !known.contains(seq)) {
            self.heard.push(self.store[seq].row.clone());
        }
    }

    fn answer(&mut self, batch: Batch, answer: Answer) {
        if matches!(answer, Answer::Accept | Answer::Lost) {
            self.arrive(&batch);
        }
        let delivery = match answer {
            Answer::Accept => Delivery::Accepted,
            Answer::Busy => Delivery::Retry { after: None, why: "busy".to_owned() },
            Answer::Lost => Delivery::Ambiguous("lost".to_owned()),
            Answer::Refuse => Delivery::Rejected { reason: "rejected", why: "refused".to_owned() },
        };
        let settlement = self.queue.settle(&batch, delivery, self.now, 0.5);
        self.keep(&settlement);
    }

    /// What the store does with a settlement.
    fn keep(&mut self, settlement: &Settlement) {
        match settlement {
            Settlement::Delivered { seqs, .. } => {
                for seq in seqs {
                    let row = self.store.remove(seq).expect("settled once").row;
                    self.untold.remove(&row.incident);
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
                    match row.tells {
                        Tells::Begin => self.untold.insert(row.incident),
                        Tells::Change => false,
                        Tells::End => self.untold.remove(&row.incident),
                    };
                    self.dead.push(row);
                }
            }
        }
    }

    fn kill(&mut self) {
        // What was under way may have arrived just then.
        for batch in std::mem::take(&mut self.under_way) {
            self.arrive(&batch);
        }
        self.queue = Queue::default();
        for incident in &self.untold {
            self.queue.push_untold(super::stories::fingerprint(*incident), *incident);
        }
        for stored in self.store.values_mut() {
            if std::mem::take(&mut stored.is_sending) {
                stored.row.due = self.now;
            }
            self.queue.push(stored.row.clone());
        }
    }

    fn step(&mut self, event: Event) {
        match event {
            Event::Tell(incident) => self.tell(incident),
            Event::Send => drop(self.send()),
            Event::Answer(oldest, answer) => {
                if !self.under_way.is_empty() {
                    let index = if oldest { 0 } else { self.under_way.len() - 1 };
                    let batch = self.under_way.remove(index);
                    self.answer(batch, answer);
                }
            }
            Event::Kill => self.kill(),
            Event::Wait(seconds) => self.now += SECOND * u32::try_from(seconds).unwrap_or(0),
        }
    }

    /// The receiver works again; everything is told in the end.
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
}

proptest! {
    #[test]
    fn every_row_is_heard_or_given_up_in_order_and_ids_never_lie(events in vec(event(), 1..120)) {
        let mut world = World::default();
        for event in events {
            world.step(event);
        }
        world.settle();
        prop_assert!(world.queue.is_empty() && world.store.is_empty(), "{:?}", world.queue);
        let heard: BTreeSet<u64> = world.heard.iter().map(|row| row.seq).collect();
        let dead: BTreeSet<u64> = world.dead.iter().map(|row| row.seq).collect();
        prop_assert_eq!(heard.union(&dead).count() as u64, world.next_seq, "every row was heard or given up");
        for incident in world.told.keys() {
            let of: Vec<&Row> = world.heard.iter().filter(|row| row.incident == *incident).collect();
            prop_assert!(of.is_sorted_by_key(|row| row.seq), "in order: {:?}", of);
            let began = of.iter().any(|row| row.tells != Tells::End);
            let ended = of.iter().any(|row| row.tells == Tells::End);
            prop_assert!(began || !ended, "an end of what never began: {:?}", of);
        }
    }

    #[test]
    fn nobody_waits_for_another_incident(stuck in 0..5_u64, rows in vec((0..5_u64, 0..2_u64), 1..20)) {
        let mut queue = Queue::default();
        queue.push(row(1, stuck, Tells::Begin, "stuck", Duration::ZERO));
        let Some(Next::Send(_hanging)) = queue.take(Duration::ZERO) else { panic!("it is due") };
        for (index, (incident, group)) in rows.iter().enumerate() {
            queue.push(row(index as u64 + 2, *incident, Tells::Change, &group.to_string(), Duration::ZERO));
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
