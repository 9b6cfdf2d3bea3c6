//! The connection to a server: a socket, encrypted or not, with a limit on the bytes that arrive.

use std::error::Error;
use std::io;
use std::os::unix::fs::PermissionsExt;
use std::sync::{Arc, OnceLock};
use std::time::Duration;

use futures_util::future::BoxFuture;
use pharos_model::postgres::intake::{AuthenticationPolicy, Excess, Intake};
use socket2::{SockRef, TcpKeepalive};
use tokio::net::{TcpStream, UnixStream};
use tokio_postgres::config::Host;
use tokio_postgres::tls::{ChannelBinding, MakeTlsConnect, TlsConnect, TlsStream};
use tokio_postgres::{CancelToken, NoTls};
use tokio_postgres_rustls::MakeRustlsConnect;
use tokio_util::either::Either;

use crate::bounded::{Bounded, Meter};
use crate::config::database::PostgresAddress;
use crate::dial::{self, DialError, Obstacle};

/// Time after which a peer that vanished is detected. It is set for reads (keepalive) and for writes (user timeout).
const VANISHED_AFTER: Duration = Duration::from_secs(10);
const KEEPALIVE_INTERVAL: Duration = Duration::from_secs(3);
const KEEPALIVE_RETRIES: u32 = 3;

/// The encryption of a connection. A cancel request needs it again.
#[derive(Clone)]
pub(super) enum Encryption {
    Plain,
    Rustls(Box<MakeRustlsConnect>),
}

/// A socket of either kind.
pub(super) type Socket = Either<TcpStream, UnixStream>;

/// Opens a socket to a server.
pub(super) async fn dial(address: &PostgresAddress, within: Duration) -> Result<Socket, DialError> {
    match &address.host {
        Host::Tcp(host) => {
            let stream = dial::tcp(host, address.port, within).await?;
            set_timeouts(&stream).map_err(|source| DialError::Refused { obstacle: Obstacle::Server, source })?;
            Ok(Either::Left(stream))
        }
        Host::Unix(folder) => Ok(Either::Right(dial::unix(&folder.join(format!(".s.PGSQL.{}", address.port)), within).await?)),
    }
}

/// Lets the operating system detect a peer that vanished.
fn set_timeouts(stream: &TcpStream) -> io::Result<()> {
    stream.set_nodelay(true)?;
    let socket = SockRef::from(stream);
    socket.set_tcp_user_timeout(Some(VANISHED_AFTER))?;
    let keepalive = TcpKeepalive::new().with_time(VANISHED_AFTER);
    socket.set_tcp_keepalive(&keepalive.with_interval(KEEPALIVE_INTERVAL).with_retries(KEEPALIVE_RETRIES))
}

/// Returns which methods of authentication may be answered over a connection that is not encrypted. `has_scram` means that the server
/// proved earlier that it stores the password.
pub(super) fn authentication_policy(address: &PostgresAddress, has_scram: bool) -> AuthenticationPolicy {
    match &address.host {
        // No other user can listen in this folder.
        Host::Unix(folder) if std::fs::metadata(folder).is_ok_and(|folder| folder.permissions().mode() & 0o002 == 0) => {
            AuthenticationPolicy::Any
        }
        _ if has_scram => AuthenticationPolicy::Scram,
        _ => AuthenticationPolicy::Hashed,
    }
}

/// Asks a server to stop the statement of a session.
pub(super) async fn cancel(
    address: &PostgresAddress,
    encryption: Encryption,
    token: &CancelToken,
    within: Duration,
) -> Result<(), Box<dyn Error + Send + Sync>> {
    let socket = dial(address, within).await?;
    match encryption {
        Encryption::Plain => token.cancel_query_raw(socket, NoTls).await?,
        Encryption::Rustls(mut rustls) => token.cancel_query_raw(socket, tls(&mut rustls, address)).await?,
    }
    Ok(())
}

/// Prepares the encryption of one connection.
pub(super) fn tls(rustls: &mut MakeRustlsConnect, address: &PostgresAddress) -> <MakeRustlsConnect as MakeTlsConnect<Socket>>::TlsConnect {
    let host = match &address.host {
        Host::Tcp(host) => host.as_str(),
        Host::Unix(_) => "",
    };
    let Ok(connect) = MakeTlsConnect::<Socket>::make_tls_connect(rustls, host);
    connect
}

/// What the server did on a connection. The client library only reports that the session began or ended.
#[derive(Debug, Clone, Default)]
pub struct Verdict(Arc<Observed>);

/// What was observed, each at most once.
#[derive(Debug, Default)]
struct Observed {
    excess: OnceLock<Excess>,
    scram: OnceLock<()>,
}

impl Verdict {
    /// Why the connection was given up, if the server sent too much or broke the protocol.
    pub fn excess(&self) -> Option<Excess> {
        self.0.excess.get().copied()
    }

    /// Whether the server asked for SCRAM.
    pub fn is_scram(&self) -> bool {
        self.0.scram.get().is_some()
    }
}

/// Follows the messages of the server. An excess in one connection of a session ends the others as well.
pub struct Messages {
    intake: Intake,
    verdict: Verdict,
}

impl Messages {
    pub fn new(policy: AuthenticationPolicy, verdict: Verdict) -> Self {
        Self { intake: Intake::new(policy), verdict }
    }
}

impl Meter for Messages {
    fn may_go_on(&self) -> io::Result<()> {
        self.verdict.excess().map_or(Ok(()), |excess| Err(io::Error::new(io::ErrorKind::InvalidData, excess)))
    }

    fn count(&mut self, bytes: &[u8]) -> io::Result<()> {
        let checked = self.intake.check(bytes);
        if self.intake.is_scram() {
            self.verdict.0.scram.get_or_init(|| ());
        }
        checked.map_err(|excess| io::Error::new(io::ErrorKind::InvalidData, *self.verdict.0.excess.get_or_init(|| excess)))
    }
}

impl<S: TlsStream + Unpin> TlsStream for Bounded<S, Messages> {
    fn channel_binding(&self) -> ChannelBinding {
        self.stream().channel_binding()
    }
}

/// Encrypts a connection, and bounds the decrypted bytes.
pub(super) struct BoundedTls<T> {
    pub tls: T,
    pub verdict: Verdict,
}

impl<S, T> TlsConnect<S> for BoundedTls<T>
where
    T: TlsConnect<S>,
    T::Future: Send + 'static,
    T::Stream: Send + 'static,
    T::Error: Send + 'static,
{
    type Stream = Bounded<T::Stream, Messages>;
    type Error = T::Error;
    type Future = BoxFuture<'static, Result<Self::Stream, Self::Error>>;

    fn connect(self, stream: S) -> Self::Future {
        let (encrypted, verdict) = (self.tls.connect(stream), self.verdict);
        Box::pin(async move { Ok(Bounded::new(encrypted.await?, Messages::new(AuthenticationPolicy::Any, verdict))) })
    }
}
