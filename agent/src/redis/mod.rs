//! Sessions with Redis. Nobody else in the crate opens a Redis connection.

mod bounded;

use std::io;
use std::time::Duration;

use redis::aio::MultiplexedConnection;
use redis::{AsyncConnectionConfig, Client, IntoConnectionInfo};
use rustix::io::Errno;
use tokio::net::TcpStream;
use tokio::time::Instant;
use tokio_util::task::TaskTracker;

use self::bounded::{ANSWER_BYTES_MAX, Bounded, Received};
use crate::config::database::RedisAddress;
use crate::config::secret::{SecretError, SecretSource};

/// Everything needed to open sessions with one server.
#[derive(Debug, Clone)]
pub struct Connector {
    pub address: RedisAddress,
    pub password: Option<SecretSource>,
    pub connect_timeout: Duration,
    /// How long the longest run of a collector may take.
    pub deadline: Duration,
}

#[derive(Debug, thiserror::Error)]
pub enum RedisError {
    #[error("no session within {0:?}")]
    ConnectDeadlineExceeded(Duration),
    #[error("no answer within {0:?}")]
    DeadlineExceeded(Duration),
    #[error("reading the password")]
    Password { source: SecretError },
    #[error("connecting")]
    Connect { source: redis::RedisError },
    #[error("{}", if is_own_limit(source) { "this machine does not let the agent connect, so nothing is known of the server" } else { "connecting" })]
    Unreached { source: io::Error },
    #[error("the server sends more than {} KiB in one answer; look at what answers at this address", ANSWER_BYTES_MAX >> 10)]
    Excess,
    #[error("the server answered with an error")]
    Server { source: redis::RedisError },
}

impl RedisError {
    /// A closed set, for metric labels.
    pub fn reason(&self) -> &'static str {
        match self {
            Self::ConnectDeadlineExceeded(_) | Self::DeadlineExceeded(_) => "timeout",
            Self::Password { .. } => "password",
            Self::Unreached { source } if is_own_limit(source) => "own-limit",
            Self::Unreached { .. } => "unreachable",
            Self::Excess => "too-much",
            Self::Connect { source } | Self::Server { source } => match source.kind() {
                redis::ErrorKind::AuthenticationFailed => "authentication",
                redis::ErrorKind::Io if matches!(self, Self::Server { .. }) => "closed",
                redis::ErrorKind::Io => "unreachable",
                _ if source.code() == Some("NOAUTH") || source.code() == Some("WRONGPASS") => "authentication",
                _ if source.code() == Some("NOPERM") => "privilege",
                _ => "query",
            },
        }
    }
}

impl RedisError {
    /// Whether our own operating system was in the way, so that nothing is known of the server.
    pub fn is_own_limit(&self) -> bool {
        self.reason() == "own-limit"
    }
}

/// Out of file descriptors, memory or local ports, or not allowed to connect.
fn is_own_limit(error: &io::Error) -> bool {
    let errno = error.raw_os_error().map(Errno::from_raw_os_error);
    matches!(errno, Some(Errno::MFILE | Errno::NFILE | Errno::NOMEM | Errno::NOBUFS | Errno::ADDRNOTAVAIL | Errno::ACCESS | Errno::PERM))
}

impl Connector {
    pub async fn connect(&self) -> Result<Session, RedisError> {
        let deadline = self.connect_timeout;
        let connection = tokio::time::timeout(deadline, self.open()).await;
        connection.unwrap_or(Err(RedisError::ConnectDeadlineExceeded(deadline)))
    }

    async fn open(&self) -> Result<Session, RedisError> {
        let refused = |source| RedisError::Connect { source };
        let info = self.address.url.as_str().into_connection_info().map_err(refused)?;
        let mut settings = info.redis_settings().clone();
        if let Some(password) = &self.password {
            settings = settings.set_password(password.read().await.map_err(|source| RedisError::Password { source })?.expose());
        }
        let config =
            AsyncConnectionConfig::new().set_connection_timeout(Some(self.connect_timeout)).set_response_timeout(Some(self.deadline));
        let received = Received::default();
        let connection = if self.address.tls() {
            let client = Client::open(info.set_redis_settings(settings)).map_err(refused)?;
            client.get_multiplexed_async_connection_with_config(&config).await.map_err(refused)?
        } else {
            let host = self.address.host().trim_matches(['[', ']']);
            let stream = TcpStream::connect((host, self.address.port())).await.map_err(|source| RedisError::Unreached { source })?;
            let stream = Bounded::new(stream, received.clone());
            let opened = MultiplexedConnection::new_with_config(&settings, stream, config).await;
            let (connection, driver) =
                opened.map_err(|source| if received.is_too_much() { RedisError::Excess } else { refused(source) })?;
            // It ends with the last handle of the connection.
            TaskTracker::new().spawn(driver);
            connection
        };
        Ok(Session { connection, received, until: Instant::now() + self.deadline, deadline: self.deadline })
    }
}

/// One connection; dropped after an error of the connection itself.
pub struct Session {
    connection: MultiplexedConnection,
    received: Received,
    /// The run of a collector that asks now: what it asks is answered until then or not at all.
    until: Instant,
    deadline: Duration,
}

impl Session {
    /// Begins a run: everything it asks is answered within `deadline`.
    pub fn begin(&mut self, deadline: Duration) {
        (self.until, self.deadline) = (Instant::now() + deadline, deadline);
    }

    /// `INFO` of every default section.
    pub async fn info(&mut self) -> Result<String, RedisError> {
        let mut command = redis::cmd("INFO");
        command.arg("default");
        self.received.begin();
        let answer = tokio::time::timeout_at(self.until, command.query_async(&mut self.connection)).await;
        match answer {
            Err(_) => Err(RedisError::DeadlineExceeded(self.deadline)),
            Ok(Err(_)) if self.received.is_too_much() => Err(RedisError::Excess),
            Ok(answer) => answer.map_err(|source| RedisError::Server { source }),
        }
    }
}
