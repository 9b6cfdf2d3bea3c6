//! What a receiver is told: a row for each change, and a message of the rows that go together.

use pharos_model::alert::{Alert, AlertState, Reason, Transition};
use pharos_model::notification::{Message, MessageAlert, MessageReason};
use pharos_model::outbox::{Batch, NewRow, Tells};
use pharos_model::subject::Label;

use super::Signature;

/// The row that tells a receiver of a transition.
pub fn row(receiver: &str, transition: &Transition) -> NewRow {
    let alert = &transition.alert;
    let group_labels = vec![Label::new("plugin", &alert.plugin), Label::new("rule", &alert.rule)];
    let resolved = transition.to == AlertState::Resolved;
    let (reason, tells) = match transition.reason {
        _ if resolved => (MessageReason::Resolved, Tells::End),
        Reason::SeverityChanged { .. } => (MessageReason::SeverityChanged, Tells::Change),
        Reason::FlappingStarted => (MessageReason::Flapping, Tells::Change),
        _ => (MessageReason::Firing, Tells::Begin),
    };
    NewRow {
        id: transition.id(),
        receiver: receiver.to_owned(),
        group_key: format!("{}/{}/{}", alert.plugin, alert.rule, alert.subject.key()),
        fingerprint: transition.fingerprint,
        incident: transition.incident,
        tells,
        alert: MessageAlert {
            reason,
            ended_at_ms: resolved.then_some(transition.at.wall_ms),
            ended_because: (resolved && transition.reason != Reason::Resolved).then(|| transition.reason.to_string()),
            ..message_alert(alert, transition.fingerprint.to_string(), &group_labels)
        },
        group_labels,
        wait: std::time::Duration::ZERO,
    }
}

fn message_alert(alert: &Alert, fingerprint: String, group_labels: &[Label]) -> MessageAlert {
    MessageAlert {
        fingerprint,
        incident: alert.incident,
        reason: MessageReason::Firing,
        severity: alert.severity,
        subject: alert.subject.clone(),
        labels: group_labels.iter().chain(&alert.labels).cloned().collect(),
        title: alert.title.clone(),
        detail: alert.detail.clone(),
        cause: alert.cause.clone(),
        fix: alert.fix.clone(),
        runbook: alert.runbook.clone(),
        value: alert.value,
        raise_at: alert.raise_at,
        started_at_ms: alert.started_at_ms,
        ended_at_ms: None,
        ended_because: None,
    }
}

/// The message of rows that go together, in their order. Of an incident only the latest is told, and one that also began among them is
/// told as a whole.
pub fn compose(batch: &Batch, rows: &[&NewRow], receiver: &str, signature: &Signature) -> Message {
    let mut alerts: Vec<(u64, bool, MessageAlert)> = Vec::new();
    for row in rows {
        let known = alerts.iter().position(|(incident, _, alert)| *incident == row.incident && alert.fingerprint == row.alert.fingerprint);
        let began = known.is_some_and(|index| alerts[index].1) || row.tells == Tells::Begin;
        let mut alert = row.alert.clone();
        match (began, row.tells) {
            (true, Tells::End) => alert.reason = MessageReason::Summary,
            // Nobody heard of the severity that it had before.
            (true, Tells::Change) if alert.reason == MessageReason::SeverityChanged => alert.reason = MessageReason::Firing,
            _ => {}
        }
        match known {
            Some(index) => alerts[index] = (row.incident, began, alert),
            None => alerts.push((row.incident, began, alert)),
        }
    }
    let first = rows.first();
    Message {
        id: batch.id.clone(),
        receiver: receiver.to_owned(),
        group_key: first.map(|row| row.group_key.clone()).unwrap_or_default(),
        group_labels: first.map(|row| row.group_labels.clone()).unwrap_or_default(),
        alerts: alerts.into_iter().map(|(_, _, alert)| alert).collect(),
        attempt: batch.attempt,
        agent: signature.agent.clone(),
        external_url: signature.external_url.clone(),
    }
}
