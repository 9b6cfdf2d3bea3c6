//! Checks of waits: an event that most active sessions wait for.
//!
//! The right number of active sessions depends on the processors of the server's host, which PostgreSQL does not report. An operator can
//! set a limit on `pharos_postgres_active_sessions` with the plugin `threshold`. The check here judges only whether sessions work or wait.

use std::time::Duration;

use pharos_plugin::checks::{Case, Check, Explanation, Grading, Observation, Scope, each_rate, evidence};
use pharos_plugin::{Label, SkipReason, Snapshot, text};

const WAIT_SECONDS: &str = "pharos_postgres_wait_seconds_total";
const ACTIVE: &str = "pharos_postgres_active_sessions";

/// The share of all active time from which on an event dominates the server.
const SHARE_MIN: f64 = 0.5;

/// Wait event types that are no problem of the server. Locks have alerts of their own.
const NOT_JUDGED: [&str; 6] = ["CPU", "Activity", "Client", "Timeout", "Lock", ""];

pub(crate) const CHECKS: &[Check] = &[Check {
    id: "wait-dominates",
    summary: "active sessions wait for one thing most of the time",
    category: "performance",
    scope: Scope::Each,
    labels: &["wait_event_type", "wait_event"],
    needs: &[WAIT_SECONDS, ACTIVE],
    hold_off: Duration::from_mins(5),
    keep_firing: Duration::from_mins(5),
    grading: Grading::rising(4.0, 32.0, 2.0),
    observe: dominating_waits,
    explain: wait_dominates,
}];

/// Observes the average number of sessions that wait for each dominating event. Waited seconds per second are waiting sessions.
fn dominating_waits(snapshot: &Snapshot) -> Result<Vec<Observation>, SkipReason> {
    let active: f64 = snapshot.values(ACTIVE)?.values.iter().sum();
    let is_judged = |wait: &Observation| {
        let named = |name: &str| wait.labels.iter().find(|label| label.name == name).map_or("", |label| &label.value);
        !NOT_JUDGED.contains(&named("wait_event_type")) && named("wait_event") != "other"
    };
    let mut waits = each_rate(snapshot, WAIT_SECONDS)?;
    waits.retain(|wait| is_judged(wait) && wait.value >= SHARE_MIN * active);
    Ok(waits)
}

fn wait_dominates(case: &Case) -> Explanation {
    let (kind, event) = (case.label("wait_event_type"), case.label("wait_event"));
    let sessions = text::counted(case.value, "session waits", "sessions wait");
    let (cause, fix) = remedy(kind, event);
    Explanation {
        title: format!("{sessions} for {kind}:{event}"),
        detail: format!("On average {sessions} for {event} ({kind}), at least half of all the time that sessions are active."),
        cause: cause.to_owned(),
        fix: format!(
            "{fix} The waiting sessions: `BEGIN; SET LOCAL search_path = pg_catalog; SELECT pid, usename, query_start, query FROM \
             pg_stat_activity WHERE wait_event = '{event}'; COMMIT;`."
        ),
        evidence: statements(case.snapshot, event),
    }
}

fn remedy(kind: &str, event: &str) -> (&'static str, &'static str) {
    match (kind, event) {
        ("IO", "WALSync" | "WalSync" | "WALWrite" | "WalWrite") | ("LWLock", "WALWrite") => (
            "Commits wait until the disk has their WAL.",
            "Put more changes into one transaction, give pg_wal a faster disk, or, where the latest commits may be lost in a crash, `ALTER \
             ROLE <role> SET synchronous_commit = off;`.",
        ),
        ("IO", "DataFileRead") => (
            "Blocks come from outside shared buffers: the data in use is larger, or whole tables are read because an index is missing.",
            "Index the columns that the statements below filter by, or raise shared_buffers.",
        ),
        ("IO", "BufFileRead" | "BufFileWrite" | "BuffileRead" | "BuffileWrite") => (
            "Sorts and hashes do not fit into work_mem and go through temporary files.",
            "Raise it for the role that needs it: `ALTER ROLE <role> SET work_mem = '256MB';`.",
        ),
        ("IO", _) => ("The disk is too slow for the reads and writes of the server.", "Look at the host's disk: `iostat -x 5`."),
        ("LWLock", "LockManager") => (
            "Statements lock more relations than fit their fast path of locks: many partitions or many indexes.",
            "Prune partitions by a filter on the key, drop unused indexes, and keep sessions few with a pool.",
        ),
        ("LWLock", "BufferContent") | ("BufferPin", _) => (
            "Many sessions want the same page: a hot row, or a table whose last page takes every insert.",
            "Spread the writes: fewer updates of one row, fewer sessions at once, an index that is not on a growing value.",
        ),
        ("LWLock", "WALInsert") => ("Many sessions write WAL at once.", "Put more changes into one transaction, and drop unused indexes."),
        ("IPC", "SyncRep") => (
            "Commits wait for a synchronous standby.",
            "`BEGIN; SET LOCAL search_path = pg_catalog; SELECT application_name, sync_state, flush_lag FROM pg_stat_replication; \
             COMMIT;` shows which one is slow.",
        ),
        ("IPC", _) => (
            "Processes wait for each other: parallel workers, or a standby.",
            "Try the statements below without parallel workers: `SET max_parallel_workers_per_gather = 0;`.",
        ),
        _ => (
            "Many sessions need the same thing inside the server at once.",
            "Fewer sessions at once, with a pool, often get more work done.",
        ),
    }
}

/// The statements that waited longest for an event, as evidence.
fn statements(snapshot: &Snapshot, event: &str) -> Vec<Label> {
    let Some(table) = snapshot.table("activity_waits") else { return Vec::new() };
    let seconds = |row: usize| table.number("seconds", row).unwrap_or_default();
    let mut rows: Vec<_> = (0..table.row_count()).filter(|row| table.has("wait_event", *row, event)).collect();
    rows.sort_by(|a, b| seconds(*b).total_cmp(&seconds(*a)));
    let cell = |column: &str, row: usize| table.text(column, row).unwrap_or_default();
    let query = |row: usize| {
        let id = table.text("query_id", row).or_else(|| table.integers("query_id")[row].map(|id| id.to_string()));
        id.map_or_else(|| "statement without an id".to_owned(), |id| format!("statement {id}"))
    };
    let line = |row: usize| {
        evidence(&query(row), format!("{} waited, by {} in {}", text::duration(seconds(row)), cell("user", row), cell("datname", row)))
    };
    rows.into_iter().take(3).map(line).collect()
}
