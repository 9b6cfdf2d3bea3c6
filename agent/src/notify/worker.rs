//! The task of one receiver: takes the next rows, stores the claim, sends the message, and stores the result.

use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;
use std::time::Duration;

use parking_lot::Mutex;
use pharos_model::error_chain::chain;
use pharos_model::notification::Delivery;
use pharos_model::outbox::{Batch, NewRow, Next, Queue, Row, Settlement};
use serde_json::Value;
use tokio::sync::{mpsc, oneshot};
use tokio::task::{Id, JoinError, JoinSet};
use tokio::time::sleep;
use tokio_util::sync::CancellationToken;
use tracing::{error, info, warn};

use super::deliver::DeliveryContext;
use super::message::compose;
use super::standing::Standing;
use crate::config::notify::ReceiverConfig;
use crate::store::{Claim, OutboxRow, OutboxTurn, UnreportedIncident};

/// Messages on their way at once. A receiver that just failed gets one at a time.
const UNDER_WAY_MAX: usize = 16;
/// Settlements that wait for a store that fails. Beyond this bound a restart sends the newest messages again.
const UNSTORED_MAX: usize = 10_000;
/// The pause between two checks whether a missing notifier is loaded.
const NOTIFIER_PAUSE: Duration = Duration::from_millis(50);
/// The longest wait for messages on their way at the end of the agent. It is shorter than the whole drain.
const FLUSH_MAX: Duration = Duration::from_secs(5);

/// A request to a receiver task.
pub(super) enum WorkerRequest {
    /// A new row with its number. The store has it already.
    New(u64, Box<NewRow>),
    /// A row that was given up and is retried, as the store has it.
    Again(Box<OutboxRow>),
    /// Gives up rows with these numbers, or all. The answer is their count.
    Drop(Option<Vec<u64>>, oneshot::Sender<usize>),
}

pub(super) struct Worker {
    name: String,
    plugin: Arc<str>,
    settings: Arc<Value>,
    context: DeliveryContext,
    standing: Arc<Standing>,
    stop: CancellationToken,
    inbox: Arc<Mutex<Vec<WorkerRequest>>>,
    queue: Queue,
    /// The rows in the queue, with the time of their making in milliseconds since 1970.
    contents: BTreeMap<u64, (NewRow, u64)>,
    under_way: JoinSet<Delivery>,
    sent: HashMap<Id, Batch>,
    /// Results that the store does not have yet.
    settled: Vec<Settlement>,
    /// The number of messages that may be on their way now.
    width: usize,
}

impl Worker {
    pub(super) fn new(config: &ReceiverConfig, context: DeliveryContext, standing: Arc<Standing>, stop: CancellationToken) -> Self {
        Self {
            name: config.name.clone(),
            plugin: config.plugin.as_str().into(),
            settings: Arc::new(serde_json::to_value(&config.settings).unwrap_or_default()),
            context,
            standing,
            stop,
            inbox: Arc::default(),
            queue: Queue::default(),
            contents: BTreeMap::new(),
            under_way: JoinSet::new(),
            sent: HashMap::new(),
            settled: Vec::new(),
            width: 1,
        }
    }

    /// The inbox, which the handle fills.
    pub(super) fn inbox(&self) -> Arc<Mutex<Vec<WorkerRequest>>> {
        Arc::clone(&self.inbox)
    }

    /// Takes over the rows of the previous agent. A message that was on its way may have arrived, and is sent again at once.
    pub(super) fn restore(&mut self, rows: Vec<OutboxRow>, unreported: &[UnreportedIncident]) {
        let now = self.context.clock.now();
        for UnreportedIncident { fingerprint, incident, .. } in unreported {
            self.queue.record_lost_beginning(*fingerprint, *incident);
        }
        self.standing.queued(rows.len());
        for row in rows {
            let wait = row.left_to_wait(now.wall_ms);
            self.queue.push(Row {
                attempts: row.attempts,
                waited: Duration::from_millis(row.waited_ms),
                message: row.message,
                ..row.made.queued(row.seq, now.monotonic + wait)
            });
            self.contents.insert(row.seq, (row.made, row.created_at_ms));
        }
        self.show_oldest();
    }

