//! Vacuum, caches, temporary files and the pages themselves.

use std::time::Duration;

use pharos_plugin::checks::{Case, Check, Direction, Explanation, Grading, Observation, Thresholds, each_rate, each_value, evidence, top};
use pharos_plugin::{Label, Reading, SkipReason, Snapshot, text};

const XID_AGE: &str = "pharos_postgres_xid_age_transactions";
const MULTIXACT_AGE: &str = "pharos_postgres_multixact_age_transactions";
const XMIN_AGE: &str = "pharos_postgres_xmin_age_max_transactions";
const TRANSACTION_AGE: &str = "pharos_postgres_transaction_age_max_seconds";
const BLOCKS_HIT: &str = "pharos_postgres_blocks_hit_total";
const BLOCKS_READ: &str = "pharos_postgres_blocks_read_total";
const CHECKSUM_FAILURES: &str = "pharos_postgres_checksum_failures_total";
const TEMP_BYTES: &str = "pharos_postgres_temp_bytes_total";
const STATEMENT_TEMP_BLOCKS: &str = "pharos_postgres_statement_temp_blocks_written_total";

const MIB: f64 = 1_048_576.0;

/// How many ids can be told from each other; PostgreSQL stops a few million before.
const WRAPAROUND: f64 = 2_147_483_648.0;

/// Below this traffic a hit ratio is chance: 50,000 blocks in ten seconds.
const CACHE_TRAFFIC_MIN: f64 = 5_000.0;

pub const CHECKS: &[Check] = &[
    Check {
        id: "wraparound-risk",
        summary: "transaction ids run out",
        category: "maintenance",
        labels: &["datname"],
        needs: &[XID_AGE, MULTIXACT_AGE],
        hold_off: Duration::from_mins(10),
        keep_firing: Duration::from_mins(10),
        // Anti-wraparound vacuum starts at 200 million (multixacts: 400): beyond 500 it does not keep up.
        grading: Grading::rising(500e6, 1e9, 400e6),
        observe: ages,
        explain: wraparound_risk,
    },
    Check {
        id: "vacuum-held-back",
        summary: "an old snapshot keeps vacuum from cleaning",
        category: "maintenance",
        labels: &[],
        needs: &[XMIN_AGE],
        hold_off: Duration::from_mins(10),
        keep_firing: Duration::ZERO,
        grading: Grading::rising(10e6, 100e6, 5e6),
        observe: |snapshot| each_value(snapshot, XMIN_AGE),
        explain: vacuum_held_back,
    },
    Check {
        id: "cache-hit-low",
        summary: "many blocks are read from outside shared buffers",
        category: "performance",
        labels: &["datname"],
        needs: &[BLOCKS_HIT, BLOCKS_READ],
        // A cold start and a nightly dump pass.
        hold_off: Duration::from_mins(10),
        keep_firing: Duration::from_mins(10),
        grading: Grading::falling(0.95, 0.85, 0.97),
        observe: hit_ratios,
        explain: cache_hit_low,
    },
    Check {
        id: "checksum-failure",
        summary: "data pages are corrupt",
        category: "storage",
        labels: &["datname"],
        needs: &[CHECKSUM_FAILURES],
        hold_off: Duration::ZERO,
        keep_firing: Duration::ZERO,
        grading: Grading::Scale(Direction::Rising, Thresholds { info: None, warning: None, critical: Some(1.0), clear: 0.0 }),
        observe: |snapshot| each_value(snapshot, CHECKSUM_FAILURES),
        explain: checksum_failure,
    },
    Check {
        id: "temp-file-spill",
        summary: "statements spill to temporary files",
        category: "performance",
        labels: &["datname"],
        needs: &[TEMP_BYTES],
        hold_off: Duration::from_mins(5),
        keep_firing: Duration::from_mins(5),
        grading: Grading::rising(10.0 * MIB, 100.0 * MIB, 5.0 * MIB),
        observe: |snapshot| each_rate(snapshot, TEMP_BYTES),
        explain: temp_file_spill,
    },
];

/// Both counters can run out; the label tells which.
fn ages(snapshot: &Snapshot) -> Result<Vec<Observation>, SkipReason> {
    let mut observations = Vec::new();
    for (counter, metric) in [("xid", XID_AGE), ("multixact", MULTIXACT_AGE)] {
        for mut observation in each_value(snapshot, metric)? {
            observation.labels.push(Label { name: "counter".to_owned(), value: counter.to_owned() });
            observations.push(observation);
        }
    }
    Ok(observations)
}

fn hit_ratios(snapshot: &Snapshot) -> Result<Vec<Observation>, SkipReason> {
    let reads = each_rate(snapshot, BLOCKS_READ)?;
    let ratio = |hit: Observation| {
        let read = reads.iter().find(|read| read.labels == hit.labels)?.value;
        let blocks = hit.value + read;
        (blocks >= CACHE_TRAFFIC_MIN).then(|| Observation { value: hit.value / blocks, labels: hit.labels })
    };
    Ok(each_rate(snapshot, BLOCKS_HIT)?.into_iter().filter_map(ratio).collect())
}

