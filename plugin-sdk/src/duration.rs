//! Durations as people write them: `"500ms"`, `"5m"`, `"1h30m"`.

use std::fmt;
use std::time::Duration;

use serde::de::{Deserialize, Deserializer, Error, Visitor};

/// A duration that settings give as text: numbers with units from `ms` to `d`, such as `"1h30m"`, or `"0"`. Any other number needs a unit.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct HumanDuration(pub Duration);

impl HumanDuration {
    /// The duration in whole milliseconds, at most `u64::MAX`.
    pub fn as_millis(self) -> u64 {
        millis(self.0)
    }
}

/// The duration in whole milliseconds, as the contract counts time. A longer duration becomes `u64::MAX`.
pub(crate) fn millis(duration: Duration) -> u64 {
    u64::try_from(duration.as_millis()).unwrap_or(u64::MAX)
}

impl<'de> Deserialize<'de> for HumanDuration {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        // `#[serde(try_from)]` would report the error without its position in the settings.
        deserializer.deserialize_str(HumanDurationVisitor)
    }
}

struct HumanDurationVisitor;

impl Visitor<'_> for HumanDurationVisitor {
    type Value = HumanDuration;

    fn expecting(&self, formatter: &mut fmt::Formatter) -> fmt::Result {
        formatter.write_str("a duration like \"500ms\", \"5m\" or \"1h30m\"")
    }

    fn visit_str<E: Error>(self, text: &str) -> Result<HumanDuration, E> {
        parse(text)
            .map(HumanDuration)
            .ok_or_else(|| E::custom(format_args!("`{text}` is no duration: write it like \"500ms\", \"5m\" or \"1h30m\"")))
    }
}

fn parse(text: &str) -> Option<Duration> {
    let mut rest = text.trim();
    let mut total = Duration::ZERO;
    if rest == "0" {
        return Some(total);
    }
    loop {
        let digits = rest.find(|c: char| !c.is_ascii_digit())?;
        let (amount, after) = rest.split_at(digits);
        let unit_end = after.find(|c: char| !c.is_ascii_alphabetic()).unwrap_or(after.len());
        let (unit, after) = after.split_at(unit_end);
        let length = amount.parse::<u64>().ok()?.checked_mul(unit_millis(unit)?)?;
        total = total.checked_add(Duration::from_millis(length))?;
        rest = after.trim_start();
        if rest.is_empty() {
            return Some(total);
        }
    }
}

fn unit_millis(unit: &str) -> Option<u64> {
    Some(match unit {
        "ms" => 1,
        "s" => 1_000,
        "m" | "min" => 60_000,
        "h" => 3_600_000,
        "d" => 86_400_000,
        _ => return None,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn units_add_up() {
        assert_eq!(parse("500ms"), Some(Duration::from_millis(500)));
        assert_eq!(parse("5m"), Some(Duration::from_secs(300)));
        assert_eq!(parse("1h30m"), Some(Duration::from_secs(5_400)));
        assert_eq!(parse("1d 2h"), Some(Duration::from_secs(93_600)));
        assert_eq!(parse("0"), Some(Duration::ZERO));
    }

    #[test]
    fn a_number_without_unit_is_refused() {
        for text in ["", "5", "m", "5 m", "-5m", "1.5h", "5parsecs", "99999999999999999999s", "18446744073709551615d"] {
            assert_eq!(parse(text), None, "{text}");
        }
    }
}
