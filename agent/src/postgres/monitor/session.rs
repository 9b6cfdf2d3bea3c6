//! One monitoring session: read-only, with every wait bounded on both sides.
//!
//! The timeouts of the server are not enough: they do not end a stopped backend. The timeouts of the client are not enough either: a
//! dropped session leaves its statement running. Therefore both are set. A statement that outlives its deadline is cancelled before its
//! session is dropped.

use std::collections::HashMap;
use std::time::Duration;

use parking_lot::{Mutex, MutexGuard};
use pharos_model::budget::{Cost, Meter};
use pharos_model::postgres::server_text::Encoding;
use pharos_model::snapshot::FailureReason;
use tokio::time::Instant;
use tokio_postgres::types::{ToSql, Type};
use tokio_postgres::{CancelToken, Client, Statement};
use tokio_util::sync::DropGuard;
use tokio_util::task::TaskTracker;
use tracing::debug;

use super::connect_error::ConnectError;
use super::limits::SessionLimits;
use super::odd_names::OddNames;
use super::query_error::{QueryError, is_session_end};
use super::row::{Origin, Row};
use super::server_state::{GUARDED_FOR, ServerState};
use super::setup::{self, marked, set_statement_timeout};
use crate::postgres::endpoint::Route;

/// The oldest major version whose views the collectors read. Older servers are refused.
const MAJOR_MIN: u32 = 14;
/// The newest major version whose views the collectors read. Newer servers are read with a warning.
const MAJOR_KNOWN: u32 = 18;

/// How long a cancel request may take. A server that hangs may never answer it.
const CANCEL_MAX: Duration = Duration::from_secs(1);

/// A connection after its login, before the first statement.
pub(super) struct Opened {
    pub client: Client,
    pub open: DropGuard,
    pub route: Route,
    pub server_state: ServerState,
    /// The version as the server reports it to each client: `17.2 (Debian 17.2-1)`.
    pub version: String,
}

/// A monitoring session, with the facts that its server reported at the start.
pub struct Session {
    client: Client,
    server_state: ServerState,
    /// Whether the session had its time limits from its start. Then the server does not show what is preset.
    is_guarded: bool,
    is_elsewhere: bool,
    /// When another session is due, which may read more. A session that reads everything has no end.
    lasts_until: Option<Instant>,
    /// Signals to the connection that its session was dropped.
    _open: DropGuard,
    cancel: CancelToken,
    route: Route,
    tasks: TaskTracker,
    /// The collector of the current run. Its statements have this name in their mark.
    collector: &'static str,
    /// When the run ends. Answers after that time are not waited for.
    until: Instant,
    deadline: Duration,
    /// The statement timeout that is set on the server.
    statement_timeout: Duration,
    version_num: u32,
    version: String,
    role: String,
    /// The role that logged in. A preset may have changed it to another role.
    login: String,
    /// The identifier of the cluster, if the role may read it.
    system_identifier: Option<String>,
    /// The start of the postmaster, in microseconds since 1970, mixed with the cluster's identifier. A restart begins a new epoch of
    /// counters, and so does another cluster behind the same address.
    epoch: u64,
    /// The encoding of texts inside this datname, if it is neither UTF-8 nor SQL_ASCII.
    encoding: Option<Encoding>,
    odd_names: OddNames,
    origin: Origin,
    meter: Mutex<Meter>,
    /// Statements that are prepared on the server, by their SQL.
    planned: Mutex<HashMap<String, Statement>>,
}

