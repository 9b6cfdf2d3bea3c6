//! The states of one alert, and how one evaluation changes them.
//!
//! ```text
//!             raise                 raise, `for` passed                 clear                  clear, `keep_firing` passed
//! inactive ----------> pending ------------------------> firing ---------------> recovering -----------------------------> resolved
//!                         | clear                          ^                         | raise or hold
//!                         v                                +-------------------------+
//!                      inactive
//! ```
//! With `for` 0 an alert fires at once, with `keep_firing` 0 it resolves at once. While an alert flaps it does not resolve: it stays
//! recovering, and one message says that it flaps. A pending alert never flaps, because no message about it was sent. An alert may end
//! from every state because its series is gone, or because its rule, plugin or subject was removed.
//!
//! Waiting time is not measured from the start of a state. It is added up from evaluation to evaluation: the time between two evaluations
//! counts if the first agreed (raised while pending, clear while recovering). So a skipped rule, an absent plugin, a restart or a changed
//! clock never makes an alert fire or resolve, and failed reads only delay it. The sum can be stored as it is. Only an evaluation that
//! agrees makes an alert fire or resolve.

use std::mem;
use std::time::Duration;

use super::fingerprint::Fingerprint;
use super::flapping::Verdicts;
use super::freeze::{Freeze, Frozen};
use super::now::Now;
use super::record::Alert;
use super::series::Series;
use super::state::AlertState;
use super::transition::{Reason, Transition};
use crate::finding::{Finding, RuleSpec, Strength};
use crate::subject::Subject;

/// New readings in a row without the series of an alert after which the alert resolves as gone.
pub const GONE_AFTER: u32 = 3;

/// The result of one evaluation for one alert.
#[derive(Debug, Clone, PartialEq)]
pub(super) enum Evidence {
    /// The rule found the condition, or (`None`) found that all is well.
    Judged(Option<Finding>),
    /// The rule could not judge: why, and whether the series of the alert is there.
    Unknown(Freeze, Series),
}

/// The facts with which a new incident begins.
pub(super) struct Beginning<'a> {
    /// Id of the plugin.
    pub plugin: &'a str,
    /// Subject of the alert.
    pub subject: &'a Subject,
    /// Rule of the alert.
    pub rule: &'a RuleSpec,
    /// Number of the incident.
    pub incident: u64,
    /// Earlier verdicts about the label set.
    pub verdicts: Verdicts,
}

