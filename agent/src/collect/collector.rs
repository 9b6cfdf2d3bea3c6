//! A collector reads one family of facts; its facts become a part of a snapshot.

use std::time::Duration;

use futures_util::FutureExt;
use futures_util::future::BoxFuture;
use pharos_model::alert::Now;
use pharos_model::snapshot::{Family, PartId, Table, Unlisted};

use super::collect_error::CollectError;

/// The facts that one run read.
#[derive(Debug, Default)]
pub(crate) struct Facts {
    /// Changes when all counters start anew, as after a restart.
    pub epoch: u64,
    pub families: Vec<Family>,
    pub tables: Vec<Table>,
    /// A collector that should run now, not at its next tick, because of these facts.
    pub urgent: Option<PartId>,
    /// Number of objects without series of their own. They count in `other`.
    pub folded: u64,
    /// Objects without series of their own. Without this list they would look like objects that are gone.
    pub unlisted: Unlisted,
    /// Facts that the role may not read in a datname whose other facts were read.
    pub hidden: Vec<Hidden>,
}

impl Facts {
    /// Returns the table with this name, if the run made it.
    pub(crate) fn table(&self, name: &str) -> Option<&Table> {
        self.tables.iter().find(|table| table.name == name)
    }
}

/// Facts of one datname that are missing because the role lacks a right. The server raised no error.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Hidden {
    pub datname: String,
    /// Names the facts that are unknown, and the number of objects, in one line.
    pub why: String,
    /// Whether alerts may be missing, and not only details of them.
    pub is_grave: bool,
}

/// Reads one family of facts over a session.
pub(crate) trait Collector<S>: Send {
    /// The part of the snapshot that the collector fills.
    fn part(&self) -> PartId;
    fn interval(&self) -> Duration;
    /// Whether the budget should hardly slow the collector: it shows trouble first, or reads the cost of the others.
    fn is_essential(&self) -> bool {
        false
    }
    /// Interval of samples between two runs, if the collector takes samples. The next run includes what the samples found.
    fn sampling(&self) -> Option<Duration> {
        None
    }
    /// Takes one sample. Returns a collector that should run at once, if there is one. No snapshot is sent for a sample.
    fn sample<'a>(&'a mut self, _session: &'a mut S, _now: Now) -> BoxFuture<'a, Result<Option<PartId>, CollectError>> {
        std::future::ready(Ok(None)).boxed()
    }
    fn collect<'a>(&'a mut self, session: &'a mut S, now: Now) -> BoxFuture<'a, Result<Facts, CollectError>>;
}
