//! `GET /api/database/indexes`: problems of indexes and tables with their evidence, and everything that could not be judged.

use std::cmp::Reverse;

use pharos_model::snapshot::{PartId, PartState, Snapshot, Table};
use pharos_model::subject::SubjectKind;

use super::snapshots::{Selection, label, last_read};
use crate::api::indexes::{
    INDEX_FACTS_LIMIT_DEFAULT, INDEX_FACTS_LIMIT_MAX, IndexFact, IndexFactList, IndexFactName, IndexFactsQuery, NotJudged,
};
use crate::http::error::ApiError;
use crate::http::exchange::Answer;
use crate::http::page;

pub(super) async fn list(selection: Selection<IndexFactsQuery>) -> Result<Answer<IndexFactList>, ApiError> {
    let Selection { query, mut snapshots } = selection;
    let names = IndexFactName::ALL.map(IndexFactName::as_str);
    if let Some(fact) = query.fact.as_deref().filter(|fact| !names.contains(fact)) {
        return Err(ApiError::bad_request(format!("no fact is named \"{fact}\"")).hint(format!("there are: {}", names.join(", "))));
    }
    let limit = page::limit(query.limit, INDEX_FACTS_LIMIT_DEFAULT, INDEX_FACTS_LIMIT_MAX)?;
    let after = page::after(query.cursor.as_deref())?;
    snapshots.retain(|snapshot| snapshot.subject.kind == SubjectKind::Postgres);
    let is_selected = |found: &Option<String>, asked: &Option<String>| asked.is_none() || found.is_none() || found == asked;
    let mut items: Vec<IndexFact> = snapshots.iter().flat_map(facts).collect();
    items.retain(|item| is_selected(&item.datname, &query.datname) && is_selected(&item.fact, &query.fact));
    let (items, next_cursor) = page::cut(items, after.as_ref(), limit, order);
    let mut not_judged: Vec<NotJudged> = snapshots.iter().flat_map(unjudged).collect();
    not_judged.retain(|missing| is_selected(&missing.datname, &query.datname) && is_selected(&missing.fact, &query.fact));
    not_judged.sort();
    not_judged.dedup();
    Ok(Answer::ok(IndexFactList { items, not_judged, next_cursor }))
}

/// Sort key of a fact in the list.
fn order(fact: &IndexFact) -> (Reverse<Option<i64>>, String, [Option<String>; 7]) {
    let names = [&fact.datname, &fact.schema, &fact.relation, &fact.index, &fact.fact, &fact.other, &fact.constraint];
    (Reverse(fact.size_bytes), fact.server.clone(), names.map(Clone::clone))
}

fn facts(snapshot: &Snapshot) -> Vec<IndexFact> {
    let tables = ["index_facts", "schema_facts"].into_iter().filter_map(|name| snapshot.table(name));
    tables.flat_map(|table| (0..table.row_count as usize).map(move |row| fact(snapshot, table, row))).collect()
}

/// The fact in one row of `index_facts` or `schema_facts`. Columns that only the other table has are null.
fn fact(snapshot: &Snapshot, table: &Table, row: usize) -> IndexFact {
    let text = |column| table.text(column, row).map(ToOwned::to_owned);
    IndexFact {
        database: label(snapshot, "database"),
        server: label(snapshot, "server"),
        datname: text("datname"),
        schema: text("schema"),
        relation: text("relation"),
        fact: text("fact"),
        index: text("index"),
        other: text("other"),
        constraint: text("name"),
        columns: text("columns"),
        size_bytes: table.integer("size_bytes", row),
        rows: table.number("rows", row),
        scans: table.integer("scans", row),
        stats_age_seconds: table.number("stats_age_seconds", row),
        evidence: text("evidence"),
        guard: text("guard"),
    }
}

fn unjudged(snapshot: &Snapshot) -> Vec<NotJudged> {
    let missing = |datname: Option<&str>, fact: Option<&str>, why: String| NotJudged {
        database: label(snapshot, "database"),
        server: label(snapshot, "server"),
        datname: datname.map(ToOwned::to_owned),
        fact: fact.map(ToOwned::to_owned),
        why,
    };
    let mut found: Vec<NotJudged> = unread(snapshot).map(|why| missing(None, None, why)).into_iter().collect();
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

/// Why no index of the server could be read.
fn unread(snapshot: &Snapshot) -> Option<String> {
    match snapshot.part(PartId::Indexes).map(|part| &part.state) {
        Some(PartState::Present) => None,
        Some(PartState::Failed(why) | PartState::Unsupported(why)) => Some(why.clone()),
        Some(PartState::Stale(age)) => Some(last_read(*age)),
        None => Some("not visited yet".to_owned()),
    }
}
