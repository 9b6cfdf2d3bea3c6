//! Checks of visits: datnames and tables that the agent could not read. Without an alert, they would seem to be fine.

use std::collections::{BTreeMap, BTreeSet};
use std::rc::Rc;
use std::time::Duration;

use pharos_plugin::checks::{Case, Check, Explanation, Grading, Observation, Scope, each_zero, evidence, label, unjudged, unvisited};
use pharos_plugin::own_role::{OwnRole, more_sessions};
use pharos_plugin::{Label, Severity, SkipReason, Snapshot, sql, text};

use crate::vacuum::{RELATION, TABLES, relation_name};

const MEMBERS: &str = "pharos_database_members";
const IN_RECOVERY: &str = "pharos_postgres_in_recovery";
/// Reasons that an alert lists. Further reasons rarely differ.
const FAILURES_LISTED_MAX: usize = 6;
const VISITED: &str = "pharos_postgres_datname_visited";

/// The check that reads all servers of a database. The agent visits each server, and an unread server leaves its datnames unknown.
pub(crate) const CHECKS_OF_ALL_MEMBERS: &[Check] = &[Check {
    id: "datname-not-visited",
    summary: "tables and indexes of a database cannot be watched",
    category: "maintenance",
    scope: Scope::Each,
    labels: &["datname"],
    needs: &[MEMBERS, VISITED],
    hold_off: Duration::from_mins(15),
    keep_firing: Duration::ZERO,
    grading: Grading::Fact(Severity::Info),
    observe: not_visited,
    explain: datname_not_visited,
}];

pub(crate) const CHECKS: &[Check] = &[Check {
    id: "relation-locked",
    summary: "a table is locked for so long that it cannot be read",
    category: "locks",
    scope: Scope::Shared,
    labels: &RELATION,
    needs: &[TABLES, "locked_relations"],
    // The table was locked at two visits.
    hold_off: Duration::from_mins(6),
    keep_firing: Duration::ZERO,
    grading: Grading::Fact(Severity::Info),
    observe: locked_relations,
    explain: relation_locked,
}];

/// Observes the locked tables, each once. A table and its indexes may have different lockers. A session that holds a lock comes before a
/// session that waits for it.
fn locked_relations(snapshot: &Snapshot) -> Result<Vec<Observation>, SkipReason> {
    let mut all = unvisited(snapshot, "tables");
    all.extend(unjudged(snapshot, "locked_relations", "state"));
    let Some(table) = snapshot.table("locked_relations") else { return Ok(all) };
    let mut seen = BTreeSet::new();
    let (held, waiting): (Vec<usize>, Vec<usize>) = (0..table.row_count()).partition(|row| table.has("state", *row, "held"));
    for row in held.into_iter().chain(waiting) {
        let labels = table.labels(&RELATION, row);
        if seen.insert(labels.iter().map(|label| label.value.clone()).collect::<Vec<_>>()) {
            all.push(Observation::new(labels, 1.0).with_row(row));
        }
    }
    Ok(all)
}

/// Observes the datnames that at least one server could not read. Datnames that their owners closed on purpose are left out.
fn not_visited(database: &Snapshot) -> Result<Vec<Observation>, SkipReason> {
    let mut all = BTreeMap::new();
    let mut unknown = None;
    for member in members(database) {
        match each_zero(&member, VISITED) {
            Err(reason) => unknown = Some(reason),
            Ok(unvisited) => {
                let closed = closed(&member);
                let datnames = unvisited.iter().filter_map(|one| one.labels.first()).filter(|label| !closed.contains(&label.value));
                datnames.for_each(|datname| *all.entry(datname.value.clone()).or_insert(0.0) += 1.0);
            }
        }
    }
    let mut observations: Vec<_> =
        all.into_iter().map(|(datname, servers)| Observation::new(vec![label("datname", datname)], servers)).collect();
    observations.extend(unknown.map(|reason| Observation::unknown(Vec::new(), reason)));
    Ok(observations)
}

/// The snapshots of a database's servers, primary first. A reason that all servers share then comes from the primary.
fn members(database: &Snapshot) -> Vec<Rc<Snapshot>> {
    let mut members: Vec<_> = database.members().iter().filter_map(|member| database.member(&member.id)).collect();
    members.sort_by_key(|member| member.value(IN_RECOVERY).ok().flatten() != Some(0.0));
    members
}

