//! How one receiver is: what waits for it, and why the last try failed.

use std::sync::{Arc, Mutex, PoisonError};

use crate::board::{Board, PartHealth};
use crate::telemetry::metrics::SelfMetrics;

/// Shown on the board and in the metrics after each change.
pub struct Standing {
    receiver: String,
    part: String,
    board: Arc<Board>,
    metrics: Arc<SelfMetrics>,
    present: Mutex<Present>,
}

#[derive(Default)]
struct Present {
    /// Messages not delivered yet, with the one that is being tried.
    waiting: usize,
    /// Why the latest try failed, until one succeeds.
    failure: Option<String>,
}

impl Standing {
    pub fn new(receiver: &str, board: Arc<Board>, metrics: Arc<SelfMetrics>) -> Self {
        let standing =
            Self { receiver: receiver.to_owned(), part: format!("receiver {receiver}"), board, metrics, present: Mutex::default() };
        standing.change(|_| {});
        standing
    }

    /// The receiver's name among the parts of the agent.
    pub fn part(&self) -> &str {
        &self.part
    }

    /// A message was put into the queue.
    pub fn queued(&self) {
        self.change(|present| present.waiting += 1);
    }

    /// A message was delivered or given up.
    pub fn settled(&self) {
        self.change(|present| present.waiting -= 1);
    }

    pub fn reached(&self) {
        self.change(|present| present.failure = None);
    }

    pub fn failed(&self, why: &str) {
        self.change(|present| present.failure = Some(why.to_owned()));
    }

    fn change(&self, change: impl FnOnce(&mut Present)) {
        let mut present = self.present.lock().unwrap_or_else(PoisonError::into_inner);
        change(&mut present);
        self.metrics.set("pharos_notifications_pending", &[&self.receiver], present.waiting as f64);
        match &present.failure {
            None => self.board.set(&self.part, PartHealth::Ok, None),
            Some(why) => {
                let cause = format!("{why} ({} waiting)", present.waiting);
                self.board.set(&self.part, PartHealth::Degraded, Some(cause));
            }
        }
    }
}
