//! Faults of the demo: each can be caused and healed, and heals by itself after a while.
//!
//! Faults need the schema of the application, not its workers. A fault is visible to a monitor when `cause` returns, except
//! that a slow statement is only counted when its first call ends.

use std::time::Duration;

use tokio::select;
use tokio::sync::Mutex;
use tokio::time::{Instant, sleep, sleep_until, timeout};
use tokio_postgres::types::PgLsn;
use tokio_util::sync::CancellationToken;
use tokio_util::task::{AbortOnDropHandle, TaskTracker};

use super::application::{DATNAME, ROLE};
use super::postgres::SUPERUSER;
use super::session::{PostgresAddress, Session, SessionError};

/// The longest life of a fault that is not healed.
const LIFETIME_MAX: Duration = Duration::from_secs(300);
const CAUSE_DEADLINE: Duration = Duration::from_secs(20);
const HEAL_DEADLINE: Duration = Duration::from_secs(30);
const POLL_INTERVAL: Duration = Duration::from_millis(50);

/// The sessions that wait, as many as [`LOCKS_PILED_UP`] asks for.
const QUEUED_SESSIONS: usize = 6;
const SLOW_SESSIONS: usize = 2;
const SLOW_CALL_PAUSE: Duration = Duration::from_millis(200);
const IMPORT_PAUSE: Duration = Duration::from_millis(250);

/// The first campaign, which the application's workers leave alone.
const CONTENDED_UPDATE: &str = "UPDATE campaigns SET budget_cents = budget_cents + 100 WHERE id = 1";

const LOCKS_PILED_UP: &str = "SELECT count(*) >= 6 FROM pg_stat_activity
     WHERE application_name = 'campaign editor' AND cardinality(pg_blocking_pids(pid)) > 0";

/// `pg_sleep` stands for the work of a large installation; in FROM it runs once per call.
const SLOW_REPORT: &str = "SELECT p.author_id, count(*) AS events
     FROM pg_sleep(1.5) AS work CROSS JOIN posts AS p JOIN analytics_events AS e ON e.post_id = p.id
     WHERE e.kind = 'view' GROUP BY p.author_id ORDER BY events DESC LIMIT 10";

/// About 100 kB of log with each call.
const IMPORT: &str = "INSERT INTO analytics_events (post_id, kind, details)
     SELECT 1 + n, 'import', jsonb_build_object('source', repeat(md5(n::text), 24)) FROM generate_series(1, 100) AS n";

