//! `GET /api/alerts`, `GET /api/database/alerts`: open alerts, the gravest first.

use std::cmp::Reverse;
use std::sync::Arc;

use axum::extract::State;
use pharos_model::alert::Alert;
use pharos_model::dispatch::{Silence, SilenceState};
use pharos_model::finding::Severity;

use super::item::item;
use crate::api::alert::{ALERTS_LIMIT_MAX, AlertItem, AlertsQuery};
use crate::api::list::List;
use crate::board::Board;
use crate::clock::Clock;
use crate::http::databases::Databases;
use crate::http::error::ApiError;
use crate::http::exchange::{Answer, Parameters};
use crate::http::page;
use crate::pipeline::Desk;
use crate::store::Store;

/// State of the routes about alerts.
#[derive(Clone)]
pub(crate) struct AlertsState {
    pub board: Arc<Board>,
    pub clock: Clock,
    pub databases: Databases,
    pub desk: Desk,
    /// Read only here; never written.
    pub store: Store,
}

pub(super) async fn list(
    State(state): State<AlertsState>,
    Parameters(query): Parameters<AlertsQuery>,
) -> Result<Answer<List<AlertItem>>, ApiError> {
    let database = state.databases.known(query.database.as_deref())?;
    let limit = page::limit(query.limit, ALERTS_LIMIT_MAX, ALERTS_LIMIT_MAX)?;
    let after = page::after(query.cursor.as_deref())?;
    let picture = state.board.picture();
    let is_selected = |alert: &&Alert| database.is_none_or(|name| alert.subject.label("database") == Some(name));
    let mut alerts: Vec<&Alert> = picture.alerts.iter().map(Arc::as_ref).filter(is_selected).collect();
    let mut next_cursor = None;
    // A request without `limit` and `cursor` gets the whole list.
    if query.limit.is_some() || after.is_some() {
        (alerts, next_cursor) = page::cut(alerts, after.as_ref(), limit, |alert| order(alert));
    }
    let now_ms = state.clock.wall_ms();
    let item = |alert: &Alert| item(alert, picture.acknowledgements.get(&alert.fingerprint), silenced_by(alert, &picture.silences, now_ms));
    Ok(Answer::ok(List { items: alerts.into_iter().map(item).collect(), next_cursor }))
}

/// Sort key of an alert in the list.
fn order(alert: &Alert) -> (Reverse<Severity>, u64, String) {
    (Reverse(alert.severity), alert.started_at_ms, alert.fingerprint.to_string())
}

fn silenced_by(alert: &Alert, silences: &[Silence], now_ms: u64) -> Vec<String> {
    let hides = |silence: &&Silence| silence.state(now_ms) == SilenceState::Active && silence.matchers.fit(alert);
    silences.iter().filter(hides).map(|silence| silence.id.clone()).collect()
}
