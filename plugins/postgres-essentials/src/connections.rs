//! Checks of connections: whether the server accepts sessions, and whether a session harms the others.

use std::time::Duration;

use pharos_plugin::checks::{
    Case, Check, Direction, Explanation, Grading, Observation, Scope, Thresholds, each_rate, each_value, each_zero, evidence, top,
};
use pharos_plugin::own_role::{OwnRole, more_sessions};
use pharos_plugin::{Label, Reading, Severity, SkipReason, Snapshot, Table, sql, text};

const UP: &str = "pharos_postgres_up";
const ACCEPTING: &str = "pharos_postgres_accepting_connections";
const CONNECTIONS: &str = "pharos_postgres_connections";
const CONNECTIONS_MAX: &str = "pharos_postgres_connections_max";
const CONNECTIONS_USED: &str = "pharos_postgres_connections_used_ratio";
const IDLE_IN_TRANSACTION_AGE: &str = "pharos_postgres_idle_in_transaction_age_max_seconds";
const TRANSACTION_AGE: &str = "pharos_postgres_transaction_age_max_seconds";
const XMIN_AGE: &str = "pharos_postgres_xmin_age_max_transactions";
/// The agent's reason for a server, role or datname that has reached its limit of sessions.
const FULL: &str = "too-many-connections";
const SESSION_BEGUN_AGE: &str = "pharos_postgres_session_begun_age_seconds";
/// Seconds without a new session after which the server may refuse all clients. Pools renew some of their sessions within minutes.
const QUIET_SECONDS: f64 = 300.0;
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

/// The fix that frees connections at once.
const FREE_CONNECTIONS: &str = "See which clients hold them: `BEGIN; SET LOCAL search_path = pg_catalog; SELECT datname, usename, \
                                application_name, state, count(*) FROM pg_stat_activity WHERE backend_type = 'client backend' GROUP BY 1, \
                                2, 3, 4 ORDER BY 5 DESC LIMIT 10; COMMIT;`. End the idle sessions of one application: `BEGIN; SET LOCAL \
                                search_path = pg_catalog; SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE state = 'idle' AND \
                                application_name = '<name>' AND state_change < now() - interval '1 min'; COMMIT;`.";

/// The refusal of a new session: its reason, and the clients that it concerns.
struct Refusal {
    /// The agent's name for the reason. Empty if the agent reports none.
    reason: String,
    /// The server's message with an explanation.
    why: Option<String>,
    /// The agent's role. None if the role has no connection limit.
    own_role: Option<OwnRole>,
    /// Whether the server has room for sessions of other roles.
    has_room: bool,
    /// Seconds since a session began, sessions of Pharos included. None if unknown.
    quiet_seconds: Option<f64>,
}

impl Refusal {
    fn from_snapshot(snapshot: &Snapshot) -> Self {
        let table = snapshot.table("refusal");
        let cell = |column: &str| table.as_ref().and_then(|table| table.text(column, 0));
        let used = snapshot.value(CONNECTIONS_USED).ok().flatten();
        Self {
            reason: cell("reason").unwrap_or_default(),
            why: cell("why"),
            own_role: OwnRole::from_snapshot(snapshot),
            has_room: used.is_some_and(|used| used < 0.95),
            quiet_seconds: snapshot.value(SESSION_BEGUN_AGE).ok().flatten(),
        }
    }

    /// Whether the connection limit of the agent's own role is the reason. If the server names no limit and has room, this limit is the
    /// reason.
    fn is_own_limit(&self) -> bool {
        self.reason == "role-limit" || self.reason == FULL && self.has_room && self.own_role.as_ref().is_some_and(OwnRole::is_short)
    }

    fn is_shared(&self) -> bool {
        self.own_role.as_ref().is_some_and(OwnRole::is_shared)
    }

    /// Whether the reason may concern other clients as well. A wrong password, for example, concerns only the role of Pharos.
    fn may_concern_all(&self) -> bool {
        matches!(self.reason.as_str(), "pg-hba" | "tls")
    }

    /// Whether no session began for minutes. A shorter time would change from each reading to the next.
    fn is_quiet(&self) -> bool {
        self.quiet_seconds.is_none_or(|seconds| seconds >= QUIET_SECONDS)
    }

    /// The highest severity of the refusal. The severity is lower if only Pharos is refused.
    fn severity_max(&self) -> Severity {
        match self.reason.as_str() {
            _ if self.is_own_limit() => {
                if self.is_shared() {
                    Severity::Warning
                } else {
                    Severity::Info
                }
            }
            _ if self.may_concern_all() => {
                if self.is_quiet() {
                    Severity::Critical
                } else {
                    Severity::Warning
                }
            }
            "authentication"
            | "authentication-method"
            | "password"
            | "privilege"
            | "datname"
            | "datname-limit"
            | "datname-invalid"
            | "setting"
            | "encoding"
            | "cleartext-password"
            | "too-much"
            | "protocol"
            | "unsupported"
            | "pooler" => Severity::Warning,
            _ => Severity::Critical,
        }
    }

