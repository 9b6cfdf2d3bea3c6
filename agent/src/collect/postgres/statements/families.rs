//! The series of statements.

use std::collections::BTreeSet;

use pharos_model::postgres::statements::{Detail, DetailSet, StatementDelta, StatementKey, StatementSeries};
use pharos_model::snapshot::Unlisted;
use pharos_model::snapshot::{FamiliesBuilder, Family};

const COUNTERS: [&str; 6] = [
    "pharos_postgres_statement_calls_total",
    "pharos_postgres_statement_time_seconds_total",
    "pharos_postgres_statement_rows_total",
    "pharos_postgres_statement_blocks_hit_total",
    "pharos_postgres_statement_blocks_read_total",
    "pharos_postgres_statement_temp_blocks_written_total",
];
/// Counters that a statement has only after they counted something. `other` has them if the extension counts them.
const DETAILS: [(Detail, &str); 17] = [
    (Detail::Plans, "pharos_postgres_statement_plans_total"),
    (Detail::PlanSeconds, "pharos_postgres_statement_plan_time_seconds_total"),
    (Detail::SharedBlocksDirtied, "pharos_postgres_statement_blocks_dirtied_total"),
    (Detail::SharedBlocksWritten, "pharos_postgres_statement_blocks_written_total"),
    (Detail::LocalBlocksHit, "pharos_postgres_statement_local_blocks_hit_total"),
    (Detail::LocalBlocksRead, "pharos_postgres_statement_local_blocks_read_total"),
    (Detail::LocalBlocksDirtied, "pharos_postgres_statement_local_blocks_dirtied_total"),
    (Detail::LocalBlocksWritten, "pharos_postgres_statement_local_blocks_written_total"),
    (Detail::TempBlocksRead, "pharos_postgres_statement_temp_blocks_read_total"),
    (Detail::BlockReadSeconds, "pharos_postgres_statement_block_read_time_seconds_total"),
    (Detail::BlockWriteSeconds, "pharos_postgres_statement_block_write_time_seconds_total"),
    (Detail::TempBlockReadSeconds, "pharos_postgres_statement_temp_block_read_time_seconds_total"),
    (Detail::TempBlockWriteSeconds, "pharos_postgres_statement_temp_block_write_time_seconds_total"),
    (Detail::WalRecords, "pharos_postgres_statement_wal_records_total"),
    (Detail::WalFullPageImages, "pharos_postgres_statement_wal_full_page_images_total"),
    (Detail::WalBytes, "pharos_postgres_statement_wal_bytes_total"),
    (Detail::JitSeconds, "pharos_postgres_statement_jit_time_seconds_total"),
];
const WINDOW: [&str; 2] = ["pharos_postgres_statement_mean_time_seconds", "pharos_postgres_statement_time_p95_estimate_seconds"];
const LABELS: [&str; 4] = ["datname", "user", "fingerprint", "toplevel"];

/// Makes the series of statements. `counted` is the set of details that the extension counts.
pub(super) fn series<'a>(series: impl Iterator<Item = StatementSeries<'a>>, counted: DetailSet) -> Vec<Family> {
    let mut families = FamiliesBuilder::new(&LABELS, &COUNTERS);
    let mut details = FamiliesBuilder::new(&LABELS, &DETAILS.map(|(_, metric)| metric));
    for StatementSeries { key, counters, shown } in series {
        let values = [
            counters.calls as f64,
            counters.seconds,
            counters.rows as f64,
            counters.shared_blocks_hit as f64,
            counters.shared_blocks_read as f64,
            counters.temp_blocks_written as f64,
        ];
        let detail = |(detail, _)| (shown.contains(detail) && counted.contains(detail)).then(|| counters.details[detail]);
        with_labels(key, |labels| {
            families.push(labels, &values.map(Some));
            details.push(labels, &DETAILS.map(detail));
        });
    }
    let mut families = families.finish();
    families.extend(details.finish().into_iter().filter(|family| !family.values.is_empty()));
    families
}

/// Makes the two metrics of the latest window. Only statements with a series of their own have them: a mean of all others is useless.
pub(super) fn windows<'a>(series: impl Iterator<Item = StatementSeries<'a>>, deltas: &[StatementDelta]) -> Vec<Family> {
    let mut families = FamiliesBuilder::new(&LABELS, &WINDOW);
    for key in series.filter_map(|series| series.key) {
        let Ok(index) = deltas.binary_search_by(|delta| delta.key.cmp(key)) else { continue };
        let Some(window) = deltas[index].window else { continue };
        with_labels(Some(key), |labels| families.push(labels, &[Some(window.mean_seconds), Some(window.p95_seconds)]));
    }
    families.finish()
}

/// Lists statements that ran and have no series of their own. A statement that did not run counts as gone.
pub(super) fn unlisted<'a>(series: impl Iterator<Item = StatementSeries<'a>>, deltas: &[StatementDelta]) -> Unlisted {
    let listed: BTreeSet<&StatementKey> = series.filter_map(|series| series.key).collect();
    let others = deltas.iter().filter(|delta| delta.counters.calls > 0 && !listed.contains(&delta.key));
    let named: Vec<(&StatementKey, String)> = others.map(|delta| (&delta.key, delta.key.fingerprint())).collect();
    Unlisted::of(named.iter().map(|(key, fingerprint)| {
        let values = [key.datname.as_str(), key.user.as_str(), fingerprint.as_str(), if key.toplevel { "true" } else { "false" }];
        LABELS.into_iter().zip(values)
    }))
}

/// Calls `push` with the labels of a series. `other` has only its fingerprint; its other labels are empty.
fn with_labels(key: Option<&StatementKey>, mut push: impl FnMut(&[&str])) {
    match key {
        Some(key) => push(&[&key.datname, &key.user, &key.fingerprint(), if key.toplevel { "true" } else { "false" }]),
        None => push(&["", "", "other", ""]),
    }
}
