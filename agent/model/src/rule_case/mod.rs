//! A case of `pharos rules test`: facts over time, written as text, and the alerts they should lead to.
//!
//! [`steps`] reads what happens tick by tick, [`timeline`] makes a snapshot of every tick, and [`expectation`] compares what came of
//! them with what was expected. The plugin between the two is the caller's.

pub mod expectation;
pub mod steps;
pub mod timeline;

use std::time::Duration;

pub use expectation::{ExpectedAlert, ExpectedTransition, Line, Mark, Seen};
pub use steps::{Steps, StepsError, Value};
pub use timeline::{PartStep, PartSteps, SeriesSteps, TableSteps, Timeline};

/// Ticks of one case. At ten seconds each, more than two days.
pub const TICKS_MAX: u32 = 20_000;

/// When a tick is, since the case began.
pub fn time_of(tick: u32, interval: Duration) -> Duration {
    interval.saturating_mul(tick)
}

/// A time as cases write it: `1m30s`.
pub fn shown(time: Duration) -> String {
    let seconds = time.as_secs();
    let parts = [(seconds / 3_600, "h"), (seconds / 60 % 60, "m"), (seconds % 60, "s"), (u64::from(time.subsec_millis()), "ms")];
    let text: String = parts.iter().filter(|(count, _)| *count > 0).map(|(count, unit)| format!("{count}{unit}")).collect();
    if text.is_empty() { "0s".to_owned() } else { text }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_are_shown_as_they_are_written() {
        let shown = |ms| shown(Duration::from_millis(ms));
        assert_eq!([shown(0), shown(90_000), shown(3_600_000), shown(1_500)], ["0s", "1m30s", "1h", "1s500ms"]);
    }
}
