//! Checks of locks: waiting sessions and the sessions that block them, deadlocks, and prepared transactions.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use pharos_plugin::checks::{Case, Check, Direction, Explanation, Grading, Scope, Thresholds, each_increase, each_value, evidence, top};
use pharos_plugin::{Label, Reading, Snapshot, Table, sql, text};

use crate::wal::setting;

const WAIT_AGE: &str = "pharos_postgres_lock_wait_age_max_seconds";
const WAITERS: &str = "pharos_postgres_lock_waiters";
const TREE_DEPTH: &str = "pharos_postgres_lock_tree_depth_max";
const DEADLOCKS: &str = "pharos_postgres_deadlocks_total";
const LOCK_TABLE_USED: &str = "pharos_postgres_lock_table_used_ratio";
const LOCKS_HELD: &str = "pharos_postgres_locks_held";
const PREPARED_AGE: &str = "pharos_postgres_prepared_transaction_age_max_seconds";

pub(crate) const CHECKS: &[Check] = &[
    Check {
        id: "lock-wait",
        summary: "a session waits long for a lock",
        category: "locks",
        scope: Scope::Each,
        labels: &[],
        needs: &[WAIT_AGE],
        // No delay is needed: the thresholds are ages.
        hold_off: Duration::ZERO,
        keep_firing: Duration::ZERO,
        grading: Grading::rising(10.0, 60.0, 5.0),
        observe: |snapshot| each_value(snapshot, WAIT_AGE),
        explain: lock_wait,
    },
    Check {
        id: "lock-pile-up",
        summary: "many sessions wait for locks",
        category: "locks",
        scope: Scope::Each,
        labels: &[],
        needs: &[WAITERS],
        // Short queues are normal and dissolve by themselves.
        hold_off: Duration::from_secs(15),
        keep_firing: Duration::ZERO,
        grading: Grading::rising(3.0, 10.0, 1.0),
        observe: |snapshot| each_value(snapshot, WAITERS),
        explain: lock_pile_up,
    },
    Check {
        id: "deadlocks",
        summary: "transactions deadlock",
        category: "locks",
        scope: Scope::Each,
        labels: &["datname"],
        needs: &[DEADLOCKS],
        hold_off: Duration::ZERO,
        keep_firing: Duration::from_mins(5),
        grading: Grading::Scale(Direction::Rising, Thresholds { info: Some(1.0), warning: None, critical: Some(5.0), clear: 0.0 }),
        observe: |snapshot| each_increase(snapshot, DEADLOCKS),
        explain: deadlocks,
    },
    Check {
        id: "lock-table-filling",
        summary: "the table of locks is nearly full",
        category: "locks",
        scope: Scope::Each,
        labels: &[],
        needs: &[LOCK_TABLE_USED],
        hold_off: Duration::from_secs(30),
        keep_firing: Duration::from_mins(5),
        grading: Grading::rising(0.6, 0.8, 0.5),
        observe: |snapshot| each_value(snapshot, LOCK_TABLE_USED),
        explain: lock_table_filling,
    },
    Check {
        id: "prepared-transaction-forgotten",
        summary: "a prepared transaction is neither committed nor rolled back",
        category: "locks",
        scope: Scope::Shared,
        labels: &[],
        needs: &[PREPARED_AGE],
        // No delay is needed: the thresholds are ages.
        hold_off: Duration::ZERO,
        keep_firing: Duration::ZERO,
        grading: Grading::rising(300.0, 3_600.0, 60.0),
        observe: |snapshot| each_value(snapshot, PREPARED_AGE),
        explain: prepared_transaction_forgotten,
    },
];

fn lock_wait(case: &Case) -> Explanation {
    let age = text::duration(case.value);
    let waiters = case.related(WAITERS).map(|waiters| format!(" {} in all.", text::counted(waiters, "session waits", "sessions wait")));
    // The session that causes the longest wait comes first, even if it blocks only a single session.
    let mut roots = roots(case.snapshot);
    roots.sort_by(|a, b| b.longest_seconds.total_cmp(&a.longest_seconds));
    Explanation {
        title: format!("session has waited {age} for a lock"),
        detail: format!("The longest wait for a lock has lasted {age}.{}{}", waiters.unwrap_or_default(), sentence(&roots)),
        cause: "A transaction that holds a lock longer than others can wait: a schema change behind a long query, an update left \
                uncommitted, or a batch that locks many rows."
            .to_owned(),
        fix: fix(&roots),
        evidence: lines(&roots),
    }
}

fn lock_pile_up(case: &Case) -> Explanation {
    let waiters = text::counted(case.value, "session waits", "sessions wait");
    let depth = case.related(TREE_DEPTH).map(|depth| format!(" The longest chain is {} deep.", text::count(depth)));
    let roots = roots(case.snapshot);
    Explanation {
        title: format!("{waiters} for locks"),
        detail: format!("{waiters} for locks that other sessions hold or wait for.{}{}", depth.unwrap_or_default(), sentence(&roots)),
        cause: "A session holds or waits for a lock that many sessions need: most often a schema change (`ALTER TABLE`, `CREATE INDEX` \
                without `CONCURRENTLY`) or one row that every transaction updates."
            .to_owned(),
        fix: fix(&roots),
        evidence: lines(&roots),
    }
}

