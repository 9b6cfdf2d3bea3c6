//! Lock waits as trees, built from pg_locks and pg_stat_activity, with the remedy for each waiter.

use std::collections::HashMap;

use pharos_model::postgres::lock_tree::{self, Blocker, Lock, LockForest, LockSession, Remedy, Root, Waiting};
use pharos_model::snapshot::{Column, Family, PartId, Table};

use crate::collect::CollectError;
use crate::collect::postgres::row::Fields;
use crate::postgres::monitor::Row;

const PART: PartId = PartId::Locks;

/// A backend that waits, or that others wait for.
struct Backend {
    pid: i32,
    leader_pid: Option<i32>,
    blocked_by: Vec<i32>,
    datname: Option<String>,
    user: Option<String>,
    application: Option<String>,
    relation: Option<String>,
    wait_started_at: Option<f64>,
    wait_seconds: Option<f64>,
    transaction_seconds: Option<f64>,
    session: LockSession,
}

impl Backend {
    fn read(row: &Row) -> Result<Self, CollectError> {
        let row = Fields::new(PART, row);
        let text = |column: &str| row.field::<Option<String>>(column);
        let lock = |kind: &str, mode: &str| Ok::<_, CollectError>(text(kind)?.zip(text(mode)?).map(|(kind, mode)| Lock { kind, mode }));
        let backend = match row.text("backend_type")? {
            "client backend" | "parallel worker" => lock_tree::Backend::Client,
            "autovacuum worker" => lock_tree::Backend::Autovacuum { prevents_wraparound: row.field("prevents_wraparound")? },
            _ => lock_tree::Backend::Other,
        };
        Ok(Self {
            pid: row.field("pid")?,
            leader_pid: row.field("leader_pid")?,
            blocked_by: row.field("blocked_by")?,
            datname: text("datname")?,
            user: text("user")?,
            application: text("application")?,
            relation: text("relation")?,
            wait_started_at: row.number("wait_started_at")?,
            wait_seconds: row.number("wait_seconds")?,
            transaction_seconds: row.number("transaction_seconds")?,
            session: LockSession {
                backend,
                state: text("state")?,
                wants: lock("lock_type", "mode")?,
                holds: lock("held_type", "held_mode")?,
                prepared: text("prepared")?,
                started_at: text("started_at")?,
            },
        })
    }

    fn waiting(&self) -> Option<Waiting> {
        let waits = !self.blocked_by.is_empty();
        waits.then(|| Waiting { pid: self.pid, leader_pid: self.leader_pid, blocked_by: self.blocked_by.clone() })
    }
}

/// The lock waits of one reading.
#[derive(Default)]
pub(super) struct LockWaits {
    forest: LockForest,
    /// Sessions by process id. A parallel query has the id of its leader, and the wait of its first waiting worker.
    backends: HashMap<i32, Backend>,
}

impl LockWaits {
    pub(super) fn new(rows: &[Row]) -> Result<Self, CollectError> {
        let rows = rows.iter().map(Backend::read).collect::<Result<Vec<_>, _>>()?;
        let forest = LockForest::new(rows.iter().filter_map(Backend::waiting));
        let mut backends: HashMap<i32, Backend> = HashMap::new();
        let (workers, others): (Vec<Backend>, Vec<Backend>) = rows.into_iter().partition(|backend| backend.leader_pid.is_some());
        for backend in others {
            backends.insert(backend.pid, backend);
        }
        for worker in workers {
            let Some(leader) = worker.leader_pid.and_then(|pid| backends.get_mut(&pid)) else { continue };
            if leader.session.wants.is_none() && worker.session.wants.is_some() {
                leader.session.wants = worker.session.wants;
                (leader.relation, leader.wait_started_at, leader.wait_seconds) =
                    (worker.relation, worker.wait_started_at, worker.wait_seconds);
            }
        }
        Ok(Self { forest, backends })
    }

