//! The refusal of new sessions: whom it concerns, what causes it, and what ends it.

use pharos_plugin::own_role::{OwnRole, more_sessions};
use pharos_plugin::{Severity, Snapshot, text};

pub(crate) const CONNECTIONS_USED: &str = "pharos_postgres_connections_used_ratio";
/// The agent's reason for a server, role or datname that has reached its limit of sessions.
pub(crate) const FULL: &str = "too-many-connections";
const SESSION_BEGUN_AGE: &str = "pharos_postgres_session_begun_age_seconds";
/// Seconds without a new session after which the server may refuse all clients. Pools renew some of their sessions within minutes.
const QUIET_SECONDS: f64 = 300.0;

/// The fix that frees connections at once.
pub(crate) const FREE_CONNECTIONS: &str = "See which clients hold them: `BEGIN; SET LOCAL search_path = pg_catalog; SELECT datname, usename, \
                                application_name, state, count(*) FROM pg_stat_activity WHERE backend_type = 'client backend' GROUP BY 1, \
                                2, 3, 4 ORDER BY 5 DESC LIMIT 10; COMMIT;`. End the idle sessions of one application: `BEGIN; SET LOCAL \
                                search_path = pg_catalog; SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE state = 'idle' AND \
                                application_name = '<name>' AND state_change < now() - interval '1 min'; COMMIT;`.";

/// The refusal of a new session: its reason, and the clients that it concerns.
pub(crate) struct Refusal {
    /// The agent's name for the reason. Empty if the agent reports none.
    pub(crate) reason: String,
    /// The server's message with an explanation.
    pub(crate) why: Option<String>,
    /// The agent's role. None if the role has no connection limit.
    own_role: Option<OwnRole>,
    /// Whether the server has room for sessions of other roles.
    has_room: bool,
    /// Seconds since a session began, sessions of Pharos included. None if unknown.
    quiet_seconds: Option<f64>,
}

impl Refusal {
    pub(crate) fn from_snapshot(snapshot: &Snapshot) -> Self {
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
    pub(crate) fn is_own_limit(&self) -> bool {
        self.reason == "role-limit" || self.reason == FULL && self.has_room && self.own_role.as_ref().is_some_and(OwnRole::is_short)
    }

    fn is_shared(&self) -> bool {
        self.own_role.as_ref().is_some_and(OwnRole::is_shared)
    }

    /// Whether the reason may concern other clients as well. A wrong password, for example, concerns only the role of Pharos.
    pub(crate) fn may_concern_all(&self) -> bool {
        matches!(self.reason.as_str(), "pg-hba" | "tls")
    }

    /// Whether no session began for minutes. A shorter time would change from each reading to the next.
    fn is_quiet(&self) -> bool {
        self.quiet_seconds.is_none_or(|seconds| seconds >= QUIET_SECONDS)
    }

    /// The highest severity of the refusal. The severity is lower if only Pharos is refused.
    pub(crate) fn severity_max(&self) -> Severity {
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

    pub(crate) fn cause(&self) -> String {
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

    pub(crate) fn fix(&self) -> String {
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
