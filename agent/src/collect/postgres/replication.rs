//! How far standbys are behind, from both sides, and what replication slots keep (pg_stat_replication, pg_replication_slots).

use futures_util::FutureExt;
use futures_util::future::BoxFuture;
use pharos_model::snapshot::{FamiliesBuilder, Family};
use tokio_postgres::Row;

use super::need_all_stats;
use super::row::{Fields, query};
use crate::collect::{CollectError, Facts};
use crate::postgres::Session;

pub const NAME: &str = "replication";

pub fn collect(session: &Session) -> BoxFuture<'_, Result<Facts, CollectError>> {
    read(session).boxed()
}

async fn read(session: &Session) -> Result<Facts, CollectError> {
    need_all_stats(session)?;
    let mut families = senders(&query(session, NAME, include_str!("sql/replication.sql")).await?)?;
    families.extend(standby(&query(session, NAME, include_str!("sql/standby.sql")).await?)?);
    families.extend(slots(&query(session, NAME, include_str!("sql/slots.sql")).await?)?);
    Ok(Facts { epoch: session.epoch(), families, ..Facts::default() })
}

fn senders(rows: &[Row]) -> Result<Vec<Family>, CollectError> {
    let metrics =
        ["pharos_postgres_replication_lag_bytes", "pharos_postgres_replication_lag_seconds", "pharos_postgres_replication_streaming"];
    let mut families = FamiliesBuilder::new(&["standby", "client"], &metrics);
    for row in rows {
        let row = Fields::new(NAME, row);
        let bytes = row.number("lag_bytes")?.map(|bytes| bytes.max(0.0));
        // The lags are null once a standby is caught up and idle.
        let seconds = row.number("lag_seconds")?.or_else(|| bytes.filter(|bytes| *bytes == 0.0));
        families.push(&[row.text("standby")?, row.text("client")?], &[bytes, seconds, row.number("streaming")?]);
    }
    Ok(families.finish())
}

fn standby(rows: &[Row]) -> Result<Vec<Family>, CollectError> {
    let mut families = Vec::new();
    for row in rows {
        let row = Fields::new(NAME, row);
        let receiver_up = row.number("receiver_up")?.unwrap_or(0.0).min(1.0);
        families.push(Family::scalar("pharos_postgres_standby_receiver_up", receiver_up));
        let bytes = row.number("lag_bytes")?.map(|bytes| bytes.max(0.0));
        families.extend(bytes.map(|bytes| Family::scalar("pharos_postgres_standby_replay_lag_bytes", bytes)));
        // On an idle primary the age of the last transaction grows although nothing is missing; without a receiver nobody knows.
        let caught_up = bytes == Some(0.0) && receiver_up > 0.0;
        let seconds = if caught_up { Some(0.0) } else { row.number("replay_age")? };
        families.extend(seconds.map(|seconds| Family::scalar("pharos_postgres_standby_replay_lag_seconds", seconds.max(0.0))));
    }
    Ok(families)
}

fn slots(rows: &[Row]) -> Result<Vec<Family>, CollectError> {
    let metrics = [
        "pharos_postgres_slot_active",
        "pharos_postgres_slot_retained_bytes",
        "pharos_postgres_slot_safe_bytes",
        "pharos_postgres_slot_wal_lost",
    ];
    let mut families = FamiliesBuilder::new(&["slot", "slot_type"], &metrics);
    for row in rows {
        let row = Fields::new(NAME, row);
        let retained = row.number("retained_bytes")?.map(|bytes| bytes.max(0.0));
        let values = [row.number("active")?, retained, row.number("safe_bytes")?, row.number("wal_lost")?];
        families.push(&[row.text("slot")?, row.text("slot_type")?], &values);
    }
    Ok(families.finish())
}
