//! `GET /api/database/slow-queries`: statements whose mean execution time since the previous collection is past the threshold.

use std::time::Duration;

use axum::Json;
use axum::extract::rejection::QueryRejection;
use axum::extract::{Query, State};
use pharos_model::snapshot::Snapshot;
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

use super::{ByDatabase, label};
use crate::http::error::ApiError;
use crate::http::{Api, Shared};

const LIMIT_DEFAULT: usize = 50;
/// Most rows of one answer: as many as a snapshot lists.
const LIMIT_MAX: usize = 200;

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Asked {
    database: Option<String>,
    limit: Option<usize>,
    /// Human, like `250ms`; else the database's own.
    threshold: Option<String>,
}

#[derive(Debug, Serialize)]
struct SlowQuery<'a> {
    database: &'a str,
    server: &'a str,
    fingerprint: Option<&'a str>,
    datname: Option<&'a str>,
    user: Option<&'a str>,
    toplevel: bool,
    calls: Option<f64>,
    time_seconds: Option<f64>,
    mean_seconds: Option<f64>,
    p95_estimate_seconds: Option<f64>,
    rows: Option<f64>,
    /// Null until the text was read, which is done rarely.
    query: Option<&'a str>,
}

pub async fn list(State(api): Shared, query: Result<Query<Asked>, QueryRejection>) -> Result<Json<Value>, ApiError> {
    let Query(asked) = query.map_err(|err| ApiError::bad_request(err.body_text()))?;
    let by_database = ByDatabase { database: asked.database.clone() };
    let database = by_database.checked(&api)?;
    let threshold = asked.threshold.as_deref().map(humantime::parse_duration).transpose();
    let threshold = threshold.map_err(|err| ApiError::bad_request(format!("threshold: {err}")).hint("a duration like 250ms"))?;
    let limit = asked.limit.unwrap_or(LIMIT_DEFAULT).min(LIMIT_MAX);
    let picture = api.board.picture();
    let now = api.clock.monotonic();
    let snapshots: Vec<Snapshot> = picture
        .servers()
        .map(|(_, change)| change.snapshot.clone())
        .filter(|snapshot| database.is_none_or(|name| label(snapshot, "database") == name))
        .map(|mut snapshot| {
            snapshot.expire(now);
            snapshot
        })
        .collect();
    let mut items: Vec<SlowQuery<'_>> = snapshots.iter().flat_map(|snapshot| slow(&api, snapshot, threshold)).collect();
    items.sort_by(|a, b| b.time_seconds.unwrap_or(0.0).total_cmp(&a.time_seconds.unwrap_or(0.0)));
    items.truncate(limit);
    Ok(Json(json!({ "items": items, "p95_method": "estimate: log-normal, from mean and standard deviation of the interval" })))
}

fn slow<'a>(api: &Api, snapshot: &'a Snapshot, threshold: Option<Duration>) -> Vec<SlowQuery<'a>> {
    let Some(table) = snapshot.table("statements") else { return Vec::new() };
    let configured = api.slow_after.get(label(snapshot, "database")).copied().unwrap_or_default();
    let threshold = threshold.unwrap_or(configured).as_secs_f64();
    // Our own are of interest only where they are slow by what the operator calls slow.
    let own_threshold = threshold.max(configured.as_secs_f64());
    let row = |row: usize| SlowQuery {
        database: label(snapshot, "database"),
        server: label(snapshot, "server"),
        fingerprint: table.text("fingerprint", row),
        datname: table.text("datname", row),
        user: table.text("user", row),
        toplevel: table.integer("toplevel", row) != Some(0),
        calls: table.number("calls", row),
        time_seconds: table.number("time_seconds", row),
        mean_seconds: table.number("mean_seconds", row),
        p95_estimate_seconds: table.number("p95_estimate_seconds", row),
        rows: table.number("rows", row),
        query: table.text("query", row),
    };
    let is_slow = |row: &usize| {
        let threshold = if table.boolean("own", *row) == Some(true) { own_threshold } else { threshold };
        table.number("mean_seconds", *row).is_some_and(|mean| mean >= threshold)
    };
    (0..table.row_count as usize).filter(is_slow).map(row).collect()
}
