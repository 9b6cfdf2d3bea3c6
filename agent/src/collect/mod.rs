//! Turns servers, and the agent itself, into snapshots.
//!
//! One task per server ([`schedule`]) runs the collectors of that server, each at its own interval. It uses two sessions: one stays open,
//! the other one visits the datnames in turn ([`postgres::visit`]). A collector reads one family of facts. Ticks, lost sessions, budgets
//! and alerts are not its concern. A new collector is a file and a line in the table of its product (`postgres/source.rs`,
//! `redis/source.rs`). The agent is a subject as well ([`agent`]), and so is each database with its servers ([`database`]); both are read
//! from memory.

pub(crate) mod agent;
mod collect_error;
mod collector;
pub(crate) mod database;
mod notebook;
pub(crate) mod postgres;
pub(crate) mod redis;
mod restarts;
mod schedule;
mod send;
pub(crate) mod single_run;

pub(crate) use self::collect_error::{CollectError, Missing};
pub(crate) use self::collector::{Collector, Facts, Hidden};
pub(crate) use self::notebook::{NoteName, Notebook};
pub(crate) use self::schedule::{ConnectFailure, ServerTask, Source};
