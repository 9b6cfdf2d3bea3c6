//! `[collect]`: how often and how patiently to read servers.

use std::collections::BTreeMap;
use std::time::Duration;

use humantime_serde::Serde;
use serde::Deserialize;

use super::shape::{Key, Shape, key};

#[derive(Debug, Clone, PartialEq, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct CollectConfig {
    /// Time between two runs of each collector.
    pub interval: Intervals,
    /// How long a statement of ours may wait for a lock on the server.
    #[serde(with = "humantime_serde")]
    pub lock_timeout: Duration,
    /// How long the server may work on a statement of ours.
    #[serde(with = "humantime_serde")]
    pub statement_timeout: Duration,
    /// How long one run of a collector may take, all its statements together; then what runs is cancelled and its session dropped.
    #[serde(with = "humantime_serde")]
    pub deadline: Duration,
    /// Collectors with a deadline of their own.
    deadlines: BTreeMap<String, Serde<Duration>>,
    /// How long a new session may take, TLS and authentication included.
    #[serde(with = "humantime_serde")]
    pub connect_timeout: Duration,
}

#[derive(Debug, Clone, PartialEq, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Intervals {
    /// The agent itself.
    #[serde(with = "humantime_serde")]
    pub agent: Duration,
    #[serde(with = "humantime_serde")]
    pub accept: Duration,
    #[serde(with = "humantime_serde")]
    pub server: Duration,
    #[serde(with = "humantime_serde")]
    pub activity: Duration,
    #[serde(with = "humantime_serde")]
    pub database: Duration,
    #[serde(with = "humantime_serde")]
    pub statements: Duration,
    #[serde(with = "humantime_serde")]
    pub locks: Duration,
    #[serde(with = "humantime_serde")]
    pub replication: Duration,
    /// Redis INFO.
    #[serde(with = "humantime_serde")]
    pub info: Duration,
}

const COLLECTORS: &[Key] = &[
    key("agent", Shape::Duration),
    key("accept", Shape::Duration),
    key("server", Shape::Duration),
    key("activity", Shape::Duration),
    key("database", Shape::Duration),
    key("statements", Shape::Duration),
    key("locks", Shape::Duration),
    key("replication", Shape::Duration),
    key("info", Shape::Duration),
];

/// All but `agent`, which reads memory, and `accept`, which only connects, within `connect_timeout`.
const READERS: &[Key] = match COLLECTORS {
    [_, _, readers @ ..] => readers,
    _ => &[],
};

pub const COLLECT_KEYS: &[Key] = &[
    key("interval", Shape::Table(COLLECTORS)),
    key("lock_timeout", Shape::Duration),
    key("statement_timeout", Shape::Duration),
    key("deadline", Shape::Duration),
    key("deadlines", Shape::Table(READERS)),
    key("connect_timeout", Shape::Duration),
];

impl Default for Intervals {
    fn default() -> Self {
        let seconds = Duration::from_secs;
        Self {
            agent: seconds(10),
            accept: seconds(30),
            server: seconds(10),
            activity: seconds(10),
            database: seconds(10),
            statements: seconds(30),
            locks: seconds(5),
            replication: seconds(10),
            info: seconds(10),
        }
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
        }
    }
}

impl Intervals {
    fn named(&self) -> [(&'static str, Duration); 9] {
        [
            ("agent", self.agent),
            ("accept", self.accept),
            ("server", self.server),
            ("activity", self.activity),
            ("database", self.database),
            ("statements", self.statements),
            ("locks", self.locks),
            ("replication", self.replication),
            ("info", self.info),
        ]
    }
}

/// Below this the agent would watch itself more than the server.
const INTERVAL_MIN: Duration = Duration::from_millis(100);

impl CollectConfig {
    /// How long one run of this collector may take.
    pub fn deadline_of(&self, collector: &str) -> Duration {
        self.deadlines.get(collector).map_or(self.deadline, |deadline| **deadline)
    }

    /// The longest that any collector may take.
    pub fn deadline_max(&self) -> Duration {
        self.deadlines.values().map(|deadline| **deadline).fold(self.deadline, Duration::max)
    }

    /// How long the server may work on one statement of a run with this deadline: it gives up before the agent does.
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
        for (name, interval) in self.interval.named() {
            if interval < INTERVAL_MIN {
                report(format!("collect.interval.{name}"), format!("{interval:?} is below the minimum of {INTERVAL_MIN:?}"));
            }
        }
        if self.connect_timeout.is_zero() {
            report("collect.connect_timeout".to_owned(), "must not be 0".to_owned());
        }
    }
}
