//! Turns servers, and the agent itself, into snapshots.
//!
//! One task per server ([`schedule`]) runs that server's collectors, each at its own interval, in two sessions: one that stays, and one
//! that visits the datnames in turn ([`postgres::visit`]). A collector reads one family of facts and knows nothing of ticks, sessions that
//! end, budgets or alerts. Adding one is a file and a line in its engine's table
//! ([`postgres::collectors`], [`redis::collectors`]). The agent is a subject as well ([`agent`]), and so is each database with its servers
//! ([`database`]); both are read from memory.

pub mod agent;
pub mod database;
mod notebook;
pub mod postgres;
pub mod redis;
mod restarts;
mod schedule;
pub mod single_run;

use std::fmt;
use std::time::Duration;

use futures_util::FutureExt;
use futures_util::future::BoxFuture;
use pharos_model::alert::Now;
use pharos_model::snapshot::{FailureReason, PartId, Unlisted};
use pharos_model::snapshot::{Family, Table};

pub use notebook::Notebook;
pub use schedule::{ConnectFailure, ServerTask, Source};

use crate::dial::Trouble;
use crate::postgres::monitor::{ConnectError, QueryError};
use crate::redis::RedisError;
use crate::telemetry::logs::chain;

/// What one run read.
#[derive(Debug, Default)]
pub struct Facts {
    /// Changes when counters start anew as a whole.
    pub epoch: u64,
    pub families: Vec<Family>,
    pub tables: Vec<Table>,
    /// A collector that should run now rather than at its next tick, because of what this one saw.
    pub urgent: Option<PartId>,
    /// How many things have no series of their own and are in `other`.
    pub folded: u64,
    /// Which things have no series of their own, so that they are told from things that are gone.
    pub unlisted: Unlisted,
    /// What a datname keeps from the role, where the rest of it was read.
    pub hidden: Vec<Hidden>,
}

impl Facts {
    /// The table with this name, where the run made it.
    pub fn table(&self, name: &str) -> Option<&Table> {
        self.tables.iter().find(|table| table.name == name)
    }
}

/// Facts of one datname that are missing for want of a right, without an error.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Hidden {
    pub datname: String,
    /// One line: what is not known, and of how much.
    pub why: String,
    /// Whether people are warned of nothing meanwhile, and not only told less.
    pub is_grave: bool,
}

/// Reads one family of facts over a session.
pub trait Collector<S>: Send {
    /// The part of the snapshot that it fills.
    fn part(&self) -> PartId;
    fn interval(&self) -> Duration;
    /// Whether the budget hardly slows it: it shows trouble first, or reads what the others cost.
    fn is_essential(&self) -> bool {
        false
    }
    /// Between two runs it may look more often, at little: what it sees goes into its next run.
    fn sampling(&self) -> Option<Duration> {
        None
    }
    /// One such look. It may name a collector that should run at once; no snapshot goes out for it.
    fn sample<'a>(&'a mut self, _session: &'a mut S, _now: Now) -> BoxFuture<'a, Result<Option<PartId>, CollectError>> {
        std::future::ready(Ok(None)).boxed()
    }
    fn collect<'a>(&'a mut self, session: &'a mut S, now: Now) -> BoxFuture<'a, Result<Facts, CollectError>>;
}

/// Something that a server does not offer, and what makes the server offer it.
///
/// The cure is a value of its own because plugins print it as a command. A cure that is searched for in a text could be written by
/// the owner of any name in that text.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Missing {
    pub why: String,
    /// A statement or command that can be run as it is. Every name in it is quoted.
    pub cure: Option<String>,
}

impl Missing {
    pub fn new(why: impl Into<String>) -> Self {
        Self { why: why.into(), cure: None }
    }

    pub fn cured_by(self, cure: impl Into<String>) -> Self {
        Self { cure: Some(cure.into()), ..self }
    }
}

impl fmt::Display for Missing {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.why)?;
        self.cure.as_ref().map_or(Ok(()), |cure| write!(f, "; run: {cure}"))
    }
}

/// Why a part is missing.
#[derive(Debug, thiserror::Error)]
pub enum CollectError {
    /// Not an error of ours or the server's: it does not offer this.
    #[error("{0}")]
    Unsupported(Missing),
    /// The server would offer it to a role with more rights. The text says which.
    #[error("{0}")]
    Privilege(Missing),
    #[error("querying {collector}")]
    Query { collector: PartId, source: QueryError },
    #[error("reading a row of {collector}")]
    Row { collector: PartId, source: tokio_postgres::Error },
    #[error("opening a second session for {collector}")]
    Connect { collector: PartId, source: ConnectError },
    /// Nothing was read anywhere; this datname was the first.
    #[error("visiting {datname}: {why}")]
    Visit { datname: String, why: String, reason: FailureReason },
    #[error("asking for {collector}")]
    Redis { collector: PartId, source: RedisError },
}

impl CollectError {
    pub fn reason(&self) -> FailureReason {
        match self {
            Self::Unsupported(_) => FailureReason::Unsupported,
            Self::Privilege(_) => FailureReason::Privilege,
            Self::Query { source, .. } => source.reason(),
            Self::Row { .. } => FailureReason::Row,
            Self::Connect { source, .. } => source.reason().failure(),
            Self::Visit { reason, .. } => *reason,
            Self::Redis { source, .. } => source.reason().failure(),
        }
    }

    /// Whether the session can no longer be used.
    pub fn ends_session(&self) -> bool {
        match self {
            Self::Unsupported(_) | Self::Privilege(_) | Self::Row { .. } | Self::Visit { .. } => false,
            Self::Connect { source, .. } => source.is_shutdown(),
            Self::Query { source, .. } => source.ends_session(),
            Self::Redis { source, .. } => source.ends_session(),
        }
    }

    /// Whose trouble a session was that did not begin; none where there was one.
    pub fn trouble(&self) -> Option<Trouble> {
        match self {
            Self::Connect { source, .. } => Some(source.trouble()),
            _ => None,
        }
    }

    /// What mends it, as a statement or command that can be run as it is.
    pub fn cure(&self) -> Option<&str> {
        match self {
            Self::Unsupported(missing) | Self::Privilege(missing) => missing.cure.as_deref(),
            Self::Redis { source, .. } => source.cure(),
            Self::Query { .. } | Self::Row { .. } | Self::Connect { .. } | Self::Visit { .. } => None,
        }
    }

    /// The whole chain, for people.
    pub fn text(&self) -> String {
        chain(self)
    }
}
