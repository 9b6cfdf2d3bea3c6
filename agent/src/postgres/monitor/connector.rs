//! Opens monitoring sessions: within a deadline, within the limit of sessions per server, and each checked to be the agent's own.

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

/// Longest time for which an unanswered attempt occupies its place after its socket opened. Its backend may wait for a lock on the
/// catalogue, which the agent cannot end. After this time the connection is dropped in any case.
const ATTEMPT_MAX: Duration = Duration::from_mins(15);
/// Longest time for which the agent waits at its end until sessions are closed in good order.
const CLOSE_MAX: Duration = Duration::from_secs(1);

/// Everything needed to open monitoring sessions with one server.
#[derive(Debug, Clone)]
pub struct Connector {
    pub endpoint: Endpoint,
    pub limits: SessionLimits,
    pub tasks: TaskTracker,
    /// Cancelled when the agent ends. Sessions that hang are then abandoned.
    pub stop: CancellationToken,
    pub places: Places,
    pub odd_names: OddNames,
}

impl Connector {
    /// Returns a connector to the same server with another datname.
    pub fn to(&self, datname: &str) -> Self {
        Self { endpoint: self.endpoint.to(datname), ..self.clone() }
    }

    /// Opens a session with its limits set. An attempt that its caller gave up occupies its place until the server answers. For a minute no
    /// other attempt is made to that datname, since it would most likely hang as well.
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

    /// Opens a session and hands it to the caller of [`connect`](Self::connect), or closes it if that caller no longer waits.
    async fn attempt(self, place: OwnedSemaphorePermit, attempt: Arc<Attempt>, mut opened: oneshot::Sender<Result<Session, ConnectError>>) {
        tokio::select! {
            session = self.open(place, &attempt) => drop(opened.send(session)),
            () = async {
                opened.closed().await;
                self.stop.cancelled().await;
                tokio::time::sleep(CLOSE_MAX).await;
            } => {}
            () = tokio::time::sleep(ATTEMPT_MAX) => {
                debug!(server = self.endpoint.address.id(), "an attempt without an answer is given up");
            }
        }
        drop(attempt);
    }

    /// Opens a session. If presets of its datname or role end it at once, opens it once more with time limits from its start. Other
    /// sessions set their limits later, so that the server still shows what is preset.
    async fn open(&self, place: OwnedSemaphorePermit, attempt: &Attempt) -> Result<Session, ConnectError> {
        let (server, datname) = (self.endpoint.address.id(), &self.endpoint.address.datname);
        let server_state = &self.places.server_state;
        let is_guarded = server_state.is_guarded(datname);
        match self.open_once(place, attempt, is_guarded).await {
            Err(err) if !is_guarded && err.may_be_preset() => {
                debug!(server, datname, reason = err.reason().as_str(), "a session is opened once more, guarded");
                let session = self.open_once(self.acquire_place().await?, attempt, true).await?;
                server_state.guard(datname);
                info!(
                    server,
                    datname,
                    "presets end sessions at once; sessions of the agent set their own limits from the start, so the values of {} are \
                     unknown for an hour",
                    setup::GUARDS.join(", ")
                );
                Ok(session)
            }
            outcome => outcome,
        }
    }

    async fn open_once(&self, place: OwnedSemaphorePermit, attempt: &Attempt, is_guarded: bool) -> Result<Session, ConnectError> {
        let server_state = &self.places.server_state;
        let sign = format!("{:016x}", fastrand::u64(..));
        let guard = is_guarded.then(|| setup::guard(&self.limits, server_state.major()));
        let login = Login { options: setup::options(&sign, guard.as_deref()), has_scram: server_state.has_scram() };
        let connected = self.log_in(login, attempt).await.map_err(|error| self.refused(error))?;
        let Connected { client, driver, route, version } = connected;
        let opened = Opened { client, open: self.drive(driver, place), route, server_state: server_state.clone(), version };
        server_state.set_major(setup::major(&opened.version));
        if opened.route.verdict.is_scram() {
            server_state.set_scram();
        }
        let verdict = opened.route.verdict.clone();
        let session = Session::start(opened, &self.limits, self.tasks.clone(), &sign, is_guarded).await;
        // The library only reports the end of the session after a server sent too much.
        let session = session.map_err(|err| verdict.excess().map_or(err, |source| OpenError::Excess { source }.into()))?;
        Ok(session.with_odd_names(self.odd_names.clone()))
    }

    /// Opens a socket and logs in. An attempt that hangs before its socket is open has no backend, so it does not block its datname.
    async fn log_in(&self, login: Login, attempt: &Attempt) -> Result<Connected, OpenError> {
        let dialled = self.endpoint.dial(self.limits.connect_timeout).await?;
        attempt.reached_server();
        dialled.log_in(login).await
    }

    /// Makes the error of a refusal. Records whether the server is stopping, and detects a pooler.
    fn refused(&self, error: OpenError) -> ConnectError {
        let server_state = &self.places.server_state;
        match error {
            OpenError::Refused { refusal, source } => {
                let is_stopping = server_state.session_refused(&source);
                ConnectError::from_pooler(&source).unwrap_or_else(|| {
                    let refusal = if is_stopping { RefusalReason::Stopping.into() } else { refusal };
                    OpenError::Refused { refusal, source }.into()
                })
            }
            error => {
                // Trouble on the side of the agent shows nothing about the server.
                if !error.trouble().is_own() {
                    server_state.server_unreachable();
                }
                error.into()
            }
        }
    }

    /// Runs a connection until its session is dropped and the server answered everything. A connection without an answer occupies its place
    /// as long as its backend exists, or until the agent ends.
    fn drive(&self, connection: BoxFuture<'static, Result<(), tokio_postgres::Error>>, place: OwnedSemaphorePermit) -> DropGuard {
        let (server, server_state) = (self.endpoint.address.id(), self.places.server_state.clone());
        let open_session = server_state.session_began();
        let (dropped, stop) = (CancellationToken::new(), self.stop.clone());
        let open = dropped.clone().drop_guard();
        let abandoned = async move {
            dropped.cancelled().await;
            stop.cancelled().await;
            tokio::time::sleep(CLOSE_MAX).await;
        };
        self.tasks.spawn(async move {
            tokio::select! {
                ended = connection => {
                    let error = ended.err();
                    error.iter().for_each(|error| server_state.session_ended(error));
                    debug!(server, error = error.map(tracing::field::display), "a session with `{server}` ended");
                }
                () = abandoned => debug!(server, "a session that hangs on `{server}` is abandoned"),
            }
            drop((open_session, place));
        });
        open
    }
}
