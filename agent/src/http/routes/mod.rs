//! One file per resource: its types and its handler.

pub mod alert;
pub mod alerts;
pub mod audit;
pub mod facts;
pub mod indexes;
pub mod locks;
pub mod metrics;
pub mod outbox;
pub mod plugins;
pub mod receivers;
pub mod services;
pub mod silences;
pub mod slow_queries;

use axum::Json;
use axum::extract::rejection::JsonRejection;
use pharos_model::snapshot::Snapshot;
use serde::Deserialize;

use crate::http::Api;
use crate::http::error::ApiError;
use crate::pipeline::DeskError;

/// The body of a request, or what is wrong with it.
fn body<T>(json: Result<Json<T>, JsonRejection>) -> Result<T, ApiError> {
    json.map(|Json(body)| body).map_err(|err| ApiError::bad_request(err.body_text()))
}

/// What the pipeline answers instead of doing it.
fn refused(err: DeskError) -> ApiError {
    use pharos_model::dispatch::{AcknowledgeError, SilenceError};
    let message = crate::telemetry::logs::chain(&err);
    match err {
        DeskError::Unknown(_) | DeskError::Acknowledge(AcknowledgeError::Unknown(_)) | DeskError::Silence(SilenceError::Unknown(_)) => {
            ApiError::not_found(message)
        }
        DeskError::Silence(SilenceError::Configured(_) | SilenceError::TooMany | SilenceError::TooLarge) => ApiError::conflict(message),
        DeskError::Silence(_) | DeskError::Acknowledge(_) => ApiError::bad_request(message),
        DeskError::Store(_) | DeskError::Closed => ApiError::unavailable(message),
    }
}

/// `?database=NAME`, everywhere under `/api/database`.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ByDatabase {
    database: Option<String>,
}

impl ByDatabase {
    /// The name, if it is one that is configured.
    fn checked<'a>(&'a self, api: &Api) -> Result<Option<&'a str>, ApiError> {
        match &self.database {
            Some(name) if !api.databases.contains(name) => {
                let known = api.databases.join(", ");
                Err(ApiError::not_found(format!("no database is named \"{name}\"")).hint(format!("configured are: {known}")))
            }
            name => Ok(name.as_deref()),
        }
    }
}

/// A label of what the snapshot is about; empty where it has none of that name.
fn label<'a>(snapshot: &'a Snapshot, name: &str) -> &'a str {
    let labels = &snapshot.subject.labels;
    labels.iter().find(|label| label.name == name).map_or("", |label| label.value.as_str())
}
