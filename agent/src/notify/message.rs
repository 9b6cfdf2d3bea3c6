//! Makes one message of the outbox rows that are sent together.

use std::cmp::Reverse;

use pharos_model::notification::{Message, MessageAlert, MessageReason};
use pharos_model::outbox::{Batch, IncidentPart, NewRow};

use super::deliver::Signature;

/// Makes the message of rows that are sent together. Firing alerts come before ended alerts, the gravest first. Only the latest row of each
/// incident is shown. An incident that began and ended among the rows is reported as a summary.
pub(super) fn compose(batch: &Batch, rows: &[&NewRow], receiver: &str, signature: &Signature) -> Message {
    let mut alerts: Vec<(u64, bool, MessageAlert)> = Vec::new();
    for row in rows {
        let known = alerts.iter().position(|(incident, _, alert)| *incident == row.incident && alert.fingerprint == row.alert.fingerprint);
        let began = known.is_some_and(|index| alerts[index].1) || row.part == IncidentPart::Begin;
        let mut alert = row.alert.clone();
        match (began, row.part) {
            (true, IncidentPart::End) => alert.reason = MessageReason::Summary,
            // The receiver does not know the beginning yet, so a new severity or a reminder is reported as the beginning.
            (true, IncidentPart::Change) if matches!(alert.reason, MessageReason::SeverityChanged | MessageReason::Repeated) => {
                alert.reason = MessageReason::Firing;
            }
            _ => {}
        }
        match known {
            Some(index) => alerts[index] = (row.incident, began, alert),
            None => alerts.push((row.incident, began, alert)),
        }
    }
    // Phones and templates show the first alert.
    alerts.sort_by_key(|(_, _, alert)| (alert.ended_at_ms.is_some(), Reverse(alert.severity)));
    let first = rows.first();
    Message {
        id: batch.id.clone(),
        receiver: receiver.to_owned(),
        group_key: first.map(|row| row.group_key.clone()).unwrap_or_default(),
        group_labels: first.map(|row| row.group_labels.clone()).unwrap_or_default(),
        others_firing: rows.last().map_or(0, |row| row.others_firing),
        alerts: alerts.into_iter().map(|(_, _, alert)| alert).collect(),
        attempt: batch.attempt,
        agent: signature.agent.clone(),
        external_url: signature.external_url.clone(),
    }
}