#[derive(Debug, thiserror::Error)]
pub enum FaultError {
    #[error(transparent)]
    Session(#[from] SessionError),
    #[error("{fault} did not show within {CAUSE_DEADLINE:?}")]
    Invisible { fault: &'static str },
    #[error("{fault} was not over within {HEAL_DEADLINE:?}")]
    NotHealed { fault: &'static str },
    #[error("a task of {fault} panicked")]
    Panicked { fault: &'static str, source: tokio::task::JoinError },
}

/// A fault. Dropping it ends its sessions.
pub struct Fault {
    kind: Kind,
    tasks: TaskTracker,
    active: Mutex<Option<Active>>,
}

enum Kind {
    LockPileUp { primary: PostgresAddress },
    SlowQuery { primary: PostgresAddress },
    ReplicaLag { primary: PostgresAddress, standby: PostgresAddress },
}

/// The tasks and sessions of a fault that was caused.
struct Active {
    stop: CancellationToken,
    actors: Vec<Actor>,
}

/// The end of a fault: as soon as it is healed, and never later than [`LIFETIME_MAX`].
#[derive(Clone)]
struct End {
    stop: CancellationToken,
    latest: Instant,
}

impl End {
    async fn reached(&self) {
        select! {
            () = self.stop.cancelled() => {}
            () = sleep_until(self.latest) => {}
        }
    }

    /// Waits for a pause. Returns true if the fault ends within it.
    async fn within(&self, pause: Duration) -> bool {
        timeout(pause, self.reached()).await.is_ok()
    }
}

type Actor = AbortOnDropHandle<Result<(), SessionError>>;

impl Fault {
    pub fn lock_pile_up(primary: &PostgresAddress, tasks: &TaskTracker) -> Self {
        Self::new(Kind::LockPileUp { primary: primary.clone() }, tasks)
    }

    pub fn slow_query(primary: &PostgresAddress, tasks: &TaskTracker) -> Self {
        Self::new(Kind::SlowQuery { primary: primary.clone() }, tasks)
    }

    pub fn replica_lag(primary: &PostgresAddress, standby: &PostgresAddress, tasks: &TaskTracker) -> Self {
        Self::new(Kind::ReplicaLag { primary: primary.clone(), standby: standby.clone() }, tasks)
    }

    fn new(kind: Kind, tasks: &TaskTracker) -> Self {
        Self { kind, tasks: tasks.clone(), active: Mutex::new(None) }
    }

    pub fn name(&self) -> &'static str {
        match self.kind {
            Kind::LockPileUp { .. } => "lock pile-up",
            Kind::SlowQuery { .. } => "slow query",
            Kind::ReplicaLag { .. } => "replica lag",
        }
    }

    pub fn description(&self) -> &'static str {
        match self.kind {
            Kind::LockPileUp { .. } => "one session leaves a transaction open that holds a row, six others queue for it",
            Kind::SlowQuery { .. } => "two sessions run a report of 1.5 s over and over",
            Kind::ReplicaLag { .. } => "the standby stops replaying while an import writes to the primary",
        }
    }

    /// Causes the fault. A fault that is caused already stays as it is.
    pub async fn cause(&self) -> Result<(), FaultError> {
        let mut active = self.active.lock().await;
        if active.is_none() {
            let stop = CancellationToken::new();
            let end = End { stop: stop.clone(), latest: Instant::now() + LIFETIME_MAX };
            let caused = timeout(CAUSE_DEADLINE, self.spawn_actors(end)).await;
            let actors = caused.unwrap_or(Err(FaultError::Invisible { fault: self.name() }))?;
            *active = Some(Active { stop, actors });
        }
        Ok(())
    }

    /// Ends the fault, and waits until nothing of it is left.
    pub async fn heal(&self) -> Result<(), FaultError> {
        let Some(Active { stop, actors }) = self.active.lock().await.take() else { return Ok(()) };
        stop.cancel();
        let fault = self.name();
        let ended = timeout(HEAL_DEADLINE, async {
            for actor in actors {
                actor.await.map_err(|source| FaultError::Panicked { fault, source })??;
            }
            Ok(())
        });
        ended.await.unwrap_or(Err(FaultError::NotHealed { fault }))
    }

    async fn spawn_actors(&self, end: End) -> Result<Vec<Actor>, FaultError> {
        match &self.kind {
            Kind::LockPileUp { primary } => self.pile_up_locks(primary, end).await,
            Kind::SlowQuery { primary } => self.run_slow_queries(primary, end).await,
            Kind::ReplicaLag { primary, standby } => self.hold_back(standby, primary, end).await,
        }
    }

    async fn pile_up_locks(&self, primary: &PostgresAddress, end: End) -> Result<Vec<Actor>, FaultError> {
        let holder = primary.connect(ROLE, DATNAME, "campaign editor").await?;
        holder.run("BEGIN").await?;
        holder.run(CONTENDED_UPDATE).await?;
        let mut actors = vec![self.spawn(async move {
            end.reached().await;
            holder.run("ROLLBACK").await
        })];
        for _ in 0..QUEUED_SESSIONS {
            let waiter = primary.connect(ROLE, DATNAME, "campaign editor").await?;
            let patience = LIFETIME_MAX + HEAL_DEADLINE;
            actors.push(self.spawn(async move { waiter.run_within(patience, CONTENDED_UPDATE).await }));
        }
        let observer = primary.connect(SUPERUSER, DATNAME, "demo").await?;
        wait_until_true(&observer, LOCKS_PILED_UP).await?;
        Ok(actors)
    }

    async fn run_slow_queries(&self, primary: &PostgresAddress, end: End) -> Result<Vec<Actor>, FaultError> {
        let mut actors = Vec::new();
        for _ in 0..SLOW_SESSIONS {
            let session = primary.connect(ROLE, DATNAME, "report").await?;
            let end = end.clone();
            actors.push(self.spawn(async move {
                while !end.within(SLOW_CALL_PAUSE).await {
                    session.run(SLOW_REPORT).await?;
                }
                Ok(())
            }));
        }
        Ok(actors)
    }

    async fn hold_back(&self, standby: &PostgresAddress, primary: &PostgresAddress, end: End) -> Result<Vec<Actor>, FaultError> {
        let writer = primary.connect(ROLE, DATNAME, "import").await?;
        let replay = standby.connect(SUPERUSER, DATNAME, "demo").await?;
        replay.run("SELECT pg_wal_replay_pause()").await?;
        wait_until_true(&replay, "SELECT pg_get_wal_replay_pause_state() = 'paused'").await?;
        Ok(vec![self.spawn(async move {
            let imported = import(&writer, &end).await;
            // Even if the import failed, the standby must continue to replay.
            replay.run("SELECT pg_wal_replay_resume()").await?;
            imported?;
            catch_up(&replay, &writer).await
        })])
    }

    fn spawn(&self, actor: impl Future<Output = Result<(), SessionError>> + Send + 'static) -> Actor {
        AbortOnDropHandle::new(self.tasks.spawn(actor))
    }
}

async fn import(writer: &Session, end: &End) -> Result<(), SessionError> {
    while !end.within(IMPORT_PAUSE).await {
        writer.run(IMPORT).await?;
    }
    Ok(())
}

/// Waits until the standby has replayed what the primary wrote so far.
async fn catch_up(standby: &Session, primary: &Session) -> Result<(), SessionError> {
    let written: PgLsn = primary.query_value("SELECT pg_current_wal_lsn()").await?;
    wait_until_true(standby, &format!("SELECT pg_last_wal_replay_lsn() >= '{written}'::pg_lsn")).await
}

/// Waits until the query returns true. `cause` and `heal` bound the time of this wait.
async fn wait_until_true(session: &Session, question: &str) -> Result<(), SessionError> {
    while !session.query_value::<bool>(question).await? {
        sleep(POLL_INTERVAL).await;
    }
    Ok(())
}
