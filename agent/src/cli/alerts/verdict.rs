//! One sentence on whether receivers were notified of an incident, then the reasons why some were not.

use std::collections::BTreeSet;

use pharos_model::alert::AlertState;
use pharos_model::outbox::OutboxState;

use crate::api::decision::{AlertExplanation, HistoryItem, ReceiverDecision};
use crate::api::outbox::NotificationItem;
use crate::cli::terminal::shown;

pub(super) fn verdict(answer: &AlertExplanation) -> String {
    let (alert, decision) = (&answer.alert, &answer.decision);
    // Notifications about an earlier incident do not count: they do not report that the alert is wrong again.
    let notifications: Vec<&NotificationItem> = answer.notifications.iter().filter(|row| row.incident == alert.incident).collect();
    let delivered = notifications.iter().filter(|row| row.state == OutboxState::Delivered);
    let notified: BTreeSet<String> = delivered.map(|row| shown(&row.receiver)).collect();
    // The agent remembers that it made a message. Only the store has the delivery, and it retains only the newest rows.
    let is_unknown =
        |receiver: &&ReceiverDecision| receiver.told.is_some() && !notifications.iter().any(|row| row.receiver == receiver.receiver);
    let mut why: Vec<String> = Vec::new();
    for receiver in &decision.receivers {
        why.extend(Some(receiver).filter(is_unknown).and_then(unknown_delivery));
        why.extend(next_message(receiver));
    }
    why.extend(notifications.iter().filter_map(|row| trouble(row)));
    why.extend(answer.history.iter().filter(|entry| entry.incident() == Some(alert.incident)).filter_map(never_notified));
    if alert.state == AlertState::Pending {
        why.push("it is pending: its rule waits before receivers are notified".to_owned());
    } else if decision.routes.iter().all(|route| !route.taken) && decision.receivers.is_empty() {
        why.push("no route takes it".to_owned());
    }
    let answer = match notified.is_empty() {
        true if decision.receivers.iter().any(|receiver| is_unknown(&receiver)) => "No delivery is stored any more.".to_owned(),
        true => "No receiver was notified.".to_owned(),
        false => format!("Notified: {}.", notified.into_iter().collect::<Vec<_>>().join(", ")),
    };
    why.iter().fold(answer, |text, why| format!("{text}\n  {why}"))
}

fn unknown_delivery(receiver: &ReceiverDecision) -> Option<String> {
    let (name, at) = (shown(&receiver.receiver), shown(&receiver.told.as_ref()?.at.0));
    Some(format!("a message to `{name}` was made at {at}; how it ended is no longer stored"))
}

/// When the receiver gets its next message, or what holds that message back.
fn next_message(receiver: &ReceiverDecision) -> Option<String> {
    let name = shown(&receiver.receiver);
    match (&receiver.held, &receiver.due_at) {
        (Some(why), _) => Some(format!("`{name}` gets no message: {}", shown(why))),
        (None, Some(at)) => Some(format!("`{name}` gets a message at {}, with its group", shown(&at.0))),
        (None, None) => None,
    }
}

/// The reason why a notification was not delivered yet.
fn trouble(row: &NotificationItem) -> Option<String> {
    let (name, why) = (shown(&row.receiver), shown(row.why.as_deref().unwrap_or_default()));
    match row.state {
        OutboxState::Dead => {
            let reason = shown(row.reason.as_deref().unwrap_or_default());
            Some(format!("`{name}` was not reached, and #{} was given up ({reason}): {why}", row.id))
        }
        OutboxState::Waiting | OutboxState::Sending if !why.is_empty() => {
            Some(format!("`{name}` is tried again at {}: {why}", shown(&row.due_at.0)))
        }
        _ => None,
    }
}

fn never_notified(entry: &HistoryItem) -> Option<String> {
    match entry {
        HistoryItem::Withheld(withheld) if withheld.for_good => {
            Some(format!("`{}` was never notified: {}", shown(&withheld.receiver), shown(&withheld.why)))
        }
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use pharos_model::finding::Severity;

    use super::*;
    use crate::api::decision::{Decision, ToldItem};
    use crate::api::list::Timestamp;
    use crate::cli::alerts::show::tests::alert;

    fn notification(receiver: &str, state: OutboxState, reason: Option<&str>, why: Option<&str>) -> NotificationItem {
        let at = || Timestamp("2026-11-30T10:00:00Z".to_owned());
        NotificationItem {
            id: 1,
            notification: "n".to_owned(),
            message: None,
            receiver: receiver.to_owned(),
            group: String::new(),
            fingerprint: alert().fingerprint,
            incident: 7,
            tells: pharos_model::outbox::IncidentPart::Begin,
            title: String::new(),
            severity: Severity::Critical,
            state,
            created_at: at(),
            due_at: at(),
            settled_at: None,
            attempts: 1,
            reason: reason.map(ToOwned::to_owned),
            why: why.map(ToOwned::to_owned),
        }
    }

    #[test]
    fn a_delivery_that_is_no_longer_stored_is_called_unknown() {
        let told = ToldItem { at: Timestamp("2026-11-30T10:00:00Z".to_owned()), severity: Severity::Critical, flapping: false };
        let receiver = ReceiverDecision {
            receiver: "ops".to_owned(),
            group: String::new(),
            group_size: 1,
            told: Some(told),
            repeats_in_seconds: None,
            due_at: None,
            held: None,
        };
        let with = |notifications: Vec<NotificationItem>| {
            let decision = Decision { receivers: vec![receiver.clone()], ..Decision::default() };
            verdict(&AlertExplanation { alert: alert(), decision, history: Vec::new(), notifications })
        };
        let unknown = "a message to `ops` was made at 2026-11-30T10:00:00Z; how it ended is no longer stored";
        assert_eq!(with(Vec::new()), format!("No delivery is stored any more.\n  {unknown}"));
        let other = notification("dba", OutboxState::Delivered, None, None);
        assert_eq!(with(vec![other]), format!("Notified: dba.\n  {unknown}"));
        let dead = notification("ops", OutboxState::Dead, Some("rejected"), Some("status 404"));
        assert_eq!(with(vec![dead]), "No receiver was notified.\n  `ops` was not reached, and #1 was given up (rejected): status 404");
    }
}
