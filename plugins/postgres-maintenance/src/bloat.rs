//! Checks of bloat: empty space in tables and indexes, estimated from statistics.

use std::collections::BTreeSet;
use std::time::Duration;

use pharos_plugin::checks::{Case, Check, Explanation, Grading, Observation, Scope, label, unjudged, unvisited};
use pharos_plugin::{Severity, SkipReason, Snapshot, Table, checks, sql, text};

use crate::vacuum::{RELATION, TABLES, relation_name};

pub(crate) const INDEXES: &str = "pharos_postgres_indexes";
pub(crate) const INDEX: [&str; 4] = ["datname", "schema", "relation", "index"];

const MIB: f64 = 1_048_576.0;
const GIB: f64 = 1_073_741_824.0;

/// Empty bytes of a table from which on bloat is judged. Less is not worth a rewrite.
const TABLE_WASTE_MIN: f64 = GIB;
/// Empty bytes of a table from which on bloat may be critical. Less is no emergency, whatever its share of the table.
const TABLE_WASTE_CRITICAL: f64 = 5.0 * GIB;
const INDEX_WASTE_MIN: f64 = 256.0 * MIB;

/// The state `bloat_state` of a row with an estimate.
const ESTIMATED: &str = "estimated";
/// The state `bloat_state` of a row whose statistics the role may not read.
const NOT_ESTIMABLE: &str = "not-estimable";

pub(crate) const CHECKS: &[Check] = &[
    Check {
        id: "table-bloat",
        summary: "a table takes far more space than its rows need, by 1 GiB or more; critical from 5 GiB on",
        category: "storage",
        scope: Scope::Shared,
        labels: &RELATION,
        needs: &[TABLES, "tables"],
        hold_off: Duration::from_mins(15),
        keep_firing: Duration::ZERO,
        grading: Grading::rising(0.3, 0.5, 0.2),
        observe: table_bloats,
        explain: table_bloat,
    },
    Check {
        id: "index-bloat",
        summary: "an index takes far more space than its entries need, by 256 MiB or more",
        category: "storage",
        scope: Scope::Shared,
        labels: &INDEX,
        needs: &[INDEXES, "indexes"],
        hold_off: Duration::from_mins(15),
        keep_firing: Duration::ZERO,
        grading: Grading::rising_warning(0.5, 0.4),
        observe: index_bloats,
        explain: index_bloat,
    },
];

fn table_bloats(snapshot: &Snapshot) -> Result<Vec<Observation>, SkipReason> {
    let mut all = bloats(snapshot, "tables", &RELATION, TABLE_WASTE_MIN);
    let Some(table) = snapshot.table("tables") else { return Ok(all) };
    for bloat in all.iter_mut().filter(|bloat| bloat.unknown.is_none()) {
        let waste = bloat.row.and_then(|row| table.number("bloat_bytes", row));
        if waste.is_none_or(|waste| waste < TABLE_WASTE_CRITICAL) {
            bloat.severity_max = Severity::Warning;
        }
    }
    Ok(all)
}

fn index_bloats(snapshot: &Snapshot) -> Result<Vec<Observation>, SkipReason> {
    Ok(bloats(snapshot, "indexes", &INDEX, INDEX_WASTE_MIN))
}

/// Observes the share of empty space (0 to 1) of the rows with at least `waste_min` empty bytes. A row without an estimate is unknown:
/// otherwise it would count as "no bloat".
fn bloats(snapshot: &Snapshot, name: &str, labels: &[&str], waste_min: f64) -> Vec<Observation> {
    let mut all = unvisited(snapshot, name);
    all.extend(unjudged(snapshot, name, "bloat_ratio"));
    let Some(table) = snapshot.table(name) else { return all };
    all.extend(not_estimable(&table));
    let ratio = |row: usize| {
        let waste = table.number("bloat_bytes", row)?;
        (waste >= waste_min && table.has("bloat_state", row, ESTIMATED)).then(|| table.number("bloat_ratio", row)).flatten()
    };
    all.extend(checks::each_row(&table, labels, ratio));
    let without_statistics = |row: &usize| {
        table.number("size_bytes", *row).is_some_and(|size| size >= waste_min) && table.has("bloat_state", *row, "no-statistics")
    };
    let unknown = |row| {
        let why = "it was never analysed, so its bloat cannot be estimated".to_owned();
        Observation::unknown(table.labels(labels, row), SkipReason::Unsupported(why))
    };
    all.extend((0..table.row_count()).filter(without_statistics).map(unknown));
    all
}

