//! Measures whether the client of one connection reads its answers fast enough. Time is an argument.

use std::time::Duration;

use tokio::time::Instant;

/// Total time that bytes may wait for a client. Bytes that the client reads earn time back.
const CREDIT_MAX: Duration = Duration::from_secs(20);
/// Bytes per second that a client must read. Even a slow line is faster.
const BYTES_A_SECOND_MIN: u32 = 4 << 10;

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Phase {
    /// No request is being answered.
    Idle,
    /// A complete request has arrived. Its answer is being made or written.
    Answering,
    /// The body of the answer is complete. Its last bytes may still be in the connection's buffer.
    Flushing,
}

/// The pace of one connection over all its requests. A new request earns no time, since a client can send many requests and read no answer.
#[derive(Debug, Clone)]
pub(super) struct Pace {
    phase: Phase,
    since: Instant,
    /// How long bytes may still wait. The present wait is not subtracted yet.
    credit: Duration,
    /// Since when the operating system accepts no more bytes because the client reads none. `None`: it accepts bytes.
    waits_since: Option<Instant>,
}

/// The state of a connection when another connection needs room.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Standing {
    pub is_answering: bool,
    /// Whether the client reads its answers fast enough.
    pub keeps_up: bool,
    /// When the present answer began, or the time without an answer.
    pub since: Instant,
}

impl Pace {
    pub(super) fn new(now: Instant) -> Self {
        Self { phase: Phase::Idle, since: now, credit: CREDIT_MAX, waits_since: None }
    }

    /// Records that a complete request has arrived.
    pub(super) fn begin(&mut self, now: Instant) {
        if self.phase == Phase::Idle {
            self.since = now;
        }
        self.phase = Phase::Answering;
    }

    pub(super) fn body_ended(&mut self) {
        if self.phase == Phase::Answering {
            self.phase = Phase::Flushing;
        }
    }

    /// Records that the connection's own buffer is empty.
    pub(super) fn flushed(&mut self, now: Instant) {
        if self.phase == Phase::Flushing {
            self.phase = Phase::Idle;
            self.since = now;
        }
    }

    /// Records that the operating system accepted no bytes.
    pub(super) fn wait(&mut self, now: Instant) {
        self.waits_since.get_or_insert(now);
    }

    /// Records that the operating system accepted this many bytes.
    pub(super) fn take(&mut self, bytes: usize, now: Instant) {
        let earned = Duration::from_secs(bytes as u64) / BYTES_A_SECOND_MIN;
        self.credit = (self.left(now) + earned).min(CREDIT_MAX);
        self.waits_since = None;
    }

    fn left(&self, now: Instant) -> Duration {
        self.credit.saturating_sub(self.waits_since.map_or(Duration::ZERO, |since| now.duration_since(since)))
    }

    pub(super) fn standing(&self, now: Instant) -> Standing {
        Standing { is_answering: self.phase != Phase::Idle, keeps_up: !self.left(now).is_zero(), since: self.since }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn after(start: Instant, seconds: u64) -> Instant {
        start + Duration::from_secs(seconds)
    }

    /// The standing of a client that read `bytes` of a large answer every `seconds` for ten minutes, just before its next read.
    fn standing(bytes: usize, seconds: u64) -> Standing {
        let start = Instant::now();
        let mut pace = Pace::new(start);
        pace.begin(start);
        let mut now = start;
        while now < after(start, 600) {
            pace.wait(now);
            now += Duration::from_secs(seconds);
            pace.take(bytes, now);
            pace.wait(now);
        }
        pace.standing(now + Duration::from_secs(seconds) - Duration::from_millis(1))
    }

    #[test]
    fn a_slow_line_keeps_up_and_a_client_that_takes_drops_does_not() {
        let kept_up = [(8 << 10, 1), (8 << 10, 2), (64 << 10, 8), (64 << 10, 16)].map(|(bytes, seconds)| standing(bytes, seconds).keeps_up);
        assert_eq!(kept_up, [true; 4]);
        let too_slow = [(8, 9), (1 << 10, 1), (8 << 10, 9), (64 << 10, 21)].map(|(bytes, seconds)| standing(bytes, seconds).keeps_up);
        assert_eq!(too_slow, [false; 4]);
    }

    #[test]
    fn fast_reading_earns_no_credit_above_the_maximum() {
        let start = Instant::now();
        let mut pace = Pace::new(start);
        pace.begin(start);
        pace.take(100 << 20, after(start, 1));
        pace.wait(after(start, 1));
        assert!(pace.standing(after(start, 20)).keeps_up);
        assert!(!pace.standing(after(start, 21)).keeps_up);
    }

    #[test]
    fn requests_that_are_sent_ahead_earn_no_time() {
        let start = Instant::now();
        let mut pace = Pace::new(start);
        for second in 0..30 {
            // The previous answer waits for its client, which reads it very slowly.
            pace.begin(after(start, second));
            pace.body_ended();
            pace.wait(after(start, second));
            pace.take(300, after(start, second + 1));
            pace.flushed(after(start, second + 1));
        }
        pace.begin(after(start, 30));
        pace.wait(after(start, 30));
        assert!(!pace.standing(after(start, 31)).keeps_up);
    }

    #[test]
    fn an_answer_that_is_being_made_costs_its_client_nothing() {
        let start = Instant::now();
        let mut pace = Pace::new(start);
        pace.begin(start);
        let expected = Standing { is_answering: true, keeps_up: true, since: start };
        assert_eq!(pace.standing(after(start, 60)), expected);
        pace.take(200, after(start, 60));
        pace.body_ended();
        assert!(pace.standing(after(start, 60)).is_answering, "its last bytes are in the buffer");
        pace.flushed(after(start, 60));
        assert_eq!(pace.standing(after(start, 90)), Standing { is_answering: false, keeps_up: true, since: after(start, 60) });
    }
}
