//! `GET /api/alerts/{fingerprint}`: one alert, with everything that was decided about it and the reasons.

use axum::extract::State;

use super::fingerprint::resolve;
use super::history;
use super::item::{decision, detailed_item};
use super::list::AlertsState;
use crate::api::decision::AlertExplanation;
use crate::http::desk::refused;
use crate::http::error::ApiError;
use crate::http::exchange::{Answer, PathName};
use crate::http::routes::outbox;
use crate::pipeline::Explanation;

pub(super) async fn explain(State(state): State<AlertsState>, PathName(prefix): PathName) -> Result<Answer<AlertExplanation>, ApiError> {
    let fingerprint = resolve(&state, &prefix).await?;
    let explanation = state.desk.explain(fingerprint, &state.store).await.map_err(refused)?;
    let Explanation { alert, trace, history, notifications } = explanation;
    Ok(Answer::ok(AlertExplanation {
        alert: detailed_item(&alert, &trace),
        decision: decision(&trace),
        history: history.iter().map(history::item).collect(),
        notifications: notifications.iter().map(outbox::item).collect(),
    }))
}
