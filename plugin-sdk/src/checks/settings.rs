//! What the operator may change about a check, and what would make no sense.

use std::collections::BTreeMap;

use serde::Deserialize;

use super::grade::{Direction, Grading, Thresholds};
use super::{Check, Severity};
use crate::settings::nearest;
use crate::{Failure, HumanDuration};

/// `[plugin.ID.settings]` of a plugin made of checks.
#[derive(Debug, Clone, PartialEq, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Settings {
    pub checks: BTreeMap<String, Override>,
}

/// What differs from a check's defaults.
#[derive(Debug, Clone, PartialEq, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Override {
    pub enabled: Option<bool>,
    pub info: Option<f64>,
    pub warning: Option<f64>,
    pub critical: Option<f64>,
    pub clear: Option<f64>,
    #[serde(rename = "for")]
    pub hold_off: Option<HumanDuration>,
    pub keep_firing_for: Option<HumanDuration>,
}

/// Refuses settings for checks that do not exist.
pub fn refuse_unknown(settings: &Settings, known: &[&'static str]) -> Result<(), Failure> {
    let Some(id) = settings.checks.keys().find(|id| !known.contains(&id.as_str())) else { return Ok(()) };
    let hint = match nearest(id, known.iter().copied()) {
        Some(meant) => format!("did you mean `{meant}`?"),
        None => format!("the checks are {}", known.join(", ")),
    };
    Err(Failure::InvalidConfig(format!("settings.checks.{id}: no such check; {hint}")))
}

/// The grading of a check after the operator's changes.
pub fn grading(check: &Check, change: &Override) -> Result<Grading, Failure> {
    let refuse = |why: String| Err(Failure::InvalidConfig(format!("settings.checks.{}: {why}", check.id)));
    match check.grading {
        Grading::Fact(_) => match changed_threshold(change) {
            None => Ok(check.grading),
            Some(key) => refuse(format!("`{key}` has no meaning here: it is wrong or it is not; remove the key")),
        },
        Grading::Scale(direction, defaults) => {
            let thresholds = overlaid(defaults, change);
            match disorder(direction, thresholds) {
                None => Ok(Grading::Scale(direction, thresholds)),
                Some(why) => refuse(why),
            }
        }
    }
}

fn changed_threshold(change: &Override) -> Option<&'static str> {
    let thresholds = [("info", change.info), ("warning", change.warning), ("critical", change.critical), ("clear", change.clear)];
    thresholds.into_iter().find(|(_, value)| value.is_some()).map(|(key, _)| key)
}

fn overlaid(defaults: Thresholds, change: &Override) -> Thresholds {
    let mut thresholds = Thresholds {
        info: change.info.or(defaults.info),
        warning: change.warning.or(defaults.warning),
        critical: change.critical.or(defaults.critical),
        clear: defaults.clear,
    };
    // A threshold that moves takes its distance to the clear threshold along, in proportion.
    let first = |thresholds: Thresholds| thresholds.levels().next().map(|(_, value)| value);
    if let (Some(before), Some(after)) = (first(defaults), first(thresholds))
        && before != 0.0
        && before != after
    {
        thresholds.clear = defaults.clear * after / before;
    }
    thresholds.clear = change.clear.unwrap_or(thresholds.clear);
    thresholds
}

/// What is wrong with the order `clear`, `info`, `warning`, `critical`, if anything.
fn disorder(direction: Direction, thresholds: Thresholds) -> Option<String> {
    let mut steps = vec![("clear", thresholds.clear)];
    steps.extend(thresholds.levels().map(|(severity, value)| (key(severity), value)));
    let (below, above) = match direction {
        Direction::Rising => ("below", "raise"),
        Direction::Falling => ("above", "lower"),
    };
    steps.windows(2).find_map(|pair| match *pair {
        [(milder, mild), (worse, severe)] if mild == severe || !direction.reached(severe, mild) => {
            Some(format!("`{milder}` ({mild}) must be {below} `{worse}` ({severe}); {above} `{worse}` or move `{milder}` as well"))
        }
        _ => None,
    })
}

fn key(severity: Severity) -> &'static str {
    match severity {
        Severity::Info => "info",
        Severity::Warning => "warning",
        Severity::Critical => "critical",
    }
}
