//! How long to wait before the next try.

use std::time::Duration;

/// Pauses between tries; the last one repeats.
const PAUSES: [Duration; 6] = [
    Duration::from_secs(1),
    Duration::from_secs(5),
    Duration::from_secs(15),
    Duration::from_secs(60),
    Duration::from_secs(300),
    Duration::from_secs(900),
];
/// A receiver may ask for more patience than that, within reason.
const ASKED_MAX: Duration = Duration::from_secs(3_600);

/// The pauses of one message, with jitter, so that many messages do not return at once.
#[derive(Debug, Default)]
pub struct Backoff {
    tries: usize,
    waited: Duration,
}

impl Backoff {
    /// The next pause: at least what the receiver asked for. `chance` is from 0 to 1.
    pub fn next(&mut self, asked: Option<Duration>, chance: f64) -> Duration {
        let base = PAUSES[self.tries.min(PAUSES.len() - 1)];
        self.tries += 1;
        let jittered = base.mul_f64(0.5 + chance / 2.0);
        let pause = asked.map_or(jittered, |asked| asked.min(ASKED_MAX).max(jittered));
        self.waited += pause;
        pause
    }

    /// All pauses so far.
    pub fn waited(&self) -> Duration {
        self.waited
    }
}
