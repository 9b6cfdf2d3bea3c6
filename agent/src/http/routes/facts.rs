//! `GET /api/database/metrics`: the latest snapshot of each server.

use axum::Json;
use axum::extract::rejection::QueryRejection;
use axum::extract::{Query, State};
use pharos_model::snapshot::Change;
use pharos_model::snapshot::{Family, Part, PartState};
use serde_json::{Map, Value, json};

use super::ByDatabase;
use crate::clock::rfc3339;
use crate::http::Shared;
use crate::http::error::ApiError;

pub async fn metrics(State(api): Shared, query: Result<Query<ByDatabase>, QueryRejection>) -> Result<Json<Value>, ApiError> {
    let Query(query) = query.map_err(|err| ApiError::bad_request(err.body_text()))?;
    let database = query.checked(&api)?;
    let picture = api.board.picture();
    let now = api.clock.monotonic();
    let wanted = |change: &&std::sync::Arc<Change>| {
        let labels = &change.snapshot.subject.labels;
        database.is_none_or(|name| labels.iter().any(|label| label.name == "database" && label.value == name))
    };
    let items: Vec<Value> = picture.servers().map(|(_, change)| change).filter(wanted).map(|change| server(change, now)).collect();
    Ok(Json(json!({ "items": items })))
}

fn server(change: &Change, now: std::time::Duration) -> Value {
    let mut snapshot = change.snapshot.clone();
    snapshot.expire(now);
    let subject = &snapshot.subject;
    let mut item: Map<String, Value> =
        subject.labels.iter().map(|label| (label.name.clone(), Value::String(label.value.clone()))).collect();
    item.insert("kind".to_owned(), subject.kind.as_str().into());
    item.insert("version".to_owned(), subject.version.clone().into());
    item.insert("taken_at".to_owned(), rfc3339(snapshot.taken_at_ms).into());
    let up = snapshot.is_reachable() == Some(true);
    item.insert("up".to_owned(), up.into());
    item.insert("parts".to_owned(), snapshot.parts.iter().map(|(name, part)| (name.clone(), state(part))).collect());
    let families = snapshot.parts.values().filter_map(|part| part.reading.as_ref()).flat_map(|reading| &reading.families);
    item.insert("metrics".to_owned(), families.map(|family| (family.metric.clone(), series(family))).collect());
    Value::Object(item)
}

fn state(part: &Part) -> Value {
    match &part.state {
        PartState::Present => json!({ "state": "present" }),
        PartState::Failed(why) => json!({ "state": "failed", "why": why }),
        PartState::Unsupported(why) => json!({ "state": "unsupported", "why": why }),
        PartState::Stale(age) => json!({ "state": "stale", "age_seconds": age.as_secs_f64() }),
    }
}

fn series(family: &Family) -> Value {
    let one = |row: usize| {
        let labels: Map<String, Value> =
            family.labels.iter().map(|label| (label.name.clone(), label.values.text(row).map_or(Value::Null, Value::from))).collect();
        json!({ "labels": labels, "value": family.values[row] })
    };
    Value::Array((0..family.values.len()).map(one).collect())
}
