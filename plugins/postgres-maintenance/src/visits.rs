//! What nobody could look at, since no alert must be taken for calm.

use std::collections::BTreeSet;
use std::time::Duration;

use pharos_plugin::checks::{Case, Check, Explanation, Grading, Observation, each_zero, evidence, unvisited};
use pharos_plugin::{Label, Severity, SkipReason, Snapshot, sql, text};

use crate::vacuum::{RELATION, TABLES, name_of};

const VISITED: &str = "pharos_postgres_datname_visited";

pub const CHECKS: &[Check] = &[
    Check {
        id: "datname-not-visited",
        summary: "tables and indexes of a database cannot be watched",
        category: "maintenance",
        labels: &["datname"],
        needs: &[VISITED],
        hold_off: Duration::from_mins(15),
        keep_firing: Duration::ZERO,
        grading: Grading::Fact(Severity::Info),
        observe: |snapshot| each_zero(snapshot, VISITED),
        explain: datname_not_visited,
    },
    Check {
        id: "relation-locked",
        summary: "a table is locked for so long that it cannot be read",
        category: "locks",
        labels: &RELATION,
        needs: &[TABLES, "locked_relations"],
        // It was locked at two visits.
        hold_off: Duration::from_mins(6),
        keep_firing: Duration::ZERO,
        grading: Grading::Fact(Severity::Info),
        observe: locked_relations,
        explain: relation_locked,
    },
];

/// A table may be locked with its indexes, each by another one: who holds a lock is told before who waits for it.
fn locked_relations(snapshot: &Snapshot) -> Result<Vec<Observation>, SkipReason> {
    let mut all = unvisited(snapshot, "tables");
    let Some(table) = snapshot.table("locked_relations") else { return Ok(all) };
    let mut seen = BTreeSet::new();
    let (held, waiting): (Vec<usize>, Vec<usize>) = (0..table.row_count()).partition(|row| table.has("state", *row, "held"));
    for row in held.into_iter().chain(waiting) {
        let labels = table.labels(&RELATION, row);
        if seen.insert(labels.iter().map(|label| label.value.clone()).collect::<Vec<_>>()) {
            all.push(Observation::new(labels, 1.0).of_row(row));
        }
    }
    Ok(all)
}

fn datname_not_visited(case: &Case) -> Explanation {
    let datname = case.label("datname");
    let why = reasons(case.snapshot, datname);
    Explanation {
        title: format!("tables and indexes of {datname} are not watched"),
        detail: format!(
            "Pharos could not look into database {datname}. Nothing is known of its tables, indexes, sequences and extensions."
        ),
        cause: "The role may not connect to it, pg_hba.conf refuses it, or no connection was left.".to_owned(),
        fix: format!(
            "As superuser: `GRANT CONNECT ON DATABASE {} TO` the role that Pharos uses; if it is meant so, `except = {{ datname = [\"{datname}\"] }}` \
             of this check.",
            sql::identifier(datname)
        ),
        evidence: why,
    }
}

fn reasons(snapshot: &Snapshot, datname: &str) -> Vec<Label> {
    let Some(visits) = snapshot.table("visits") else { return Vec::new() };
    let failed = |row: &usize| visits.has("datname", *row, datname) && !visits.has("state", *row, "ok");
    let cell = |column: &str, row: usize| visits.text(column, row).unwrap_or_default();
    (0..visits.row_count()).filter(failed).take(4).map(|row| evidence(&cell("collector", row), cell("why", row))).collect()
}

