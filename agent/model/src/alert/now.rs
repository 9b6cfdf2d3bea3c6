//! The instant of an evaluation, on both clocks.

use std::time::Duration;

use serde::{Deserialize, Serialize};

/// The instant that is judged: when the snapshot was taken, not when a plugin got round to it, so that judging one
/// snapshot again after a reload adds no time.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Now {
    /// Decides. Since any fixed instant of this process; never goes back.
    pub monotonic: Duration,
    /// Is shown. Milliseconds since 1970.
    pub wall_ms: u64,
}

impl Now {
    /// By how many seconds the wall clock was set since `earlier`: back where it is negative.
    pub fn stepped_since(&self, earlier: Self) -> f64 {
        let wall_ms = self.wall_ms as f64 - earlier.wall_ms as f64;
        wall_ms / 1_000.0 - self.monotonic.saturating_sub(earlier.monotonic).as_secs_f64()
    }
}
