//! What of a schema will be slow or in the way one day.

use std::time::Duration;

use pharos_plugin::checks::{Case, Check, Explanation, Grading, Observation, each_row, evidence, unvisited};
use pharos_plugin::{Label, Severity, SkipReason, Snapshot, sql, text};

use crate::bloat::INDEXES;
use crate::vacuum::{RELATION, name_of};

const MIB: f64 = 1_048_576.0;

pub const CHECKS: &[Check] = &[
    Check {
        id: "foreign-key-without-index",
        summary: "deletes have to search a whole table for who refers to them",
        category: "schema",
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
        summary: "rows of a table cannot be told apart",
        category: "schema",
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
        labels: &RELATION,
        needs: &[INDEXES, "schema_facts"],
        hold_off: Duration::ZERO,
        keep_firing: Duration::ZERO,
        grading: Grading::Fact(Severity::Info),
        observe: |snapshot| facts(snapshot, "sequential-scans", &RELATION),
        explain: sequential_scans,
    },
];

/// Where this is true, by the size of the table.
fn facts(snapshot: &Snapshot, fact: &str, labels: &[&str]) -> Result<Vec<Observation>, SkipReason> {
    let mut all = unvisited(snapshot, "indexes");
    if let Some(table) = snapshot.table("schema_facts") {
        let size = |row: usize| table.has("fact", row, fact).then(|| table.number("size_bytes", row).unwrap_or_default());
        all.extend(each_row(&table, labels, size));
    }
    Ok(all)
}

/// The columns that it is about, and the numbers behind the fact.
fn said(case: &Case) -> (Option<String>, Vec<Label>) {
    let Some(cells) = case.cells("schema_facts") else { return (None, Vec::new()) };
    let why = cells.text("evidence").map(|why| evidence("why", why));
    let lines = [why, cells.line("size", "size_bytes", text::bytes), cells.line("rows", "rows", text::count)];
    (cells.text("columns"), lines.into_iter().flatten().collect())
}

fn foreign_key_without_index(case: &Case) -> Explanation {
    let (name, datname, key) = (name_of(case), case.label("datname"), case.label("name"));
    let (columns, evidence) = said(case);
    let relation = sql::relation(case.label("schema"), case.label("relation"));
    let list: Vec<_> = columns.as_deref().unwrap_or_default().split(',').map(|column| sql::identifier(column.trim())).collect();
    Explanation {
        title: format!("foreign key {key} of {name} has no index"),
        detail: format!(
            "No index of {name} of {datname} begins with the columns of foreign key {key}. Each delete or change of a key in the table it \
             refers to reads all of {name}, with locks held."
        ),
        cause: "PostgreSQL makes an index for a primary key, but not for a foreign key.".to_owned(),
        fix: if columns.is_some() {
            format!("In {datname}: `CREATE INDEX CONCURRENTLY ON {relation} ({});`.", list.join(", "))
        } else {
            format!("In {datname}, on the columns of the key: `CREATE INDEX CONCURRENTLY ON {relation} (…);`.")
        },
        evidence,
    }
}

fn no_primary_key(case: &Case) -> Explanation {
    let (name, datname) = (name_of(case), case.label("datname"));
    let relation = sql::relation(case.label("schema"), case.label("relation"));
    Explanation {
        title: format!("{name} of {datname} has no primary key"),
        detail: format!(
            "Rows of {name} cannot be told apart: logical replication cannot carry their updates and deletes, and tools that rewrite the \
             table while it is used cannot either."
        ),
        cause: "The table was made without one.".to_owned(),
        fix: format!(
            "In {datname}, if no column will do: `ALTER TABLE {relation} ADD COLUMN id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY;`, \
             which rewrites the table under a lock. With a column that is unique already, name that instead."
        ),
        evidence: said(case).1,
    }
}

fn sequential_scans(case: &Case) -> Explanation {
    let (name, datname) = (name_of(case), case.label("datname"));
    Explanation {
        title: format!("{name} of {datname} is mostly read as a whole"),
        detail: format!("Most reads of {name} of {datname} go over all of its rows, and it is large."),
        cause: "An index for what its queries filter by is missing, or they cannot use it: a function around the column, another type."
            .to_owned(),
        fix: format!(
            "In {datname}, see which statements: `SELECT queryid, calls, rows, shared_blks_read FROM pg_stat_statements ORDER BY \
             shared_blks_read DESC LIMIT 10;`, then `EXPLAIN` those on {name} and index what they filter by."
        ),
        evidence: said(case).1,
    }
}
