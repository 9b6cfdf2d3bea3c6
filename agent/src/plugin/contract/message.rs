//! Converts a message to the types of the contract, and a notifier's outcome to the types of the model.

use std::time::Duration;

use pharos_model::notification::{Delivery, Message, MessageAlert, MessageReason, UndeliveredReason};
use pharos_model::subject::Label;

use super::bindings::notifier::exports::pharos::plugin::notifier as wit;
use super::convert;

/// Converts the outcome that a notifier returned.
pub(crate) fn delivery(outcome: wit::Outcome) -> Delivery {
    match outcome {
        wit::Outcome::Accepted(_) => Delivery::Accepted,
        wit::Outcome::Partial(refused) => Delivery::Partial(refused),
        wit::Outcome::Retry(retry) => Delivery::Retry { after: retry.after_ms.map(Duration::from_millis), why: retry.why },
        wit::Outcome::Rejected(why) => Delivery::Rejected { reason: UndeliveredReason::Rejected, why },
        wit::Outcome::Unauthorised(why) => Delivery::Unauthorised(why),
        wit::Outcome::Gone(why) => Delivery::Gone(why),
        wit::Outcome::Ambiguous(why) => Delivery::Ambiguous(why),
    }
}

/// A message as a notifier gets it.
pub(crate) fn message(message: &Message) -> wit::Message {
    wit::Message {
        id: message.id.clone(),
        receiver: message.receiver.clone(),
        group_key: message.group_key.clone(),
        group_labels: convert::labels_to_wit(&message.group_labels),
        common_labels: convert::labels_to_wit(&common_labels(&message.alerts)),
        alerts: message.alerts.iter().map(alert).collect(),
        truncated: 0,
        others_firing: message.others_firing,
        attempt: message.attempt,
        agent: message.agent.clone(),
        external_url: message.external_url.clone(),
    }
}

/// Labels that all alerts of the message share.
fn common_labels(alerts: &[MessageAlert]) -> Vec<Label> {
    let Some((first, others)) = alerts.split_first() else { return Vec::new() };
    first.labels.iter().filter(|label| others.iter().all(|alert| alert.labels.contains(label))).cloned().collect()
}

fn alert(alert: &MessageAlert) -> wit::Alert {
    wit::Alert {
        fingerprint: alert.fingerprint.clone(),
        incident: alert.incident,
        reason: match alert.reason {
            MessageReason::Firing => wit::Reason::Firing,
            MessageReason::Resolved => wit::Reason::Resolved,
            MessageReason::SeverityChanged => wit::Reason::SeverityChanged,
            MessageReason::Repeated => wit::Reason::Repeated,
            MessageReason::Summary => wit::Reason::Summary,
            MessageReason::Flapping => wit::Reason::Flapping,
            MessageReason::Test => wit::Reason::Test,
        },
        severity: convert::severity_to_wit(alert.severity),
        subject: convert::subject(&alert.subject),
        labels: convert::labels_to_wit(&alert.labels),
        title: alert.title.clone(),
        detail: detail(alert),
        cause: alert.cause.clone(),
        // A fix may do harm once the alert has ended: after a failover, the advised promotion would make a split brain.
        fix: alert.fix.clone().filter(|_| alert.ended_at_ms.is_none()),
        runbook: alert.runbook.clone(),
        value: alert.value,
        raise_at: alert.raise_at,
        started_at_ms: alert.started_at_ms,
        ended_at_ms: alert.ended_at_ms,
        ended_because: alert.ended_because.clone(),
    }
}

/// The detail with the evidence below it, since the contract 0.1.0 has no field for evidence. The SDK separates the two again.
fn detail(alert: &MessageAlert) -> String {
    let lines = alert.evidence.iter().map(|line| format!("- {}: {}", line.name, line.value));
    let evidence: Vec<String> = std::iter::once("Evidence:".to_owned()).chain(lines).collect();
    match (alert.detail.is_empty(), alert.evidence.is_empty()) {
        (_, true) => alert.detail.clone(),
        (true, false) => evidence.join("\n"),
        (false, false) => format!("{}\n\n{}", alert.detail, evidence.join("\n")),
    }
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;

    #[test]
    fn an_alert_that_ended_is_sent_without_its_fix() {
        let mut over = json!({
            "fingerprint": "369416c7bc23060f", "reason": "firing", "severity": "critical", "labels": [], "title": "no server takes writes",
            "detail": "", "cause": "none is a primary", "fix": "SELECT pg_promote();", "runbook": null, "value": null, "started_at_ms": 1,
            "subject": { "kind": "database", "id": "app", "version": "", "labels": [] }, "ended_at_ms": null,
        });
        let fix_of = |value: &Value| alert(&serde_json::from_value(value.clone()).expect("an alert")).fix;
        assert_eq!(fix_of(&over).as_deref(), Some("SELECT pg_promote();"));
        over["ended_at_ms"] = 2.into();
        assert_eq!(fix_of(&over), None);
    }
}
