//! Requests of people to the pipeline: silences, acknowledgements, explanations, and notifications to send again.
//!
//! A change is stored before its answer is sent. If it cannot be stored, the answer is an error and nothing has changed.

use pharos_model::alert::{Alert, Fingerprint};
use pharos_model::audit::AuditEntry;
use pharos_model::dispatch::{AcknowledgeError, Dispatcher, Silence, SilenceError, Trace};
use pharos_model::event::{Event, EventDetail};
use tokio::sync::{mpsc, oneshot};

use super::Pipeline;
use super::records::Act;
use crate::store::{AlertChanges, OutboxRow, Store, StoreError, Wanted};

/// Most requests that wait for the pipeline. More people do not ask at the same time.
const QUEUED_ORDERS_MAX: usize = 64;
/// Most events, and most notifications, in one explanation.
const EXPLAINED_MAX: u32 = 200;

/// Request, with the channel for its answer.
pub enum Order {
    Silences(oneshot::Sender<Vec<Silence>>),
    Silence(Box<Silence>, String, oneshot::Sender<Result<Silence, DeskError>>),
    ExpireSilence(String, String, oneshot::Sender<Result<Silence, DeskError>>),
    Acknowledge(Fingerprint, Words, oneshot::Sender<Result<(), DeskError>>),
    Unacknowledge(Fingerprint, String, oneshot::Sender<Result<(), DeskError>>),
    /// The second value is the last state of an alert that has ended.
    Explain(Fingerprint, Option<Box<Alert>>, oneshot::Sender<Option<(Alert, Trace)>>),
    Retry(Wanted, String, oneshot::Sender<Result<Vec<u64>, DeskError>>),
    Drop(Wanted, String, oneshot::Sender<Result<usize, DeskError>>),
}

/// Author and reason of a request.
#[derive(Debug, Clone)]
pub struct Words {
    /// Name of the visitor's token, for the audit log.
    pub actor: String,
    /// Author as the visitor gives it.
    pub author: String,
    /// Reason as the visitor gives it.
    pub comment: String,
}

/// All stored and present facts about one alert.
#[derive(Debug)]
pub struct Explanation {
    /// The alert now, or at its end.
    pub alert: Alert,
    /// All decisions about the alert.
    pub trace: Trace,
    /// Transitions and withheld notifications, newest first.
    pub history: Vec<Event>,
    /// Notifications about the alert, oldest first.
    pub notifications: Vec<OutboxRow>,
}

