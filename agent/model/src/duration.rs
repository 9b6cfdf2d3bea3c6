//! Durations as the whole numbers that are stored and served.

use std::time::Duration;

/// A duration in whole milliseconds. A duration that does not fit becomes the largest number.
pub fn milliseconds(duration: Duration) -> u64 {
    u64::try_from(duration.as_millis()).unwrap_or(u64::MAX)
}
