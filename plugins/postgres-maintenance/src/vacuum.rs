//! Checks of vacuum: tables with too many dead rows, old statistics, or autovacuum turned off, and busy workers.

use std::time::Duration;

use pharos_plugin::checks::{Case, Check, Explanation, Grading, Observation, Scope, each_row, evidence, unjudged, unvisited};
use pharos_plugin::{Label, Severity, SkipReason, Snapshot, Table, sql, text};

use crate::cause::{self, Cause, Subject};

/// The metric that proves that the part was read. A table that the snapshot does not list then counts as fine.
pub(crate) const TABLES: &str = "pharos_postgres_tables";
pub(crate) const RELATION: [&str; 3] = ["datname", "schema", "relation"];

const WORKERS: &str = "pharos_postgres_autovacuum_workers";
const WORKERS_MAX: &str = "pharos_postgres_autovacuum_workers_max";

const MIB: f64 = 1_048_576.0;

/// Dead bytes from which on a table is judged. Fewer are not worth a person's time, however high the pressure is.
const DEAD_BYTES_MIN: f64 = 512.0 * MIB;
/// Rows from which on statistics are judged. Plans for smaller tables hardly depend on fresh statistics.
const ROWS_MIN: f64 = 100_000.0;
/// Bytes of a table from which on disabled autovacuum is judged. A smaller table can do without autovacuum.
const SIZE_MIN: f64 = 100.0 * MIB;

pub(crate) const CHECKS: &[Check] = &[
    Check {
        id: "vacuum-pressure",
        summary: "a table has far more dead rows, 512 MiB or more, than vacuum should allow",
        category: "maintenance",
        scope: Scope::Shared,
        labels: &RELATION,
        needs: &[TABLES, "tables"],
        // Tables are read three times within this time.
        hold_off: Duration::from_mins(15),
        keep_firing: Duration::ZERO,
        grading: Grading::rising(2.0, 5.0, 1.5),
        observe: vacuum_pressures,
        explain: vacuum_pressure,
    },
    Check {
        id: "statistics-stale",
        summary: "the planner's statistics of a table of 100,000 rows or more are old",
        category: "maintenance",
        scope: Scope::Shared,
        labels: &RELATION,
        needs: &[TABLES, "tables"],
        hold_off: Duration::from_mins(30),
        keep_firing: Duration::ZERO,
        grading: Grading::rising_warning(2.0, 1.5),
        observe: analyze_pressures,
        explain: statistics_stale,
    },
    Check {
        id: "autovacuum-saturated",
        summary: "all autovacuum workers are busy for long",
        category: "maintenance",
        scope: Scope::Primary,
        labels: &[],
        needs: &[WORKERS, WORKERS_MAX],
        hold_off: Duration::from_mins(30),
        keep_firing: Duration::from_mins(10),
        grading: Grading::rising_warning(1.0, 0.9),
        observe: workers_used,
        explain: autovacuum_saturated,
    },
    Check {
        id: "autovacuum-disabled",
        summary: "a table of 100 MiB or more is left out of autovacuum",
        category: "maintenance",
        scope: Scope::Shared,
        labels: &RELATION,
        needs: &[TABLES, "tables"],
        hold_off: Duration::ZERO,
        keep_firing: Duration::ZERO,
        grading: Grading::Fact(Severity::Info),
        observe: disabled_tables,
        explain: autovacuum_disabled,
    },
];

/// Observes rows of the table `tables` by a value. Datnames that could not be read are unknown, and so are tables that the agent cannot
/// judge. After lost or reset statistics, a server reports no dead rows until vacuum or analyse has counted them again.
pub(crate) fn observe_tables(snapshot: &Snapshot, respect: &str, value: impl Fn(&Table, usize) -> Option<f64>) -> Vec<Observation> {
    let mut all = unvisited(snapshot, "tables");
    all.extend(unjudged(snapshot, "tables", respect));
    if let Some(table) = snapshot.table("tables") {
        all.extend(each_row(&table, &RELATION, |row| value(&table, row)));
    }
    all
}

fn vacuum_pressures(snapshot: &Snapshot) -> Result<Vec<Observation>, SkipReason> {
    Ok(observe_tables(snapshot, "vacuum_pressure", |table, row| {
        table.number("dead_bytes", row).filter(|bytes| *bytes >= DEAD_BYTES_MIN).and_then(|_| table.number("vacuum_pressure", row))
    }))
}

fn analyze_pressures(snapshot: &Snapshot) -> Result<Vec<Observation>, SkipReason> {
    Ok(observe_tables(snapshot, "analyze_pressure", |table, row| {
        table.number("live_rows", row).filter(|rows| *rows >= ROWS_MIN).and_then(|_| table.number("analyze_pressure", row))
    }))
}

fn disabled_tables(snapshot: &Snapshot) -> Result<Vec<Observation>, SkipReason> {
    Ok(observe_tables(snapshot, "vacuum_enabled", |table, row| {
        let size = table.number("size_bytes", row).filter(|size| *size >= SIZE_MIN)?;
        (table.number("vacuum_enabled", row) == Some(0.0)).then_some(size)
    }))
}

