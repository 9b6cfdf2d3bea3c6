//! `GET /api/database/indexes`: what speaks against indexes and tables, with the evidence, and who could not be judged.

use axum::Json;
use axum::extract::rejection::QueryRejection;
use axum::extract::{Query, State};
use pharos_model::snapshot::{PartState, Snapshot, Table};
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

use super::{ByDatabase, label};
use crate::http::Shared;
use crate::http::error::ApiError;

const LIMIT_DEFAULT: usize = 100;
/// Most rows of one answer: as many as a snapshot lists.
const LIMIT_MAX: usize = 1_000;

const FACTS: [&str; 8] =
    ["unused", "duplicate", "redundant", "invalid", "bloated", "foreign-key-without-index", "no-primary-key", "sequential-scans"];

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Asked {
    database: Option<String>,
    datname: Option<String>,
    fact: Option<String>,
    limit: Option<usize>,
}

#[derive(Debug, Serialize)]
struct Fact<'a> {
    database: &'a str,
    server: &'a str,
    datname: Option<&'a str>,
    schema: Option<&'a str>,
    relation: Option<&'a str>,
    fact: Option<&'a str>,
    index: Option<&'a str>,
    /// The index that makes this one superfluous.
    other: Option<&'a str>,
    constraint: Option<&'a str>,
    columns: Option<&'a str>,
    size_bytes: Option<i64>,
    rows: Option<f64>,
    scans: Option<i64>,
    stats_age_seconds: Option<f64>,
    evidence: Option<&'a str>,
    /// What speaks against acting on it.
    guard: Option<&'a str>,
}

#[derive(Debug, PartialEq, Eq, PartialOrd, Ord, Serialize)]
struct NotJudged<'a> {
    database: &'a str,
    server: &'a str,
    /// Null: the server as a whole.
    datname: Option<&'a str>,
    /// Null: nothing could be judged.
    fact: Option<&'a str>,
    why: String,
}

pub async fn list(State(api): Shared, query: Result<Query<Asked>, QueryRejection>) -> Result<Json<Value>, ApiError> {
    let Query(asked) = query.map_err(|err| ApiError::bad_request(err.body_text()))?;
    let by_database = ByDatabase { database: asked.database.clone() };
    let database = by_database.checked(&api)?;
    if let Some(fact) = asked.fact.as_deref().filter(|fact| !FACTS.contains(fact)) {
        let known = FACTS.join(", ");
        return Err(ApiError::bad_request(format!("no fact is named \"{fact}\"")).hint(format!("there are: {known}")));
    }
    let picture = api.board.picture();
    let now = api.clock.monotonic();
    let snapshots: Vec<Snapshot> = picture
        .servers()
        .map(|(_, change)| change.snapshot.clone())
        .filter(|snapshot| {
            snapshot.subject.kind == pharos_model::subject::SubjectKind::Postgres
                && database.is_none_or(|name| label(snapshot, "database") == name)
        })
        .map(|mut snapshot| {
            snapshot.expire(now);
            snapshot
        })
        .collect();
    let wanted = |found: Option<&str>, asked: &Option<String>| asked.is_none() || found.is_none() || found == asked.as_deref();
    let mut items: Vec<Fact<'_>> = snapshots.iter().flat_map(facts).collect();
    items.retain(|item| wanted(item.datname, &asked.datname) && wanted(item.fact, &asked.fact));
    items.sort_by_key(|item| std::cmp::Reverse(item.size_bytes));
    items.truncate(asked.limit.unwrap_or(LIMIT_DEFAULT).min(LIMIT_MAX));
    let mut missing: Vec<NotJudged<'_>> = snapshots.iter().flat_map(not_judged).collect();
    missing.retain(|missing| wanted(missing.datname, &asked.datname) && wanted(missing.fact, &asked.fact));
    missing.sort();
    missing.dedup();
    Ok(Json(json!({ "items": items, "not_judged": missing })))
}

fn facts(snapshot: &Snapshot) -> Vec<Fact<'_>> {
    let tables = ["index_facts", "schema_facts"].into_iter().filter_map(|name| snapshot.table(name));
    tables.flat_map(|table| (0..table.row_count as usize).map(move |row| fact(snapshot, table, row))).collect()
}

/// Columns that the other table has alone are null.
fn fact<'a>(snapshot: &'a Snapshot, table: &'a Table, row: usize) -> Fact<'a> {
    Fact {
        database: label(snapshot, "database"),
        server: label(snapshot, "server"),
        datname: table.text("datname", row),
        schema: table.text("schema", row),
        relation: table.text("relation", row),
        fact: table.text("fact", row),
        index: table.text("index", row),
        other: table.text("other", row),
        constraint: table.text("name", row),
        columns: table.text("columns", row),
        size_bytes: table.integer("size_bytes", row),
        rows: table.number("rows", row),
        scans: table.integer("scans", row),
        stats_age_seconds: table.number("stats_age_seconds", row),
        evidence: table.text("evidence", row),
        guard: table.text("guard", row),
    }
}

fn not_judged(snapshot: &Snapshot) -> Vec<NotJudged<'_>> {
    let (database, server) = (label(snapshot, "database"), label(snapshot, "server"));
    let missing = |datname, fact, why| NotJudged { database, server, datname, fact, why };
    let mut found = Vec::new();
    match snapshot.parts.get("indexes").map(|part| &part.state) {
        Some(PartState::Present) => {}
        Some(PartState::Failed(why) | PartState::Unsupported(why)) => found.push(missing(None, None, why.clone())),
        Some(PartState::Stale(age)) => found.push(missing(None, None, format!("last read {} s ago", age.as_secs()))),
        None => found.push(missing(None, None, "not visited yet".to_owned())),
    }
    if let Some(visits) = snapshot.table("visits") {
        let rows = (0..visits.row_count as usize).filter(|row| visits.text("collector", *row) == Some("indexes"));
        found.extend(rows.filter_map(|row| Some(missing(visits.text("datname", row), None, visits.text("why", row)?.to_owned()))));
    }
    if let Some(unjudged) = snapshot.table("unjudged_indexes") {
        let rows = (0..unjudged.row_count as usize).filter(|row| unjudged.text("list", *row).is_some_and(|list| list.ends_with("_facts")));
        found.extend(rows.filter_map(|row| {
            let name = |column| unjudged.text(column, row);
            let thing: Vec<&str> = ["schema", "relation", "index"].into_iter().filter_map(name).collect();
            let why = if thing.is_empty() { name("why")?.to_owned() } else { format!("{}: {}", thing.join("."), name("why")?) };
            Some(missing(name("datname"), name("respect"), why))
        }));
    }
    if let Some(indexes) = snapshot.table("indexes") {
        let rows = 0..indexes.row_count as usize;
        found.extend(rows.filter_map(|row| {
            let cure = indexes.text("bloat_cure", row)?;
            Some(missing(indexes.text("datname", row), Some("bloated"), format!("the planner's statistics cannot be read; {cure}")))
        }));
    }
    found
}