fn relation_locked(case: &Case) -> Explanation {
    let (name, datname) = (name_of(case), case.label("datname"));
    let locker = Locker::read(case);
    let who = locker.as_ref().map(|locker| format!(" {}.", locker.sentence())).unwrap_or_default();
    let free = locker.as_ref().map_or_else(|| find_locker(case), |locker| locker.free(datname));
    Explanation {
        title: format!("{name} of {datname} is locked"),
        detail: format!(
            "An AccessExclusiveLock on {name} of {datname} was held or waited for at each visit, so nobody can use the table, and its exact size \
             is not read.{who}"
        ),
        cause: "A schema change, `VACUUM FULL`, `CLUSTER` or `TRUNCATE` in a transaction that stays open, or one that waits behind a long query."
            .to_owned(),
        fix: format!("{free} Give schema changes `SET lock_timeout = '2s';`."),
        evidence: modes(case).into_iter().chain(locker.map(|locker| evidence("by", locker.name()))).collect(),
    }
}

/// Who holds the lock, or waits for it in front of everybody.
enum Locker {
    Session { pid: i64, user: Option<String>, state: Option<String>, started_at: Option<f64>, holds: bool },
    Prepared(String),
}

impl Locker {
    fn read(case: &Case) -> Option<Self> {
        let cells = case.cells("locked_relations")?;
        if let Some(gid) = cells.text("prepared") {
            return Some(Self::Prepared(gid));
        }
        Some(Self::Session {
            pid: cells.number("pid")? as i64,
            user: cells.text("user"),
            state: cells.text("session_state"),
            started_at: cells.number("backend_start"),
            holds: cells.text("state").as_deref() == Some("held"),
        })
    }

    fn name(&self) -> String {
        match self {
            Self::Session { pid, user: Some(user), .. } => format!("process {pid} ({user})"),
            Self::Session { pid, .. } => format!("process {pid}"),
            Self::Prepared(gid) => format!("prepared transaction {gid}"),
        }
    }

    fn sentence(&self) -> String {
        match self {
            Self::Session { holds: false, .. } => format!("The first to wait for it was {}", self.name()),
            Self::Session { state: Some(state), .. } => format!("It was held by {}, {state}", self.name()),
            _ => format!("It was held by {}", self.name()),
        }
    }

    /// To cancel does nothing to who is idle in transaction.
    fn free(&self, datname: &str) -> String {
        match self {
            Self::Prepared(gid) => format!(
                "Ask the transaction manager how {gid} ended; if it knows nothing of it: in {datname}, `ROLLBACK PREPARED {};`.",
                sql::literal(gid)
            ),
            Self::Session { pid, state, started_at, .. }
                if state.as_deref().is_some_and(|state| state.starts_with("idle in transaction")) =>
            {
                format!("End who holds it and does nothing: `{}`.", sql::terminate(*pid, *started_at))
            }
            Self::Session { pid, started_at, .. } => format!(
                "Let it finish, or cancel it: `{}`. If it is idle in transaction by now: `{}`.",
                sql::cancel(*pid, *started_at),
                sql::terminate(*pid, *started_at)
            ),
        }
    }
}

fn find_locker(case: &Case) -> String {
    let relation = sql::literal(&sql::relation(case.label("schema"), case.label("relation")));
    format!(
        "In {}: `SELECT pid, mode, granted, pg_blocking_pids(pid) FROM pg_locks WHERE relation = {relation}::regclass;`, then \
         `SELECT pg_terminate_backend(<pid>);` of who holds it.",
        case.label("datname")
    )
}

fn modes(case: &Case) -> Vec<Label> {
    let Some(table) = case.snapshot.table("locked_relations") else { return Vec::new() };
    let is_same = |row: &usize| case.labels.iter().all(|label| table.has(&label.name, *row, &label.value));
    let cell = |column: &str, row: usize| table.text(column, row).unwrap_or_default();
    let lines: BTreeSet<_> = (0..table.row_count()).filter(is_same).map(|row| (cell("mode", row), cell("state", row))).collect();
    let count = lines.len();
    let all = lines.into_iter().take(3).map(|(mode, state)| evidence(&mode, state));
    all.chain((count > 3).then(|| evidence("more", text::count(count as f64 - 3.0)))).collect()
}
