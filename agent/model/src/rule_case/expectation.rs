//! What a case expects at a tick, beside what there was.

use std::collections::BTreeMap;
use std::fmt::Write;
use std::time::Duration;

use serde::{Deserialize, Serialize};

use super::shown;
use crate::alert::{Alert, AlertState, Transition};
use crate::finding::{RuleSpec, Severity, Skipped};
use crate::subject::Label;

/// An alert that should be open.
#[derive(Debug, Clone, PartialEq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ExpectedAlert {
    pub rule: String,
    /// All of them, beside those of the subject.
    #[serde(default)]
    pub labels: BTreeMap<String, String>,
    pub severity: Severity,
    pub state: AlertState,
    pub value: Option<f64>,
    /// A part of it.
    pub title: Option<String>,
    /// A part of why it stands still; the empty text is any reason.
    pub frozen: Option<String>,
    pub flapping: Option<bool>,
}

/// A change that should have happened.
#[derive(Debug, Clone, PartialEq)]
pub struct ExpectedTransition {
    pub rule: String,
    pub labels: BTreeMap<String, String>,
    /// As [`Reason::as_str`](crate::alert::Reason::as_str) says it.
    pub reason: String,
    pub severity: Option<Severity>,
    pub at: Option<Duration>,
}

/// How a line of a comparison reads.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Mark {
    /// Expected, and there.
    Met,
    /// Expected, and not there.
    Missing,
    /// There, and not expected.
    Unexpected,
}

impl Mark {
    pub fn sign(self) -> char {
        match self {
            Self::Met => ' ',
            Self::Missing => '-',
            Self::Unexpected => '+',
        }
    }
}

/// One line of a comparison.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Line {
    pub mark: Mark,
    pub text: String,
}

impl Line {
    fn new(mark: Mark, text: impl Into<String>) -> Self {
        Self { mark, text: text.into() }
    }
}

/// What there was at a tick.
#[derive(Debug)]
pub struct Seen<'a> {
    /// Since the case began.
    pub at: Duration,
    pub wall_ms: u64,
    pub alerts: Vec<&'a Alert>,
    pub rules: &'a [RuleSpec],
    pub skipped: &'a [Skipped],
}

impl Seen<'_> {
    /// The alerts that are open, beside those that should be: exactly these.
    pub fn compare_alerts(&self, expected: &[ExpectedAlert]) -> Vec<Line> {
        let mut open = self.alerts.clone();
        let mut lines = Vec::new();
        for expected in expected {
            let found = open.iter().position(|alert| expected.is_about(alert)).map(|at| open.remove(at));
            match found {
                Some(alert) if expected.fits(alert) => lines.push(Line::new(Mark::Met, self.alert(alert))),
                found => {
                    lines.push(Line::new(Mark::Missing, expected.text()));
                    lines.extend(found.map(|alert| Line::new(Mark::Unexpected, self.alert(alert))));
                }
            }
        }
        lines.extend(open.into_iter().map(|alert| Line::new(Mark::Unexpected, self.alert(alert))));
        lines
    }

    /// Rules that should be skipped, perhaps among others.
    pub fn compare_skipped(&self, expected: &[String]) -> Vec<Line> {
        let line = |rule: &String| match self.skipped.iter().find(|skipped| skipped.rule == *rule) {
            Some(skipped) => Line::new(Mark::Met, skipped_text(skipped)),
            None => Line::new(Mark::Missing, rule),
        };
        expected.iter().map(line).collect()
    }

    /// Why these rules could not look.
    pub fn skips_of<'b>(&self, rules: impl Fn(&str) -> bool + 'b) -> Vec<String> {
        self.skipped.iter().filter(|skipped| rules(&skipped.rule)).map(skipped_text).collect()
    }

    /// With what a reader needs to see why it is not in another state.
    fn alert(&self, alert: &Alert) -> String {
        let mut text = head(alert.state, alert.severity, &alert.rule, &pairs(&alert.labels));
        let since = Duration::from_millis(self.wall_ms.saturating_sub(alert.since_ms));
        let _ = write!(text, ": \"{}\"", alert.title);
        if let Some(value) = alert.value {
            let _ = write!(text, ", value {value}");
        }
        let _ = write!(text, ", since {}", shown(self.at.saturating_sub(since)));
        let rule = self.rules.iter().find(|rule| rule.id == alert.rule);
        let wait = rule.and_then(|rule| match alert.state {
            AlertState::Pending => Some(("raised", rule.for_)),
            AlertState::Recovering => Some(("clear", rule.keep_firing)),
            _ => None,
        });
        if let Some((word, asked)) = wait {
            let _ = write!(text, ", {word} for {} of {}", shown(alert.held), shown(asked));
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
            && self.reason == transition.reason.as_str()
            && self.severity.is_none_or(|severity| severity == transition.severity)
            && self.at.is_none_or(|expected| expected == at)
    }

    fn text(&self) -> String {
        let severity = self.severity.map_or("any", Severity::as_str);
        let mut text = format!("{:16} {severity:8} {}{}", self.reason, self.rule, expected_pairs(&self.labels));
        if let Some(at) = self.at {
            let _ = write!(text, ", at {}", shown(at));
        }
        text
    }
}

/// Transitions beside those that should have happened, in order: exactly these.
pub fn compare_transitions(expected: &[ExpectedTransition], happened: &[&Transition]) -> Vec<Line> {
    let unexpected = |transition: &&Transition| Line::new(Mark::Unexpected, transition_text(transition));
    let mut rest = happened;
    let mut lines = Vec::new();
    for expected in expected {
        match rest.iter().position(|transition| expected.fits(transition, transition.at.monotonic)) {
            Some(at) => {
                lines.extend(rest[..at].iter().map(unexpected));
                lines.push(Line::new(Mark::Met, transition_text(rest[at])));
                rest = &rest[at + 1..];
            }
            None => lines.push(Line::new(Mark::Missing, expected.text())),
        }
    }
    lines.extend(rest.iter().map(unexpected));
    lines
}

fn transition_text(transition: &Transition) -> String {
    let Transition { reason, severity, alert, at, .. } = transition;
    let at = shown(at.monotonic);
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

/// A number of the case, which people round.
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
