//! Checks of WAL: checkpoints, the archive, and the size of WAL on disk.

use std::time::Duration;

use pharos_plugin::checks::{Case, Check, Direction, Explanation, Grading, Observation, Scope, Thresholds, each_value, evidence};
use pharos_plugin::{Row, SkipReason, Snapshot, sql, text};

const CHECKPOINTS: &str = "pharos_postgres_checkpoints_total";
const CHECKPOINT_AGE: &str = "pharos_postgres_checkpoint_age_seconds";
const CHECKPOINT_TIMEOUT: &str = "pharos_postgres_checkpoint_timeout_seconds";
const WAL_BYTES: &str = "pharos_postgres_wal_bytes_total";
const WAL_DIRECTORY: &str = "pharos_postgres_wal_directory_size_bytes";
const ARCHIVE_FAILING: &str = "pharos_postgres_archive_failing";
const ARCHIVE_FAILING_SECONDS: &str = "pharos_postgres_archive_failing_seconds";
const ARCHIVE_ENABLED: &str = "pharos_postgres_archive_enabled";
const ARCHIVE_FAILURES: &str = "pharos_postgres_archive_failures_total";
const SETTING: &str = "pharos_postgres_setting";
const SLOT_RETAINED_BYTES: &str = "pharos_postgres_slot_retained_bytes";

/// Checkpoints from which on the share of requested ones is judged. A share of fewer checkpoints may be chance.
const CHECKPOINTS_MIN: f64 = 10.0;

/// Bytes of WAL per second from which on a late checkpoint is judged. Without writes the server skips checkpoints, so their age means
/// nothing.
const WAL_BYTES_PER_SECOND_MIN: f64 = 1_024.0;

/// Bytes of the WAL directory from which on its size is judged. A smaller directory does not fill a disk.
const WAL_DIRECTORY_MIN: f64 = 4.0 * 1_073_741_824.0;

pub(crate) const CHECKS: &[Check] = &[
    Check {
        id: "checkpoints-requested",
        summary: "checkpoints start because WAL reached its planned size, not because their time has come",
        category: "wal",
        scope: Scope::Primary,
        labels: &[],
        needs: &[CHECKPOINTS],
        hold_off: Duration::ZERO,
        // The alert resolves after an hour without a requested checkpoint.
        keep_firing: Duration::from_hours(1),
        grading: Grading::Scale(Direction::Rising, Thresholds { info: Some(0.1), warning: Some(0.2), critical: None, clear: 0.05 }),
        observe: requested_share,
        explain: checkpoints_requested,
    },
    Check {
        id: "checkpoint-overdue",
        summary: "the last checkpoint is long ago, although there is something to write",
        category: "wal",
        scope: Scope::Primary,
        labels: &[],
        needs: &[CHECKPOINT_AGE, CHECKPOINT_TIMEOUT, WAL_BYTES],
        hold_off: Duration::from_mins(2),
        keep_firing: Duration::from_mins(2),
        grading: Grading::rising(2.0, 3.0, 1.5),
        observe: checkpoint_overdue_by,
        explain: checkpoint_overdue,
    },
    Check {
        id: "archive-failing",
        summary: "WAL is not archived",
        category: "wal",
        scope: Scope::Each,
        labels: &[],
        needs: &[ARCHIVE_FAILING, ARCHIVE_FAILING_SECONDS],
        // The server repeats a single failed attempt at once.
        hold_off: Duration::from_mins(1),
        keep_firing: Duration::ZERO,
        grading: Grading::rising(60.0, 3_600.0, 0.0),
        observe: seconds_without_archive,
        explain: archive_failing,
    },
    Check {
        id: "wal-directory-large",
        summary: "WAL takes far more disk than its settings plan for, 4 GiB or more",
        category: "wal",
        scope: Scope::Each,
        labels: &[],
        needs: &[WAL_DIRECTORY, SETTING],
        hold_off: Duration::ZERO,
        keep_firing: Duration::ZERO,
        grading: Grading::rising(3.0, 10.0, 2.0),
        observe: wal_directory_share,
        explain: wal_directory_large,
    },
];

