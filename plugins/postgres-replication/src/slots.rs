//! Checks of replication slots: unused slots, slots that retain too much WAL, and slots that lose WAL. A standby may have slots as well.

use std::time::Duration;

use pharos_plugin::checks::{
    Case, Check, Direction, Explanation, Grading, Observation, Scope, Thresholds, each_one, each_value, each_zero, evidence,
};
use pharos_plugin::{Label, Severity, SkipReason, Snapshot, Table, sql, text};

const SLOT_ACTIVE: &str = "pharos_postgres_slot_active";
const SLOT_RETAINED_BYTES: &str = "pharos_postgres_slot_retained_bytes";
const SLOT_SAFE_BYTES: &str = "pharos_postgres_slot_safe_bytes";
const SLOT_WAL_LOST: &str = "pharos_postgres_slot_wal_lost";
const SLOT_INACTIVE_SECONDS: &str = "pharos_postgres_slot_inactive_seconds";
const SLOT_INVALIDATED: &str = "pharos_postgres_slot_invalidated";
const WAL_BYTES: &str = "pharos_postgres_wal_bytes_total";
const WAL_DIRECTORY: &str = "pharos_postgres_wal_directory_size_bytes";

const GIB: f64 = 1_073_741_824.0;

/// Seconds since the last move of a slot below which its consumer counts as present. Failover managers move their slots every few seconds.
const ADVANCED_WITHIN_SECONDS: f64 = 600.0;

/// The reason of a slot that is invalid because its WAL was removed. The check `slot-losing-wal` reports such a slot.
const WAL_REMOVED: &str = "wal_removed";

pub(crate) const CHECKS: &[Check] = &[
    Check {
        id: "slot-inactive",
        summary: "a replication slot has no consumer",
        category: "replication",
        scope: Scope::Each,
        labels: &["slot", "slot_type"],
        needs: &[SLOT_ACTIVE],
        // A consumer may restart, or may be a batch job.
        hold_off: Duration::from_mins(30),
        keep_firing: Duration::ZERO,
        grading: Grading::Fact(Severity::Warning),
        observe: inactive,
        explain: slot_inactive,
    },
    Check {
        id: "slot-losing-wal",
        summary: "a replication slot loses the WAL it needs",
        category: "replication",
        scope: Scope::Each,
        labels: &["slot", "slot_type"],
        needs: &[SLOT_WAL_LOST],
        hold_off: Duration::ZERO,
        keep_firing: Duration::ZERO,
        // 0.5 means that the next checkpoint may remove WAL that the slot needs. 1 means that the WAL is gone.
        grading: Grading::rising(0.5, 1.0, 0.0),
        observe: losing_wal,
        explain: slot_losing_wal,
    },
    Check {
        id: "slot-invalidated",
        summary: "a replication slot can never be used again",
        category: "replication",
        scope: Scope::Each,
        labels: &["slot", "slot_type"],
        needs: &[SLOT_INVALIDATED, "slots"],
        hold_off: Duration::ZERO,
        keep_firing: Duration::ZERO,
        grading: Grading::Fact(Severity::Critical),
        observe: |snapshot| invalidated(snapshot),
        explain: slot_invalidated,
    },
    Check {
        id: "slot-retains-much",
        summary: "a replication slot keeps much WAL",
        category: "replication",
        scope: Scope::Each,
        labels: &["slot", "slot_type"],
        needs: &[SLOT_RETAINED_BYTES],
        hold_off: Duration::from_mins(5),
        keep_firing: Duration::from_mins(5),
        grading: Grading::rising(10.0 * GIB, 50.0 * GIB, 5.0 * GIB),
        observe: |snapshot| each_value(snapshot, SLOT_RETAINED_BYTES),
        explain: slot_retains_much,
    },
    Check {
        id: "slot-soon-losing-wal",
        summary: "a replication slot will lose WAL within hours",
        category: "replication",
        scope: Scope::Each,
        labels: &["slot", "slot_type"],
        needs: &[SLOT_SAFE_BYTES, SLOT_RETAINED_BYTES, SLOT_ACTIVE, WAL_BYTES],
        // The rate of writes varies.
        hold_off: Duration::from_mins(10),
        keep_firing: Duration::from_mins(10),
        grading: Grading::Scale(
            Direction::Falling,
            Thresholds { info: None, warning: Some(6.0 * 3_600.0), critical: Some(3_600.0), clear: 8.0 * 3_600.0 },
        ),
        observe: seconds_until_loss,
        explain: slot_soon_losing_wal,
    },
];

