//! Turns servers, and the agent itself, into snapshots.
//!
//! One task per server ([`schedule`]) runs that server's collectors, each at its own interval, in two sessions: one that stays, and one
//! that visits the datnames in turn ([`postgres::visit`]). A collector reads one family of facts and knows nothing of ticks, sessions that
//! end, budgets or alerts. Adding one is a file and a line in its engine's table
//! (`postgres/source.rs`, `redis/source.rs`). The agent is a subject as well ([`agent`]), and so is each database with its servers
//! ([`database`]); both are read from memory.

pub mod agent;
mod collect_error;
mod collector;
pub mod database;
mod notebook;
pub mod postgres;
pub mod redis;
mod restarts;
mod schedule;
pub mod single_run;

pub use self::collect_error::{CollectError, Missing};
pub use self::collector::{Collector, Facts, Hidden};
pub use self::notebook::Notebook;
pub use self::schedule::{ConnectFailure, ServerTask, Source};