    fn cause(&self) -> String {
        let cause = match self.reason.as_str() {
            _ if self.is_own_limit() && self.is_shared() => {
                "The role of Pharos, which other clients also use, has reached its own CONNECTION LIMIT. Other roles can connect."
            }
            _ if self.is_own_limit() => {
                "The role that Pharos uses has reached its own CONNECTION LIMIT. Other clients of the server can connect."
            }
            FULL => "All connections that the server allows to ordinary roles are in use.",
            "datname-limit" => "The database in the URL of Pharos has reached its CONNECTION LIMIT.",
            "starting" => "The server is starting or recovering.",
            "stopping" => "The server is shutting down and waits for the remaining sessions.",
            "authentication" | "password" => "The server does not accept the role of Pharos with its password.",
            "authentication-method" => {
                "pg_hba.conf names a login method that refuses the role of Pharos: a certificate, a ticket, or another service."
            }
            "pg-hba" => "pg_hba.conf has no line that admits the role of Pharos, or a line that rejects it or requires a certificate.",
            "privilege" => "The role of Pharos may no longer connect to the database in its URL.",
            "datname" | "datname-invalid" => "The database in the URL of Pharos accepts no sessions, or no longer exists.",
            "tls" => "The encrypted session could not start: the certificate, or what Pharos requires of it, has changed.",
            "setting" => "The server does not accept a setting that is preset for the sessions of Pharos.",
            "encoding" => "A text at the start of the session is not in the encoding that the server declares.",
            "cleartext-password" => "The server asks for the password in clear text, which Pharos does not send.",
            "pooler" => "A connection pooler answers at the address of the server.",
            "too-much" | "protocol" => "The program at the address of the server does not speak the protocol of PostgreSQL.",
            "unsupported" => "The server does not offer what a session of Pharos needs.",
            "" | "unreachable" | "timeout" => "The server does not answer new sessions: the server, its host or the network hangs.",
            _ => "The server refuses the session; the detail has its error message.",
        };
        match self.quiet_seconds {
            Some(seconds) if self.may_concern_all() && self.is_quiet() => {
                format!("{cause} No session began for {}, so others may be refused as well.", text::duration(seconds))
            }
            _ => cause.to_owned(),
        }
    }

    fn fix(&self) -> String {
        if self.is_own_limit() {
            return format!("Pharos needs two sessions. On the primary, for its role: `{}`.", more_sessions(self.own_role.as_ref()));
        }
        let fix = match self.reason.as_str() {
            FULL | "datname-limit" => {
                return format!(
                    "{FREE_CONNECTIONS} Make the largest pool smaller, then put a pool between the application and the server."
                );
            }
            "starting" => "Wait: the server's log shows how far the recovery is.",
            "stopping" => "If the shutdown was not planned, find out who started it. The server stops once the last session has ended.",
            "authentication" | "password" => {
                "Give Pharos the current password: `password_file` or `password_env`, which is read again for each session. The role must \
                 exist and have LOGIN."
            }
            "authentication-method" => {
                "See `BEGIN; SET LOCAL search_path = pg_catalog; SELECT * FROM pg_hba_file_rules ORDER BY line_number; COMMIT;`: the first \
                 matching line counts. If its method is ldap, pam or radius, `password_file` must hold the password of that service. \
                 Pharos has no certificate and no ticket: before a line with cert, gss, sspi, ident or peer put a line with scram-sha-256 \
                 for the role of Pharos, then `SELECT pg_catalog.pg_reload_conf();`."
            }
            "pg-hba" => {
                "See `BEGIN; SET LOCAL search_path = pg_catalog; SELECT * FROM pg_hba_file_rules ORDER BY line_number; COMMIT;`: the first \
                 matching line counts. Put a line for the role of Pharos before it, then `SELECT pg_catalog.pg_reload_conf();`."
            }
            "privilege" => "As superuser: `GRANT CONNECT ON DATABASE` to the role of Pharos; `pharos doctor` prints the statement.",
            "datname" | "datname-invalid" => {
                "Name a database that accepts sessions in the URL of Pharos, or `ALTER DATABASE ... ALLOW_CONNECTIONS true`."
            }
            "cleartext-password" => "Set the method in pg_hba.conf to `scram-sha-256`, or set `tls.mode` so that the session is encrypted.",
            "pooler" | "too-much" | "protocol" => {
                "Set the URL of Pharos to the address of the server itself, and check which program answers there."
            }
            "unsupported" => "Pharos supports PostgreSQL 14 and newer.",
            "tls" => "See `tls.mode` and `tls.ca` of the database in the config, and the certificate that the server has now.",
            "setting" => {
                "`BEGIN; SET LOCAL search_path = pg_catalog; SELECT * FROM pg_db_role_setting; COMMIT;` shows the settings that are preset \
                 by `ALTER ROLE ... SET` and `ALTER DATABASE ... SET`."
            }
            _ => "On the host: `pg_isready`, then `systemctl status postgresql` and the end of the server's log.",
        };
        fix.to_owned()
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
