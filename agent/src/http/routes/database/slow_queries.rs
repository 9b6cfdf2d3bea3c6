//! `GET /api/database/slow-queries`: statements whose mean execution time since the previous reading is past the threshold.

use std::cmp::Reverse;
use std::time::Duration;

use axum::extract::State;
use pharos_model::snapshot::Snapshot;

use super::snapshots::{DatabaseState, Selection, label};
use crate::api::slow_queries::{SLOW_QUERIES_LIMIT_DEFAULT, SLOW_QUERIES_LIMIT_MAX, SlowQueriesQuery, SlowQuery, SlowQueryList};
use crate::http::error::ApiError;
use crate::http::exchange::Answer;
use crate::http::page;

const P95_METHOD: &str = "estimate: log-normal, from mean and standard deviation of the interval";

pub(super) async fn list(
    State(state): State<DatabaseState>,
    selection: Selection<SlowQueriesQuery>,
) -> Result<Answer<SlowQueryList>, ApiError> {
    let Selection { query, snapshots } = selection;
    let threshold = query.threshold.as_deref().map(humantime::parse_duration).transpose();
    let threshold = threshold.map_err(|err| ApiError::bad_request(format!("threshold: {err}")).hint("a duration like 250ms"))?;
    let limit = page::limit(query.limit, SLOW_QUERIES_LIMIT_DEFAULT, SLOW_QUERIES_LIMIT_MAX)?;
    let after = page::after(query.cursor.as_deref())?;
    let items = snapshots.iter().flat_map(|snapshot| slow(&state, snapshot, threshold)).collect();
    let (items, next_cursor) = page::cut(items, after.as_ref(), limit, order);
    Ok(Answer::ok(SlowQueryList { items, p95_method: P95_METHOD.to_owned(), next_cursor }))
}

/// Sort key of a statement in the list. Times are not negative, so the order of their bits is the order of the times.
fn order(query: &SlowQuery) -> (Reverse<u64>, String, [Option<String>; 3], bool) {
    let time = query.time_seconds.unwrap_or(0.0).max(0.0).to_bits();
    let names = [&query.datname, &query.fingerprint, &query.user].map(Clone::clone);
    (Reverse(time), query.server.clone(), names, query.toplevel)
}

fn slow(state: &DatabaseState, snapshot: &Snapshot, threshold: Option<Duration>) -> Vec<SlowQuery> {
    let Some(table) = snapshot.table("statements") else { return Vec::new() };
    let configured = state.slow_after.get(&label(snapshot, "database")).copied().unwrap_or_default();
    let threshold = threshold.unwrap_or(configured).as_secs_f64();
    // Statements of the agent itself are listed only if they are slow by the configured threshold too.
    let own_threshold = threshold.max(configured.as_secs_f64());
    let text = |column, row| table.text(column, row).map(ToOwned::to_owned);
    let row = |row: usize| SlowQuery {
        database: label(snapshot, "database"),
        server: label(snapshot, "server"),
        fingerprint: text("fingerprint", row),
        datname: text("datname", row),
        user: text("user", row),
        toplevel: table.integer("toplevel", row) != Some(0),
        calls: table.number("calls", row),
        time_seconds: table.number("time_seconds", row),
        mean_seconds: table.number("mean_seconds", row),
        p95_estimate_seconds: table.number("p95_estimate_seconds", row),
        rows: table.number("rows", row),
        query: text("query", row),
    };
    let is_slow = |row: &usize| {
        let threshold = if table.boolean("own", *row) == Some(true) { own_threshold } else { threshold };
        table.number("mean_seconds", *row).is_some_and(|mean| mean >= threshold)
    };
    (0..table.row_count as usize).filter(is_slow).map(row).collect()
}
