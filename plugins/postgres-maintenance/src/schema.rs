//! Checks of schemas: foreign keys without an index, tables without a primary key, and large tables that are read in full.

use std::time::Duration;

use pharos_plugin::checks::{Case, Check, Explanation, Grading, Observation, Scope, each_row, evidence, unjudged, unvisited};
use pharos_plugin::{Label, Severity, SkipReason, Snapshot, sql, text};

use crate::bloat::INDEXES;
use crate::vacuum::{RELATION, relation_name};

const MIB: f64 = 1_048_576.0;

pub(crate) const CHECKS: &[Check] = &[
    Check {
        id: "foreign-key-without-index",
        summary: "deletes have to search a whole table for rows that refer to the deleted rows",
        category: "schema",
        scope: Scope::Shared,
        labels: &["datname", "schema", "relation", "name"],
        needs: &[INDEXES, "schema_facts"],
        hold_off: Duration::ZERO,
        keep_firing: Duration::ZERO,
        grading: Grading::rising_info(10.0 * MIB, 8.0 * MIB),
        observe: |snapshot| facts(snapshot, "foreign-key-without-index", &["datname", "schema", "relation", "name"]),
        explain: foreign_key_without_index,
    },
    Check {
        id: "no-primary-key",
        summary: "rows of a table cannot be distinguished",
        category: "schema",
        scope: Scope::Shared,
        labels: &RELATION,
        needs: &[INDEXES, "schema_facts"],
        hold_off: Duration::ZERO,
        keep_firing: Duration::ZERO,
        grading: Grading::Fact(Severity::Info),
        observe: |snapshot| facts(snapshot, "no-primary-key", &RELATION),
        explain: no_primary_key,
    },
    Check {
        id: "sequential-scans",
        summary: "a large table is mostly read as a whole",
        category: "performance",
        scope: Scope::Shared,
        labels: &RELATION,
        needs: &[INDEXES, "schema_facts"],
        hold_off: Duration::ZERO,
        keep_firing: Duration::ZERO,
        grading: Grading::Fact(Severity::Info),
        observe: |snapshot| facts(snapshot, "sequential-scans", &RELATION),
        explain: sequential_scans,
    },
];

/// Observes the tables with this fact. The value is the size of the table in bytes.
fn facts(snapshot: &Snapshot, fact: &str, labels: &[&str]) -> Result<Vec<Observation>, SkipReason> {
    let mut all = unvisited(snapshot, "indexes");
    all.extend(unjudged(snapshot, "schema_facts", fact));
    if let Some(table) = snapshot.table("schema_facts") {
        let size = |row: usize| table.has("fact", row, fact).then(|| table.number("size_bytes", row).unwrap_or_default());
        all.extend(each_row(&table, labels, size));
    }
    Ok(all)
}

/// The collector's facts about a case, as evidence.
fn fact_evidence(case: &Case) -> Vec<Label> {
    let Some(cells) = case.cells("schema_facts") else { return Vec::new() };
    let why = cells.text("evidence").map(|why| evidence("why", why));
    let lines = [why, cells.line("size", "size_bytes", text::bytes), cells.line("rows", "rows", text::count)];
    lines.into_iter().flatten().collect()
}

fn foreign_key_without_index(case: &Case) -> Explanation {
    let (name, datname, key) = (relation_name(case), case.label("datname"), case.label("name"));
    let cells = case.cells("schema_facts");
    let cell = |column: &str| cells.as_ref().and_then(|cells| cells.text(column));
    let relation = sql::relation(case.label("schema"), case.label("relation"));
    let columns = cell("column_list").unwrap_or_else(|| "<columns of the key>".to_owned());
    // PostgreSQL creates an index of a partitioned table in all partitions at once, and never concurrently.
    let is_partitioned = cell("kind").as_deref() == Some("partitioned");
    let (place, concurrently) = if is_partitioned { (", where it may not be written for a while", "") } else { ("", " CONCURRENTLY") };
    Explanation {
        title: format!("foreign key {key} of {name} has no index"),
        detail: format!(
            "No index of {name} of {datname} begins with the columns of foreign key {key}. Each delete or change of a key in the table it \
             refers to reads all of {name}, with locks held."
        ),
        cause: "PostgreSQL makes an index for a primary key, but not for a foreign key.".to_owned(),
        fix: format!("In {datname}{place}: `CREATE INDEX{concurrently} ON {relation} ({columns});`."),
        evidence: fact_evidence(case),
    }
}