fn wraparound_risk(case: &Case) -> Explanation {
    let datname = case.label("datname");
    let (what, relation_age) = match case.label("counter") {
        "multixact" => ("multixact id", "mxid_age(relminmxid)"),
        _ => ("transaction id", "age(relfrozenxid)"),
    };
    let age = text::count(case.value);
    let used = text::percent(case.value / WRAPAROUND);
    Explanation {
        title: format!("oldest {what} in {datname} is {age} old"),
        detail: format!(
            "Database {datname} has not frozen its oldest {what} for {age} transactions, {used} of what there is. Shortly before \
             the end PostgreSQL refuses all writes."
        ),
        cause: "Autovacuum cannot finish freezing: it is too slow for the writes, is cancelled again and again, or is held back by an \
                old snapshot, a prepared transaction or a replication slot."
            .to_owned(),
        fix: format!(
            "In {datname}: `SELECT oid::regclass, {relation_age} FROM pg_class WHERE relkind IN ('r', 'm', 't') ORDER BY 2 DESC LIMIT 10;` \
             and `VACUUM (FREEZE, VERBOSE)` the first. Look for what holds it back in pg_prepared_xacts, pg_replication_slots and \
             pg_stat_activity, and give autovacuum more: autovacuum_vacuum_cost_limit."
        ),
        evidence: vec![evidence("used of the id space", used)],
    }
}

fn vacuum_held_back(case: &Case) -> Explanation {
    let age = text::count(case.value);
    let oldest = case.related(TRANSACTION_AGE).map(|age| evidence("oldest transaction", text::duration(age)));
    Explanation {
        title: format!("a snapshot {age} transactions old holds vacuum back"),
        detail: format!(
            "A backend holds a snapshot from {age} transactions ago. Rows deleted since then stay, so tables and indexes bloat."
        ),
        cause: "A transaction left open, a very long query, or a standby with hot_standby_feedback that runs one.".to_owned(),
        fix: "`SELECT pid, usename, application_name, state, age(backend_xmin) FROM pg_stat_activity WHERE backend_xmin IS NOT NULL \
              ORDER BY 5 DESC LIMIT 5;` and end the first with `SELECT pg_terminate_backend(pid);`."
            .to_owned(),
        evidence: oldest.into_iter().collect(),
    }
}

fn cache_hit_low(case: &Case) -> Explanation {
    let datname = case.label("datname");
    let ratio = text::percent(case.value);
    Explanation {
        title: format!("cache hit ratio of {datname} is {ratio}"),
        detail: format!("Only {ratio} of the blocks that {datname} asked for were in shared buffers; the rest came from outside."),
        cause: "The data in use is larger than shared_buffers, or statements scan whole tables for want of an index.".to_owned(),
        fix: "First the scans: `SELECT relname, seq_scan, seq_tup_read FROM pg_stat_user_tables ORDER BY 3 DESC LIMIT 10;` and index what \
              they filter by. Then `ALTER SYSTEM SET shared_buffers = …` towards a quarter of the memory, which needs a restart."
            .to_owned(),
        evidence: top(case.snapshot, BLOCKS_READ, Reading::Rate, 3, |rate| format!("{} blocks/s read", text::count(rate))),
    }
}

fn checksum_failure(case: &Case) -> Explanation {
    let datname = case.label("datname");
    let count = text::count(case.value);
    Explanation {
        title: format!("data pages of {datname} are corrupt"),
        detail: format!(
            "Checksum failures in {datname} since its statistics were reset: {count}. What is on disk is not what was written."
        ),
        cause: "A failing disk, controller or memory, or storage that does not keep its word about fsync.".to_owned(),
        fix: "Fail over to a standby whose disks are sound, keep the broken data directory, and restore what is lost from a backup. The \
              server's log names file and block; `SELECT * FROM pg_stat_database;` the time of the last failure. After the repair, \
              `SELECT pg_stat_reset();` in the database ends this alert."
            .to_owned(),
        evidence: Vec::new(),
    }
}

fn temp_file_spill(case: &Case) -> Explanation {
    let datname = case.label("datname");
    let rate = text::bytes(case.value);
    Explanation {
        title: format!("{datname} spills {rate}/s to temporary files"),
        detail: format!("Sorts, hashes and the like in {datname} do not fit into work_mem and write {rate} a second to disk."),
        cause: "work_mem is too small for what the statements sort or hash, or an index that would spare the sort is missing.".to_owned(),
        fix: "Let the server name them: `ALTER SYSTEM SET log_temp_files = '10MB'; SELECT pg_reload_conf();`. Then raise it where it is \
              needed, not for all: `ALTER ROLE report SET work_mem = '256MB';`."
            .to_owned(),
        evidence: top(case.snapshot, STATEMENT_TEMP_BLOCKS, Reading::Rate, 3, |rate| format!("{} blocks/s", text::count(rate))),
    }
}
