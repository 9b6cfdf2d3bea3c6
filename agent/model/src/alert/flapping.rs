//! Flapping: a condition that comes and goes so often that a message each time would only be noise.
//!
//! The measure is that of Nagios. Each of the 20 steps between the last 21 verdicts may be a change, and weighs from 0.75 (the oldest)
//! to 1.25 (the newest), so that 20 changes make 100 %. It counts verdicts, not time: a rule that is judged rarely flaps slowly. Only a
//! change that would be sent counts: a pending raise counts as clear, and an evaluation that could not judge is not counted.

use serde::{Deserialize, Serialize};

use crate::finding::{Finding, Severity, Strength};

const STEPS: u32 = 20;
const STARTS_AT_PERCENT: u32 = 30;
const ENDS_AT_PERCENT: u32 = 20;
/// The sum of all 20 weights. Weights are counted in units of 1/76, so that they are whole numbers: 95 is 1.25, and 57 is 0.75.
const WEIGHT_OF_ALL: u32 = 1_520;

const BITS: u32 = 2;
const KEPT: u64 = (1 << (BITS * (STEPS + 1))) - 1;

/// The verdicts of the last 21 judged evaluations of a label set: clear, or a severity. Before the first evaluation all are clear.
///
/// Each verdict takes two bits, and the newest is in the lowest two: 0 is clear, 1 info, 2 warning, 3 critical.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(from = "u64", into = "u64")]
pub struct Verdicts(u64);

impl From<u64> for Verdicts {
    fn from(bits: u64) -> Self {
        Self(bits & KEPT)
    }
}

impl From<Verdicts> for u64 {
    fn from(verdicts: Verdicts) -> Self {
        verdicts.0
    }
}

impl Verdicts {
    /// Adds the verdict of one evaluation; `None` is clear. A finding that only holds repeats the verdict before it, or is milder.
    pub(super) fn enter(&mut self, finding: Option<&Finding>) {
        let code = finding.map_or(0, |finding| match finding.strength {
            Strength::Raise => code(finding.severity),
            Strength::Hold => code(finding.severity).min(self.entry(0)),
        });
        *self = Self::from(self.0 << BITS | code);
    }

    /// The weighted share of changes among the last 20 steps, from 0 to 100. Newer changes weigh more.
    pub fn percent(self) -> f64 {
        f64::from(100 * self.weight()) / f64::from(WEIGHT_OF_ALL)
    }

    pub(super) fn start_flapping(self) -> bool {
        100 * self.weight() >= STARTS_AT_PERCENT * WEIGHT_OF_ALL
    }

    pub(super) fn end_flapping(self) -> bool {
        100 * self.weight() <= ENDS_AT_PERCENT * WEIGHT_OF_ALL
    }

    pub(super) fn has_changes(self) -> bool {
        self.weight() > 0
    }

    /// Number of verdicts since the latest change, from 0 to 20.
    pub(super) fn calm_for(self) -> usize {
        (0..STEPS).take_while(|age| !self.changed(*age)).count()
    }

    fn weight(self) -> u32 {
        (0..STEPS).filter(|age| self.changed(*age)).map(|age| 95 - 2 * age).sum()
    }

    fn changed(self, age: u32) -> bool {
        self.entry(age) != self.entry(age + 1)
    }

    fn entry(self, age: u32) -> u64 {
        self.0 >> (BITS * age) & ((1 << BITS) - 1)
    }
}

