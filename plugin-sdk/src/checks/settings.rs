//! Settings of checks: the changes that an operator may make, and the refusal of invalid ones.

use std::collections::BTreeMap;

use serde::{Deserialize, Deserializer};
use serde_json::Value;

use super::grade::{Direction, Grading, Thresholds};
use super::scope::Scope;
use super::selection::{Labels, Selection};
use super::{Check, Severity};
use crate::settings::{Ignored, nearest, parse_leniently};
use crate::{Failure, HumanDuration, Label};

/// `[plugin.ID.settings]` of a plugin made of checks. An invalid setting is left out, so that every check stays in force.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct Settings {
    /// The changes of each check, by the id of the check.
    pub checks: BTreeMap<String, Override>,
    /// Settings that were left out so far.
    pub ignored: Vec<Ignored>,
}

impl<'de> Deserialize<'de> for Settings {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let mut settings = Self::default();
        for (key, value) in BTreeMap::<String, Value>::deserialize(deserializer)? {
            match (key.as_str(), value) {
                ("checks", Value::Object(checks)) => {
                    for (id, change) in checks {
                        let change = parse_leniently(change, &format!("settings.checks.{id}"), &mut settings.ignored);
                        settings.checks.insert(id, change.unwrap_or_default());
                    }
                }
                ("checks", _) => settings.ignored.push(Ignored::new("settings.checks", "must be a table")),
                (other, _) => {
                    let hint = nearest(other, ["checks"]).map(|meant| format!("; did you mean `{meant}`?")).unwrap_or_default();
                    settings.ignored.push(Ignored::new(format!("settings.{other}"), format!("unknown key{hint}")));
                }
            }
        }
        Ok(settings)
    }
}

/// The operator's changes of a check. None means the default of the check.
#[derive(Debug, Clone, PartialEq, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Override {
    /// False turns the check off.
    pub enabled: Option<bool>,
    /// The threshold for info, in the unit of the check's value.
    pub info: Option<f64>,
    /// The threshold for warning, in the unit of the check's value.
    pub warning: Option<f64>,
    /// The threshold for critical, in the unit of the check's value.
    pub critical: Option<f64>,
    /// The clear threshold. None moves the default in proportion to the mildest threshold.
    pub clear: Option<f64>,
    /// The severity of a check that grades a fact. Refused for a check with thresholds.
    pub severity: Option<Severity>,
    /// The time that the problem must last before the alert fires.
    #[serde(rename = "for")]
    pub hold_off: Option<HumanDuration>,
    /// The time that all must be well before the alert resolves.
    pub keep_firing_for: Option<HumanDuration>,
    /// The labels of the subjects and series that the check judges. None means all.
    pub only: Option<Labels>,
    /// The labels of the subjects and series that the check leaves out.
    pub except: Option<Labels>,
    /// Other levels for some of the subjects and series.
    pub overrides: Vec<Exception>,
}

/// Other levels of a check for some of its subjects and series. The first exception that fits a series decides.
#[derive(Debug, Clone, PartialEq, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Exception {
    /// The labels of the subjects and series that this exception is for. None means all.
    pub only: Option<Labels>,
    /// The labels of the subjects and series that this exception leaves out.
    pub except: Option<Labels>,
    /// The threshold for info, in the unit of the check's value.
    pub info: Option<f64>,
    /// The threshold for warning, in the unit of the check's value.
    pub warning: Option<f64>,
    /// The threshold for critical, in the unit of the check's value.
    pub critical: Option<f64>,
    /// The clear threshold. None moves it in proportion to the mildest threshold.
    pub clear: Option<f64>,
    /// The severity of a check that grades a fact. Refused for a check with thresholds.
    pub severity: Option<Severity>,
}

/// The changed levels of a check. A check that grades a fact accepts only `severity`.
#[derive(Debug, Clone, Copy)]
struct Levels {
    info: Option<f64>,
    warning: Option<f64>,
    critical: Option<f64>,
    clear: Option<f64>,
    severity: Option<Severity>,
}

/// The gradings of a check after the operator's changes.
pub(crate) struct Gradings {
    /// The subjects and series that the check judges.
    pub selection: Selection,
    exceptions: Vec<(Selection, Grading)>,
    rest: Grading,
}

impl Gradings {
    /// Applies the operator's changes. An invalid setting goes into `ignored`, and all others stay in force. Invalid thresholds become the
    /// defaults again. A selection by labels that the check does not have selects everything. An invalid override has no effect.
    pub(crate) fn new(check: &Check, subject_kind: &str, change: &Override, ignored: &mut Vec<Ignored>) -> Self {
        let Override { info, warning, critical, clear, severity, .. } = *change;
        let place = format!("settings.checks.{}", check.id);
        let own = own_labels(check, subject_kind);
        let rest = or_ignored(grading(check.grading, Levels { info, warning, critical, clear, severity }, &place), ignored);
        let rest = rest.unwrap_or(check.grading);
        let mut selection = Selection::new(change.only.clone(), change.except.clone());
        while let Some((key, why)) = own.as_deref().and_then(|own| selection.unknown_label(own)) {
            ignored.push(Ignored::new(format!("{place}.{key}"), why));
            selection = selection.without(key);
        }
        let exception = |(index, exception): (usize, &Exception)| {
            let Exception { info, warning, critical, clear, severity, .. } = *exception;
            let place = format!("{place}.overrides[{index}]");
            let selection = Selection::new(exception.only.clone(), exception.except.clone());
            let read = refuse_unknown_labels(&selection, own.as_deref(), &place)
                .and_then(|()| grading(rest, Levels { info, warning, critical, clear, severity }, &place));
            Some((selection, or_ignored(read, ignored)?))
        };
        let exceptions = change.overrides.iter().enumerate().filter_map(exception).collect();
        Self { selection, exceptions, rest }
    }

