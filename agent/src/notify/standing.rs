//! The standing of one receiver: its queue and the reason of its latest failure.

use std::sync::Arc;

use parking_lot::Mutex;
use pharos_model::agent_part::AgentPart;
use pharos_model::outbox::GateState;

use crate::board::{Board, PartHealth, ReceiverStatus};
use crate::telemetry::metrics::SelfMetrics;

/// The standing of a receiver. Each change is published on the board and in the metrics.
pub(super) struct Standing {
    receiver: String,
    part: AgentPart,
    board: Arc<Board>,
    metrics: Arc<SelfMetrics>,
    present: Mutex<Present>,
}

#[derive(Default)]
struct Present {
    /// Notifications that are not delivered yet, those on their way included.
    waiting: usize,
    /// Notifications that were given up.
    dead: usize,
    breaker: GateState,
    /// The reason of the latest failure. `None` after a success.
    failure: Option<String>,
}

impl Standing {
    pub(super) fn new(receiver: &str, board: Arc<Board>, metrics: Arc<SelfMetrics>) -> Self {
        let standing = Self {
            receiver: receiver.to_owned(),
            part: AgentPart::Receiver(receiver.to_owned()),
            board,
            metrics,
            present: Mutex::default(),
        };
        standing.change(|_| {});
        standing.gave_up(0);
        standing.breaker(GateState::Closed);
        standing
    }

    /// The part of the agent that is this receiver.
    pub(super) fn part(&self) -> &AgentPart {
        &self.part
    }

    pub(super) fn waiting(&self) -> usize {
        self.present.lock().waiting
    }

    /// Counts notifications that came into the queue.
    pub(super) fn queued(&self, count: usize) {
        self.change(|present| present.waiting += count);
    }

    /// Counts notifications that were delivered or given up.
    pub(super) fn settled(&self, count: usize) {
        self.change(|present| present.waiting = present.waiting.saturating_sub(count));
    }

    /// Counts notifications that were given up. The counter begins at 0, so that the first one is an increase.
    pub(super) fn gave_up(&self, count: usize) {
        self.metrics.add("pharos_notifications_dead_total", &[&self.receiver], count as f64);
        self.change(|present| present.dead += count);
    }

    /// Publishes the wall time, in milliseconds since 1970, of the notification that waits longest.
    pub(super) fn oldest(&self, made_at_ms: Option<u64>) {
        let (metric, labels) = ("pharos_notifications_oldest_timestamp_seconds", [self.receiver.as_str()]);
        match made_at_ms {
            Some(made_at_ms) => self.metrics.set(metric, &labels, made_at_ms as f64 / 1_000.0),
            None => self.metrics.remove(metric, &labels),
        }
    }

    pub(super) fn reached(&self) {
        self.change(|present| present.failure = None);
    }

    pub(super) fn failed(&self, why: &str) {
        self.change(|present| present.failure = Some(why.to_owned()));
    }

    pub(super) fn breaker(&self, state: GateState) {
        for known in GateState::ALL {
            let value = f64::from(u8::from(state == known));
            self.metrics.set("pharos_receiver_breaker_state", &[&self.receiver, known.as_str()], value);
        }
        self.change(|present| present.breaker = state);
    }

    fn change(&self, change: impl FnOnce(&mut Present)) {
        let mut present = self.present.lock();
        change(&mut present);
        self.metrics.set("pharos_notifications_pending", &[&self.receiver], present.waiting as f64);
        let Present { breaker, waiting, dead, .. } = *present;
        self.board.show_receiver(&self.receiver, ReceiverStatus { breaker, waiting, dead });
        match &present.failure {
            None => self.board.set(self.part.clone(), PartHealth::Ok, None),
            Some(why) => {
                let cause = format!("{why} ({} waiting)", present.waiting);
                self.board.set(self.part.clone(), PartHealth::Degraded, Some(cause));
            }
        }
    }
}
