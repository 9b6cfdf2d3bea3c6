//! How far this standby is behind what it received and behind its primary, and what it cancelled to keep up.

use std::time::Duration;

use pharos_model::lsn_history::{Course, LsnHistory};
use pharos_model::snapshot::{Column, FamiliesBuilder, Family, Table};

use super::super::row::{Fields, query};
use super::NAME;
use crate::collect::CollectError;
use crate::postgres::{Session, Versioned};

const CONFLICTS: Versioned = Versioned::new(&[(14, include_str!("../sql/conflicts.sql")), (16, include_str!("../sql/conflicts.16.sql"))]);

#[derive(Default)]
pub struct Standby {
    /// Up to where this server had received.
    received: LsnHistory,
}

impl Standby {
    pub async fn read(&mut self, session: &Session, course: Course, now: Duration) -> Result<(Vec<Family>, Option<Table>), CollectError> {
        let mut families = Vec::new();
        let mut table = None;
        // Promoted since it was asked, it has no row.
        for row in &query(session, NAME, include_str!("../sql/standby.sql")).await? {
            let row = Fields::new(NAME, row);
            families.extend(self.families(&row, course, now)?);
            table = Some(receiver(&row)?);
        }
        families.extend(conflicts(session).await?);
        Ok((families, table))
    }

    fn families(&mut self, row: &Fields<'_>, course: Course, now: Duration) -> Result<Vec<Family>, CollectError> {
        let (received, replayed): (Option<i64>, Option<i64>) = (row.field("received_lsn_bytes")?, row.field("replayed_lsn_bytes")?);
        let receiver_up = row.number("receiver_up")?.unwrap_or(0.0);
        let bytes = received.zip(replayed).map(|(received, replayed)| received.saturating_sub(replayed).max(0) as f64);
        let seconds = self.replay_lag(received.zip(replayed), receiver_up > 0.0, row.number("replay_age")?, course, now);
        let not_negative = |value: Option<f64>| value.map(|value| value.max(0.0));
        let values = [
            ("pharos_postgres_standby_receiver_up", Some(receiver_up)),
            ("pharos_postgres_standby_receiver_message_age_seconds", not_negative(row.number("message_age")?)),
            ("pharos_postgres_standby_replay_paused", row.number("replay_paused")?),
            ("pharos_postgres_standby_shipping_lag_bytes", not_negative(row.number("shipping_lag_bytes")?)),
            ("pharos_postgres_standby_replay_lag_bytes", bytes),
            ("pharos_postgres_standby_replay_lag_seconds", not_negative(seconds)),
        ];
        Ok(values.into_iter().filter_map(|(metric, value)| Some(Family::scalar(metric, value?))).collect())
    }

    /// By the time since it received what it has to replay next. Where that is not known, and without a receiver, by the age of the last
    /// transaction: that is too much while the primary is idle, but not too little.
    fn replay_lag(
        &mut self,
        place: Option<(i64, i64)>,
        receiver_up: bool,
        replay_age: Option<f64>,
        course: Course,
        now: Duration,
    ) -> Option<f64> {
        let (received, replayed) = place?;
        self.received.push(course, now, received.unsigned_abs());
        if received <= replayed {
            return if receiver_up { Some(0.0) } else { replay_age };
        }
        let lag = self.received.lag(replayed.unsigned_abs(), now)?;
        let by = lag.by.as_secs_f64();
        Some(if lag.is_minimum { replay_age.map_or(by, |age| age.max(by)) } else { by })
    }
}

/// From whom it receives; null where it does not.
fn receiver(row: &Fields<'_>) -> Result<Table, CollectError> {
    Ok(Table::new(
        "receiver",
        vec![
            Column::text("status", [row.field("receiver_status")?]),
            Column::text("sender_host", [row.field("sender_host")?]),
            Column::integer("sender_port", [row.field::<Option<i32>>("sender_port")?.map(i64::from)]),
            Column::text("slot", [row.field("receiver_slot")?]),
        ],
    ))
}

async fn conflicts(session: &Session) -> Result<Vec<Family>, CollectError> {
    let mut families = FamiliesBuilder::new(&["datname", "reason"], &["pharos_postgres_standby_conflicts_total"]);
    for row in &query(session, NAME, CONFLICTS.sql(session.major())).await? {
        let row = Fields::new(NAME, row);
        families.push(&[row.text("datname")?, row.text("reason")?], &[row.number("conflicts")?]);
    }
    Ok(families.finish())
}