    /// The gradings that may apply to a series that has these labels and perhaps more.
    pub(crate) fn possible(&self, labels: &[&[Label]]) -> Vec<Grading> {
        let mut possible = Vec::new();
        for (selection, grading) in &self.exceptions {
            if selection.may_select(labels) {
                possible.push(*grading);
            }
            if selection.selects_all(labels) {
                return possible;
            }
        }
        possible.push(self.rest);
        possible
    }

    /// The grading of a series with exactly these labels.
    pub(crate) fn for_labels(&self, labels: &[&[Label]]) -> Grading {
        self.exceptions.iter().find(|(selection, _)| selection.selects(labels)).map_or(self.rest, |(_, grading)| *grading)
    }
}

fn or_ignored<T>(read: Result<T, Failure>, ignored: &mut Vec<Ignored>) -> Option<T> {
    read.map_err(|failure| ignored.push(Ignored::from_failure(failure))).ok()
}

/// The labels by which an operator may select. None if the kind of subject is unknown here, so that every label is accepted. A check of
/// scope `Shared` has no label `server`. A selection by server would stop the check as soon as another server is the primary.
fn own_labels(check: &Check, subject_kind: &str) -> Option<Vec<&'static str>> {
    let subject_labels: &[&str] = match subject_kind {
        "agent" => &["agent"],
        "database" => &["database"],
        "postgres" | "redis" if check.scope == Scope::Shared => &["database"],
        "postgres" | "redis" => &["database", "server"],
        _ => return None,
    };
    Some([subject_labels, check.labels].concat())
}

/// Refuses labels that the check does not have.
fn refuse_unknown_labels(selection: &Selection, own: Option<&[&str]>, place: &str) -> Result<(), Failure> {
    match own.and_then(|own| selection.unknown_label(own)) {
        None => Ok(()),
        Some((key, why)) => Err(Failure::InvalidConfig(format!("{place}.{key}: {why}"))),
    }
}

/// Reports settings of checks that do not exist.
pub(crate) fn unknown(settings: &Settings, known: &[&'static str]) -> Vec<Ignored> {
    let unknown = settings.checks.keys().filter(|id| !known.contains(&id.as_str()));
    let ignored = |id: &String| {
        let hint = match nearest(id, known.iter().copied()) {
            Some(meant) => format!("did you mean `{meant}`?"),
            None => format!("the checks are {}", known.join(", ")),
        };
        Ignored::new(format!("settings.checks.{id}"), format!("no such check; {hint}"))
    };
    unknown.map(ignored).collect()
}

fn grading(defaults: Grading, levels: Levels, place: &str) -> Result<Grading, Failure> {
    let refuse = |why: String| Err(Failure::InvalidConfig(format!("{place}: {why}")));
    match defaults {
        Grading::Fact(severity) => match levels.first_threshold() {
            None => Ok(Grading::Fact(levels.severity.unwrap_or(severity))),
            Some(key) => refuse(format!("`{key}` has no meaning here: this check answers yes or no; set `severity`")),
        },
        Grading::Scale(..) if levels.severity.is_some() => {
            refuse("`severity` has no meaning here: the severity follows the value; set `info`, `warning` or `critical`".to_owned())
        }
        Grading::Scale(direction, defaults) => {
            let thresholds = overlaid(defaults, levels);
            match disorder(direction, thresholds) {
                None => Ok(Grading::Scale(direction, thresholds)),
                Some(why) => refuse(why),
            }
        }
    }
}

impl Levels {
    fn first_threshold(self) -> Option<&'static str> {
        let thresholds = [("info", self.info), ("warning", self.warning), ("critical", self.critical), ("clear", self.clear)];
        thresholds.into_iter().find(|(_, value)| value.is_some()).map(|(key, _)| key)
    }
}

fn overlaid(defaults: Thresholds, change: Levels) -> Thresholds {
    let mut thresholds = Thresholds {
        info: change.info.or(defaults.info),
        warning: change.warning.or(defaults.warning),
        critical: change.critical.or(defaults.critical),
        clear: defaults.clear,
    };
    // A moved threshold moves the clear threshold in proportion. Otherwise the clear threshold could lie on the wrong side.
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

/// Explains a wrong order of `clear`, `info`, `warning`, `critical`. None if the order is right.
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
