//! How well the visitor of one connection takes what it asked for. Time is an argument.

use std::time::Duration;

use tokio::time::Instant;

/// Bytes of an answer may wait this long for their visitor in all. Bytes that the visitor takes earn the time back.
const CREDIT_MAX: Duration = Duration::from_secs(20);
/// A visitor takes at least this many bytes a second. Even a slow line takes more.
const BYTES_A_SECOND_MIN: u32 = 4 << 10;

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Phase {
    /// No request is being answered.
    Idle,
    /// A whole request is here; its answer is being made, or its body follows.
    Answering,
    /// The body has ended; its last bytes may still be in the connection's buffer.
    Flushing,
}

/// The pace of one connection, through all its requests: a new request earns no time, since a visitor can send many ahead and take nothing.
#[derive(Debug, Clone)]
pub struct Pace {
    phase: Phase,
    since: Instant,
    /// How long bytes may still wait, without the wait that is under way.
    credit: Duration,
    /// Since when the operating system takes no bytes of ours, because the visitor takes none.
    waits_since: Option<Instant>,
}

/// Where a connection stands when room is wanted.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Standing {
    pub is_answering: bool,
    /// Whether the visitor takes its answers as fast as a visitor must.
    pub keeps_up: bool,
    /// When its answer, or the time without one, began.
    pub since: Instant,
}

impl Pace {
    pub fn new(now: Instant) -> Self {
        Self { phase: Phase::Idle, since: now, credit: CREDIT_MAX, waits_since: None }
    }

    /// A whole request is here.
    pub fn begin(&mut self, now: Instant) {
        if self.phase == Phase::Idle {
            self.since = now;
        }
        self.phase = Phase::Answering;
    }

    pub fn body_ended(&mut self) {
        if self.phase == Phase::Answering {
            self.phase = Phase::Flushing;
        }
    }

    /// The connection's own buffer is empty.
    pub fn flushed(&mut self, now: Instant) {
        if self.phase == Phase::Flushing {
            self.phase = Phase::Idle;
            self.since = now;
        }
    }

    /// The operating system took no bytes.
    pub fn wait(&mut self, now: Instant) {
        self.waits_since.get_or_insert(now);
    }

    /// The operating system took this many bytes.
    pub fn take(&mut self, bytes: usize, now: Instant) {
        let earned = Duration::from_secs(bytes as u64) / BYTES_A_SECOND_MIN;
        self.credit = (self.left(now) + earned).min(CREDIT_MAX);
        self.waits_since = None;
    }

    fn left(&self, now: Instant) -> Duration {
        self.credit.saturating_sub(self.waits_since.map_or(Duration::ZERO, |since| now.duration_since(since)))
    }

    pub fn standing(&self, now: Instant) -> Standing {
        Standing { is_answering: self.phase != Phase::Idle, keeps_up: !self.left(now).is_zero(), since: self.since }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn after(start: Instant, seconds: u64) -> Instant {
        start + Duration::from_secs(seconds)
    }

    /// The standing of a visitor that took `bytes` every `seconds` of one large answer for ten minutes, just before it takes the next.
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
    fn a_slow_line_keeps_up_and_a_visitor_that_takes_drops_does_not() {
        let kept_up = [(8 << 10, 1), (8 << 10, 2), (64 << 10, 8), (64 << 10, 16)].map(|(bytes, seconds)| standing(bytes, seconds).keeps_up);
        assert_eq!(kept_up, [true; 4]);
        let too_slow = [(8, 9), (1 << 10, 1), (8 << 10, 9), (64 << 10, 21)].map(|(bytes, seconds)| standing(bytes, seconds).keeps_up);
        assert_eq!(too_slow, [false; 4]);
    }

    #[test]
    fn what_was_taken_fast_is_no_credit_for_later() {
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
            // The answer before waits for its visitor, and leaves drop by drop.
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
    fn an_answer_that_is_being_made_costs_its_visitor_nothing() {
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
