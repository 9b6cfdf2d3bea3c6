//! Opens connections to one address of a PostgreSQL server: socket, encryption, authentication.
//!
//! An endpoint neither changes settings of a session nor counts sessions. That is the work of the parts that open sessions through it.

use std::time::Duration;

use futures_util::FutureExt;
use futures_util::future::BoxFuture;
use pharos_model::postgres::intake::Excess;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio_postgres::config::SslMode;
use tokio_postgres::{CancelToken, Client, Connection, NoTls};
use tokio_postgres_rustls::MakeRustlsConnect;

use super::refusal::{Refusal, RefusalReason, excess, refusal_of, rustls_error, unreached};
use super::wire::{self, BoundedTls, Encryption, Messages, Socket, Verdict};
use crate::bounded::Bounded;
use crate::config::database::{PostgresAddress, TlsConfig, TlsMode};
use crate::config::secret::{SecretError, SecretSource};
use crate::dial::{DialError, Obstacle, Trouble, limit_of_file};
use crate::tls::{self, CertificateProblem, TlsError};

/// Everything needed to open connections to one datname of one server.
#[derive(Debug, Clone)]
pub struct Endpoint {
    pub address: PostgresAddress,
    pub password: Option<SecretSource>,
    pub tls: TlsConfig,
    /// Names the connections in pg_stat_activity.
    pub application_name: String,
}

/// Why a connection was not opened.
#[derive(Debug, thiserror::Error)]
pub enum OpenError {
    #[error("no session within {0:?}: the server hangs, is overloaded, or packets to it are lost")]
    DeadlineExceeded(Duration),
    #[error("{}", refusal.meaning)]
    Refused { refusal: Refusal, source: tokio_postgres::Error },
    #[error("{}", unreached(*obstacle).meaning)]
    Unreached { obstacle: Obstacle, source: std::io::Error },
    #[error("{source}; {}", excess(*source).meaning)]
    Excess { source: Excess },
    #[error("reading the password")]
    Password { source: SecretError },
    #[error("preparing TLS")]
    Tls { source: TlsError },
    /// The text names what is wrong with the certificate. The libraries' errors would only repeat it.
    #[error("{0}")]
    Certificate(CertificateProblem),
}

