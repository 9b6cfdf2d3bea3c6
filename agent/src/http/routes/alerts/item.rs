//! Converts an alert and the decisions about it to the types of the API.

use pharos_model::alert::Alert;
use pharos_model::dispatch::{Acknowledgement, ReceiverTrace, RouteTrace, SentState, SilenceState, Trace};

use crate::api::alert::{AcknowledgementItem, AlertItem, EvidenceItem, SubjectItem};
use crate::api::decision::{Decision, InhibitionItem, ReceiverDecision, RouteDecision, SilenceDecision, ToldItem};
use crate::api::list::Timestamp;
use crate::clock::rfc3339;

/// An alert as lists show it.
pub(super) fn item(alert: &Alert, acknowledgement: Option<&Acknowledgement>, silenced_by: Vec<String>) -> AlertItem {
    let frozen = alert.frozen.as_ref();
    AlertItem {
        fingerprint: alert.fingerprint.to_string(),
        incident: alert.incident,
        rule: alert.rule.clone(),
        plugin: alert.plugin.clone(),
        subject: SubjectItem { kind: alert.subject.kind.as_str().to_owned(), id: alert.subject.id.clone() },
        labels: alert.subject.labels.iter().chain(&alert.labels).map(|label| (label.name.clone(), label.value.clone())).collect(),
        severity: alert.severity,
        state: alert.state,
        since: at(alert.since_ms),
        started_at: at(alert.started_at_ms),
        value: alert.value,
        raise_at: alert.raise_at,
        clear_at: alert.clear_at,
        title: alert.title.clone(),
        detail: alert.detail.clone(),
        cause: alert.cause.clone(),
        fix: alert.fix.clone(),
        runbook: alert.runbook.clone(),
        evidence: None,
        frozen: frozen.map(ToString::to_string),
        frozen_since: frozen.map(|frozen| at(frozen.since_ms)),
        frozen_evaluations: frozen.map_or(0, |frozen| frozen.evaluations),
        flapping_since: alert.flapping_since_ms.map(at),
        acknowledgement: acknowledgement.map(|given| AcknowledgementItem {
            author: given.author.clone(),
            comment: given.comment.clone(),
            at: at(given.at_ms),
        }),
        silenced_by,
    }
}

/// An alert with its evidence and the silences that hide it.
pub(super) fn detailed_item(alert: &Alert, trace: &Trace) -> AlertItem {
    let active = trace.silences.iter().filter(|silence| silence.state == SilenceState::Active);
    let silenced_by = active.map(|silence| silence.id.clone()).collect();
    let evidence = alert.evidence.iter().map(|label| EvidenceItem { name: label.name.clone(), value: label.value.clone() });
    AlertItem { evidence: Some(evidence.collect()), ..item(alert, trace.acknowledgement.as_ref(), silenced_by) }
}

pub(super) fn decision(trace: &Trace) -> Decision {
    let silences = trace.silences.iter().map(|silence| SilenceDecision {
        id: silence.id.clone(),
        state: silence.state,
        author: silence.author.clone(),
        comment: silence.comment.clone(),
        ends_at: at(silence.ends_at_ms),
    });
    let inhibition = trace.inhibited_by.as_ref();
    Decision {
        routes: trace.routes.iter().map(route).collect(),
        receivers: trace.receivers.iter().map(receiver).collect(),
        silences: silences.collect(),
        inhibited_by: inhibition.map(|inhibition| InhibitionItem { rule: inhibition.rule.clone(), by: inhibition.by.to_string() }),
    }
}

fn route(trace: &RouteTrace) -> RouteDecision {
    RouteDecision {
        number: trace.number as u64,
        matchers: trace.matchers.0.iter().map(ToString::to_string).collect(),
        receiver: trace.receiver.clone(),
        taken: trace.taken,
        why: trace.why.clone(),
    }
}

fn receiver(trace: &ReceiverTrace) -> ReceiverDecision {
    let told = |sent: &SentState| ToldItem { at: at(sent.at_ms), severity: sent.severity, flapping: sent.flapping };
    ReceiverDecision {
        receiver: trace.receiver.clone(),
        group: trace.group_key.clone(),
        group_size: trace.group_size as u64,
        told: trace.sent.as_ref().map(told),
        repeats_in_seconds: trace.repeats_in_ms.map(|ms| ms as f64 / 1_000.0),
        due_at: trace.due_at_ms.map(at),
        held: trace.held.clone(),
    }
}

fn at(ms: u64) -> Timestamp {
    Timestamp(rfc3339(ms))
}
