//! Opens connections to one address of a Redis server: socket, encryption, login.

use std::io;
use std::sync::Arc;
use std::time::Duration;

use rustls::AlertDescription;
use rustls_pki_types::ServerName;
use tokio::net::TcpStream;
use tokio_rustls::TlsConnector;
use tokio_rustls::client::TlsStream;
use tokio_util::either::Either;

use super::error::{ANSWER_BYTES_MAX, RedisError};
use super::handshake::{self, Failure};
use super::refusal::Refusal;
use crate::bounded::{Bounded, Received};
use crate::config::database::TlsMode;
use crate::config::database::redis::{RedisAddress, RedisTls};
use crate::config::secret::SecretSource;
use crate::dial::{self, Obstacle};
use crate::tls::{self, CertificateProblem, Identity};

/// The user of a session for which no user is configured.
const DEFAULT_USER: &str = "default";

/// Everything needed to open connections to one server.
#[derive(Debug, Clone)]
pub struct Endpoint {
    pub address: RedisAddress,
    pub password: Option<SecretSource>,
    pub tls: RedisTls,
}

/// A socket, encrypted or not.
type Stream = Either<TcpStream, Box<TlsStream<TcpStream>>>;

/// A connection after its login, before any other command.
pub struct LoggedIn {
    pub stream: Bounded<Stream, Received>,
    /// Counts the bytes of the answer that arrives; shared with the stream.
    pub received: Received,
    /// The user of the connection on the server.
    pub user: String,
}

impl Endpoint {
    /// Opens a connection and logs in. `within` limits only the socket, not encryption and login.
    pub async fn open(&self, within: Duration) -> Result<LoggedIn, RedisError> {
        let password = match &self.password {
            Some(password) => Some(password.read().await.map_err(RedisError::from_password)?),
            None => None,
        };
        let user = self.address.user();
        let received = Received::at_most(ANSWER_BYTES_MAX);
        let mut stream = Bounded::new(self.dial(within).await?, received.clone());
        let outcome = handshake::log_in(&mut stream, user.as_deref(), password.as_ref()).await;
        let user = user.unwrap_or_else(|| DEFAULT_USER.to_owned());
        outcome.map_err(|failure| if received.is_too_much() { RedisError::Excess } else { self.login_error(failure, &user) })?;
        Ok(LoggedIn { stream, received, user })
    }

    /// Makes the error of an attempt that took longer than `deadline`.
    pub fn too_late(&self, deadline: Duration) -> RedisError {
        match self.address.tls() {
            true => RedisError::EncryptionDeadlineExceeded(deadline),
            false => RedisError::ConnectDeadlineExceeded(deadline),
        }
    }

    async fn dial(&self, within: Duration) -> Result<Stream, RedisError> {
        let host = self.address.host().trim_matches(['[', ']']);
        let stream = dial::tcp(host, self.address.port(), within).await.map_err(RedisError::from_dial)?;
        stream.set_nodelay(true).map_err(|source| RedisError::Unreached { obstacle: Obstacle::Server, source })?;
        if !self.address.tls() {
            return Ok(Either::Left(stream));
        }
        let mode = self.tls.mode.unwrap_or(TlsMode::VerifyFull);
        let identity = self.tls.identity().map(|(certificate, key)| Identity { certificate, key });
        let client = tls::client(mode, self.tls.ca.as_deref(), identity).await.map_err(RedisError::from_tls)?;
        let name = ServerName::try_from(host.to_owned()).map_err(|err| encryption(io::Error::other(err)))?;
        let encrypted = TlsConnector::from(Arc::new(client)).connect(name, stream).await.map_err(encryption)?;
        Ok(Either::Right(Box::new(encrypted)))
    }

    fn login_error(&self, failure: Failure, user: &str) -> RedisError {
        match failure {
            Failure::Refused { request, answer } => RedisError::Refused { refusal: Refusal::of(&answer, request, user), text: answer.text },
            // A server that requires a certificate sends this error only after the handshake.
            Failure::Ended { source, .. } if tls::error_of(&source).is_some() => encryption(source),
            Failure::Ended { last_error: Some(text), source } => RedisError::Ended { text, source },
            Failure::Ended { last_error: None, source } => RedisError::EndedWithoutAnswer { is_encrypted: self.address.tls(), source },
            Failure::Protocol { is_tls: true } => {
                RedisError::Protocol("the server speaks TLS at this port; write rediss:// instead of redis://")
            }
            Failure::Protocol { is_tls: false } => RedisError::Protocol(
                "what answers at this address does not follow the Redis protocol; the address must be that of a Redis server",
            ),
        }
    }
}

/// Reads why there is no encrypted session.
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
        )) => "the server does not accept the certificate in tls.cert; its tls-ca-cert-file must hold the authority that issued it",
        Some(rustls::Error::AlertReceived(AlertDescription::HandshakeFailure)) => {
            "the server offers TLS that Pharos does not accept, or wants a certificate from Pharos: name one with tls.cert and tls.key"
        }
        _ => "the server must offer TLS 1.2 or newer at this port (tls-port); where it does not encrypt, write redis://",
    };
    RedisError::Encryption { meaning, source }
}
