//! Checks of connections: whether the server accepts sessions, and whether a session harms the others.

use std::time::Duration;

use pharos_plugin::checks::{
    Case, Check, Direction, Explanation, Grading, Observation, Scope, Thresholds, each_rate, each_value, each_zero, evidence, top,
};
use pharos_plugin::{Label, Reading, Severity, SkipReason, Snapshot, Table, sql, text};

use crate::refusal::{CONNECTIONS_USED, FREE_CONNECTIONS, FULL, Refusal};

const UP: &str = "pharos_postgres_up";
const ACCEPTING: &str = "pharos_postgres_accepting_connections";
const CONNECTIONS: &str = "pharos_postgres_connections";
const CONNECTIONS_MAX: &str = "pharos_postgres_connections_max";
const IDLE_IN_TRANSACTION_AGE: &str = "pharos_postgres_idle_in_transaction_age_max_seconds";
const TRANSACTION_AGE: &str = "pharos_postgres_transaction_age_max_seconds";
const XMIN_AGE: &str = "pharos_postgres_xmin_age_max_transactions";
const SESSIONS_ABANDONED: &str = "pharos_postgres_sessions_abandoned_total";

pub(crate) const CHECKS: &[Check] = &[
    Check {
        id: "server-down",
        summary: "the server does not answer",
        category: "availability",
        scope: Scope::Each,
        labels: &[],
        needs: &[UP],
        // A second collection confirms it: a single lost packet is not an outage.
        hold_off: Duration::from_secs(5),
        keep_firing: Duration::ZERO,
        grading: Grading::Fact(Severity::Critical),
        observe: |snapshot| each_zero(snapshot, UP),
        explain: server_down,
    },
    Check {
        id: "not-accepting-connections",
        summary: "open sessions still work, but new sessions are refused",
        category: "availability",
        scope: Scope::Each,
        labels: &[],
        needs: &[ACCEPTING],
        hold_off: Duration::from_secs(15),
        keep_firing: Duration::ZERO,
        grading: Grading::Fact(Severity::Critical),
        observe: refused,
        explain: not_accepting,
    },
    Check {
        id: "connections-used",
        summary: "few connections are left",
        category: "connections",
        scope: Scope::Each,
        labels: &[],
        needs: &[CONNECTIONS_USED],
        hold_off: Duration::from_mins(1),
        keep_firing: Duration::from_mins(2),
        grading: Grading::rising(0.8, 0.9, 0.7),
        observe: |snapshot| each_value(snapshot, CONNECTIONS_USED),
        explain: connections_used,
    },
    Check {
        id: "idle-in-transaction",
        summary: "a session sits idle with its transaction open",
        category: "connections",
        scope: Scope::Each,
        labels: &[],
        needs: &[IDLE_IN_TRANSACTION_AGE],
        // No delay is needed: the thresholds are ages.
        hold_off: Duration::ZERO,
        keep_firing: Duration::ZERO,
        grading: Grading::rising(300.0, 1_800.0, 120.0),
        observe: |snapshot| each_value(snapshot, IDLE_IN_TRANSACTION_AGE),
        explain: idle_in_transaction,
    },
    Check {
        id: "long-transaction",
        summary: "a transaction has been open for long",
        category: "connections",
        scope: Scope::Each,
        labels: &[],
        needs: &[TRANSACTION_AGE],
        hold_off: Duration::ZERO,
        keep_firing: Duration::ZERO,
        grading: Grading::rising(1_800.0, 14_400.0, 900.0),
        observe: |snapshot| each_value(snapshot, TRANSACTION_AGE),
        explain: long_transaction,
    },
    Check {
        id: "sessions-abandoned",
        summary: "clients vanish without closing their sessions",
        category: "connections",
        scope: Scope::Each,
        labels: &["datname"],
        needs: &[SESSIONS_ABANDONED],
        hold_off: Duration::from_mins(5),
        keep_firing: Duration::from_mins(5),
        grading: Grading::Scale(Direction::Rising, Thresholds { info: None, warning: Some(30.0), critical: None, clear: 10.0 }),
        observe: abandoned_per_minute,
        explain: sessions_abandoned,
    },
];

fn abandoned_per_minute(snapshot: &Snapshot) -> Result<Vec<Observation>, SkipReason> {
    let mut rates = each_rate(snapshot, SESSIONS_ABANDONED)?;
    rates.iter_mut().for_each(|rate| rate.value *= 60.0);
    Ok(rates)
}