fn deadlocks(case: &Case) -> Explanation {
    let datname = case.label("datname");
    let deadlocks = text::counted(case.value, "deadlock", "deadlocks");
    let interval = text::duration(case.snapshot.reading_seconds(DEADLOCKS));
    Explanation {
        title: format!("{deadlocks} in {datname}"),
        detail: format!("In the last {interval} the server resolved {deadlocks} in {datname}, each by aborting a transaction."),
        cause: "Transactions that lock the same rows or tables in different orders.".to_owned(),
        fix: "The server's log names both statements of each deadlock. Lock in one order (`SELECT … ORDER BY id FOR UPDATE`), keep \
              transactions short, and retry on SQLSTATE 40P01."
            .to_owned(),
        evidence: Vec::new(),
    }
}

fn lock_table_filling(case: &Case) -> Explanation {
    let used = text::percent(case.value);
    Explanation {
        title: format!("{used} of the table of locks is used"),
        detail: format!(
            "{used} of the table of locks is used. When it is full, statements of any session fail with `out of shared memory`."
        ),
        cause:
            "Transactions that touch thousands of relations: a dump, a query over all partitions without a filter on their key, a schema \
                change of many tables at once."
                .to_owned(),
        fix: format!(
            "`BEGIN; SET LOCAL search_path = pg_catalog; SELECT pid, count(*) FROM pg_locks WHERE NOT fastpath GROUP BY pid ORDER BY 2 \
             DESC LIMIT 5; COMMIT;` shows the sessions with most locks. A larger table needs a restart: `ALTER SYSTEM SET \
             max_locks_per_transaction = {};`.",
            sql::raised(setting(case.snapshot, "max_locks_per_transaction"), 256.0)
        ),
        evidence: top(case.snapshot, LOCKS_HELD, Reading::Value, 3, text::count),
    }
}

fn prepared_transaction_forgotten(case: &Case) -> Explanation {
    let age = text::duration(case.value);
    let oldest = oldest_prepared(case.snapshot);
    let (name, statement) = match &oldest {
        Some(prepared) => (format!("Prepared transaction {}", prepared.gid), prepared.statement()),
        None => (
            "A prepared transaction".to_owned(),
            "`BEGIN; SET LOCAL search_path = pg_catalog; SELECT gid, prepared, owner, database FROM pg_prepared_xacts ORDER BY prepared; \
             COMMIT;`, then `COMMIT PREPARED <gid>;` or `ROLLBACK PREPARED <gid>;`"
                .to_owned(),
        ),
    };
    Explanation {
        title: format!("prepared transaction waits for {age}"),
        detail: format!(
            "{name} has been prepared for {age}. Until it is ended, even over restarts, it keeps its locks, and vacuum cannot remove rows \
             that it may still see."
        ),
        cause: "The transaction manager that prepared it no longer runs or has lost it.".to_owned(),
        fix: format!("Ask the transaction manager how it ended; if it has no record of it: {statement}."),
        evidence: oldest
            .map(|prepared| evidence("prepared transaction", format!("{} by {} in {}", prepared.gid, prepared.user, prepared.datname)))
            .into_iter()
            .collect(),
    }
}

struct Prepared {
    gid: String,
    user: String,
    datname: String,
}

impl Prepared {
    /// The statement that ends the prepared transaction. PostgreSQL accepts it only in the datname of the transaction.
    fn statement(&self) -> String {
        format!("in {}, `ROLLBACK PREPARED {};`", self.datname, sql::literal(&self.gid))
    }
}

fn oldest_prepared(snapshot: &Snapshot) -> Option<Prepared> {
    let table = snapshot.table("horizon")?;
    let seconds = |row: &usize| table.number("seconds", *row).unwrap_or_default();
    let prepared = (0..table.row_count()).filter(|row| table.has("holder", *row, "prepared"));
    let row = prepared.max_by(|a, b| seconds(a).total_cmp(&seconds(b)))?;
    let cell = |column: &str| table.text(column, row).unwrap_or_default();
    Some(Prepared { gid: table.text("name", row)?, user: cell("user"), datname: cell("datname") })
}

/// The root of a queue: a session or prepared transaction that blocks others and does not wait itself.
struct Root {
    pid: Option<i64>,
    /// The global id of a prepared transaction, which has no process. None for a session.
    gid: Option<String>,
    /// Known facts about the root, such as its state, application and lock.
    facts: Vec<String>,
    remedy: Option<String>,
    waiters: BTreeSet<i64>,
    longest_seconds: f64,
    /// The lock that the longest waiter wants.
    wanted: String,
}

