//! `/api/outbox`: notifications that wait, were delivered, or were given up.

use axum::extract::rejection::{JsonRejection, QueryRejection};
use axum::extract::{Query, State};
use axum::{Extension, Json};
use pharos_model::outbox::OutboxState;
use serde::Deserialize;
use serde_json::{Value, json};

use super::{body, refused};
use crate::clock::rfc3339;
use crate::http::error::ApiError;
use crate::http::{Shared, Visitor};
use crate::store::{OutboxRow, Wanted};

const SHOWN: u32 = 100;
/// Most rows of one answer. More come with the next page.
const SHOWN_MAX: u32 = 1_000;

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Asked {
    receiver: Option<String>,
    state: Option<String>,
    limit: Option<u32>,
}

/// Which notifications: some by their ids, or all of a receiver, or all.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Chosen {
    ids: Option<Vec<u64>>,
    receiver: Option<String>,
    #[serde(default)]
    all: bool,
}

pub async fn list(State(api): Shared, query: Result<Query<Asked>, QueryRejection>) -> Result<Json<Value>, ApiError> {
    let Query(asked) = query.map_err(|err| ApiError::bad_request(err.body_text()))?;
    let state = asked.state.as_deref().map(state).transpose()?;
    let limit = asked.limit.unwrap_or(SHOWN).min(SHOWN_MAX);
    let rows = api.store.outbox(asked.receiver, state, limit).await.map_err(|err| refused(err.into()))?;
    Ok(Json(json!({ "items": rows.iter().map(item).collect::<Vec<_>>() })))
}

fn state(name: &str) -> Result<OutboxState, ApiError> {
    name.parse().map_err(|_| {
        let known = OutboxState::ALL.map(OutboxState::as_str).join(", ");
        ApiError::bad_request(format!("no notification is `{name}`")).hint(format!("states are {known}"))
    })
}

pub async fn retry(
    State(api): Shared,
    Extension(visitor): Extension<Visitor>,
    json: Result<Json<Chosen>, JsonRejection>,
) -> Result<Json<Value>, ApiError> {
    let seqs = api.desk.retry(wanted(body(json)?)?, &visitor.name).await.map_err(refused)?;
    Ok(Json(json!({ "retried": seqs })))
}

pub async fn drop_rows(
    State(api): Shared,
    Extension(visitor): Extension<Visitor>,
    json: Result<Json<Chosen>, JsonRejection>,
) -> Result<Json<Value>, ApiError> {
    let dropped = api.desk.drop_rows(wanted(body(json)?)?, &visitor.name).await.map_err(refused)?;
    Ok(Json(json!({ "dropped": dropped })))
}

fn wanted(chosen: Chosen) -> Result<Wanted, ApiError> {
    if chosen.ids.is_none() && chosen.receiver.is_none() && !chosen.all {
        return Err(ApiError::bad_request("say which notifications: `ids`, `receiver`, or `\"all\": true`"));
    }
    Ok(Wanted { receiver: chosen.receiver, seqs: chosen.ids })
}

/// A notification as people see it.
pub fn item(row: &OutboxRow) -> Value {
    json!({
        "id": row.seq,
        "notification": row.made.id,
        "message": row.message,
        "receiver": row.made.receiver,
        "group": row.made.group_key,
        "fingerprint": row.made.fingerprint,
        "incident": row.made.incident,
        "tells": row.made.tells,
        "title": row.made.alert.title,
        "severity": row.made.alert.severity,
        "state": row.state,
        "created_at": rfc3339(row.created_at_ms),
        "due_at": rfc3339(row.due_at_ms),
        "settled_at": row.settled_at_ms.map(rfc3339),
        "attempts": row.attempts,
        "reason": row.reason,
        "why": row.why,
    })
}
