//! `/api/alerts/{fingerprint}`: one alert, everything that was decided about it and why; and that somebody takes care of it.
//!
//! An alert is asked for by its fingerprint or by how that begins: of open alerts, and where none of them begins so, of those that ended.

use axum::extract::rejection::JsonRejection;
use axum::extract::{Path, State};
use axum::{Extension, Json};
use pharos_model::alert::Fingerprint;
use pharos_model::dispatch::{ReceiverTrace, Trace};
use pharos_model::event::{Event, EventDetail};
use serde::Deserialize;
use serde_json::{Value, json};

use super::{alerts, body, outbox, refused};
use crate::clock::rfc3339;
use crate::http::error::ApiError;
use crate::http::{Api, Shared, Visitor};
use crate::pipeline::{Explanation, Words};
use crate::telemetry::logs::chain;

pub async fn explain(State(api): Shared, Path(fingerprint): Path<String>) -> Result<Json<Value>, ApiError> {
    let explanation = api.desk.explain(meant(&api, &fingerprint).await?, &api.store).await.map_err(refused)?;
    let Explanation { alert, trace, history, notifications } = explanation;
    Ok(Json(json!({
        "alert": alerts::whole(&alert, &trace),
        "decision": decision(&trace),
        "history": history.iter().map(event).collect::<Vec<_>>(),
        "notifications": notifications.iter().map(outbox::item).collect::<Vec<_>>(),
    })))
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct NewAcknowledgement {
    /// The visitor's own name if absent.
    author: Option<String>,
    comment: String,
}

pub async fn acknowledge(
    State(api): Shared,
    Extension(visitor): Extension<Visitor>,
    Path(fingerprint): Path<String>,
    json: Result<Json<NewAcknowledgement>, JsonRejection>,
) -> Result<Json<Value>, ApiError> {
    let new = body(json)?;
    let author = visitor.author(new.author)?;
    let words = Words { actor: visitor.name, author: author.clone(), comment: new.comment.clone() };
    api.desk.acknowledge(parsed(&fingerprint)?, words).await.map_err(refused)?;
    Ok(Json(json!({ "fingerprint": fingerprint, "author": author, "comment": new.comment })))
}

pub async fn unacknowledge(
    State(api): Shared,
    Extension(visitor): Extension<Visitor>,
    Path(fingerprint): Path<String>,
) -> Result<Json<Value>, ApiError> {
    api.desk.unacknowledge(parsed(&fingerprint)?, &visitor.name).await.map_err(refused)?;
    Ok(Json(json!({ "fingerprint": fingerprint, "acknowledged": false })))
}

/// The alert that is meant by a fingerprint or by its first digits.
async fn meant(api: &Api, begins: &str) -> Result<Fingerprint, ApiError> {
    /// To say that more than one is meant, two are enough.
    const FOUND_MAX: u32 = 2;
    let is_beginning = (1..Fingerprint::DIGITS).contains(&begins.len()) && begins.bytes().all(|byte| byte.is_ascii_hexdigit());
    if !is_beginning {
        return parsed(begins);
    }
    let lower = begins.to_ascii_lowercase();
    let open =
        api.board.picture().alerts.iter().map(|alert| alert.fingerprint.to_string()).filter(|open| open.starts_with(&lower)).collect();
    let found: Vec<String> = match open {
        open if Vec::is_empty(&open) => api.store.fingerprints(lower, FOUND_MAX).await.map_err(|err| ApiError::unavailable(chain(&err)))?,
        open => open,
    };
    match found.as_slice() {
        [one] => parsed(one),
        [] => Err(ApiError::not_found(format!("no alert has a fingerprint that begins with `{begins}`"))),
        _ => Err(ApiError::conflict(format!("several alerts have fingerprints that begin with `{begins}`")).hint("give more of it")),
    }
}

fn parsed(fingerprint: &str) -> Result<Fingerprint, ApiError> {
    fingerprint.parse().map_err(|_| {
        ApiError::bad_request(format!("`{fingerprint}` is no fingerprint")).hint("sixteen hex digits, as /api/alerts lists them")
    })
}

fn decision(trace: &Trace) -> Value {
    let silences = trace.silences.iter().map(|silence| {
        json!({
            "id": silence.id, "state": silence.state, "author": silence.author, "comment": silence.comment,
            "ends_at": rfc3339(silence.ends_at_ms),
        })
    });
    json!({
        "routes": trace.routes,
        "receivers": trace.receivers.iter().map(receiver).collect::<Vec<_>>(),
        "silences": silences.collect::<Vec<_>>(),
        "inhibited_by": trace.inhibited_by,
    })
}

fn receiver(trace: &ReceiverTrace) -> Value {
    json!({
        "receiver": trace.receiver,
        "group": trace.group_key,
        "group_size": trace.group_size,
        "told": trace.told.as_ref().map(|told| json!({ "at": rfc3339(told.at_ms), "severity": told.severity, "flapping": told.flapping })),
        "repeats_in_ms": trace.repeats_in_ms,
        "due_at": trace.due_at_ms.map(rfc3339),
        "held": trace.held,
    })
}

/// A transition, or why a receiver was not told.
pub fn event(event: &Event) -> Value {
    let at = rfc3339(event.at_ms);
    match &event.detail {
        EventDetail::Alert(transition) => json!({
            "at": at, "what": "transition", "incident": transition.incident, "from": transition.from, "to": transition.to,
            "severity": transition.severity, "reason": transition.reason.as_str(), "value": transition.alert.value,
        }),
        EventDetail::Withheld(notice) => json!({
            "at": at, "what": "withheld", "receiver": notice.receiver, "incident": notice.incident, "reason": notice.reason,
            "why": notice.text, "for_good": notice.for_good,
        }),
        _ => json!({ "at": at, "what": event.kind(), "detail": event.stored_detail() }),
    }
}
