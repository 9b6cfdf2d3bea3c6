//! Circuit breaker of one receiver: after some failures in a row, single messages probe whether it works again.

use std::time::Duration;

use super::backoff;

/// Failures in a row that open the breaker.
const FAILURES_MAX: u32 = 5;

/// State of a circuit breaker.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, PartialOrd, Ord)]
pub enum BreakerState {
    /// Messages are sent when they are due.
    #[default]
    Closed,
    /// A single message is being sent as a probe.
    HalfOpen,
    /// No message is sent before the next probe.
    Open,
    /// The receiver answered that it is gone for good. No message is sent until the agent restarts or a person revives the receiver.
    Gone,
}

impl BreakerState {
    /// All states.
    pub const ALL: [Self; 4] = [Self::Closed, Self::HalfOpen, Self::Open, Self::Gone];

    /// Value of the label `state` in metrics.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Closed => "closed",
            Self::HalfOpen => "half-open",
            Self::Open => "open",
            Self::Gone => "gone",
        }
    }
}

/// State of the circuit breaker. Time is an argument.
#[derive(Debug, Clone, Default)]
pub struct Breaker {
    failures: u32,
    /// Monotonic time before which no message is sent, after failures or at the receiver's request.
    until: Option<Duration>,
    probing: bool,
    gone: bool,
}

impl Breaker {
    /// Present state.
    pub fn state(&self) -> BreakerState {
        match self {
            Self { gone: true, .. } => BreakerState::Gone,
            Self { probing: true, .. } => BreakerState::HalfOpen,
            Self { failures: FAILURES_MAX.., .. } => BreakerState::Open,
            Self { .. } => BreakerState::Closed,
        }
    }

    /// Monotonic time from which the next message may be sent; `None` during a probe and for a receiver that is gone.
    pub fn opens_at(&self) -> Option<Duration> {
        (!self.gone && !self.probing).then(|| self.until.unwrap_or_default())
    }

    /// Records that a message is sent. In the open state it is the probe, and no other message follows.
    pub fn sent(&mut self) {
        self.probing = self.failures >= FAILURES_MAX;
    }

    /// Records an accepted message. Returns true if the breaker was open.
    pub fn accepted(&mut self) -> bool {
        let was_open = self.failures >= FAILURES_MAX;
        *self = Self { gone: self.gone, ..Self::default() };
        was_open
    }

    /// Records a failed message. In the open state, the next probe follows after a pause. `chance` is from 0 to 1.
    pub fn failed(&mut self, now: Duration, chance: f64) {
        self.failures = self.failures.saturating_add(1);
        self.probing = false;
        if self.failures >= FAILURES_MAX {
            self.hold(now + backoff::pause(self.failures + 1 - FAILURES_MAX, None, chance));
        }
    }

    /// Records a receiver that asks for a pause. That is no failure, but nothing is sent meanwhile.
    pub fn throttled(&mut self, until: Duration) {
        self.probing = false;
        self.hold(until);
    }

    /// Records that the receiver is gone for good.
    pub fn gone(&mut self) {
        self.gone = true;
    }

    fn hold(&mut self, until: Duration) {
        self.until = Some(self.until.map_or(until, |known| known.max(until)));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SECOND: Duration = Duration::from_secs(1);

    #[test]
    fn five_failures_open_it_and_one_success_closes_it() {
        let mut breaker = Breaker::default();
        for _ in 0..4 {
            breaker.sent();
            breaker.failed(SECOND, 1.0);
            assert_eq!((breaker.state(), breaker.opens_at()), (BreakerState::Closed, Some(Duration::ZERO)));
        }
        breaker.failed(SECOND, 1.0);
        assert_eq!((breaker.state(), breaker.opens_at()), (BreakerState::Open, Some(6 * SECOND)));
        breaker.sent();
        assert_eq!((breaker.state(), breaker.opens_at()), (BreakerState::HalfOpen, None));
        breaker.failed(6 * SECOND, 1.0);
        assert_eq!((breaker.state(), breaker.opens_at()), (BreakerState::Open, Some(21 * SECOND)), "the pause grows");
        breaker.sent();
        assert!(breaker.accepted());
        assert_eq!((breaker.state(), breaker.opens_at()), (BreakerState::Closed, Some(Duration::ZERO)));
        assert!(!breaker.accepted());
    }

    #[test]
    fn patience_that_is_asked_for_is_no_failure() {
        let mut breaker = Breaker::default();
        for _ in 0..10 {
            breaker.sent();
            breaker.throttled(60 * SECOND);
        }
        assert_eq!((breaker.state(), breaker.opens_at()), (BreakerState::Closed, Some(60 * SECOND)));
    }

    #[test]
    fn a_receiver_that_is_gone_is_left_alone() {
        let mut breaker = Breaker::default();
        breaker.gone();
        assert_eq!((breaker.state(), breaker.opens_at()), (BreakerState::Gone, None));
    }
}
