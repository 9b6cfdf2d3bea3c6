//! Checks of limits: connection limits of roles and datnames, and sessions without encryption.

use std::time::Duration;

use pharos_plugin::checks::{Case, Check, Explanation, Grading, Observation, Scope, each_value, evidence, label};
use pharos_plugin::own_role::{OwnRole, more_sessions};
use pharos_plugin::{Severity, SkipReason, Snapshot, sql, text};

const ROLE_USED: &str = "pharos_postgres_role_connections_used_ratio";
const ROLE_LIMIT: &str = "pharos_postgres_role_connections_limit";
const DATNAME_USED: &str = "pharos_postgres_datname_connections_used_ratio";
const DATNAME_LIMIT: &str = "pharos_postgres_datname_connections_limit";
const ENCRYPTED: &str = "pharos_postgres_sessions_encrypted";

pub(crate) const CHECKS: &[Check] = &[
    Check {
        id: "role-connections-used",
        summary: "a role has nearly reached its connection limit",
        category: "connections",
        scope: Scope::Each,
        labels: &["user"],
        needs: &[ROLE_USED],
        hold_off: Duration::from_mins(1),
        keep_firing: Duration::from_mins(2),
        grading: Grading::rising(0.8, 0.95, 0.7),
        observe: roles_of_other_clients,
        explain: role_connections_used,
    },
    Check {
        id: "own-role-limited",
        summary: "the role that Pharos uses may have too few sessions",
        category: "connections",
        scope: Scope::Shared,
        labels: &["user"],
        needs: &[ROLE_LIMIT, "own_role"],
        hold_off: Duration::from_mins(2),
        keep_firing: Duration::from_mins(10),
        grading: Grading::Fact(Severity::Info),
        observe: |snapshot| Ok(own_role_short(snapshot)),
        explain: own_role_limited,
    },
    Check {
        id: "datname-connections-used",
        summary: "a database has nearly reached its connection limit",
        category: "connections",
        scope: Scope::Each,
        labels: &["datname"],
        needs: &[DATNAME_USED],
        hold_off: Duration::from_mins(1),
        keep_firing: Duration::from_mins(2),
        grading: Grading::rising(0.8, 0.95, 0.7),
        observe: |snapshot| each_value(snapshot, DATNAME_USED),
        explain: datname_connections_used,
    },
    Check {
        id: "sessions-unencrypted",
        summary: "sessions come over the network without TLS",
        category: "security",
        scope: Scope::Each,
        labels: &[],
        needs: &[ENCRYPTED],
        hold_off: Duration::from_mins(5),
        keep_firing: Duration::from_mins(30),
        grading: Grading::rising_info(1.0, 0.0),
        observe: in_clear_over_the_network,
        explain: sessions_unencrypted,
    },
];

fn own_role_short(snapshot: &Snapshot) -> Vec<Observation> {
    let own = OwnRole::from_snapshot(snapshot).filter(OwnRole::is_short);
    own.map(|own| Observation::new(vec![label("user", own.user)], own.limit)).into_iter().collect()
}

/// Observes the used share of each role's connection limit. A role that only the agent uses is left out, since no other client suffers.
fn roles_of_other_clients(snapshot: &Snapshot) -> Result<Vec<Observation>, SkipReason> {
    let own = OwnRole::from_snapshot(snapshot).filter(|own| !own.is_shared()).map(|own| label("user", own.user));
    let mut roles = each_value(snapshot, ROLE_USED)?;
    roles.retain(|role| !own.as_ref().is_some_and(|own| role.labels.contains(own)));
    Ok(roles)
}

