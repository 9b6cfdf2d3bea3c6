//! Why a monitoring session did not begin.

use tokio_postgres::error::SqlState;

use super::places::SESSIONS_MAX;
use crate::dial::Trouble;
use crate::postgres::RefusalReason;
use crate::postgres::endpoint::OpenError;
use crate::postgres::refusal::{Refusal, refusal_of};

/// Why a monitoring session did not begin.
#[derive(Debug, thiserror::Error)]
pub enum ConnectError {
    #[error(transparent)]
    Open(#[from] OpenError),
    #[error("the agent has {SESSIONS_MAX} sessions with the server already, one of them hangs, and it opens no third")]
    NoPlace,
    /// A pooler lends one backend to many clients. Settings of the agent would reach other clients, and facts could be about any backend.
    #[error(
        "a connection pooler answers at this address, not PostgreSQL itself ({seen}); \
         point the URL at the server's own host and port, and leave the pooler to applications"
    )]
    Pooler { seen: String },
    #[error("beginning the session: {}", refusal.meaning)]
    Limits {
        refusal: Refusal,
        /// Whether the session had the agent's own time limits by then.
        are_own: bool,
        source: tokio_postgres::Error,
    },
    #[error("PostgreSQL {0} is too old; Pharos supports 14 and newer")]
    TooOld(String),
}

impl ConnectError {
    pub fn reason(&self) -> RefusalReason {
        match self {
            Self::Open(source) => source.reason(),
            Self::NoPlace => RefusalReason::NoPlace,
            Self::TooOld(_) => RefusalReason::Unsupported,
            Self::Pooler { .. } => RefusalReason::Pooler,
            Self::Limits { refusal, .. } => refusal.reason,
        }
    }

    /// Names the side that caused the trouble.
    pub fn trouble(&self) -> Trouble {
        match self {
            Self::Open(source) => source.trouble(),
            _ => Trouble::Server,
        }
    }

    /// Whether the server is shutting down and waits until all sessions end.
    pub fn is_shutdown(&self) -> bool {
        self.reason() == RefusalReason::Stopping
    }

    /// Reads the error of the first statements of a session.
    pub(super) fn from_setup(source: tokio_postgres::Error) -> Self {
        Self::from_pooler(&source).unwrap_or_else(|| Self::Limits { refusal: refusal_of(&source), are_own: false, source })
    }

    /// Reads the answer of a pooler. PgBouncer uses this code for all its own answers. A server never sends it to a client that follows
    /// the protocol.
    pub(super) fn from_pooler(error: &tokio_postgres::Error) -> Option<Self> {
        let answer = error.as_db_error().filter(|answer| *answer.code() == SqlState::PROTOCOL_VIOLATION)?;
        Some(Self::Pooler { seen: format!("its answer: {}", answer.message()) })
    }

    /// Marks an error of a session that already had the agent's own time limits.
    pub(super) fn within_own_limits(self) -> Self {
        match self {
            Self::Limits { refusal, source, .. } => Self::Limits { refusal, are_own: true, source },
            other => other,
        }
    }

    /// Whether preset time limits may have ended the session before it could set its own.
    pub(super) fn may_be_preset(&self) -> bool {
        match self {
            Self::Open(OpenError::Refused { source, .. }) => source.code().is_some_and(|code| is_time_limit(code.code())),
            // A session that ends between two statements ends without an answer.
            Self::Limits { are_own: false, source, .. } => source.code().is_none_or(|code| is_time_limit(code.code())),
            _ => false,
        }
    }
}

/// Codes of preset limits that end a statement or session: statements, locks, idle sessions, idle and whole transactions.
fn is_time_limit(code: &str) -> bool {
    matches!(code, "57014" | "55P03" | "57P05" | "25P03" | "25P04")
}
