//! The body of `format = "alertmanager"`: version 4 of Alertmanager's webhook, with the same fields.

use std::collections::BTreeMap;

use pharos_plugin::civil_date::rfc3339;
use pharos_plugin::{Alert, Message, Reason, detail_and_evidence};
use serde::Serialize;

use crate::event::{map, severity, show, status};

/// The text that Go writes for a time that is not set. Receivers test for it.
const NO_TIME: &str = "0001-01-01T00:00:00Z";

type Map = BTreeMap<String, String>;

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Payload {
    version: &'static str,
    group_key: String,
    truncated_alerts: usize,
    status: &'static str,
    receiver: String,
    group_labels: Map,
    common_labels: Map,
    common_annotations: Map,
    #[serde(rename = "externalURL")]
    external_url: String,
    alerts: Vec<PayloadAlert>,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct PayloadAlert {
    status: &'static str,
    labels: Map,
    annotations: Map,
    starts_at: String,
    ends_at: String,
    #[serde(rename = "generatorURL")]
    generator_url: String,
    fingerprint: String,
}

pub(crate) fn render(message: &Message, max_alerts: Option<usize>) -> Vec<u8> {
    let external_url = message.external_url.clone().unwrap_or_default();
    let mut alerts: Vec<_> = message.alerts.iter().map(|alert| payload_alert(alert, &external_url)).collect();
    let mut common_labels = map(&message.common_labels);
    if message.truncated == 0 {
        common_labels.extend(common(&alerts, |alert| &alert.labels));
    }
    let common_annotations = common(&alerts, |alert| &alert.annotations);
    // Receivers with an incident per group close the incident when this is "resolved".
    let firing = message.others_firing > 0 || message.alerts.iter().any(|alert| alert.ended_at_ms.is_none());
    let shown = max_alerts.unwrap_or(usize::MAX).min(alerts.len());
    let cut = alerts.split_off(shown).len();
    let payload = Payload {
        version: "4",
        group_key: message.group_key.clone(),
        truncated_alerts: message.truncated as usize + cut,
        status: status(firing),
        receiver: message.receiver.clone(),
        group_labels: map(&message.group_labels),
        common_labels,
        common_annotations,
        external_url,
        alerts,
    };
    serde_json::to_vec(&payload).expect("texts and numbers are always JSON")
}

fn payload_alert(alert: &Alert, external_url: &str) -> PayloadAlert {
    PayloadAlert {
        status: status(alert.ended_at_ms.is_none()),
        labels: labels(alert),
        annotations: annotations(alert),
        starts_at: rfc3339(alert.started_at_ms),
        ends_at: alert.ended_at_ms.map_or_else(|| NO_TIME.to_owned(), rfc3339),
        generator_url: external_url.to_owned(),
        fingerprint: alert.fingerprint.clone(),
    }
}

fn labels(alert: &Alert) -> Map {
    let mut labels = map(&alert.subject.labels);
    labels.extend(map(&alert.labels));
    // Receivers group by this name. The id of the rule is stable, but a title may contain numbers.
    let name = labels.get("rule").unwrap_or(&alert.title).clone();
    labels.insert("alertname".to_owned(), name);
    labels.insert("severity".to_owned(), severity(alert.severity).to_owned());
    labels
}

fn annotations(alert: &Alert) -> Map {
    // The status cannot express these: an end without a message about the beginning, or a message without a change.
    let summary = match alert.reason {
        Reason::Summary => Some("it fired and resolved before this receiver could be notified".to_owned()),
        Reason::Repeated => Some("it still fires".to_owned()),
        Reason::Flapping => Some("it comes and goes; no more messages until it is stable".to_owned()),
        _ => None,
    };
    let (detail, evidence) = detail_and_evidence(&alert.detail);
    let evidence: Vec<String> = evidence.into_iter().map(|(name, value)| format!("{name}: {value}")).collect();
    let all = [
        ("summary", summary),
        ("title", Some(alert.title.clone())),
        ("detail", Some(detail.to_owned())),
        ("cause", alert.cause.clone()),
        ("fix", alert.fix.clone()),
        ("evidence", Some(evidence.join("\n"))),
        ("show", show(alert)),
        ("runbook_url", alert.runbook.clone()),
        ("value", alert.value.map(|value| value.to_string())),
        ("ended_because", alert.ended_because.clone()),
        ("limit", alert.raise_at.map(|limit| limit.to_string())),
    ];
    all.into_iter().filter_map(|(name, text)| Some((name.to_owned(), text.filter(|text| !text.is_empty())?))).collect()
}

/// The entries that are equal in all alerts.
fn common(alerts: &[PayloadAlert], part: impl Fn(&PayloadAlert) -> &Map) -> Map {
    let Some((first, others)) = alerts.split_first() else { return Map::new() };
    let mut common = part(first).clone();
    common.retain(|name, value| others.iter().all(|other| part(other).get(name) == Some(value)));
    common
}
