//! The queue of one receiver: rows that are not delivered yet, ordered by what may be sent next.

use std::collections::{BTreeSet, HashMap, HashSet};
use std::time::Duration;

use sha2::{Digest, Sha256};

use super::backoff;
use super::backoff::Patience;
use super::gate::{Gate, GateState};
use super::row::{IncidentPart, Row};
use crate::alert::Fingerprint;
use crate::notification::{Delivery, UndeliveredReason};
use crate::text::hex;

/// Most rows of one message. More rows of the group follow in the next message.
pub const ROWS_PER_MESSAGE_MAX: usize = 200;

type Incident = (Fingerprint, u64);

/// Rows that go out as one message.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Batch {
    /// Id of the message. The same rows always give the same id, and no other rows do.
    pub id: String,
    /// Numbers of the rows, in the order in which their changes happened.
    pub seqs: Vec<u64>,
    /// Number of the attempt, from 1.
    pub attempt: u32,
}

/// Next step for a receiver.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Next {
    /// A message to send.
    Send(Batch),
    /// Nothing is sent; this result is to be stored.
    Settle(Settlement),
}

/// Result of an attempt for the rows of a message.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Settlement {
    /// The receiver accepted the rows.
    Delivered {
        /// Numbers of the rows.
        seqs: Vec<u64>,
        /// Recipients that were refused, as text; `None` if all accepted.
        note: Option<String>,
    },
    /// The rows are tried again after `pause`.
    Waiting {
        /// Numbers of the rows.
        seqs: Vec<u64>,
        /// Number of failed attempts so far.
        attempts: u32,
        /// Time until the next attempt.
        pause: Duration,
        /// Id of the message to repeat unchanged, since it may have arrived.
        message: Option<String>,
        /// Reason as stored and counted.
        reason: UndeliveredReason,
        /// Reason for people.
        why: String,
    },
    /// The rows were given up. A person may have them sent again.
    Dead { seqs: Vec<u64>, reason: UndeliveredReason, why: String },
}

/// A failed attempt that is followed by another one.
struct Failure {
    reason: UndeliveredReason,
    why: String,
    pause: Duration,
    may_have_arrived: bool,
    patience: Patience,
}

impl Settlement {
    /// Numbers of the rows that the result is about.
    pub fn seqs(&self) -> &[u64] {
        match self {
            Self::Delivered { seqs, .. } | Self::Waiting { seqs, .. } | Self::Dead { seqs, .. } => seqs,
        }
    }
}

impl Failure {
    fn new(reason: UndeliveredReason, why: String, pause: Duration) -> Self {
        Self { reason, why, pause, may_have_arrived: false, patience: backoff::TOO_LATE }
    }
}

/// Queue of one receiver. Time is an argument: the same calls give the same order.
#[derive(Debug, Default)]
pub struct Queue {
    rows: HashMap<u64, Row>,
    /// Rows of each incident, oldest first. Only the first one may be sent.
    incidents: HashMap<Incident, BTreeSet<u64>>,
    /// The first row of each incident that is not being sent, by the time at which it is due.
    ready: BTreeSet<(Duration, u64)>,
    /// The rows of `ready`, by group key.
    groups: HashMap<String, BTreeSet<u64>>,
    /// Incidents whose beginning was given up, so that the receiver never got it.
    without_beginning: HashSet<Incident>,
    gate: Gate,
}

impl Queue {
    /// Adds a row.
    pub fn push(&mut self, row: Row) {
        let seq = row.seq;
        let rows = self.incidents.entry((row.fingerprint, row.incident)).or_default();
        let first = rows.first().copied();
        rows.insert(seq);
        self.rows.insert(seq, row);
        if first.is_none_or(|first| seq < first) {
            first.into_iter().for_each(|first| self.remove_ready(first));
            self.add_ready(seq);
        }
    }

