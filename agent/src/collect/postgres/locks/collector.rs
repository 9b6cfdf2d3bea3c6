//! The collector of lock waits and of the lock table.

use std::collections::BTreeMap;
use std::time::Duration;

use futures_util::FutureExt;
use futures_util::future::BoxFuture;
use pharos_model::alert::Now;
use pharos_model::postgres::lock_tree::LockReading;
use pharos_model::snapshot::{FamiliesBuilder, Family, PartId};

use super::forest;
use crate::collect::postgres::rights::{self, Right};
use crate::collect::postgres::row::{Fields, query};
use crate::collect::{CollectError, Collector, Facts};
use crate::postgres::monitor::{Row, Session};

const PART: PartId = PartId::Locks;

const MODES: [&str; 9] = [
    "AccessExclusiveLock",
    "AccessShareLock",
    "ExclusiveLock",
    "RowExclusiveLock",
    "RowShareLock",
    "SIReadLock",
    "ShareLock",
    "ShareRowExclusiveLock",
    "ShareUpdateExclusiveLock",
];

/// The whole lock table is counted in every sixth run. The other runs repeat the last count.
const HELD_RUNS: u32 = 6;
/// Longest time between two counts of the whole lock table, in case runs are rare.
const HELD_AGE_MAX: Duration = Duration::from_secs(30);

/// Reads lock waits as trees, and how full the lock table is.
pub(crate) struct Locks {
    interval: Duration,
    reading: LockReading,
    held: Option<HeldLocks>,
    /// Number of runs that did not read the lock table.
    left_out: u64,
}

/// The latest count of the lock table.
struct HeldLocks {
    counted_at: Duration,
    epoch: u64,
    families: Vec<Family>,
}

impl Locks {
    pub(crate) fn new(interval: Duration) -> Self {
        Self { interval, reading: LockReading::default(), held: None, left_out: 0 }
    }

    async fn collect(&mut self, session: &Session, now: Now) -> Result<Facts, CollectError> {
        let rows = rights::query(session, PART, Right::Stats, include_str!("../sql/lock_waiters.sql")).await?;
        let Some(row) = rows.first().map(|row| Fields::new(PART, row)) else { return Ok(Facts::default()) };
        let count = |column: &str| row.field::<i64>(column).map(i64::unsigned_abs);
        let (waiters, lock_manager_waits) = (count("waiters")?, count("lock_manager_waits")?);
        let mut facts = Facts { epoch: session.epoch(), ..Facts::default() };
        if self.reading.may_read(lock_manager_waits) {
            facts.families.extend_from_slice(self.held(session, now.monotonic).await?);
            let waiting =
                if waiters > 0 { rights::query(session, PART, Right::Stats, include_str!("../sql/locks.sql")).await? } else { Vec::new() };
            let read = forest::LockWaits::new(&waiting)?;
            facts.families.extend(read.families());
            facts.tables.push(read.table());
        } else {
            // The blockers are unknown then, so no tree is shown: an empty one would look as if none existed.
            self.left_out += 1;
            facts.families.push(Family::scalar("pharos_postgres_lock_waiters", waiters as f64));
        }
        facts.families.push(Family::scalar("pharos_postgres_lock_table_left_alone_total", self.left_out as f64));
        Ok(facts)
    }

    /// Returns the last count of held locks, or a new one. Counting many locks is expensive, and their number changes slowly.
    async fn held(&mut self, session: &Session, now: Duration) -> Result<&[Family], CollectError> {
        // Half an interval less, since runs do not begin exactly on time.
        let pause = (self.interval * HELD_RUNS).min(HELD_AGE_MAX).saturating_sub(self.interval / 2);
        let epoch = session.epoch();
        let is_fresh = |held: &HeldLocks| held.epoch == epoch && now.saturating_sub(held.counted_at) < pause;
        let held = match self.held.take().filter(is_fresh) {
            Some(held) => held,
            None => {
                let rows = query(session, PART, include_str!("../sql/locks_held.sql")).await?;
                HeldLocks { counted_at: now, epoch, families: families(&rows)? }
            }
        };
        Ok(&self.held.insert(held).families)
    }
}

impl Collector<Session> for Locks {
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
        self.collect(session, now).boxed()
    }
}

/// Counts the held locks by mode. A mode without a lock is 0.
fn families(rows: &[Row]) -> Result<Vec<Family>, CollectError> {
    let mut held: BTreeMap<&str, f64> = MODES.iter().map(|mode| (*mode, 0.0)).collect();
    let mut families = Vec::new();
    for row in rows.iter().map(|row| Fields::new(PART, row)) {
        if let Some(ratio) = row.number("used_ratio")? {
            families.push(Family::scalar("pharos_postgres_lock_table_used_ratio", ratio));
        }
        if let Some(mode) = row.field::<Option<&str>>("mode")? {
            held.insert(mode, row.number("held")?.unwrap_or(0.0));
        }
    }
    let mut modes = FamiliesBuilder::new(&["mode"], &["pharos_postgres_locks_held"]);
    for (mode, count) in held {
        modes.push(&[mode], &[Some(count)]);
    }
    families.extend(modes.finish());
    Ok(families)
}
