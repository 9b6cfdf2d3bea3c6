//! The cause of a vacuum that falls behind on a table, found by a series of questions. Is vacuum allowed? May it remove rows? Does it get a
//! worker? May the worker go fast? The first "no" is the cause.

use pharos_plugin::checks::evidence;
use pharos_plugin::{Label, Snapshot, sql, text};

use crate::horizon::{Holder, lines, oldest_in};

const ENABLED: &str = "pharos_postgres_autovacuum_enabled";
const TRACK_COUNTS: &str = "pharos_postgres_track_counts";
const WORKERS: &str = "pharos_postgres_autovacuum_workers";
const WORKERS_MAX: &str = "pharos_postgres_autovacuum_workers_max";
const COST_DELAY: &str = "pharos_postgres_autovacuum_cost_delay_seconds";
const COST_LIMIT: &str = "pharos_postgres_autovacuum_cost_limit";
const SETTING: &str = "pharos_postgres_setting";

/// Seconds since a vacuum within which dead rows mean that vacuum could not remove them.
const JUST_VACUUMED_SECONDS: f64 = 900.0;
/// The age in transactions from which on a snapshot may be the cause, right after a vacuum. A younger snapshot preserves only a few rows.
const HOLDER_AGE_MIN: f64 = 10_000.0;
/// The age in transactions from which on a snapshot is the cause, whenever the last vacuum was.
const HOLDER_AGE_ALWAYS: f64 = 10_000_000.0;

/// The default of `vacuum_cost_page_dirty`.
const DIRTY_PAGE_COST: f64 = 20.0;
/// The default size of a block.
const BLOCK_BYTES: f64 = 8_192.0;
const GIB: f64 = 1_073_741_824.0;

/// A table with the facts that the questions need.
pub(crate) struct Subject {
    pub datname: String,
    pub schema: String,
    pub relation: String,
    pub is_enabled: bool,
    pub seconds_since_vacuum: Option<f64>,
}

pub(crate) struct Cause {
    /// A short name of the cause, which the evidence shows.
    pub name: &'static str,
    pub cause: String,
    pub fix: String,
    pub evidence: Vec<Label>,
}

impl Cause {
    fn new(name: &'static str, cause: impl Into<String>, fix: impl Into<String>) -> Self {
        Self { name, cause: cause.into(), fix: fix.into(), evidence: Vec::new() }
    }
}

pub(crate) fn find(snapshot: &Snapshot, table: &Subject) -> Cause {
    let value = |metric: &str| snapshot.value(metric).ok().flatten();
    if value(ENABLED) == Some(0.0) || value(TRACK_COUNTS) == Some(0.0) {
        return off_everywhere();
    }
    if !table.is_enabled {
        return off_for_table(table);
    }
    if let Some(holder) = oldest_in(snapshot, &table.datname).filter(|holder| holds_back(holder, table)) {
        return held_back(holder);
    }
    let workers = value(WORKERS).zip(value(WORKERS_MAX));
    match runs_for(snapshot, table) {
        None => match workers {
            Some((workers, max)) if workers >= max && max > 0.0 => saturated(workers, &more_workers(snapshot)),
            _ => not_started(table),
        },
        Some(seconds) => match value(COST_DELAY).zip(value(COST_LIMIT)) {
            Some((delay, limit)) if delay > 0.0 && limit > 0.0 => throttled(seconds, delay, limit, workers.map_or(1.0, |(now, _)| now)),
            _ => slow(seconds, table, snapshot),
        },
    }
}

fn holds_back(holder: &Holder, table: &Subject) -> bool {
    let just_vacuumed = table.seconds_since_vacuum.is_some_and(|seconds| seconds < JUST_VACUUMED_SECONDS);
    holder.age >= HOLDER_AGE_ALWAYS || just_vacuumed && holder.age >= HOLDER_AGE_MIN
}

/// Seconds since a worker began with the table. None if no worker vacuums it.
fn runs_for(snapshot: &Snapshot, table: &Subject) -> Option<f64> {
    let workers = snapshot.table("autovacuum_workers")?;
    let is_there = |row: &usize| {
        let relation = workers.text("relation", *row).unwrap_or_default();
        let is_named = relation == table.relation || relation == format!("{}.{}", table.schema, table.relation);
        is_named && workers.has("datname", *row, &table.datname)
    };
    let row = (0..workers.row_count()).find(is_there)?;
    Some(workers.number("seconds", row).unwrap_or_default())
}

fn off_everywhere() -> Cause {
    Cause::new(
        "autovacuum is off",
        "Autovacuum is off on the whole server, or finds no work because track_counts is off.",
        "`ALTER SYSTEM SET autovacuum = on; ALTER SYSTEM SET track_counts = on; SELECT pg_catalog.pg_reload_conf();`.",
    )
}