impl Session {
    /// Checks that the session is the agent's own, then sets the agent's settings. Until then it runs nothing that a preset of server,
    /// datname or role could change, and it changes nothing behind a pooler.
    pub(super) async fn start(
        opened: Opened,
        limits: &SessionLimits,
        tasks: TaskTracker,
        sign: &str,
        is_guarded: bool,
    ) -> Result<Self, ConnectError> {
        let Opened { client, open, route, server_state, version } = opened;
        let cancel = client.cancel_token();
        let asked = Instant::now();
        setup::check_sign(&client, sign).await?;
        let shortest = asked.elapsed();
        let major = setup::major(&version);
        if (1..MAJOR_MIN).contains(&major) {
            return Err(ConnectError::TooOld(version));
        }
        client.batch_execute(&setup::settings(limits, major)).await.map_err(ConnectError::from_setup)?;
        // From here on the session has the agent's own limits.
        let (presets, answer) = tokio::join!(setup::reset_presets(&client), setup::read_introduction(&client));
        let answer = presets.and(answer).map_err(ConnectError::within_own_limits)?;
        if answer.version_num / 10_000 < MAJOR_MIN {
            return Err(ConnectError::TooOld(answer.version));
        }
        let cluster = answer.system_identifier.as_deref().and_then(|text| text.parse::<u64>().ok());
        let epoch = answer.started_at_us ^ cluster.unwrap_or_default();
        server_state.set_epoch(epoch);
        Ok(Self {
            version_num: answer.version_num,
            version: answer.version,
            role: answer.role,
            login: answer.login,
            epoch,
            system_identifier: answer.system_identifier,
            client,
            server_state,
            is_guarded,
            is_elsewhere: false,
            lasts_until: is_guarded.then(|| Instant::now() + GUARDED_FOR),
            _open: open,
            cancel,
            route,
            tasks,
            collector: "session",
            encoding: answer.encoding,
            odd_names: OddNames::default(),
            origin: Origin::default(),
            until: Instant::now() + limits.deadline,
            deadline: limits.deadline,
            statement_timeout: limits.statement_timeout,
            meter: Mutex::new(Meter::new(shortest)),
            planned: Mutex::default(),
        })
    }

    /// Shares the list of logged names with the other sessions of the server.
    pub(super) fn with_odd_names(mut self, odd_names: OddNames) -> Self {
        self.odd_names = odd_names;
        self
    }

    /// Marks the session as a stand-in for the configured datname, for a while.
    pub(super) fn mark_elsewhere(mut self, lasts: Duration) -> Self {
        let until = Instant::now() + lasts;
        self.lasts_until = Some(self.lasts_until.map_or(until, |before| before.min(until)));
        self.is_elsewhere = true;
        self
    }

    /// Whether the session is in another datname, since the configured datname refuses sessions.
    pub fn is_elsewhere(&self) -> bool {
        self.is_elsewhere
    }

    /// Reads the texts of later answers in the encoding of the datname, except names that the whole server shares.
    pub fn begin_visit(&mut self) {
        self.origin = Origin::Datname;
    }

    /// The server's major version: 17.
    pub fn major(&self) -> u32 {
        self.version_num / 10_000
    }

    /// The version as the server reports it: `17.2 (Debian 17.2-1)`.
    pub fn version(&self) -> &str {
        &self.version
    }

    /// A warning about facts of this version, if there is one.
    pub fn caveat(&self) -> Option<String> {
        let unknown = self.major() > MAJOR_KNOWN;
        unknown.then(|| format!("PostgreSQL {} is newer than this Pharos knows; it is read like {MAJOR_KNOWN}", self.version))
    }

    /// The role whose rights the session has.
    pub fn role(&self) -> &str {
        &self.role
    }

    /// The role that logged in.
    pub fn login(&self) -> &str {
        &self.login
    }

    /// Whether the session set the settings in [`GUARDS`](setup::GUARDS) at its start, so that the server's values are unknown.
    pub fn is_guarded(&self) -> bool {
        self.is_guarded
    }

    /// Whether names in this datname have an encoding of their own. SQL with a name that is not ASCII would not find the object.
    pub fn is_encoded(&self) -> bool {
        self.encoding.is_some()
    }

    /// The identifier of the cluster that answers, if the role may read it.
    pub fn system_identifier(&self) -> Option<&str> {
        self.system_identifier.as_deref()
    }

    pub fn epoch(&self) -> u64 {
        self.epoch
    }

    /// Whether another session is due: the server ended this one, or its time as a limited session is over.
    pub fn is_closed(&self) -> bool {
        self.client.is_closed() || self.lasts_until.is_some_and(|until| until <= Instant::now())
    }

