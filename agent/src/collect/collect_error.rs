//! Why a part of a snapshot is missing, and the command that restores it.

use std::fmt;

use pharos_model::error_chain::chain;
use pharos_model::snapshot::{FailureReason, PartId};

use crate::dial::Trouble;
use crate::postgres::monitor::{ConnectError, QueryError};
use crate::redis::RedisError;

/// A thing that a server does not offer, and the command that makes the server offer it.
///
/// The cure is a value of its own because plugins print it as a command. A cure that is found in a text could be written by the owner
/// of any name in that text.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Missing {
    pub why: String,
    /// A statement or command that can be run unchanged. Every name in it is quoted.
    pub cure: Option<String>,
}

impl Missing {
    pub(crate) fn new(why: impl Into<String>) -> Self {
        Self { why: why.into(), cure: None }
    }

    /// Adds the command that makes the server offer it.
    pub(crate) fn cured_by(self, cure: impl Into<String>) -> Self {
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
pub(crate) enum CollectError {
    /// The server does not offer this; nothing failed.
    #[error("{0}")]
    Unsupported(Missing),
    /// The server would offer this to a role with more rights. The text names the rights.
    #[error("{0}")]
    Privilege(Missing),
    #[error("querying {collector}")]
    Query { collector: PartId, source: QueryError },
    #[error("reading a row of {collector}")]
    Row { collector: PartId, source: tokio_postgres::Error },
    #[error("opening a second session for {collector}")]
    Connect { collector: PartId, source: ConnectError },
    /// No datname could be visited. The error is that of the first datname.
    #[error("visiting {datname}: {why}")]
    Visit { datname: String, why: String, reason: FailureReason },
    #[error("asking for {collector}")]
    Redis { collector: PartId, source: RedisError },
}

impl CollectError {
    pub(crate) fn reason(&self) -> FailureReason {
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
    pub(crate) fn ends_session(&self) -> bool {
        match self {
            Self::Unsupported(_) | Self::Privilege(_) | Self::Row { .. } | Self::Visit { .. } => false,
            Self::Connect { source, .. } => source.is_shutdown(),
            Self::Query { source, .. } => source.ends_session(),
            Self::Redis { source, .. } => source.ends_session(),
        }
    }

    /// Names the side that caused the trouble, if no session began.
    pub(crate) fn trouble(&self) -> Option<Trouble> {
        match self {
            Self::Connect { source, .. } => Some(source.trouble()),
            _ => None,
        }
    }

    /// Returns the statement or command that removes the cause, to be run unchanged.
    pub(crate) fn cure(&self) -> Option<&str> {
        match self {
            Self::Unsupported(missing) | Self::Privilege(missing) => missing.cure.as_deref(),
            Self::Redis { source, .. } => source.cure(),
            Self::Query { .. } | Self::Row { .. } | Self::Connect { .. } | Self::Visit { .. } => None,
        }
    }

    /// The whole chain of errors, for people.
    pub(crate) fn text(&self) -> String {
        chain(self)
    }
}
