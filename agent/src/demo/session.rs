//! Superuser and application sessions of the demo's own, over the Unix socket.
//!
//! The socket needs no password, even if TCP needs one. So fixtures and faults work the same with a server that demands
//! TLS and passwords.

use std::ops::{Deref, DerefMut};
use std::path::{Path, PathBuf};
use std::time::Duration;

use tokio::time::timeout;
use tokio_postgres::types::FromSqlOwned;
use tokio_postgres::{Client, NoTls};
use tokio_util::task::{AbortOnDropHandle, TaskTracker};

const CONNECT_DEADLINE: Duration = Duration::from_secs(10);
const STATEMENT_DEADLINE: Duration = Duration::from_secs(60);

#[derive(Debug, thiserror::Error)]
pub enum SessionError {
    #[error("connecting as {user} to {datname}")]
    Connect { user: String, datname: String, source: tokio_postgres::Error },
    #[error("no connection as {user} to {datname} within {CONNECT_DEADLINE:?}")]
    ConnectDeadline { user: String, datname: String },
    #[error("running `{sql}`")]
    Sql { sql: String, source: tokio_postgres::Error },
    #[error("`{sql}` took longer than {deadline:?}")]
    StatementDeadline { sql: String, deadline: Duration },
}

/// The address of a PostgreSQL server; cheap to clone, and free of the lifetime of the server.
#[derive(Debug, Clone)]
pub struct PostgresAddress {
    socket_dir: PathBuf,
    port: u16,
    tasks: TaskTracker,
}

impl PostgresAddress {
    pub(super) fn new(socket_dir: &Path, port: u16, tasks: &TaskTracker) -> Self {
        Self { socket_dir: socket_dir.to_owned(), port, tasks: tasks.clone() }
    }

    pub fn socket_dir(&self) -> &Path {
        &self.socket_dir
    }

    pub fn port(&self) -> u16 {
        self.port
    }

    pub async fn connect(&self, user: &str, datname: &str, application: &str) -> Result<Session, SessionError> {
        let mut config = tokio_postgres::Config::new();
        config.host_path(&self.socket_dir).port(self.port).user(user).dbname(datname).application_name(application);
        let (user, datname) = (user.to_owned(), datname.to_owned());
        let (client, connection) = match timeout(CONNECT_DEADLINE, config.connect(NoTls)).await {
            Ok(Ok(connected)) => connected,
            Ok(Err(source)) => return Err(SessionError::Connect { user, datname, source }),
            Err(_) => return Err(SessionError::ConnectDeadline { user, datname }),
        };
        let transport = self.tasks.spawn(async move {
            if let Err(error) = connection.await {
                tracing::debug!(%error, "a session of the demo ended");
            }
        });
        Ok(Session { client, _transport: AbortOnDropHandle::new(transport) })
    }
}

/// A client whose connection closes with it, even while the server owes it an answer.
///
/// A bare client leaves its connection task waiting for that answer: a frozen server would keep the tracker waiting.
pub struct Session {
    client: Client,
    _transport: AbortOnDropHandle<()>,
}

impl Session {
    /// Runs statements whose results are of no interest.
    pub async fn run(&self, sql: &str) -> Result<(), SessionError> {
        self.run_within(STATEMENT_DEADLINE, sql).await
    }

    pub async fn run_within(&self, deadline: Duration, sql: &str) -> Result<(), SessionError> {
        within(deadline, sql, self.client.batch_execute(sql)).await
    }

    /// Queries a single value.
    pub async fn query_value<T: FromSqlOwned>(&self, sql: &str) -> Result<T, SessionError> {
        let value = async { self.client.query_one(sql, &[]).await?.try_get(0) };
        within(STATEMENT_DEADLINE, sql, value).await
    }
}

async fn within<T>(
    deadline: Duration,
    sql: &str,
    answer: impl Future<Output = Result<T, tokio_postgres::Error>>,
) -> Result<T, SessionError> {
    match timeout(deadline, answer).await {
        Ok(answer) => answer.map_err(|source| SessionError::Sql { sql: sql.to_owned(), source }),
        Err(_) => Err(SessionError::StatementDeadline { sql: sql.to_owned(), deadline }),
    }
}

impl Deref for Session {
    type Target = Client;

    fn deref(&self) -> &Client {
        &self.client
    }
}

impl DerefMut for Session {
    fn deref_mut(&mut self) -> &mut Client {
        &mut self.client
    }
}

pub(super) fn quote_identifier(name: &str) -> String {
    format!("\"{}\"", name.replace('"', "\"\""))
}

pub(super) fn quote_literal(text: &str) -> String {
    format!("'{}'", text.replace('\'', "''"))
}
