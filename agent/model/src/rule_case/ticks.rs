//! Ticks of a case, and how cases write times.

use std::time::Duration;

/// Most ticks of one case: at ten seconds each, more than two days. Each tick is a call of the plugin, so more ticks would take minutes.
pub const TICKS_MAX: u32 = 20_000;

/// Time from the beginning of the case to a tick.
pub fn tick_time(tick: u32, interval: Duration) -> Duration {
    interval.saturating_mul(tick)
}

/// A duration as cases write it, such as `1m30s`.
pub fn duration_text(time: Duration) -> String {
    let seconds = time.as_secs();
    let parts = [(seconds / 3_600, "h"), (seconds / 60 % 60, "m"), (seconds % 60, "s"), (u64::from(time.subsec_millis()), "ms")];
    let text: String = parts.iter().filter(|(count, _)| *count > 0).map(|(count, unit)| format!("{count}{unit}")).collect();
    if text.is_empty() { "0s".to_owned() } else { text }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn durations_are_printed_as_cases_write_them() {
        let text = |ms| duration_text(Duration::from_millis(ms));
        assert_eq!([text(0), text(90_000), text(3_600_000), text(1_500)], ["0s", "1m30s", "1h", "1s500ms"]);
    }
}
