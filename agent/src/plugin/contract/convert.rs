//! Converts model types to WIT types and back. Texts of a plugin are made safe to store and show here.

use std::time::Duration;

use pharos_model::finding::{Finding, Report, RuleSpec, Severity, SkipReason, Skipped, Strength};
use pharos_model::subject::{Label, Subject};
use pharos_model::text;

use super::bindings::alert_rule::exports::pharos::plugin::alert_rule as wit;
use super::bindings::alert_rule::pharos::plugin::types;
use super::bindings::notifier::exports::pharos::plugin::notifier as wit_notifier;

/// Bytes of a reason that a plugin gives for a failure, an outcome or a trap. Longer reasons are cut, since they are stored.
const REASON_BYTES_MAX: usize = 1_000;
/// Recipients of one message whose refusals are stored. More are only counted.
const REFUSALS_MAX: usize = 20;

/// A reason that a plugin gave, as one line that can be logged, stored and shown.
pub(crate) fn reason(text: &str) -> String {
    text::line(text, REASON_BYTES_MAX).into_owned()
}

pub(crate) fn subject(subject: &Subject) -> types::Subject {
    types::Subject {
        kind: subject.kind.to_string(),
        id: subject.id.clone(),
        version: subject.version.clone(),
        labels: labels_to_wit(&subject.labels),
    }
}

pub(crate) fn labels_to_wit(labels: &[Label]) -> Vec<types::Label> {
    labels.iter().map(|label| types::Label { name: label.name.clone(), value: label.value.clone() }).collect()
}

fn labels(labels: Vec<types::Label>) -> Vec<Label> {
    labels.into_iter().map(|label| Label { name: label.name, value: label.value }).collect()
}

pub(crate) fn severity_to_wit(severity: Severity) -> types::Severity {
    match severity {
        Severity::Info => types::Severity::Info,
        Severity::Warning => types::Severity::Warning,
        Severity::Critical => types::Severity::Critical,
    }
}

fn severity(severity: types::Severity) -> Severity {
    match severity {
        types::Severity::Info => Severity::Info,
        types::Severity::Warning => Severity::Warning,
        types::Severity::Critical => Severity::Critical,
    }
}

pub(crate) fn rule(rule: wit::Rule) -> RuleSpec {
    RuleSpec {
        id: rule.id,
        summary: rule.summary,
        category: rule.category,
        subject_kind: rule.subject_kind.into(),
        needs: rule.needs,
        for_: Duration::from_millis(rule.for_ms),
        keep_firing: Duration::from_millis(rule.keep_firing_ms),
        runbook: rule.runbook,
    }
}

pub(crate) fn report(report: wit::Report) -> Report {
    Report {
        findings: report.findings.into_iter().map(finding).collect(),
        skipped: report.skipped.into_iter().map(skipped).collect(),
        ..Report::default()
    }
}

fn finding(finding: wit::Finding) -> Finding {
    Finding {
        rule: finding.rule,
        labels: labels(finding.labels),
        severity: severity(finding.severity),
        strength: match finding.strength {
            wit::Strength::Raise => Strength::Raise,
            wit::Strength::Hold => Strength::Hold,
        },
        score: finding.score,
        value: finding.value,
        raise_at: finding.raise_at,
        clear_at: finding.clear_at,
        title: finding.title,
        detail: finding.detail,
        cause: finding.cause,
        fix: finding.fix,
        evidence: labels(finding.evidence),
    }
}

fn skipped(skipped: wit::Skipped) -> Skipped {
    let reason = match skipped.reason {
        wit::SkipReason::NoData => SkipReason::NoData,
        wit::SkipReason::PartFailed(part) => SkipReason::PartFailed(part),
        wit::SkipReason::Unsupported(why) => SkipReason::Unsupported(why),
    };
    Skipped { rule: skipped.rule, labels: labels(skipped.labels), reason }
}

/// A failure as text: its case, then its reason.
pub(crate) fn failure(failure: &types::Failure) -> String {
    let (case, why) = match failure {
        types::Failure::InvalidConfig(why) => ("invalid settings", why),
        types::Failure::Unsupported(why) => ("unsupported", why),
        types::Failure::Transient(transient) => ("transient", &transient.reason),
        types::Failure::Denied(why) => ("denied", why),
        types::Failure::Internal(why) => ("internal", why),
    };
    format!("{case}: {}", reason(why))
}

/// An outcome whose texts can be logged, stored and shown.
pub(crate) fn outcome(outcome: wit_notifier::Outcome) -> wit_notifier::Outcome {
    use wit_notifier::{Outcome, Retry};
    match outcome {
        Outcome::Accepted(reference) => Outcome::Accepted(reference.as_deref().map(reason)),
        Outcome::Partial(refusals) => Outcome::Partial(refused(refusals)),
        Outcome::Retry(retry) => Outcome::Retry(Retry { why: reason(&retry.why), ..retry }),
        Outcome::Rejected(why) => Outcome::Rejected(reason(&why)),
        Outcome::Unauthorised(why) => Outcome::Unauthorised(reason(&why)),
        Outcome::Gone(why) => Outcome::Gone(reason(&why)),
        Outcome::Ambiguous(why) => Outcome::Ambiguous(reason(&why)),
    }
}

fn refused(refusals: Vec<(u32, String)>) -> Vec<(u32, String)> {
    let beyond = refusals.len().saturating_sub(REFUSALS_MAX);
    let line = |why: &str| text::line(why, text::LINE_BYTES_MAX).into_owned();
    let mut kept: Vec<(u32, String)> = refusals.into_iter().take(REFUSALS_MAX).map(|(index, why)| (index, line(&why))).collect();
    if let Some((_, last)) = kept.last_mut().filter(|_| beyond > 0) {
        last.push_str(&format!(" (and {beyond} more recipients)"));
    }
    kept
}