fn server_down(case: &Case) -> Explanation {
    let why = case.failure().unwrap_or_else(|| "no reason was given".to_owned());
    let role = case.snapshot.table("last_role").and_then(|table| table.text("role", 0));
    let (who, was) = match role.as_deref() {
        Some("primary") => {
            ("the primary", " It was the primary at its last answer: no client can write unless another server was promoted since.")
        }
        Some("standby") => ("a standby", " It was a standby at its last answer."),
        _ => ("server", ""),
    };
    Explanation {
        title: format!("{who} does not answer"),
        detail: format!("The last collection could not reach the server: {why}.{was}"),
        cause: "The server process has stopped, the host or the network is down, or the monitoring role can no longer log in.".to_owned(),
        fix: "On the host: `pg_isready`, then `systemctl status postgresql` and the end of the server's log. If only Pharos is \
              refused, check pg_hba.conf and the role's password."
            .to_owned(),
        evidence: Vec::new(),
    }
}

fn refused(snapshot: &Snapshot) -> Result<Vec<Observation>, SkipReason> {
    let severity_max = Refusal::from_snapshot(snapshot).severity_max();
    Ok(each_zero(snapshot, ACCEPTING)?.into_iter().map(|refused| refused.at_most(severity_max)).collect())
}

fn not_accepting(case: &Case) -> Explanation {
    let refusal = Refusal::from_snapshot(case.snapshot);
    // The metric leaves out the sessions of Pharos. Without this explanation, a share below 100 % would contradict "all are taken".
    let used = case.related(CONNECTIONS_USED).map(|used| {
        let is_all = refusal.reason == FULL && !refusal.is_own_limit();
        let share = text::percent(used);
        evidence("connections used", if is_all { format!("all, {share} of them by other clients than Pharos") } else { share })
    });
    let is_of_pharos = refusal.may_concern_all() || refusal.severity_max() != Severity::Critical;
    let why = refusal.why.as_ref().map(|why| format!(": {why}")).unwrap_or_default();
    Explanation {
        title: if is_of_pharos { "Pharos is refused a new session" } else { "new sessions are refused" }.to_owned(),
        detail: format!("The probe could not open a new session, while the monitoring session opened earlier still works{why}."),
        cause: refusal.cause(),
        fix: refusal.fix(),
        evidence: used.into_iter().collect(),
    }
}

fn connections_used(case: &Case) -> Explanation {
    let of_max = case.related(CONNECTIONS_MAX).map(|max| format!(" of {}", text::count(max))).unwrap_or_default();
    Explanation {
        title: format!("{} of connections are used", text::percent(case.value)),
        detail: format!(
            "Client backends, without those of Pharos, hold {}{of_max} connections that ordinary roles may have. When none is left, every \
             new session fails.",
            text::percent(case.value)
        ),
        cause: "Pools that together are larger than max_connections, sessions that are never closed, or statements that pile up \
                behind a slow one."
            .to_owned(),
        fix: format!(
            "{FREE_CONNECTIONS} Make the pools smaller, or put a pooler such as PgBouncer in front. `ALTER SYSTEM SET idle_session_timeout \
             = '30min'; SELECT pg_catalog.pg_reload_conf();` ends forgotten sessions from then on, but not the sessions that are idle \
             already. Raise max_connections last: it needs a restart and memory."
        ),
        evidence: top(case.snapshot, CONNECTIONS, Reading::Value, 5, text::count),
    }
}

fn idle_in_transaction(case: &Case) -> Explanation {
    let age = text::duration(case.value);
    let session = Session::longest(case.snapshot, "state_seconds", Session::is_idle_in_transaction);
    let who = session.as_ref().map(|session| format!(" It is {}.", session.name())).unwrap_or_default();
    Explanation {
        title: format!("session idle in transaction for {age}"),
        detail: format!(
            "The longest idle transaction has done nothing for {age}. It keeps its locks, and if it holds a snapshot, vacuum cannot remove \
             rows that the snapshot may still see.{who}"
        ),
        cause: "The application began a transaction and waits for something else: a call to another service, a person, or a connection \
                that was never returned to its pool."
            .to_owned(),
        fix: match &session {
            Some(session) => format!("End it: `{}`. {}", session.terminate(), session.bound("idle_in_transaction_session_timeout", "5min")),
            None => "Find it: `BEGIN; SET LOCAL search_path = pg_catalog; SELECT pid, usename, application_name, state_change FROM \
                     pg_stat_activity WHERE state LIKE 'idle in transaction%' ORDER BY state_change; COMMIT;`, end it with `SELECT \
                     pg_catalog.pg_terminate_backend(<pid>);` and prevent the next with `ALTER ROLE <role> SET \
                     idle_in_transaction_session_timeout = '5min';`."
                .to_owned(),
        },
        evidence: held_back(case).into_iter().chain(session.map(|session| session.line())).collect(),
    }
}

