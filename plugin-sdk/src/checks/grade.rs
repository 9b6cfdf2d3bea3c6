//! Grading of a value into a severity, with hysteresis: a threshold raises, and the alert holds until the clear threshold.

use crate::{Severity, Strength};

/// The way a check turns observations into severities.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum Grading {
    /// Every observation has this severity. The check observes only what is wrong.
    Fact(Severity),
    /// The severity follows the value, by thresholds.
    Scale(Direction, Thresholds),
}

/// The direction in which a value gets worse. A value equal to a threshold has reached it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Direction {
    /// Larger values are worse.
    Rising,
    /// Smaller values are worse.
    Falling,
}

/// The thresholds of a check, in the unit of its value. The order from fine to bad is `clear`, `info`, `warning`, `critical`.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Thresholds {
    /// The value from which on the severity is info. None if the check has no such level.
    pub info: Option<f64>,
    /// The value from which on the severity is warning. None if the check has no such level.
    pub warning: Option<f64>,
    /// The value from which on the severity is critical. None if the check has no such level.
    pub critical: Option<f64>,
    /// The value at which an alert may resolve.
    pub clear: f64,
}

/// The judgement of a value.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Grade {
    /// The highest level that the value has reached, or the mildest level of the check while the alert only holds.
    pub severity: Severity,
    /// `Raise` at a threshold, `Hold` between the mildest threshold and the clear threshold.
    pub strength: Strength,
    /// The share in the health score, from 0 (fine) to 1 (red band).
    pub score: f64,
    /// The threshold of this severity and the clear threshold. None for a fact.
    pub thresholds: Option<(f64, f64)>,
}

impl Grading {
    /// Thresholds for a value that is worse when larger.
    pub const fn rising(warning: f64, critical: f64, clear: f64) -> Self {
        Self::Scale(Direction::Rising, Thresholds::warning_and_critical(warning, critical, clear))
    }

    /// A single threshold, for info, for a value that is worse when larger.
    pub const fn rising_info(info: f64, clear: f64) -> Self {
        Self::Scale(Direction::Rising, Thresholds { info: Some(info), warning: None, critical: None, clear })
    }

    /// A single threshold, for warning, for a value that is worse when larger.
    pub const fn rising_warning(warning: f64, clear: f64) -> Self {
        Self::Scale(Direction::Rising, Thresholds { info: None, warning: Some(warning), critical: None, clear })
    }

    /// Thresholds for a value that is worse when smaller.
    pub const fn falling(warning: f64, critical: f64, clear: f64) -> Self {
        Self::Scale(Direction::Falling, Thresholds::warning_and_critical(warning, critical, clear))
    }

    /// This grading without the levels above `max`. A fact above `max` gets `max`.
    pub fn at_most(self, max: Severity) -> Self {
        match self {
            Self::Fact(severity) => Self::Fact(if rank(severity) > rank(max) { max } else { severity }),
            Self::Scale(direction, thresholds) => Self::Scale(
                direction,
                Thresholds {
                    warning: thresholds.warning.filter(|_| rank(max) >= rank(Severity::Warning)),
                    critical: thresholds.critical.filter(|_| max == Severity::Critical),
                    ..thresholds
                },
            ),
        }
    }

    /// Grades a value. None if the value is fine.
    pub fn grade(self, value: f64) -> Option<Grade> {
        match self {
            Self::Fact(severity) => Some(Grade { severity, strength: Strength::Raise, score: weight(severity), thresholds: None }),
            Self::Scale(direction, thresholds) => thresholds.grade(direction, value),
        }
    }
}

impl Direction {
    /// Whether a value equals the threshold or is worse.
    pub fn reached(self, value: f64, threshold: f64) -> bool {
        match self {
            Self::Rising => value >= threshold,
            Self::Falling => value <= threshold,
        }
    }
}

impl Thresholds {
    const fn warning_and_critical(warning: f64, critical: f64, clear: f64) -> Self {
        Self { info: None, warning: Some(warning), critical: Some(critical), clear }
    }

