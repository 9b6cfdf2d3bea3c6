//! `/api/outbox`: notifications that wait, were delivered, or were given up.

use axum::Extension;
use axum::extract::State;
use pharos_model::outbox::OutboxState as NotificationState;

use crate::api::list::{List, Timestamp};
use crate::api::outbox::{ChosenNotifications, Dropped, NotificationItem, OUTBOX_LIMIT_DEFAULT, OUTBOX_LIMIT_MAX, OutboxQuery, Retried};
use crate::clock::rfc3339;
use crate::http::access::Caller;
use crate::http::desk::refused;
use crate::http::error::ApiError;
use crate::http::exchange::{Answer, JsonBody, Parameters};
use crate::http::operation::Limits;
use crate::http::page;
use crate::http::route::{Area, Route};
use crate::pipeline::Desk;
use crate::store::{OutboxRow, RowFilter, Store};

/// State of the routes about notifications.
#[derive(Clone)]
pub(crate) struct OutboxState {
    pub desk: Desk,
    /// Read only here; changes go through the desk.
    pub store: Store,
}

pub(crate) fn area(state: &OutboxState) -> Area {
    let list = Route::get("/api/outbox", "listNotifications", list)
        .describes("Notifications in all states", "The newest first. Those that were delivered or given up stay in the list for a while.")
        .query::<OutboxQuery>()
        .answers::<List<NotificationItem>>(200, "One page of the notifications.");
    let retry = Route::post("/api/outbox/retry", "retryNotifications", retry)
        .describes(
            "Retry notifications that were given up",
            "Their time to be delivered begins again. A notification stays given up if its receiver has meanwhile got a newer one about the same \
             incident, since what it reports is no longer true.",
        )
        .body::<ChosenNotifications>()
        .answers::<Retried>(200, "Numbers of the notifications that are retried. An empty list is no error.");
    let drop_rows = Route::post("/api/outbox/drop", "dropNotifications", drop_rows)
        .describes("Give up notifications", "Gives up notifications that wait, and removes those that were given up before.")
        .body::<ChosenNotifications>()
        .answers::<Dropped>(200, "The number of notifications that were dropped. 0 is no error.");
    let routes = [list, retry, drop_rows]
        .map(|route| route.limits(Limits::STORE).refuses(503, "The store cannot be reached just now, the agent stops, or it is busy."));
    Area::new("outbox", "Notifications on their way to receivers.", state, routes)
}

async fn list(
    State(state): State<OutboxState>,
    Parameters(query): Parameters<OutboxQuery>,
) -> Result<Answer<List<NotificationItem>>, ApiError> {
    let named = query.state.as_deref().map(state_named).transpose()?;
    let limit = page::limit(query.limit, OUTBOX_LIMIT_DEFAULT, OUTBOX_LIMIT_MAX)?;
    let before: Option<u64> = page::after(query.cursor.as_deref())?;
    let rows = state.store.outbox(query.receiver, named, before, limit + 1).await.map_err(|err| refused(err.into()))?;
    let mut items: Vec<NotificationItem> = rows.iter().map(item).collect();
    let next_cursor = page::trim(&mut items, limit, |item| item.id);
    Ok(Answer::ok(List { items, next_cursor }))
}

fn state_named(name: &str) -> Result<NotificationState, ApiError> {
    name.parse().map_err(|_| {
        let known = NotificationState::ALL.map(NotificationState::as_str).join(", ");
        ApiError::bad_request(format!("no notification is `{name}`")).hint(format!("states are {known}"))
    })
}

async fn retry(
    State(state): State<OutboxState>,
    Extension(caller): Extension<Caller>,
    JsonBody(chosen): JsonBody<ChosenNotifications>,
) -> Result<Answer<Retried>, ApiError> {
    let retried = state.desk.retry(wanted(chosen)?, &caller.name).await.map_err(refused)?;
    Ok(Answer::ok(Retried { retried }))
}

async fn drop_rows(
    State(state): State<OutboxState>,
    Extension(caller): Extension<Caller>,
    JsonBody(chosen): JsonBody<ChosenNotifications>,
) -> Result<Answer<Dropped>, ApiError> {
    let dropped = state.desk.drop_rows(wanted(chosen)?, &caller.name).await.map_err(refused)?;
    Ok(Answer::ok(Dropped { dropped: dropped as u64 }))
}

fn wanted(chosen: ChosenNotifications) -> Result<RowFilter, ApiError> {
    if chosen.ids.is_none() && chosen.receiver.is_none() && !chosen.all {
        return Err(ApiError::bad_request("name the notifications: `ids`, `receiver`, or `\"all\": true`"));
    }
    Ok(RowFilter { receiver: chosen.receiver, seqs: chosen.ids })
}

/// A stored notification as the API shows it.
pub(crate) fn item(row: &OutboxRow) -> NotificationItem {
    NotificationItem {
        id: row.seq,
        notification: row.made.id.clone(),
        message: row.message.clone(),
        receiver: row.made.receiver.clone(),
        group: row.made.group_key.clone(),
        fingerprint: row.made.fingerprint.to_string(),
        incident: row.made.incident,
        tells: row.made.part,
        title: row.made.alert.title.clone(),
        severity: row.made.alert.severity,
        state: row.state,
        created_at: Timestamp(rfc3339(row.created_at_ms)),
        due_at: Timestamp(rfc3339(row.due_at_ms)),
        settled_at: row.settled_at_ms.map(rfc3339).map(Timestamp),
        attempts: row.attempts,
        reason: row.reason.clone(),
        why: row.why.clone(),
    }
}
