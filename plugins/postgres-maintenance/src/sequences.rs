//! Sequences that come to their end, or to that of the column that takes their numbers.

use std::time::Duration;

use pharos_plugin::checks::{Case, Check, Explanation, Grading, Observation, each_row, unvisited};
use pharos_plugin::{SkipReason, Snapshot, sql, text};

const SEQUENCES: &str = "pharos_postgres_sequences";
const SEQUENCE: [&str; 3] = ["datname", "schema", "sequence"];

pub const CHECKS: &[Check] = &[Check {
    id: "sequence-exhausted",
    summary: "a sequence has few numbers left",
    category: "schema",
    labels: &SEQUENCE,
    needs: &[SEQUENCES, "sequences"],
    hold_off: Duration::ZERO,
    keep_firing: Duration::ZERO,
    grading: Grading::rising(0.8, 0.95, 0.75),
    observe: used,
    explain: sequence_exhausted,
}];

/// One that begins again has no end. One whose value the role may not see cannot be judged.
fn used(snapshot: &Snapshot) -> Result<Vec<Observation>, SkipReason> {
    let mut all = unvisited(snapshot, "sequences");
    let Some(table) = snapshot.table("sequences") else { return Ok(all) };
    all.extend(each_row(&table, &SEQUENCE, |row| table.number("used_ratio", row).filter(|_| !table.is("cycles", row))));
    // One that was never used has no value either, and is known to have none; an unlogged one has none on a standby.
    let is_hidden = |row: &usize| ["no-privilege", "locked", "not-asked"].iter().any(|state| table.has("state", *row, state));
    let hidden = |row: usize| {
        let cell = |column: &str| table.text(column, row).unwrap_or_default();
        let name = sql::relation(&cell("schema"), &cell("sequence"));
        let why = match table.text("state", row).as_deref() {
            Some("locked") => SkipReason::PartFailed("somebody is changing it, so its value was not read".to_owned()),
            Some("not-asked") => SkipReason::PartFailed("there are so many sequences that it was not asked yet".to_owned()),
            _ => SkipReason::Unsupported(format!(
                "its value is hidden from the role: in {}, GRANT SELECT ON SEQUENCE {name} TO it",
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
    let cell = |column: &str| cells.as_ref().and_then(|cells| cells.text(column));
    let number = |name: &str, column: &str| cells.as_ref().and_then(|cells| cells.line(name, column, |value| value.to_string()));
    let kind = cell("column_type").unwrap_or_default();
    let place = match (cell("relation"), cell("column")) {
        (Some(relation), Some(column)) => Some((relation, column)),
        _ => None,
    };
    let is_narrow = matches!(kind.as_str(), "integer" | "smallint" | "int4" | "int2");
    let fix = match &place {
        Some((relation, column)) if is_narrow => format!(
            "In {datname}, in an hour in which the table may be locked while it is rewritten: `ALTER TABLE {} ALTER COLUMN {} TYPE bigint;` \
             and `ALTER SEQUENCE {} AS bigint;`. Without that hour: a new bigint column, filled in batches by a trigger, then swapped.",
            table_name(case, relation),
            sql::identifier(column),
            sql::relation(case.label("schema"), sequence)
        ),
        _ => format!("In {datname}, if its type allows: `ALTER SEQUENCE {} NO MAXVALUE;`.", sql::relation(case.label("schema"), sequence)),
    };
    Explanation {
        title: format!("sequence {sequence} of {datname} has used {used}"),
        detail: format!(
            "{used} of the numbers that sequence {sequence} of {datname} can give{} are used. After the last one every insert fails.",
            into(&place)
        ),
        cause: match is_narrow {
            true => format!("The column is of type {kind}, which ends at a few billion at most, however far the sequence can count."),
            false => "Its maximum is low, or numbers are taken and not used: rolled back inserts, `ON CONFLICT`, caches.".to_owned(),
        },
        fix,
        evidence: [number("last value", "last_value"), number("maximum", "max_value")].into_iter().flatten().collect(),
    }
}

fn into(place: &Option<(String, String)>) -> String {
    place.as_ref().map(|(relation, column)| format!(" {relation}.{column}")).unwrap_or_default()
}

/// The collector may name it with its schema.
fn table_name(case: &Case, relation: &str) -> String {
    match relation.split_once('.') {
        Some((schema, name)) => sql::relation(schema, name),
        None => sql::relation(case.label("schema"), relation),
    }
}
