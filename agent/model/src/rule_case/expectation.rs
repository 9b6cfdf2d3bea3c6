//! Expected alerts and transitions of a case beside those that a plugin raised, compared line by line.

use std::collections::BTreeMap;
use std::fmt::Write;
use std::time::Duration;

use serde::{Deserialize, Serialize};

use super::ticks::duration_text;
use crate::alert::{Alert, AlertState, ReasonKind, Transition};
use crate::finding::{RuleSpec, Severity, Skipped};
use crate::subject::Label;

/// An alert that should be open at a tick. Keys that are left out match any alert.
#[derive(Debug, Clone, PartialEq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ExpectedAlert {
    /// Id of the rule.
    pub rule: String,
    /// All labels of the alert but those of the subject.
    #[serde(default)]
    pub labels: BTreeMap<String, String>,
    /// Severity of the alert.
    pub severity: Severity,
    /// State of the alert: open alerts are pending, firing or recovering.
    pub state: AlertState,
    /// Value of the alert, compared with a tolerance for rounding.
    pub value: Option<f64>,
    /// Text that the title contains.
    pub title: Option<String>,
    /// Text that the reason contains for which the alert is frozen. The empty text fits every reason.
    pub frozen: Option<String>,
    /// Whether the alert is flapping.
    pub flapping: Option<bool>,
}

/// A transition that should have happened. Keys that are left out match any transition.
#[derive(Debug, Clone, PartialEq)]
pub struct ExpectedTransition {
    /// Id of the rule.
    pub rule: String,
    /// All labels of the alert but those of the subject.
    pub labels: BTreeMap<String, String>,
    /// Why the alert changed.
    pub reason: ReasonKind,
    /// Severity of the alert after the change.
    pub severity: Option<Severity>,
    /// Time from the beginning of the case.
    pub at: Option<Duration>,
}

/// Result of the comparison for one line: whether it was expected, and whether it happened.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Mark {
    /// Expected, and it happened.
    Met,
    /// Expected, and it did not happen.
    Missing,
    /// It happened, and was not expected.
    Unexpected,
}

impl Mark {
    /// The first character of the printed line, as in a diff.
    pub fn sign(self) -> char {
        match self {
            Self::Met => ' ',
            Self::Missing => '-',
            Self::Unexpected => '+',
        }
    }
}

/// One line of a comparison, as `pharos rules test` prints it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct ComparedLine {
    /// Whether the line was expected, and whether it happened.
    pub mark: Mark,
    /// The alert, transition or skip in words.
    pub text: String,
}

impl ComparedLine {
    fn new(mark: Mark, text: impl Into<String>) -> Self {
        Self { mark, text: text.into() }
    }
}

/// The alerts and skips after a tick was judged.
#[derive(Debug)]
pub struct TickOutcome<'a> {
    /// Time of the tick, from the beginning of the case.
    pub at: Duration,
    /// Time of the tick by the case's clock, in milliseconds since 1970.
    pub wall_ms: u64,
    /// All open alerts.
    pub alerts: Vec<&'a Alert>,
    /// The rules of the plugin about this kind of subject.
    pub rules: &'a [RuleSpec],
    /// Rules that the plugin could not judge at this tick.
    pub skipped: &'a [Skipped],
}

impl TickOutcome<'_> {
    /// Compares the open alerts with the expected ones, which must be all.
    pub fn compare_alerts(&self, expected: &[ExpectedAlert]) -> Vec<ComparedLine> {
        let mut open = self.alerts.clone();
        let mut lines = Vec::new();
        for expected in expected {
            let found = open.iter().position(|alert| expected.is_about(alert)).map(|at| open.remove(at));
            match found {
                Some(alert) if expected.fits(alert) => lines.push(ComparedLine::new(Mark::Met, self.alert(alert))),
                found => {
                    lines.push(ComparedLine::new(Mark::Missing, expected.text()));
                    lines.extend(found.map(|alert| ComparedLine::new(Mark::Unexpected, self.alert(alert))));
                }
            }
        }
        lines.extend(open.into_iter().map(|alert| ComparedLine::new(Mark::Unexpected, self.alert(alert))));
        lines
    }

    /// Compares the skipped rules with the expected ones. More rules may be skipped.
    pub fn compare_skipped(&self, expected: &[String]) -> Vec<ComparedLine> {
        let line = |rule: &String| match self.skipped.iter().find(|skipped| skipped.rule == *rule) {
            Some(skipped) => ComparedLine::new(Mark::Met, skipped_text(skipped)),
            None => ComparedLine::new(Mark::Missing, rule),
        };
        expected.iter().map(line).collect()
    }

    /// Reasons for which these rules were skipped.
    pub fn skips_of<'b>(&self, rules: impl Fn(&str) -> bool + 'b) -> Vec<String> {
        self.skipped.iter().filter(|skipped| rules(&skipped.rule)).map(skipped_text).collect()
    }

    /// The alert in words, with its hold times: they show why it is not in another state.
    fn alert(&self, alert: &Alert) -> String {
        let mut text = head(alert.state, alert.severity, &alert.rule, &pairs(&alert.labels));
        let since = Duration::from_millis(self.wall_ms.saturating_sub(alert.since_ms));
        let _ = write!(text, ": \"{}\"", alert.title);
        if let Some(value) = alert.value {
            let _ = write!(text, ", value {value}");
        }
        let _ = write!(text, ", since {}", duration_text(self.at.saturating_sub(since)));
        let rule = self.rules.iter().find(|rule| rule.id == alert.rule);
        let wait = rule.and_then(|rule| match alert.state {
            AlertState::Pending => Some(("raised", rule.for_)),
            AlertState::Recovering => Some(("clear", rule.keep_firing)),
            _ => None,
        });
        if let Some((word, wait)) = wait {
            let _ = write!(text, ", {word} for {} of {}", duration_text(alert.held), duration_text(wait));
        }
        if alert.is_flapping() {
            text.push_str(", flapping");
        }
        if let Some(frozen) = &alert.frozen {
            let _ = write!(text, ", frozen: {frozen}");
        }
        text
    }
}

