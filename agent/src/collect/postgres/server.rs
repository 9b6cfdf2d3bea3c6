//! What the server says of itself: version, role in replication, start.

use futures_util::FutureExt;
use futures_util::future::BoxFuture;
use pharos_model::snapshot::{FamiliesBuilder, Family};

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
    for row in &rows {
        let row = Fields::new(NAME, row);
        let in_recovery: bool = row.field("in_recovery")?;
        families.push(Family::scalar("pharos_postgres_in_recovery", f64::from(u8::from(in_recovery))));
        if let Some(started) = row.number("started_at")? {
            families.push(Family::scalar("pharos_postgres_start_timestamp_seconds", started));
        }
    }
    let mut info = FamiliesBuilder::new(&["version"], &["pharos_postgres_info"]);
    info.push(&[session.version()], &[Some(1.0)]);
    families.extend(info.finish());
    Ok(Facts { epoch: session.epoch(), families, ..Facts::default() })
}