/// The roots in the table `lock_waits`, the root with most waiters first. Empty if the snapshot has no such table.
fn roots(snapshot: &Snapshot) -> Vec<Root> {
    let Some(table) = snapshot.table("lock_waits") else { return Vec::new() };
    let (pids, root_pids) = (table.integers("pid"), table.integers("root_pid"));
    let mut roots = BTreeMap::new();
    for row in 0..table.row_count() {
        let (root_pid, prepared) = (root_pids[row], table.text("prepared", row));
        let Some(pid) = pids[row].filter(|_| root_pid.is_some() || prepared.is_some()) else { continue };
        let gid = prepared.filter(|_| root_pid.is_none());
        let root = roots.entry((root_pid, gid.clone())).or_insert_with(|| Root {
            pid: root_pid,
            gid,
            facts: facts(&table, row),
            remedy: None,
            waiters: BTreeSet::new(),
            longest_seconds: 0.0,
            wanted: String::new(),
        });
        root.waiters.insert(pid);
        let waited = table.number("wait_seconds", row).unwrap_or_default();
        if waited >= root.longest_seconds {
            root.longest_seconds = waited;
            root.wanted = wanted(table.text("mode", row), table.text("relation", row));
            root.remedy = table.text("remedy_text", row).or_else(|| root.remedy.take());
        }
    }
    let mut roots: Vec<Root> = roots.into_values().collect();
    roots.sort_by(|a, b| b.waiters.len().cmp(&a.waiters.len()).then(b.longest_seconds.total_cmp(&a.longest_seconds)));
    roots
}

fn facts(table: &Table, row: usize) -> Vec<String> {
    let cell = |column: &str| table.text(column, row).filter(|text| !text.is_empty());
    let open = table.number("root_transaction_seconds", row);
    let facts = [
        cell("root_application").map(|application| format!("application {application}")),
        cell("root_state"),
        cell("root_mode").map(|mode| format!("holds {mode}")),
        open.map(|seconds| format!("transaction open for {}", text::duration(seconds))),
    ];
    facts.into_iter().flatten().collect()
}

fn wanted(mode: Option<String>, relation: Option<String>) -> String {
    let mode = mode.unwrap_or_else(|| "a lock".to_owned());
    relation.map_or_else(|| mode.clone(), |relation| format!("{mode} on {relation}"))
}

fn sentence(roots: &[Root]) -> String {
    let sentence = |root: &Root| {
        let facts = if root.facts.is_empty() { String::new() } else { format!(" ({})", root.facts.join(", ")) };
        format!(" {}{facts} blocks {}, for {}.", capital(&root.name()), root.blocked(), root.wanted)
    };
    roots.first().map(sentence).unwrap_or_default()
}

fn capital(text: &str) -> String {
    let mut chars = text.chars();
    chars.next().map(|first| first.to_uppercase().chain(chars).collect()).unwrap_or_default()
}

/// The fix for the first root. The agent provides a remedy that suits the lock and its holder. Otherwise the fix is general advice.
fn fix(roots: &[Root]) -> String {
    const NEXT_TIME: &str = "Give schema changes `SET lock_timeout = '2s';` so that they give up instead of blocking everyone.";
    const STOP: &str = "cancel what it runs with `SELECT pg_catalog.pg_cancel_backend(<pid>);`, or end it with `SELECT \
                        pg_catalog.pg_terminate_backend(<pid>);` if it is idle in transaction, since a cancel has no effect there";
    let Some(root) = roots.first() else {
        return format!(
            "Find the blocking sessions: `BEGIN; SET LOCAL search_path = pg_catalog; SELECT pid, pg_blocking_pids(pid), wait_event, query \
             FROM pg_stat_activity WHERE cardinality(pg_blocking_pids(pid)) > 0; COMMIT;`, then {STOP}. {NEXT_TIME}"
        );
    };
    let stop = match (&root.remedy, root.pid) {
        (Some(remedy), _) => format!("{}.", capital(remedy.trim_end_matches('.'))),
        (None, Some(pid)) => format!(
            "See what it does: `BEGIN; SET LOCAL search_path = pg_catalog; SELECT state, query FROM pg_stat_activity WHERE pid = {pid}; \
             COMMIT;`, then {STOP}."
        ),
        (None, None) => "Find it: `BEGIN; SET LOCAL search_path = pg_catalog; SELECT gid, prepared, owner, database FROM \
                         pg_prepared_xacts ORDER BY prepared; COMMIT;`, then end it from its database with `COMMIT PREPARED <gid>;` or \
                         `ROLLBACK PREPARED <gid>;`."
            .to_owned(),
    };
    format!("{stop} {NEXT_TIME}")
}

/// The first five roots as evidence. More roots do not help to decide which session to end.
fn lines(roots: &[Root]) -> Vec<Label> {
    roots
        .iter()
        .take(5)
        .map(|root| {
            let longest = text::duration(root.longest_seconds);
            evidence(&root.name(), format!("blocks {}, longest {longest}, for {}", root.blocked(), root.wanted))
        })
        .collect()
}

impl Root {
    fn name(&self) -> String {
        match (self.pid, &self.gid) {
            (Some(pid), _) => format!("process {pid}"),
            (None, Some(gid)) => format!("prepared transaction {gid}"),
            (None, None) => "a prepared transaction".to_owned(),
        }
    }

    fn blocked(&self) -> String {
        text::counted(self.waiters.len() as f64, "session", "sessions")
    }
}