fn no_primary_key(case: &Case) -> Explanation {
    let (name, datname) = (relation_name(case), case.label("datname"));
    Explanation {
        title: format!("{name} of {datname} has no primary key"),
        detail: format!(
            "Rows of {name} cannot be distinguished: logical replication cannot copy their updates and deletes, and tools that rewrite a \
             table in use cannot process it."
        ),
        cause: "The table was created without a primary key.".to_owned(),
        fix: format!("In {datname}{}", primary_key(case)),
        evidence: fact_evidence(case),
    }
}

/// The statements that add a primary key, which depend on the columns and indexes that the table has already.
fn primary_key(case: &Case) -> String {
    let relation = sql::relation(case.label("schema"), case.label("relation"));
    let cells = case.cells("schema_facts");
    let cell = |column: &str| cells.as_ref().and_then(|cells| cells.text(column));
    if let Some(obstacle) = cell("obstacle") {
        return format!(
            ", {relation} can have no primary key as it is: {obstacle}. If this is intended, leave the table out: `except` of this check."
        );
    }
    let kind = cell("kind").unwrap_or_default();
    let new = new_key(&relation, &kind, &cell("free_column").unwrap_or_else(|| "row_id".to_owned()), cell("partition_key"));
    let Some(columns) = cell("column_list") else { return format!(", if no column will do: {new}") };
    let is_nullable = cells.as_ref().is_some_and(|cells| cells.number("is_nullable") == Some(1.0));
    let (statement, remark) = match cell("unique_index") {
        Some(index) => (format!("`ALTER TABLE {relation} ADD PRIMARY KEY USING INDEX {};`", sql::identifier(&index)), ""),
        None => (format!("`ALTER TABLE {relation} ADD PRIMARY KEY ({columns});`"), ", which builds its index while the table is locked"),
    };
    if is_nullable {
        format!(
            ", as the owner of the table: {columns} are unique and may be null: if `BEGIN; SET LOCAL search_path = pg_catalog; SELECT count(*) FROM {relation} WHERE \
             NOT ROW({columns}) IS NOT NULL; COMMIT;` is 0, {statement}{remark}. Else {new}"
        )
    } else {
        format!(", {columns} are unique already: {statement}{remark}.")
    }
}

/// The statement that adds a new column as primary key. `bigserial` also works for partitions and child tables, but an identity column does
/// not before PostgreSQL 17.
fn new_key(relation: &str, kind: &str, column: &str, partition_key: Option<String>) -> String {
    let column = sql::identifier(column);
    match (kind, partition_key) {
        ("partitioned", key) => {
            let columns = [Some(column.clone()), key].into_iter().flatten().collect::<Vec<_>>().join(", ");
            format!(
                "`ALTER TABLE {relation} ADD COLUMN {column} bigserial;`, which rewrites all partitions under a lock, and `ALTER TABLE \
                 {relation} ADD PRIMARY KEY ({columns});`: a primary key must contain the partition key."
            )
        }
        ("parent", _) => format!(
            "`ALTER TABLE {relation} ADD COLUMN {column} bigserial PRIMARY KEY;`, which rewrites it and its child tables under a lock; \
             each child table needs a key of its own."
        ),
        _ => format!(
            "`ALTER TABLE {relation} ADD COLUMN {column} bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY;`, which rewrites the table under a \
             lock."
        ),
    }
}

fn sequential_scans(case: &Case) -> Explanation {
    let (name, datname) = (relation_name(case), case.label("datname"));
    Explanation {
        title: format!("{name} of {datname} is mostly read as a whole"),
        detail: format!(
            "Most reads of {name} of {datname} read all of its rows, and the table is large. This alert ends once most reads of the last \
             hour use an index, or no read goes over the whole table."
        ),
        cause: "An index on the columns that its queries filter by is missing, or they cannot use it: a function around the column, \
                another type."
            .to_owned(),
        fix: format!(
            "See which statements of {datname} read it, in `/api/database/slow-queries?threshold=10ms` or pg_stat_statements, then `EXPLAIN` \
             those on {name}, as the role that runs them and never as superuser, since EXPLAIN runs functions of their authors; index what \
             they filter by."
        ),
        evidence: fact_evidence(case),
    }
}
