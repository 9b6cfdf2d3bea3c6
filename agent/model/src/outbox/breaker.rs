//! Whether a receiver is worth asking: after some failures in a row, one message at a time finds out.

use std::time::Duration;

use super::backoff;

/// Failures in a row that open it.
const FAILURES_MAX: u32 = 5;

#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum BreakerState {
    /// Everything goes out as it is due.
    Closed,
    /// One message is under way, to find out.
    HalfOpen,
    /// Nothing goes out before the next probe.
    Open,
    /// The receiver said that it is gone for good; nothing goes out until the agent starts anew.
    Gone,
}

impl BreakerState {
    pub const ALL: [Self; 4] = [Self::Closed, Self::HalfOpen, Self::Open, Self::Gone];

    pub fn as_str(self) -> &'static str {
        match self {
            Self::Closed => "closed",
            Self::HalfOpen => "half-open",
            Self::Open => "open",
            Self::Gone => "gone",
        }
    }
}

/// Pure: time is an argument.
#[derive(Debug, Clone, Default)]
pub struct Breaker {
    failures: u32,
    /// Nothing goes out before this; set by failures and by a receiver that asks for patience.
    until: Option<Duration>,
    probing: bool,
    gone: bool,
}

impl Breaker {
    pub fn state(&self) -> BreakerState {
        match self {
            Self { gone: true, .. } => BreakerState::Gone,
            Self { probing: true, .. } => BreakerState::HalfOpen,
            Self { failures: FAILURES_MAX.., .. } => BreakerState::Open,
            Self { .. } => BreakerState::Closed,
        }
    }

    /// When the next message may go out; none while a probe is under way or the receiver is gone.
    pub fn opens_at(&self) -> Option<Duration> {
        (!self.gone && !self.probing).then(|| self.until.unwrap_or_default())
    }

    /// A message goes out. While open it is the probe, and nobody else follows.
    pub fn sent(&mut self) {
        self.probing = self.failures >= FAILURES_MAX;
    }

    /// True when this ended a time of failures.
    pub fn accepted(&mut self) -> bool {
        let was_open = self.failures >= FAILURES_MAX;
        *self = Self { gone: self.gone, ..Self::default() };
        was_open
    }

    /// The receiver did not take a message. Once open, the next probe comes after a pause.
    pub fn failed(&mut self, now: Duration, chance: f64) {
        self.failures = self.failures.saturating_add(1);
        self.probing = false;
        if self.failures >= FAILURES_MAX {
            self.hold(now + backoff::pause(self.failures + 1 - FAILURES_MAX, None, chance));
        }
    }

    /// The receiver answered, but asks for patience: no failure, and no use in knocking meanwhile.
    pub fn throttled(&mut self, until: Duration) {
        self.probing = false;
        self.hold(until);
    }

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
