//! Whether autovacuum may run, how fast, and what its workers do.

use futures_util::FutureExt;
use futures_util::future::BoxFuture;
use pharos_model::snapshot::{Column, Family, PartId, Table};

use super::rights::{Right, query_planned};
use super::row::{Columns, Fields};
use crate::collect::{CollectError, Facts};
use crate::postgres::monitor::{Row, Session};

const PART: PartId = PartId::Autovacuum;

/// Metrics, each with the column that has its value.
const COLUMNS: [(&str, &str); 7] = [
    ("pharos_postgres_autovacuum_workers_max", "workers_max"),
    ("pharos_postgres_autovacuum_cost_delay_seconds", "cost_delay"),
    ("pharos_postgres_autovacuum_cost_limit", "cost_limit"),
    ("pharos_postgres_autovacuum_freeze_max_age_transactions", "freeze_max_age"),
    ("pharos_postgres_autovacuum_multixact_freeze_max_age_transactions", "multixact_freeze_max_age"),
    ("pharos_postgres_vacuum_failsafe_age_transactions", "failsafe_age"),
    ("pharos_postgres_vacuum_multixact_failsafe_age_transactions", "multixact_failsafe_age"),
];

pub(super) fn collect(session: &Session) -> BoxFuture<'_, Result<Facts, CollectError>> {
    read(session).boxed()
}

async fn read(session: &Session) -> Result<Facts, CollectError> {
    let rows = query_planned(session, PART, Right::Stats, include_str!("sql/autovacuum.sql")).await?;
    let mut families = Vec::new();
    if let Some(row) = rows.first().map(|row| Fields::new(PART, row)) {
        families.extend(row.scalars(&COLUMNS)?);
        for (metric, column) in [("pharos_postgres_autovacuum_enabled", "enabled"), ("pharos_postgres_track_counts", "track_counts")] {
            families.push(Family::scalar(metric, f64::from(u8::from(row.field::<bool>(column)?))));
        }
    }
    // Without a worker there is one row, which has the settings alone.
    let is_worker = |row: &&Row| Ok(Fields::new(PART, row).field::<Option<i64>>("pid")?.is_some());
    let workers: Vec<&Row> = rows
        .iter()
        .map(|row| is_worker(&row).map(|is| is.then_some(row)))
        .filter_map(Result::transpose)
        .collect::<Result<_, CollectError>>()?;
    families.push(Family::scalar("pharos_postgres_autovacuum_workers", workers.len() as f64));
    Ok(Facts { epoch: session.epoch(), families, tables: vec![table(&Columns::new(PART, workers))?], ..Facts::default() })
}

fn table(rows: &Columns<'_>) -> Result<Table, CollectError> {
    let works: Vec<Option<Work<'_>>> = rows.texts("query")?.into_iter().map(|query| query.and_then(Work::of)).collect();
    let columns = vec![
        rows.integer("pid")?,
        rows.text("datname")?,
        Column::text("relation", works.iter().map(|work| work.as_ref().map(|work| work.relation))),
        rows.float("seconds", "seconds")?,
        Column::boolean("is_wraparound", works.iter().map(|work| Some(work.as_ref().is_some_and(|work| work.is_wraparound)))),
    ];
    Ok(Table::new("autovacuum_workers", columns))
}

/// The work of a worker, read from its query text: `autovacuum: VACUUM ANALYZE public.orders (to prevent wraparound)`.
struct Work<'a> {
    relation: &'a str,
    is_wraparound: bool,
}

impl<'a> Work<'a> {
    fn of(query: &'a str) -> Option<Self> {
        let rest = query.strip_prefix("autovacuum: ")?;
        let work = ["VACUUM ANALYZE ", "VACUUM ", "ANALYZE ", "BRIN summarize "].iter().find_map(|work| rest.strip_prefix(work))?;
        let for_wraparound = work.strip_suffix(" (to prevent wraparound)");
        Some(Self { relation: for_wraparound.unwrap_or(work), is_wraparound: for_wraparound.is_some() })
    }
}