/// Observes the share of requested checkpoints since the statistics were reset. The share is judged only if the rate of requested
/// checkpoints is above zero. Skipped below [`CHECKPOINTS_MIN`] checkpoints.
fn requested_share(snapshot: &Snapshot) -> Result<Vec<Observation>, SkipReason> {
    let is_requested = |row: &Row| row.label("kind") == Some("requested");
    let counts = snapshot.values(CHECKPOINTS)?;
    let all: f64 = counts.rows().map(Row::value).sum();
    let requested: f64 = counts.rows().filter(is_requested).map(Row::value).sum();
    let is_news = snapshot.rates(CHECKPOINTS)?.rows().any(|row| is_requested(&row) && row.value() > 0.0);
    if all < CHECKPOINTS_MIN {
        let why = format!("{} since the statistics were reset are too few", text::counted(all, "checkpoint", "checkpoints"));
        return Err(SkipReason::PartFailed(why));
    }
    Ok(if is_news { vec![Observation::new(Vec::new(), requested / all)] } else { Vec::new() })
}

fn checkpoint_overdue_by(snapshot: &Snapshot) -> Result<Vec<Observation>, SkipReason> {
    let (age, timeout) = (snapshot.value(CHECKPOINT_AGE)?, snapshot.value(CHECKPOINT_TIMEOUT)?);
    let written = snapshot.rates(WAL_BYTES)?.values.first().copied().unwrap_or_default();
    let (Some(age), Some(timeout)) = (age, timeout.filter(|timeout| *timeout > 0.0)) else { return Ok(Vec::new()) };
    Ok(if written >= WAL_BYTES_PER_SECOND_MIN { vec![Observation::new(Vec::new(), age / timeout)] } else { Vec::new() })
}

/// Observes the seconds since attempts to archive WAL began to fail. A server that lost its statistics reports no attempts, which is
/// skipped and not fine. The age of the last success means nothing: without writes there is nothing to archive.
fn seconds_without_archive(snapshot: &Snapshot) -> Result<Vec<Observation>, SkipReason> {
    if snapshot.value(ARCHIVE_FAILING)? != Some(1.0) {
        let attempts = snapshot.table("archiver").and_then(|table| table.number("attempts", 0));
        if attempts == Some(0.0) && snapshot.value(ARCHIVE_ENABLED)? == Some(1.0) {
            return Err(SkipReason::PartFailed("no attempt to archive is known since the statistics began".to_owned()));
        }
        return Ok(Vec::new());
    }
    each_value(snapshot, ARCHIVE_FAILING_SECONDS)
}

/// Observes the size of WAL on disk as a share of the planned size, `max_wal_size` plus `wal_keep_size`.
fn wal_directory_share(snapshot: &Snapshot) -> Result<Vec<Observation>, SkipReason> {
    let planned = setting(snapshot, "max_wal_size").map(|size| size + setting(snapshot, "wal_keep_size").unwrap_or_default());
    let (Some(planned), Some(size)) = (planned.filter(|planned| *planned > 0.0), snapshot.value(WAL_DIRECTORY)?) else {
        return Err(SkipReason::NoData);
    };
    Ok(if size >= WAL_DIRECTORY_MIN { vec![Observation::new(Vec::new(), size / planned)] } else { Vec::new() })
}

pub(crate) fn setting(snapshot: &Snapshot, name: &str) -> Option<f64> {
    snapshot.values(SETTING).ok()?.rows().find(|row| row.label("setting") == Some(name)).map(Row::value)
}

fn checkpoints_requested(case: &Case) -> Explanation {
    let share = text::percent(case.value);
    let size = setting(case.snapshot, "max_wal_size").map(|size| evidence("max_wal_size", text::bytes(size)));
    Explanation {
        title: format!("{share} of checkpoints are requested"),
        detail: format!(
            "Of the checkpoints since the statistics were reset, {share} came before their time. Each checkpoint writes every changed \
             page, and after it whole pages go into WAL again."
        ),
        cause: "max_wal_size is small for what is written, or something asks for checkpoints: backups, `CREATE DATABASE`, `CHECKPOINT`."
            .to_owned(),
        fix: format!(
            "`ALTER SYSTEM SET max_wal_size = {}; SELECT pg_catalog.pg_reload_conf();`, as far as the disk allows, so that \
             checkpoint_timeout decides; `ALTER SYSTEM SET log_checkpoints = on; SELECT pg_catalog.pg_reload_conf();` logs the reason of \
             each checkpoint.",
            sql::raised_size(setting(case.snapshot, "max_wal_size"), 8.0 * 1_073_741_824.0)
        ),
        evidence: size.into_iter().collect(),
    }
}

