//! Reads and writes by process type and purpose (pg_stat_io, PostgreSQL 16 and newer), and the caches of transaction states (pg_stat_slru).

use std::time::Duration;

use futures_util::FutureExt;
use futures_util::future::BoxFuture;
use pharos_model::alert::Now;
use pharos_model::postgres::resets::Resets;
use pharos_model::snapshot::{FamiliesBuilder, Family, PartId};

use super::rights::{self, Right};
use super::row::{Fields, query_planned};
use crate::collect::{CollectError, Collector, Facts};
use crate::postgres::monitor::{Row, Session, Versioned};

const PART: PartId = PartId::Io;

const IO: Versioned = Versioned::new(&[(16, include_str!("sql/io.16.sql")), (18, include_str!("sql/io.18.sql"))]);
/// The first version with pg_stat_io.
const IO_MAJOR_MIN: u32 = 16;

/// Metrics, each with the column that has its value.
const IO_COLUMNS: [(&str, &str); 10] = [
    ("pharos_postgres_io_reads_total", "reads"),
    ("pharos_postgres_io_read_bytes_total", "read_bytes"),
    ("pharos_postgres_io_read_time_seconds_total", "read_time"),
    ("pharos_postgres_io_writes_total", "writes"),
    ("pharos_postgres_io_write_bytes_total", "write_bytes"),
    ("pharos_postgres_io_write_time_seconds_total", "write_time"),
    ("pharos_postgres_io_extends_total", "extends"),
    ("pharos_postgres_io_hits_total", "hits"),
    ("pharos_postgres_io_evictions_total", "evictions"),
    ("pharos_postgres_io_fsyncs_total", "fsyncs"),
];
const IO_LABELS: [&str; 3] = ["backend_type", "object", "context"];
const SLRU_COLUMNS: [(&str, &str); 5] = [
    ("pharos_postgres_slru_blocks_hit_total", "blocks_hit"),
    ("pharos_postgres_slru_blocks_read_total", "blocks_read"),
    ("pharos_postgres_slru_blocks_written_total", "blocks_written"),
    ("pharos_postgres_slru_blocks_zeroed_total", "blocks_zeroed"),
    ("pharos_postgres_slru_flushes_total", "flushes"),
];

/// Reads pg_stat_io and pg_stat_slru.
pub(super) struct Io {
    interval: Duration,
    resets: Resets,
}

impl Io {
    pub(super) fn new(interval: Duration) -> Self {
        Self { interval, resets: Resets::default() }
    }

    async fn read(&mut self, session: &Session) -> Result<Facts, CollectError> {
        let slru = rights::query_planned(session, PART, Right::Stats, include_str!("sql/slru.sql")).await?;
        let mut families = families(&slru, &["slru"], &SLRU_COLUMNS)?;
        let mut resets = resets(&slru, &["slru"])?;
        if session.major() >= IO_MAJOR_MIN {
            let io = query_planned(session, PART, IO.sql(session.major())).await?;
            families.extend(self::families(&io, &IO_LABELS, &IO_COLUMNS)?);
            resets.extend(self::resets(&io, &IO_LABELS)?);
        }
        let epoch = self.resets.epoch(session.epoch(), resets);
        Ok(Facts { epoch, families, ..Facts::default() })
    }
}

fn families(rows: &[Row], labels: &[&str], columns: &[(&'static str, &str)]) -> Result<Vec<Family>, CollectError> {
    let metrics: Vec<&'static str> = columns.iter().map(|(metric, _)| *metric).collect();
    let mut families = FamiliesBuilder::new(labels, &metrics);
    for row in rows.iter().map(|row| Fields::new(PART, row)) {
        let texts = labels.iter().map(|label| row.text(label)).collect::<Result<Vec<_>, _>>()?;
        let values = columns.iter().map(|(_, column)| row.number(column)).collect::<Result<Vec<_>, _>>()?;
        families.push(&texts, &values);
    }
    Ok(families.finish())
}

fn resets(rows: &[Row], labels: &[&str]) -> Result<Vec<(String, Option<f64>)>, CollectError> {
    let reset = |row: &Row| {
        let row = Fields::new(PART, row);
        let name = labels.iter().map(|label| row.text(label)).collect::<Result<Vec<_>, _>>()?.join("/");
        Ok((name, row.number("stats_reset")?))
    };
    rows.iter().map(reset).collect()
}

impl Collector<Session> for Io {
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
