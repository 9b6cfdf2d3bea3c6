//! The only place that reads a clock.

use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use pharos_model::alert::Now;
use pharos_model::duration::milliseconds;

/// Clock of the agent: monotonic time since its start, and wall time for people.
#[derive(Debug, Clone, Copy)]
pub struct Clock {
    started: Instant,
}

impl Clock {
    /// Starts the clock. Its monotonic time begins at zero.
    #[expect(clippy::disallowed_methods, reason = "this is the clock that the others ask")]
    pub fn start() -> Self {
        Self { started: Instant::now() }
    }

    /// Time since the start, for measuring durations.
    pub fn monotonic(&self) -> Duration {
        self.started.elapsed()
    }

    /// Milliseconds since 1970, for people and other machines.
    #[expect(clippy::disallowed_methods, reason = "this is the clock that the others ask")]
    pub fn wall_ms(&self) -> u64 {
        let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
        milliseconds(since)
    }

    /// Monotonic and wall time of one instant.
    pub fn now(&self) -> Now {
        Now { monotonic: self.monotonic(), wall_ms: self.wall_ms() }
    }
}

/// Parses an RFC 3339 time in UTC to milliseconds since 1970; `None` if it is invalid or earlier.
pub fn parse_rfc3339(text: &str) -> Option<u64> {
    let at = humantime::parse_rfc3339_weak(text).ok()?;
    u64::try_from(at.duration_since(UNIX_EPOCH).ok()?.as_millis()).ok()
}

/// Formats a time as RFC 3339 in UTC, with milliseconds.
pub fn rfc3339(wall_ms: u64) -> String {
    humantime::format_rfc3339_millis(UNIX_EPOCH + Duration::from_millis(wall_ms)).to_string()
}
