//! Why a statement of a monitoring session failed.

use std::time::Duration;

use pharos_model::postgres::intake::Excess;
use pharos_model::snapshot::FailureReason;
use tokio_postgres::error::Severity;

use crate::postgres::refusal::excess;

/// Why a statement of a monitoring session failed.
#[derive(Debug, thiserror::Error)]
pub enum QueryError {
    #[error("no answer within {0:?}")]
    DeadlineExceeded(Duration),
    #[error("the server answered with an error")]
    Server { source: tokio_postgres::Error },
    #[error("the session ended")]
    Closed { source: tokio_postgres::Error },
    #[error("{source}; {}", excess(*source).meaning)]
    Excess { source: Excess },
}

impl QueryError {
    pub fn reason(&self) -> FailureReason {
        match self {
            Self::DeadlineExceeded(_) => FailureReason::Timeout,
            Self::Closed { .. } => FailureReason::Closed,
            Self::Excess { source } => excess(*source).reason.failure(),
            Self::Server { source } => match source.code().map(tokio_postgres::error::SqlState::code) {
                Some("57014") => FailureReason::StatementTimeout,
                Some("55P03") => FailureReason::LockTimeout,
                Some("42501") => FailureReason::Privilege,
                Some("22021" | "22P05") => FailureReason::Encoding,
                Some("0A000") => FailureReason::NotSupported,
                Some(code) if code.starts_with("53") => FailureReason::Resources,
                _ => FailureReason::Query,
            },
        }
    }

    /// Whether the session can no longer be used.
    pub fn ends_session(&self) -> bool {
        matches!(self, Self::DeadlineExceeded(_) | Self::Closed { .. } | Self::Excess { .. })
    }
}

/// Whether the server ends the session with this error: timeouts of sessions and transactions, a shutdown, a crash.
pub(super) fn is_session_end(error: &tokio_postgres::Error) -> bool {
    error.as_db_error().is_some_and(|error| {
        matches!(error.parsed_severity(), Some(Severity::Fatal | Severity::Panic))
            || matches!(error.code().code(), "57P01" | "57P02" | "57P03" | "57P04" | "57P05" | "25P03" | "25P04")
    })
}
