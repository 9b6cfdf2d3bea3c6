//! Checks of persistence: the files and the replicas that must survive a crash of the server.

use std::time::Duration;

use pharos_plugin::checks::{Case, Check, Explanation, Grading, Observation, Scope, each_value, each_zero, evidence};
use pharos_plugin::{Severity, SkipReason, Snapshot, text};

use crate::server::{cli, is_cache};

const RDB_OK: &str = "pharos_redis_rdb_last_save_ok";
const RDB_SAVE_AGE: &str = "pharos_redis_rdb_save_age_seconds";
const FORK: &str = "pharos_redis_fork_seconds";
const AOF_OK: &str = "pharos_redis_aof_last_write_ok";
const KEYS_BEFORE: &str = "pharos_redis_keys_before_restart";
const KEYS_EXPIRING_BEFORE: &str = "pharos_redis_keys_expiring_before_restart";
const KEYS_MISSING: &str = "pharos_redis_keys_missing_ratio";
const REPLICA_LINK_UP: &str = "pharos_redis_replica_link_up";
const REPLICA_LAG_BYTES: &str = "pharos_redis_replica_lag_bytes";

const MIB: f64 = 1_048_576.0;
/// Keys before a restart from which on a loss is judged. A smaller number may change by chance.
const KEYS_BEFORE_MIN: f64 = 100.0;

pub(crate) const CHECKS: &[Check] = &[
    Check {
        id: "rdb-save-failed",
        summary: "the last background save failed",
        category: "persistence",
        scope: Scope::Each,
        labels: &[],
        needs: &[RDB_OK],
        hold_off: Duration::ZERO,
        keep_firing: Duration::ZERO,
        grading: Grading::Fact(Severity::Critical),
        observe: |snapshot| each_zero(snapshot, RDB_OK),
        explain: rdb_save_failed,
    },
    Check {
        id: "rdb-save-slow",
        summary: "a background save takes long",
        category: "persistence",
        scope: Scope::Each,
        labels: &[],
        needs: &[RDB_SAVE_AGE],
        // No delay is needed: the thresholds are ages.
        hold_off: Duration::ZERO,
        keep_firing: Duration::ZERO,
        grading: Grading::rising(600.0, 1_200.0, 300.0),
        observe: |snapshot| each_value(snapshot, RDB_SAVE_AGE),
        explain: rdb_save_slow,
    },
    Check {
        id: "aof-write-failed",
        summary: "the append-only file cannot be written",
        category: "persistence",
        scope: Scope::Each,
        labels: &[],
        needs: &[AOF_OK],
        hold_off: Duration::ZERO,
        keep_firing: Duration::ZERO,
        grading: Grading::Fact(Severity::Critical),
        observe: |snapshot| each_zero(snapshot, AOF_OK),
        explain: aof_write_failed,
    },
    Check {
        id: "data-lost",
        summary: "the server restarted without its data",
        category: "persistence",
        scope: Scope::Each,
        labels: &[],
        needs: &[KEYS_MISSING],
        // A master that was replaced during its downtime starts empty and becomes a replica within seconds.
        hold_off: Duration::from_secs(30),
        keep_firing: Duration::ZERO,
        grading: Grading::rising(MISSING_MIN, 0.95, 0.5),
        observe: keys_missing,
        explain: data_lost,
    },
    Check {
        id: "replica-link-down",
        summary: "a replica has lost its master",
        category: "replication",
        scope: Scope::Each,
        labels: &[],
        needs: &[REPLICA_LINK_UP],
        // A second collection confirms it: every failover interrupts the link for a moment.
        hold_off: Duration::from_secs(5),
        keep_firing: Duration::ZERO,
        grading: Grading::Fact(Severity::Warning),
        observe: |snapshot| each_zero(snapshot, REPLICA_LINK_UP),
        explain: replica_link_down,
    },
    Check {
        id: "replication-lag",
        summary: "a replica is behind",
        category: "replication",
        scope: Scope::Each,
        labels: &["replica"],
        needs: &[REPLICA_LAG_BYTES],
        hold_off: Duration::from_mins(1),
        keep_firing: Duration::from_mins(1),
        grading: Grading::rising(10.0 * MIB, 100.0 * MIB, 5.0 * MIB),
        observe: |snapshot| each_value(snapshot, REPLICA_LAG_BYTES),
        explain: replication_lag,
    },
];

fn rdb_save_failed(_case: &Case) -> Explanation {
    Explanation {
        title: "last background save failed".to_owned(),
        detail:
            "The last RDB file could not be written. By default (`stop-writes-on-bgsave-error yes`) the server now refuses writes, and \
                 a restart loads an old file."
                .to_owned(),
        cause: "The disk is full or read-only, or there was no memory for the fork.".to_owned(),
        fix: "The server's log says which. If it names the disk, make room in the folder of `CONFIG GET dir`. If it says `Can't save in background: \
              fork`, the kernel refused the memory: `sysctl vm.overcommit_memory=1` on the host. Then `BGSAVE`, which ends this alert."
            .to_owned(),
        evidence: Vec::new(),
    }
}

