//! Who waits for whom (pg_blocking_pids) and for which lock (pg_locks).

use std::collections::HashMap;

use futures_util::FutureExt;
use futures_util::future::BoxFuture;
use pharos_model::lock_tree::{Blocker, LockForest, Waiting};
use pharos_model::snapshot::{Column, Family, Table};
use tokio_postgres::Row;

use super::need_all_stats;
use super::row::{Fields, query};
use crate::collect::{CollectError, Facts};
use crate::postgres::Session;

pub const NAME: &str = "locks";

pub fn collect(session: &Session) -> BoxFuture<'_, Result<Facts, CollectError>> {
    read(session).boxed()
}

async fn read(session: &Session) -> Result<Facts, CollectError> {
    need_all_stats(session)?;
    let rows = query(session, NAME, include_str!("sql/locks.sql")).await?;
    let backends = rows.iter().map(Backend::read).collect::<Result<Vec<_>, _>>()?;
    let forest = LockForest::new(backends.iter().filter_map(Backend::waiting));
    Ok(Facts {
        epoch: session.epoch(),
        families: families(&forest, &backends),
        tables: vec![table(&forest, &backends)],
        ..Facts::default()
    })
}

/// A backend that waits, or for which others wait.
struct Backend {
    pid: i32,
    leader_pid: Option<i32>,
    blocked_by: Vec<i32>,
    datname: Option<String>,
    user: Option<String>,
    application: Option<String>,
    mode: Option<String>,
    relation: Option<String>,
    wait_seconds: Option<f64>,
}

impl Backend {
    fn read(row: &Row) -> Result<Self, CollectError> {
        let row = Fields::new(NAME, row);
        Ok(Self {
            pid: row.field("pid")?,
            leader_pid: row.field("leader_pid")?,
            blocked_by: row.field("blocked_by")?,
            datname: row.field("datname")?,
            user: row.field("user")?,
            application: row.field("application")?,
            mode: row.field("mode")?,
            relation: row.field("relation")?,
            wait_seconds: row.number("wait_seconds")?,
        })
    }

    fn waiting(&self) -> Option<Waiting> {
        let waits = !self.blocked_by.is_empty();
        waits.then(|| Waiting { pid: self.pid, leader_pid: self.leader_pid, blocked_by: self.blocked_by.clone() })
    }
}

fn families(forest: &LockForest, backends: &[Backend]) -> Vec<Family> {
    let oldest = backends.iter().filter_map(|backend| backend.wait_seconds).fold(0.0, f64::max);
    let depth = forest.roots.iter().map(|root| root.depth).max().unwrap_or(0);
    vec![
        Family::scalar("pharos_postgres_lock_waiters", forest.waiters.len() as f64),
        Family::scalar("pharos_postgres_lock_blockers", forest.roots.len() as f64),
        Family::scalar("pharos_postgres_lock_wait_age_max_seconds", oldest),
        Family::scalar("pharos_postgres_lock_tree_depth_max", depth as f64),
    ]
}

/// One row per waiting session; a waiter with several roots names the one that most others wait for.
fn table(forest: &LockForest, backends: &[Backend]) -> Table {
    let by_pid: HashMap<i32, &Backend> = backends.iter().map(|backend| (backend.pid, backend)).collect();
    let pid = |blocker: &Blocker| match blocker {
        Blocker::Session(pid) => Some(i64::from(*pid)),
        Blocker::Prepared => None,
    };
    let backend = |index: usize| by_pid.get(&forest.waiters[index].pid).copied();
    let rows = 0..forest.waiters.len();
    let gravest = |index: usize| {
        let roots = &forest.waiters[index].roots;
        forest.roots.iter().map(|root| root.blocker).find(|root| roots.contains(root))
    };
    let texts = |field: fn(&Backend) -> Option<&String>| rows.clone().map(move |index| backend(index).and_then(field).map(String::as_str));
    Table::new(
        "lock_waits",
        vec![
            Column::integer("pid", forest.waiters.iter().map(|waiter| Some(i64::from(waiter.pid)))),
            Column::integer("blocked_by", forest.waiters.iter().map(|waiter| waiter.blocked_by.first().and_then(pid))),
            Column::integer("root_pid", rows.clone().map(|index| gravest(index).as_ref().and_then(pid))),
            Column::integer("depth", forest.waiters.iter().map(|waiter| i64::try_from(waiter.depth).ok())),
            Column::float("wait_seconds", "seconds", rows.clone().map(|index| backend(index).and_then(|backend| backend.wait_seconds))),
            Column::text("mode", texts(|backend| backend.mode.as_ref())),
            Column::text("relation", texts(|backend| backend.relation.as_ref())),
            Column::text("datname", texts(|backend| backend.datname.as_ref())),
            Column::text("user", texts(|backend| backend.user.as_ref())),
            Column::text("application", texts(|backend| backend.application.as_ref())),
        ],
    )
}