    /// Begins a run of a collector. All its statements must be answered within `deadline`, and each may run for `statement_timeout` on the
    /// server.
    pub async fn begin(&mut self, collector: &'static str, deadline: Duration, statement_timeout: Duration) -> Result<(), QueryError> {
        (self.collector, self.until, self.deadline) = (collector, Instant::now() + deadline, deadline);
        if self.statement_timeout != statement_timeout {
            self.within(self.client.batch_execute(&set_statement_timeout(statement_timeout))).await?;
            self.statement_timeout = statement_timeout;
        }
        Ok(())
    }

    /// Runs one statement within the rest of the run. If the time is over, the statement is cancelled and the session must be dropped.
    pub async fn query(&self, sql: &str, parameters: &[(&(dyn ToSql + Sync), Type)]) -> Result<Vec<Row>, QueryError> {
        let sql = marked(sql, self.collector);
        let asked = Instant::now();
        let answer = self.within(self.client.query_typed(&sql, parameters)).await;
        self.charge(asked, &answer);
        answer.map(|rows| self.read(rows))
    }

    /// Runs one statement as [`query`](Self::query) does, but prepares it only once. This is for statements that run so often that planning
    /// would cost more than running.
    pub async fn query_planned(&self, sql: &str) -> Result<Vec<Row>, QueryError> {
        let asked = Instant::now();
        let answer = self.within(async {
            let known = self.planned().get(sql).cloned();
            let statement = match known {
                Some(statement) => statement,
                None => {
                    let statement = self.client.prepare_typed(&marked(sql, self.collector), &[]).await?;
                    self.planned().insert(sql.to_owned(), statement.clone());
                    statement
                }
            };
            self.client.query(&statement, &[]).await
        });
        let answer = answer.await;
        self.charge(asked, &answer);
        answer.map(|rows| self.read(rows))
    }

    fn read(&self, rows: Vec<tokio_postgres::Row>) -> Vec<Row> {
        rows.into_iter().map(|row| Row::new(row, self.encoding, self.origin, &self.odd_names)).collect()
    }

    fn planned(&self) -> MutexGuard<'_, HashMap<String, Statement>> {
        self.planned.lock()
    }

    /// Adds a statement to the cost. A wait for the lock of another session is no cost.
    fn charge(&self, asked: Instant, answer: &Result<Vec<tokio_postgres::Row>, QueryError>) {
        let waited = answer.as_ref().is_err_and(|err| err.reason() == FailureReason::LockTimeout);
        match answer {
            _ if waited => self.meter().count(),
            answer => self.meter().add(asked.elapsed(), answer.as_ref().map_or(0, Vec::len)),
        }
    }

    /// Returns the cost of the statements since the last call.
    pub fn take_cost(&self) -> Cost {
        self.meter().take()
    }

    fn meter(&self) -> MutexGuard<'_, Meter> {
        self.meter.lock()
    }

    async fn within<T>(&self, answer: impl Future<Output = Result<T, tokio_postgres::Error>>) -> Result<T, QueryError> {
        match tokio::time::timeout_at(self.until, answer).await {
            Ok(Ok(answer)) => Ok(answer),
            Ok(Err(source)) if self.route.verdict.excess().is_some() => {
                Err(self.route.verdict.excess().map_or(QueryError::Closed { source }, |source| QueryError::Excess { source }))
            }
            Ok(Err(source)) if is_session_end(&source) => {
                self.server_state.session_ended(&source);
                Err(QueryError::Closed { source })
            }
            Ok(Err(source)) if self.client.is_closed() || source.is_closed() => Err(QueryError::Closed { source }),
            Ok(Err(source)) => Err(QueryError::Server { source }),
            Err(_) => {
                self.cancel();
                Err(QueryError::DeadlineExceeded(self.deadline))
            }
        }
    }

    /// Asks the server over another connection to stop the statement of the session. The caller does not wait for the result.
    fn cancel(&self) {
        let (cancel, route) = (self.cancel.clone(), self.route.clone());
        self.tasks.spawn(async move {
            match tokio::time::timeout(CANCEL_MAX, route.cancel(&cancel, CANCEL_MAX)).await {
                Ok(Ok(())) => {}
                Ok(Err(err)) => debug!(error = %err, "a statement could not be cancelled"),
                Err(_) => debug!("the server did not answer a cancel request within {CANCEL_MAX:?}"),
            }
        });
    }
}
