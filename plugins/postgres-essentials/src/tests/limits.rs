//! Tests of the checks of limits.

use expect_test::expect;

use super::{check, check_texts};

const LIMITS: &str = r#"
    limits present
    pharos_postgres_role_connections_used_ratio{user="app"} 0.96
    pharos_postgres_role_connections_used_ratio{user="etl"} 0.5
    pharos_postgres_role_connections_limit{user="app"} 50
    pharos_postgres_role_connections_limit{user="etl"} 4
    pharos_postgres_datname_connections_used_ratio{datname="shop"} 0.75
    pharos_postgres_datname_connections_limit{datname="shop"} 20
"#;

#[test]
fn a_role_or_a_datname_near_its_own_limit_is_named_with_a_larger_one() {
    check_texts(
        "role-connections-used",
        LIMITS,
        expect![[r#"
        role app uses 96 % of its connections
        96 % of the connections that role app may have are open. Beyond the limit, every new session of the role fails.
        > More instances of the application, or larger pools, than the limit was set for.
        > Make the pools of app smaller, or raise its limit: `ALTER ROLE "app" CONNECTION LIMIT 75;`.
        - connection limit: 50
    "#]],
    );
    check(
        "role-connections-used",
        LIMITS,
        expect![[r#"
        role-connections-used{user=app}: raise critical: role app uses 96 % of its connections
    "#]],
    );
    check(
        "datname-connections-used",
        LIMITS,
        expect![[r#"
        datname-connections-used{datname=shop}: hold warning: shop uses 75 % of its connections
    "#]],
    );
    check_texts(
        "datname-connections-used",
        LIMITS,
        expect![[r#"
        shop uses 75 % of its connections
        75 % of the connections that database shop may have are open. Beyond its limit every new session fails.
        > More applications, or larger pools, than the limit was set for.
        > Make the pools smaller, or raise the limit: `ALTER DATABASE "shop" CONNECTION LIMIT 30;`.
        - connection limit: 20
    "#]],
    );
}

#[test]
fn only_clear_text_over_the_network_counts() {
    let facts = |in_clear: u32| {
        format!(
            r#"
            encryption present
            pharos_postgres_sessions_encrypted{{encryption="tls",origin="network"}} 7
            pharos_postgres_sessions_encrypted{{encryption="none",origin="local"}} 9
            pharos_postgres_sessions_encrypted{{encryption="none",origin="network"}} {in_clear}
        "#
        )
    };
    check_texts(
        "sessions-unencrypted",
        &facts(3),
        expect![[r#"
            3 sessions come over the network in clear text
            3 sessions come over the network without TLS or GSS. Passwords and data can be read and changed on the way.
            > Clients with sslmode=disable or prefer, and lines in pg_hba.conf that begin with `host`.
            > `BEGIN; SET LOCAL search_path = pg_catalog; SELECT usename, client_addr, count(*) FROM pg_stat_ssl JOIN pg_stat_activity USING (pid) WHERE NOT ssl AND client_addr IS NOT NULL GROUP BY 1, 2; COMMIT;` names them. Give them sslmode=verify-full, then replace `host` by `hostssl` in pg_hba.conf and `SELECT pg_catalog.pg_reload_conf();`.
        "#]],
    );
    check("sessions-unencrypted", &facts(0), expect![[""]]);
}

#[test]
fn a_limit_of_the_role_of_pharos_is_advice_to_its_owner() {
    let facts = |limit: u32, sessions: u32| {
        format!(
            r#"
            limits present
            pharos_postgres_role_connections_used_ratio{{user="pharos"}} 1
            pharos_postgres_role_connections_limit{{user="pharos"}} {limit}
            pharos_postgres_role_connections_used_ratio{{user="app"}} 0.96
            pharos_postgres_role_connections_limit{{user="app"}} 50
            table own_role
            | user text | connections_limit float | connections float |
            | pharos | {limit} | {sessions} |
        "#
        )
    };
    check(
        "role-connections-used",
        &facts(1, 1),
        expect![[r#"
        role-connections-used{user=app}: raise critical: role app uses 96 % of its connections
    "#]],
    );
    check_texts(
        "own-role-limited",
        &facts(1, 1),
        expect![[r#"
        role pharos, which Pharos uses, has too few sessions
        Role pharos may have 1 session at once. Pharos uses two: one that stays open, and one that visits each database and tests whether the server accepts sessions. Without the second session, databases are not monitored. Other roles are not affected.
        > The role has a CONNECTION LIMIT below two.
        > On the primary: `ALTER ROLE "pharos" CONNECTION LIMIT 3;`.
        - sessions of the role: 1
        - primary: db1:5432
    "#]],
    );
    check_texts(
        "own-role-limited",
        &facts(5, 5),
        expect![[r#"
            role pharos, which Pharos uses, has too few sessions
            Role pharos may have 5 sessions at once. Pharos uses two: one that stays open, and one that visits each database and tests whether the server accepts sessions. Without the second session, databases are not monitored. Other clients use the role as well, and may be refused.
            > Other clients use the role of Pharos as well.
            > Give Pharos a role of its own, or: `ALTER ROLE "pharos" CONNECTION LIMIT 7;`.
            - sessions of the role: 5
            - primary: db1:5432
        "#]],
    );
    // An application shares the role and its limit.
    check(
        "role-connections-used",
        &facts(20, 20),
        expect![[r#"
        role-connections-used{user=pharos}: raise critical: role pharos uses 100 % of its connections
        role-connections-used{user=app}: raise critical: role app uses 96 % of its connections
    "#]],
    );
    // Pharos needs two sessions.
    check("own-role-limited", &facts(2, 2), expect![[""]]);
    check("own-role-limited", &facts(5, 2), expect![[""]]);
}
