//! Checks of storage: cache hits, temporary files, and checksums of data pages.

use std::time::Duration;

use pharos_plugin::checks::{
    Case, Check, Direction, Explanation, Grading, Observation, Scope, Thresholds, each_rate, each_value, each_zero, label, top,
};
use pharos_plugin::{Reading, Severity, SkipReason, Snapshot, text};

const BLOCKS_HIT: &str = "pharos_postgres_blocks_hit_total";
const BLOCKS_READ: &str = "pharos_postgres_blocks_read_total";
const CHECKSUM_FAILURES: &str = "pharos_postgres_checksum_failures_total";
const TEMP_BYTES: &str = "pharos_postgres_temp_bytes_total";
const CHECKSUMS_ENABLED: &str = "pharos_postgres_checksums_enabled";
const TEMPORARY_FILES: &str = "pharos_postgres_temporary_files_size_bytes";
const STATEMENT_TEMP_BLOCKS: &str = "pharos_postgres_statement_temp_blocks_written_total";

const MIB: f64 = 1_048_576.0;
const GIB: f64 = 1_073_741_824.0;

/// Blocks per second from which on a hit ratio is judged. A ratio of less traffic may be chance.
const CACHE_TRAFFIC_MIN: f64 = 5_000.0;

pub(crate) const CHECKS: &[Check] = &[
    Check {
        id: "cache-hit-low",
        summary: "many blocks are read from outside shared buffers, judged from 5,000 blocks a second on",
        category: "performance",
        scope: Scope::Each,
        labels: &["datname"],
        needs: &[BLOCKS_HIT, BLOCKS_READ],
        // A cold start or a nightly dump ends within this time.
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
        scope: Scope::Each,
        labels: &["datname"],
        needs: &[CHECKSUM_FAILURES],
        hold_off: Duration::ZERO,
        keep_firing: Duration::ZERO,
        grading: Grading::Scale(Direction::Rising, Thresholds { info: None, warning: None, critical: Some(1.0), clear: 0.0 }),
        observe: checksum_failures,
        explain: checksum_failure,
    },
    Check {
        id: "temp-file-spill",
        summary: "statements spill to temporary files",
        category: "performance",
        scope: Scope::Each,
        labels: &["datname"],
        needs: &[TEMP_BYTES],
        hold_off: Duration::from_mins(5),
        keep_firing: Duration::from_mins(5),
        grading: Grading::rising(10.0 * MIB, 100.0 * MIB, 5.0 * MIB),
        observe: |snapshot| each_rate(snapshot, TEMP_BYTES),
        explain: temp_file_spill,
    },
    Check {
        id: "temporary-files-large",
        summary: "temporary files take much of the disk",
        category: "storage",
        scope: Scope::Each,
        labels: &[],
        needs: &[TEMPORARY_FILES],
        hold_off: Duration::ZERO,
        keep_firing: Duration::ZERO,
        grading: Grading::rising(20.0 * GIB, 100.0 * GIB, 10.0 * GIB),
        observe: |snapshot| each_value(snapshot, TEMPORARY_FILES),
        explain: temporary_files_large,
    },
    Check {
        id: "checksums-off",
        summary: "data pages have no checksums",
        category: "storage",
        scope: Scope::Shared,
        labels: &[],
        needs: &[CHECKSUMS_ENABLED],
        hold_off: Duration::ZERO,
        keep_firing: Duration::ZERO,
        grading: Grading::Fact(Severity::Info),
        observe: |snapshot| each_zero(snapshot, CHECKSUMS_ENABLED),
        explain: checksums_off,
    },
];

/// The agent's table of counts that a server lost with its statistics.
const LOST_COUNTERS: &str = "lost_counters";

/// Observes the checksum failures of each datname. A crash deletes the server's statistics but repairs no page. The earlier count therefore
/// stays in force until a person resets the statistics. While the agent has no earlier count, a count of 0 is unknown, not fine.
fn checksum_failures(snapshot: &Snapshot) -> Result<Vec<Observation>, SkipReason> {
    let mut all = each_value(snapshot, CHECKSUM_FAILURES)?;
    let Some(lost) = snapshot.table(LOST_COUNTERS) else { return Ok(all) };
    let is_of = |one: &Observation, datname: &str| one.labels.iter().any(|label| label.name == "datname" && label.value == datname);
    for row in (0..lost.row_count()).filter(|row| lost.has("metric", *row, CHECKSUM_FAILURES)) {
        match (lost.text("datname", row), lost.number("counted", row)) {
            (Some(datname), Some(counted)) => match all.iter_mut().find(|one| is_of(one, &datname)) {
                Some(one) if one.value > 0.0 => {}
                Some(one) => one.value = counted,
                None => all.push(Observation::new(vec![label("datname", datname)], counted)),
            },
            (datname, _) => {
                let why = "the count from before the start of the agent is not loaded yet: its store has not answered".to_owned();
                let labels = datname.map(|datname| label("datname", datname)).into_iter().collect();
                all.push(Observation::unknown(labels, SkipReason::PartFailed(why)));
            }
        }
    }
    Ok(all)
}