    /// Delivers until the handle is dropped and every due row has gone out, or until the end of the agent waits no longer.
    pub(super) async fn run(mut self, mut woken: mpsc::Receiver<()>) {
        let stop = self.stop.clone();
        let flushed = async {
            stop.cancelled().await;
            sleep(FLUSH_MAX).await;
        };
        tokio::select! {
            () = self.deliver_all(&mut woken) => {}
            () = flushed => {}
        }
        self.under_way.abort_all();
        self.store(Vec::new()).await;
        let left = self.queue.len();
        if left > 0 {
            warn!(receiver = self.name, left, "{left} notifications to `{}` stay stored until the next start", self.name);
        }
    }

    async fn deliver_all(&mut self, woken: &mut mpsc::Receiver<()>) {
        let mut open = true;
        loop {
            self.handle_requests();
            let serves = self.queue.is_empty() || self.context.notifiers.serves(&self.plugin);
            if serves {
                self.send_due().await;
            } else {
                self.standing.failed(&format!("no notifier plugin `{}` serves", self.plugin));
            }
            let due = self.queue.next_due().map(|due| due.saturating_sub(self.context.clock.monotonic()));
            let due = if serves { due } else { Some(NOTIFIER_PAUSE) };
            let waits = due.is_some_and(|due| due.is_zero()) && self.under_way.len() < self.width;
            if !open && self.under_way.is_empty() && !waits {
                return;
            }
            tokio::select! {
                token = woken.recv(), if open => open = token.is_some(),
                Some(ended) = self.under_way.join_next_with_id() => {
                    self.ended(ended);
                    // Other messages that have ended meanwhile are stored in the same step.
                    while let Some(ended) = self.under_way.try_join_next_with_id() {
                        self.ended(ended);
                    }
                }
                () = sleep(due.unwrap_or_default()), if due.is_some() && self.under_way.len() < self.width => {}
            }
        }
    }

    fn handle_requests(&mut self) {
        let requests = std::mem::take(&mut *self.inbox.lock());
        let now = self.context.clock.now();
        for request in requests {
            match request {
                WorkerRequest::New(seq, new) => {
                    self.queue.push(new.queued(seq, now.monotonic));
                    self.contents.insert(seq, (*new, now.wall_ms));
                }
                WorkerRequest::Again(row) => {
                    // A person who retries has reason to think that the receiver works again.
                    self.queue.revive();
                    let overtaken = self.queue.push_again(row.made.queued(row.seq, now.monotonic));
                    self.contents.insert(row.seq, (row.made, row.created_at_ms));
                    overtaken.into_iter().for_each(|settlement| self.record(settlement));
                }
                WorkerRequest::Drop(seqs, answer) => {
                    let settlement = self.queue.drop_rows(seqs.as_deref());
                    let _ = answer.send(settlement.as_ref().map_or(0, |settlement| settlement.seqs().len()));
                    settlement.into_iter().for_each(|settlement| self.record(settlement));
                }
            }
        }
        self.show_oldest();
    }

    /// Stores the claim of the due rows, and then sends them.
    async fn send_due(&mut self) {
        let now = self.context.clock.monotonic();
        let mut batches = Vec::new();
        while self.under_way.len() + batches.len() < self.width {
            match self.queue.take(now) {
                None => break,
                Some(Next::Send(batch)) => batches.push(batch),
                Some(Next::Settle(settlement)) => self.record(settlement),
            }
        }
        if batches.is_empty() && self.settled.is_empty() {
            return;
        }
        let claims = batches.iter().map(|batch| Claim { message: batch.id.clone(), seqs: batch.seqs.clone() }).collect();
        self.store(claims).await;
        for batch in batches {
            self.send(batch);
        }
        self.standing.breaker(self.queue.gate());
    }

    fn send(&mut self, batch: Batch) {
        let rows: Vec<&NewRow> = batch.seqs.iter().filter_map(|seq| self.contents.get(seq)).map(|(row, _)| row).collect();
        let message = compose(&batch, &rows, &self.name, &self.context.signature);
        let (notifiers, plugin, settings) = (Arc::clone(&self.context.notifiers), Arc::clone(&self.plugin), Arc::clone(&self.settings));
        let task = self.under_way.spawn(async move { notifiers.deliver(&plugin, &settings, &message).await });
        self.sent.insert(task.id(), batch);
    }

