//! Opening a session, within a deadline, with a reason when it fails.

use std::collections::HashMap;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, Weak};
use std::time::Duration;

use pharos_model::postgres::intake::Excess;
use tokio::sync::{OwnedSemaphorePermit, Semaphore, oneshot};
use tokio::time::Instant;
use tokio_postgres::NoTls;
use tokio_postgres::config::SslMode;
use tokio_postgres_rustls::MakeRustlsConnect;
use tokio_util::sync::{CancellationToken, DropGuard};
use tokio_util::task::TaskTracker;
use tracing::{debug, info};

use super::contact::Contact;
use super::entrance::Entrance;
use super::odd_names::OddNames;
use super::session::{Opened, Session, Way};
use super::setup;
use crate::bounded::Bounded;
use crate::config::collect::CollectConfig;
use crate::config::database::{PostgresAddress, TlsConfig, TlsMode};
use crate::config::secret::{SecretError, SecretSource};
use crate::dial::{DialError, Obstacle, Trouble, limit_of_file};
use crate::postgres::refusal::{Refusal, RefusalReason, excess, is_of_pooler, refusal_of, rustls_error, unreached};
use crate::postgres::wire::{self, BoundedTls, Encryption, Messages, Verdict};
use crate::tls::{self, CertificateProblem, TlsError};

/// Sessions that the agent may have with one server, those included that hang and were given up.
const SESSIONS_MAX: usize = 2;
/// How long a session that just ended may take to leave.
const PLACE_MAX: Duration = Duration::from_millis(200);
/// How long an attempt that the server does not answer keeps its place once its socket is open: behind it a backend may wait for a lock on the catalogue, which
/// nothing can end from here. Past this the connection is given up, whatever it was.
const ATTEMPT_MAX: Duration = Duration::from_mins(15);
/// How long no other attempt is made to a datname where one hangs; then one more, if there is a place: it may have been the connection's
/// own trouble.
const RETRY_PAUSE: Duration = Duration::from_mins(1);
/// How long the end of the agent waits for a server to take a session's farewell.
const FAREWELL_MAX: Duration = Duration::from_secs(1);

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
    /// Cancelled when the agent ends: sessions that hang are then left behind.
    pub stop: CancellationToken,
    pub places: Places,
    pub odd_names: OddNames,
}

/// The bound on sessions with one server, shared by everybody who opens them.
#[derive(Debug, Clone)]
pub struct Places {
    free: Arc<Semaphore>,
    hanging: Arc<Mutex<Hanging>>,
    contact: Contact,
    entrance: Arc<Mutex<Entrance>>,
}

/// By datname: the latest attempt that nobody waits for any more, while it lasts, and since when nobody does.
type Hanging = HashMap<String, (Weak<Attempt>, Instant)>;

/// Lives as long as an attempt to open a session goes on.
#[derive(Debug, Default)]
struct Attempt {
    /// Whether it got as far as the server: before that nothing of it can hang there.
    has_socket: AtomicBool,
}

impl Default for Places {
    fn default() -> Self {
        Self {
            free: Arc::new(Semaphore::new(SESSIONS_MAX)),
            hanging: Arc::default(),
            contact: Contact::default(),
            entrance: Arc::default(),
        }
    }
}

impl Places {
    async fn take(&self) -> Result<OwnedSemaphorePermit, ConnectError> {
        match tokio::time::timeout(PLACE_MAX, Arc::clone(&self.free).acquire_owned()).await {
            Ok(Ok(place)) => Ok(place),
            _ => Err(ConnectError::NoPlace),
        }
    }

    fn has_one_hanging(&self, datname: &str) -> bool {
        self.hanging().get(datname).is_some_and(|(attempt, since)| attempt.strong_count() > 0 && since.elapsed() < RETRY_PAUSE)
    }

    fn leave_hanging(&self, datname: &str, attempt: Weak<Attempt>) {
        let mut hanging = self.hanging();
        hanging.retain(|_, (attempt, _)| attempt.strong_count() > 0);
        hanging.insert(datname.to_owned(), (attempt, Instant::now()));
    }

    /// What is known of the datnames that give sessions.
    pub(super) fn entrance<T>(&self, ask: impl FnOnce(&mut Entrance) -> T) -> T {
        ask(&mut self.entrance.lock().unwrap_or_else(PoisonError::into_inner))
    }

