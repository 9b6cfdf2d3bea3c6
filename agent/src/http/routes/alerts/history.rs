//! `GET /api/alerts/{fingerprint}/history`: stored events of an alert, newest first.

use axum::extract::State;
use pharos_model::error_chain::chain;
use pharos_model::event::{Event, EventDetail};

use super::fingerprint::resolve;
use super::list::AlertsState;
use crate::api::decision::{HISTORY_LIMIT_DEFAULT, HISTORY_LIMIT_MAX, HistoryItem, HistoryQuery, OtherItem, TransitionItem, WithheldItem};
use crate::api::list::{List, Timestamp};
use crate::clock::rfc3339;
use crate::http::error::ApiError;
use crate::http::exchange::{Answer, Parameters, PathName};
use crate::http::page;

pub(super) async fn list(
    State(state): State<AlertsState>,
    PathName(prefix): PathName,
    Parameters(query): Parameters<HistoryQuery>,
) -> Result<Answer<List<HistoryItem>>, ApiError> {
    let limit = page::limit(query.limit, HISTORY_LIMIT_DEFAULT, HISTORY_LIMIT_MAX)?;
    let before: Option<u64> = page::after(query.cursor.as_deref())?;
    let fingerprint = resolve(&state, &prefix).await?.to_string();
    let rows = state.store.alert_history_page(fingerprint, before, limit + 1).await;
    let mut rows = rows.map_err(|err| ApiError::unavailable(chain(&err)))?;
    let next_cursor = page::trim(&mut rows, limit, |row| row.id);
    Ok(Answer::ok(List { items: rows.iter().map(|row| item(&row.event)).collect(), next_cursor }))
}

/// A transition, or why a receiver was not notified.
pub(crate) fn item(event: &Event) -> HistoryItem {
    let at = Timestamp(rfc3339(event.at_ms));
    match &event.detail {
        EventDetail::Alert(transition) => HistoryItem::Transition(TransitionItem {
            at,
            incident: transition.incident,
            from: transition.from,
            to: transition.to,
            severity: transition.severity,
            reason: transition.reason.as_str().to_owned(),
            value: transition.alert.value,
        }),
        EventDetail::Withheld(notice) => HistoryItem::Withheld(WithheldItem {
            at,
            receiver: notice.receiver.clone(),
            incident: notice.incident,
            reason: notice.reason,
            why: notice.text.clone(),
            for_good: notice.for_good,
        }),
        _ => HistoryItem::Other(OtherItem { at, what: event.kind().to_owned(), detail: event.stored_detail() }),
    }
}
