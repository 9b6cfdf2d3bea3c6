//! Standbys that fall behind, and slots that keep WAL for nobody.

use std::time::Duration;

use pharos_plugin::checks::{Case, Check, Explanation, Grading, Observation, each_value, each_zero, evidence};
use pharos_plugin::{Label, Severity, SkipReason, Snapshot, text};

const LAG_SECONDS: &str = "pharos_postgres_replication_lag_seconds";
const LAG_BYTES: &str = "pharos_postgres_replication_lag_bytes";
const STANDBY_LAG_SECONDS: &str = "pharos_postgres_standby_replay_lag_seconds";
const STANDBY_LAG_BYTES: &str = "pharos_postgres_standby_replay_lag_bytes";
const STANDBY_RECEIVER_UP: &str = "pharos_postgres_standby_receiver_up";
const SLOT_ACTIVE: &str = "pharos_postgres_slot_active";
const SLOT_RETAINED_BYTES: &str = "pharos_postgres_slot_retained_bytes";
const SLOT_SAFE_BYTES: &str = "pharos_postgres_slot_safe_bytes";
const SLOT_WAL_LOST: &str = "pharos_postgres_slot_wal_lost";

const MIB: f64 = 1_048_576.0;

pub const CHECKS: &[Check] = &[
    Check {
        id: "replication-lag",
        summary: "a standby is behind in time",
        category: "replication",
        labels: &["standby", "client"],
        needs: &[LAG_SECONDS, STANDBY_LAG_SECONDS],
        hold_off: Duration::from_mins(1),
        keep_firing: Duration::from_mins(1),
        grading: Grading::rising(30.0, 300.0, 15.0),
        observe: |snapshot| both_views(snapshot, LAG_SECONDS, STANDBY_LAG_SECONDS),
        explain: |case| replication_lag(case, &text::duration(case.value)),
    },
    Check {
        id: "replication-lag-bytes",
        summary: "a standby is behind in WAL",
        category: "replication",
        labels: &["standby", "client"],
        needs: &[LAG_BYTES, STANDBY_LAG_BYTES],
        hold_off: Duration::from_mins(1),
        keep_firing: Duration::from_mins(1),
        grading: Grading::rising(100.0 * MIB, 1_024.0 * MIB, 50.0 * MIB),
        observe: |snapshot| both_views(snapshot, LAG_BYTES, STANDBY_LAG_BYTES),
        explain: |case| replication_lag(case, &text::bytes(case.value)),
    },
    Check {
        id: "standby-receiver-down",
        summary: "a standby receives no WAL",
        category: "replication",
        labels: &[],
        needs: &[STANDBY_RECEIVER_UP],
        hold_off: Duration::from_mins(1),
        keep_firing: Duration::ZERO,
        grading: Grading::Fact(Severity::Warning),
        observe: |snapshot| each_zero(snapshot, STANDBY_RECEIVER_UP),
        explain: standby_receiver_down,
    },
    Check {
        id: "slot-inactive",
        summary: "nobody consumes a replication slot",
        category: "replication",
        labels: &["slot", "slot_type"],
        needs: &[SLOT_ACTIVE],
        // A consumer may restart, or be a batch job.
        hold_off: Duration::from_mins(30),
        keep_firing: Duration::ZERO,
        grading: Grading::Fact(Severity::Warning),
        observe: |snapshot| each_zero(snapshot, SLOT_ACTIVE),
        explain: slot_inactive,
    },
    Check {
        id: "slot-losing-wal",
        summary: "a replication slot loses the WAL it needs",
        category: "replication",
        labels: &["slot", "slot_type"],
        needs: &[SLOT_WAL_LOST],
        hold_off: Duration::ZERO,
        keep_firing: Duration::ZERO,
        // 0.5: the next checkpoint may remove it; 1: it is gone.
        grading: Grading::rising(0.5, 1.0, 0.0),
        observe: |snapshot| each_value(snapshot, SLOT_WAL_LOST),
        explain: slot_losing_wal,
    },
];

/// The sender knows each standby by name; a standby knows only itself.
fn both_views(snapshot: &Snapshot, sender: &str, standby: &str) -> Result<Vec<Observation>, SkipReason> {
    let mut observations = each_value(snapshot, sender)?;
    observations.extend(each_value(snapshot, standby)?);
    Ok(observations)
}

