//! Work of statements between two reads of `pg_stat_statements`, and the bounded set of counters that export it.
//!
//! The view has at most `pg_stat_statements.max` entries. Between two reads, an entry may be evicted or reset, alone or with all others.
//! Each row is therefore counted on a stated [`Basis`]. A wrong count is too low, never too high: the work of an entry between its last
//! read and its eviction is lost.

mod detail;
mod own;
mod series;
pub mod text;
mod window;

#[cfg(test)]
mod properties;
#[cfg(test)]
mod tests;

use std::collections::{BTreeMap, HashMap};
use std::ops::AddAssign;

use serde::{Deserialize, Serialize};

use self::series::TopSeries;

pub use self::detail::{Detail, DetailSet, Details};
pub use self::own::{OwnCost, OwnStatements};
pub use self::series::{SERIES_MAX, StatementSeries};
pub use self::window::Window;

/// Key of an entry. `toplevel` is part of it: with `track = all` a statement has two rows.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
pub struct StatementKey {
    /// Name of the datname.
    pub datname: String,
    /// Name of the role that runs the statement.
    pub user: String,
    /// Query id.
    pub queryid: i64,
    /// True for a statement of a client, false for one within a function.
    pub toplevel: bool,
}

impl StatementKey {
    /// The query id as labels show it: 16 hex digits.
    pub fn fingerprint(&self) -> String {
        format!("{:016x}", self.queryid.cast_unsigned())
    }
}

/// Counters that only grow while an entry exists.
#[derive(Debug, Clone, Copy, Default, PartialEq, Serialize, Deserialize)]
pub struct StatementCounters {
    /// Number of executions.
    pub calls: u64,
    /// Execution time in seconds.
    pub seconds: f64,
    /// Rows returned or affected.
    pub rows: u64,
    /// Shared blocks found in the cache.
    pub shared_blocks_hit: u64,
    /// Shared blocks read.
    pub shared_blocks_read: u64,
    /// Temporary blocks written.
    pub temp_blocks_written: u64,
    /// Rarer counters. A detail that the extension does not count is zero.
    pub details: Details,
}

impl AddAssign for StatementCounters {
    fn add_assign(&mut self, other: Self) {
        self.calls = self.calls.saturating_add(other.calls);
        self.seconds += other.seconds;
        self.rows = self.rows.saturating_add(other.rows);
        self.shared_blocks_hit = self.shared_blocks_hit.saturating_add(other.shared_blocks_hit);
        self.shared_blocks_read = self.shared_blocks_read.saturating_add(other.shared_blocks_read);
        self.temp_blocks_written = self.temp_blocks_written.saturating_add(other.temp_blocks_written);
        self.details += other.details;
    }
}

impl StatementCounters {
    /// Differences from an earlier read; `None` if any counter fell.
    fn since(&self, earlier: &Self) -> Option<Self> {
        Some(Self {
            calls: self.calls.checked_sub(earlier.calls)?,
            seconds: Some(self.seconds - earlier.seconds).filter(|seconds| *seconds >= 0.0)?,
            rows: self.rows.checked_sub(earlier.rows)?,
            shared_blocks_hit: self.shared_blocks_hit.checked_sub(earlier.shared_blocks_hit)?,
            shared_blocks_read: self.shared_blocks_read.checked_sub(earlier.shared_blocks_read)?,
            temp_blocks_written: self.temp_blocks_written.checked_sub(earlier.temp_blocks_written)?,
            details: self.details.since(&earlier.details)?,
        })
    }
}

/// Row of `pg_stat_statements`.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct StatementRow {
    /// Key of the entry.
    pub key: StatementKey,
    /// Counters of the entry.
    pub counters: StatementCounters,
    /// Mean execution time of a call, and its population standard deviation, in seconds.
    pub mean_seconds: f64,
    /// Population standard deviation of a call's execution time, in seconds.
    pub stddev_seconds: f64,
    /// Creation time of the entry, in seconds since 1970 on the server's clock. PostgreSQL 17 and newer.
    pub stats_since: Option<f64>,
    /// Hash with which the server recognises this state of the entry; `None` for an entry that must be read every time.
    #[serde(default)]
    pub state: Option<i64>,
}

