//! Remedies for a waiting session, by the root's lock mode and by the root's activity.
//!
//! The agent never runs a remedy: each is a name and a sentence for the person who decides.

#[cfg(test)]
mod tests;

use std::collections::{BTreeSet, HashMap};

use super::{Blocker, LockForest, Root, Waiter};

/// Modes that only DDL, VACUUM FULL, CREATE INDEX and LOCK TABLE request. Every later request queues behind them.
const DDL_MODES: [&str; 4] = ["AccessExclusiveLock", "ExclusiveLock", "ShareRowExclusiveLock", "ShareLock"];

/// Lock as in `pg_locks`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Lock {
    /// Type of the locked object: `relation`, `transactionid`, `advisory` and others.
    pub kind: String,
    /// Mode of the lock, such as `AccessExclusiveLock`.
    pub mode: String,
}

/// Kind of a backend, as far as it decides the remedy.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Backend {
    /// The session of a client.
    Client,
    /// A worker of autovacuum.
    Autovacuum {
        /// True if the worker prevents transaction id wraparound. Such a worker does not give way.
        prevents_wraparound: bool,
    },
    /// Any other process of the server.
    Other,
}

/// Session that waits or that others wait for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LockSession {
    /// Kind of the backend.
    pub backend: Backend,
    /// State in `pg_stat_activity`: `active`, `idle in transaction` and others.
    pub state: Option<String>,
    /// Lock for which the session waits; `None` if it does not wait.
    pub wants: Option<Lock>,
    /// Strongest held lock on an object that another session waits for.
    pub holds: Option<Lock>,
    /// Names of the prepared transactions that the session waits for.
    pub prepared: Option<String>,
    /// Start of the session as SQL text. The pid may belong to another session when a person acts.
    pub started_at: Option<String>,
}

impl LockSession {
    fn is_idle_in_transaction(&self) -> bool {
        self.state.as_deref().is_some_and(|state| state.starts_with("idle in transaction"))
    }

    fn wants_relation(&self) -> bool {
        self.wants.as_ref().is_some_and(|lock| lock.kind == "relation")
    }

    fn queues_as_ddl(&self) -> bool {
        self.wants_relation() && self.wants.as_ref().is_some_and(|lock| DDL_MODES.contains(&lock.mode.as_str()))
    }
}

/// Kind of a remedy: a closed set.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum RemedyKind {
    /// The server resolves a deadlock by itself.
    Deadlock,
    /// Sessions queue behind a session that waits for a strong lock.
    DdlQueue,
    /// The root is a prepared transaction.
    PreparedTransaction,
    /// The root is an autovacuum that prevents transaction id wraparound.
    AutovacuumWraparound,
    /// The root is another autovacuum.
    Autovacuum,
    /// Many sessions extend one relation.
    RelationExtension,
    /// The root is idle in a transaction.
    IdleInTransaction,
    /// The waiter needs older transactions to end.
    OldTransaction,
    /// The root holds an advisory lock.
    AdvisoryLock,
    /// The root holds the strongest lock of a relation.
    Ddl,
    /// The root holds a weaker lock of a relation.
    RelationLock,
    /// The root has changed the same rows.
    RowLock,
    /// Any other wait.
    Other,
}

impl RemedyKind {
    /// Name of the kind in tables.
    pub fn name(self) -> &'static str {
        match self {
            Self::Deadlock => "deadlock",
            Self::DdlQueue => "ddl-queue",
            Self::PreparedTransaction => "prepared-transaction",
            Self::AutovacuumWraparound => "autovacuum-wraparound",
            Self::Autovacuum => "autovacuum",
            Self::RelationExtension => "relation-extension",
            Self::IdleInTransaction => "idle-in-transaction",
            Self::OldTransaction => "old-transaction",
            Self::AdvisoryLock => "advisory-lock",
            Self::Ddl => "ddl",
            Self::RelationLock => "relation-lock",
            Self::RowLock => "row-lock",
            Self::Other => "other",
        }
    }
}

