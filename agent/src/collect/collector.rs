//! A collector reads one family of facts; its facts become a part of a snapshot.

use std::time::Duration;

use futures_util::FutureExt;
use futures_util::future::BoxFuture;
use pharos_model::alert::Now;
use pharos_model::snapshot::{Family, PartId, Table, Unlisted};

use super::collect_error::CollectError;

/// The facts that one run read.
#[derive(Debug, Default)]
pub struct Facts {
    /// Changes when counters start anew as a whole.
    pub epoch: u64,
    pub families: Vec<Family>,
    pub tables: Vec<Table>,
    /// A collector that should run now rather than at its next tick, because of these facts.
    pub urgent: Option<PartId>,
    /// Number of objects without series of their own, which are in `other`.
    pub folded: u64,
    /// Objects without series of their own, so that they are not taken for objects that are gone.
    pub unlisted: Unlisted,
    /// Facts that a datname keeps from the role, where the rest of it was read.
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
    /// The facts that are not known, and of how many objects, in one line.
    pub why: String,
    /// Whether alerts may be missing meanwhile, and not only details.
    pub is_grave: bool,
}

/// Reads one family of facts over a session.
pub trait Collector<S>: Send {
    /// The part of the snapshot that the collector fills.
    fn part(&self) -> PartId;
    fn interval(&self) -> Duration;
    /// Whether the budget hardly slows the collector: it shows trouble first, or reads what the others cost.
    fn is_essential(&self) -> bool {
        false
    }
    /// Interval of looks between two runs, if the collector looks. Its next run includes what the looks saw.
    fn sampling(&self) -> Option<Duration> {
        None
    }
    /// Looks once. It may return a collector that should run at once; no snapshot is sent for a look.
    fn sample<'a>(&'a mut self, _session: &'a mut S, _now: Now) -> BoxFuture<'a, Result<Option<PartId>, CollectError>> {
        std::future::ready(Ok(None)).boxed()
    }
    fn collect<'a>(&'a mut self, session: &'a mut S, now: Now) -> BoxFuture<'a, Result<Facts, CollectError>>;
}