    pub(super) fn families(&self) -> Vec<Family> {
        let oldest = self.backends.values().filter_map(|backend| backend.wait_seconds).fold(0.0, f64::max);
        let depth = self.forest.roots.iter().map(|root| root.depth).max().unwrap_or(0);
        vec![
            Family::scalar("pharos_postgres_lock_waiters", self.forest.waiters.len() as f64),
            Family::scalar("pharos_postgres_lock_blockers", self.forest.roots.len() as f64),
            Family::scalar("pharos_postgres_lock_wait_age_max_seconds", oldest),
            Family::scalar("pharos_postgres_lock_tree_depth_max", depth as f64),
        ]
    }

    /// Lists a row per waiting session. A waiter with several roots names the one that most others wait for.
    pub(super) fn table(&self) -> Table {
        let waiters = &self.forest.waiters;
        let sessions: HashMap<i32, LockSession> = self.backends.iter().map(|(pid, backend)| (*pid, backend.session.clone())).collect();
        let roots: Vec<Option<&Root>> = waiters.iter().map(|waiter| self.forest.gravest_root(waiter)).collect();
        let remedies: Vec<Option<Remedy>> = waiters.iter().map(|waiter| lock_tree::remedy(&self.forest, waiter, &sessions)).collect();
        let own: Vec<Option<&Backend>> = waiters.iter().map(|waiter| self.backends.get(&waiter.pid)).collect();
        let root: Vec<Option<&Backend>> = roots.iter().map(|root| self.backends.get(&pid(&(*root)?.blocker)?)).collect();
        let texts = |name, column: fn(&Backend) -> Option<&str>, of: &[Option<&Backend>]| {
            Column::text(name, of.iter().map(|backend| column((*backend)?)))
        };
        let seconds = |name, column: fn(&Backend) -> Option<f64>, of: &[Option<&Backend>]| {
            Column::float(name, "seconds", of.iter().map(|backend| column((*backend)?)))
        };
        let pids =
            |column: fn(&lock_tree::Waiter) -> Option<Blocker>| waiters.iter().map(move |waiter| i64::from(pid(&column(waiter)?)?).into());
        Table::new(
            "lock_waits",
            vec![
                Column::integer("pid", waiters.iter().map(|waiter| Some(i64::from(waiter.pid)))),
                Column::integer("blocked_by", pids(|waiter| waiter.blocked_by.first().copied())),
                Column::integer("root_pid", roots.iter().map(|root| pid(&(*root)?.blocker).map(i64::from))),
                Column::integer("depth", waiters.iter().map(|waiter| i64::try_from(waiter.depth).ok())),
                seconds("wait_seconds", |backend| backend.wait_seconds, &own),
                seconds("wait_started_at", |backend| backend.wait_started_at, &own),
                texts("lock_type", |backend| Some(backend.session.wants.as_ref()?.kind.as_str()), &own),
                texts("mode", |backend| Some(backend.session.wants.as_ref()?.mode.as_str()), &own),
                texts("relation", |backend| backend.relation.as_deref(), &own),
                texts("datname", |backend| backend.datname.as_deref(), &own),
                texts("user", |backend| backend.user.as_deref(), &own),
                texts("application", |backend| backend.application.as_deref(), &own),
                texts("prepared", |backend| backend.session.prepared.as_deref(), &own),
                texts("root_mode", |backend| Some(backend.session.holds.as_ref()?.mode.as_str()), &root),
                texts("root_state", |backend| backend.session.state.as_deref(), &root),
                texts("root_user", |backend| backend.user.as_deref(), &root),
                texts("root_application", |backend| backend.application.as_deref(), &root),
                seconds("root_transaction_seconds", |backend| backend.transaction_seconds, &root),
                Column::integer("root_victims", roots.iter().map(|root| i64::try_from((*root)?.victims).ok())),
                Column::text("remedy", remedies.iter().map(|remedy| remedy.as_ref().map(|remedy| remedy.kind.name()))),
                Column::text("remedy_text", remedies.iter().map(|remedy| remedy.as_ref().map(|remedy| remedy.text.as_str()))),
            ],
        )
    }
}

fn pid(blocker: &Blocker) -> Option<i32> {
    match blocker {
        Blocker::Session(pid) => Some(*pid),
        Blocker::Prepared => None,
    }
}
