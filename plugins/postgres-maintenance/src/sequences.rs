//! Check of sequences: a sequence near its own end, or near the end of the column that stores its numbers.

use std::time::Duration;

use pharos_plugin::checks::{Case, Check, Explanation, Grading, Observation, Scope, each_row, unjudged, unvisited};
use pharos_plugin::{SkipReason, Snapshot, sql, text};

use crate::visits::visiting_role;

const SEQUENCES: &str = "pharos_postgres_sequences";
const SEQUENCE: [&str; 3] = ["datname", "schema", "sequence"];

pub(crate) const CHECKS: &[Check] = &[Check {
    id: "sequence-exhausted",
    summary: "a sequence has few numbers left",
    category: "schema",
    scope: Scope::Shared,
    labels: &SEQUENCE,
    needs: &[SEQUENCES, "sequences"],
    hold_off: Duration::ZERO,
    keep_firing: Duration::ZERO,
    grading: Grading::rising(0.8, 0.95, 0.75),
    observe: used,
    explain: sequence_exhausted,
}];

/// Observes the used share (0 to 1) of each sequence. A sequence that starts again (`CYCLE`) is left out. A sequence whose value could
/// not be read is unknown.
fn used(snapshot: &Snapshot) -> Result<Vec<Observation>, SkipReason> {
    let mut all = unvisited(snapshot, "sequences");
    all.extend(unjudged(snapshot, "sequences", "used_ratio"));
    let Some(table) = snapshot.table("sequences") else { return Ok(all) };
    all.extend(each_row(&table, &SEQUENCE, |row| table.number("used_ratio", row).filter(|_| !table.is("cycles", row))));
    let role = visiting_role(snapshot);
    // Other states without a value are fine: a sequence was never used, or is unlogged and read on a standby.
    let is_hidden = |row: &usize| ["no-privilege", "locked", "not-asked"].iter().any(|state| table.has("state", *row, state));
    let hidden = |row: usize| {
        let cell = |column: &str| table.text(column, row).unwrap_or_default();
        let name = sql::relation(&cell("schema"), &cell("sequence"));
        let why = match table.text("state", row).as_deref() {
            Some("locked") => SkipReason::PartFailed("a session is changing it, so its value was not read".to_owned()),
            Some("not-asked") => SkipReason::PartFailed("there are so many sequences that it was not read yet".to_owned()),
            _ => SkipReason::Unsupported(format!(
                "its value is hidden from the role: in {}, GRANT SELECT ON SEQUENCE {name} TO {role}",
                cell("datname")
            )),
        };
        Observation::unknown(table.labels(&SEQUENCE, row), why)
    };
    all.extend((0..table.row_count()).filter(is_hidden).map(hidden));
    Ok(all)
}

fn sequence_exhausted(case: &Case) -> Explanation {
    let (datname, sequence) = (case.label("datname"), case.label("sequence"));
    let used = text::percent(case.value);
    let cells = case.cells("sequences");
    let number = |name: &str, column: &str| cells.as_ref().and_then(|cells| cells.line(name, column, |value| value.to_string()));
    let place = Place::read(case);
    let (cause, fix) = match place.as_ref().and_then(|place| Some((place, place.end?))) {
        Some((place, end)) => (
            format!(
                "Column {}.{} is of type {}, which ends at {end}, even if the sequence can count further.",
                place.relation, place.column, place.kind
            ),
            widen_column(case, place),
        ),
        None if is_at_the_end_of_bigint(case) => (
            "All numbers of PostgreSQL's largest integer type are used, or the sequence was set to their end.".to_owned(),
            format!(
                ", no integer type is larger. If few numbers are in use, continue after them: `ALTER SEQUENCE {} RESTART WITH <number>;`; \
                 else give the column another type, such as numeric or uuid.",
                sql::relation(case.label("schema"), case.label("sequence"))
            ),
        ),
        None => (
            "Its own limit is low, or numbers are drawn and not stored: rolled back inserts, `ON CONFLICT`, caches.".to_owned(),
            widen_sequence(case, place.as_ref()),
        ),
    };
    Explanation {
        title: format!("sequence {sequence} of {datname} has used {used}"),
        detail: format!(
            "{used} of the numbers that sequence {sequence} of {datname} can give{} are used. After the last one every insert fails.",
            place.map(|place| format!(" {}.{}", place.relation, place.column)).unwrap_or_default()
        ),
        cause,
        fix: format!("In {datname}{fix}"),
        evidence: [number("last value", "last_value"), number("last possible", "max_value")].into_iter().flatten().collect(),
    }
}

fn is_at_the_end_of_bigint(case: &Case) -> bool {
    let last = case.cells("sequences").and_then(|cells| cells.number("max_value"));
    last.is_some_and(|last| last.abs() >= i64::MAX as f64)
}

/// The column that stores the numbers of a sequence.
struct Place {
    schema: String,
    relation: String,
    column: String,
    kind: String,
    /// The last number of the column's type. None if the sequence ends first.
    end: Option<f64>,
}

impl Place {
    fn read(case: &Case) -> Option<Self> {
        let cells = case.cells("sequences")?;
        Some(Self {
            schema: cells.text("relation_schema").unwrap_or_else(|| case.label("schema").to_owned()),
            relation: cells.text("relation")?,
            column: cells.text("column")?,
            kind: cells.text("column_type").unwrap_or_else(|| "an integer".to_owned()),
            end: cells.number("max_value").filter(|last| {
                let max = cells.number("column_max").unwrap_or(f64::INFINITY);
                *last >= max || *last <= -max - 1.0
            }),
        })
    }
}

/// The fix for a column that is too small. The column is changed before the sequence, so that no number is too large for the column.
fn widen_column(case: &Case, place: &Place) -> String {
    format!(
        ", as the owner of the table, at a time when it may be locked while it is rewritten: `ALTER TABLE {} ALTER COLUMN {} TYPE bigint;` \
         and `{}`. Columns that refer to it end as early and need the same; views that read it have to be dropped before and created \
         again. If it may not be locked that long: a new bigint column, filled in batches by a trigger, then swapped.",
        sql::relation(&place.schema, &place.relation),
        sql::identifier(&place.column),
        without_limit(case)
    )
}

fn widen_sequence(case: &Case, place: Option<&Place>) -> String {
    let statement = without_limit(case);
    match place {
        Some(_) => format!(": `{statement}`."),
        None => format!(", if the column that stores its numbers is large enough: `{statement}`."),
    }
}

/// The statement that removes the limit of a sequence. The type becomes `bigint` as well, since a smaller type is a limit, too.
fn without_limit(case: &Case) -> String {
    let falls = case.cells("sequences").is_some_and(|cells| cells.number("rises") == Some(0.0));
    let limit = if falls { "MINVALUE" } else { "MAXVALUE" };
    format!("ALTER SEQUENCE {} AS bigint NO {limit};", sql::relation(case.label("schema"), case.label("sequence")))
}
