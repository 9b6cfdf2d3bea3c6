//! What roles and datnames may use, and how sessions travel.

use std::time::Duration;

use pharos_plugin::checks::{Case, Check, Explanation, Grading, Observation, each_value, evidence};
use pharos_plugin::{SkipReason, Snapshot, sql, text};

const ROLE_USED: &str = "pharos_postgres_role_connections_used_ratio";
const ROLE_LIMIT: &str = "pharos_postgres_role_connections_limit";
const DATNAME_USED: &str = "pharos_postgres_datname_connections_used_ratio";
const DATNAME_LIMIT: &str = "pharos_postgres_datname_connections_limit";
const ENCRYPTED: &str = "pharos_postgres_sessions_encrypted";

pub const CHECKS: &[Check] = &[
    Check {
        id: "role-connections-used",
        summary: "a role has few connections left of its own limit",
        category: "connections",
        labels: &["user"],
        needs: &[ROLE_USED],
        hold_off: Duration::from_mins(1),
        keep_firing: Duration::from_mins(2),
        grading: Grading::rising(0.8, 0.95, 0.7),
        observe: |snapshot| each_value(snapshot, ROLE_USED),
        explain: role_connections_used,
    },
    Check {
        id: "datname-connections-used",
        summary: "a database has few connections left of its own limit",
        category: "connections",
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
        labels: &[],
        needs: &[ENCRYPTED],
        hold_off: Duration::from_mins(5),
        keep_firing: Duration::from_mins(30),
        grading: Grading::rising_info(1.0, 0.0),
        observe: in_clear_over_the_network,
        explain: sessions_unencrypted,
    },
];

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
        detail: format!("{used} of the connections that role {user} may have are open. Beyond its limit every new session of it fails."),
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

/// Half as much again.
fn raised(limit: Option<f64>) -> String {
    limit.map_or_else(|| "<limit>".to_owned(), |limit| (limit * 1.5).ceil().to_string())
}

fn sessions_unencrypted(case: &Case) -> Explanation {
    let sessions = text::counted(case.value, "session comes", "sessions come");
    Explanation {
        title: format!("{sessions} over the network in clear text"),
        detail: format!("{sessions} over the network without TLS or GSS. Passwords and data can be read and changed on the way."),
        cause: "Clients with sslmode=disable or prefer, and lines in pg_hba.conf that begin with `host`.".to_owned(),
        fix: "`SELECT usename, client_addr, count(*) FROM pg_stat_ssl JOIN pg_stat_activity USING (pid) WHERE NOT ssl AND client_addr IS \
              NOT NULL GROUP BY 1, 2;` names them. Give them sslmode=verify-full, then replace `host` by `hostssl` in pg_hba.conf and \
              `SELECT pg_reload_conf();`."
            .to_owned(),
        evidence: Vec::new(),
    }
}
