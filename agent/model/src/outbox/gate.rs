//! Gate before one receiver, which permits all messages, a single one as a probe, or none.

use std::time::Duration;

use super::backoff;
use crate::breaker::{Breaker, BreakerSettings, BreakerState, Forgiveness, LateResults};

/// Messages to one receiver are sent in parallel, so every result counts, even during a pause.
const SETTINGS: BreakerSettings = BreakerSettings {
    failures_max: 5,
    window: None,
    pauses: backoff::PAUSES,
    forgiveness: Forgiveness::AtOnce,
    late_results: LateResults::Count,
};

/// State of a receiver's gate, which the API and metrics show.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, PartialOrd, Ord)]
pub enum GateState {
    /// Every message is sent when it is due.
    #[default]
    Closed,
    /// A single message is being sent as a probe.
    HalfOpen,
    /// No message is sent before the next probe.
    Open,
    /// The receiver answered that it is gone for good. No message is sent until the agent restarts or a person revives the receiver.
    Gone,
}

impl GateState {
    /// All states.
    pub const ALL: [Self; 4] = [Self::Closed, Self::HalfOpen, Self::Open, Self::Gone];

    /// Name of the state in the API, and value of the label `state` in metrics.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Closed => "closed",
            Self::HalfOpen => "half-open",
            Self::Open => "open",
            Self::Gone => "gone",
        }
    }
}

/// Gate before one receiver.
#[derive(Debug, Clone)]
pub(super) struct Gate {
    breaker: Breaker,
    /// Monotonic time until which the receiver asked to wait; `None` without a request.
    held_until: Option<Duration>,
    is_gone: bool,
}

impl Default for Gate {
    fn default() -> Self {
        Self { breaker: Breaker::new(SETTINGS), held_until: None, is_gone: false }
    }
}

impl Gate {
    /// Present state.
    pub(super) fn state(&self) -> GateState {
        match self.breaker.state() {
            _ if self.is_gone => GateState::Gone,
            BreakerState::HalfOpen => GateState::HalfOpen,
            BreakerState::Open => GateState::Open,
            BreakerState::Closed => GateState::Closed,
        }
    }

    /// Monotonic time from which the next message may be sent; `None` during a probe, and for a receiver that is gone.
    pub(super) fn opens_at(&self) -> Option<Duration> {
        let permitted = self.breaker.permits_from().filter(|_| !self.is_gone)?;
        Some(permitted.max(self.held_until.unwrap_or_default()))
    }

    /// Records that a message is sent. While the breaker is open, this message is the probe.
    pub(super) fn sent(&mut self) {
        self.breaker.begin();
    }

    /// Records an answer of the receiver. Returns true if the answer closed the breaker.
    pub(super) fn accepted(&mut self, now: Duration) -> bool {
        self.held_until = None;
        self.breaker.succeeded(now)
    }

    /// Records a failed message. `chance` from 0 to 1 spreads the pauses.
    pub(super) fn failed(&mut self, now: Duration, chance: f64) {
        self.breaker.failed(now, chance);
    }

    /// Records that the receiver asked to wait, which is no failure.
    pub(super) fn throttled(&mut self, until: Duration) {
        self.breaker.end_probe();
        self.held_until = self.held_until.max(Some(until));
    }

    /// Records that the receiver is gone for good.
    pub(super) fn gone(&mut self) {
        self.is_gone = true;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SECOND: Duration = Duration::from_secs(1);

    #[test]
    fn five_failures_open_it_and_one_success_closes_it() {
        let mut gate = Gate::default();
        for _ in 0..4 {
            gate.sent();
            gate.failed(SECOND, 1.0);
            assert_eq!((gate.state(), gate.opens_at()), (GateState::Closed, Some(Duration::ZERO)));
        }
        gate.failed(SECOND, 1.0);
        assert_eq!((gate.state(), gate.opens_at()), (GateState::Open, Some(6 * SECOND)));
        gate.sent();
        assert_eq!((gate.state(), gate.opens_at()), (GateState::HalfOpen, None));
        gate.failed(6 * SECOND, 1.0);
        assert_eq!((gate.state(), gate.opens_at()), (GateState::Open, Some(21 * SECOND)), "the pause grows");
        gate.sent();
        assert!(gate.accepted(21 * SECOND));
        assert_eq!((gate.state(), gate.opens_at()), (GateState::Closed, Some(Duration::ZERO)));
        assert!(!gate.accepted(21 * SECOND));
    }

    #[test]
    fn a_requested_pause_is_no_failure() {
        let mut gate = Gate::default();
        for _ in 0..10 {
            gate.sent();
            gate.throttled(60 * SECOND);
        }
        assert_eq!((gate.state(), gate.opens_at()), (GateState::Closed, Some(60 * SECOND)));
    }

    #[test]
    fn no_message_is_sent_to_a_receiver_that_is_gone() {
        let mut gate = Gate::default();
        gate.gone();
        assert_eq!((gate.state(), gate.opens_at()), (GateState::Gone, None));
    }
}
