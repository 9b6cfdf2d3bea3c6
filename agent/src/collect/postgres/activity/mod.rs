//! Who is connected, and who works or waits for what (pg_stat_activity): looked at every second, told with each run.

mod collector;
mod connections;
mod history;
mod wait_classes;

pub use self::collector::Activity;