/// Remedy for a waiting session.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Remedy {
    /// Kind of the remedy.
    pub kind: RemedyKind,
    /// Advice for people, with commands between backticks.
    pub text: String,
}

/// Remedy for this waiter; `None` if its root is unknown.
pub fn remedy(forest: &LockForest, waiter: &Waiter, sessions: &HashMap<i32, LockSession>) -> Option<Remedy> {
    let root = forest.gravest_root(waiter)?;
    let kind_and_text = if root.deadlock.is_empty() {
        match (queue_head(forest, waiter, sessions), root.blocker) {
            (Some(ddl), _) => behind_ddl(ddl, root, sessions),
            (None, Blocker::Prepared) => behind_prepared(forest, sessions),
            (None, Blocker::Session(pid)) => behind_session(pid, waiter, sessions),
        }
    } else {
        let circle: Vec<String> = root.deadlock.iter().map(ToString::to_string).collect();
        let text = format!(
            "the sessions {} wait for each other; the server ends one of them after deadlock_timeout, and the application should lock in one order",
            circle.join(", ")
        );
        (RemedyKind::Deadlock, text)
    };
    let (kind, text) = kind_and_text;
    Some(Remedy { kind, text })
}

/// The nearest session ahead that waits for a strong lock on a relation, and makes later requests queue.
fn queue_head(forest: &LockForest, waiter: &Waiter, sessions: &HashMap<i32, LockSession>) -> Option<i32> {
    let mut seen = BTreeSet::from([waiter.pid]);
    let mut behind = vec![waiter];
    while let Some(next) = behind.pop() {
        let waits_for_relation = sessions.get(&next.pid).is_some_and(LockSession::wants_relation);
        for blocker in &next.blocked_by {
            let Blocker::Session(pid) = blocker else { continue };
            if waits_for_relation && sessions.get(pid).is_some_and(LockSession::queues_as_ddl) {
                return Some(*pid);
            }
            if seen.insert(*pid) {
                behind.extend(forest.waiter(*pid));
            }
        }
    }
    None
}

/// SQL that signals this session, and no later session with the same pid.
fn signal(function: &str, pid: i32, sessions: &HashMap<i32, LockSession>) -> String {
    let started_at = sessions.get(&pid).and_then(|session| session.started_at.as_ref());
    let same = started_at.map(|started_at| format!(" AND backend_start = '{started_at}'")).unwrap_or_default();
    format!("`BEGIN; SET LOCAL search_path = pg_catalog; SELECT {function}(pid) FROM pg_stat_activity WHERE pid = {pid}{same}; COMMIT;`")
}

fn behind_ddl(ddl: i32, root: &Root, sessions: &HashMap<i32, LockSession>) -> (RemedyKind, String) {
    let root = match root.blocker {
        Blocker::Session(pid) => format!("session {pid}"),
        Blocker::Prepared => "a prepared transaction".to_owned(),
    };
    let cancel = signal("pg_cancel_backend", ddl, sessions);
    let text = format!(
        "session {ddl} waits for a strong lock, and every session behind it queues: {cancel} lets these sessions continue, and the cancelled \
         statement should be tried again with lock_timeout set; it waits itself for {root}"
    );
    (RemedyKind::DdlQueue, text)
}

fn behind_prepared(forest: &LockForest, sessions: &HashMap<i32, LockSession>) -> (RemedyKind, String) {
    let direct = forest.waiters.iter().filter(|waiter| waiter.blocked_by.contains(&Blocker::Prepared));
    let names: BTreeSet<&str> = direct.filter_map(|waiter| sessions.get(&waiter.pid)?.prepared.as_deref()).collect();
    let names: Vec<&str> = names.into_iter().collect();
    let which = if names.is_empty() { "(see pg_prepared_xacts)".to_owned() } else { names.join(", ") };
    let text = format!(
        "prepared transaction {which} holds the lock and no session will end it: decide with its transaction manager, then COMMIT PREPARED \
         or ROLLBACK PREPARED in its database"
    );
    (RemedyKind::PreparedTransaction, text)
}

