//! Checkpoints, writers of buffers, WAL and its archive (pg_stat_bgwriter, pg_stat_checkpointer, pg_stat_wal, pg_stat_archiver).
//!
//! The views differ between versions, the metrics do not. PostgreSQL 17 added a view for the checkpointer, and 18 moved the time of WAL
//! writes to pg_stat_io.

use std::time::Duration;

use futures_util::FutureExt;
use futures_util::future::BoxFuture;
use pharos_model::alert::Now;
use pharos_model::postgres::archiver::Archive;
use pharos_model::postgres::resets::Resets;
use pharos_model::snapshot::{Column, FamiliesBuilder, Family, PartId, Table};

use super::rights::{self, Right};
use super::row::{Fields, query_planned};
use crate::collect::{CollectError, Collector, Facts};
use crate::postgres::monitor::{Session, Versioned};

const PART: PartId = PartId::Wal;

const WAL: Versioned =
    Versioned::new(&[(14, include_str!("sql/wal.sql")), (17, include_str!("sql/wal.17.sql")), (18, include_str!("sql/wal.18.sql"))]);

/// Metrics, each with the column that has its value.
const COLUMNS: [(&str, &str); 10] = [
    ("pharos_postgres_checkpoint_write_time_seconds_total", "checkpoint_write_time"),
    ("pharos_postgres_checkpoint_sync_time_seconds_total", "checkpoint_sync_time"),
    ("pharos_postgres_buffers_allocated_total", "buffers_allocated"),
    ("pharos_postgres_bgwriter_stops_total", "bgwriter_stops"),
    ("pharos_postgres_wal_bytes_total", "wal_bytes"),
    ("pharos_postgres_wal_records_total", "wal_records"),
    ("pharos_postgres_wal_full_page_images_total", "wal_full_page_images"),
    ("pharos_postgres_wal_buffers_full_total", "wal_buffers_full"),
    ("pharos_postgres_wal_write_time_seconds_total", "wal_write_time"),
    ("pharos_postgres_wal_sync_time_seconds_total", "wal_sync_time"),
];
const ARCHIVE_COLUMNS: [(&str, &str); 7] = [
    ("pharos_postgres_checkpoint_age_seconds", "checkpoint_age"),
    ("pharos_postgres_checkpoint_timeout_seconds", "checkpoint_timeout"),
    ("pharos_postgres_wal_since_checkpoint_bytes", "since_checkpoint"),
    ("pharos_postgres_archived_total", "archived"),
    ("pharos_postgres_archive_failures_total", "failures"),
    ("pharos_postgres_archive_last_success_timestamp_seconds", "last_success"),
    ("pharos_postgres_archive_last_failure_timestamp_seconds", "last_failure"),
];
const RESETS: [&str; 4] = ["bgwriter_reset", "checkpointer_reset", "wal_reset", "io_reset"];

/// Reads checkpoints, buffers, WAL and the state of its archive.
pub(super) struct Wal {
    interval: Duration,
    resets: Resets,
    archive: Archive,
}

impl Wal {
    pub(super) fn new(interval: Duration) -> Self {
        Self { interval, resets: Resets::default(), archive: Archive::default() }
    }

    async fn read(&mut self, session: &Session) -> Result<Facts, CollectError> {
        let wal = rights::query_planned(session, PART, Right::Stats, WAL.sql(session.major())).await?;
        let archive = query_planned(session, PART, include_str!("sql/archiver.sql")).await?;
        let (mut families, mut tables, mut resets) = (Vec::new(), Vec::new(), Vec::new());
        for row in wal.iter().map(|row| Fields::new(PART, row)) {
            families.extend(row.scalars(&COLUMNS)?);
            families.extend(by_label(&row)?);
            for column in RESETS {
                resets.push((column.to_owned(), row.number(column)?));
            }
        }
        for row in archive.iter().map(|row| Fields::new(PART, row)) {
            families.extend(row.scalars(&ARCHIVE_COLUMNS)?);
            families.extend(self.archive_states(&row)?);
            tables.push(archiver(&row)?);
            resets.push(("archiver_reset".to_owned(), row.number("archiver_reset")?));
        }
        let epoch = self.resets.epoch(session.epoch(), resets);
        Ok(Facts { epoch, families, tables, ..Facts::default() })
    }

    fn archive_states(&mut self, row: &Fields<'_>) -> Result<Vec<Family>, CollectError> {
        let flag = |flag: bool| f64::from(u8::from(flag));
        let enabled: bool = row.field("archive_enabled")?;
        let [last_success, last_failure] = [row.number("last_success")?, row.number("last_failure")?];
        let failing = self.archive.failing_seconds(last_success, last_failure, row.field("now")?).filter(|_| enabled);
        Ok(vec![
            Family::scalar("pharos_postgres_archive_enabled", flag(enabled)),
            Family::scalar("pharos_postgres_archive_failing", flag(failing.is_some())),
            Family::scalar("pharos_postgres_archive_failing_seconds", failing.unwrap_or(0.0)),
        ])
    }
}

fn by_label(row: &Fields<'_>) -> Result<Vec<Family>, CollectError> {
    let mut checkpoints = FamiliesBuilder::new(&["kind"], &["pharos_postgres_checkpoints_total", "pharos_postgres_restartpoints_total"]);
    for kind in ["timed", "requested"] {
        let count = |what: &str| row.number(&format!("{what}_{kind}"));
        checkpoints.push(&[kind], &[count("checkpoints")?, count("restartpoints")?]);
    }
    let mut written = FamiliesBuilder::new(&["by"], &["pharos_postgres_buffers_written_total"]);
    for (by, column) in
        [("checkpointer", "written_by_checkpointer"), ("bgwriter", "written_by_bgwriter"), ("backend", "written_by_backends")]
    {
        written.push(&[by], &[row.number(column)?]);
    }
    Ok(checkpoints.finish().into_iter().chain(written.finish()).filter(|family| !family.values.is_empty()).collect())
}

fn archiver(row: &Fields<'_>) -> Result<Table, CollectError> {
    let text = |column: &str| Ok::<_, CollectError>(Column::text(column, [row.field::<Option<&str>>(column)?]));
    // Archive attempts since the last reset of the archiver's statistics.
    let attempts = row.number("archived")?.zip(row.number("failures")?).map(|(archived, failed)| (archived + failed) as i64);
    Ok(Table::new("archiver", vec![text("last_archived")?, text("last_failed")?, Column::integer("attempts", [attempts])]))
}

impl Collector<Session> for Wal {
    fn part(&self) -> PartId {
        PART
    }

    fn interval(&self) -> Duration {
        self.interval
    }

    fn collect<'a>(&'a mut self, session: &'a mut Session, _: Now) -> BoxFuture<'a, Result<Facts, CollectError>> {
        self.read(session).boxed()
    }
}
