//! Requests of people to the pipeline: silences, acknowledgements, explanations, and notifications to send again.
//!
//! A change is stored before its answer is sent. If it cannot be stored, the answer is an error and nothing has changed.

use pharos_model::alert::{Alert, Fingerprint};
use pharos_model::dispatch::{AcknowledgeError, Silence, SilenceError, Trace};
use pharos_model::event::{Event, EventDetail};
use tokio::sync::{mpsc, oneshot};

use crate::request::{self, Closed};
use crate::store::{OutboxRow, RowFilter, Store, StoreError};

/// Most requests that wait for the pipeline. More people do not ask at the same time.
const QUEUED_ORDERS_MAX: usize = 64;
/// Most events, and most notifications, in one explanation.
const EXPLAINED_MAX: u32 = 200;

/// Request, with the channel for its answer.
pub(crate) enum Order {
    Silences(oneshot::Sender<Vec<Silence>>),
    Silence(Box<Silence>, String, oneshot::Sender<Result<Silence, DeskError>>),
    ExpireSilence(String, String, oneshot::Sender<Result<Silence, DeskError>>),
    Acknowledge(Fingerprint, SignedComment, oneshot::Sender<Result<(), DeskError>>),
    Unacknowledge(Fingerprint, String, oneshot::Sender<Result<(), DeskError>>),
    /// The second value is the last state of an alert that has ended.
    Explain(Fingerprint, Option<Box<Alert>>, oneshot::Sender<Option<(Alert, Trace)>>),
    Retry(RowFilter, String, oneshot::Sender<Result<Vec<u64>, DeskError>>),
    Drop(RowFilter, String, oneshot::Sender<Result<usize, DeskError>>),
}

/// Comment of a person, with its author.
#[derive(Debug, Clone)]
pub(crate) struct SignedComment {
    /// Name of the caller's token, for the audit log.
    pub actor: String,
    /// Author as the caller gives it.
    pub author: String,
    /// Reason as the caller gives it.
    pub comment: String,
}

/// All stored and present facts about one alert.
#[derive(Debug)]
pub(crate) struct Explanation {
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
pub(crate) enum DeskError {
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
pub(crate) struct Desk {
    orders: mpsc::Sender<Order>,
}

impl Desk {
    /// Opens a desk; the pipeline receives its requests.
    pub(crate) fn open() -> (Self, mpsc::Receiver<Order>) {
        let (orders, queue) = mpsc::channel(QUEUED_ORDERS_MAX);
        (Self { orders }, queue)
    }

    async fn send<T>(&self, order: impl FnOnce(oneshot::Sender<T>) -> Order) -> Result<T, DeskError> {
        request::ask(&self.orders, order).await.map_err(|Closed| DeskError::Closed)
    }

    /// Returns every silence, expired ones included.
    pub(crate) async fn silences(&self) -> Result<Vec<Silence>, DeskError> {
        self.send(Order::Silences).await
    }

    /// Adds or replaces a silence. `who` is the name of the caller's token.
    pub(crate) async fn silence(&self, silence: Silence, who: &str) -> Result<Silence, DeskError> {
        self.send(|answer| Order::Silence(Box::new(silence), who.to_owned(), answer)).await?
    }

    /// Ends a silence now. `who` is the name of the caller's token.
    pub(crate) async fn expire_silence(&self, id: &str, who: &str) -> Result<Silence, DeskError> {
        self.send(|answer| Order::ExpireSilence(id.to_owned(), who.to_owned(), answer)).await?
    }

    /// Acknowledges the open incident of an alert.
    pub(crate) async fn acknowledge(&self, fingerprint: Fingerprint, comment: SignedComment) -> Result<(), DeskError> {
        self.send(|answer| Order::Acknowledge(fingerprint, comment, answer)).await?
    }

    /// Removes the acknowledgement of an alert. `who` is the name of the caller's token.
    pub(crate) async fn unacknowledge(&self, fingerprint: Fingerprint, who: &str) -> Result<(), DeskError> {
        self.send(|answer| Order::Unacknowledge(fingerprint, who.to_owned(), answer)).await?
    }

    /// Explains an alert. The store is read here, so that a caller's request never delays the pipeline.
    pub(crate) async fn explain(&self, fingerprint: Fingerprint, store: &Store) -> Result<Explanation, DeskError> {
        let open = self.send(|answer| Order::Explain(fingerprint, None, answer)).await?;
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
            None => self.send(|answer| Order::Explain(fingerprint, last().map(Box::new), answer)).await?,
        };
        let (alert, trace) = explained.ok_or(DeskError::Unknown(fingerprint))?;
        let notifications = store.outbox_of(fingerprint.to_string(), EXPLAINED_MAX).await?;
        Ok(Explanation { alert, trace, history, notifications })
    }

    /// Sends notifications again, and returns their numbers.
    pub(crate) async fn retry(&self, wanted: RowFilter, who: &str) -> Result<Vec<u64>, DeskError> {
        self.send(|answer| Order::Retry(wanted, who.to_owned(), answer)).await?
    }

    /// Drops notifications, and returns how many.
    pub(crate) async fn drop_rows(&self, wanted: RowFilter, who: &str) -> Result<usize, DeskError> {
        self.send(|answer| Order::Drop(wanted, who.to_owned(), answer)).await?
    }
}
