//! What happened between two reads of `pg_stat_statements`, and the bounded set of counters that tell of it.
//!
//! The view is a table of at most `pg_stat_statements.max` counters that may be evicted, reset one by one or all at once
//! between two reads. Each row is therefore counted on a stated [`Basis`]. Where it is wrong it is wrong towards too
//! little: what an entry gained between its last read and its eviction is lost to everybody.

mod detail;
mod own;
mod series;
pub mod text;
mod window;

#[cfg(test)]
mod properties;
#[cfg(test)]
mod tests;

use std::{
    collections::{BTreeMap, HashMap},
    ops::AddAssign,
};

use serde::{Deserialize, Serialize};

use series::TopSeries;

pub use detail::{Detail, DetailSet, Details};
pub use own::{OwnCost, OwnStatements};
pub use series::{SERIES_MAX, StatementSeries};
pub use window::Window;

/// One entry. `toplevel` is part of it: with `track = all` a statement has two rows.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
pub struct StatementKey {
    pub datname: String,
    pub user: String,
    pub queryid: i64,
    pub toplevel: bool,
}

impl StatementKey {
    /// The query as labels name it: 16 hex digits.
    pub fn fingerprint(&self) -> String {
        format!("{:016x}", self.queryid.cast_unsigned())
    }
}

/// What only ever grows while an entry lives.
#[derive(Debug, Clone, Copy, Default, PartialEq, Serialize, Deserialize)]
pub struct StatementCounters {
    pub calls: u64,
    /// Execution time.
    pub seconds: f64,
    pub rows: u64,
    pub shared_blocks_hit: u64,
    pub shared_blocks_read: u64,
    pub temp_blocks_written: u64,
    /// Zero where the extension does not count it.
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
    /// None if any of them went down.
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

/// One row of the view.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct StatementRow {
    pub key: StatementKey,
    pub counters: StatementCounters,
    /// Of the execution time of one call, in seconds; the deviation is the population's, as PostgreSQL computes it.
    pub mean_seconds: f64,
    pub stddev_seconds: f64,
    /// When the entry was made, in seconds since 1970 by the server's clock. PostgreSQL 17 and newer.
    pub stats_since: Option<f64>,
    /// A hash by which the server knows this state of the entry again; none for an entry that is to be read each time.
    #[serde(default)]
    pub state: Option<i64>,
}

/// `pg_stat_statements_info`, since extension version 1.9.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub struct StatementsInfo {
    /// Rounds of eviction; each takes the least used twentieth.
    pub dealloc: u64,
    /// Seconds since 1970 by the server's clock.
    pub stats_reset: Option<f64>,
}

/// One read of the view.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct StatementsRead {
    /// Just before the rows were read, in seconds since 1970 by the server's clock.
    pub taken_at: f64,
    pub rows: Vec<StatementRow>,
    /// Entries that are not among the rows are as they were at the previous read, else they are gone.
    #[serde(default)]
    pub is_partial: bool,
    /// Rows that the role may not see, which come without a query id, and those that were not read.
    pub hidden_rows: u64,
    pub info: Option<StatementsInfo>,
}

/// What an increment is counted from.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Basis {
    /// The previous read.
    Previous,
    /// Zero: it was made since the previous read.
    New,
    /// Zero: it was not in the previous read, but entries were evicted since, itself perhaps. At least this much.
    AfterEviction,
    /// Zero: its counters were reset since the previous read. At least this much.
    Reset,
    /// Nothing: it may have been there, hidden, so what it gained cannot be told from what it had.
    Unknown,
}

/// What one statement did between two reads.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct StatementDelta {
    pub key: StatementKey,
    pub basis: Basis,
    /// Zero on an unknown basis.
    pub counters: StatementCounters,
    /// None without a call.
    pub window: Option<Window>,
}

/// What happened between two reads.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub struct StatementsTick {
    /// Nothing to compare with yet.
    pub first: bool,
    /// All statistics were reset since the previous read.
    pub reset: bool,
    /// Rounds of eviction since the previous read; none where the server does not say.
    pub evictions: Option<u64>,
    /// Entries of the previous read that are gone.
    pub vanished: u64,
    /// In the order of keys; without those that did nothing.
    pub deltas: Vec<StatementDelta>,
}

/// The statements of one server.
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
    /// Exports at most `series_max` statements, and all others as one.
    pub fn new(series_max: usize) -> Self {
        Self { previous: None, series: TopSeries::new(series_max) }
    }

    /// States of the entries that need not be read again, as long as nothing was evicted or reset since: `info` is what the server says
    /// of that now. None where all of it must be read.
    pub fn known_states(&self, info: StatementsInfo) -> Option<Vec<i64>> {
        let previous = self.previous.as_ref().filter(|previous| previous.info == Some(info))?;
        Some(previous.rows.values().filter_map(|row| row.state).collect())
    }

    /// Nothing is compared with what was read before: the next read is the first again, and series go on.
    pub fn begin_anew(&mut self) {
        self.previous = None;
    }

    /// Entries of the latest read.
    pub fn tracked(&self) -> usize {
        self.previous.as_ref().map_or(0, |previous| previous.rows.len())
    }

    /// Takes in a read and says what happened since the one before.
    pub fn observe(&mut self, read: StatementsRead) -> StatementsTick {
        let StatementsRead { taken_at, rows, is_partial, hidden_rows, info } = read;
        // In the order of keys.
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

    /// The counters to export, `other` last: monotonic while they exist, and together everything since the start but
    /// what [`retired`](Self::retired) series took with them.
    pub fn series(&self) -> impl Iterator<Item = StatementSeries<'_>> {
        self.series.iter()
    }

    /// The sum of all increments since the start.
    pub fn total(&self) -> StatementCounters {
        self.series.total()
    }

    /// What series that are no longer exported had counted. It is part of the total, but added to no other series:
    /// there it would be counted a second time by everybody who looks at increases.
    pub fn retired(&self) -> StatementCounters {
        self.series.retired()
    }
}

impl Previous {
    fn compare(&self, rows: &BTreeMap<StatementKey, StatementRow>, info: Option<StatementsInfo>) -> StatementsTick {
        let infos = self.info.zip(info);
        let reset = infos.is_some_and(|(before, now)| before.stats_reset != now.stats_reset);
        // A reset starts the count of evictions again.
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

    /// One read shows all entries at once, so what it does not show did not exist, unless it was hidden or left out.
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
