//! Facts of one subject over time, as a case of a rule writes them.

use std::collections::BTreeMap;
use std::time::Duration;

use super::steps::{Steps, Value};
use crate::snapshot::{Snapshot, Table};
use crate::subject::{Label, Subject};

/// State of a part at a tick.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum PartStep {
    /// The collector has read the part.
    Present,
    /// The collector has failed.
    Failed,
    /// The server does not offer the part.
    Unsupported,
    /// The collector does not run any more.
    Stale,
    /// The collector has not run yet.
    Absent,
}

/// One part over time.
#[derive(Debug, Clone, PartialEq)]
pub struct PartSteps {
    /// State of the part tick by tick.
    pub states: Steps<PartStep>,
    /// Reason while the part is failed or unsupported.
    pub why: String,
}

/// One series over time.
#[derive(Debug, Clone, PartialEq)]
pub struct SeriesSteps {
    /// Name of the metric, which the catalogue has.
    pub metric: String,
    /// Labels of the series without those of the subject. A label of the metric that is missing here has the empty text.
    pub labels: Vec<Label>,
    /// Samples tick by tick.
    pub values: Steps<Value>,
}

/// A table over some ticks.
#[derive(Debug, Clone, PartialEq)]
pub struct TableSteps {
    /// The part that carries the table.
    pub part: String,
    /// First tick that has the table.
    pub from: u32,
    /// First tick after `from` that does not have the table any more.
    pub to: u32,
    /// The table, equal at all these ticks.
    pub table: Table,
}

/// One subject over time.
#[derive(Debug, Clone, PartialEq)]
pub struct Timeline {
    /// The subject of every snapshot.
    pub subject: Subject,
    /// Time between two ticks.
    pub interval: Duration,
    /// A recorded snapshot. Its facts are valid at every tick, unless a field below replaces them.
    pub base: Option<Snapshot>,
    /// Whether the server can be reached, tick by tick. Always true for a subject that is not a server.
    pub server: Steps<bool>,
    /// Ticks at which the server has just restarted, so that its counters begin anew.
    pub restarts: Vec<u32>,
    /// States of parts, by name, if the case gives them. Other parts are present as soon as they carry a series or a table.
    pub parts: BTreeMap<String, PartSteps>,
    /// Series of all metrics, each with distinct labels.
    pub series: Vec<SeriesSteps>,
    /// Tables. If two tables of one name overlap, the later one in this list counts.
    pub tables: Vec<TableSteps>,
    /// The servers of a database, which have the same ticks. Empty for other subjects.
    pub members: Vec<Timeline>,
}
