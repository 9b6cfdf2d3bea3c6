//! Tests of the checks of connections.

use expect_test::expect;
use pharos_plugin::testing::Facts;

use super::{check, check_texts, judge};

#[test]
fn a_server_that_does_not_answer_is_down_and_the_rest_is_skipped() {
    let facts = "up present\npharos_postgres_up 0\nactivity failed connection refused\npharos_postgres_connections_used_ratio";
    check(
        "server-down",
        facts,
        expect![[r#"
        server-down: raise critical: server does not answer
    "#]],
    );
    check_texts(
        "server-down",
        facts,
        expect![[r#"
            server does not answer
            The last collection could not reach the server: connection refused.
            > The server process has stopped, the host or the network is down, or the monitoring role can no longer log in.
            > On the host: `pg_isready`, then `systemctl status postgresql` and the end of the server's log. If only Pharos is refused, check pg_hba.conf and the role's password.
        "#]],
    );
    check(
        "connections-used",
        facts,
        expect![[r#"
        connections-used: skipped: part `activity` failed: connection refused
    "#]],
    );
    check("server-down", "up present\npharos_postgres_up 1", expect![""]);
    for (role, expected) in [
        ("primary", expect!["the primary does not answer"]),
        ("standby", expect!["a standby does not answer"]),
        ("-", expect!["server does not answer"]),
    ] {
        let facts = format!("{facts}\ntable last_role\n| role text |\n| {role} |");
        expected.assert_eq(&judge("server-down", &Facts::postgres(&facts)).findings[0].title);
    }
}

#[test]
fn beside_all_are_taken_no_smaller_share_is_shown_without_a_reason() {
    let facts = "accept present
        pharos_postgres_accepting_connections 0
        activity present
        pharos_postgres_connections_used_ratio 0.97
        table refusal
        | reason text | why text |
        | REASON | sorry |";
    let used = |reason: &str| {
        let found = judge("not-accepting-connections", &Facts::postgres(&facts.replace("REASON", reason))).findings.remove(0);
        found.evidence[0].value.clone()
    };
    assert_eq!(used("too-many-connections"), "all, 97 % of them by other clients than Pharos");
    assert_eq!(used("timeout"), "97 %");
}

#[test]
fn a_server_may_refuse_new_sessions_only() {
    check(
        "not-accepting-connections",
        "accept present\npharos_postgres_accepting_connections 0",
        expect![[r#"
        not-accepting-connections: raise critical: new sessions are refused
    "#]],
    );
    check_texts(
        "not-accepting-connections",
        "accept present
        pharos_postgres_accepting_connections 0
        table refusal
        | reason text | why text |
        | too-many-connections | sorry, too many clients already |",
        expect![[r#"
            new sessions are refused
            The probe could not open a new session, while the monitoring session opened earlier still works: sorry, too many clients already.
            > All connections that the server allows to ordinary roles are in use.
            > See which clients hold them: `BEGIN; SET LOCAL search_path = pg_catalog; SELECT datname, usename, application_name, state, count(*) FROM pg_stat_activity WHERE backend_type = 'client backend' GROUP BY 1, 2, 3, 4 ORDER BY 5 DESC LIMIT 10; COMMIT;`. End the idle sessions of one application: `BEGIN; SET LOCAL search_path = pg_catalog; SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE state = 'idle' AND application_name = '<name>' AND state_change < now() - interval '1 min'; COMMIT;`. Make the largest pool smaller, then put a pool between the application and the server.
        "#]],
    );
}

#[test]
fn connections_are_graded_by_the_share_in_use() {
    let facts = r#"
        activity present
        pharos_postgres_connections_used_ratio 0.92
        pharos_postgres_connections_max 97
        pharos_postgres_connections{datname="app",state="idle"} 80
        pharos_postgres_connections{datname="app",state="active"} 9
    "#;
    check(
        "connections-used",
        facts,
        expect![[r#"
        connections-used: raise critical: 92 % of connections are used
    "#]],
    );
    check_texts(
        "connections-used",
        facts,
        expect![[r#"
            92 % of connections are used
            Client backends, without those of Pharos, hold 92 % of 97 connections that ordinary roles may have. When none is left, every new session fails.
            > Pools that together are larger than max_connections, sessions that are never closed, or statements that pile up behind a slow one.
            > See which clients hold them: `BEGIN; SET LOCAL search_path = pg_catalog; SELECT datname, usename, application_name, state, count(*) FROM pg_stat_activity WHERE backend_type = 'client backend' GROUP BY 1, 2, 3, 4 ORDER BY 5 DESC LIMIT 10; COMMIT;`. End the idle sessions of one application: `BEGIN; SET LOCAL search_path = pg_catalog; SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE state = 'idle' AND application_name = '<name>' AND state_change < now() - interval '1 min'; COMMIT;`. Make the pools smaller, or put a pooler such as PgBouncer in front. `ALTER SYSTEM SET idle_session_timeout = '30min'; SELECT pg_catalog.pg_reload_conf();` ends forgotten sessions from then on, but not the sessions that are idle already. Raise max_connections last: it needs a restart and memory.
            - app, idle: 80
            - app, active: 9
        "#]],
    );
    check(
        "connections-used",
        "activity present\npharos_postgres_connections_used_ratio 0.75",
        expect![[r#"
        connections-used: hold warning: 75 % of connections are used
    "#]],
    );
}

#[test]
fn open_transactions_are_graded_by_age() {
    let facts = "activity present
        pharos_postgres_idle_in_transaction_age_max_seconds 400
        pharos_postgres_transaction_age_max_seconds 14400
        pharos_postgres_xmin_age_max_transactions 20000000";
    check(
        "idle-in-transaction",
        facts,
        expect![[r#"
        idle-in-transaction: raise warning: session idle in transaction for 6 min 40 s
    "#]],
    );
    check(
        "long-transaction",
        facts,
        expect![[r#"
        long-transaction: raise critical: transaction open for 4 h
    "#]],
    );
}

#[test]
fn the_session_that_is_idle_or_open_for_long_is_named_and_ended_while_it_is_the_same() {
    let sessions = |state: &str| {
        format!(
            "activity present
        pharos_postgres_idle_in_transaction_age_max_seconds 400
        pharos_postgres_transaction_age_max_seconds 14400
        pharos_postgres_xmin_age_max_transactions 20000000
        table sessions
        | pid integer | datname text | user text | application text | state text | transaction_seconds float | state_seconds float | backend_start float |
        | 11 | app | report | psql | {state} | 14400 | 20 | 1700000000.123456 |
        | 12 | app | Web \"shop\" | - | idle in transaction (aborted) | 500 | 400 | 1700000001 |"
        )
    };
    check_texts(
        "idle-in-transaction",
        &sessions("active"),
        expect![[r#"
            session idle in transaction for 6 min 40 s
            The longest idle transaction has done nothing for 6 min 40 s. It keeps its locks, and if it holds a snapshot, vacuum cannot remove rows that the snapshot may still see. It is process 12 (Web "shop").
            > The application began a transaction and waits for something else: a call to another service, a person, or a connection that was never returned to its pool.
            > End it: `BEGIN; SET LOCAL search_path = pg_catalog; SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE pid = 12 AND backend_start = '2023-11-14 22:13:21.000000+00'; COMMIT;`. To prevent a repetition: `ALTER ROLE "Web ""shop""" SET idle_in_transaction_session_timeout = '5min';`.
            - transactions since the oldest snapshot: 20 M
            - process 12 (Web "shop"): idle in transaction (aborted), in app
        "#]],
    );
    check_texts(
        "long-transaction",
        &sessions("active"),
        expect![[r#"
            transaction open for 4 h
            The oldest transaction of a client has been open for 4 h, and vacuum cannot remove rows that it may still see. It belongs to process 11 (report).
            > A report or export in one statement, a batch in one transaction, or a session that forgot to commit.
            > Let it finish, or end it: `BEGIN; SET LOCAL search_path = pg_catalog; SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE pid = 11 AND backend_start = '2023-11-14 22:13:20.123456+00'; COMMIT;`. Run reports on a standby, and split batches. To prevent a repetition: `ALTER ROLE "report" SET statement_timeout = '10min';`.
            - transactions since the oldest snapshot: 20 M
            - process 11 (report): active, application psql, in app
        "#]],
    );
    check_texts(
        "long-transaction",
        &sessions("idle in transaction"),
        expect![[r#"
            transaction open for 4 h
            The oldest transaction of a client has been open for 4 h, and vacuum cannot remove rows that it may still see. It belongs to process 11 (report).
            > A report or export in one statement, a batch in one transaction, or a session that forgot to commit.
            > The session is idle, so end it: `BEGIN; SET LOCAL search_path = pg_catalog; SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE pid = 11 AND backend_start = '2023-11-14 22:13:20.123456+00'; COMMIT;`. To prevent a repetition: `ALTER ROLE "report" SET idle_in_transaction_session_timeout = '5min';`.
            - transactions since the oldest snapshot: 20 M
            - process 11 (report): idle in transaction, application psql, in app
        "#]],
    );
}

#[test]
fn abandoned_sessions_are_counted_per_minute() {
    let facts = r#"
        database present
        pharos_postgres_sessions_abandoned_total{datname="app"} 900 rate 1.5
        pharos_postgres_sessions_abandoned_total{datname="shop"} 10 rate 0.01
    "#;
    check(
        "sessions-abandoned",
        facts,
        expect![[r#"
        sessions-abandoned{datname=app}: raise warning: 90 sessions a minute abandoned in app
    "#]],
    );
}

/// The alert about a refused session, as lines for severity and title, cause, and fix. `reason` may end with
/// the number of seconds since a session began. Half of the server's connections are free.
fn refused(reason: &str, own_limit: Option<(u32, u32)>) -> String {
    let (reason, quiet) = reason.split_once(' ').unwrap_or((reason, ""));
    let quiet = if quiet.is_empty() { String::new() } else { format!("pharos_postgres_session_begun_age_seconds {quiet}") };
    let own = own_limit.map(|(limit, sessions)| format!("| pharos | {limit} | {sessions} |")).unwrap_or_default();
    let facts = format!(
        "database present
        {quiet}
        activity present
        pharos_postgres_connections_used_ratio 0.5
        accept present
        pharos_postgres_accepting_connections 0
        table refusal
        | reason text | why text |
        | {reason} | the server's words |
        limits present
        table own_role
        | user text | connections_limit float | connections float |
        {own}"
    );
    let report = judge("not-accepting-connections", &Facts::postgres(&facts));
    let finding = &report.findings[0];
    let line = |text: &Option<String>| text.clone().unwrap_or_default();
    format!("{:?}: {}\n> {}\n> {}\n", finding.severity, finding.title, line(&finding.cause), line(&finding.fix))
}

#[test]
fn a_refusal_names_its_cause_and_the_clients_that_it_concerns() {
    // An application uses the role as well.
    expect![[r#"
        Severity::Warning: Pharos is refused a new session
        > The role of Pharos, which other clients also use, has reached its own CONNECTION LIMIT. Other roles can connect.
        > Pharos needs two sessions. On the primary, for its role: `ALTER ROLE "pharos" CONNECTION LIMIT 22;`.
    "#]]
    .assert_eq(&refused("role-limit", Some((20, 20))));
    // Other clients began sessions lately, or no session began for minutes.
    expect![[r#"
        Severity::Warning: Pharos is refused a new session
        > pg_hba.conf has no line that admits the role of Pharos, or a line that rejects it or requires a certificate.
        > See `BEGIN; SET LOCAL search_path = pg_catalog; SELECT * FROM pg_hba_file_rules ORDER BY line_number; COMMIT;`: the first matching line counts. Put a line for the role of Pharos before it, then `SELECT pg_catalog.pg_reload_conf();`.
    "#]].assert_eq(&refused("pg-hba 299", None));
    expect![[r#"
        Severity::Critical: Pharos is refused a new session
        > pg_hba.conf has no line that admits the role of Pharos, or a line that rejects it or requires a certificate. No session began for 5 min, so others may be refused as well.
        > See `BEGIN; SET LOCAL search_path = pg_catalog; SELECT * FROM pg_hba_file_rules ORDER BY line_number; COMMIT;`: the first matching line counts. Put a line for the role of Pharos before it, then `SELECT pg_catalog.pg_reload_conf();`.
    "#]].assert_eq(&refused("pg-hba 300", None));
    expect![[r#"
        Severity::Warning: Pharos is refused a new session
        > The server asks for the password in clear text, which Pharos does not send.
        > Set the method in pg_hba.conf to `scram-sha-256`, or set `tls.mode` so that the session is encrypted.
    "#]]
    .assert_eq(&refused("cleartext-password", None));
    // The server does not name the limit, and has room.
    expect![[r#"
        Severity::Info: Pharos is refused a new session
        > The role that Pharos uses has reached its own CONNECTION LIMIT. Other clients of the server can connect.
        > Pharos needs two sessions. On the primary, for its role: `ALTER ROLE "pharos" CONNECTION LIMIT 3;`.
    "#]]
    .assert_eq(&refused("too-many-connections", Some((1, 1))));
    // Other roles can connect.
    expect![[r#"
        Severity::Info: Pharos is refused a new session
        > The role that Pharos uses has reached its own CONNECTION LIMIT. Other clients of the server can connect.
        > Pharos needs two sessions. On the primary, for its role: `ALTER ROLE "pharos" CONNECTION LIMIT 3;`.
    "#]]
    .assert_eq(&refused("role-limit", Some((1, 1))));
    expect![[r#"
        Severity::Critical: Pharos is refused a new session
        > pg_hba.conf has no line that admits the role of Pharos, or a line that rejects it or requires a certificate.
        > See `BEGIN; SET LOCAL search_path = pg_catalog; SELECT * FROM pg_hba_file_rules ORDER BY line_number; COMMIT;`: the first matching line counts. Put a line for the role of Pharos before it, then `SELECT pg_catalog.pg_reload_conf();`.
    "#]].assert_eq(&refused("pg-hba", None));
    expect![[r#"
        Severity::Warning: Pharos is refused a new session
        > The server does not accept the role of Pharos with its password.
        > Give Pharos the current password: `password_file` or `password_env`, which is read again for each session. The role must exist and have LOGIN.
    "#]].assert_eq(&refused("authentication", None));
    expect![[r#"
        Severity::Warning: Pharos is refused a new session
        > pg_hba.conf names a login method that refuses the role of Pharos: a certificate, a ticket, or another service.
        > See `BEGIN; SET LOCAL search_path = pg_catalog; SELECT * FROM pg_hba_file_rules ORDER BY line_number; COMMIT;`: the first matching line counts. If its method is ldap, pam or radius, `password_file` must hold the password of that service. Pharos has no certificate and no ticket: before a line with cert, gss, sspi, ident or peer put a line with scram-sha-256 for the role of Pharos, then `SELECT pg_catalog.pg_reload_conf();`.
    "#]].assert_eq(&refused("authentication-method", None));
    // A password concerns a single role, however long no session began.
    assert_eq!(refused("authentication 9000", None), refused("authentication", None));
    // All clients are refused.
    expect![[r#"
        Severity::Critical: new sessions are refused
        > All connections that the server allows to ordinary roles are in use.
        > See which clients hold them: `BEGIN; SET LOCAL search_path = pg_catalog; SELECT datname, usename, application_name, state, count(*) FROM pg_stat_activity WHERE backend_type = 'client backend' GROUP BY 1, 2, 3, 4 ORDER BY 5 DESC LIMIT 10; COMMIT;`. End the idle sessions of one application: `BEGIN; SET LOCAL search_path = pg_catalog; SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE state = 'idle' AND application_name = '<name>' AND state_change < now() - interval '1 min'; COMMIT;`. Make the largest pool smaller, then put a pool between the application and the server.
    "#]].assert_eq(&refused("too-many-connections", Some((2, 2))));
    expect![[r#"
        Severity::Critical: new sessions are refused
        > The server is starting or recovering.
        > Wait: the server's log shows how far the recovery is.
    "#]]
    .assert_eq(&refused("starting", None));
    expect![[r#"
        Severity::Critical: new sessions are refused
        > The server does not answer new sessions: the server, its host or the network hangs.
        > On the host: `pg_isready`, then `systemctl status postgresql` and the end of the server's log.
    "#]]
    .assert_eq(&refused("timeout", None));
}