fn own_role_limited(case: &Case) -> Explanation {
    let user = case.label("user");
    let own = OwnRole::from_snapshot(case.snapshot);
    let fix = more_sessions(own.as_ref());
    let is_shared = own.as_ref().is_some_and(OwnRole::is_shared);
    let others = if is_shared { "Other clients use the role as well, and may be refused." } else { "Other roles are not affected." };
    Explanation {
        title: format!("role {user}, which Pharos uses, has too few sessions"),
        detail: format!(
            "Role {user} may have {} at once. Pharos uses two: one that stays open, and one that visits each database and tests whether \
             the server accepts sessions. Without the second session, databases are not monitored. {others}",
            text::counted(case.value, "session", "sessions")
        ),
        cause: if is_shared { "Other clients use the role of Pharos as well." } else { "The role has a CONNECTION LIMIT below two." }
            .to_owned(),
        fix: if is_shared { format!("Give Pharos a role of its own, or: `{fix}`.") } else { format!("On the primary: `{fix}`.") },
        evidence: own.map(|own| evidence("sessions of the role", text::count(own.sessions))).into_iter().collect(),
    }
}

fn in_clear_over_the_network(snapshot: &Snapshot) -> Result<Vec<Observation>, SkipReason> {
    let sessions = snapshot.values(ENCRYPTED)?;
    let in_clear = sessions.rows().filter(|row| row.label("encryption") == Some("none") && row.label("origin") == Some("network"));
    Ok(vec![Observation::new(Vec::new(), in_clear.map(|row| row.value()).sum())])
}

fn role_connections_used(case: &Case) -> Explanation {
    let (user, used) = (case.label("user"), text::percent(case.value));
    let limit = case.related_series(ROLE_LIMIT);
    Explanation {
        title: format!("role {user} uses {used} of its connections"),
        detail: format!(
            "{used} of the connections that role {user} may have are open. Beyond the limit, every new session of the role fails."
        ),
        cause: "More instances of the application, or larger pools, than the limit was set for.".to_owned(),
        fix: format!(
            "Make the pools of {user} smaller, or raise its limit: `ALTER ROLE {} CONNECTION LIMIT {};`.",
            sql::identifier(user),
            raised(limit)
        ),
        evidence: limit.map(|limit| evidence("connection limit", text::count(limit))).into_iter().collect(),
    }
}

fn datname_connections_used(case: &Case) -> Explanation {
    let (datname, used) = (case.label("datname"), text::percent(case.value));
    let limit = case.related_series(DATNAME_LIMIT);
    Explanation {
        title: format!("{datname} uses {used} of its connections"),
        detail: format!("{used} of the connections that database {datname} may have are open. Beyond its limit every new session fails."),
        cause: "More applications, or larger pools, than the limit was set for.".to_owned(),
        fix: format!(
            "Make the pools smaller, or raise the limit: `ALTER DATABASE {} CONNECTION LIMIT {};`.",
            sql::identifier(datname),
            raised(limit)
        ),
        evidence: limit.map(|limit| evidence("connection limit", text::count(limit))).into_iter().collect(),
    }
}

/// A limit that is higher by half. A placeholder if the present limit is unknown.
fn raised(limit: Option<f64>) -> String {
    limit.map_or_else(|| "<limit>".to_owned(), |limit| (limit * 1.5).ceil().to_string())
}

fn sessions_unencrypted(case: &Case) -> Explanation {
    let sessions = text::counted(case.value, "session comes", "sessions come");
    Explanation {
        title: format!("{sessions} over the network in clear text"),
        detail: format!("{sessions} over the network without TLS or GSS. Passwords and data can be read and changed on the way."),
        cause: "Clients with sslmode=disable or prefer, and lines in pg_hba.conf that begin with `host`.".to_owned(),
        fix: "`BEGIN; SET LOCAL search_path = pg_catalog; SELECT usename, client_addr, count(*) FROM pg_stat_ssl JOIN pg_stat_activity \
              USING (pid) WHERE NOT ssl AND client_addr IS NOT NULL GROUP BY 1, 2; COMMIT;` names them. Give them sslmode=verify-full, \
              then replace `host` by `hostssl` in pg_hba.conf and `SELECT pg_catalog.pg_reload_conf();`."
            .to_owned(),
        evidence: Vec::new(),
    }
}
