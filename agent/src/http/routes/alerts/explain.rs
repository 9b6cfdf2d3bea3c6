//! `GET /api/alerts/{fingerprint}`: one alert, everything that was decided about it and why.

use axum::extract::State;

use super::fingerprint::meant;
use super::history;
use super::item::{decision, whole};
use super::list::AlertsState;
use crate::api::decision::AlertExplanation;
use crate::http::desk::refused;
use crate::http::error::ApiError;
use crate::http::exchange::{Answer, Named};
use crate::http::routes::outbox;
use crate::pipeline::Explanation;

pub async fn explain(State(state): State<AlertsState>, Named(begins): Named) -> Result<Answer<AlertExplanation>, ApiError> {
    let fingerprint = meant(&state, &begins).await?;
    let explanation = state.desk.explain(fingerprint, &state.store).await.map_err(refused)?;
    let Explanation { alert, trace, history, notifications } = explanation;
    Ok(Answer::ok(AlertExplanation {
        alert: whole(&alert, &trace),
        decision: decision(&trace),
        history: history.iter().map(history::item).collect(),
        notifications: notifications.iter().map(outbox::item).collect(),
    }))
}
