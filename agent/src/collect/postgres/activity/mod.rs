//! Sessions, their states and their waits (pg_stat_activity): sampled every second, reported with each run.

mod collector;
mod connections;
mod history;
mod wait_classes;

pub(super) use self::collector::Activity;
