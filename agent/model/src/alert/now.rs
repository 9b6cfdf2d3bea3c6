//! The instant of an evaluation, on both clocks.

use std::time::Duration;

use serde::{Deserialize, Serialize};

/// The time of the judged snapshot, not of the call of the plugin. So judging a snapshot again after a reload adds no time.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Now {
    /// Time since a fixed instant of this process. It never goes back, so all decisions use it.
    pub monotonic: Duration,
    /// Wall clock time that is shown and stored: milliseconds since 1970.
    pub wall_ms: u64,
}

impl Now {
    /// Seconds by which the wall clock was changed since `earlier`. Negative if it was set back.
    pub fn stepped_since(&self, earlier: Self) -> f64 {
        let wall_ms = self.wall_ms as f64 - earlier.wall_ms as f64;
        wall_ms / 1_000.0 - self.monotonic.saturating_sub(earlier.monotonic).as_secs_f64()
    }
}
