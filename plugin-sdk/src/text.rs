//! Numbers for people: the unit follows from the name of the metric, the precision from the size of the number.

/// Formats the value of a metric. The end of the name gives the unit: `_seconds`, `_bytes` or `_ratio`. Any other value is a plain number.
pub fn quantity(metric: &str, value: f64) -> String {
    let name = metric.strip_suffix("_total").unwrap_or(metric);
    if name.ends_with("_seconds") {
        duration(value)
    } else if name.ends_with("_bytes") {
        bytes(value)
    } else if name.ends_with("_ratio") {
        percent(value)
    } else {
        number(value)
    }
}

/// Formats seconds with at most two units: `250 ms`, `2.5 s`, `1 h 30 min`.
pub fn duration(seconds: f64) -> String {
    let whole = seconds.round();
    if !seconds.is_finite() || seconds < 0.0 {
        format!("{} s", number(seconds))
    } else if seconds < 1.0 {
        format!("{} ms", number(seconds * 1_000.0))
    } else if seconds < 10.0 {
        format!("{} s", number(seconds))
    } else if whole < 60.0 {
        format!("{whole} s")
    } else if whole < 3_600.0 {
        two_units(whole, 60.0, "min", 1.0, "s")
    } else if whole < 86_400.0 {
        two_units(whole, 3_600.0, "h", 60.0, "min")
    } else {
        two_units(whole, 86_400.0, "d", 3_600.0, "h")
    }
}

fn two_units(seconds: f64, large: f64, large_unit: &str, small: f64, small_unit: &str) -> String {
    let major = (seconds / large).floor();
    let minor = ((seconds - major * large) / small).floor();
    if minor == 0.0 { format!("{major} {large_unit}") } else { format!("{major} {large_unit} {minor} {small_unit}") }
}

/// Formats bytes in powers of 1,024: `1.5 MiB`.
pub fn bytes(value: f64) -> String {
    scaled(value, 1_024.0, &[" B", " KiB", " MiB", " GiB", " TiB", " PiB"])
}

/// Formats a ratio from 0 to 1 as percent: 0.85 becomes `85 %`.
pub fn percent(ratio: f64) -> String {
    format!("{} %", number(ratio * 100.0))
}

/// Formats a count. A count of 10,000 or more is shortened in powers of 1,000: `1.2 M`.
pub fn count(value: f64) -> String {
    if value.abs() < 10_000.0 { number(value) } else { scaled(value, 1_000.0, &["", " k", " M", " G"]) }
}

/// Formats a count together with the counted thing: `1 session`, `3 sessions`.
pub fn counted(value: f64, one: &str, many: &str) -> String {
    let thing = if value == 1.0 { one } else { many };
    format!("{} {thing}", count(value))
}

fn scaled(value: f64, base: f64, units: &[&str]) -> String {
    let mut value = value;
    let mut units = units.iter();
    let mut unit = units.next().copied().unwrap_or_default();
    while value.abs() >= base {
        let Some(next) = units.next() else { break };
        value /= base;
        unit = next;
    }
    format!("{}{unit}", number(value))
}

/// Formats a number with at most three digits after the point: fewer from 1 on, none from 100 on.
pub fn number(value: f64) -> String {
    let decimals = match value.abs() {
        size if size >= 100.0 || size == 0.0 => 0,
        size if size >= 10.0 => 1,
        size if size >= 1.0 => 2,
        _ => 3,
    };
    let text = format!("{value:.decimals$}");
    if text.contains('.') { text.trim_end_matches('0').trim_end_matches('.').to_owned() } else { text }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_name_of_a_metric_decides_its_unit() {
        assert_eq!(quantity("pharos_postgres_connections_used_ratio", 0.8), "80 %");
        assert_eq!(quantity("pharos_redis_memory_used_bytes", 1.5 * 1024.0 * 1024.0), "1.5 MiB");
        assert_eq!(quantity("pharos_postgres_transaction_age_max_seconds", 5_400.0), "1 h 30 min");
        assert_eq!(quantity("pharos_postgres_temp_bytes_total", 2048.0), "2 KiB");
        assert_eq!(quantity("pharos_postgres_lock_waiters", 3.0), "3");
    }

    #[test]
    fn durations_keep_two_units() {
        let texts = [0.0, 0.25, 2.5, 59.7, 61.0, 3_600.0, 90_061.0].map(duration);
        assert_eq!(texts, ["0 ms", "250 ms", "2.5 s", "1 min", "1 min 1 s", "1 h", "1 d 1 h"]);
    }

    #[test]
    fn numbers_keep_three_digits() {
        let texts = [0.0, 0.012_3, 1.234, 12.34, 99.96, 123.4, 1_234_567.0, -0.5].map(number);
        assert_eq!(texts, ["0", "0.012", "1.23", "12.3", "100", "123", "1234567", "-0.5"]);
        assert_eq!([999.0, 12_300.0, 1_600_000_000.0].map(count), ["999", "12.3 k", "1.6 G"]);
        assert_eq!([1.0, 2.0].map(|value| counted(value, "session", "sessions")), ["1 session", "2 sessions"]);
    }

    #[test]
    fn infinite_and_nan_stay_readable() {
        assert_eq!(duration(f64::INFINITY), "inf s");
        assert_eq!(number(f64::NAN), "NaN");
    }
}
