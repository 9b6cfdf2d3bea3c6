//! Monitoring sessions with a Redis server: within a deadline, for one command.

use std::time::Duration;

use pharos_model::text::line;
use redis::aio::MultiplexedConnection;
use redis::{AsyncConnectionConfig, RedisConnectionInfo, Value};
use tokio::time::Instant;
use tokio_util::task::TaskTracker;

use super::endpoint::{Endpoint, LoggedIn};
use super::error::RedisError;
use super::refusal::{Answer, Refusal, Request};
use crate::bounded::Received;

/// Longest version of a server, in bytes.
const VERSION_BYTES_MAX: usize = 64;

/// Everything needed to open monitoring sessions with one server.
#[derive(Debug, Clone)]
pub struct Connector {
    pub endpoint: Endpoint,
    /// Longest time to open a session, TLS and login included.
    pub connect_timeout: Duration,
    /// Longest run of any collector.
    pub deadline: Duration,
}

impl Connector {
    /// Opens a session and logs in.
    pub async fn connect(&self) -> Result<Session, RedisError> {
        let session = tokio::time::timeout(self.connect_timeout, self.open()).await;
        session.unwrap_or_else(|_| Err(self.endpoint.too_late(self.connect_timeout)))
    }

    async fn open(&self) -> Result<Session, RedisError> {
        let LoggedIn { stream, received, user } = self.endpoint.open(self.connect_timeout).await?;
        let config = AsyncConnectionConfig::new().set_response_timeout(Some(self.deadline));
        // The login is done, so the library must not log in or send anything else by itself.
        let settings = RedisConnectionInfo::default().set_skip_set_lib_name();
        let opened = MultiplexedConnection::new_with_config(&settings, stream, config).await;
        let (connection, driver) = opened.map_err(|source| RedisError::Closed { source })?;
        // The driver ends with the last handle of the connection.
        TaskTracker::new().spawn(driver);
        Ok(Session { connection, received, version: None, user, until: Instant::now() + self.deadline, deadline: self.deadline })
    }
}

/// A monitoring session. Its owner drops it after an error of the connection itself.
pub struct Session {
    connection: MultiplexedConnection,
    received: Received,
    /// The version in the latest answer to `INFO`.
    version: Option<String>,
    /// The user of the agent on the server.
    user: String,
    /// When the collector's run ends. Answers after that time are not waited for.
    until: Instant,
    deadline: Duration,
}

impl Session {
    /// Begins a run of a collector. All its commands must be answered within `deadline`.
    pub fn begin(&mut self, deadline: Duration) {
        (self.until, self.deadline) = (Instant::now() + deadline, deadline);
    }

    /// Reads the default sections of `INFO`. Paths in them may have any encoding. Bytes that are not UTF-8 are replaced.
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
            Ok(Ok(_)) => Err(RedisError::Protocol("the answer of the server to INFO is not a text; check what answers at this address")),
        }
    }

    /// The version of the server, once it has answered `INFO`.
    pub fn version(&self) -> Option<&str> {
        self.version.as_deref()
    }

    fn refused(&self, source: redis::RedisError) -> RedisError {
        match Answer::of(&source) {
            Some(answer) => RedisError::Refused { refusal: Refusal::of(&answer, Request::Info, &self.user), text: answer.text },
            None if source.kind() == redis::ErrorKind::Io => RedisError::Closed { source },
            None => RedisError::Unreadable { source },
        }
    }
}

/// Reads the version from the text of `INFO`.
fn version(info: &str) -> Option<String> {
    let version = info.lines().find_map(|line| line.strip_prefix("redis_version:"))?;
    Some(line(version, VERSION_BYTES_MAX).trim().to_owned()).filter(|version| !version.is_empty())
}