fn hit_ratios(snapshot: &Snapshot) -> Result<Vec<Observation>, SkipReason> {
    let reads = each_rate(snapshot, BLOCKS_READ)?;
    let ratio = |hit: Observation| {
        let read = reads.iter().find(|read| read.labels == hit.labels)?.value;
        let blocks = hit.value + read;
        (blocks >= CACHE_TRAFFIC_MIN).then(|| Observation::new(hit.labels, hit.value / blocks))
    };
    Ok(each_rate(snapshot, BLOCKS_HIT)?.into_iter().filter_map(ratio).collect())
}

fn cache_hit_low(case: &Case) -> Explanation {
    let datname = case.label("datname");
    let ratio = text::percent(case.value);
    Explanation {
        title: format!("cache hit ratio of {datname} is {ratio}"),
        detail: format!("Only {ratio} of the blocks that {datname} asked for were in shared buffers; the rest came from outside."),
        cause: "The data in use is larger than shared_buffers, or statements scan whole tables because an index is missing.".to_owned(),
        fix: "First find the scans: `BEGIN; SET LOCAL search_path = pg_catalog; SELECT relname, seq_scan, seq_tup_read FROM \
              pg_stat_user_tables ORDER BY 3 DESC LIMIT 10; COMMIT;` and index what they filter by. Then `ALTER SYSTEM SET shared_buffers \
              = <more>;` towards a quarter of the memory, which needs a restart."
            .to_owned(),
        evidence: top(case.snapshot, BLOCKS_READ, Reading::Rate, 3, |rate| format!("{} blocks/s read", text::count(rate))),
    }
}

fn checksum_failure(case: &Case) -> Explanation {
    let datname = case.label("datname");
    let count = text::count(case.value);
    // The metric has the present count of the server, which is lower after lost statistics.
    let is_lost = case.related_series(CHECKSUM_FAILURES).is_none_or(|counted| counted < case.value);
    let since = if is_lost { "before a crash deleted its statistics, which repairs no page" } else { "since its statistics were reset" };
    Explanation {
        title: format!("data pages of {datname} are corrupt"),
        detail: format!("Checksum failures in {datname} {since}: {count}. What is on disk is not what was written."),
        cause: "A failing disk, controller or memory, or storage that confirms an fsync before the data is on disk.".to_owned(),
        fix:
            "Fail over to a standby with healthy disks, keep the broken data directory, and restore lost data from a backup. The server's \
             log names file and block; `BEGIN; SET LOCAL search_path = pg_catalog; SELECT * FROM pg_stat_database; COMMIT;` the time of \
             the last failure. After the repair, `SELECT pg_catalog.pg_stat_reset();` in the database ends this alert."
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
        cause: "work_mem is too small for what the statements sort or hash, or an index that would avoid the sort is missing.".to_owned(),
        fix: "Let the server log the statements: `ALTER SYSTEM SET log_temp_files = '10MB'; SELECT pg_catalog.pg_reload_conf();`. Then \
              raise work_mem where it is needed, not for all roles: `ALTER ROLE <role> SET work_mem = '256MB';`."
            .to_owned(),
        evidence: top(case.snapshot, STATEMENT_TEMP_BLOCKS, Reading::Rate, 3, |rate| format!("{} blocks/s", text::count(rate))),
    }
}

fn temporary_files_large(case: &Case) -> Explanation {
    let size = text::bytes(case.value);
    Explanation {
        title: format!("temporary files take {size}"),
        detail: format!("Sorts, hashes and held cursors of running statements keep {size} on disk. When it is full, every writer fails."),
        cause: "A statement that joins or sorts far more rows than it was written for, or many of them at once.".to_owned(),
        fix: "Find the sessions that wait for them: `BEGIN; SET LOCAL search_path = pg_catalog; SELECT pid, usename, wait_event, \
              query_start FROM pg_stat_activity WHERE wait_event IN ('BuffileRead', 'BuffileWrite', 'BufFileRead', 'BufFileWrite'); \
              COMMIT;` and limit the files of each session: `ALTER SYSTEM SET temp_file_limit = '<size>'; SELECT \
              pg_catalog.pg_reload_conf();`."
            .to_owned(),
        evidence: top(case.snapshot, TEMP_BYTES, Reading::Rate, 3, |rate| format!("{}/s", text::bytes(rate))),
    }
}

fn checksums_off(_: &Case) -> Explanation {
    Explanation {
        title: "data pages have no checksums".to_owned(),
        detail: "A page that the disk returns damaged is read as if it were correct, and the damage spreads to backups and standbys."
            .to_owned(),
        cause: "The cluster was made by `initdb` before PostgreSQL 18, which left checksums off unless they were requested.".to_owned(),
        fix: "Stop the server cleanly, run `pg_checksums --enable --progress -D <data_directory>`, and start it again; standbys likewise, \
              each before it streams again."
            .to_owned(),
        evidence: Vec::new(),
    }
}