fn rdb_save_slow(case: &Case) -> Explanation {
    let age = text::duration(case.value);
    let fork = case.related(FORK).map(|fork| evidence("latest fork", text::duration(fork)));
    Explanation {
        title: format!("background save has run for {age}"),
        detail: format!("The running background save began {age} ago. While it runs, every changed page of memory is held twice."),
        cause: "A slow or shared disk, or a data set too large for it.".to_owned(),
        fix: "See the disk (`iostat -x 5`). Save on a replica instead, give the server a faster disk, or save less often: `CONFIG GET save` has after \
              how many seconds and changes it saves."
            .to_owned(),
        evidence: fork.into_iter().collect(),
    }
}

fn aof_write_failed(_case: &Case) -> Explanation {
    Explanation {
        title: "append-only file cannot be written".to_owned(),
        detail: "The last write to the append-only file failed. The server refuses writes until one succeeds.".to_owned(),
        cause: "The disk is full, failing or read-only.".to_owned(),
        fix: "Make room in the folder of `CONFIG GET dir`: the server tries again every second and continues by itself. Do not restart it \
              before, since what is not in the file yet would be lost."
            .to_owned(),
        evidence: Vec::new(),
    }
}

/// Observes the share of keys that a restart lost. A replica is not judged: it copies its master, which has its own alert. A cache is a
/// warning at most, since its clients fill it again.
fn keys_missing(snapshot: &Snapshot) -> Result<Vec<Observation>, SkipReason> {
    // These metrics belong to the part that the check needs, so they are readable here.
    let value = |metric| snapshot.value(metric).ok().flatten();
    let before = value(KEYS_BEFORE).unwrap_or_default();
    let is_replica = value(REPLICA_LINK_UP).is_some();
    if before < KEYS_BEFORE_MIN || is_replica {
        return Ok(Vec::new());
    }
    let expiring = value(KEYS_EXPIRING_BEFORE).unwrap_or_default();
    let severity_max = if is_cache(snapshot, before, expiring) { Severity::Warning } else { Severity::Critical };
    Ok(each_value(snapshot, KEYS_MISSING)?.into_iter().map(|missing| missing.at_most(severity_max)).collect())
}

/// The share of missing keys at which `data-lost` becomes a warning.
const MISSING_MIN: f64 = 0.9;

/// Whether `data-lost` reports the restart.
pub(crate) fn is_data_lost(snapshot: &Snapshot) -> bool {
    keys_missing(snapshot).is_ok_and(|missing| missing.iter().any(|share| share.value >= MISSING_MIN))
}

fn data_lost(case: &Case) -> Explanation {
    let cli = cli(case.snapshot);
    let missing = if case.value < 1.0 { text::percent(case.value) } else { "all".to_owned() };
    let before = case.related(KEYS_BEFORE).unwrap_or_default();
    let expiring = case.related(KEYS_EXPIRING_BEFORE).map(|expiring| evidence("with an expiry", text::count(expiring)));
    Explanation {
        title: format!("{missing} of the keys are gone since the restart"),
        detail: format!(
            "The server had {} before it restarted, and {} at most since then. This alert ends when half of them are back, or a day after \
             the restart.",
            text::counted(before, "key", "keys"),
            text::count((before * (1.0 - case.value)).round())
        ),
        cause:
            "The server saves nothing (`save \"\"` and `appendonly no`), it was started with another `dir` or `dbfilename`, its volume is \
                empty or not mounted, or it was stopped by `SHUTDOWN NOSAVE` or killed before the first save."
                .to_owned(),
        fix: format!(
            "Look for the files before the next save writes over them: `{cli} CONFIG GET dir`, `{cli} CONFIG GET dbfilename` and `{cli} \
             CONFIG GET appenddirname` say where the server looks. If they are elsewhere, or in a backup: `{cli} SHUTDOWN NOSAVE`, which \
             drops what was written since, put them there, and start the server. A replica that still has the data can take over instead. \
             If the server saves nothing, `{cli} CONFIG SET appendonly yes` and `{cli} CONFIG REWRITE` preserve new data from now on."
        ),
        evidence: [Some(evidence("keys before", text::count(before))), expiring].into_iter().flatten().collect(),
    }
}

fn replica_link_down(case: &Case) -> Explanation {
    Explanation {
        title: "replica has lost its master".to_owned(),
        detail: "The replica's link to its master is down: it serves data that gets older, and cannot take over without loss.".to_owned(),
        cause: "The master or the network is down, the master refuses `masterauth`, or its output buffer for replicas overflowed."
            .to_owned(),
        fix: format!(
            "On the replica: `{} INFO replication` has the master's address, and the end of the log says what fails. If the master refuses the \
             replica, set `masterauth` there to the master's password. If full syncs repeat, `repl-backlog-size` and `client-output-buffer-limit` \
             of the master are smaller than what it writes meanwhile.",
            cli(case.snapshot)
        ),
        evidence: Vec::new(),
    }
}

fn replication_lag(case: &Case) -> Explanation {
    let (replica, behind) = (case.label("replica"), text::bytes(case.value));
    Explanation {
        title: format!("replica {replica} is {behind} behind"),
        detail: format!("Replica {replica} has not acknowledged the last {behind}. A failover to it loses them."),
        cause: "More writes than the network or the replica takes, or a slow command on the replica.".to_owned(),
        fix: format!(
            "`{} INFO replication` has a line for each replica, also where several announce one address. On the replica: `SLOWLOG GET 10` and the \
             disk, if it is loading a full copy; on both: the network's throughput.",
            cli(case.snapshot)
        ),
        evidence: Vec::new(),
    }
}
