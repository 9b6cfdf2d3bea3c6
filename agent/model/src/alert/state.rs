//! One alert, and what one piece of evidence does to it.
//!
//! ```text
//!             raise                 raise, `for` passed                 clear                  clear, `keep_firing` passed
//! inactive ----------> pending ------------------------> firing ---------------> recovering -----------------------------> resolved
//!                         | clear                          ^                         | raise or hold
//!                         v                                +-------------------------+
//!                      inactive
//! ```
//! With `for` 0 an alert fires at once, with `keep_firing` 0 it resolves at once.
//!
//! Time is not taken from when a state began but gathered from evaluation to evaluation: a stretch counts when the one
//! it began with agreed (raised while pending, clear while recovering). So neither a skipped rule, an absent plugin, a
//! restart nor a stepped clock can promote an alert; data that fails now and then only delays it; and what is gathered
//! can be stored as it is. Only an evaluation that agrees promotes.

use std::{fmt, time::Duration};

use serde::{Deserialize, Serialize};

use super::{Fingerprint, Now, Reason, Transition};
use crate::{
    finding::{Finding, RuleSpec, Severity, SkipReason, Strength},
    subject::{Label, Subject},
};

/// Where an alert stands. An alert that is inactive or resolved is no longer in the book; the two appear in transitions.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum AlertState {
    Inactive,
    /// Raised, but not yet for as long as its rule asks.
    Pending,
    Firing,
    /// Clear, but not yet for as long as its rule asks. Still an incident.
    Recovering,
    Resolved,
}

impl AlertState {
    /// The states an alert in the book can have.
    pub const OPEN: [Self; 3] = [Self::Pending, Self::Firing, Self::Recovering];

    pub fn as_str(self) -> &'static str {
        match self {
            Self::Inactive => "inactive",
            Self::Pending => "pending",
            Self::Firing => "firing",
            Self::Recovering => "recovering",
            Self::Resolved => "resolved",
        }
    }

    pub fn is_open(self) -> bool {
        Self::OPEN.contains(&self)
    }
}

impl fmt::Display for AlertState {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.as_str())
    }
}

/// Why an alert stands still: nobody can say whether it is still true.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Freeze {
    /// The rule could not look.
    Skipped(SkipReason),
    /// The call of the plugin failed.
    Failed(String),
    /// The plugin is not serving.
    Plugin(String),
    /// Restored from the store and not judged since.
    Restored,
}

impl fmt::Display for Freeze {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Skipped(reason) => write!(f, "skipped: {reason}"),
            Self::Failed(why) => write!(f, "the plugin failed: {why}"),
            Self::Plugin(why) => write!(f, "the plugin is not serving: {why}"),
            Self::Restored => f.write_str("not judged since the agent started"),
        }
    }
}

/// A finding over time. Serialises completely: what is read back goes on where it was.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Alert {
    pub fingerprint: Fingerprint,
    /// The number of this episode, from its first raise to its end. Unique in the book, and growing.
    pub incident: u64,
    /// Transitions of this incident so far.
    pub step: u32,
    pub plugin: String,
    pub rule: String,
    pub subject: Subject,
    /// Sorted by name.
    pub labels: Vec<Label>,
    pub state: AlertState,
    pub severity: Severity,
    /// Wall clock: when it entered its state.
    pub since_ms: u64,
    /// Wall clock: the first raise of this incident.
    pub started_at_ms: u64,
    /// Wall clock: when it fired; none while it is pending.
    pub fired_at_ms: Option<u64>,
    /// Time gathered towards `for` while pending, towards `keep_firing` while recovering.
    pub held: Duration,
    pub frozen: Option<Freeze>,
    pub runbook: Option<String>,
    // As the latest finding said.
    pub score: Option<f64>,
    pub value: Option<f64>,
    pub raise_at: Option<f64>,
    pub clear_at: Option<f64>,
    pub title: String,
    pub detail: String,
    pub cause: Option<String>,
    pub fix: Option<String>,
    pub evidence: Vec<Label>,
    /// Monotonic: the evaluation up to which `held` counts; none while the clock stands. Another process has another
    /// monotonic clock, so it is never stored.
    #[serde(skip)]
    counted_to: Option<Duration>,
}

impl Alert {
    /// A new incident, from a finding that raises. Fires at once if its rule does not ask to wait.
    pub(super) fn open(
        plugin: &str,
        subject: &Subject,
        rule: &RuleSpec,
        finding: Finding,
        incident: u64,
        now: Now,
        out: &mut Vec<Transition>,
    ) -> Self {
        let mut alert = Self {
            fingerprint: Fingerprint::of(plugin, &finding.rule, &subject.key(), &finding.labels),
            incident,
            step: 0,
            plugin: plugin.to_owned(),
            rule: finding.rule.clone(),
            subject: subject.clone(),
            labels: finding.labels.clone(),
            state: AlertState::Inactive,
            severity: finding.severity,
            since_ms: now.wall_ms,
            started_at_ms: now.wall_ms,
            fired_at_ms: None,
            held: Duration::ZERO,
            frozen: None,
            runbook: rule.runbook.clone(),
            score: None,
            value: None,
            raise_at: None,
            clear_at: None,
            title: String::new(),
            detail: String::new(),
            cause: None,
            fix: None,
            evidence: Vec::new(),
            counted_to: None,
        };
        alert.observe(finding);
        if rule.for_.is_zero() {
            alert.enter(AlertState::Firing, Reason::Firing, now, out);
        } else {
            alert.enter(AlertState::Pending, Reason::Raised, now, out);
        }
        alert
    }