    /// Adds a row that was given up and that a person wants sent again. If a younger row of its incident may arrive, the row stays given
    /// up: the receiver would get outdated news.
    pub fn push_again(&mut self, row: Row) -> Option<Settlement> {
        let younger = self.incidents.get(&(row.fingerprint, row.incident)).map(|rows| rows.range(row.seq..));
        let may_arrive = |seq: &u64| self.is_under_way(*seq) || self.rows.get(seq).is_some_and(|row| row.message.is_some());
        if younger.is_some_and(|mut younger| younger.any(may_arrive)) {
            let why = "a younger notification of the incident is on its way".to_owned();
            self.record_loss(&row);
            return Some(Settlement::Dead { seqs: vec![row.seq], reason: UndeliveredReason::Overtaken, why });
        }
        self.push(row);
        None
    }

    /// Records that an earlier process gave up the beginning of this incident.
    pub fn record_lost_beginning(&mut self, fingerprint: Fingerprint, incident: u64) {
        self.without_beginning.insert((fingerprint, incident));
    }

    /// Number of rows that are not settled, those being sent included.
    pub fn len(&self) -> usize {
        self.rows.len()
    }

    /// Returns true if no row is waiting or being sent.
    pub fn is_empty(&self) -> bool {
        self.rows.is_empty()
    }

    /// State of the circuit breaker.
    pub fn gate(&self) -> GateState {
        self.gate.state()
    }

    /// Closes the breaker, because a person expects the receiver to work again.
    pub fn revive(&mut self) {
        self.gate = Gate::default();
    }

    /// Gives up the rows with these numbers, or all rows. Rows of an incident that is being sent stay.
    pub fn drop_rows(&mut self, wanted: Option<&[u64]>) -> Option<Settlement> {
        let mut seqs: Vec<u64> = match wanted {
            Some(wanted) => wanted.iter().filter(|seq| self.rows.contains_key(seq)).copied().collect(),
            None => self.rows.keys().copied().collect(),
        };
        seqs.sort_unstable();
        seqs.retain(|seq| !self.is_under_way(*seq));
        if seqs.is_empty() {
            return None;
        }
        seqs.iter().for_each(|seq| self.remove_ready(*seq));
        Some(self.give_up(seqs, UndeliveredReason::Dropped, "a person dropped it".to_owned()))
    }

    /// Returns true if a row of the same incident is being sent: otherwise the incident's first row is ready.
    fn is_under_way(&self, seq: u64) -> bool {
        let Some(row) = self.rows.get(&seq) else { return false };
        let first = self.incidents.get(&(row.fingerprint, row.incident)).and_then(BTreeSet::first);
        let first = first.and_then(|first| self.rows.get(first));
        first.is_some_and(|first| !self.ready.contains(&(first.due, first.seq)))
    }

    /// Monotonic time at which to call [`take`](Self::take) next, if nothing else happens before; `None` if nothing is due.
    pub fn next_due(&self) -> Option<Duration> {
        let (due, _) = self.ready.first()?;
        Some(self.gate.opens_at()?.max(*due))
    }

    /// The next message to send, or a row to give up; `None` if nothing is due at `now`.
    pub fn take(&mut self, now: Duration) -> Option<Next> {
        if self.next_due()? > now {
            return None;
        }
        let (_, first) = *self.ready.first()?;
        let row = self.rows.get(&first)?.clone();
        if row.part == IncidentPart::End && self.without_beginning.contains(&(row.fingerprint, row.incident)) {
            self.remove_ready(first);
            let why = "the receiver did not get the message that it began".to_owned();
            return Some(Next::Settle(self.give_up(vec![first], UndeliveredReason::BeginningNotSent, why)));
        }
        let seqs = self.rows_for_message(&row, now);
        let attempt = seqs.iter().filter_map(|seq| self.rows.get(seq)).map(|row| row.attempts).max().unwrap_or(0) + 1;
        let id = row.message.unwrap_or_else(|| self.message_id(&seqs));
        seqs.iter().for_each(|seq| self.remove_ready(*seq));
        self.gate.sent();
        Some(Next::Send(Batch { id, seqs, attempt }))
    }

