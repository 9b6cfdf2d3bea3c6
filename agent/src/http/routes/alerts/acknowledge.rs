//! `/api/alerts/{fingerprint}/acknowledgement`: a person takes care of an alert, or no more.

use axum::Extension;
use axum::extract::State;

use super::fingerprint::parsed;
use super::list::AlertsState;
use crate::api::alert::{Acknowledged, NewAcknowledgement, Unacknowledged};
use crate::http::access::Visitor;
use crate::http::desk::refused;
use crate::http::error::ApiError;
use crate::http::exchange::{Answer, Named, Sent};
use crate::pipeline::Words;

pub async fn acknowledge(
    State(state): State<AlertsState>,
    Extension(visitor): Extension<Visitor>,
    Named(fingerprint): Named,
    Sent(new): Sent<NewAcknowledgement>,
) -> Result<Answer<Acknowledged>, ApiError> {
    let author = visitor.author(new.author)?;
    let words = Words { actor: visitor.name, author: author.clone(), comment: new.comment.clone() };
    state.desk.acknowledge(parsed(&fingerprint)?, words).await.map_err(refused)?;
    Ok(Answer::ok(Acknowledged { fingerprint, author, comment: new.comment }))
}

pub async fn unacknowledge(
    State(state): State<AlertsState>,
    Extension(visitor): Extension<Visitor>,
    Named(fingerprint): Named,
) -> Result<Answer<Unacknowledged>, ApiError> {
    state.desk.unacknowledge(parsed(&fingerprint)?, &visitor.name).await.map_err(refused)?;
    Ok(Answer::ok(Unacknowledged { fingerprint, acknowledged: false }))
}
