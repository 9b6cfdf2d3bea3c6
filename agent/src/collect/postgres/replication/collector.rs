//! The collector of standbys and replication slots.

use std::time::Duration;

use futures_util::FutureExt;
use futures_util::future::BoxFuture;
use pharos_model::alert::Now;
use pharos_model::postgres::lsn_history::{Course, LsnHistory};
use pharos_model::snapshot::{PartId, Unlisted};
use tokio_postgres::types::Type;

use super::senders;
use super::slots::{SlotFacts, Slots};
use super::standby::Standby;
use crate::collect::postgres::rights::{Right, query_with};
use crate::collect::postgres::row::Fields;
use crate::collect::{CollectError, Collector, Facts, Notebook};
use crate::postgres::monitor::Session;

const PART: PartId = PartId::Replication;

/// Reads the standbys and slots of a server, and its own lag if it is a standby.
pub(crate) struct Replication {
    interval: Duration,
    /// Positions in the WAL that this server sends, over time.
    sent: LsnHistory,
    standby: Standby,
    slots: Slots,
}

impl Replication {
    pub(crate) fn new(interval: Duration, notebook: Notebook) -> Self {
        Self { interval, sent: LsnHistory::default(), standby: Standby::default(), slots: Slots::new(notebook) }
    }

    async fn read(&mut self, session: &Session, now: Now) -> Result<Facts, CollectError> {
        let sql = include_str!("../sql/replication.sql");
        let rows = query_with(session, PART, Right::Stats, sql, &[(&senders::READ_MAX, Type::INT8)]).await?;
        // There always is a first row: it describes this server itself.
        let own = rows.first().map(|row| Fields::new(PART, row));
        let in_recovery = own.as_ref().map_or(Ok(false), |row| row.field("in_recovery"))?;
        let lsn: Option<i64> = own.as_ref().map_or(Ok(None), |row| row.field("lsn_bytes"))?;
        let course = course(session, in_recovery);
        if let Some(lsn) = lsn {
            self.sent.push(course, now.monotonic, lsn.unsigned_abs());
        }
        let (mut families, standbys) = senders::facts(&rows, &self.sent, now.monotonic)?;
        let wanted = own.as_ref().map(|row| row.scalars(&[("pharos_postgres_synchronous_standbys_wanted", "synchronous_wanted")]));
        families.extend(wanted.transpose()?.unwrap_or_default());
        let mut tables = vec![standbys];
        if in_recovery {
            let (own, receiver) = self.standby.read(session, course, now.monotonic).await?;
            families.extend(own);
            tables.extend(receiver);
        }
        let SlotFacts { families: of_slots, table, epoch, unlisted } = self.slots.read(session, now).await?;
        families.extend(of_slots);
        tables.push(table);
        let unlisted = if rows.len() >= senders::READ_MAX as usize { Unlisted::Any } else { unlisted };
        Ok(Facts { epoch, families, tables, unlisted, ..Facts::default() })
    }
}

/// Names the timeline of this server. While a session lasts, it changes only together with the role of the server.
fn course(session: &Session, in_recovery: bool) -> Course {
    Course { epoch: session.epoch(), timeline: i64::from(in_recovery) }
}

impl Collector<Session> for Replication {
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