/// Why a request failed.
#[derive(Debug, thiserror::Error)]
pub enum DeskError {
    #[error(transparent)]
    Silence(#[from] SilenceError),
    #[error(transparent)]
    Acknowledge(#[from] AcknowledgeError),
    #[error("no alert with the fingerprint {0} is known")]
    Unknown(Fingerprint),
    #[error(transparent)]
    Store(#[from] StoreError),
    #[error("the agent is stopping")]
    Closed,
}

/// Sender of requests to the pipeline; cheap to clone.
#[derive(Debug, Clone)]
pub struct Desk {
    orders: mpsc::Sender<Order>,
}

impl Desk {
    /// Opens a desk; the pipeline receives its requests.
    pub fn open() -> (Self, mpsc::Receiver<Order>) {
        let (orders, queue) = mpsc::channel(QUEUED_ORDERS_MAX);
        (Self { orders }, queue)
    }

    async fn ask<T>(&self, order: impl FnOnce(oneshot::Sender<T>) -> Order) -> Result<T, DeskError> {
        let (answer, answered) = oneshot::channel();
        self.orders.send(order(answer)).await.map_err(|_| DeskError::Closed)?;
        answered.await.map_err(|_| DeskError::Closed)
    }

    /// Returns every silence, expired ones included.
    pub async fn silences(&self) -> Result<Vec<Silence>, DeskError> {
        self.ask(Order::Silences).await
    }

    /// Adds or replaces a silence. `who` is the name of the visitor's token.
    pub async fn silence(&self, silence: Silence, who: &str) -> Result<Silence, DeskError> {
        self.ask(|answer| Order::Silence(Box::new(silence), who.to_owned(), answer)).await?
    }

    /// Ends a silence now. `who` is the name of the visitor's token.
    pub async fn expire_silence(&self, id: &str, who: &str) -> Result<Silence, DeskError> {
        self.ask(|answer| Order::ExpireSilence(id.to_owned(), who.to_owned(), answer)).await?
    }

    /// Acknowledges the open incident of an alert.
    pub async fn acknowledge(&self, fingerprint: Fingerprint, words: Words) -> Result<(), DeskError> {
        self.ask(|answer| Order::Acknowledge(fingerprint, words, answer)).await?
    }

    /// Removes the acknowledgement of an alert. `who` is the name of the visitor's token.
    pub async fn unacknowledge(&self, fingerprint: Fingerprint, who: &str) -> Result<(), DeskError> {
        self.ask(|answer| Order::Unacknowledge(fingerprint, who.to_owned(), answer)).await?
    }

    /// Explains an alert. The store is read here, so that a visitor's request never delays the pipeline.
    pub async fn explain(&self, fingerprint: Fingerprint, store: &Store) -> Result<Explanation, DeskError> {
        let open = self.ask(|answer| Order::Explain(fingerprint, None, answer)).await?;
        // The history is read after the alert, so that an alert that ends meanwhile is never shown in an earlier state.
        let history = store.alert_history(fingerprint.to_string(), EXPLAINED_MAX).await?;
        let last = || {
            history.iter().find_map(|event| match &event.detail {
                EventDetail::Alert(transition) => Some(transition.alert.clone()),
                _ => None,
            })
        };
        let explained = match open {
            Some(open) => Some(open),
            None => self.ask(|answer| Order::Explain(fingerprint, last().map(Box::new), answer)).await?,
        };
        let (alert, trace) = explained.ok_or(DeskError::Unknown(fingerprint))?;
        let notifications = store.outbox_of(fingerprint.to_string(), EXPLAINED_MAX).await?;
        Ok(Explanation { alert, trace, history, notifications })
    }

    /// Sends notifications again, and returns their numbers.
    pub async fn retry(&self, wanted: Wanted, who: &str) -> Result<Vec<u64>, DeskError> {
        self.ask(|answer| Order::Retry(wanted, who.to_owned(), answer)).await?
    }

    /// Drops notifications, and returns how many.
    pub async fn drop_rows(&self, wanted: Wanted, who: &str) -> Result<usize, DeskError> {
        self.ask(|answer| Order::Drop(wanted, who.to_owned(), answer)).await?
    }
}

impl Pipeline {
    /// Handles one request, even if the sender does not wait for the answer any more.
    pub(super) async fn on_order(&mut self, order: Order) {
        match order {
            Order::Silences(answer) => drop(answer.send(self.dispatcher.silences().cloned().collect())),
            Order::Silence(silence, who, answer) => drop(answer.send(self.silence(*silence, &who).await)),
            Order::ExpireSilence(id, who, answer) => drop(answer.send(self.expire_silence(&id, &who).await)),
            Order::Acknowledge(fingerprint, words, answer) => drop(answer.send(self.acknowledge(fingerprint, words).await)),
            Order::Unacknowledge(fingerprint, who, answer) => drop(answer.send(self.unacknowledge(fingerprint, &who).await)),
            Order::Explain(fingerprint, last, answer) => drop(answer.send(self.explain(fingerprint, last))),
            Order::Retry(wanted, who, answer) => drop(answer.send(self.retry(wanted, &who).await)),
            Order::Drop(wanted, who, answer) => drop(answer.send(self.drop_rows(wanted, &who).await)),
        }
    }

    async fn silence(&mut self, silence: Silence, who: &str) -> Result<Silence, DeskError> {
        let before = self.dispatcher.clone();
        self.dispatcher.silence(silence.clone(), self.clock.now())?;
        self.commit(before, self.act(who).silence_added(&silence)).await?;
        Ok(silence)
    }

    async fn expire_silence(&mut self, id: &str, who: &str) -> Result<Silence, DeskError> {
        let before = self.dispatcher.clone();
        let silence = self.dispatcher.expire_silence(id, self.clock.now())?;
        self.commit(before, self.act(who).silence_expired(&silence)).await?;
        Ok(silence)
    }

    async fn acknowledge(&mut self, fingerprint: Fingerprint, words: Words) -> Result<(), DeskError> {
        let before = self.dispatcher.clone();
        self.dispatcher.acknowledge(fingerprint, &words.author, &words.comment, self.clock.now())?;
        let entry = self.act(&words.actor).acknowledged(fingerprint, &words);
        self.commit(before, entry).await
    }

    async fn unacknowledge(&mut self, fingerprint: Fingerprint, who: &str) -> Result<(), DeskError> {
        let before = self.dispatcher.clone();
        self.dispatcher.unacknowledge(fingerprint)?;
        self.commit(before, self.act(who).unacknowledged(fingerprint)).await
    }

    /// Stores a request. If that fails, the dispatcher returns to its state before. Then sends the resulting notifications.
    async fn commit(&mut self, before: Dispatcher, entry: AuditEntry) -> Result<(), DeskError> {
        let changes = self.dispatcher.take_changes();
        let next_incident = self.alerts.next_incident();
        let now_ms = self.clock.wall_ms();
        let words = AlertChanges { dispatch: changes, audit: vec![entry], now_ms, next_incident, ..AlertChanges::default() };
        if let Err(err) = self.store.save_words(words).await {
            self.dispatcher = before;
            return Err(err.into());
        }
        self.settle(Vec::new()).await;
        Ok(())
    }

    fn act<'a>(&self, actor: &'a str) -> Act<'a> {
        Act { actor, at_ms: self.clock.wall_ms() }
    }

    fn explain(&self, fingerprint: Fingerprint, last: Option<Box<Alert>>) -> Option<(Alert, Trace)> {
        let open = self.alerts.alerts().find(|alert| alert.fingerprint == fingerprint).cloned();
        let alert = open.or(last.map(|last| *last))?;
        let trace = self.dispatcher.explain(&alert, self.clock.now());
        Some((alert, trace))
    }

    async fn retry(&mut self, wanted: Wanted, who: &str) -> Result<Vec<u64>, DeskError> {
        let seqs = self.notify.retry(wanted).await?;
        self.store.record_audit(self.act(who).retried(&seqs)).await?;
        Ok(seqs)
    }

    async fn drop_rows(&mut self, wanted: Wanted, who: &str) -> Result<usize, DeskError> {
        let dropped = self.notify.drop_rows(wanted.clone()).await?;
        self.store.record_audit(self.act(who).dropped(wanted, dropped)).await?;
        Ok(dropped)
    }
}