    fn hanging(&self) -> MutexGuard<'_, Hanging> {
        self.hanging.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[derive(Debug, thiserror::Error)]
pub enum ConnectError {
    #[error("no session within {0:?}: the server hangs, is overloaded, or the way to it swallows packets")]
    DeadlineExceeded(Duration),
    #[error("the agent has {SESSIONS_MAX} sessions with the server already, one of them hangs, and it opens no third")]
    NoPlace,
    #[error("{}", refusal.meaning)]
    Refused { refusal: Refusal, source: tokio_postgres::Error },
    #[error("{}", unreached(*obstacle).meaning)]
    Unreached { obstacle: Obstacle, source: std::io::Error },
    #[error("{source}; {}", excess(*source).meaning)]
    Excess { source: Excess },
    /// Settings of a session would reach other people's through it, and their numbers would be anybody's.
    #[error(
        "a connection pooler answers at this address, not PostgreSQL itself ({seen}); \
         point the URL at the server's own host and port, and leave the pooler to applications"
    )]
    Pooler { seen: String },
    #[error("reading the password")]
    Password { source: SecretError },
    #[error("preparing TLS")]
    Tls { source: TlsError },
    /// What the server has to show is in the text; the libraries' words for it would only follow.
    #[error("{0}")]
    Certificate(CertificateProblem),
    #[error("beginning the session: {}", refusal.meaning)]
    Limits {
        refusal: Refusal,
        /// Whether the session had the agent's own time limits by then.
        are_own: bool,
        source: tokio_postgres::Error,
    },
    #[error("PostgreSQL {0} is too old; Pharos supports 14 and newer")]
    TooOld(String),
}

