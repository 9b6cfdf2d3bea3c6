//! One address of a Redis server: from a socket over encryption and login to a connection that the server let in.

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

/// The user of sessions that name none.
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

/// A connection that the server let in, with no command sent but the login.
pub struct LetIn {
    pub stream: Bounded<Stream, Received>,
    /// Counts the bytes of the answer that arrives; shared with the stream.
    pub received: Received,
    /// The user that the server knows the connection as.
    pub user: String,
}

impl Endpoint {
    /// Opens a connection and logs in. The socket opens within this time; encryption and login have no limit of their own.
    pub async fn open(&self, within: Duration) -> Result<LetIn, RedisError> {
        let password = match &self.password {
            Some(password) => Some(password.read().await.map_err(RedisError::from_password)?),
            None => None,
        };
        let user = self.address.user();
        let received = Received::at_most(ANSWER_BYTES_MAX);
        let mut stream = Bounded::new(self.dial(within).await?, received.clone());
        let let_in = handshake::shake(&mut stream, user.as_deref(), password.as_ref()).await;
        let user = user.unwrap_or_else(|| DEFAULT_USER.to_owned());
        let_in.map_err(|failure| if received.is_too_much() { RedisError::Excess } else { self.not_let_in(failure, &user) })?;
        Ok(LetIn { stream, received, user })
    }

    /// The error of an attempt that took longer than `deadline`.
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
        )) => "the server does not take the certificate in tls.cert; its tls-ca-cert-file must hold the authority that issued it",
        Some(rustls::Error::AlertReceived(AlertDescription::HandshakeFailure)) => {
            "the server offers TLS that Pharos does not take, or wants a certificate from Pharos: name one with tls.cert and tls.key"
        }
        _ => "the server must offer TLS 1.2 or newer at this port (tls-port); where it does not encrypt, write redis://",
    };
    RedisError::Encryption { meaning, source }
}
