//! `[collect]`: intervals, deadlines and the budget of reading servers.

use std::collections::BTreeMap;
use std::time::Duration;

use humantime_serde::Serde;
use pharos_model::postgres::index_facts::STATISTICS_AGE_MIN;
use serde::Deserialize;

use super::shape::{Key, Shape, key};

#[derive(Debug, Clone, PartialEq, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct CollectConfig {
    /// The time between two runs of each collector.
    pub interval: Intervals,
    /// The longest wait of a statement for a lock on the server.
    #[serde(with = "humantime_serde")]
    pub lock_timeout: Duration,
    /// The longest run of one statement on the server.
    #[serde(with = "humantime_serde")]
    pub statement_timeout: Duration,
    /// The deadline of one run of a collector, all its statements together. Past it, the statement is cancelled and its session dropped.
    #[serde(with = "humantime_serde")]
    pub deadline: Duration,
    /// Deadlines of single collectors, by name.
    deadlines: BTreeMap<String, Serde<Duration>>,
    /// The deadline of a new session, TLS and authentication included.
    #[serde(with = "humantime_serde")]
    pub connect_timeout: Duration,
    /// The budget of all statements on one server, as a share of one core. Past it, the dearest statements run less often.
    pub budget: f64,
    /// The time of counted scans after which an index without any counts as unused.
    #[serde(with = "humantime_serde")]
    pub unused_after: Duration,
    /// True if the tables and indexes of the system catalogue get series of their own: about 100 and 160 in every datname. Rules judge them
    /// in any case.
    pub catalog_series: bool,
}

/// The intervals of collectors by name: the defaults, and the values of the file.
#[derive(Debug, Clone, PartialEq, Deserialize)]
#[serde(from = "BTreeMap<String, Serde<Duration>>")]
pub struct Intervals(BTreeMap<String, Duration>);

/// The default interval of a collector or an observer.
struct Cadence {
    key: &'static str,
    interval: Duration,
    /// Whether a run sends statements to a server, and so has a deadline.
    has_deadline: bool,
}

const fn reader(key: &'static str, interval: Duration) -> Cadence {
    Cadence { key, interval, has_deadline: true }
}

const fn observer(key: &'static str, interval: Duration) -> Cadence {
    Cadence { key, interval, has_deadline: false }
}

const CADENCES: [Cadence; 26] = [
    // The agent itself, which reads memory.
    observer("agent", Duration::from_secs(10)),
    // A handshake, within `connect_timeout`.
    observer("accept", Duration::from_secs(30)),
    // A database as a whole, out of its servers' latest snapshots.
    observer("topology", Duration::from_secs(10)),
    // The time between two samples of active sessions. The samples are reported with `activity`.
    observer("sample", Duration::from_secs(1)),
    reader("server", Duration::from_secs(10)),
    reader("activity", Duration::from_secs(10)),
    reader("locks", Duration::from_secs(5)),
    reader("database", Duration::from_secs(10)),
    reader("wal", Duration::from_secs(10)),
    reader("replication", Duration::from_secs(10)),
    reader("horizon", Duration::from_secs(10)),
    reader("autovacuum", Duration::from_secs(10)),
    reader("progress", Duration::from_secs(10)),
    reader("statements", Duration::from_secs(30)),
    reader("io", Duration::from_secs(30)),
    reader("subscriptions", Duration::from_secs(30)),
    reader("limits", Duration::from_secs(30)),
    reader("encryption", Duration::from_secs(30)),
    reader("sizes", Duration::from_mins(5)),
    reader("settings", Duration::from_mins(5)),
    reader("subscription_tables", Duration::from_mins(5)),
    reader("tables", Duration::from_mins(5)),
    reader("indexes", Duration::from_mins(5)),
    reader("sequences", Duration::from_mins(30)),
    reader("extensions", Duration::from_mins(30)),
    // Redis INFO.
    reader("info", Duration::from_secs(10)),
];

const INTERVAL_KEYS: [Key; CADENCES.len()] = {
    let mut keys = [key("", Shape::Duration); CADENCES.len()];
    let mut index = 0;
    while index < CADENCES.len() {
        keys[index] = key(CADENCES[index].key, Shape::Duration);
        index += 1;
    }
    keys
};

const READERS: usize = {
    let (mut count, mut index) = (0, 0);
    while index < CADENCES.len() {
        count += CADENCES[index].has_deadline as usize;
        index += 1;
    }
    count
};