/// Observes the slots that retain WAL without a consumer.
fn inactive(snapshot: &Snapshot) -> Result<Vec<Observation>, SkipReason> {
    let mut all = each_zero(snapshot, SLOT_ACTIVE)?;
    all.retain(|slot| waits_for_a_consumer(snapshot, slot));
    Ok(all)
}

/// Whether a slot retains WAL for an absent consumer. A slot that a standby synchronises from its primary has no consumer. A slot that a
/// function advances has a consumer that never connects. An invalid slot retains no WAL and has a check of its own.
fn waits_for_a_consumer(snapshot: &Snapshot, slot: &Observation) -> bool {
    let Some(table) = snapshot.table("slots") else { return true };
    table.find(&slot.labels).is_none_or(|row| {
        let retains_wal = table.number("retained_bytes", row).is_some_and(|bytes| bytes > 0.0);
        retains_wal && !is_advanced(&table, row) && !table.is("synced", row) && table.text("invalidation_reason", row).is_none()
    })
}

/// Whether the position of the slot moved lately, with or without a connection. Failover managers move slots on every server, so that a
/// slot exists after a failover.
fn is_advanced(table: &Table, row: usize) -> bool {
    table.number("seconds_since_move", row).is_some_and(|seconds| seconds < ADVANCED_WITHIN_SECONDS)
}

/// Observes the slots that lose WAL. Slots that were invalidated for another reason are left out.
fn losing_wal(snapshot: &Snapshot) -> Result<Vec<Observation>, SkipReason> {
    let mut all = each_value(snapshot, SLOT_WAL_LOST)?;
    let otherwise = invalidated(snapshot).unwrap_or_default();
    all.retain(|slot| !otherwise.iter().any(|other| other.labels == slot.labels));
    Ok(all)
}

/// Observes the slots that were invalidated for another reason than removed WAL.
fn invalidated(snapshot: &Snapshot) -> Result<Vec<Observation>, SkipReason> {
    let mut all = each_one(snapshot, SLOT_INVALIDATED)?;
    let table = snapshot.table("slots");
    let reason = |slot: &Observation| {
        let table = table.as_ref()?;
        table.text("invalidation_reason", table.find(&slot.labels)?)
    };
    all.retain(|slot| reason(slot).is_some_and(|reason| reason != WAL_REMOVED));
    Ok(all)
}

/// Observes the seconds until a slot loses WAL, at the present rate of writes. A slot whose consumer does not fall behind is left out,
/// however fast the server writes.
fn seconds_until_loss(snapshot: &Snapshot) -> Result<Vec<Observation>, SkipReason> {
    let written = snapshot.rates(WAL_BYTES)?.values.first().copied().filter(|rate| *rate > 0.0);
    let Some(written) = written else { return Ok(Vec::new()) };
    let (retained, active) = (each_value(snapshot, SLOT_RETAINED_BYTES)?, each_value(snapshot, SLOT_ACTIVE)?);
    let value_of = |all: &[Observation], slot: &Observation| all.iter().find(|other| other.labels == slot.labels).map(|other| other.value);
    let falls_behind = |slot: &Observation| {
        value_of(&active, slot) == Some(0.0) || value_of(&retained, slot).is_some_and(|retained| retained > slot.value)
    };
    let safe = each_value(snapshot, SLOT_SAFE_BYTES)?.into_iter().filter(|slot| waits_for_a_consumer(snapshot, slot) && falls_behind(slot));
    Ok(safe.map(|slot| Observation::new(slot.labels, slot.value.max(0.0) / written)).collect())
}

