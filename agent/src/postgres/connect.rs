//! Opening a session, within a deadline, with a reason when it fails.

use std::time::Duration;

use tokio_postgres::config::SslMode;
use tokio_postgres::error::SqlState;
use tokio_postgres::{Client, NoTls};
use tokio_postgres_rustls::MakeRustlsConnect;
use tokio_util::task::TaskTracker;
use tracing::debug;

use super::session::{Limits, Session};
use super::tls::{self, TlsError};
use crate::config::collect::CollectConfig;
use crate::config::database::{PostgresAddress, TlsConfig};
use crate::config::secret::{SecretError, SecretSource};

/// Everything needed to open sessions with one server.
#[derive(Debug, Clone)]
pub struct Connector {
    pub address: PostgresAddress,
    pub password: Option<SecretSource>,
    pub tls: TlsConfig,
    /// Names the agent in pg_stat_activity.
    pub application_name: String,
    pub collect: CollectConfig,
    pub tasks: TaskTracker,
}

#[derive(Debug, thiserror::Error)]
pub enum ConnectError {
    #[error("no session within {0:?}")]
    DeadlineExceeded(Duration),
    #[error("the server refused the session")]
    Refused { source: tokio_postgres::Error },
    #[error("reading the password")]
    Password { source: SecretError },
    #[error("preparing TLS")]
    Tls { source: TlsError },
    #[error("setting the session's limits")]
    Limits { source: tokio_postgres::Error },
    #[error("PostgreSQL {0} is too old; Pharos supports 14 and newer")]
    TooOld(String),
}

impl ConnectError {
    /// A closed set, for metric labels.
    pub fn reason(&self) -> &'static str {
        match self {
            Self::DeadlineExceeded(_) => "timeout",
            Self::Password { .. } => "password",
            Self::Tls { .. } => "tls",
            Self::TooOld(_) => "unsupported",
            Self::Refused { source } | Self::Limits { source } => match source.code() {
                Some(&SqlState::CANNOT_CONNECT_NOW) => "starting",
                Some(&SqlState::TOO_MANY_CONNECTIONS) => "too-many-connections",
                Some(code) if code.code().starts_with("28") => "authentication",
                Some(_) => "refused",
                None => "unreachable",
            },
        }
    }
}

/// The encryption of a session, kept because cancelling needs it again.
#[derive(Clone)]
pub(super) enum Encryption {
    Plain,
    Rustls(Box<MakeRustlsConnect>),
}

impl Connector {
    /// Opens a session whose limits are set.
    pub async fn connect(&self) -> Result<Session, ConnectError> {
        let deadline = self.collect.connect_timeout;
        tokio::time::timeout(deadline, self.open()).await.unwrap_or(Err(ConnectError::DeadlineExceeded(deadline)))
    }

    async fn open(&self) -> Result<Session, ConnectError> {
        let encryption = match tls::connector(&self.tls, self.address.is_local()).map_err(|source| ConnectError::Tls { source })? {
            Some(rustls) => Encryption::Rustls(Box::new(rustls)),
            None => Encryption::Plain,
        };
        let client = self.client(&encryption).await?;
        let limits = Limits {
            lock_timeout: self.collect.lock_timeout,
            statement_timeout: self.collect.statement_timeout,
            deadline: self.collect.deadline,
        };
        Session::start(client, encryption, limits, self.tasks.clone()).await
    }

    async fn client(&self, encryption: &Encryption) -> Result<Client, ConnectError> {
        let refused = |source| ConnectError::Refused { source };
        let config = self.config()?;
        match encryption {
            Encryption::Plain => {
                let (client, connection) = config.connect(NoTls).await.map_err(refused)?;
                self.drive(connection);
                Ok(client)
            }
            Encryption::Rustls(rustls) => {
                let (client, connection) = config.connect((**rustls).clone()).await.map_err(refused)?;
                self.drive(connection);
                Ok(client)
            }
        }
    }

    /// Runs a connection until its session is dropped.
    fn drive<E: std::fmt::Display>(&self, connection: impl Future<Output = Result<(), E>> + Send + 'static) {
        let server = self.address.id();
        self.tasks.spawn(async move {
            if let Err(err) = connection.await {
                debug!(server, error = %err, "the session with `{server}` ended");
            }
        });
    }

    fn config(&self) -> Result<tokio_postgres::Config, ConnectError> {
        let mut config = tokio_postgres::Config::new();
        match &self.address.host {
            tokio_postgres::config::Host::Tcp(host) => config.host(host),
            tokio_postgres::config::Host::Unix(folder) => config.host_path(folder),
        };
        config
            .port(self.address.port)
            .user(&self.address.user)
            .dbname(&self.address.datname)
            .application_name(&self.application_name)
            .connect_timeout(self.collect.connect_timeout)
            // Both are needed: one frees a reader of a vanished peer, the other a writer.
            .keepalives_idle(Duration::from_secs(10))
            .keepalives_interval(Duration::from_secs(3))
            .keepalives_retries(3)
            .tcp_user_timeout(Duration::from_secs(10));
        let plain = matches!(tls_mode(&self.tls, self.address.is_local()), SslMode::Disable);
        config.ssl_mode(if plain { SslMode::Disable } else { SslMode::Require });
        if let Some(password) = &self.password {
            config.password(password.read().map_err(|source| ConnectError::Password { source })?.expose());
        }
        Ok(config)
    }
}

fn tls_mode(tls: &TlsConfig, local: bool) -> SslMode {
    match tls.mode {
        Some(crate::config::database::TlsMode::Disable) => SslMode::Disable,
        None if local => SslMode::Disable,
        _ => SslMode::Require,
    }
}
