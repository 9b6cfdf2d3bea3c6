//! Rows of the outbox that notify a receiver of an incident.

use std::time::Duration;

use super::ledger::{Ended, Entry};
use crate::alert::Alert;
use crate::notification::{MessageAlert, MessageReason};
use crate::outbox::{IncidentPart, NewRow};
use crate::subject::Label;

impl Entry {
    /// Makes the next row of this entry. The row's id contains its number, which is stored, so a restart does not change it.
    pub(super) fn row(&mut self, part: IncidentPart, alert: MessageAlert) -> NewRow {
        self.rows = self.rows.saturating_add(1);
        NewRow {
            id: format!("{}-{}-{}", self.fingerprint, self.incident, self.rows),
            receiver: self.receiver.clone(),
            group_key: self.group_key.clone(),
            group_labels: self.group_labels.clone(),
            fingerprint: self.fingerprint,
            incident: self.incident,
            part,
            alert,
            others_firing: 0,
        }
    }
}

/// Returns true if the host sets this label. A plugin's label with the same name is left out.
fn is_hosts(alert: &Alert, name: &str) -> bool {
    matches!(name, "plugin" | "rule" | "severity" | "alertname") || alert.subject.labels.iter().any(|label| label.name == name)
}

/// An alert in the form that receivers get.
pub fn message_alert(alert: &Alert, reason: MessageReason) -> MessageAlert {
    let own = [Label::new("plugin", &alert.plugin), Label::new("rule", &alert.rule)];
    MessageAlert {
        fingerprint: alert.fingerprint.to_string(),
        incident: alert.incident,
        reason,
        severity: alert.severity,
        subject: alert.subject.clone(),
        labels: own.into_iter().chain(alert.labels.iter().filter(|label| !is_hosts(alert, &label.name)).cloned()).collect(),
        title: alert.title.clone(),
        detail: alert.detail.clone(),
        cause: alert.cause.clone(),
        fix: alert.fix.clone(),
        evidence: evidence(alert),
        runbook: alert.runbook.clone(),
        value: alert.value,
        raise_at: alert.raise_at,
        started_at_ms: alert.started_at_ms,
        ended_at_ms: None,
        ended_because: None,
    }
}

/// Most bytes of evidence about one alert in one message. The store has the rest.
const EVIDENCE_BYTES_MAX: usize = 2_000;

/// Returns the first lines of evidence that fit, and a last line that counts the others.
fn evidence(alert: &Alert) -> Vec<Label> {
    let mut room = EVIDENCE_BYTES_MAX;
    let mut lines: Vec<Label> = Vec::new();
    for line in &alert.evidence {
        let Some(left) = room.checked_sub(line.name.len() + line.value.len()) else { break };
        room = left;
        lines.push(line.clone());
    }
    let left_out = alert.evidence.len() - lines.len();
    if left_out > 0 {
        lines.push(Label::new("left out", format!("{left_out} of {} lines", alert.evidence.len())));
    }
    lines
}

pub(super) fn ended_alert(ended: &Ended) -> MessageAlert {
    MessageAlert {
        ended_at_ms: Some(ended.at_ms),
        ended_because: ended.because.clone(),
        ..message_alert(&ended.alert, MessageReason::Resolved)
    }
}

/// Monotonic time of the next reminder; `None` if reminders are off. `elapsed` is the time since the latest notification.
pub(super) fn repeat_at(now: Duration, repeat_interval: Duration, elapsed: Duration) -> Option<Duration> {
    (!repeat_interval.is_zero()).then(|| now + repeat_interval.saturating_sub(elapsed))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn evidence_is_bounded_and_omitted_lines_are_counted() {
        let evidence = |count: usize| (0..count).map(|number| Label::new(format!("line {number}"), "x".repeat(480))).collect::<Vec<_>>();
        let message = |evidence: Vec<Label>| {
            let mut alert = crate::dispatch::stories::alert("lag", "db1");
            alert.evidence = evidence;
            message_alert(&alert, MessageReason::Firing)
        };
        assert_eq!(message(evidence(4)).evidence, evidence(4));
        let cut = message(evidence(16)).evidence;
        assert_eq!((&cut[..4], &cut[4]), (&evidence(4)[..], &Label::new("left out", "12 of 16 lines")));
    }

    #[test]
    fn plugins_cannot_replace_labels_of_the_host() {
        let mut alert = crate::dispatch::stories::alert("lag", "db1");
        alert.subject.labels = vec![Label::new("server", "db1:5432")];
        alert.labels = ["rule", "plugin", "alertname", "severity", "server", "slot"].map(|name| Label::new(name, "forged")).to_vec();
        let labels = message_alert(&alert, MessageReason::Firing).labels;
        let own = [Label::new("plugin", &alert.plugin), Label::new("rule", "lag"), Label::new("slot", "forged")];
        assert_eq!(labels, own);
        assert_eq!(crate::dispatch::label_of(&alert, "server"), Some("db1:5432"));
    }
}