/// Observes the datnames in which the role may not read statistics, as unknown. The missing right concerns the whole datname.
fn not_estimable(table: &Table) -> Vec<Observation> {
    let rows = (0..table.row_count()).filter(|row| table.has("bloat_state", *row, NOT_ESTIMABLE));
    let datnames: BTreeSet<_> = rows.filter_map(|row| table.text("datname", row)).collect();
    let unknown = |datname: String| {
        let row = (0..table.row_count()).find(|row| table.has("datname", *row, &datname) && table.has("bloat_state", *row, NOT_ESTIMABLE));
        let cure = row.and_then(|row| table.text("bloat_cure", row));
        let cure = cure.unwrap_or_else(|| "GRANT SELECT ON pg_catalog.pg_statistic TO it".to_owned());
        let why = format!("bloat in {datname} cannot be estimated: the role may not read statistics; as superuser, {cure}");
        Observation::unknown(vec![label("datname", datname)], SkipReason::Unsupported(why))
    };
    datnames.into_iter().map(unknown).collect()
}

fn table_bloat(case: &Case) -> Explanation {
    let (name, datname) = (relation_name(case), case.label("datname"));
    let share = text::percent(case.value);
    let relation = sql::relation(case.label("schema"), case.label("relation"));
    Explanation {
        title: format!("{share} of {name} of {datname} is empty"),
        detail: format!(
            "About {share} of table {name} of {datname} holds no rows, by an estimate from statistics. The empty space is still read and \
             cached."
        ),
        cause: "Rows were deleted or updated faster than vacuum removed them, or while something held vacuum back. Vacuum frees the space \
                for new rows, but does not return it to the disk."
            .to_owned(),
        fix: if is_system(case) {
            // Options of a system table must not change, and tools that copy a table do not support it.
            format!("In {datname}, at a time when the database is not in use: `VACUUM (FULL, ANALYZE) {relation};`.")
        } else {
            format!(
                "If the table will not fill the empty space: at a time when the table is not in use, in {datname}: `VACUUM (FULL, ANALYZE) \
                 {relation};`. Let vacuum start sooner: `ALTER TABLE {relation} SET (autovacuum_vacuum_scale_factor = 0.02);`. The \
                 extension pg_repack does it while the table is in use, but runs functions of the owner's indexes with the rights of its \
                 caller: do not call it as superuser if the owner is not trusted."
            )
        },
        evidence: crate::vacuum::cells(case, &[("empty", "bloat_bytes", text::bytes), ("size", "size_bytes", text::bytes)]),
    }
}

fn index_bloat(case: &Case) -> Explanation {
    let (schema, index, datname) = (case.label("schema"), case.label("index"), case.label("datname"));
    let share = text::percent(case.value);
    let cells = case.cells("indexes");
    let cell = |name: &str, column: &str| cells.as_ref().and_then(|cells| cells.line(name, column, text::bytes));
    Explanation {
        title: format!("{share} of index {index} of {datname} is empty"),
        detail: format!(
            "About {share} of index {index} on {} of {datname} holds no entries, by an estimate from statistics.",
            case.label("relation")
        ),
        cause: "Many entries were removed, or keys were changed, in random order. Pages that are not completely empty are not freed."
            .to_owned(),
        fix: if is_system(case) {
            format!("In {datname}, where its table may be locked for a moment: `REINDEX INDEX {};`.", sql::relation(schema, index))
        } else {
            format!("In {datname}: `REINDEX INDEX CONCURRENTLY {};`, which needs its size on disk once more.", sql::relation(schema, index))
        },
        evidence: [cell("empty", "bloat_bytes"), cell("size", "size_bytes")].into_iter().flatten().collect(),
    }
}

/// Whether the table or index belongs to PostgreSQL itself, which allows fewer changes there.
fn is_system(case: &Case) -> bool {
    matches!(case.label("schema"), "pg_catalog" | "pg_toast")
}