fn behind_session(pid: i32, waiter: &Waiter, sessions: &HashMap<i32, LockSession>) -> (RemedyKind, String) {
    let root = sessions.get(&pid);
    let wants = sessions.get(&waiter.pid).and_then(|session| session.wants.as_ref());
    let holds = root.and_then(|root| root.holds.as_ref());
    let kind = kind_of(root, holds.or(wants), wants);
    let mode = holds.map_or("a lock", |lock| lock.mode.as_str());
    let [cancel, terminate] = ["pg_cancel_backend", "pg_terminate_backend"].map(|function| signal(function, pid, sessions));
    let text = match kind {
        RemedyKind::AutovacuumWraparound => format!(
            "autovacuum {pid} prevents transaction id wraparound: let it finish, since it begins again when it is cancelled, and try \
             the waiting statement again later with lock_timeout set"
        ),
        RemedyKind::Autovacuum => format!(
            "autovacuum {pid} gives way by itself after deadlock_timeout; if it does not, {cancel}, and it \
             starts again later"
        ),
        RemedyKind::RelationExtension => {
            "many sessions make one relation longer at once: ending a session does not help, but bulk loads in fewer sessions are faster"
                .to_owned()
        }
        RemedyKind::IdleInTransaction => format!(
            "session {pid} holds {mode} and does nothing: its application should commit; {terminate} ends it, as \
             idle_in_transaction_session_timeout would"
        ),
        RemedyKind::OldTransaction => format!(
            "the waiting statement needs all older transactions to end, as CREATE INDEX CONCURRENTLY does, and the transaction of session \
             {pid} is open: wait for its end, or {terminate}"
        ),
        RemedyKind::AdvisoryLock => {
            format!("session {pid} holds an advisory lock of the application: it should unlock it; {terminate} releases it")
        }
        RemedyKind::Ddl => format!(
            "session {pid} holds {mode}, which shuts out every other session: let its DDL finish, or {cancel} and look for a \
             way that locks less"
        ),
        RemedyKind::RelationLock => format!(
            "session {pid} holds {mode} on the relation until its transaction ends: wait for that, or {cancel}; LOCK TABLE \
             and CREATE INDEX without CONCURRENTLY are the usual causes"
        ),
        RemedyKind::RowLock => format!(
            "session {pid} changed the same rows and has not committed: wait for that, or {cancel} if it is stuck; short \
             transactions that lock rows in one order do not pile up"
        ),
        RemedyKind::Deadlock | RemedyKind::DdlQueue | RemedyKind::PreparedTransaction | RemedyKind::Other => {
            format!(
                "session {pid} is in the way: `BEGIN; SET LOCAL search_path = pg_catalog; SELECT state, query FROM pg_stat_activity WHERE \
                 pid = {pid}; COMMIT;` shows what it does, and {cancel} ends that"
            )
        }
    };
    (kind, text)
}

/// Kind of the remedy. `lock` is the root's lock if it is known, else the lock that the waiter wants.
fn kind_of(root: Option<&LockSession>, lock: Option<&Lock>, wants: Option<&Lock>) -> RemedyKind {
    if let Some(Backend::Autovacuum { prevents_wraparound }) = root.map(|root| root.backend) {
        return if prevents_wraparound { RemedyKind::AutovacuumWraparound } else { RemedyKind::Autovacuum };
    }
    let waits_for = wants.map_or("", |lock| lock.kind.as_str());
    match (lock.map_or("", |lock| lock.kind.as_str()), lock.map_or("", |lock| lock.mode.as_str())) {
        _ if waits_for == "extend" => RemedyKind::RelationExtension,
        _ if root.is_some_and(LockSession::is_idle_in_transaction) => RemedyKind::IdleInTransaction,
        _ if waits_for == "virtualxid" => RemedyKind::OldTransaction,
        ("advisory" | "userlock", _) => RemedyKind::AdvisoryLock,
        ("relation", "AccessExclusiveLock") => RemedyKind::Ddl,
        ("relation", _) => RemedyKind::RelationLock,
        ("transactionid" | "tuple" | "spectoken", _) => RemedyKind::RowLock,
        _ => RemedyKind::Other,
    }
}