    /// Rows that are sent together with this row: those of its earlier message, or else those due in its group.
    fn rows_for_message(&self, row: &Row, now: Duration) -> Vec<u64> {
        let belongs = |other: &Row| match &row.message {
            Some(message) => other.message.as_ref() == Some(message),
            None => other.message.is_none() && other.due <= now,
        };
        let mut seqs = Vec::new();
        for first in self.groups.get(&row.group_key).into_iter().flatten() {
            let Some(head) = self.rows.get(first) else { continue };
            let incident = (head.fingerprint, head.incident);
            // Only the end of the incident is left, and it is not sent to this receiver.
            if head.part == IncidentPart::End && self.without_beginning.contains(&incident) {
                continue;
            }
            let of_incident = self.incidents.get(&incident).into_iter().flatten();
            let going = of_incident.map_while(|seq| self.rows.get(seq).filter(|row| belongs(row)).map(|row| row.seq));
            seqs.extend(going);
            if seqs.len() >= ROWS_PER_MESSAGE_MAX && row.message.is_none() {
                break;
            }
        }
        seqs.sort_unstable();
        seqs
    }

    /// Id of the message: the row's own id for one row, or else a digest of all ids.
    fn message_id(&self, seqs: &[u64]) -> String {
        let ids: Vec<&str> = seqs.iter().filter_map(|seq| self.rows.get(seq)).map(|row| row.id.as_str()).collect();
        if let [id] = ids[..] {
            return id.to_owned();
        }
        let digest = Sha256::digest(ids.join("\n"));
        format!("group-{}", hex(&digest[..12]))
    }

    /// Records the answer to a message. `chance` from 0 to 1 spreads the pauses.
    pub fn settle(&mut self, batch: &Batch, delivery: Delivery, now: Duration, chance: f64) -> Settlement {
        let seqs = batch.seqs.clone();
        match delivery {
            Delivery::Accepted => self.delivered(seqs, None, now),
            Delivery::Partial(refused) => {
                let refused: Vec<String> = refused.into_iter().map(|(index, why)| format!("recipient {index}: {why}")).collect();
                self.delivered(seqs, Some(refused.join("; ")), now)
            }
            Delivery::Retry { after: Some(after), why } => {
                let failure = Failure::new(UndeliveredReason::Throttled, why, backoff::pause(batch.attempt, Some(after), chance));
                self.gate.throttled(now + failure.pause);
                self.try_again(batch, failure, now)
            }
            Delivery::Retry { after: None, why } => {
                self.gate.failed(now, chance);
                self.try_again(batch, Failure::new(UndeliveredReason::Retry, why, backoff::pause(batch.attempt, None, chance)), now)
            }
            Delivery::Ambiguous(why) => {
                self.gate.failed(now, chance);
                let failure = Failure::new(UndeliveredReason::Ambiguous, why, backoff::pause(batch.attempt, None, chance));
                self.try_again(batch, Failure { may_have_arrived: true, ..failure }, now)
            }
            Delivery::Unavailable(why) => {
                self.gate.throttled(now + backoff::UNAVAILABLE_PAUSE);
                let untried = Batch { attempt: batch.attempt - 1, ..batch.clone() };
                self.try_again(&untried, Failure::new(UndeliveredReason::Unavailable, why, backoff::UNAVAILABLE_PAUSE), now)
            }
            Delivery::Unauthorised(why) => {
                // All messages of the receiver have the same credentials.
                self.gate.throttled(now + backoff::UNAUTHORISED_PAUSE);
                let failure = Failure::new(UndeliveredReason::Unauthorised, why, backoff::UNAUTHORISED_PAUSE);
                self.try_again(batch, Failure { patience: backoff::UNAUTHORISED, ..failure }, now)
            }
            Delivery::Gone(why) => {
                self.gate.gone();
                self.give_up(seqs, UndeliveredReason::Gone, why)
            }
            Delivery::Rejected { reason, why } => {
                // The receiver answered, so other messages may be sent.
                self.gate.accepted(now);
                self.give_up(seqs, reason, why)
            }
        }
    }