fn replication_lag(case: &Case, behind: &str) -> Explanation {
    let who = match (case.label("standby"), case.label("client")) {
        ("", _) => "this standby".to_owned(),
        (standby, "") => format!("standby {standby}"),
        (standby, client) => format!("standby {standby} ({client})"),
    };
    let lag = |name: &str, metric: &str, show: fn(f64) -> String| case.related_series(metric).map(|value| evidence(name, show(value)));
    let (seconds, bytes) =
        if case.label("standby").is_empty() { (STANDBY_LAG_SECONDS, STANDBY_LAG_BYTES) } else { (LAG_SECONDS, LAG_BYTES) };
    Explanation {
        title: format!("{who} is {behind} behind"),
        detail: format!(
            "Changes of {behind} wait to be replayed by {who}. Reads from it are that old, and a failover to it loses as much or waits."
        ),
        cause: "More writes than the network or the standby's disk takes, a replay paused by a long query on the standby, or a standby \
                that was away."
            .to_owned(),
        fix: "On the sender: `SELECT application_name, state, sent_lsn, write_lsn, flush_lsn, replay_lsn FROM pg_stat_replication;` the \
              first that lags is the bottleneck. If only replay lags: `SELECT pg_get_wal_replay_pause_state();` and queries older than \
              max_standby_streaming_delay on the standby."
            .to_owned(),
        evidence: [lag("lag in time", seconds, text::duration), lag("lag in WAL", bytes, text::bytes)].into_iter().flatten().collect(),
    }
}

fn standby_receiver_down(case: &Case) -> Explanation {
    let behind = case.related(STANDBY_LAG_SECONDS).map(|lag| evidence("replay lag", text::duration(lag)));
    Explanation {
        title: "standby receives no WAL".to_owned(),
        detail: "The standby's WAL receiver is not streaming, so it falls further behind with every write on the primary.".to_owned(),
        cause: "The primary is unreachable, refuses the replication role, or no longer has the WAL the standby needs.".to_owned(),
        fix: "On the standby, read the log and `SHOW primary_conninfo;`. If it says that a WAL segment has been removed, rebuild the \
              standby (`pg_basebackup` or `pg_rewind`) and give it a slot: primary_slot_name."
            .to_owned(),
        evidence: behind.into_iter().collect(),
    }
}

fn slot_inactive(case: &Case) -> Explanation {
    let slot = case.label("slot");
    let retained =
        case.related_series(SLOT_RETAINED_BYTES).map_or_else(|| "WAL".to_owned(), |bytes| format!("{} of WAL", text::bytes(bytes)));
    Explanation {
        title: format!("slot {slot} has no consumer"),
        detail: format!(
            "Nobody consumes replication slot {slot}, which keeps {retained} on disk, more with every write until the disk is full."
        ),
        cause: "Its standby or subscriber is down, or was removed without its slot.".to_owned(),
        fix: format!(
            "Start the consumer, or, if it is gone for good, `SELECT pg_drop_replication_slot('{slot}');`. Bound what slots keep: `ALTER \
             SYSTEM SET max_slot_wal_keep_size = '50GB'; SELECT pg_reload_conf();`."
        ),
        evidence: slot_facts(case),
    }
}

fn slot_losing_wal(case: &Case) -> Explanation {
    let slot = case.label("slot");
    let (title, detail) = if case.severity == Severity::Critical {
        (format!("slot {slot} has lost WAL"), "WAL that its consumer needs has been removed: the consumer cannot go on.")
    } else {
        (format!("slot {slot} is about to lose WAL"), "Its WAL is beyond max_slot_wal_keep_size and goes with the next checkpoint.")
    };
    Explanation {
        title,
        detail: format!("Replication slot {slot}: {detail}"),
        cause: "The consumer is too slow or away for longer than max_slot_wal_keep_size allows.".to_owned(),
        fix: format!(
            "While WAL is only unreserved: raise the limit at once, `ALTER SYSTEM SET max_slot_wal_keep_size = '200GB'; SELECT \
             pg_reload_conf();`. Once it is lost: `SELECT pg_drop_replication_slot('{slot}');` and build the consumer anew."
        ),
        evidence: slot_facts(case),
    }
}

fn slot_facts(case: &Case) -> Vec<Label> {
    let retained = case.related_series(SLOT_RETAINED_BYTES).map(|bytes| evidence("WAL kept", text::bytes(bytes)));
    let safe = case.related_series(SLOT_SAFE_BYTES).map(|bytes| evidence("WAL until loss", text::bytes(bytes)));
    [retained, safe].into_iter().flatten().collect()
}