impl ConnectError {
    pub fn reason(&self) -> RefusalReason {
        match self {
            Self::DeadlineExceeded(_) => RefusalReason::Timeout,
            Self::NoPlace => RefusalReason::NoPlace,
            Self::Password { .. } => RefusalReason::Password,
            Self::Tls { .. } | Self::Certificate(_) => RefusalReason::Tls,
            Self::TooOld(_) => RefusalReason::Unsupported,
            Self::Pooler { .. } => RefusalReason::Pooler,
            Self::Refused { refusal, .. } | Self::Limits { refusal, .. } => refusal.reason,
            Self::Unreached { obstacle, .. } => unreached(*obstacle).reason,
            Self::Excess { source } => excess(*source).reason,
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

    /// Whether the server waits for its sessions to leave.
    pub fn is_shutdown(&self) -> bool {
        self.reason() == RefusalReason::Stopping
    }

    fn of_password(source: SecretError) -> Self {
        match source.of_file().and_then(limit_of_file) {
            Some(obstacle) => Self::Unreached { obstacle, source: std::io::Error::other(source) },
            None => Self::Password { source },
        }
    }

    fn of_tls(source: TlsError) -> Self {
        match source.of_file().and_then(limit_of_file) {
            Some(obstacle) => Self::Unreached { obstacle, source: std::io::Error::other(source) },
            None => Self::Tls { source },
        }
    }

    /// What kept the first statements of a session from being answered.
    pub(super) fn of_setup(source: tokio_postgres::Error) -> Self {
        Self::of_pooler(source).unwrap_or_else(|source| Self::Limits { refusal: refusal_of(&source), are_own: false, source })
    }

    fn of_pooler(source: tokio_postgres::Error) -> Result<Self, tokio_postgres::Error> {
        match source.as_db_error() {
            Some(error) if is_of_pooler(&source) => Ok(Self::Pooler { seen: format!("it says: {}", error.message()) }),
            _ => Err(source),
        }
    }

    /// The same for a session that has the agent's own time limits already.
    pub(super) fn within_own_limits(self) -> Self {
        match self {
            Self::Limits { refusal, source, .. } => Self::Limits { refusal, are_own: true, source },
            other => other,
        }
    }

    /// Whether time limits that are preset for the session may be why it ended before it could set its own.
    fn may_be_preset(&self) -> bool {
        match self {
            Self::Refused { source, .. } => source.code().is_some_and(|code| is_time_limit(code.code())),
            // A session that ends between two statements ends without an answer.
            Self::Limits { are_own: false, source, .. } => source.code().is_none_or(|code| is_time_limit(code.code())),
            _ => false,
        }
    }
}

/// What ends a statement or a session because of a preset: limits of statements, locks, idle sessions, idle and whole transactions.
fn is_time_limit(code: &str) -> bool {
    matches!(code, "57014" | "55P03" | "57P05" | "25P03" | "25P04")
}

impl Connector {
    /// The same server, another datname.
    pub fn to(&self, datname: &str) -> Self {
        let mut connector = self.clone();
        datname.clone_into(&mut connector.address.datname);
        connector
    }

    /// Opens a session whose limits are set. An attempt that was given up keeps its place until the server answers it, and for a minute no
    /// other one is made to the same datname: it would most likely wait there as well.
    pub async fn connect(&self) -> Result<Session, ConnectError> {
        let (datname, deadline) = (&self.address.datname, self.collect.connect_timeout);
        if self.places.has_one_hanging(datname) {
            return Err(ConnectError::DeadlineExceeded(deadline));
        }
        let place = self.places.take().await?;
        let (opened, session) = oneshot::channel();
        let attempt = Arc::new(Attempt::default());
        let hanging = Arc::downgrade(&attempt);
        self.tasks.spawn(self.clone().attempt(place, attempt, opened));
        match tokio::time::timeout(deadline, session).await {
            Ok(Ok(session)) => session,
            Ok(Err(_)) => Err(ConnectError::DeadlineExceeded(deadline)),
            Err(_) => {
                if hanging.upgrade().is_some_and(|attempt| attempt.has_socket.load(Ordering::Relaxed)) {
                    self.places.leave_hanging(datname, hanging);
                }
                Err(ConnectError::DeadlineExceeded(deadline))
            }
        }
    }

    /// Opens a session for whoever waits for it; where nobody does any more it is closed.
    async fn attempt(self, place: OwnedSemaphorePermit, attempt: Arc<Attempt>, mut opened: oneshot::Sender<Result<Session, ConnectError>>) {
        tokio::select! {
            session = self.open(place, &attempt) => drop(opened.send(session)),
            () = async {
                opened.closed().await;
                self.stop.cancelled().await;
                tokio::time::sleep(FAREWELL_MAX).await;
            } => {}
            () = tokio::time::sleep(ATTEMPT_MAX) => debug!(server = self.address.id(), "an attempt that was never answered is given up"),
        }
        drop(attempt);
    }

    /// A session that presets of its datname or role end at once is opened once more, with time limits of its own from its start. The
    /// others set them later, since the server then still shows what is preset.
    async fn open(&self, place: OwnedSemaphorePermit, attempt: &Attempt) -> Result<Session, ConnectError> {
        let (datname, contact) = (&self.address.datname, &self.places.contact);
        let is_guarded = contact.is_guarded(datname);
        match self.open_once(place, attempt, is_guarded).await {
            Err(err) if !is_guarded && err.may_be_preset() => {
                debug!(server = self.address.id(), datname, reason = err.reason().as_str(), "a session is opened once more, guarded");
                let session = self.open_once(self.places.take().await?, attempt, true).await?;
                contact.guard(datname);
                info!(
                    server = self.address.id(),
                    datname,
                    "presets end sessions at once; those of the agent bring their own limits along, so {} are not known for an hour",
                    setup::GUARDS.join(", ")
                );
                Ok(session)
            }
            outcome => outcome,
        }
    }

    async fn open_once(&self, place: OwnedSemaphorePermit, attempt: &Attempt, is_guarded: bool) -> Result<Session, ConnectError> {
        let mode = self.tls.mode_towards(&self.address);
        let encryption = match mode {
            TlsMode::Disable => Encryption::Plain,
            TlsMode::Require | TlsMode::VerifyCa | TlsMode::VerifyFull => {
                let client = tls::client(mode, self.tls.ca.as_deref(), None).await.map_err(ConnectError::of_tls)?;
                Encryption::Rustls(Box::new(MakeRustlsConnect::new(client)))
            }
        };
        let sign = format!("{:016x}", fastrand::u64(..));
        let verdict = Verdict::default();
        let guard = is_guarded.then(|| setup::guard(&self.collect, self.places.contact.major()));
        let options = setup::options(&sign, guard.as_deref());
        let begun = async {
            let opened = self.client(encryption, options, place, attempt, verdict.clone()).await?;
            let session = Session::start(opened, &self.collect, self.tasks.clone(), &sign, is_guarded).await?;
            Ok(session.with_odd_names(self.odd_names.clone()))
        };
        // Of a server that sent too much, the library only knows that its session ended.
        let session = begun.await;
        session.map_err(|err| verdict.excess().map_or(err, |source| ConnectError::Excess { source }))
    }

    async fn client(
        &self,
        encryption: Encryption,
        options: String,
        place: OwnedSemaphorePermit,
        attempt: &Attempt,
        verdict: Verdict,
    ) -> Result<Opened, ConnectError> {
        let config = self.config(&encryption, options).await?;
        let contact = self.places.contact.clone();
        // What hangs on the way to the server has no backend behind it, so it is not worth a place.
        let socket = wire::dial(&self.address, self.collect.connect_timeout).await.map_err(|source| self.unreached(source))?;
        attempt.has_socket.store(true, Ordering::Relaxed);
        let (client, open, version) = match &encryption {
            Encryption::Plain => {
                let socket = Bounded::new(socket, Messages::new(wire::answers(&self.address, contact.has_scram()), verdict.clone()));
                let (client, connection) = config.connect_raw(socket, NoTls).await.map_err(|source| self.refused(source))?;
                let version = connection.parameter("server_version").unwrap_or_default().to_owned();
                (client, self.drive(connection, place), version)
            }
            Encryption::Rustls(rustls) => {
                let tls = wire::tls(&mut rustls.clone(), &self.address);
                let tls = BoundedTls { tls, verdict: verdict.clone() };
                let (client, connection) = config.connect_raw(socket, tls).await.map_err(|source| self.refused(source))?;
                let version = connection.parameter("server_version").unwrap_or_default().to_owned();
                (client, self.drive(connection, place), version)
            }
        };
        contact.learn_major(setup::major(&version));
        if verdict.is_scram() {
            contact.learn_scram();
        }
        let way = Way { address: self.address.clone(), encryption, verdict };
        Ok(Opened { client, open, way, contact, version })
    }

    /// Where nothing listens any more, no session of the server is known any more.
    fn unreached(&self, error: DialError) -> ConnectError {
        match error {
            DialError::DeadlineExceeded(within) => {
                self.places.contact.gone();
                ConnectError::DeadlineExceeded(within)
            }
            DialError::Refused { obstacle, source } => {
                if !obstacle.is_own() {
                    self.places.contact.gone();
                }
                ConnectError::Unreached { obstacle, source }
            }
        }
    }

    /// What kept a session from being opened.
    fn refused(&self, source: tokio_postgres::Error) -> ConnectError {
        let is_stopping = self.places.contact.refused(&source);
        if let Some(problem) = rustls_error(&source).and_then(CertificateProblem::of) {
            return ConnectError::Certificate(problem);
        }
        ConnectError::of_pooler(source).unwrap_or_else(|source| {
            let refusal = if is_stopping { RefusalReason::Stopping.into() } else { refusal_of(&source) };
            ConnectError::Refused { refusal, source }
        })
    }

    /// Runs a connection until its session is dropped and the server has answered what it was asked. One that never answers keeps its
    /// place among the sessions as long as the server keeps its backend, or until the agent ends.
    fn drive(
        &self,
        connection: impl Future<Output = Result<(), tokio_postgres::Error>> + Send + 'static,
        place: OwnedSemaphorePermit,
    ) -> DropGuard {
        let (server, contact) = (self.address.id(), self.places.contact.clone());
        let standing = contact.began();
        let (dropped, stop) = (CancellationToken::new(), self.stop.clone());
        let open = dropped.clone().drop_guard();
        let left_behind = async move {
            dropped.cancelled().await;
            stop.cancelled().await;
            tokio::time::sleep(FAREWELL_MAX).await;
        };
        self.tasks.spawn(async move {
            tokio::select! {
                ended = connection => {
                    let error = ended.err();
                    error.iter().for_each(|error| contact.ended(error));
                    debug!(server, error = error.map(tracing::field::display), "a session with `{server}` ended");
                }
                () = left_behind => debug!(server, "a session that hangs on `{server}` is left behind"),
            }
            drop((standing, place));
        });
        open
    }

    async fn config(&self, encryption: &Encryption, options: String) -> Result<tokio_postgres::Config, ConnectError> {
        let mut config = tokio_postgres::Config::new();
        config.user(&self.address.user).dbname(&self.address.datname).application_name(&self.application_name).options(options);
        config.ssl_mode(match encryption {
            Encryption::Plain => SslMode::Disable,
            Encryption::Rustls(_) => SslMode::Require,
        });
        if let Some(password) = &self.password {
            config.password(password.read().await.map_err(ConnectError::of_password)?.expose());
        }
        Ok(config)
    }
}
