//! The lag of this standby behind the WAL that it received and behind its primary, and the queries that it cancelled to keep up.

use std::time::Duration;

use pharos_model::postgres::lsn_history::Course;
use pharos_model::postgres::replay_lag::{Place, ReplayLag};
use pharos_model::snapshot::{Column, FamiliesBuilder, Family, PartId, Table};

use crate::collect::CollectError;
use crate::collect::postgres::rights::{self, Right};
use crate::collect::postgres::row::{Fields, query};
use crate::postgres::monitor::{Session, Versioned};

const PART: PartId = PartId::Replication;

const CONFLICTS: Versioned = Versioned::new(&[(14, include_str!("../sql/conflicts.sql")), (16, include_str!("../sql/conflicts.16.sql"))]);

/// Reads the lag of a server that is a standby, over time.
#[derive(Default)]
pub(super) struct Standby {
    replay_lag: ReplayLag,
}

impl Standby {
    pub(super) async fn read(
        &mut self,
        session: &Session,
        course: Course,
        now: Duration,
    ) -> Result<(Vec<Family>, Option<Table>), CollectError> {
        let mut families = Vec::new();
        let mut table = None;
        // A standby that was promoted meanwhile has no row.
        for row in &rights::query(session, PART, Right::Stats, include_str!("../sql/standby.sql")).await? {
            let row = Fields::new(PART, row);
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
        let replay_age = row.number("replay_age")?;
        let place = received.zip(replayed).map(|(received, replayed)| Place {
            received: received.unsigned_abs(),
            replayed: replayed.unsigned_abs(),
            receiver_up: receiver_up > 0.0,
            replay_age,
        });
        let seconds = place.and_then(|place| self.replay_lag.seconds(place, course, now));
        let not_negative = |value: Option<f64>| value.map(|value| value.max(0.0));
        let values = [
            ("pharos_postgres_standby_receiver_up", Some(receiver_up)),
            ("pharos_postgres_standby_receiver_message_age_seconds", not_negative(row.number("message_age")?)),
            ("pharos_postgres_standby_apply_delay_seconds", row.number("apply_delay")?),
            ("pharos_postgres_standby_replay_paused", row.number("replay_paused")?),
            ("pharos_postgres_standby_shipping_lag_bytes", not_negative(row.number("shipping_lag_bytes")?)),
            ("pharos_postgres_standby_replay_lag_bytes", bytes),
            ("pharos_postgres_standby_replay_lag_seconds", not_negative(seconds)),
        ];
        Ok(values.into_iter().filter_map(|(metric, value)| Some(Family::scalar(metric, value?))).collect())
    }
}

/// Makes the table `receiver`: the server that sends WAL to this standby. Its values are null while none does.
fn receiver(row: &Fields<'_>) -> Result<Table, CollectError> {
    Ok(Table::new(
        "receiver",
        vec![
            Column::text("status", [row.field("receiver_status")?]),
            Column::text("sender_host", [row.field("sender_host")?]),
            Column::integer("sender_port", [row.field::<Option<i32>>("sender_port")?.map(i64::from)]),
            Column::text("slot", [row.field("receiver_slot")?]),
            // Null if the role may not read primary_conninfo. A standby that reads only an archive has none.
            Column::boolean("is_to_receive", [row.field("is_to_receive")?]),
        ],
    ))
}

async fn conflicts(session: &Session) -> Result<Vec<Family>, CollectError> {
    let mut families = FamiliesBuilder::new(&["datname", "reason"], &["pharos_postgres_standby_conflicts_total"]);
    for row in &query(session, PART, CONFLICTS.sql(session.major())).await? {
        let row = Fields::new(PART, row);
        families.push(&[row.text("datname")?, row.text("reason")?], &[row.number("conflicts")?]);
    }
    Ok(families.finish())
}
