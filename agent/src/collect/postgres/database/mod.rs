//! Counters of each database inside the server (pg_stat_database) and its distance from wraparound (pg_database).

mod collector;
mod counters;
mod failures;

pub(super) use self::collector::DatnameCounters;