/// The datnames of a server that accept no sessions because their owners closed them.
fn closed(member: &Snapshot) -> BTreeSet<String> {
    let Some(visits) = member.table("visits") else { return BTreeSet::new() };
    let failed = (0..visits.row_count()).filter(|row| !visits.has("state", *row, "ok"));
    let (closed, others): (Vec<usize>, Vec<usize>) = failed.partition(|row| visits.has("reason", *row, "datname-closed"));
    let names = |rows: Vec<usize>| -> BTreeSet<String> { rows.into_iter().filter_map(|row| visits.text("datname", row)).collect() };
    &names(closed) - &names(others)
}

/// The reason why a server could not read a datname.
struct Failed {
    server: String,
    collector: String,
    reason: String,
    why: String,
    /// The agent's role. None if the role has no connection limit.
    own_role: Option<OwnRole>,
    /// The role of the agent's sessions, quoted for SQL.
    user: String,
}

/// The role that reads datnames, quoted for SQL. A placeholder if the agent does not report it.
pub(crate) fn visiting_role(server: &Snapshot) -> String {
    let visits = server.table("visits").filter(|visits| visits.row_count() > 0);
    visits.and_then(|visits| visits.text("user", 0)).map_or_else(|| "<role>".to_owned(), |user| sql::identifier(&user))
}

fn failures(database: &Snapshot, datname: &str) -> Vec<Failed> {
    let failures_of_member = |member: Rc<Snapshot>| {
        let Some(visits) = member.table("visits") else { return Vec::new() };
        let (own_role, user) = (OwnRole::from_snapshot(&member), visiting_role(&member));
        let failed = |row: &usize| visits.has("datname", *row, datname) && !visits.has("state", *row, "ok");
        let cell = |column: &str, row: usize| visits.text(column, row).unwrap_or_default();
        let read = |row: usize| Failed {
            server: member.subject().id.clone(),
            collector: cell("collector", row),
            reason: cell("reason", row),
            why: cell("why", row),
            own_role: own_role.clone(),
            user: user.clone(),
        };
        (0..visits.row_count()).filter(failed).map(read).collect()
    };
    members(database).into_iter().flat_map(failures_of_member).collect()
}

fn datname_not_visited(case: &Case) -> Explanation {
    let datname = case.label("datname");
    let failures = failures(case.snapshot, datname);
    let (cause, fix) = cause_and_fix(failures.first(), datname);
    let mut lines: Vec<Label> = Vec::new();
    for Failed { server, collector, why, .. } in &failures {
        // Collectors of a server often share a reason. Such a reason is listed once.
        if !lines.iter().any(|line| line.value == *why && line.name.starts_with(server.as_str())) {
            lines.push(evidence(&format!("{server}, {collector}"), why));
        }
    }
    lines.truncate(FAILURES_LISTED_MAX);
    Explanation {
        title: format!("tables and indexes of {datname} are not watched"),
        detail: format!("Pharos could not read database {datname}. The state of its tables, indexes, sequences and extensions is unknown."),
        cause,
        fix,
        evidence: lines,
    }
}

