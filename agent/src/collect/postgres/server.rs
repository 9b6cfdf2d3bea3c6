//! What the server says of itself: version, cluster, role in replication, timeline, start.

use futures_util::FutureExt;
use futures_util::future::BoxFuture;
use pharos_model::snapshot::{Column, FamiliesBuilder, Family, Table};

use super::row::{Fields, query};
use crate::collect::{CollectError, Facts};
use crate::postgres::Session;

pub const NAME: &str = "server";

pub fn collect(session: &Session) -> BoxFuture<'_, Result<Facts, CollectError>> {
    read(session).boxed()
}

async fn read(session: &Session) -> Result<Facts, CollectError> {
    let rows = query(session, NAME, include_str!("sql/server.sql")).await?;
    let mut families = Vec::new();
    let mut tables = Vec::new();
    for row in &rows {
        let row = Fields::new(NAME, row);
        let in_recovery: bool = row.field("in_recovery")?;
        families.push(Family::scalar("pharos_postgres_in_recovery", f64::from(u8::from(in_recovery))));
        let timeline: Option<i64> = row.field("timeline")?;
        families.extend(timeline.map(|timeline| Family::scalar("pharos_postgres_timeline", timeline as f64)));
        if let Some(started) = row.number("started_at")? {
            families.push(Family::scalar("pharos_postgres_start_timestamp_seconds", started));
        }
        tables.push(identity(session, &row)?);
    }
    let mut info = FamiliesBuilder::new(&["version"], &["pharos_postgres_info"]);
    info.push(&[session.version()], &[Some(1.0)]);
    families.extend(info.finish());
    Ok(Facts { epoch: session.epoch(), families, tables, ..Facts::default() })
}

/// Who answers, and where it is: what the topology of its database is made of.
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
