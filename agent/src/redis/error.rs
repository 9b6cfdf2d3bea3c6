//! Why there is no session with a Redis server, or no answer.

use std::io;
use std::time::Duration;

use super::refusal::{Refusal, RefusalReason};
use crate::config::secret::SecretError;
use crate::dial::{DialError, Obstacle, Trouble, limit_of_file};
use crate::tls::{CertificateProblem, TlsError};

/// Most bytes of one answer. `INFO` of a large server has a tenth of it.
pub(super) const ANSWER_BYTES_MAX: usize = 256 << 10;

/// Why there is no session with a Redis server, or no answer.
#[derive(Debug, thiserror::Error)]
pub enum RedisError {
    #[error("no session within {0:?}")]
    ConnectDeadlineExceeded(Duration),
    /// A server without TLS takes the handshake for an unfinished line, and waits for its end.
    #[error("no encrypted session within {0:?}: the server hangs, or does not encrypt at this port (tls-port); then write redis://")]
    EncryptionDeadlineExceeded(Duration),
    #[error("no answer within {0:?}")]
    DeadlineExceeded(Duration),
    #[error("reading the password")]
    Password { source: SecretError },
    #[error("preparing TLS")]
    Tls { source: TlsError },
    /// The text names what is wrong with the certificate. The libraries' errors would only repeat it.
    #[error("{0}")]
    Certificate(CertificateProblem),
    #[error("no encrypted session; {meaning}")]
    Encryption { meaning: &'static str, source: io::Error },
    #[error("{}", obstacle.meaning().unwrap_or("connecting"))]
    Unreached { obstacle: Obstacle, source: io::Error },
    #[error("the server answers `{text}`: {refusal}")]
    Refused { refusal: Refusal, text: String },
    #[error("the server ended the connection with the error: {text}")]
    Ended { text: String, source: io::Error },
    #[error("the server ended the connection before it sent an answer{}", if *is_encrypted { "" } else { "; where it encrypts at this port (tls-port), write rediss://" })]
    EndedWithoutAnswer { is_encrypted: bool, source: io::Error },
    #[error("the server ended the connection")]
    Closed { source: redis::RedisError },
    #[error("the server sends more than {} KiB in one answer; check what answers at this address", ANSWER_BYTES_MAX >> 10)]
    Excess,
    #[error("{0}")]
    Protocol(&'static str),
    #[error("the answer of the server cannot be read")]
    Unreadable { source: redis::RedisError },
}

impl RedisError {
    pub fn reason(&self) -> RefusalReason {
        match self {
            Self::ConnectDeadlineExceeded(_) | Self::EncryptionDeadlineExceeded(_) | Self::DeadlineExceeded(_) => RefusalReason::Timeout,
            Self::Password { .. } => RefusalReason::Password,
            Self::Tls { .. } | Self::Certificate(_) | Self::Encryption { .. } => RefusalReason::Tls,
            Self::Unreached { obstacle, .. } if obstacle.is_own() => RefusalReason::OwnLimit,
            Self::Unreached { .. } => RefusalReason::Unreachable,
            Self::Refused { refusal, .. } => refusal.reason,
            Self::Ended { .. } | Self::EndedWithoutAnswer { .. } | Self::Closed { .. } => RefusalReason::Closed,
            Self::Excess => RefusalReason::TooMuch,
            Self::Protocol(_) | Self::Unreadable { .. } => RefusalReason::Protocol,
        }
    }

    /// Returns the command that removes the cause of the refusal, if there is one. It never contains text of the server.
    pub fn cure(&self) -> Option<&str> {
        match self {
            Self::Refused { refusal, .. } => refusal.cure.as_deref(),
            _ => None,
        }
    }

    /// Names the side that caused the trouble. Files that are read before the server is asked show nothing about the server.
    pub fn trouble(&self) -> Trouble {
        match self {
            Self::Unreached { obstacle, .. } if obstacle.is_own() => Trouble::Machine,
            Self::Password { .. } | Self::Tls { .. } => Trouble::Files,
            _ => Trouble::Server,
        }
    }

    pub(super) fn from_dial(error: DialError) -> Self {
        match error {
            DialError::DeadlineExceeded(within) => Self::ConnectDeadlineExceeded(within),
            DialError::Refused { obstacle, source } => Self::Unreached { obstacle, source },
        }
    }

    pub(super) fn from_password(source: SecretError) -> Self {
        match source.of_file().and_then(limit_of_file) {
            Some(obstacle) => Self::Unreached { obstacle, source: io::Error::other(source) },
            None => Self::Password { source },
        }
    }

    pub(super) fn from_tls(source: TlsError) -> Self {
        match source.of_file().and_then(limit_of_file) {
            Some(obstacle) => Self::Unreached { obstacle, source: io::Error::other(source) },
            None => Self::Tls { source },
        }
    }

    /// Whether the session can no longer be used.
    pub fn ends_session(&self) -> bool {
        self.reason().ends_session()
    }
}