    fn ended(&mut self, ended: Result<(Id, Delivery), JoinError>) {
        let (id, delivery) = match ended {
            Ok(ended) => ended,
            // The task panicked while it sent the message, so the message may have arrived.
            Err(err) => (err.id(), Delivery::Ambiguous(format!("sending it failed: {err}"))),
        };
        let Some(batch) = self.sent.remove(&id) else { return };
        self.width = match delivery {
            Delivery::Accepted | Delivery::Partial(_) => (self.width * 2).min(UNDER_WAY_MAX),
            _ => 1,
        };
        let settlement = self.queue.settle(&batch, delivery, self.context.clock.monotonic(), fastrand::f64());
        self.report(&batch, &settlement);
        self.record(settlement);
        self.standing.breaker(self.queue.gate());
    }

    /// Reports the result of a message in the log, the metrics and the status.
    fn report(&self, batch: &Batch, settlement: &Settlement) {
        let (receiver, id, attempt, metrics) = (self.name.as_str(), batch.id.as_str(), batch.attempt, &self.context.metrics);
        match settlement {
            Settlement::Delivered { seqs, note } => {
                self.standing.reached();
                metrics.add("pharos_notifications_total", &[receiver], 1.0);
                let now_ms = self.context.clock.wall_ms();
                let waited = |seq| self.contents.get(seq).map_or(0, |(_, made_at_ms)| now_ms.saturating_sub(*made_at_ms));
                let longest_ms = seqs.iter().map(waited).max().unwrap_or(0);
                metrics.add("pharos_notifications_wait_seconds_total", &[receiver], longest_ms as f64 / 1_000.0);
                match note {
                    None => info!(receiver, id, attempt, "`{receiver}` accepted a notification"),
                    Some(note) => {
                        metrics.add("pharos_notifications_failed_total", &[receiver, "partial"], 1.0);
                        warn!(receiver, id, attempt, "`{receiver}` accepted a notification, but not for all: {note}");
                    }
                }
            }
            Settlement::Waiting { pause, reason, why, .. } => {
                let reason = reason.as_str();
                self.standing.failed(why);
                metrics.add("pharos_notifications_failed_total", &[receiver, reason], 1.0);
                warn!(receiver, id, attempt, reason, "`{receiver}` was not reached, trying again in {pause:.1?}: {why}");
            }
            Settlement::Dead { reason, why, .. } => {
                let reason = reason.as_str();
                self.standing.failed(why);
                error!(receiver, id, attempt, reason, "giving up a notification to `{receiver}`: {why}");
            }
        }
    }

    /// Retains a settlement until it is stored. Rows that are settled for good leave the queue.
    fn record(&mut self, settlement: Settlement) {
        match &settlement {
            Settlement::Waiting { .. } => {}
            Settlement::Delivered { seqs, .. } => self.remove(seqs),
            Settlement::Dead { seqs, reason, .. } => {
                self.context.metrics.add("pharos_notifications_dropped_total", &[&self.name, reason.as_str()], seqs.len() as f64);
                if reason.is_loss() {
                    self.standing.gave_up(seqs.len());
                }
                self.remove(seqs);
            }
        }
        if self.settled.len() < UNSTORED_MAX {
            self.settled.push(settlement);
        }
    }

    fn remove(&mut self, seqs: &[u64]) {
        for seq in seqs {
            self.contents.remove(seq);
        }
        self.standing.settled(seqs.len());
        self.show_oldest();
    }

    fn show_oldest(&self) {
        self.standing.oldest(self.contents.first_key_value().map(|(_, (_, made_at_ms))| *made_at_ms));
    }

    /// Stores claims and settlements in one step. Delivery goes on while the store fails; a crash would then send messages twice.
    async fn store(&mut self, claims: Vec<Claim>) {
        let turn = OutboxTurn { settled: self.settled.clone(), claims, now_ms: self.context.clock.wall_ms() };
        if turn.is_empty() {
            return;
        }
        match self.context.store.outbox_turn(turn).await {
            Ok(()) => self.settled.clear(),
            Err(err) => error!(receiver = self.name, error = chain(&err), "deliveries could not be stored; they go on"),
        }
    }
}