/// Row of `pg_stat_statements_info`, since extension version 1.9.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub struct StatementsInfo {
    /// Number of evictions. Each one removes the least used twentieth of the entries.
    pub dealloc: u64,
    /// Time of the last reset of all entries, in seconds since 1970 on the server's clock.
    pub stats_reset: Option<f64>,
}

/// Result of one read of the view.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct StatementsRead {
    /// Time just before the rows were read, in seconds since 1970 on the server's clock.
    pub taken_at: f64,
    /// Rows that were read.
    pub rows: Vec<StatementRow>,
    /// True if missing entries are unchanged since the previous read; false if they do not exist any more.
    #[serde(default)]
    pub is_partial: bool,
    /// Number of rows that were not read or that the role may not see; the latter have no query id.
    pub hidden_rows: u64,
    /// State of the extension; `None` before version 1.9.
    pub info: Option<StatementsInfo>,
}

/// Value from which an increment is counted.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Basis {
    /// The entry's counters in the previous read.
    Previous,
    /// Zero: the entry was created since the previous read.
    New,
    /// Zero: the entry was not in the previous read, but evictions happened since, perhaps of the entry itself. The increment is a
    /// minimum.
    AfterEviction,
    /// Zero: the entry was reset since the previous read. The increment is a minimum.
    Reset,
    /// No value: the entry may have been hidden before, so its increment is unknown.
    Unknown,
}

/// Work of one statement between two reads.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct StatementDelta {
    /// Key of the entry.
    pub key: StatementKey,
    /// Value from which the increments are counted.
    pub basis: Basis,
    /// Increments; zero on an unknown basis.
    pub counters: StatementCounters,
    /// Execution times of the calls; `None` without a call.
    pub window: Option<Window>,
}

/// Work of all statements between two reads.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub struct StatementsTick {
    /// True for the first read, which has no earlier one.
    pub first: bool,
    /// True if all statistics were reset since the previous read.
    pub reset: bool,
    /// Number of evictions since the previous read; `None` if the server does not report it.
    pub evictions: Option<u64>,
    /// Number of entries of the previous read that do not exist any more.
    pub vanished: u64,
    /// Statements that did something, ordered by key.
    pub deltas: Vec<StatementDelta>,
}

/// All statements of one server.
#[derive(Debug)]
pub struct Statements {
    previous: Option<Previous>,
    series: TopSeries,
}

#[derive(Debug)]
struct Previous {
    taken_at: f64,
    hidden_rows: u64,
    info: Option<StatementsInfo>,
    rows: HashMap<StatementKey, StatementRow>,
}

impl Default for Statements {
    fn default() -> Self {
        Self::new(SERIES_MAX)
    }
}

impl Statements {
    /// Exports up to `series_max` statements with series of their own, and all others as one.
    pub fn new(series_max: usize) -> Self {
        Self { previous: None, series: TopSeries::new(series_max) }
    }

    /// Hashes of entries that need not be read again if nothing was evicted or reset since. `info` is the server's present
    /// `pg_stat_statements_info`. `None` if everything must be read.
    pub fn known_states(&self, info: StatementsInfo) -> Option<Vec<i64>> {
        let previous = self.previous.as_ref().filter(|previous| previous.info == Some(info))?;
        Some(previous.rows.values().filter_map(|row| row.state).collect())
    }

    /// Drops the previous read, so that the next one is a first read. Series continue.
    pub fn begin_anew(&mut self) {
        self.previous = None;
    }

    /// Number of entries in the latest read.
    pub fn tracked(&self) -> usize {
        self.previous.as_ref().map_or(0, |previous| previous.rows.len())
    }