const DEADLINE_KEYS: [Key; READERS] = {
    let mut keys = [key("", Shape::Duration); READERS];
    let (mut place, mut index) = (0, 0);
    while index < CADENCES.len() {
        if CADENCES[index].has_deadline {
            keys[place] = key(CADENCES[index].key, Shape::Duration);
            place += 1;
        }
        index += 1;
    }
    keys
};

pub const COLLECT_KEYS: &[Key] = &[
    key("interval", Shape::Table(&INTERVAL_KEYS)),
    key("lock_timeout", Shape::Duration),
    key("statement_timeout", Shape::Duration),
    key("deadline", Shape::Duration),
    key("deadlines", Shape::Table(&DEADLINE_KEYS)),
    key("connect_timeout", Shape::Duration),
    key("budget", Shape::Number),
    key("unused_after", Shape::Duration),
    key("catalog_series", Shape::Boolean),
];

impl Default for Intervals {
    fn default() -> Self {
        Self(CADENCES.iter().map(|cadence| (cadence.key.to_owned(), cadence.interval)).collect())
    }
}

impl From<BTreeMap<String, Serde<Duration>>> for Intervals {
    fn from(wanted: BTreeMap<String, Serde<Duration>>) -> Self {
        let mut intervals = Self::default();
        intervals.0.extend(wanted.into_iter().map(|(name, interval)| (name, *interval)));
        intervals
    }
}

impl Default for CollectConfig {
    fn default() -> Self {
        Self {
            interval: Intervals::default(),
            lock_timeout: Duration::from_millis(200),
            statement_timeout: Duration::from_secs(3),
            deadline: Duration::from_secs(4),
            deadlines: BTreeMap::new(),
            connect_timeout: Duration::from_secs(3),
            budget: 0.005,
            unused_after: STATISTICS_AGE_MIN,
            catalog_series: false,
        }
    }
}

impl Intervals {
    /// The interval of a collector. A collector without a default is a bug, and runs every 30 minutes.
    pub fn of(&self, collector: &str) -> Duration {
        debug_assert!(self.0.contains_key(collector), "`{collector}` has no interval");
        self.0.get(collector).copied().unwrap_or(Duration::from_mins(30))
    }
}

/// The shortest interval. Below it, the agent would monitor itself more than the server.
const INTERVAL_MIN: Duration = Duration::from_millis(100);

impl CollectConfig {
    /// The deadline of one run of this collector.
    pub fn deadline_of(&self, collector: &str) -> Duration {
        self.deadlines.get(collector).map_or(self.deadline, |deadline| **deadline)
    }

    /// The longest deadline of any collector.
    pub fn deadline_max(&self) -> Duration {
        self.deadlines.values().map(|deadline| **deadline).fold(self.deadline, Duration::max)
    }

    /// The statement timeout of a run with this deadline. The server gives up before the agent does.
    pub fn statement_timeout_within(&self, deadline: Duration) -> Duration {
        deadline.saturating_sub(self.deadline.saturating_sub(self.statement_timeout))
    }

    pub fn validate(&self, mut report: impl FnMut(String, String)) {
        let ordered = self.lock_timeout < self.statement_timeout && self.statement_timeout < self.deadline;
        if !ordered || self.lock_timeout.is_zero() {
            report(
                "collect".to_owned(),
                format!(
                    "timeouts must rise: lock_timeout ({:?}) < statement_timeout ({:?}) < deadline ({:?}), none of them 0",
                    self.lock_timeout, self.statement_timeout, self.deadline
                ),
            );
        }
        for (name, deadline) in &self.deadlines {
            let (deadline, left) = (**deadline, self.statement_timeout_within(**deadline));
            if left <= self.lock_timeout {
                let lock_timeout = self.lock_timeout;
                let min = lock_timeout + self.deadline.saturating_sub(self.statement_timeout);
                report(
                    format!("collect.deadlines.{name}"),
                    format!(
                        "{deadline:?} leaves the server {left:?} for a statement, and lock_timeout is {lock_timeout:?}; must be longer than {min:?}"
                    ),
                );
            }
        }
        for (name, interval) in &self.interval.0 {
            if *interval < INTERVAL_MIN {
                report(format!("collect.interval.{name}"), format!("{interval:?} is below the minimum of {INTERVAL_MIN:?}"));
            }
        }
        if !(0.0001..=1.0).contains(&self.budget) {
            report("collect.budget".to_owned(), format!("{} is not a share of one core; between 0.0001 and 1", self.budget));
        }
        if self.connect_timeout.is_zero() {
            report("collect.connect_timeout".to_owned(), "must not be 0".to_owned());
        }
    }
}
