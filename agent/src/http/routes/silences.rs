//! `/api/silences`: alerts that nobody shall hear of for a while.

use std::time::Duration;

use axum::extract::rejection::JsonRejection;
use axum::extract::{Path, State};
use axum::http::StatusCode;
use axum::{Extension, Json};
use pharos_model::dispatch::{Matcher, Matchers, Silence};
use serde::Deserialize;
use serde_json::{Value, json};

use super::{body, refused};
use crate::clock::{milliseconds, parse_rfc3339, rfc3339};
use crate::config::labels;
use crate::http::error::ApiError;
use crate::http::{Shared, Visitor};

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct NewSilence {
    /// Such as `rule="lag"`; all must hold.
    matchers: Vec<String>,
    /// RFC 3339; now if absent.
    starts_at: Option<String>,
    /// RFC 3339; this or `duration`.
    ends_at: Option<String>,
    /// Such as `2h`, from the start on.
    duration: Option<String>,
    /// The visitor's own name if absent.
    author: Option<String>,
    comment: String,
}

pub async fn list(State(api): Shared) -> Result<Json<Value>, ApiError> {
    let now_ms = api.clock.wall_ms();
    let mut silences = api.desk.silences().await.map_err(refused)?;
    silences.sort_by_key(|silence| (silence.state(now_ms).as_str(), silence.ends_at_ms));
    let items: Vec<Value> = silences.iter().map(|silence| item(silence, now_ms)).collect();
    Ok(Json(json!({ "items": items })))
}

pub async fn add(
    State(api): Shared,
    Extension(visitor): Extension<Visitor>,
    json: Result<Json<NewSilence>, JsonRejection>,
) -> Result<(StatusCode, Json<Value>), ApiError> {
    let now_ms = api.clock.wall_ms();
    let silence = silence(body(json)?, &visitor, now_ms)?;
    let silence = api.desk.silence(silence, &visitor.name).await.map_err(refused)?;
    let mut added = item(&silence, now_ms);
    let picture = api.board.picture();
    added["open_alerts_that_match"] = picture.alerts.iter().filter(|alert| silence.matchers.hold(alert)).count().into();
    added["notes"] = unknown_labels(&silence).into();
    Ok((StatusCode::CREATED, Json(added)))
}

pub async fn expire(State(api): Shared, Extension(visitor): Extension<Visitor>, Path(id): Path<String>) -> Result<Json<Value>, ApiError> {
    let silence = api.desk.expire_silence(&id, &visitor.name).await.map_err(refused)?;
    Ok(Json(item(&silence, api.clock.wall_ms())))
}

fn silence(new: NewSilence, visitor: &Visitor, now_ms: u64) -> Result<Silence, ApiError> {
    let matchers = Matchers::parse(&new.matchers).map_err(|err| ApiError::bad_request(format!("`matchers`: {err}")))?;
    let starts_at_ms = new.starts_at.as_deref().map_or(Ok(now_ms), |text| instant("starts_at", text))?;
    let ends_at_ms = match (&new.ends_at, &new.duration) {
        (Some(text), None) => instant("ends_at", text)?,
        (None, Some(text)) => starts_at_ms.saturating_add(duration(text)?),
        _ => return Err(ApiError::bad_request("a silence ends: give `ends_at` or `duration`, and only one of them")),
    };
    Ok(Silence {
        id: format!("{now_ms:x}-{:04x}", fastrand::u16(..)),
        matchers,
        starts_at_ms,
        ends_at_ms,
        author: visitor.author(new.author)?,
        comment: new.comment,
        created_at_ms: now_ms,
        over: false,
        configured: false,
    })
}

/// Names that no shipped alert has, and that are probably misspelt. A plugin of the user's own may have them.
fn unknown_labels(silence: &Silence) -> Vec<String> {
    let known = labels::known();
    let names = silence.matchers.0.iter().map(Matcher::name).filter(|name| !known.contains(name));
    names.map(|name| labels::unknown_label(name, &known)).collect()
}

fn instant(key: &str, text: &str) -> Result<u64, ApiError> {
    parse_rfc3339(text)
        .ok_or_else(|| ApiError::bad_request(format!("`{key}`: `{text}` is no instant")).hint("write it like 2026-11-25T22:00:00Z"))
}

fn duration(text: &str) -> Result<u64, ApiError> {
    let duration: Duration = humantime::parse_duration(text)
        .map_err(|err| ApiError::bad_request(format!("`duration`: `{text}`: {err}")).hint("write it like 2h or 30m"))?;
    Ok(milliseconds(duration))
}

fn item(silence: &Silence, now_ms: u64) -> Value {
    json!({
        "id": silence.id,
        "state": silence.state(now_ms),
        "matchers": silence.matchers,
        "starts_at": rfc3339(silence.starts_at_ms),
        "ends_at": rfc3339(silence.ends_at_ms),
        "author": silence.author,
        "comment": silence.comment,
        "created_at": rfc3339(silence.created_at_ms),
        // Why it hides nothing although its time is now.
        "problem": silence.matchers.problem(),
        "source": if silence.configured { "config" } else { "api" },
    })
}