    /// Adds a read, and returns the work since the one before.
    pub fn observe(&mut self, read: StatementsRead) -> StatementsTick {
        let StatementsRead { taken_at, rows, is_partial, hidden_rows, info } = read;
        // A map orders the rows by key.
        let rows: BTreeMap<StatementKey, StatementRow> = rows.into_iter().map(|row| (row.key.clone(), row)).collect();
        let mut tick = match &self.previous {
            None => StatementsTick { first: true, ..StatementsTick::default() },
            Some(previous) => previous.compare(&rows, info),
        };
        let rows: HashMap<StatementKey, StatementRow> = match self.previous.take() {
            Some(mut previous) if is_partial => {
                previous.rows.extend(rows);
                previous.rows
            }
            previous => {
                let gone = |previous: &Previous| previous.rows.keys().filter(|key| !rows.contains_key(key)).count() as u64;
                tick.vanished = previous.as_ref().map_or(0, gone);
                rows.into_iter().collect()
            }
        };
        self.series.record(&tick.deltas, |key| rows.contains_key(key));
        self.previous = Some(Previous { taken_at, hidden_rows, info, rows });
        tick
    }

    /// Counters to export, with `other` last. Each only grows while it exists. Their sum is everything since the start, without the counts
    /// of [`retired`](Self::retired) series.
    pub fn series(&self) -> impl Iterator<Item = StatementSeries<'_>> {
        self.series.iter()
    }

    /// Sum of all increments since the start.
    pub fn total(&self) -> StatementCounters {
        self.series.total()
    }

    /// Counts of series that are no longer exported. They are part of the total, but of no other series: every query of increases would
    /// count them twice.
    pub fn retired(&self) -> StatementCounters {
        self.series.retired()
    }
}

impl Previous {
    fn compare(&self, rows: &BTreeMap<StatementKey, StatementRow>, info: Option<StatementsInfo>) -> StatementsTick {
        let infos = self.info.zip(info);
        let reset = infos.is_some_and(|(before, now)| before.stats_reset != now.stats_reset);
        // After a reset, evictions are counted from zero.
        let evictions = infos.map(|(before, now)| if reset { now.dealloc } else { now.dealloc.saturating_sub(before.dealloc) });
        let did_something = |delta: &StatementDelta| delta.basis == Basis::Unknown || delta.counters != StatementCounters::default();
        let deltas = rows.values().map(|row| self.delta(row, reset, evictions)).filter(did_something).collect();
        StatementsTick { first: false, reset, evictions, vanished: 0, deltas }
    }

    fn delta(&self, row: &StatementRow, reset: bool, evictions: Option<u64>) -> StatementDelta {
        let made_since = row.stats_since.is_some_and(|since| since > self.taken_at);
        let known = self.rows.get(&row.key);
        let kept = known.filter(|before| !reset && before.stats_since == row.stats_since);
        let gained = kept.and_then(|before| Some((before, row.counters.since(&before.counters)?)));
        let (basis, counters, window) = match (known, gained) {
            (_, Some((before, gained))) => (Basis::Previous, gained, Window::between(before, row)),
            (Some(_), None) => (Basis::Reset, row.counters, Window::of(row)),
            (None, _) => match self.basis_of_new(made_since, reset, evictions) {
                Basis::Unknown => (Basis::Unknown, StatementCounters::default(), None),
                basis => (basis, row.counters, Window::of(row)),
            },
        };
        StatementDelta { key: row.key.clone(), basis, counters, window }
    }

    /// Basis of an entry that was not in the previous read. A read shows all entries, so the entry is new unless it was hidden or left
    /// out.
    fn basis_of_new(&self, made_since: bool, reset: bool, evictions: Option<u64>) -> Basis {
        match evictions {
            _ if made_since => Basis::New,
            _ if reset => Basis::Reset,
            _ if self.hidden_rows > 0 => Basis::Unknown,
            Some(0) => Basis::New,
            _ => Basis::AfterEviction,
        }
    }
}
