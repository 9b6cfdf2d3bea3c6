//! The collector of sessions and their waits.

use std::time::Duration;

use futures_util::FutureExt;
use futures_util::future::BoxFuture;
use pharos_model::alert::Now;
use pharos_model::postgres::active_sessions::LockSigns;
use pharos_model::snapshot::PartId;

use super::connections;
use super::connections::Totals;
use super::history::History;
use crate::collect::postgres::rights::{Right, query};
use crate::collect::{CollectError, Collector, Facts, Missing};
use crate::postgres::monitor::Session;

const PART: PartId = PartId::Activity;

/// Reads sessions and their waits. Takes samples of the waits between its runs.
pub(crate) struct Activity {
    interval: Duration,
    sampling: Duration,
    history: History,
}

impl Activity {
    pub(crate) fn new(interval: Duration, sampling: Duration) -> Self {
        Self { interval, sampling, history: History::new(sampling) }
    }

    async fn collect(&mut self, session: &Session, now: Now) -> Result<Facts, CollectError> {
        let lock_signs = if self.history.is_due(now) { self.history.sample(session, now).await? } else { LockSigns::default() };
        let groups = query(session, PART, Right::Stats, include_str!("../sql/activity.sql")).await?;
        let oldest = query(session, PART, Right::Stats, include_str!("../sql/sessions.sql")).await?;
        let totals = Totals::read(&groups)?;
        let (history, waits, folded) = self.history.report();
        if !totals.tracks_activities {
            return Err(CollectError::Unsupported(
                Missing::new("track_activities is off, so the server does not record what sessions do")
                    .cured_by("ALTER SYSTEM SET track_activities = on; SELECT pg_catalog.pg_reload_conf()"),
            ));
        }
        let mut families = totals.families();
        families.extend(history);
        let tables = vec![connections::sessions(&oldest)?, waits];
        let urgent = (totals.waits_for_locks() && !lock_signs.is_crowded()).then_some(PartId::Locks);
        Ok(Facts { epoch: session.epoch(), families, tables, urgent, folded, ..Facts::default() })
    }

    async fn sample(&mut self, session: &Session, now: Now) -> Result<Option<PartId>, CollectError> {
        Ok(self.history.sample(session, now).await?.needs_locks_read().then_some(PartId::Locks))
    }
}

impl Collector<Session> for Activity {
    fn part(&self) -> PartId {
        PART
    }

    fn is_essential(&self) -> bool {
        true
    }

    fn interval(&self) -> Duration {
        self.interval
    }

    fn sampling(&self) -> Option<Duration> {
        Some(self.sampling)
    }

    fn sample<'a>(&'a mut self, session: &'a mut Session, now: Now) -> BoxFuture<'a, Result<Option<PartId>, CollectError>> {
        self.sample(session, now).boxed()
    }

    fn collect<'a>(&'a mut self, session: &'a mut Session, now: Now) -> BoxFuture<'a, Result<Facts, CollectError>> {
        self.collect(session, now).boxed()
    }
}
