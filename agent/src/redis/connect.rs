//! Opening a session, within a deadline, with a reason when it fails.

use std::io;
use std::sync::Arc;
use std::time::Duration;

use redis::aio::MultiplexedConnection;
use redis::{AsyncConnectionConfig, RedisConnectionInfo};
use rustls::AlertDescription;
use rustls_pki_types::ServerName;
use tokio::net::TcpStream;
use tokio::time::Instant;
use tokio_rustls::TlsConnector;
use tokio_rustls::client::TlsStream;
use tokio_util::either::Either;
use tokio_util::task::TaskTracker;

use super::handshake::{self, Failure};
use super::refusal::Refusal;
use super::{ANSWER_BYTES_MAX, RedisError, Session};
use crate::bounded::{Bounded, Received};
use crate::config::database::TlsMode;
use crate::config::database::redis::{RedisAddress, RedisTls};
use crate::config::secret::SecretSource;
use crate::dial::{self, Obstacle};
use crate::tls::{self, CertificateProblem, Identity};

/// The user of sessions that name none.
const DEFAULT_USER: &str = "default";

/// Everything needed to open sessions with one server.
#[derive(Debug, Clone)]
pub struct Connector {
    pub address: RedisAddress,
    pub password: Option<SecretSource>,
    pub tls: RedisTls,
    pub connect_timeout: Duration,
    /// How long the longest run of a collector may take.
    pub deadline: Duration,
}

/// A socket, encrypted or not.
type Stream = Either<TcpStream, Box<TlsStream<TcpStream>>>;

impl Connector {
    /// Opens a session that the server has let in.
    pub async fn connect(&self) -> Result<Session, RedisError> {
        let deadline = self.connect_timeout;
        let session = tokio::time::timeout(deadline, self.open()).await;
        session.unwrap_or_else(|_| match self.address.tls() {
            true => Err(RedisError::EncryptionDeadlineExceeded(deadline)),
            false => Err(RedisError::ConnectDeadlineExceeded(deadline)),
        })
    }

    async fn open(&self) -> Result<Session, RedisError> {
        let password = match &self.password {
            Some(password) => Some(password.read().await.map_err(RedisError::of_password)?),
            None => None,
        };
        let user = self.address.user();
        let received = Received::at_most(ANSWER_BYTES_MAX);
        let mut stream = Bounded::new(self.dial().await?, received.clone());
        let let_in = handshake::shake(&mut stream, user.as_deref(), password.as_ref()).await;
        let user = user.unwrap_or_else(|| DEFAULT_USER.to_owned());
        let_in.map_err(|failure| if received.is_too_much() { RedisError::Excess } else { self.not_let_in(failure, &user) })?;
        let config = AsyncConnectionConfig::new().set_response_timeout(Some(self.deadline));
        // The library logs in nobody and says nothing by itself.
        let settings = RedisConnectionInfo::default().set_skip_set_lib_name();
        let opened = MultiplexedConnection::new_with_config(&settings, stream, config).await;
        let (connection, driver) = opened.map_err(|source| RedisError::Closed { source })?;
        // It ends with the last handle of the connection.
        TaskTracker::new().spawn(driver);
        Ok(Session { connection, received, version: None, user, until: Instant::now() + self.deadline, deadline: self.deadline })
    }

    async fn dial(&self) -> Result<Stream, RedisError> {
        let host = self.address.host().trim_matches(['[', ']']);
        let stream = dial::tcp(host, self.address.port(), self.connect_timeout).await.map_err(RedisError::of_dial)?;
        stream.set_nodelay(true).map_err(|source| RedisError::Unreached { obstacle: Obstacle::Server, source })?;
        if !self.address.tls() {
            return Ok(Either::Left(stream));
        }
        let mode = self.tls.mode.unwrap_or(TlsMode::VerifyFull);
        let identity = self.tls.identity().map(|(certificate, key)| Identity { certificate, key });
        let client = tls::client(mode, self.tls.ca.as_deref(), identity).await.map_err(RedisError::of_tls)?;
        let name = ServerName::try_from(host.to_owned()).map_err(|err| encryption(io::Error::other(err)))?;
        let encrypted = TlsConnector::from(Arc::new(client)).connect(name, stream).await.map_err(encryption)?;
        Ok(Either::Right(Box::new(encrypted)))
    }

    fn not_let_in(&self, failure: Failure, user: &str) -> RedisError {
        match failure {
            Failure::Refused { asked, answer } => RedisError::Refused { refusal: Refusal::of(&answer, asked, user), words: answer.words },
            // A server that wants a certificate says so only after the handshake.
            Failure::Ended { source, .. } if tls::error_of(&source).is_some() => encryption(source),
            Failure::Ended { last_words: Some(words), source } => RedisError::Ended { words, source },
            Failure::Ended { last_words: None, source } => RedisError::EndedInSilence { is_encrypted: self.address.tls(), source },
            Failure::Protocol { is_tls: true } => {
                RedisError::Protocol("the server speaks TLS at this port; write rediss:// instead of redis://")
            }
            Failure::Protocol { is_tls: false } => RedisError::Protocol(
                "what answers at this address does not speak as Redis does; the address must be that of a Redis server",
            ),
        }
    }
}

/// Why there is no encrypted session.
fn encryption(source: io::Error) -> RedisError {
    let meaning = match tls::error_of(&source) {
        Some(error) if let Some(problem) = CertificateProblem::of(error) => return RedisError::Certificate(problem),
        Some(rustls::Error::AlertReceived(AlertDescription::CertificateRequired)) => {
            "the server wants a certificate from Pharos (tls-auth-clients); name one with tls.cert and tls.key"
        }
        Some(rustls::Error::AlertReceived(
            AlertDescription::UnknownCA
            | AlertDescription::BadCertificate
            | AlertDescription::UnsupportedCertificate
            | AlertDescription::CertificateExpired
            | AlertDescription::CertificateRevoked
            | AlertDescription::CertificateUnknown,
        )) => "the server does not take the certificate in tls.cert; its tls-ca-cert-file must hold the authority that issued it",
        Some(rustls::Error::AlertReceived(AlertDescription::HandshakeFailure)) => {
            "the server offers TLS that Pharos does not take, or wants a certificate from Pharos: name one with tls.cert and tls.key"
        }
        _ => "the server must offer TLS 1.2 or newer at this port (tls-port); where it does not encrypt, write redis://",
    };
    RedisError::Encryption { meaning, source }
}
