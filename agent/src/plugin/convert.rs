//! Model types to and from WIT types.

use std::time::Duration;

use pharos_model::finding::{Finding, Report, RuleSpec, Severity, SkipReason, Skipped, Strength};
use pharos_model::subject::{Label, Subject};

use super::bindings::alert_rule::exports::pharos::plugin::alert_rule as wit;
use super::bindings::alert_rule::pharos::plugin::types;

pub fn millis(duration: Duration) -> u64 {
    u64::try_from(duration.as_millis()).unwrap_or(u64::MAX)
}

pub fn subject(subject: &Subject) -> types::Subject {
    types::Subject {
        kind: subject.kind.clone(),
        id: subject.id.clone(),
        version: subject.version.clone(),
        labels: labels_out(&subject.labels),
    }
}

pub fn labels_out(labels: &[Label]) -> Vec<types::Label> {
    labels.iter().map(|label| types::Label { name: label.name.clone(), value: label.value.clone() }).collect()
}

fn labels(labels: Vec<types::Label>) -> Vec<Label> {
    labels.into_iter().map(|label| Label { name: label.name, value: label.value }).collect()
}

pub fn severity_out(severity: Severity) -> types::Severity {
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

pub fn rule(rule: wit::Rule) -> RuleSpec {
    RuleSpec {
        id: rule.id,
        summary: rule.summary,
        category: rule.category,
        subject_kind: rule.subject_kind,
        needs: rule.needs,
        for_: Duration::from_millis(rule.for_ms),
        keep_firing: Duration::from_millis(rule.keep_firing_ms),
        runbook: rule.runbook,
    }
}

pub fn report(report: wit::Report) -> Report {
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

/// A failure in words, its case first.
pub fn failure(failure: &types::Failure) -> String {
    match failure {
        types::Failure::InvalidConfig(why) => format!("invalid settings: {why}"),
        types::Failure::Unsupported(why) => format!("unsupported: {why}"),
        types::Failure::Transient(transient) => format!("transient: {}", transient.reason),
        types::Failure::Denied(why) => format!("denied: {why}"),
        types::Failure::Internal(why) => format!("internal: {why}"),
    }
}