impl ExpectedAlert {
    fn is_about(&self, alert: &Alert) -> bool {
        self.rule == alert.rule && same_labels(&self.labels, &alert.labels)
    }

    fn fits(&self, alert: &Alert) -> bool {
        self.severity == alert.severity
            && self.state == alert.state
            && self.value.is_none_or(|value| alert.value.is_some_and(|got| nearly(value, got)))
            && self.title.as_ref().is_none_or(|part| alert.title.contains(part))
            && self.frozen.as_ref().is_none_or(|part| alert.frozen.as_ref().is_some_and(|why| why.to_string().contains(part)))
            && self.flapping.is_none_or(|flapping| flapping == alert.is_flapping())
    }

    fn text(&self) -> String {
        let mut text = head(self.state, self.severity, &self.rule, &expected_pairs(&self.labels));
        for (word, part) in [("title with", &self.title), ("frozen with", &self.frozen)] {
            if let Some(part) = part {
                let _ = write!(text, ", {word} \"{part}\"");
            }
        }
        if let Some(value) = self.value {
            let _ = write!(text, ", value {value}");
        }
        if let Some(flapping) = self.flapping {
            text.push_str(if flapping { ", flapping" } else { ", not flapping" });
        }
        text
    }
}

impl ExpectedTransition {
    fn fits(&self, transition: &Transition, at: Duration) -> bool {
        self.rule == transition.alert.rule
            && same_labels(&self.labels, &transition.alert.labels)
            && self.reason == transition.reason.kind()
            && self.severity.is_none_or(|severity| severity == transition.severity)
            && self.at.is_none_or(|expected| expected == at)
    }

    fn text(&self) -> String {
        let severity = self.severity.map_or("any", Severity::as_str);
        let mut text = format!("{:16} {severity:8} {}{}", self.reason.as_str(), self.rule, expected_pairs(&self.labels));
        if let Some(at) = self.at {
            let _ = write!(text, ", at {}", duration_text(at));
        }
        text
    }
}

/// Compares transitions with the expected ones, which must be all, in this order.
pub fn compare_transitions(expected: &[ExpectedTransition], happened: &[&Transition]) -> Vec<ComparedLine> {
    let unexpected = |transition: &&Transition| ComparedLine::new(Mark::Unexpected, transition_text(transition));
    let mut rest = happened;
    let mut lines = Vec::new();
    for expected in expected {
        match rest.iter().position(|transition| expected.fits(transition, transition.at.monotonic)) {
            Some(at) => {
                lines.extend(rest[..at].iter().map(unexpected));
                lines.push(ComparedLine::new(Mark::Met, transition_text(rest[at])));
                rest = &rest[at + 1..];
            }
            None => lines.push(ComparedLine::new(Mark::Missing, expected.text())),
        }
    }
    lines.extend(rest.iter().map(unexpected));
    lines
}

fn transition_text(transition: &Transition) -> String {
    let Transition { reason, severity, alert, at, .. } = transition;
    let at = duration_text(at.monotonic);
    format!("{reason:16} {severity:8} {}{}, at {at}: \"{}\"", alert.rule, pairs(&alert.labels), alert.title)
}

fn skipped_text(skipped: &Skipped) -> String {
    format!("{}{}: {}", skipped.rule, pairs(&skipped.labels), skipped.reason)
}

fn head(state: AlertState, severity: Severity, rule: &str, labels: &str) -> String {
    format!("{state:10} {severity:8} {rule}{labels}")
}

fn same_labels(expected: &BTreeMap<String, String>, labels: &[Label]) -> bool {
    expected.len() == labels.len() && labels.iter().all(|label| expected.get(&label.name) == Some(&label.value))
}

/// Whether two values are equal within a tolerance, because authors round the numbers of a case.
fn nearly(expected: f64, got: f64) -> bool {
    (expected - got).abs() <= 1e-9 * expected.abs().max(1.0)
}

fn pairs(labels: &[Label]) -> String {
    braced(labels.iter().map(|label| format!("{}={}", label.name, label.value)).collect())
}

fn expected_pairs(labels: &BTreeMap<String, String>) -> String {
    braced(labels.iter().map(|(name, value)| format!("{name}={value}")).collect())
}

fn braced(pairs: Vec<String>) -> String {
    if pairs.is_empty() { String::new() } else { format!("{{{}}}", pairs.join(",")) }
}