fn workers_used(snapshot: &Snapshot) -> Result<Vec<Observation>, SkipReason> {
    let used = snapshot.value(WORKERS)?.zip(snapshot.value(WORKERS_MAX)?.filter(|max| *max > 0.0));
    Ok(used.map(|(workers, max)| Observation::new(Vec::new(), workers / max)).into_iter().collect())
}

/// The table of a case, with the facts that the search for a cause needs.
fn subject(case: &Case) -> Subject {
    let cells = case.cells("tables");
    let number = |column: &str| cells.as_ref().and_then(|cells| cells.number(column));
    Subject {
        datname: case.label("datname").to_owned(),
        schema: case.label("schema").to_owned(),
        relation: case.label("relation").to_owned(),
        is_enabled: number("vacuum_enabled") != Some(0.0),
        seconds_since_vacuum: number("seconds_since_vacuum"),
    }
}

/// A line of evidence: its name, its column, and the format of its number.
pub(crate) type Shown = (&'static str, &'static str, fn(f64) -> String);

/// Cells of the case's row as evidence. Null cells are left out.
pub(crate) fn cells(case: &Case, shown: &[Shown]) -> Vec<Label> {
    let Some(cells) = case.cells("tables") else { return Vec::new() };
    shown.iter().filter_map(|(name, column, show)| cells.line(name, column, show)).collect()
}

pub(crate) fn relation_name(case: &Case) -> String {
    format!("{}.{}", case.label("schema"), case.label("relation"))
}

fn vacuum_pressure(case: &Case) -> Explanation {
    let (name, datname) = (relation_name(case), case.label("datname"));
    let times = text::number(case.value);
    let Cause { name: cause_name, cause, fix, evidence: why } = cause::find(case.snapshot, &subject(case));
    let mut lines = vec![evidence("decided", cause_name)];
    lines.extend(why);
    lines.extend(cells(
        case,
        &[("dead", "dead_bytes", text::bytes), ("dead rows", "dead_rows", text::count), ("last vacuum", "seconds_since_vacuum", ago)],
    ));
    Explanation {
        title: format!("{name} of {datname} is {times} times past its vacuum trigger"),
        detail: format!(
            "Table {name} of {datname} has {times} times as many dead rows as autovacuum should allow. Scans read them, and the table \
             grows."
        ),
        cause,
        fix,
        evidence: lines,
    }
}

fn ago(seconds: f64) -> String {
    format!("{} ago", text::duration(seconds))
}

fn statistics_stale(case: &Case) -> Explanation {
    let (name, datname) = (relation_name(case), case.label("datname"));
    let times = text::number(case.value);
    Explanation {
        title: format!("statistics of {name} of {datname} are old"),
        detail: format!(
            "{times} times as many rows of {name} changed since it was last analysed as autovacuum should allow. The planner works with \
             old numbers."
        ),
        cause: "Autovacuum is off or has no worker left, the table was just loaded, or it is locked whenever its turn comes.".to_owned(),
        fix: format!("In {datname}: `ANALYZE {};`.", sql::relation(case.label("schema"), case.label("relation"))),
        evidence: cells(case, &[("rows", "live_rows", text::count), ("last analyse", "seconds_since_analyze", ago)]),
    }
}

fn autovacuum_saturated(case: &Case) -> Explanation {
    let workers = case.related(WORKERS).map_or_else(|| "All".to_owned(), |workers| format!("All {}", text::count(workers)));
    Explanation {
        title: "all autovacuum workers are busy".to_owned(),
        detail: format!("{workers} autovacuum workers have been busy for long, so tables wait for their turn while they bloat."),
        cause: "Few workers for many tables, workers throttled by autovacuum_vacuum_cost_limit, or one very large table each.".to_owned(),
        fix: cause::more_workers(case.snapshot),
        evidence: workers_at_work(case.snapshot),
    }
}

fn workers_at_work(snapshot: &Snapshot) -> Vec<Label> {
    let Some(table) = snapshot.table("autovacuum_workers") else { return Vec::new() };
    let cell = |column: &str, row: usize| table.text(column, row).unwrap_or_default();
    let line = |row: usize| {
        let since = text::duration(table.number("seconds", row).unwrap_or_default());
        evidence(&format!("{} of {}", cell("relation", row), cell("datname", row)), format!("for {since}"))
    };
    (0..table.row_count()).take(5).map(line).collect()
}

fn autovacuum_disabled(case: &Case) -> Explanation {
    let (name, datname) = (relation_name(case), case.label("datname"));
    Explanation {
        title: format!("autovacuum is off for {name} of {datname}"),
        detail: format!("Table {name} of {datname} is neither vacuumed nor analysed, except to prevent wraparound, and then all at once."),
        cause: "It was turned off for a load of data, or because it disturbed other work, and not turned on again.".to_owned(),
        fix: format!(
            "In {datname}: `ALTER TABLE {} RESET (autovacuum_enabled);`.",
            sql::relation(case.label("schema"), case.label("relation"))
        ),
        evidence: cells(
            case,
            &[("size", "size_bytes", text::bytes), ("dead", "dead_bytes", text::bytes), ("last vacuum", "seconds_since_vacuum", ago)],
        ),
    }
}
