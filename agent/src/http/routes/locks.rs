//! `GET /api/database/locks`: who waits for whom on each server, as trees, and what would free them.

use axum::Json;
use axum::extract::rejection::QueryRejection;
use axum::extract::{Query, State};
use pharos_model::snapshot::{PartState, Snapshot, Table};
use serde::Serialize;
use serde_json::{Value, json};

use super::{ByDatabase, label};
use crate::clock::rfc3339;
use crate::http::Shared;
use crate::http::error::ApiError;

/// One server. Without `roots` nothing is known, and `why` says why; without any in it nobody waits.
#[derive(Debug, Serialize)]
struct Server<'a> {
    database: &'a str,
    server: &'a str,
    taken_at: String,
    why: Option<String>,
    roots: Option<Vec<Root<'a>>>,
}

/// Who waits for nobody, and everybody behind it.
#[derive(Debug, Serialize)]
struct Root<'a> {
    /// Null for prepared transactions.
    pid: Option<i64>,
    /// Of the lock that others wait for.
    mode: Option<&'a str>,
    state: Option<&'a str>,
    user: Option<&'a str>,
    application: Option<&'a str>,
    transaction_seconds: Option<f64>,
    /// Nearest to the root first.
    waiters: Vec<Waiter<'a>>,
}

#[derive(Debug, Serialize)]
struct Waiter<'a> {
    pid: Option<i64>,
    /// Null where it waits for a prepared transaction.
    blocked_by: Option<i64>,
    /// Sessions on the longest way to the root.
    depth: Option<i64>,
    wait_seconds: Option<f64>,
    lock_type: Option<&'a str>,
    mode: Option<&'a str>,
    relation: Option<&'a str>,
    datname: Option<&'a str>,
    user: Option<&'a str>,
    application: Option<&'a str>,
    /// Names of the prepared transactions that it waits for.
    prepared: Option<&'a str>,
    remedy: Option<&'a str>,
    /// What somebody could do. Nothing of it is ever run by the agent.
    remedy_text: Option<&'a str>,
}

pub async fn list(State(api): Shared, query: Result<Query<ByDatabase>, QueryRejection>) -> Result<Json<Value>, ApiError> {
    let Query(query) = query.map_err(|err| ApiError::bad_request(err.body_text()))?;
    let database = query.checked(&api)?;
    let picture = api.board.picture();
    let now = api.clock.monotonic();
    let servers = picture.servers().map(|(_, change)| &change.snapshot);
    let wanted = servers.filter(|snapshot| {
        snapshot.subject.kind == pharos_model::subject::SubjectKind::Postgres
            && database.is_none_or(|name| label(snapshot, "database") == name)
    });
    let snapshots: Vec<Snapshot> = wanted
        .cloned()
        .map(|mut snapshot| {
            snapshot.expire(now);
            snapshot
        })
        .collect();
    let items: Vec<Server<'_>> = snapshots.iter().map(server).collect();
    Ok(Json(json!({ "items": items })))
}

fn server(snapshot: &Snapshot) -> Server<'_> {
    let waits = snapshot.table("lock_waits");
    let why = match snapshot.parts.get("locks").map(|part| &part.state) {
        _ if waits.is_some() => None,
        Some(PartState::Failed(why) | PartState::Unsupported(why)) => Some(why.clone()),
        Some(PartState::Stale(age)) => Some(format!("last read {age:.0?} ago")),
        Some(PartState::Present) => Some("not read, since sessions queue for the lock manager itself".to_owned()),
        None => Some("not read yet".to_owned()),
    };
    Server {
        database: label(snapshot, "database"),
        server: label(snapshot, "server"),
        taken_at: rfc3339(snapshot.taken_at_ms),
        why,
        roots: waits.map(roots),
    }
}

/// The most victims first, as far as the rows go.
fn roots(waits: &Table) -> Vec<Root<'_>> {
    let mut roots: Vec<Root<'_>> = Vec::new();
    let mut rows: Vec<usize> = (0..waits.row_count as usize).collect();
    rows.sort_by_key(|row| waits.integer("depth", *row));
    for row in rows {
        let pid = waits.integer("root_pid", row);
        let index = roots.iter().position(|root| root.pid == pid).unwrap_or_else(|| {
            roots.push(root(waits, row));
            roots.len() - 1
        });
        roots[index].waiters.push(waiter(waits, row));
    }
    roots.sort_by_key(|root| std::cmp::Reverse(root.waiters.len()));
    roots
}

fn root(waits: &Table, row: usize) -> Root<'_> {
    Root {
        pid: waits.integer("root_pid", row),
        mode: waits.text("root_mode", row),
        state: waits.text("root_state", row),
        user: waits.text("root_user", row),
        application: waits.text("root_application", row),
        transaction_seconds: waits.number("root_transaction_seconds", row),
        waiters: Vec::new(),
    }
}

fn waiter(waits: &Table, row: usize) -> Waiter<'_> {
    Waiter {
        pid: waits.integer("pid", row),
        blocked_by: waits.integer("blocked_by", row),
        depth: waits.integer("depth", row),
        wait_seconds: waits.number("wait_seconds", row),
        lock_type: waits.text("lock_type", row),
        mode: waits.text("mode", row),
        relation: waits.text("relation", row),
        datname: waits.text("datname", row),
        user: waits.text("user", row),
        application: waits.text("application", row),
        prepared: waits.text("prepared", row),
        remedy: waits.text("remedy", row),
        remedy_text: waits.text("remedy_text", row),
    }
}
