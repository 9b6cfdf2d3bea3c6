//! `GET /api/alerts`, `GET /api/database/alerts`: open alerts, the gravest first.

use std::sync::Arc;

use axum::Json;
use axum::extract::rejection::QueryRejection;
use axum::extract::{Query, State};
use pharos_model::alert::Alert;
use pharos_model::dispatch::{Acknowledgement, Silence, SilenceState, Trace};
use pharos_model::subject::Label;
use serde::Serialize;
use serde_json::{Map, Value, json};

use super::ByDatabase;
use crate::clock::rfc3339;
use crate::http::Shared;
use crate::http::error::ApiError;

#[derive(Serialize)]
pub struct AlertItem<'a> {
    fingerprint: String,
    incident: u64,
    rule: &'a str,
    plugin: &'a str,
    subject: Value,
    labels: Value,
    severity: &'static str,
    state: &'static str,
    since: String,
    started_at: String,
    value: Option<f64>,
    raise_at: Option<f64>,
    clear_at: Option<f64>,
    title: &'a str,
    detail: &'a str,
    cause: Option<&'a str>,
    fix: Option<&'a str>,
    runbook: Option<&'a str>,
    /// What was measured; only where one alert is asked for.
    #[serde(skip_serializing_if = "Option::is_none")]
    evidence: Option<&'a [Label]>,
    /// Why nobody can say whether it is still true; null while it is judged.
    frozen: Option<String>,
    /// Since when, and evaluations in a row that could not judge it.
    frozen_since: Option<String>,
    frozen_evaluations: u32,
    flapping_since: Option<String>,
    /// Who takes care of it.
    acknowledgement: Option<Value>,
    /// Silences that hide it now.
    silenced_by: Vec<String>,
}

pub async fn list(State(api): Shared, query: Result<Query<ByDatabase>, QueryRejection>) -> Result<Json<Value>, ApiError> {
    let Query(query) = query.map_err(|err| ApiError::bad_request(err.body_text()))?;
    let database = query.checked(&api)?;
    let picture = api.board.picture();
    let of_database = |alert: &&Alert| database.is_none_or(|name| label(&alert.subject.labels, "database") == Some(name));
    let now_ms = api.clock.wall_ms();
    let item = |alert| item(alert, picture.acknowledgements.get(&alert.fingerprint), silenced_by(alert, &picture.silences, now_ms));
    let items: Vec<AlertItem<'_>> = picture.alerts.iter().map(Arc::as_ref).filter(of_database).map(item).collect();
    Ok(Json(json!({ "items": items })))
}

fn silenced_by(alert: &Alert, silences: &[Silence], now_ms: u64) -> Vec<String> {
    let hides = |silence: &&Silence| silence.state(now_ms) == SilenceState::Active && silence.matchers.hold(alert);
    silences.iter().filter(hides).map(|silence| silence.id.clone()).collect()
}

pub fn item<'a>(alert: &'a Alert, acknowledgement: Option<&Acknowledgement>, silenced_by: Vec<String>) -> AlertItem<'a> {
    AlertItem {
        fingerprint: alert.fingerprint.to_string(),
        incident: alert.incident,
        rule: &alert.rule,
        plugin: &alert.plugin,
        subject: json!({ "kind": alert.subject.kind.as_str(), "id": alert.subject.id }),
        labels: labels(alert.subject.labels.iter().chain(&alert.labels)),
        severity: alert.severity.as_str(),
        state: alert.state.as_str(),
        since: rfc3339(alert.since_ms),
        started_at: rfc3339(alert.started_at_ms),
        value: alert.value,
        raise_at: alert.raise_at,
        clear_at: alert.clear_at,
        title: &alert.title,
        detail: &alert.detail,
        cause: alert.cause.as_deref(),
        fix: alert.fix.as_deref(),
        runbook: alert.runbook.as_deref(),
        evidence: None,
        frozen: alert.frozen.as_ref().map(ToString::to_string),
        frozen_since: alert.frozen.as_ref().map(|frozen| rfc3339(frozen.since_ms)),
        frozen_evaluations: alert.frozen.as_ref().map_or(0, |frozen| frozen.evaluations),
        flapping_since: alert.flapping_since_ms.map(rfc3339),
        acknowledgement: acknowledgement.map(|word| json!({ "author": word.author, "comment": word.comment, "at": rfc3339(word.at_ms) })),
        silenced_by,
    }
}

/// An alert with all that is known of it.
pub fn whole<'a>(alert: &'a Alert, trace: &Trace) -> AlertItem<'a> {
    let active = trace.silences.iter().filter(|silence| silence.state == SilenceState::Active);
    let silenced_by = active.map(|silence| silence.id.clone()).collect();
    AlertItem { evidence: Some(&alert.evidence), ..item(alert, trace.acknowledgement.as_ref(), silenced_by) }
}

fn label<'a>(labels: &'a [Label], name: &str) -> Option<&'a str> {
    labels.iter().find(|label| label.name == name).map(|label| label.value.as_str())
}

fn labels<'a>(labels: impl Iterator<Item = &'a Label>) -> Value {
    Value::Object(labels.map(|label| (label.name.clone(), Value::String(label.value.clone()))).collect::<Map<_, _>>())
}
