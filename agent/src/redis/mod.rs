//! Sessions with Redis: how they are opened, encrypted, bounded and refused.
//!
//! Nobody else in the crate opens a Redis connection.

mod connect;
mod handshake;
mod refusal;

use std::io;
use std::time::Duration;

use pharos_model::text::line;
use redis::Value;
use redis::aio::MultiplexedConnection;
use tokio::time::Instant;

pub use self::connect::Connector;
use self::refusal::{Answer, Asked, Refusal, RefusalReason};
use crate::bounded::Received;
use crate::config::secret::SecretError;
use crate::dial::{DialError, Obstacle, Trouble, limit_of_file};
use crate::tls::{CertificateProblem, TlsError};

/// One answer. `INFO` of a large server is a tenth of it.
const ANSWER_BYTES_MAX: usize = 256 << 10;
/// Bytes of a server's version.
const VERSION_BYTES_MAX: usize = 64;

#[derive(Debug, thiserror::Error)]
pub enum RedisError {
    #[error("no session within {0:?}")]
    ConnectDeadlineExceeded(Duration),
    /// A server that speaks plain text waits for the end of what it takes for a line.
    #[error("no encrypted session within {0:?}: the server hangs, or does not encrypt at this port (tls-port); then write redis://")]
    EncryptionDeadlineExceeded(Duration),
    #[error("no answer within {0:?}")]
    DeadlineExceeded(Duration),
    #[error("reading the password")]
    Password { source: SecretError },
    #[error("preparing TLS")]
    Tls { source: TlsError },
    /// What the server has to show is in the text; the libraries' words for it would only follow.
    #[error("{0}")]
    Certificate(CertificateProblem),
    #[error("no encrypted session; {meaning}")]
    Encryption { meaning: &'static str, source: io::Error },
    #[error("{}", obstacle.meaning().unwrap_or("connecting"))]
    Unreached { obstacle: Obstacle, source: io::Error },
    #[error("the server answers `{words}`: {refusal}")]
    Refused { refusal: Refusal, words: String },
    #[error("the server ended the connection and said: {words}")]
    Ended { words: String, source: io::Error },
    #[error("the server ended the connection before it said anything{}", if *is_encrypted { "" } else { "; where it encrypts at this port (tls-port), write rediss://" })]
    EndedInSilence { is_encrypted: bool, source: io::Error },
    #[error("the server ended the connection")]
    Closed { source: redis::RedisError },
    #[error("the server sends more than {} KiB in one answer; look at what answers at this address", ANSWER_BYTES_MAX >> 10)]
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
            Self::Ended { .. } | Self::EndedInSilence { .. } | Self::Closed { .. } => RefusalReason::Closed,
            Self::Excess => RefusalReason::TooMuch,
            Self::Protocol(_) | Self::Unreadable { .. } => RefusalReason::Protocol,
        }
    }

    /// The command that mends it, where there is one. It never comes from the server's words.
    pub fn cure(&self) -> Option<&str> {
        match self {
            Self::Refused { refusal, .. } => refusal.cure.as_deref(),
            _ => None,
        }
    }

    /// Whose trouble it is. What is read before the server is asked says nothing of the server.
    pub fn trouble(&self) -> Trouble {
        match self {
            Self::Unreached { obstacle, .. } if obstacle.is_own() => Trouble::OfMachine,
            Self::Password { .. } | Self::Tls { .. } => Trouble::OfFiles,
            _ => Trouble::OfServer,
        }
    }

    fn of_dial(error: DialError) -> Self {
        match error {
            DialError::DeadlineExceeded(within) => Self::ConnectDeadlineExceeded(within),
            DialError::Refused { obstacle, source } => Self::Unreached { obstacle, source },
        }
    }

    fn of_password(source: SecretError) -> Self {
        match source.of_file().and_then(limit_of_file) {
            Some(obstacle) => Self::Unreached { obstacle, source: io::Error::other(source) },
            None => Self::Password { source },
        }
    }

    fn of_tls(source: TlsError) -> Self {
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

/// One connection; dropped after an error of the connection itself.
pub struct Session {
    connection: MultiplexedConnection,
    received: Received,
    /// As `INFO` said it last.
    version: Option<String>,
    /// Whom the server takes the agent for.
    user: String,
    /// The run of a collector that asks now: what it asks is answered until then or not at all.
    until: Instant,
    deadline: Duration,
}

impl Session {
    /// Begins a run: everything it asks is answered within `deadline`.
    pub fn begin(&mut self, deadline: Duration) {
        (self.until, self.deadline) = (Instant::now() + deadline, deadline);
    }

    /// `INFO` of every default section. Paths in it may be in any encoding.
    pub async fn info(&mut self) -> Result<String, RedisError> {
        let mut command = redis::cmd("INFO");
        command.arg("default");
        self.received.begin();
        let answer = tokio::time::timeout_at(self.until, command.query_async(&mut self.connection)).await;
        match answer {
            Err(_) => Err(RedisError::DeadlineExceeded(self.deadline)),
            Ok(Err(_)) if self.received.is_too_much() => Err(RedisError::Excess),
            Ok(Err(source)) => Err(self.refused(source)),
            Ok(Ok(Value::BulkString(text))) => {
                let text = String::from_utf8_lossy(&text).into_owned();
                self.version = version(&text).or(self.version.take());
                Ok(text)
            }
            Ok(Ok(_)) => Err(RedisError::Protocol("the server answers INFO with what is no text; look at what answers at this address")),
        }
    }

    /// None before the server answered `INFO`.
    pub fn version(&self) -> Option<&str> {
        self.version.as_deref()
    }

    fn refused(&self, source: redis::RedisError) -> RedisError {
        match Answer::of(&source) {
            Some(answer) => RedisError::Refused { refusal: Refusal::of(&answer, Asked::Info, &self.user), words: answer.words },
            None if source.kind() == redis::ErrorKind::Io => RedisError::Closed { source },
            None => RedisError::Unreadable { source },
        }
    }
}

/// The version in the text of `INFO`.
fn version(info: &str) -> Option<String> {
    let version = info.lines().find_map(|line| line.strip_prefix("redis_version:"))?;
    Some(line(version, VERSION_BYTES_MAX).trim().to_owned()).filter(|version| !version.is_empty())
}
