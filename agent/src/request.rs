//! Requests to a task that owns its state: one message to the task, one answer from it.

use tokio::sync::{mpsc, oneshot};

/// The task has ended, so no answer will come.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Closed;

/// Sends a request with a channel for its answer, and waits for the answer. It also waits while the queue is full.
pub(crate) async fn ask<Request, Answer>(
    requests: &mpsc::Sender<Request>,
    request: impl FnOnce(oneshot::Sender<Answer>) -> Request,
) -> Result<Answer, Closed> {
    let (answer, answered) = oneshot::channel();
    requests.send(request(answer)).await.map_err(|_| Closed)?;
    answered.await.map_err(|_| Closed)
}
