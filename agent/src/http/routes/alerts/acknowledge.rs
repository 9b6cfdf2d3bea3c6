//! `/api/alerts/{fingerprint}/acknowledgement`: acknowledges an alert, or withdraws the acknowledgement.

use axum::Extension;
use axum::extract::State;

use super::fingerprint::parsed;
use super::list::AlertsState;
use crate::api::alert::{Acknowledged, NewAcknowledgement, Unacknowledged};
use crate::http::access::Caller;
use crate::http::desk::refused;
use crate::http::error::ApiError;
use crate::http::exchange::{Answer, JsonBody, PathName};
use crate::pipeline::SignedComment;

pub(super) async fn acknowledge(
    State(state): State<AlertsState>,
    Extension(caller): Extension<Caller>,
    PathName(fingerprint): PathName,
    JsonBody(new): JsonBody<NewAcknowledgement>,
) -> Result<Answer<Acknowledged>, ApiError> {
    let author = caller.author(new.author)?;
    let comment = SignedComment { actor: caller.name, author: author.clone(), comment: new.comment.clone() };
    state.desk.acknowledge(parsed(&fingerprint)?, comment).await.map_err(refused)?;
    Ok(Answer::ok(Acknowledged { fingerprint, author, comment: new.comment }))
}

pub(super) async fn unacknowledge(
    State(state): State<AlertsState>,
    Extension(caller): Extension<Caller>,
    PathName(fingerprint): PathName,
) -> Result<Answer<Unacknowledged>, ApiError> {
    state.desk.unacknowledge(parsed(&fingerprint)?, &caller.name).await.map_err(refused)?;
    Ok(Answer::ok(Unacknowledged { fingerprint, acknowledged: false }))
}