    /// The severities that have a threshold, mildest first.
    pub fn levels(self) -> impl DoubleEndedIterator<Item = (Severity, f64)> {
        let all = [(Severity::Info, self.info), (Severity::Warning, self.warning), (Severity::Critical, self.critical)];
        all.into_iter().filter_map(|(severity, threshold)| Some((severity, threshold?)))
    }

    fn grade(self, direction: Direction, value: f64) -> Option<Grade> {
        let (mildest, first) = self.levels().next()?;
        let reached = self.levels().rfind(|(_, threshold)| direction.reached(value, *threshold));
        let (severity, raise_at, strength) = match reached {
            Some((severity, threshold)) => (severity, threshold, Strength::Raise),
            // A value equal to the clear threshold is fine.
            None if value != self.clear && direction.reached(value, self.clear) => (mildest, first, Strength::Hold),
            None => return None,
        };
        let score = self.score(value);
        Some(Grade { severity, strength, score, thresholds: Some((raise_at, self.clear)) })
    }

    /// Interpolates linearly between the weights of the levels. A small step of the value therefore causes no jump of the health score.
    fn score(self, value: f64) -> f64 {
        let mut below = (self.clear, 0.0);
        for (severity, threshold) in self.levels() {
            let above = (threshold, weight(severity));
            let share = (value - below.0) / (above.0 - below.0);
            if share < 1.0 {
                return below.1 + share.max(0.0) * (above.1 - below.1);
            }
            below = above;
        }
        below.1
    }
}

fn rank(severity: Severity) -> u8 {
    match severity {
        Severity::Info => 0,
        Severity::Warning => 1,
        Severity::Critical => 2,
    }
}

fn weight(severity: Severity) -> f64 {
    match severity {
        Severity::Info => 0.2,
        Severity::Warning => 0.5,
        Severity::Critical => 1.0,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const CONNECTIONS: Grading = Grading::rising(0.8, 0.9, 0.7);
    const CACHE_HIT: Grading = Grading::falling(0.95, 0.85, 0.97);

    #[track_caller]
    fn check(grading: Grading, value: f64, expected: Option<(Severity, Strength)>) {
        assert_eq!(grading.grade(value).map(|grade| (grade.severity, grade.strength)), expected, "{value}");
    }

    #[test]
    fn severity_follows_the_value_and_holds_until_clear() {
        check(CONNECTIONS, 0.95, Some((Severity::Critical, Strength::Raise)));
        check(CONNECTIONS, 0.90, Some((Severity::Critical, Strength::Raise)));
        check(CONNECTIONS, 0.80, Some((Severity::Warning, Strength::Raise)));
        check(CONNECTIONS, 0.75, Some((Severity::Warning, Strength::Hold)));
        check(CONNECTIONS, 0.70, None);
        check(CONNECTIONS, f64::NEG_INFINITY, None);
    }

    #[test]
    fn a_falling_value_is_graded_the_other_way_round() {
        check(CACHE_HIT, 0.5, Some((Severity::Critical, Strength::Raise)));
        check(CACHE_HIT, 0.9, Some((Severity::Warning, Strength::Raise)));
        check(CACHE_HIT, 0.96, Some((Severity::Warning, Strength::Hold)));
        check(CACHE_HIT, 0.97, None);
        check(CACHE_HIT, 1.0, None);
    }

    #[test]
    fn the_score_rises_with_the_value_without_jumps() {
        let score = |value| CONNECTIONS.grade(value).map_or(0.0, |grade| (grade.score * 100.0).round());
        assert_eq!([0.7, 0.75, 0.8, 0.85, 0.9, 1.0].map(score), [0.0, 25.0, 50.0, 75.0, 100.0, 100.0]);
    }

    #[test]
    fn a_severity_may_be_the_highest() {
        let grade = |max| CONNECTIONS.at_most(max).grade(0.95).map(|grade| grade.severity);
        assert_eq!([Severity::Critical, Severity::Warning].map(grade), [Severity::Critical, Severity::Warning].map(Some));
        check(CONNECTIONS.at_most(Severity::Info), 0.95, None);
    }

    #[test]
    fn a_fact_is_raised_whatever_its_value() {
        check(Grading::Fact(Severity::Critical), 0.0, Some((Severity::Critical, Strength::Raise)));
    }
}
