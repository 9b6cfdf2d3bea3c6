//! What survives the server: its files and its replicas.

use std::time::Duration;

use pharos_plugin::checks::{Case, Check, Explanation, Grading, Scope, each_value, each_zero, evidence};
use pharos_plugin::{Severity, text};

use crate::server::cli;

const RDB_OK: &str = "pharos_redis_rdb_last_save_ok";
const RDB_SAVE_AGE: &str = "pharos_redis_rdb_save_age_seconds";
const FORK: &str = "pharos_redis_fork_seconds";
const AOF_OK: &str = "pharos_redis_aof_last_write_ok";
const REPLICA_LINK_UP: &str = "pharos_redis_replica_link_up";
const REPLICA_LAG_BYTES: &str = "pharos_redis_replica_lag_bytes";

const MIB: f64 = 1_048_576.0;

pub const CHECKS: &[Check] = &[
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
        // The age itself is the delay.
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
        id: "replica-link-down",
        summary: "a replica has lost its master",
        category: "replication",
        scope: Scope::Each,
        labels: &[],
        needs: &[REPLICA_LINK_UP],
        // A second look: the link is down for a moment in every failover.
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
        fix: "Make room in the folder of `CONFIG GET dir`: the server tries again every second and goes on by itself. Do not restart it before, since \
              what is not in the file yet would be lost."
            .to_owned(),
        evidence: Vec::new(),
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