fn code(severity: Severity) -> u64 {
    match severity {
        Severity::Info => 1,
        Severity::Warning => 2,
        Severity::Critical => 3,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::alert::stories::finding;

    /// `.` clear; `i`, `w`, `c` raised; `I`, `W`, `C` held.
    fn verdicts(text: &str) -> Verdicts {
        let mut verdicts = Verdicts::default();
        for letter in text.chars() {
            let strength = if letter.is_uppercase() { Strength::Hold } else { Strength::Raise };
            let severity = match letter.to_ascii_lowercase() {
                '.' => None,
                'i' => Some(Severity::Info),
                'w' => Some(Severity::Warning),
                'c' => Some(Severity::Critical),
                other => panic!("no verdict {other}"),
            };
            verdicts.enter(severity.map(|severity| finding(strength, severity, &[])).as_ref());
        }
        verdicts
    }

    /// The percentage in floating point, as Nagios computes it. `states` are 21 verdicts, from the oldest to the newest.
    fn as_nagios(states: &[bool]) -> f64 {
        let mut curved_changes = 0.0;
        for x in 1..21_u32 {
            if states[x as usize] != states[x as usize - 1] {
                curved_changes += f64::from(x - 1) * (1.25 - 0.75) / 19.0 + 0.75;
            }
        }
        curved_changes * 100.0 / 20.0
    }

    #[test]
    fn a_change_weighs_the_more_the_newer_it_is() {
        for age in 0..20 {
            let verdicts = verdicts(&format!("w{}", "w".repeat(age)));
            let weight = 1.25 - 0.5 * age as f64 / 19.0;
            assert!((verdicts.percent() - weight * 100.0 / 20.0).abs() < 1e-12, "{age}: {}", verdicts.percent());
        }
        assert_eq!(verdicts("w").percent(), 6.25);
        assert_eq!(verdicts(&"w".repeat(20)).percent(), 3.75);
        assert_eq!(verdicts(&"w".repeat(21)).percent(), 0.0);
        assert_eq!(verdicts(&"w.".repeat(20)).percent(), 100.0);
    }

    #[test]
    fn the_percentage_is_that_of_nagios() {
        // Every pattern of ten verdicts, twice over, so that young and old steps are both among them.
        for bits in 0..1_024_u32 {
            let raised = |at: usize| at < 20 && bits >> (at % 10) & 1 == 1;
            let states: Vec<bool> = (0..21).map(raised).collect();
            let text: String = states.iter().map(|raised| if *raised { 'w' } else { '.' }).collect();
            // Only the last 21 verdicts count, so this beginning has no effect.
            let verdicts = verdicts(&format!("w.w.{text}"));
            assert!((verdicts.percent() - as_nagios(&states)).abs() < 1e-9, "{text}");
        }
    }

    #[test]
    fn flapping_starts_with_the_sixth_change_in_a_row() {
        let five = verdicts("w.w.w");
        assert!((five.percent() - 29.934).abs() < 0.001 && !five.start_flapping());
        let six = verdicts("w.w.w.");
        assert!((six.percent() - 35.526).abs() < 0.001 && six.start_flapping());
    }

    #[test]
    fn flapping_that_began_ends_after_its_changes_are_old() {
        let calm = |count: usize| verdicts(&format!("w.w.w.{}", ".".repeat(count)));
        assert_eq!((0..21).find(|count| !calm(*count).start_flapping()), Some(8), "between the thresholds nothing starts");
        assert_eq!((0..21).find(|count| calm(*count).end_flapping()), Some(16));
    }

    #[test]
    fn a_change_of_severity_is_a_change() {
        assert!(verdicts("wcwcwc").start_flapping());
        assert!(!verdicts("wwwccc").start_flapping());
    }

    #[test]
    fn a_hold_repeats_the_verdict_before_or_is_milder() {
        assert_eq!(verdicts("wWWW"), verdicts("wwww"));
        assert_eq!(verdicts("wC"), verdicts("ww"));
        assert_eq!(verdicts("cW"), verdicts("cw"));
        assert_eq!(verdicts("w.C"), verdicts("w.."));
    }

    #[test]
    fn calm_is_counted_since_the_latest_change() {
        assert_eq!(verdicts("w...").calm_for(), 2);
        assert_eq!(verdicts("").calm_for(), 20);
        assert!(!verdicts("").has_changes() && verdicts(&format!("w{}", ".".repeat(20))).has_changes());
        assert!(!verdicts(&format!("w{}", ".".repeat(21))).has_changes());
    }
}