fn slot_inactive(case: &Case) -> Explanation {
    let slot = case.label("slot");
    let retained =
        case.related_series(SLOT_RETAINED_BYTES).map_or_else(|| "WAL".to_owned(), |bytes| format!("{} of WAL", text::bytes(bytes)));
    Explanation {
        title: format!("slot {slot} has no consumer"),
        detail: format!(
            "Replication slot {slot} has no consumer. It keeps {retained} on disk, and more with every write until the disk is full."
        ),
        cause: "Its standby or subscriber is down, or was removed without its slot.".to_owned(),
        fix: format!("Start the consumer, or, if it is gone for good, `{}`. {}", sql::drop_slot(slot), retention_advice(case)),
        evidence: slot_facts(case),
    }
}

fn slot_losing_wal(case: &Case) -> Explanation {
    let slot = case.label("slot");
    let (title, detail) = if case.severity == Severity::Critical {
        (format!("slot {slot} has lost WAL"), "WAL that its consumer needs has been removed: the consumer cannot go on.")
    } else {
        (format!("slot {slot} is about to lose WAL"), "Its WAL is beyond max_slot_wal_keep_size and is removed at the next checkpoint.")
    };
    Explanation {
        title,
        detail: format!("Replication slot {slot}: {detail}"),
        cause: "The consumer is too slow, or was unreachable for longer than max_slot_wal_keep_size allows.".to_owned(),
        fix: format!(
            "While the WAL still exists, raise the limit at once: `ALTER SYSTEM SET max_slot_wal_keep_size = {}; SELECT \
             pg_catalog.pg_reload_conf();`. Once it is lost: `{}` and rebuild the consumer.",
            raised_limit(case),
            sql::drop_slot(slot)
        ),
        evidence: slot_facts(case),
    }
}

/// The setting `max_slot_wal_keep_size` in bytes. -1 means no limit.
fn retention_limit(case: &Case) -> Option<f64> {
    let settings = case.snapshot.values("pharos_postgres_setting").ok()?;
    settings.rows().find(|row| row.label("setting") == Some("max_slot_wal_keep_size")).map(|row| row.value())
}

/// A higher `max_slot_wal_keep_size`. A limit below the present limit would remove WAL that still exists.
fn raised_limit(case: &Case) -> String {
    sql::raised_size(retention_limit(case), 10.0 * GIB)
}

/// Advice that prevents retained WAL from filling the disk. The right size depends on the disk, which is unknown here.
fn retention_advice(case: &Case) -> String {
    match retention_limit(case).filter(|limit| *limit >= 0.0) {
        Some(limit) => format!("max_slot_wal_keep_size limits the WAL that slots keep: {}.", text::bytes(limit)),
        None => "Limit the WAL that slots keep; a slot that keeps more at that moment becomes unusable: `ALTER SYSTEM SET \
                 max_slot_wal_keep_size = '<size>'; SELECT pg_catalog.pg_reload_conf();`."
            .to_owned(),
    }
}

fn slot_facts(case: &Case) -> Vec<Label> {
    let retained = case.related_series(SLOT_RETAINED_BYTES).map(|bytes| evidence("WAL kept", text::bytes(bytes)));
    let safe = case.related_series(SLOT_SAFE_BYTES).map(|bytes| evidence("WAL until loss", text::bytes(bytes)));
    let away = case.related_series(SLOT_INACTIVE_SECONDS).filter(|seconds| *seconds > 0.0);
    // PostgreSQL before 17 does not report this time. The agent then counts from the moment at which it first saw the slot.
    let is_exact =
        case.snapshot.subject().version.split('.').next().and_then(|major| major.parse().ok()).is_some_and(|major: u32| major >= 17);
    let away = away.map(|seconds| evidence(if is_exact { "inactive for" } else { "inactive for at least" }, text::duration(seconds)));
    [retained, safe, away].into_iter().flatten().collect()
}

