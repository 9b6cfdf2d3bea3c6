//! `GET /api/database/locks`: which session waits for which on each server, as trees, and what would free them.

use std::cmp::Reverse;

use pharos_model::snapshot::{PartId, PartState, Snapshot, Table};
use pharos_model::subject::SubjectKind;

use super::snapshots::{Selection, label, last_read};
use crate::api::list::{DatabaseQuery, List, Timestamp};
use crate::api::locks::{LockRoot, LockWaiter, ServerLocks};
use crate::clock::rfc3339;
use crate::http::exchange::Answer;

pub(super) async fn list(selection: Selection<DatabaseQuery>) -> Answer<List<ServerLocks>> {
    let servers = selection.snapshots.iter().filter(|snapshot| snapshot.subject.kind == SubjectKind::Postgres);
    Answer::ok(List { items: servers.map(server).collect(), next_cursor: None })
}

fn server(snapshot: &Snapshot) -> ServerLocks {
    let waits = snapshot.table("lock_waits");
    let why = match snapshot.part(PartId::Locks).map(|part| &part.state) {
        _ if waits.is_some() => None,
        Some(PartState::Failed(why) | PartState::Unsupported(why)) => Some(why.clone()),
        Some(PartState::Stale(age)) => Some(last_read(*age)),
        Some(PartState::Present) => Some("not read, since sessions queue for the lock manager itself".to_owned()),
        None => Some("not read yet".to_owned()),
    };
    ServerLocks {
        database: label(snapshot, "database"),
        server: label(snapshot, "server"),
        taken_at: Timestamp(rfc3339(snapshot.taken_at_ms)),
        why,
        roots: waits.map(roots),
    }
}

/// Builds the trees from the rows, those with most waiters first.
fn roots(waits: &Table) -> Vec<LockRoot> {
    let mut roots: Vec<LockRoot> = Vec::new();
    let mut rows: Vec<usize> = (0..waits.row_count as usize).collect();
    rows.sort_by_key(|row| waits.integer("depth", *row));
    for row in rows {
        let pid = waits.integer("root_pid", row);
        let index = roots.iter().position(|root| root.pid == pid).unwrap_or_else(|| {
            roots.push(root(waits, row));
            roots.len() - 1
        });
        roots[index].waiters.push(waiter(waits, row));
    }
    roots.sort_by_key(|root| Reverse(root.waiters.len()));
    roots
}

fn root(waits: &Table, row: usize) -> LockRoot {
    let text = |column| waits.text(column, row).map(ToOwned::to_owned);
    LockRoot {
        pid: waits.integer("root_pid", row),
        mode: text("root_mode"),
        state: text("root_state"),
        user: text("root_user"),
        application: text("root_application"),
        transaction_seconds: waits.number("root_transaction_seconds", row),
        waiters: Vec::new(),
    }
}

fn waiter(waits: &Table, row: usize) -> LockWaiter {
    let text = |column| waits.text(column, row).map(ToOwned::to_owned);
    LockWaiter {
        pid: waits.integer("pid", row),
        blocked_by: waits.integer("blocked_by", row),
        depth: waits.integer("depth", row),
        wait_seconds: waits.number("wait_seconds", row),
        lock_type: text("lock_type"),
        mode: text("mode"),
        relation: text("relation"),
        datname: text("datname"),
        user: text("user"),
        application: text("application"),
        prepared: text("prepared"),
        remedy: text("remedy"),
        remedy_text: text("remedy_text"),
    }
}
