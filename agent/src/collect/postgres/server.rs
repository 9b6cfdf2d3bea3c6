//! The server's report about itself: version, cluster, role in replication, timeline, start.

use std::time::Duration;

use futures_util::FutureExt;
use futures_util::future::BoxFuture;
use pharos_model::alert::Now;
use pharos_model::cluster::Cluster;
use pharos_model::restarts::RunReading;
use pharos_model::snapshot::{Column, FamiliesBuilder, Family, PartId, Table};

use super::row::{Fields, query};
use crate::collect::restarts::Restarts;
use crate::collect::{CollectError, Collector, Facts, Notebook};
use crate::postgres::monitor::Session;

const PART: PartId = PartId::Server;

/// Reads version, role, timeline, identity and restarts of the server.
pub(super) struct Server {
    interval: Duration,
    restarts: Restarts,
}

impl Server {
    pub(super) fn new(interval: Duration, notebook: Notebook) -> Self {
        Self { interval, restarts: Restarts::new(PART, notebook) }
    }

    async fn read(&mut self, session: &Session, now: Now) -> Result<Facts, CollectError> {
        let rows = query(session, PART, include_str!("sql/server.sql")).await?;
        let mut families = Vec::new();
        let mut tables = Vec::new();
        for row in &rows {
            let row = Fields::new(PART, row);
            let in_recovery: bool = row.field("in_recovery")?;
            families.push(Family::scalar("pharos_postgres_in_recovery", f64::from(u8::from(in_recovery))));
            let timeline: Option<i64> = row.field("timeline")?;
            families.extend(timeline.map(|timeline| Family::scalar("pharos_postgres_timeline", timeline as f64)));
            if let Some(started) = row.number("started_at")? {
                families.push(Family::scalar("pharos_postgres_start_timestamp_seconds", started));
            }
            tables.push(identity(session, &row)?);
            if let Some(reading) = run(&row)? {
                let restarts = self.restarts.read(&Cluster::new(session.system_identifier()), reading, now).await;
                tables.extend(restarts.map(|columns| Table::new("restarts", columns)));
            }
        }
        let mut info = FamiliesBuilder::new(&["version"], &["pharos_postgres_info"]);
        info.push(&[session.version()], &[Some(1.0)]);
        families.extend(info.finish());
        Ok(Facts { epoch: session.epoch(), families, tables, ..Facts::default() })
    }
}

impl Collector<Session> for Server {
    fn part(&self) -> PartId {
        PART
    }

    fn is_essential(&self) -> bool {
        true
    }

    fn interval(&self) -> Duration {
        self.interval
    }

    fn collect<'a>(&'a mut self, session: &'a mut Session, now: Now) -> BoxFuture<'a, Result<Facts, CollectError>> {
        self.read(session, now).boxed()
    }
}

/// Reads when the server and its processes started, if the server reports it.
fn run(row: &Fields<'_>) -> Result<Option<RunReading>, CollectError> {
    let (read_at, started_at) = (row.number("read_at")?, row.number("started_at")?);
    let (checkpointer_started_at, statistics_began_at) = (row.number("checkpointer_started_at")?, row.number("statistics_began_at")?);
    let times = read_at.zip(started_at);
    Ok(times.map(|(read_at, started_at)| RunReading { read_at, started_at, run_id: None, checkpointer_started_at, statistics_began_at }))
}

/// Makes the table with identity and position of the server. The topology of its database is computed from it.
fn identity(session: &Session, row: &Fields<'_>) -> Result<Table, CollectError> {
    Ok(Table::new(
        "identity",
        vec![
            Column::text("system_identifier", [session.system_identifier()]),
            Column::integer("timeline", [row.field("timeline")?]),
            Column::boolean("in_recovery", [row.field("in_recovery")?]),
            Column::integer("lsn_bytes", [row.field("lsn_bytes")?]),
            Column::integer("received_lsn_bytes", [row.field("received_lsn_bytes")?]),
            Column::float("started_at", "seconds", [row.number("started_at")?]),
        ],
    ))
}
