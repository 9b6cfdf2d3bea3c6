//! `GET /api/plugins`: every plugin, what serves under its id and how it behaves.

use axum::Json;
use axum::extract::State;
use serde_json::{Value, json};

use crate::http::Shared;

pub async fn list(State(api): Shared) -> Json<Value> {
    Json(json!({ "items": api.plugins.status(&api.plugin_config) }))
}
