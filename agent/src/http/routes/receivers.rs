//! `POST /api/receivers/{name}/test`: a message that says nothing but that it arrived.

use axum::Json;
use axum::extract::{Path, State};
use pharos_model::notification::Delivery;
use serde_json::{Value, json};

use crate::http::Shared;
use crate::http::error::ApiError;

pub async fn test(State(api): Shared, Path(name): Path<String>) -> Result<Json<Value>, ApiError> {
    let delivery = api.tester.test(&name).await.map_err(|err| ApiError::not_found(err.to_string()))?;
    let (outcome, why) = match delivery {
        Delivery::Accepted => ("accepted", None),
        Delivery::Partial(refused) => {
            let refused: Vec<String> = refused.into_iter().map(|(index, why)| format!("recipient {index}: {why}")).collect();
            ("partial", Some(refused.join("; ")))
        }
        Delivery::Retry { after, why } => {
            ("retry", Some(after.map_or(why.clone(), |after| format!("{why} (it asks to wait {})", humantime::format_duration(after)))))
        }
        Delivery::Ambiguous(why) => ("ambiguous", Some(why)),
        Delivery::Unavailable(why) => ("unavailable", Some(why)),
        Delivery::Unauthorised(why) => ("unauthorised", Some(why)),
        Delivery::Gone(why) => ("gone", Some(why)),
        Delivery::Rejected { reason, why } => (reason.as_str(), Some(why)),
    };
    Ok(Json(json!({ "receiver": name, "outcome": outcome, "why": why })))
}
