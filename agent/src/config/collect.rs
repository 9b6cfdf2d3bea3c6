//! `[collect]`: how often and how patiently to read servers.

use std::time::Duration;

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
    /// How long the agent waits for a collector; then it cancels the statement and drops the session.
    #[serde(with = "humantime_serde")]
    pub deadline: Duration,
    /// How long a new session may take, TLS and authentication included.
    #[serde(with = "humantime_serde")]
    pub connect_timeout: Duration,
}

#[derive(Debug, Clone, PartialEq, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Intervals {
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

pub const COLLECT_KEYS: &[Key] = &[
    key(
        "interval",
        Shape::Table(&[
            key("accept", Shape::Duration),
            key("server", Shape::Duration),
            key("activity", Shape::Duration),
            key("database", Shape::Duration),
            key("statements", Shape::Duration),
            key("locks", Shape::Duration),
            key("replication", Shape::Duration),
            key("info", Shape::Duration),
        ]),
    ),
    key("lock_timeout", Shape::Duration),
    key("statement_timeout", Shape::Duration),
    key("deadline", Shape::Duration),
    key("connect_timeout", Shape::Duration),
];

impl Default for Intervals {
    fn default() -> Self {
        let seconds = Duration::from_secs;
        Self {
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
            connect_timeout: Duration::from_secs(3),
        }
    }
}

impl Intervals {
    fn named(&self) -> [(&'static str, Duration); 8] {
        [
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
