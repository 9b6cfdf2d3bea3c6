//! The body of `format = "generic"`, which is also the data of a template: all facts about the alerts of a message.
//!
//! The outer form follows Standard Webhooks. Every try of a message sends the same bytes: the timestamp is that of the latest alert.

use std::collections::BTreeMap;

use pharos_plugin::civil_date::rfc3339;
use pharos_plugin::{Alert, Label, Message, Reason, Severity, detail_and_evidence};
use serde::Serialize;

/// Bytes of a body. Standard Webhooks advises senders to stay below 20 kB, since receivers may refuse more.
const BODY_BYTES_MAX: usize = 20_000;

#[derive(Debug, Serialize)]
pub(crate) struct Event {
    /// The id of the message. Every try has the same id.
    id: String,
    #[serde(rename = "type")]
    kind: &'static str,
    timestamp: String,
    data: Data,
}

#[derive(Debug, Serialize)]
pub(crate) struct Data {
    agent: String,
    receiver: String,
    status: &'static str,
    external_url: Option<String>,
    group_key: String,
    group_labels: BTreeMap<String, String>,
    common_labels: BTreeMap<String, String>,
    alerts: Vec<EventAlert>,
    /// The number of alerts that are not listed.
    truncated: usize,
}

#[derive(Debug, Serialize)]
struct EventAlert {
    fingerprint: String,
    incident: u64,
    reason: &'static str,
    status: &'static str,
    severity: &'static str,
    subject: EventSubject,
    labels: BTreeMap<String, String>,
    title: String,
    detail: String,
    cause: Option<String>,
    fix: Option<String>,
    evidence: Vec<Evidence>,
    runbook: Option<String>,
    /// The command that shows the alert. None for a test message.
    show: Option<String>,
    value: Option<f64>,
    raise_at: Option<f64>,
    started_at: String,
    ended_at: Option<String>,
    ended_because: Option<String>,
}

/// A measured fact that supports an alert.
#[derive(Debug, Serialize)]
struct Evidence {
    name: String,
    value: String,
}

#[derive(Debug, Serialize)]
struct EventSubject {
    kind: String,
    id: String,
    version: String,
}

impl Event {
    pub(crate) fn from_message(message: &Message, max_alerts: Option<usize>) -> Self {
        let shown = max_alerts.unwrap_or(usize::MAX).min(message.alerts.len());
        let firing = message.alerts.iter().any(|alert| alert.ended_at_ms.is_none());
        let test = message.alerts.iter().all(|alert| alert.reason == Reason::Test);
        let latest = message.alerts.iter().map(|alert| alert.ended_at_ms.unwrap_or(alert.started_at_ms)).max();
        Self {
            id: message.id.clone(),
            kind: match (test, firing) {
                (true, _) => "alerts.test",
                (false, true) => "alerts.firing",
                (false, false) => "alerts.resolved",
            },
            timestamp: rfc3339(latest.unwrap_or(0)),
            data: Data {
                agent: message.agent.clone(),
                receiver: message.receiver.clone(),
                status: status(firing),
                external_url: message.external_url.clone(),
                group_key: message.group_key.clone(),
                group_labels: map(&message.group_labels),
                common_labels: map(&message.common_labels),
                alerts: message.alerts[..shown].iter().map(event_alert).collect(),
                truncated: message.truncated as usize + message.alerts.len() - shown,
            },
        }
    }

    /// Renders the event as JSON. Alerts beyond [`BODY_BYTES_MAX`] are left out and counted. The first alert always stays.
    pub(crate) fn render(mut self) -> Vec<u8> {
        loop {
            let body = serde_json::to_vec(&self).expect("texts and numbers are always JSON");
            let alerts = self.data.alerts.len();
            if body.len() <= BODY_BYTES_MAX || alerts <= 1 {
                return body;
            }
            // A cut in proportion needs few tries. A cut alert by alert would render a long message once per alert.
            let fit = (alerts * BODY_BYTES_MAX / body.len()).clamp(1, alerts - 1);
            self.data.alerts.truncate(fit);
            self.data.truncated += alerts - fit;
        }
    }
}

fn event_alert(alert: &Alert) -> EventAlert {
    let mut labels = map(&alert.subject.labels);
    labels.extend(map(&alert.labels));
    let subject = &alert.subject;
    let (detail, evidence) = detail_and_evidence(&alert.detail);
    EventAlert {
        fingerprint: alert.fingerprint.clone(),
        incident: alert.incident,
        reason: reason(alert.reason),
        status: status(alert.ended_at_ms.is_none()),
        severity: severity(alert.severity),
        subject: EventSubject { kind: subject.kind.clone(), id: subject.id.clone(), version: subject.version.clone() },
        labels,
        title: alert.title.clone(),
        detail: detail.to_owned(),
        cause: alert.cause.clone(),
        fix: alert.fix.clone(),
        evidence: evidence.into_iter().map(|(name, value)| Evidence { name: name.to_owned(), value: value.to_owned() }).collect(),
        runbook: alert.runbook.clone(),
        show: show(alert),
        value: alert.value,
        raise_at: alert.raise_at,
        started_at: rfc3339(alert.started_at_ms),
        ended_at: alert.ended_at_ms.map(rfc3339),
        ended_because: alert.ended_because.clone(),
    }
}

/// The command that shows the alert on the machine of the agent. None for a test message.
pub(crate) fn show(alert: &Alert) -> Option<String> {
    (alert.reason != Reason::Test).then(|| format!("pharos alerts show {}", alert.fingerprint))
}

pub(crate) fn status(firing: bool) -> &'static str {
    if firing { "firing" } else { "resolved" }
}

pub(crate) fn severity(severity: Severity) -> &'static str {
    match severity {
        Severity::Info => "info",
        Severity::Warning => "warning",
        Severity::Critical => "critical",
    }
}

fn reason(reason: Reason) -> &'static str {
    match reason {
        Reason::Firing => "firing",
        Reason::Resolved => "resolved",
        Reason::SeverityChanged => "severity-changed",
        Reason::Repeated => "repeated",
        Reason::Summary => "summary",
        Reason::Flapping => "flapping",
        Reason::Test => "test",
    }
}

pub(crate) fn map(labels: &[Label]) -> BTreeMap<String, String> {
    labels.iter().map(|label| (label.name.clone(), label.value.clone())).collect()
}