impl Alert {
    /// Opens a new incident for a finding that raises. The alert fires at once if its rule has no waiting time.
    pub(super) fn open(beginning: Beginning<'_>, finding: Finding, now: Now, out: &mut Vec<Transition>) -> Self {
        let Beginning { plugin, subject, rule, incident, verdicts } = beginning;
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
            missing: 0,
            verdicts,
            flapping_since_ms: None,
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
            missing_at: None,
            awaits_first_reading: false,
        };
        let fires = rule.for_.is_zero();
        alert.verdicts.enter(fires.then_some(&finding));
        alert.observe(finding);
        if fires {
            alert.enter(AlertState::Firing, Reason::Firing, now, out);
        } else {
            alert.enter(AlertState::Pending, Reason::Raised, now, out);
        }
        alert
    }

    /// Applies one evaluation.
    pub(super) fn step(&mut self, evidence: Evidence, rule: &RuleSpec, now: Now, out: &mut Vec<Transition>) {
        let finding = match evidence {
            Evidence::Judged(finding) => finding,
            Evidence::Unknown(why, series) => {
                self.stop_clock(now);
                self.freeze_evaluated(why, now);
                return self.step_series(&series, now, out);
            }
        };
        self.frozen = None;
        self.reset_missing();
        self.runbook.clone_from(&rule.runbook);
        if self.state == AlertState::Pending {
            return self.step_pending(finding, rule, now, out);
        }
        self.verdicts.enter(finding.as_ref());
        if self.is_flapping() && self.verdicts.end_flapping() {
            self.flapping_since_ms = None;
            self.enter(self.state, Reason::FlappingEnded, now, out);
        }
        // Computed first, because an alert that starts to flap does not resolve in this evaluation.
        let begins = !self.is_flapping() && self.verdicts.start_flapping();
        if begins {
            self.flapping_since_ms = Some(now.wall_ms);
        }
        self.step_active(finding, rule, now, out);
        if begins {
            self.enter(self.state, Reason::FlappingStarted, now, out);
        }
    }

    /// Applies a judgement to a pending alert. A hold neither ends the wait nor counts towards it. No message is sent before the alert
    /// fires, so each verdict until then counts as clear.
    fn step_pending(&mut self, finding: Option<Finding>, rule: &RuleSpec, now: Now, out: &mut Vec<Transition>) {
        let Some(finding) = finding else {
            self.verdicts.enter(None);
            return self.enter(AlertState::Inactive, Reason::Cleared, now, out);
        };
        let is_raise = finding.strength == Strength::Raise;
        if is_raise {
            self.gather(now);
        } else {
            self.stop_clock(now);
        }
        let fires = is_raise && self.held >= rule.for_;
        self.verdicts.enter(fires.then_some(&finding));
        self.observe(finding);
        if fires {
            self.enter(AlertState::Firing, Reason::Firing, now, out);
        }
    }

    /// Applies a judgement to an alert that is firing or recovering.
    fn step_active(&mut self, finding: Option<Finding>, rule: &RuleSpec, now: Now, out: &mut Vec<Transition>) {
        match (self.state, finding) {
            (AlertState::Firing, None) if rule.keep_firing.is_zero() && !self.is_flapping() => {
                self.enter(AlertState::Resolved, Reason::Resolved, now, out);
            }
            (AlertState::Firing, None) => self.enter(AlertState::Recovering, Reason::Recovering, now, out),
            (AlertState::Recovering, None) => {
                self.gather(now);
                if self.held >= rule.keep_firing && !self.is_flapping() {
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
            (AlertState::Inactive | AlertState::Pending | AlertState::Resolved, None) => {}
        }
    }

    /// Counts readings without the series of the alert, and closes the alert after [`GONE_AFTER`] of them. A reading that is judged
    /// several times counts once.
    fn step_series(&mut self, series: &Series, now: Now, out: &mut Vec<Transition>) {
        match series {
            Series::Present => self.reset_missing(),
            Series::Missing { read_at } => {
                let is_first_reading = mem::take(&mut self.awaits_first_reading);
                let is_new = self.missing_at.is_none_or(|latest| latest < *read_at);
                self.missing_at = self.missing_at.max(Some(*read_at));
                if is_new && !is_first_reading {
                    self.missing = self.missing.saturating_add(1);
                }
                if self.missing >= GONE_AFTER {
                    self.close(Reason::Gone, now, out);
                }
            }
            Series::Unreadable(_) | Series::Undetermined { .. } => {}
        }
    }

    fn reset_missing(&mut self) {
        (self.missing, self.missing_at, self.awaits_first_reading) = (0, None, false);
    }

    /// Freezes the alert. The time since the latest evaluation does not count.
    pub(super) fn freeze(&mut self, why: Freeze, now: Now) {
        self.counted_to = None;
        self.frozen = Some(Frozen::after(self.frozen.take(), why, now));
    }

    /// Freezes the alert after an evaluation that could not judge it, and counts that evaluation.
    pub(super) fn freeze_evaluated(&mut self, why: Freeze, now: Now) {
        let mut frozen = Frozen::after(self.frozen.take(), why, now);
        frozen.evaluations = frozen.evaluations.saturating_add(1);
        self.frozen = Some(frozen);
    }

    /// Counts the time up to now, and then no time until the next evaluation that agrees.
    pub(super) fn stop_clock(&mut self, now: Now) {
        if self.state != AlertState::Firing {
            self.gather(now);
        }
        self.counted_to = None;
    }

    /// Ends the alert and deletes its verdicts, because its series is gone or its rule, plugin or subject was removed.
    pub(super) fn close(&mut self, reason: Reason, now: Now, out: &mut Vec<Transition>) {
        let to = if self.state == AlertState::Pending { AlertState::Inactive } else { AlertState::Resolved };
        self.verdicts = Verdicts::default();
        self.flapping_since_ms = None;
        self.enter(to, reason, now, out);
    }

    /// Counts the time since the latest evaluation, unless the clock was stopped. A snapshot that is judged twice, or late, counts once.
    fn gather(&mut self, now: Now) {
        let latest = self.counted_to.unwrap_or(now.monotonic);
        self.held = self.held.saturating_add(now.monotonic.saturating_sub(latest));
        self.counted_to = Some(latest.max(now.monotonic));
    }

    /// Stores severity, values and texts of the latest finding. A hold may lower the severity but never raise it, because the value did not
    /// cross the raise threshold. While the alert flaps, the severity only rises.
    fn observe(&mut self, finding: Finding) {
        self.severity = match finding.strength {
            Strength::Raise if self.is_flapping() => finding.severity.max(self.severity),
            Strength::Raise => finding.severity,
            Strength::Hold if self.is_flapping() => self.severity,
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