fn slot_invalidated(case: &Case) -> Explanation {
    let slot = case.label("slot");
    let table = case.snapshot.table("slots");
    let reason = table.and_then(|table| table.text("invalidation_reason", table.find(case.labels)?)).unwrap_or_default();
    let (cause, again) = match reason.as_str() {
        "rows_removed" => (
            "Rows of the catalogue that its consumer needs were vacuumed: on a standby, hot_standby_feedback was off or its slot was gone.",
            "On the standby: `ALTER SYSTEM SET hot_standby_feedback = on; SELECT pg_catalog.pg_reload_conf();`",
        ),
        "wal_level_insufficient" => (
            "wal_level was lowered below `logical` on the primary.",
            "On the primary: `ALTER SYSTEM SET wal_level = 'logical';` and a restart",
        ),
        "idle_timeout" => (
            "Its consumer was unreachable for longer than idle_replication_slot_timeout.",
            "For a consumer that connects rarely: `ALTER SYSTEM SET idle_replication_slot_timeout = '7d'; SELECT \
             pg_catalog.pg_reload_conf();`",
        ),
        _ => ("Its consumer can no longer get what it needs.", "The server's log has the reason"),
    };
    Explanation {
        title: format!("slot {slot} is invalidated"),
        detail: format!("Replication slot {slot} can never be used again{}. Its consumer must be rebuilt.", after_colon(&reason)),
        cause: cause.to_owned(),
        fix: format!("`{}`, then rebuild the consumer. {again}.", sql::drop_slot(slot)),
        evidence: slot_facts(case),
    }
}

fn after_colon(reason: &str) -> String {
    if reason.is_empty() { String::new() } else { format!(": {reason}") }
}

fn slot_retains_much(case: &Case) -> Explanation {
    let (slot, retained) = (case.label("slot"), text::bytes(case.value));
    let is_advanced = case.snapshot.table("slots").is_some_and(|table| table.find(case.labels).is_some_and(|row| is_advanced(&table, row)));
    let is_away = case.related_series(SLOT_ACTIVE) == Some(0.0) && !is_advanced;
    let directory = case.related(WAL_DIRECTORY).map(|size| evidence("pg_wal", text::bytes(size)));
    Explanation {
        title: format!("slot {slot} keeps {retained} of WAL"),
        detail: format!(
            "Replication slot {slot} keeps {retained} of WAL on disk for its consumer. When the disk is full, the server stops."
        ),
        cause: if is_away { "Its consumer is not connected." } else { "Its consumer reads WAL more slowly than the server writes it." }
            .to_owned(),
        fix: format!(
            "{}. {}",
            if is_away {
                format!("Start the consumer, or, if it is gone for good, `{}`", sql::drop_slot(slot))
            } else {
                format!(
                    "See its position: `BEGIN; SET LOCAL search_path = pg_catalog; SELECT active_pid, restart_lsn, confirmed_flush_lsn \
                     FROM pg_replication_slots WHERE slot_name = {}; COMMIT;`, and what a logical consumer waits for in \
                     pg_stat_replication",
                    sql::literal(slot)
                )
            },
            retention_advice(case)
        ),
        evidence: slot_facts(case).into_iter().chain(directory).collect(),
    }
}

fn slot_soon_losing_wal(case: &Case) -> Explanation {
    let (slot, left) = (case.label("slot"), text::duration(case.value));
    Explanation {
        title: format!("slot {slot} loses WAL in {left}"),
        detail: format!(
            "At the present rate of writing, replication slot {slot} is past max_slot_wal_keep_size in {left}. After that its consumer \
             must be rebuilt."
        ),
        cause: "Its consumer is not connected, or slower than the server writes.".to_owned(),
        fix: format!(
            "Bring the consumer back, or give it time as far as the disk allows: `ALTER SYSTEM SET max_slot_wal_keep_size = {}; SELECT \
             pg_catalog.pg_reload_conf();`.",
            raised_limit(case)
        ),
        evidence: slot_facts(case),
    }
}
