//! Opens monitoring sessions: within a deadline, within the places of a server, and each recognised as the agent's own.

use std::sync::Arc;
use std::time::Duration;

use futures_util::future::BoxFuture;
use tokio::sync::{OwnedSemaphorePermit, oneshot};
use tokio_util::sync::{CancellationToken, DropGuard};
use tokio_util::task::TaskTracker;
use tracing::{debug, info};

use super::connect_error::ConnectError;
use super::limits::SessionLimits;
use super::odd_names::OddNames;
use super::places::{Attempt, Places};
use super::session::{Opened, Session};
use super::setup;
use crate::postgres::RefusalReason;
use crate::postgres::endpoint::{Connected, Endpoint, Login, OpenError};

/// How long an unanswered attempt keeps its place once its socket is open. Its backend may wait for a lock on the catalogue, which the
/// agent cannot end. After this time the connection is dropped in any case.
const ATTEMPT_MAX: Duration = Duration::from_mins(15);
/// How long the end of the agent waits for a server to take a session's farewell.
const FAREWELL_MAX: Duration = Duration::from_secs(1);

/// Everything needed to open monitoring sessions with one server.
#[derive(Debug, Clone)]
pub struct Connector {
    pub endpoint: Endpoint,
    pub limits: SessionLimits,
    pub tasks: TaskTracker,
    /// Cancelled when the agent ends: sessions that hang are then left behind.
    pub stop: CancellationToken,
    pub places: Places,
    pub odd_names: OddNames,
}

impl Connector {
    /// Returns a connector to the same server with another datname.
    pub fn to(&self, datname: &str) -> Self {
        Self { endpoint: self.endpoint.to(datname), ..self.clone() }
    }

    /// Opens a session whose limits are set. An attempt that its caller gave up keeps its place until the server answers. For a minute no
    /// other attempt is made to that datname: it would most likely wait there as well.
    pub async fn connect(&self) -> Result<Session, ConnectError> {
        let (datname, deadline) = (&self.endpoint.address.datname, self.limits.connect_timeout);
        let too_late = || ConnectError::Open(OpenError::DeadlineExceeded(deadline));
        if self.places.has_hanging_attempt(datname) {
            return Err(too_late());
        }
        let place = self.acquire_place().await?;
        let (opened, session) = oneshot::channel();
        let attempt = Arc::new(Attempt::default());
        let hanging = Arc::downgrade(&attempt);
        self.tasks.spawn(self.clone().attempt(place, attempt, opened));
        match tokio::time::timeout(deadline, session).await {
            Ok(Ok(session)) => session,
            Ok(Err(_)) => Err(too_late()),
            Err(_) => {
                self.places.leave_hanging(datname, hanging);
                Err(too_late())
            }
        }
    }

    async fn acquire_place(&self) -> Result<OwnedSemaphorePermit, ConnectError> {
        self.places.acquire().await.ok_or(ConnectError::NoPlace)
    }

    /// Opens a session and hands it to the caller of [`connect`](Self::connect), or closes it where that caller does not wait any more.
    async fn attempt(self, place: OwnedSemaphorePermit, attempt: Arc<Attempt>, mut opened: oneshot::Sender<Result<Session, ConnectError>>) {
        tokio::select! {
            session = self.open(place, &attempt) => drop(opened.send(session)),
            () = async {
                opened.closed().await;
                self.stop.cancelled().await;
                tokio::time::sleep(FAREWELL_MAX).await;
            } => {}
            () = tokio::time::sleep(ATTEMPT_MAX) => {
                debug!(server = self.endpoint.address.id(), "an attempt that was never answered is given up");
            }
        }
        drop(attempt);
    }

    /// Opens a session, and once more with time limits from its start where presets of its datname or role ended it at once. Other
    /// sessions set their limits later, since the server then still shows what is preset.
    async fn open(&self, place: OwnedSemaphorePermit, attempt: &Attempt) -> Result<Session, ConnectError> {
        let (server, datname) = (self.endpoint.address.id(), &self.endpoint.address.datname);
        let contact = &self.places.contact;
        let is_guarded = contact.is_guarded(datname);
        match self.open_once(place, attempt, is_guarded).await {
            Err(err) if !is_guarded && err.may_be_preset() => {
                debug!(server, datname, reason = err.reason().as_str(), "a session is opened once more, guarded");
                let session = self.open_once(self.acquire_place().await?, attempt, true).await?;
                contact.guard(datname);
                info!(
                    server,
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
        let contact = &self.places.contact;
        let sign = format!("{:016x}", fastrand::u64(..));
        let guard = is_guarded.then(|| setup::guard(&self.limits, contact.major()));
        let login = Login { options: setup::options(&sign, guard.as_deref()), has_scram: contact.has_scram() };
        let connected = self.connected(login, attempt).await.map_err(|error| self.refused(error))?;
        let Connected { client, driver, route, version } = connected;
        let opened = Opened { client, open: self.drive(driver, place), route, contact: contact.clone(), version };
        contact.learn_major(setup::major(&opened.version));
        if opened.route.verdict.is_scram() {
            contact.learn_scram();
        }
        let verdict = opened.route.verdict.clone();
        let session = Session::start(opened, &self.limits, self.tasks.clone(), &sign, is_guarded).await;
        // The library only reports the end of the session after a server sent too much.
        let session = session.map_err(|err| verdict.excess().map_or(err, |source| OpenError::Excess { source }.into()))?;
        Ok(session.with_odd_names(self.odd_names.clone()))
    }

    /// An attempt that hangs on the way to the server has no backend there, so it does not block its datname.
    async fn connected(&self, login: Login, attempt: &Attempt) -> Result<Connected, OpenError> {
        let dialled = self.endpoint.dial(self.limits.connect_timeout).await?;
        attempt.reached_server();
        dialled.log_in(login).await
    }

    /// Learns from a refusal whether the server stops, and recognises a pooler.
    fn refused(&self, error: OpenError) -> ConnectError {
        let contact = &self.places.contact;
        match error {
            OpenError::Refused { refusal, source } => {
                let is_stopping = contact.refused(&source);
                ConnectError::from_pooler(&source).unwrap_or_else(|| {
                    let refusal = if is_stopping { RefusalReason::Stopping.into() } else { refusal };
                    OpenError::Refused { refusal, source }.into()
                })
            }
            error => {
                // Where the agent itself was in the way, nothing is known of the server.
                if !error.trouble().is_own() {
                    contact.gone();
                }
                error.into()
            }
        }
    }

    /// Runs a connection until its session is dropped and the server answered everything. A connection that is never answered keeps its
    /// place as long as the server keeps its backend, or until the agent ends.
    fn drive(&self, connection: BoxFuture<'static, Result<(), tokio_postgres::Error>>, place: OwnedSemaphorePermit) -> DropGuard {
        let (server, contact) = (self.endpoint.address.id(), self.places.contact.clone());
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
}