fn checkpoint_overdue(case: &Case) -> Explanation {
    let age = case.related(CHECKPOINT_AGE).map_or_else(|| "long ago".to_owned(), |age| format!("{} ago", text::duration(age)));
    let timeout = case.related(CHECKPOINT_TIMEOUT).map(|timeout| evidence("checkpoint_timeout", text::duration(timeout)));
    Explanation {
        title: format!("the last checkpoint was {age}"),
        detail: format!(
            "The last checkpoint ended {age}, {} times checkpoint_timeout. After a crash all WAL since then is replayed before clients can \
             connect. None of this WAL is removed before the next checkpoint.",
            text::number(case.value)
        ),
        cause: "The disk cannot take the changed pages as fast as they come, or the checkpointer is stuck in a slow fsync.".to_owned(),
        fix:
            "`BEGIN; SET LOCAL search_path = pg_catalog; SELECT pid, wait_event_type, wait_event FROM pg_stat_activity WHERE backend_type \
             = 'checkpointer'; COMMIT;` shows what it waits for: an event of type IO means the disk. Then let it write less at once: \
             `ALTER SYSTEM SET checkpoint_completion_target = 0.9; SELECT pg_catalog.pg_reload_conf();`."
                .to_owned(),
        evidence: timeout.into_iter().collect(),
    }
}

fn archive_failing(case: &Case) -> Explanation {
    let since = text::duration(case.value);
    let file = case.snapshot.table("archiver").and_then(|table| table.text("last_failed", 0));
    let failures = case.related(ARCHIVE_FAILURES).map(|failures| evidence("failed attempts", text::count(failures)));
    Explanation {
        title: format!("no WAL was archived for {since}"),
        detail: format!(
            "Attempts to archive WAL have failed for {since}. A restore ends where the archive does, and WAL stays \
             on disk until it is archived."
        ),
        cause: "The archive is full, unreachable or refuses the server, or archive_command is wrong.".to_owned(),
        fix: "The server's log has the output of the command: `SHOW archive_command;`, and run it by hand as the server's user. `BEGIN; \
              SET LOCAL search_path = pg_catalog; SELECT last_failed_wal, last_failed_time, last_archived_time FROM pg_stat_archiver; \
              COMMIT;` shows when archiving works again."
            .to_owned(),
        evidence: file.map(|file| evidence("last failed", file)).into_iter().chain(failures).collect(),
    }
}

fn wal_directory_large(case: &Case) -> Explanation {
    let size = case.related(WAL_DIRECTORY).map_or_else(|| "much".to_owned(), text::bytes);
    let failing = case.related(ARCHIVE_FAILING) == Some(1.0);
    let retained = case.snapshot.values(SLOT_RETAINED_BYTES).map(|slots| slots.values.iter().copied().fold(0.0, f64::max));
    let retained = retained.ok().filter(|bytes| *bytes > 0.0);
    let cause = match retained {
        _ if failing => "WAL is not archived, so none of it may be removed.".to_owned(),
        Some(bytes) => format!("A replication slot keeps WAL for a consumer that does not read it: {}.", text::bytes(bytes)),
        None => "A replication slot, a failing archive, or a checkpoint that does not end keeps the WAL.".to_owned(),
    };
    Explanation {
        title: format!("WAL takes {size} on disk"),
        detail: format!("pg_wal holds {size}, {} times what max_wal_size and wal_keep_size plan for.", text::number(case.value)),
        cause,
        fix: "`BEGIN; SET LOCAL search_path = pg_catalog; SELECT slot_name, active, wal_status, pg_size_pretty(pg_wal_lsn_diff(CASE WHEN \
              pg_is_in_recovery() THEN pg_last_wal_receive_lsn() ELSE pg_current_wal_lsn() END, restart_lsn)) FROM pg_replication_slots \
              ORDER BY restart_lsn; COMMIT;` and `BEGIN; SET LOCAL search_path = pg_catalog; SELECT last_failed_wal, last_failed_time FROM \
              pg_stat_archiver; COMMIT;`. Never remove files of pg_wal by hand. Limit the WAL that slots keep; a slot that keeps more at \
              that moment becomes unusable: `ALTER SYSTEM SET max_slot_wal_keep_size = '<size>'; SELECT pg_catalog.pg_reload_conf();`."
            .to_owned(),
        evidence: retained.map(|bytes| evidence("kept by a slot", text::bytes(bytes))).into_iter().collect(),
    }
}
