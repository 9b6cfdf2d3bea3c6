//! Who waits for whom.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use pharos_plugin::checks::{Case, Check, Direction, Explanation, Grading, Thresholds, each_increase, each_value, evidence};
use pharos_plugin::{Label, Snapshot, text};

const WAIT_AGE: &str = "pharos_postgres_lock_wait_age_max_seconds";
const WAITERS: &str = "pharos_postgres_lock_waiters";
const TREE_DEPTH: &str = "pharos_postgres_lock_tree_depth_max";
const DEADLOCKS: &str = "pharos_postgres_deadlocks_total";

pub const CHECKS: &[Check] = &[
    Check {
        id: "lock-wait",
        summary: "a session waits long for a lock",
        category: "locks",
        labels: &[],
        needs: &[WAIT_AGE],
        // The age itself is the delay.
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
        labels: &[],
        needs: &[WAITERS],
        // Short queues form and dissolve all the time.
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
        labels: &["datname"],
        needs: &[DEADLOCKS],
        hold_off: Duration::ZERO,
        keep_firing: Duration::from_mins(5),
        grading: Grading::Scale(Direction::Rising, Thresholds { info: Some(1.0), warning: None, critical: Some(5.0), clear: 0.0 }),
        observe: |snapshot| each_increase(snapshot, DEADLOCKS),
        explain: deadlocks,
    },
];

fn lock_wait(case: &Case) -> Explanation {
    let age = text::duration(case.value);
    let waiters = case.related(WAITERS).map(|waiters| format!(" {} sessions wait in all.", text::count(waiters)));
    let roots = roots(case.snapshot);
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
        detail: format!("{waiters} for locks held or queued for by others.{}{}", depth.unwrap_or_default(), sentence(&roots)),
        cause: "A lock that everyone needs is held or queued for: most often a schema change (`ALTER TABLE`, `CREATE INDEX` without \
                `CONCURRENTLY`) or one row that every transaction updates."
            .to_owned(),
        fix: fix(&roots),
        evidence: lines(&roots),
    }
}

fn deadlocks(case: &Case) -> Explanation {
    let datname = case.label("datname");
    let deadlocks = text::counted(case.value, "deadlock", "deadlocks");
    let interval = text::duration(case.snapshot.interval_seconds());
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

/// A session that blocks others and waits for nobody.
struct Root {
    pid: i64,
    waiters: BTreeSet<i64>,
    longest_seconds: f64,
    /// What its longest waiter wants.
    wanted: String,
}

/// From the table of waits, the root with the most waiters first. Empty where nobody collects the table: the metrics still tell.
fn roots(snapshot: &Snapshot) -> Vec<Root> {
    let Some(table) = snapshot.table("lock_waits") else { return Vec::new() };
    let (pids, root_pids, seconds) = (table.integers("pid"), table.integers("root_pid"), table.floats("wait_seconds"));
    let (modes, relations) = (table.texts("mode"), table.texts("relation"));
    let mut roots = BTreeMap::new();
    for row in 0..table.row_count() {
        let (Some(pid), Some(root_pid)) = (pids[row], root_pids[row]) else { continue };
        let root = roots.entry(root_pid).or_insert_with(|| Root {
            pid: root_pid,
            waiters: BTreeSet::new(),
            longest_seconds: 0.0,
            wanted: String::new(),
        });
        root.waiters.insert(pid);
        let waited = seconds[row].unwrap_or_default();
        if waited >= root.longest_seconds {
            root.longest_seconds = waited;
            root.wanted = wanted(modes[row].as_deref(), relations[row].as_deref());
        }
    }
    let mut roots: Vec<Root> = roots.into_values().collect();
    roots.sort_by(|a, b| b.waiters.len().cmp(&a.waiters.len()).then(b.longest_seconds.total_cmp(&a.longest_seconds)));
    roots
}

fn wanted(mode: Option<&str>, relation: Option<&str>) -> String {
    let mode = mode.unwrap_or("a lock");
    relation.map_or_else(|| mode.to_owned(), |relation| format!("{mode} on {relation}"))
}

fn sentence(roots: &[Root]) -> String {
    roots.first().map(|root| format!(" Process {} blocks {}, for {}.", root.pid, root.blocked(), root.wanted)).unwrap_or_default()
}

fn fix(roots: &[Root]) -> String {
    let pid = roots.first().map_or_else(|| "pid".to_owned(), |root| root.pid.to_string());
    let look = if roots.is_empty() {
        "Find who blocks: `SELECT pid, pg_blocking_pids(pid), wait_event, query FROM pg_stat_activity WHERE \
         cardinality(pg_blocking_pids(pid)) > 0;` then "
    } else {
        "See what it does in pg_stat_activity, then "
    };
    format!(
        "{look}stop it: `SELECT pg_cancel_backend({pid});`, or `SELECT pg_terminate_backend({pid});` if it is idle in transaction. Give \
         schema changes `SET lock_timeout = '2s';` so that they give up instead of blocking everyone."
    )
}

/// The worst five: more do not help to decide whom to stop.
fn lines(roots: &[Root]) -> Vec<Label> {
    roots
        .iter()
        .take(5)
        .map(|root| {
            let longest = text::duration(root.longest_seconds);
            evidence(&format!("process {}", root.pid), format!("blocks {}, longest {longest}, for {}", root.blocked(), root.wanted))
        })
        .collect()
}

impl Root {
    fn blocked(&self) -> String {
        text::counted(self.waiters.len() as f64, "session", "sessions")
    }
}