    /// Takes in what one evaluation says: a finding, nothing (it is fine), or why nobody could look.
    pub(super) fn step(&mut self, said: Result<Option<Finding>, Freeze>, rule: &RuleSpec, now: Now, out: &mut Vec<Transition>) {
        let finding = match said {
            Ok(finding) => finding,
            Err(why) => {
                self.stop_clock(now);
                return self.freeze(why);
            }
        };
        self.frozen = None;
        self.runbook.clone_from(&rule.runbook);
        match (self.state, finding) {
            (AlertState::Pending, Some(finding)) => self.step_pending(finding, rule, now, out),
            (AlertState::Pending, None) => self.enter(AlertState::Inactive, Reason::Cleared, now, out),
            (AlertState::Firing, None) if rule.keep_firing.is_zero() => {
                self.enter(AlertState::Resolved, Reason::Resolved, now, out);
            }
            (AlertState::Firing, None) => self.enter(AlertState::Recovering, Reason::Recovering, now, out),
            (AlertState::Recovering, None) => {
                self.gather(now);
                if self.held >= rule.keep_firing {
                    self.enter(AlertState::Resolved, Reason::Resolved, now, out);
                }
            }
            (_, Some(finding)) => {
                if self.state == AlertState::Recovering {
                    self.enter(AlertState::Firing, Reason::Returned, now, out);
                }
                let from = self.severity;
                self.observe(finding);
                if self.severity != from {
                    self.enter(AlertState::Firing, Reason::SeverityChanged { from }, now, out);
                }
            }
            (AlertState::Inactive | AlertState::Resolved, None) => {}
        }
    }

    /// A hold neither ends the wait nor counts towards it.
    fn step_pending(&mut self, finding: Finding, rule: &RuleSpec, now: Now, out: &mut Vec<Transition>) {
        let strength = finding.strength;
        self.observe(finding);
        match strength {
            Strength::Hold => self.stop_clock(now),
            Strength::Raise => {
                self.gather(now);
                if self.held >= rule.for_ {
                    self.enter(AlertState::Firing, Reason::Firing, now, out);
                }
            }
        }
    }

    /// Without a clock to ask: what passed since the latest evaluation does not count.
    pub(super) fn freeze(&mut self, why: Freeze) {
        self.counted_to = None;
        self.frozen = Some(why);
    }

    /// Counts up to now, then nothing until an evaluation agrees again.
    pub(super) fn stop_clock(&mut self, now: Now) {
        if self.state != AlertState::Firing {
            self.gather(now);
        }
        self.counted_to = None;
    }

    /// Ends it because what it was about is no longer watched.
    pub(super) fn close(&mut self, reason: Reason, now: Now, out: &mut Vec<Transition>) {
        let to = if self.state == AlertState::Pending { AlertState::Inactive } else { AlertState::Resolved };
        self.enter(to, reason, now, out);
    }

    /// Counts the time since the latest evaluation, unless the clock stood. A snapshot judged twice, or late, counts once.
    fn gather(&mut self, now: Now) {
        let latest = self.counted_to.unwrap_or(now.monotonic);
        self.held = self.held.saturating_add(now.monotonic.saturating_sub(latest));
        self.counted_to = Some(latest.max(now.monotonic));
    }

    /// A hold may lower the severity but never raise it: that threshold was not passed.
    fn observe(&mut self, finding: Finding) {
        self.severity = match finding.strength {
            Strength::Raise => finding.severity,
            Strength::Hold => finding.severity.min(self.severity),
        };
        self.score = finding.score;
        self.value = finding.value;
        self.raise_at = finding.raise_at;
        self.clear_at = finding.clear_at;
        self.title = finding.title;
        self.detail = finding.detail;
        self.cause = finding.cause;
        self.fix = finding.fix;
        self.evidence = finding.evidence;
    }

    fn enter(&mut self, to: AlertState, reason: Reason, now: Now, out: &mut Vec<Transition>) {
        let from = self.state;
        self.step = self.step.saturating_add(1);
        self.state = to;
        if to != from {
            self.since_ms = now.wall_ms;
            self.held = Duration::ZERO;
            self.counted_to = Some(now.monotonic);
        }
        if to == AlertState::Firing && self.fired_at_ms.is_none() {
            self.fired_at_ms = Some(now.wall_ms);
        }
        out.push(Transition {
            fingerprint: self.fingerprint,
            incident: self.incident,
            step: self.step,
            from,
            to,
            severity: self.severity,
            reason,
            alert: self.clone(),
            at: now,
        });
    }
}