/// The cause and the fix for a reason. The fix also names the setting that leaves the datname out of the check.
fn cause_and_fix(failed: Option<&Failed>, datname: &str) -> (String, String) {
    let name = sql::identifier(datname);
    let unless_meant = format!("if this is intended, `except = {{ datname = [\"{datname}\"] }}` of this check");
    let own_role = failed.and_then(|failed| failed.own_role.as_ref());
    let user = failed.map_or("<role>", |failed| failed.user.as_str());
    let (cause, fix) = match failed.map_or("", |failed| failed.reason.as_str()) {
        "datname-invalid" => (
            "An interrupted DROP DATABASE left it behind. Its data is lost, and no client can connect to it.",
            format!("On the primary: `DROP DATABASE {name};`."),
        ),
        "datname" => (
            "The database no longer exists, or accepts no sessions at all.",
            format!(
                "Name an existing database at the end of the server's URL, or allow sessions: `ALTER DATABASE {name} ALLOW_CONNECTIONS \
                 true;`; {unless_meant}."
            ),
        ),
        "datname-limit" => (
            "The database has reached its CONNECTION LIMIT. A limit of 0 admits only superusers.",
            format!("To monitor it, allow two more sessions: `ALTER DATABASE {name} CONNECTION LIMIT <more>;`; {unless_meant}."),
        ),
        "privilege" => (
            "The role of Pharos has no privilege to connect to it.",
            format!("As superuser: `GRANT CONNECT ON DATABASE {name} TO {user};`; {unless_meant}."),
        ),
        "pg-hba" => (
            "pg_hba.conf has no line that admits the role of Pharos to this database, or a line that rejects it.",
            format!(
                "See `BEGIN; SET LOCAL search_path = pg_catalog; SELECT * FROM pg_hba_file_rules ORDER BY line_number; COMMIT;`: the first \
                 matching line counts. Put a line for {name} and the role of Pharos before it, then `SELECT pg_catalog.pg_reload_conf();`; \
                 {unless_meant}."
            ),
        ),
        "role-limit" => (
            if own_role.is_some_and(OwnRole::is_shared) {
                "The role of Pharos, which other clients also use, has reached its own CONNECTION LIMIT."
            } else {
                "The role of Pharos has reached its own CONNECTION LIMIT; other clients of the server can connect."
            },
            format!("Pharos needs two sessions: `{}`.", more_sessions(own_role)),
        ),
        "too-many-connections" => (
            "No session was left for Pharos: the server, the database or the role of Pharos has reached its limit.",
            "`BEGIN; SET LOCAL search_path = pg_catalog; SELECT datname, usename, count(*) FROM pg_stat_activity GROUP BY 1, 2 ORDER BY 3 \
             DESC; COMMIT;` shows who has them."
                .to_owned(),
        ),
        "encoding" => (
            "A name in the database is not in the encoding that the server declares, so the server cannot return it.",
            format!("Rename it in a session whose `client_encoding` is SQL_ASCII; {unless_meant}."),
        ),
        "not-reached" => (
            "A round of visits has no time for all databases; the next round begins with those that were not reached.",
            "Let Pharos visit databases less often, so that fewer visits are due at once: `tables` and `indexes` of `[collect.interval]`."
                .to_owned(),
        ),
        "timeout" | "statement-timeout" | "lock-timeout" => (
            "The server did not answer in time in this database.",
            "Give it more time in `[collect.deadlines]`, or find out what keeps the server busy.".to_owned(),
        ),
        _ => (
            "A read in this database fails; the evidence has the server's error message.",
            format!("`pharos doctor` says what is missing; {unless_meant}."),
        ),
    };
    (cause.to_owned(), fix)
}

fn relation_locked(case: &Case) -> Explanation {
    let (name, datname) = (relation_name(case), case.label("datname"));
    let locker = Locker::read(case);
    let who = locker.as_ref().map(|locker| format!(" {}.", locker.sentence())).unwrap_or_default();
    let free = locker.as_ref().map_or_else(|| find_locker(case), |locker| locker.free(datname));
    Explanation {
        title: format!("{name} of {datname} is locked"),
        detail: format!(
            "An AccessExclusiveLock on {name} of {datname} was held or waited for at each visit, so no client can use the table, and its \
             exact size is not read.{who}"
        ),
        cause: "A schema change, `VACUUM FULL`, `CLUSTER` or `TRUNCATE` in a transaction that stays open, or one that waits behind a long query."
            .to_owned(),
        fix: format!("{free} Give schema changes `SET lock_timeout = '2s';`."),
        evidence: modes(case).into_iter().chain(locker.map(|locker| evidence("by", locker.name()))).collect(),
    }
}

/// The session or prepared transaction that holds the lock, or that waits for it before all others.
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

    /// The step that frees the lock. A cancel has no effect on a session that is idle in transaction, so such a session is ended.
    fn free(&self, datname: &str) -> String {
        match self {
            Self::Prepared(gid) => format!(
                "Ask the transaction manager how {gid} ended; if it has no record of it: in {datname}, `ROLLBACK PREPARED {};`.",
                sql::literal(gid)
            ),
            Self::Session { pid, state, started_at, .. }
                if state.as_deref().is_some_and(|state| state.starts_with("idle in transaction")) =>
            {
                format!("End the idle session that holds it: `{}`.", sql::terminate(*pid, *started_at))
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
    let relation = sql::relation_text(case.label("schema"), case.label("relation"));
    format!(
        "In {}: `BEGIN; SET LOCAL search_path = pg_catalog; SELECT pid, mode, granted, pg_blocking_pids(pid) FROM pg_locks WHERE relation \
         = {relation}::regclass; COMMIT;`, then `SELECT pg_catalog.pg_terminate_backend(<pid>);` of the session that holds it.",
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
