//! A collector reads one family of facts; its facts become a part of a snapshot.

use std::time::Duration;

use futures_util::FutureExt;
use futures_util::future::BoxFuture;
use pharos_model::alert::Now;
use pharos_model::snapshot::{Family, PartId, Table, Unlisted};

use super::collect_error::CollectError;

/// What one run read.
#[derive(Debug, Default)]
pub struct Facts {
    /// Changes when counters start anew as a whole.
    pub epoch: u64,
    pub families: Vec<Family>,
    pub tables: Vec<Table>,
    /// A collector that should run now rather than at its next tick, because of what this one saw.
    pub urgent: Option<PartId>,
    /// How many things have no series of their own and are in `other`.
    pub folded: u64,
    /// Which things have no series of their own, so that they are told from things that are gone.
    pub unlisted: Unlisted,
    /// What a datname keeps from the role, where the rest of it was read.
    pub hidden: Vec<Hidden>,
}

impl Facts {
    /// The table with this name, where the run made it.
    pub fn table(&self, name: &str) -> Option<&Table> {
        self.tables.iter().find(|table| table.name == name)
    }
}

/// Facts of one datname that are missing for want of a right, without an error.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Hidden {
    pub datname: String,
    /// One line: what is not known, and of how much.
    pub why: String,
    /// Whether people are warned of nothing meanwhile, and not only told less.
    pub is_grave: bool,
}

/// Reads one family of facts over a session.
pub trait Collector<S>: Send {
    /// The part of the snapshot that it fills.
    fn part(&self) -> PartId;
    fn interval(&self) -> Duration;
    /// Whether the budget hardly slows it: it shows trouble first, or reads what the others cost.
    fn is_essential(&self) -> bool {
        false
    }
    /// Between two runs it may look more often, at little: what it sees goes into its next run.
    fn sampling(&self) -> Option<Duration> {
        None
    }
    /// One such look. It may name a collector that should run at once; no snapshot goes out for it.
    fn sample<'a>(&'a mut self, _session: &'a mut S, _now: Now) -> BoxFuture<'a, Result<Option<PartId>, CollectError>> {
        std::future::ready(Ok(None)).boxed()
    }
    fn collect<'a>(&'a mut self, session: &'a mut S, now: Now) -> BoxFuture<'a, Result<Facts, CollectError>>;
}