impl OpenError {
    pub fn reason(&self) -> RefusalReason {
        match self {
            Self::DeadlineExceeded(_) => RefusalReason::Timeout,
            Self::Password { .. } => RefusalReason::Password,
            Self::Tls { .. } | Self::Certificate(_) => RefusalReason::Tls,
            Self::Refused { refusal, .. } => refusal.reason,
            Self::Unreached { obstacle, .. } => unreached(*obstacle).reason,
            Self::Excess { source } => excess(*source).reason,
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

    fn from_password(source: SecretError) -> Self {
        match source.of_file().and_then(limit_of_file) {
            Some(obstacle) => Self::Unreached { obstacle, source: std::io::Error::other(source) },
            None => Self::Password { source },
        }
    }

    fn from_tls(source: TlsError) -> Self {
        match source.of_file().and_then(limit_of_file) {
            Some(obstacle) => Self::Unreached { obstacle, source: std::io::Error::other(source) },
            None => Self::Tls { source },
        }
    }

    fn from_login(source: tokio_postgres::Error, verdict: &Verdict) -> Self {
        // The library only reports the end of the session after a server sent too much.
        if let Some(source) = verdict.excess() {
            return Self::Excess { source };
        }
        match rustls_error(&source).and_then(CertificateProblem::of) {
            Some(problem) => Self::Certificate(problem),
            None => Self::Refused { refusal: refusal_of(&source), source },
        }
    }
}

impl From<DialError> for OpenError {
    fn from(error: DialError) -> Self {
        match error {
            DialError::DeadlineExceeded(within) => Self::DeadlineExceeded(within),
            DialError::Refused { obstacle, source } => Self::Unreached { obstacle, source },
        }
    }
}

/// An open socket to a server, before anything is sent.
pub struct Dialled {
    socket: Socket,
    encryption: Encryption,
    config: tokio_postgres::Config,
    address: PostgresAddress,
}

/// The start of a session, as the server receives it with the login.
pub struct Login {
    /// Settings as command-line options: `-c name=value`.
    pub options: String,
    /// Whether the server proved in an earlier session that it stores the password. Then the agent no longer accepts weaker methods.
    pub has_scram: bool,
}

/// A connection after its login, before the first statement.
pub struct Connected {
    pub client: Client,
    /// Runs the connection until the client is dropped and all statements are answered, or until the server ends it.
    pub driver: BoxFuture<'static, Result<(), tokio_postgres::Error>>,
    pub route: Route,
    /// The version as the server reports it to each client: `17.2 (Debian 17.2-1)`.
    pub version: String,
}

/// Address and encryption of a connection, which a cancel request needs as well.
#[derive(Clone)]
pub struct Route {
    address: PostgresAddress,
    encryption: Encryption,
    /// Whether the server sent too much or broke the protocol; shared with the connection.
    pub verdict: Verdict,
}

impl Endpoint {
    /// Returns an endpoint of the same server with another datname.
    pub fn to(&self, datname: &str) -> Self {
        let mut endpoint = self.clone();
        datname.clone_into(&mut endpoint.address.datname);
        endpoint
    }

    /// Reads certificates and the password anew, then opens a socket within this time.
    pub async fn dial(&self, within: Duration) -> Result<Dialled, OpenError> {
        let encryption = self.encryption().await?;
        let mut config = tokio_postgres::Config::new();
        config.user(&self.address.user).dbname(&self.address.datname).application_name(&self.application_name);
        config.ssl_mode(match encryption {
            Encryption::Plain => SslMode::Disable,
            Encryption::Rustls(_) => SslMode::Require,
        });
        if let Some(password) = &self.password {
            config.password(password.read().await.map_err(OpenError::from_password)?.expose());
        }
        let socket = wire::dial(&self.address, within).await?;
        Ok(Dialled { socket, encryption, config, address: self.address.clone() })
    }

    async fn encryption(&self) -> Result<Encryption, OpenError> {
        let mode = self.tls.mode_towards(&self.address);
        match mode {
            TlsMode::Disable => Ok(Encryption::Plain),
            TlsMode::Require | TlsMode::VerifyCa | TlsMode::VerifyFull => {
                let client = tls::client(mode, self.tls.ca.as_deref(), None).await.map_err(OpenError::from_tls)?;
                Ok(Encryption::Rustls(Box::new(MakeRustlsConnect::new(client))))
            }
        }
    }
}

impl Dialled {
    /// Encrypts and logs in, without a time limit. A caller that stops waiting leaves a backend on the server.
    pub async fn log_in(self, login: Login) -> Result<Connected, OpenError> {
        let Self { socket, encryption, mut config, address } = self;
        config.options(login.options);
        let verdict = Verdict::default();
        let (client, driver, version) = match &encryption {
            Encryption::Plain => {
                let messages = Messages::new(wire::authentication_policy(&address, login.has_scram), verdict.clone());
                split(config.connect_raw(Bounded::new(socket, messages), NoTls).await)
            }
            Encryption::Rustls(rustls) => {
                let tls = wire::tls(&mut rustls.clone(), &address);
                split(config.connect_raw(socket, BoundedTls { tls, verdict: verdict.clone() }).await)
            }
        }
        .map_err(|source| OpenError::from_login(source, &verdict))?;
        Ok(Connected { client, driver, route: Route { address, encryption, verdict }, version })
    }
}

/// A client, the future that runs its connection, and the server's version.
type Split = (Client, BoxFuture<'static, Result<(), tokio_postgres::Error>>, String);

fn split<S, T>(opened: Result<(Client, Connection<S, T>), tokio_postgres::Error>) -> Result<Split, tokio_postgres::Error>
where
    S: AsyncRead + AsyncWrite + Unpin + Send + 'static,
    T: AsyncRead + AsyncWrite + Unpin + Send + 'static,
{
    let (client, connection) = opened?;
    let version = connection.parameter("server_version").unwrap_or_default().to_owned();
    Ok((client, connection.boxed(), version))
}

impl Route {
    /// Asks the server, over a connection of its own, to stop the statement that the session runs.
    pub async fn cancel(&self, token: &CancelToken, within: Duration) -> Result<(), Box<dyn std::error::Error + Send + Sync>> {
        wire::cancel(&self.address, self.encryption.clone(), token, within).await
    }
}
