//! Checks of standbys: no reception of WAL, paused replay, and missing synchronous standbys. The module `lag` judges their lag.

use std::time::Duration;

use pharos_plugin::checks::{Case, Check, Explanation, Grading, Observation, Scope, each_one, each_zero, evidence};
use pharos_plugin::{Severity, SkipReason, Snapshot, sql, text};

const STANDBY_LAG_SECONDS: &str = "pharos_postgres_standby_replay_lag_seconds";
const STANDBY_LAG_BYTES: &str = "pharos_postgres_standby_replay_lag_bytes";
const STANDBY_RECEIVER_UP: &str = "pharos_postgres_standby_receiver_up";

const REPLAY_PAUSED: &str = "pharos_postgres_standby_replay_paused";
const SYNC_WANTED: &str = "pharos_postgres_synchronous_standbys_wanted";

pub(crate) const CHECKS: &[Check] = &[
    Check {
        id: "standby-receiver-down",
        summary: "a standby receives no WAL",
        category: "replication",
        scope: Scope::Standby,
        labels: &[],
        needs: &[STANDBY_RECEIVER_UP],
        hold_off: Duration::from_mins(1),
        keep_firing: Duration::ZERO,
        grading: Grading::Fact(Severity::Warning),
        observe: without_receiver,
        explain: standby_receiver_down,
    },
    Check {
        id: "standby-replay-paused",
        summary: "a standby receives changes and does not apply them",
        category: "replication",
        scope: Scope::Standby,
        labels: &[],
        needs: &[REPLAY_PAUSED],
        // An operator may pause replay for a short time on purpose.
        hold_off: Duration::from_mins(10),
        keep_firing: Duration::ZERO,
        grading: Grading::Fact(Severity::Warning),
        observe: |snapshot| each_one(snapshot, REPLAY_PAUSED),
        explain: standby_replay_paused,
    },
    Check {
        id: "sync-standby-missing",
        summary: "commits wait for a synchronous standby that is not there",
        category: "replication",
        scope: Scope::Primary,
        labels: &[],
        needs: &[SYNC_WANTED, "standbys"],
        hold_off: Duration::from_secs(30),
        keep_firing: Duration::ZERO,
        grading: Grading::Fact(Severity::Critical),
        observe: sync_standbys_missing,
        explain: sync_standby_missing,
    },
];

/// Observes the standbys that receive no WAL. A standby without `primary_conninfo` reads from an archive on purpose and is left out.
fn without_receiver(snapshot: &Snapshot) -> Result<Vec<Observation>, SkipReason> {
    let is_meant = snapshot.table("receiver").is_some_and(|receiver| receiver.number("is_to_receive", 0) == Some(0.0));
    if is_meant { Ok(Vec::new()) } else { each_zero(snapshot, STANDBY_RECEIVER_UP) }
}

/// Observes the number of missing synchronous standbys, which commits wait for. Several standbys may share a name, so rows are counted.
fn sync_standbys_missing(snapshot: &Snapshot) -> Result<Vec<Observation>, SkipReason> {
    let wanted = snapshot.value(SYNC_WANTED)?.unwrap_or_default();
    let table = snapshot.table("standbys").ok_or(SkipReason::NoData)?;
    let is_sync = |row: &usize| table.has("sync_state", *row, "sync") || table.has("sync_state", *row, "quorum");
    let present = (0..table.row_count()).filter(is_sync).count() as f64;
    Ok(if present < wanted { vec![Observation::new(Vec::new(), wanted - present)] } else { Vec::new() })
}

/// The value of a setting. None if the setting has its default, since the table `settings` has only changed settings.
fn setting(snapshot: &Snapshot, name: &str) -> Option<String> {
    let table = snapshot.table("settings")?;
    let row = (0..table.row_count()).find(|row| table.has("setting", *row, name))?;
    table.text("value", row)
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

fn standby_replay_paused(case: &Case) -> Explanation {
    let behind = case.related(STANDBY_LAG_SECONDS).map(|lag| evidence("replay lag", text::duration(lag)));
    let bytes = case.related(STANDBY_LAG_BYTES).map(|lag| evidence("WAL not replayed", text::bytes(lag)));
    Explanation {
        title: "replay is paused on this standby".to_owned(),
        detail: "The standby receives changes and does not apply them: reads grow older, WAL fills its disk, and a failover to it has to \
                 replay all of it first."
            .to_owned(),
        cause: "It was paused by hand, or the primary has settings that are larger than the standby's, such as max_connections.".to_owned(),
        fix: "`SELECT pg_catalog.pg_wal_replay_resume();`. If it pauses again, the log names the setting: raise it on the standby and \
              restart it."
            .to_owned(),
        evidence: behind.into_iter().chain(bytes).collect(),
    }
}

fn sync_standby_missing(case: &Case) -> Explanation {
    let missing = text::counted(case.value, "synchronous standby is", "synchronous standbys are");
    let names = setting(case.snapshot, "synchronous_standby_names").map(|names| evidence("synchronous_standby_names", names));
    let connected = case.snapshot.table("standbys").map_or(0, |standbys| standbys.row_count());
    Explanation {
        title: format!("{missing} missing"),
        detail: format!("{missing} missing of those that synchronous_standby_names asks for. Every commit waits until it is back."),
        cause: "The standby is down or cut off, or its application_name is none of the names.".to_owned(),
        fix: format!(
            "`BEGIN; SET LOCAL search_path = pg_catalog; SELECT application_name, state, sync_state FROM pg_stat_replication; COMMIT;`: \
             bring the standby back. To let commits go on without it: `ALTER SYSTEM SET synchronous_standby_names = {}; SELECT \
             pg_catalog.pg_reload_conf();`.",
            sql::literal("")
        ),
        evidence: names.into_iter().chain([evidence("standbys connected", connected.to_string())]).collect(),
    }
}
