//! Tables of subscriptions that are not copied yet. Only a session in the same datname can see them.

use std::time::Duration;

use futures_util::FutureExt;
use futures_util::future::BoxFuture;
use pharos_model::alert::Now;
use pharos_model::snapshot::{FamiliesBuilder, PartId};

use super::datname_visit::{SERIES_MAX, Visit};
use super::round::Round;
use crate::collect::postgres::row::{Fields, query};
use crate::collect::{CollectError, Facts};
use crate::postgres::monitor::Session;

pub(super) const PART: PartId = PartId::SubscriptionTables;

/// Reads how many tables of each subscription are not copied yet.
pub(super) struct SubscriptionTables {
    interval: Duration,
    /// Readings of the round that is under way: datname, subscription, tables.
    read: Vec<(String, String, Option<f64>)>,
}

impl SubscriptionTables {
    pub(super) fn new(interval: Duration) -> Self {
        Self { interval, read: Vec::new() }
    }

    async fn read(&mut self, session: &Session) -> Result<(), CollectError> {
        for row in &query(session, PART, include_str!("../sql/subscription_tables.sql")).await? {
            let row = Fields::new(PART, row);
            self.read.push((row.text("datname")?.to_owned(), row.text("subscription")?.to_owned(), row.number("not_ready")?));
        }
        Ok(())
    }
}

impl Visit for SubscriptionTables {
    fn part(&self) -> PartId {
        PART
    }

    fn interval(&self) -> Duration {
        self.interval
    }

    fn visit<'a>(&'a mut self, session: &'a mut Session, _: Now) -> BoxFuture<'a, Result<(), CollectError>> {
        self.read(session).boxed()
    }

    fn finish(&mut self, round: &Round, _: Now) -> Facts {
        let read = std::mem::take(&mut self.read);
        let folded = read.len().saturating_sub(SERIES_MAX) as u64;
        let mut families = FamiliesBuilder::new(&["datname", "subscription"], &["pharos_postgres_subscription_tables_not_ready"]);
        for (datname, subscription, not_ready) in read.iter().take(SERIES_MAX) {
            families.push(&[datname, subscription], &[*not_ready]);
        }
        Facts { epoch: round.epoch, families: families.finish(), folded, ..Facts::default() }
    }
}