fn long_transaction(case: &Case) -> Explanation {
    let age = text::duration(case.value);
    let session = Session::longest(case.snapshot, "transaction_seconds", |_| true);
    let who = session.as_ref().map(|session| format!(" It belongs to {}.", session.name())).unwrap_or_default();
    const SPREAD: &str = "Run reports on a standby, and split batches.";
    Explanation {
        title: format!("transaction open for {age}"),
        detail: format!(
            "The oldest transaction of a client has been open for {age}, and vacuum cannot remove rows that it may still see.{who}"
        ),
        cause: "A report or export in one statement, a batch in one transaction, or a session that forgot to commit.".to_owned(),
        fix: match &session {
            Some(session) if session.is_idle_in_transaction() => format!(
                "The session is idle, so end it: `{}`. {}",
                session.terminate(),
                session.bound("idle_in_transaction_session_timeout", "5min")
            ),
            Some(session) => {
                format!("Let it finish, or end it: `{}`. {SPREAD} {}", session.terminate(), session.bound("statement_timeout", "10min"))
            }
            None => format!(
                "Find it: `BEGIN; SET LOCAL search_path = pg_catalog; SELECT pid, usename, application_name, state, xact_start FROM \
                 pg_stat_activity WHERE xact_start IS NOT NULL ORDER BY xact_start; COMMIT;`, and end it with `SELECT \
                 pg_catalog.pg_terminate_backend(<pid>);`. {SPREAD} To prevent a repetition: `ALTER ROLE <role> SET statement_timeout = \
                 '10min';`."
            ),
        },
        evidence: held_back(case).into_iter().chain(session.map(|session| session.line())).collect(),
    }
}

/// A client session with an open transaction.
struct Session {
    pid: i64,
    started_at: Option<f64>,
    user: Option<String>,
    application: Option<String>,
    datname: Option<String>,
    state: String,
}

impl Session {
    /// The session with the largest number of seconds in a column, among those that `counts` accepts.
    fn longest(snapshot: &Snapshot, column: &str, counts: impl Fn(&Self) -> bool) -> Option<Self> {
        let table = snapshot.table("sessions")?;
        let sessions = (0..table.row_count()).filter_map(|row| Some((table.number(column, row)?, Self::read(&table, row)?)));
        sessions.filter(|(_, session)| counts(session)).max_by(|a, b| a.0.total_cmp(&b.0)).map(|(_, session)| session)
    }

    fn read(table: &Table, row: usize) -> Option<Self> {
        let cell = |column: &str| table.text(column, row).filter(|text| !text.is_empty());
        Some(Self {
            pid: table.integers("pid").get(row).copied().flatten()?,
            started_at: table.number("backend_start", row),
            user: cell("user"),
            application: cell("application"),
            datname: cell("datname"),
            state: cell("state").unwrap_or_default(),
        })
    }

    /// Whether the session is idle in a transaction. An aborted transaction counts as well.
    fn is_idle_in_transaction(&self) -> bool {
        self.state.starts_with("idle in transaction")
    }

    fn name(&self) -> String {
        self.user.as_ref().map_or_else(|| format!("process {}", self.pid), |user| format!("process {} ({user})", self.pid))
    }

    fn line(&self) -> Label {
        let application = self.application.as_ref().map(|application| format!("application {application}"));
        let datname = self.datname.as_ref().map(|datname| format!("in {datname}"));
        let facts: Vec<String> = [Some(self.state.clone()), application, datname].into_iter().flatten().collect();
        evidence(&self.name(), facts.join(", "))
    }

    /// The statement that ends the session. A cancel would leave the transaction open, even if the session is busy.
    fn terminate(&self) -> String {
        sql::terminate(self.pid, self.started_at)
    }

    fn bound(&self, setting: &str, value: &str) -> String {
        let role = self.user.as_deref().map_or_else(|| "<role>".to_owned(), sql::identifier);
        format!("To prevent a repetition: `ALTER ROLE {role} SET {setting} = '{value}';`.")
    }
}

fn held_back(case: &Case) -> Vec<Label> {
    let age = case.related(XMIN_AGE);
    age.map(|age| evidence("transactions since the oldest snapshot", text::count(age))).into_iter().collect()
}

fn sessions_abandoned(case: &Case) -> Explanation {
    let rate = text::number(case.value);
    let datname = case.label("datname");
    Explanation {
        title: format!("{rate} sessions a minute abandoned in {datname}"),
        detail: format!("In {datname}, {rate} sessions a minute end because the client went away without closing them."),
        cause: "Clients that crash or are killed, a load balancer or firewall that drops idle connections, or a pool without a clean \
                shutdown."
            .to_owned(),
        fix: "Set the firewall's idle timeout above `tcp_keepalives_idle` (`ALTER SYSTEM SET tcp_keepalives_idle = 60; SELECT \
              pg_catalog.pg_reload_conf();`), and close the pool when the application stops."
            .to_owned(),
        evidence: Vec::new(),
    }
}