fn off_for_table(table: &Subject) -> Cause {
    let relation = sql::relation(&table.schema, &table.relation);
    Cause::new(
        "autovacuum is off for the table",
        "Autovacuum is turned off for this table.",
        format!("In {}: `ALTER TABLE {relation} RESET (autovacuum_enabled);`.", table.datname),
    )
}

fn held_back(holder: Holder) -> Cause {
    let cause = format!(
        "Vacuum may not remove the rows: {} may still see them, from {} transactions ago. {}",
        holder.title(),
        text::count(holder.age),
        holder.cause()
    );
    Cause { evidence: lines(std::slice::from_ref(&holder)), ..Cause::new("horizon held", cause, holder.fix()) }
}

fn saturated(workers: f64, fix: &str) -> Cause {
    let workers = text::counted(workers, "worker is", "workers are");
    Cause::new("workers saturated", format!("All {workers} busy with other tables."), fix)
}

/// Advice for faster workers, then for more workers. All workers share a cost limit, so more workers alone are not faster. More workers
/// need a restart before PostgreSQL 18, a higher limit does not.
pub(crate) fn more_workers(snapshot: &Snapshot) -> String {
    let value = |metric: &str| snapshot.value(metric).ok().flatten();
    let faster = match value(COST_DELAY).zip(value(COST_LIMIT)) {
        Some((delay, limit)) if delay > 0.0 => format!("First make the workers faster: `{}`. Then add workers", faster(limit)),
        _ => "Add workers".to_owned(),
    };
    let workers = sql::raised(value(WORKERS_MAX), 6.0);
    format!("{faster}: `ALTER SYSTEM SET autovacuum_max_workers = {workers};`, which needs a restart before PostgreSQL 18.")
}

/// The statement that makes workers faster: a higher cost limit, or no delay if the limit is 10,000 already.
fn faster(limit: f64) -> String {
    /// The maximum that PostgreSQL allows for `autovacuum_vacuum_cost_limit`.
    const LIMIT_MAX: f64 = 10_000.0;
    let setting = if limit >= LIMIT_MAX {
        "autovacuum_vacuum_cost_delay = 0".to_owned()
    } else {
        format!("autovacuum_vacuum_cost_limit = {}", (limit * 5.0).clamp(1_000.0, LIMIT_MAX))
    };
    format!("ALTER SYSTEM SET {setting}; SELECT pg_catalog.pg_reload_conf();")
}

fn throttled(seconds: f64, delay: f64, limit: f64, workers: f64) -> Cause {
    let bytes_per_second = limit / DIRTY_PAGE_COST / delay * BLOCK_BYTES / workers.max(1.0);
    let allowed = evidence("allowed to write", format!("about {}/s a worker", text::bytes(bytes_per_second)));
    Cause {
        evidence: vec![allowed],
        ..Cause::new(
            "throttled by cost",
            format!(
                "A worker has vacuumed the table for {}, slowed down by autovacuum_vacuum_cost_limit, which all workers share.",
                text::duration(seconds)
            ),
            format!("`{}`.", faster(limit)),
        )
    }
}

fn slow(seconds: f64, table: &Subject, snapshot: &Snapshot) -> Cause {
    let memory = sql::raised_size(memory_of_workers(snapshot), GIB);
    Cause::new(
        "running, but slow",
        format!(
            "A worker has vacuumed the table for {} without being throttled: the table and its indexes are large, or the disk is slow.",
            text::duration(seconds)
        ),
        format!(
            "Let it finish. `BEGIN; SET LOCAL search_path = pg_catalog; SELECT phase, heap_blks_scanned, heap_blks_total, \
             index_vacuum_count FROM pg_stat_progress_vacuum; COMMIT;`: more than one round over the indexes calls for `ALTER SYSTEM SET \
             autovacuum_work_mem = {memory}; SELECT pg_catalog.pg_reload_conf();`. Start earlier next time: `ALTER TABLE {} SET \
             (autovacuum_vacuum_scale_factor = 0.02);`.",
            sql::relation(&table.schema, &table.relation)
        ),
    )
}

/// The memory of a worker in bytes: `autovacuum_work_mem`, or `maintenance_work_mem` if that is -1.
fn memory_of_workers(snapshot: &Snapshot) -> Option<f64> {
    let settings = snapshot.values(SETTING).ok()?;
    let setting = |name: &str| settings.rows().find(|row| row.label("setting") == Some(name)).map(|row| row.value());
    setting("autovacuum_work_mem").filter(|bytes| *bytes > 0.0).or_else(|| setting("maintenance_work_mem"))
}

fn not_started(table: &Subject) -> Cause {
    Cause::new(
        "no worker vacuums the table",
        "Nothing holds vacuum back and a worker is free: the table is about to be vacuumed, or its vacuum is cancelled again and again by \
         statements that lock the table.",
        format!(
            "In {}: `VACUUM (VERBOSE, ANALYZE) {};`. The server's log shows cancelled vacuums: `canceling autovacuum task`.",
            table.datname,
            sql::relation(&table.schema, &table.relation)
        ),
    )
}