    fn delivered(&mut self, seqs: Vec<u64>, note: Option<String>, now: Duration) -> Settlement {
        for row in self.remove(&seqs) {
            self.without_beginning.remove(&(row.fingerprint, row.incident));
        }
        if self.gate.accepted(now) {
            self.make_retries_due(now);
        }
        Settlement::Delivered { seqs, note }
    }

    fn try_again(&mut self, batch: &Batch, failure: Failure, now: Duration) -> Settlement {
        let Failure { reason, why, pause, may_have_arrived, patience } = failure;
        let seqs = batch.seqs.clone();
        let mut waited = Duration::ZERO;
        // A message that may have arrived once is repeated unchanged, for every latest answer.
        let was_fixed = seqs.first().and_then(|seq| self.rows.get(seq)).is_some_and(|row| row.message.is_some());
        let message = (may_have_arrived || was_fixed).then(|| batch.id.clone());
        for seq in &seqs {
            if let Some(row) = self.rows.get_mut(seq) {
                waited = waited.max(row.waited);
                row.attempts = batch.attempt;
                row.waited += pause;
                row.due = now + pause;
                row.message.clone_from(&message);
            }
        }
        if waited >= patience.pauses_max {
            return self.give_up(seqs, patience.reason, why);
        }
        self.add_ready_first(&seqs);
        Settlement::Waiting { seqs, attempts: batch.attempt, pause, message, reason, why }
    }

    fn give_up(&mut self, seqs: Vec<u64>, reason: UndeliveredReason, why: String) -> Settlement {
        for row in self.remove(&seqs) {
            self.record_loss(&row);
        }
        Settlement::Dead { seqs, reason, why }
    }

    /// Records that a row is given up. Without its beginning, the end of an incident is not sent.
    fn record_loss(&mut self, row: &Row) {
        match row.part {
            IncidentPart::Begin => self.without_beginning.insert((row.fingerprint, row.incident)),
            IncidentPart::Change => false,
            IncidentPart::End => self.without_beginning.remove(&(row.fingerprint, row.incident)),
        };
    }

    /// Removes settled rows, and makes the next row of each incident ready.
    fn remove(&mut self, seqs: &[u64]) -> Vec<Row> {
        let mut removed = Vec::new();
        for seq in seqs {
            let Some(row) = self.rows.remove(seq) else { continue };
            let incident = (row.fingerprint, row.incident);
            if let Some(rows) = self.incidents.get_mut(&incident) {
                rows.remove(seq);
                if rows.is_empty() {
                    self.incidents.remove(&incident);
                }
            }
            removed.push(row);
        }
        for row in &removed {
            if let Some(next) = self.incidents.get(&(row.fingerprint, row.incident)).and_then(BTreeSet::first).copied() {
                self.add_ready(next);
            }
        }
        removed
    }

    /// Makes rows due that waited only for a failed receiver, which works again.
    fn make_retries_due(&mut self, now: Duration) {
        let late: Vec<(Duration, u64)> = self.ready.iter().filter(|(due, _)| *due > now).copied().collect();
        for (due, seq) in late {
            if let Some(row) = self.rows.get_mut(&seq).filter(|row| row.attempts > 0) {
                row.due = now;
                self.ready.remove(&(due, seq));
                self.ready.insert((now, seq));
            }
        }
    }

    fn add_ready_first(&mut self, seqs: &[u64]) {
        for seq in seqs {
            let Some(row) = self.rows.get(seq) else { continue };
            if self.incidents.get(&(row.fingerprint, row.incident)).and_then(BTreeSet::first) == Some(seq) {
                self.add_ready(*seq);
            }
        }
    }

    fn add_ready(&mut self, seq: u64) {
        if let Some(row) = self.rows.get(&seq) {
            self.ready.insert((row.due, seq));
            self.groups.entry(row.group_key.clone()).or_default().insert(seq);
        }
    }

    fn remove_ready(&mut self, seq: u64) {
        let Some(row) = self.rows.get(&seq) else { return };
        self.ready.remove(&(row.due, seq));
        if let Some(group) = self.groups.get_mut(&row.group_key) {
            group.remove(&seq);
            if group.is_empty() {
                self.groups.remove(&row.group_key);
            }
        }
    }
}
