//! No preset of a server, datname or role makes a healthy server look down, or hides a change of settings. The agent's own sessions are
//! never counted.
//!
//! Whatever server, datname and role preset for a session: the agent's own are what they must be, and the facts are the server's.

use std::time::Duration;

use pharos::config::database::TlsConfig;
use pharos::demo::postgres::{MONITORING_ROLE, PostgresServer, SUPERUSER};
use pharos::postgres::monitor::{Connector, Session};

use super::{config, connector, setting};
use crate::fixture::slow_line::slow_line;
use crate::fixture::{TestAgent, eventually, part_name, postgres, postgres_config, runtime_tasks, series, shipped};
use crate::topology::standby_of;

/// Each by itself would end a session, refuse its first statement, or change what its statements mean.
const PRESETS: [(&str, &str); 26] = [
    ("default_transaction_isolation", "serializable"),
    ("default_transaction_isolation", "repeatable read"),
    ("default_transaction_read_only", "off"),
    ("statement_timeout", "1ms"),
    ("lock_timeout", "1ms"),
    ("idle_session_timeout", "1ms"),
    ("idle_in_transaction_session_timeout", "1ms"),
    ("search_path", "public"),
    ("row_security", "off"),
    ("bytea_output", "escape"),
    ("DateStyle", "SQL, DMY"),
    ("IntervalStyle", "sql_standard"),
    ("quote_all_identifiers", "on"),
    ("standard_conforming_strings", "off"),
    ("transform_null_equals", "on"),
    ("client_min_messages", "debug5"),
    ("enable_hashjoin", "off"),
    ("enable_indexscan", "off"),
    ("work_mem", "64kB"),
    ("from_collapse_limit", "1"),
    ("join_collapse_limit", "1"),
    ("random_page_cost", "1000"),
    ("parallel_setup_cost", "0"),
    ("plan_cache_mode", "force_generic_plan"),
    ("exit_on_error", "on"),
    ("client_connection_check_interval", "1ms"),
];

/// Settings that hold in every session of the agent.
const OURS: [(&str, &str); 25] = [
    ("default_transaction_isolation", "read committed"),
    ("default_transaction_deferrable", "off"),
    ("default_transaction_read_only", "on"),
    ("statement_timeout", "3s"),
    ("lock_timeout", "200ms"),
    ("idle_session_timeout", "0"),
    ("idle_in_transaction_session_timeout", "4s"),
    ("search_path", "pg_catalog"),
    ("row_security", "on"),
    ("bytea_output", "hex"),
    ("IntervalStyle", "postgres"),
    ("quote_all_identifiers", "off"),
    ("standard_conforming_strings", "on"),
    ("transform_null_equals", "off"),
    ("client_min_messages", "warning"),
    // As they are shipped.
    ("enable_hashjoin", "on"),
    ("enable_indexscan", "on"),
    ("work_mem", "4MB"),
    ("from_collapse_limit", "8"),
    ("join_collapse_limit", "8"),
    ("random_page_cost", "4"),
    ("parallel_setup_cost", "1000"),
    ("plan_cache_mode", "auto"),
    ("exit_on_error", "off"),
    ("client_connection_check_interval", "0"),
];

async fn open(connector: &Connector, what: &str) -> Session {
    connector.connect().await.unwrap_or_else(|err| panic!("{what}: {err:?}"))
}

async fn is_ours(session: &Session, what: &str) {
    for (name, value) in OURS {
        assert_eq!(setting(session, name).await, value, "{what}: {name}");
    }
    let rows = session.query("SELECT count(*)::int8 AS count FROM pg_class", &[]).await.unwrap_or_else(|err| panic!("{what}: {err:?}"));
    assert!(rows[0].get::<i64>("count").unwrap() > 0);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn whatever_is_preset_a_session_begins_and_is_ours() {
    let (tasks, _stop) = runtime_tasks();
    let primary = postgres(&tasks).await;
    let standby = standby_of(&primary, "standby", &[], &tasks).await;
    let setup = primary.connect(SUPERUSER, "postgres").await.unwrap();
    let at_standby = standby.connect(SUPERUSER, "postgres").await.unwrap();
    let is_replayed = "SELECT pg_last_wal_replay_lsn() >= ";
    let connectors = [&primary, &standby].map(|server| connector(&server.url(MONITORING_ROLE, "postgres"), TlsConfig::default(), &tasks));
    for (name, value) in PRESETS {
        for whose in
            [format!("ROLE {MONITORING_ROLE}"), "DATABASE postgres".to_owned(), format!("ROLE {MONITORING_ROLE} IN DATABASE postgres")]
        {
            setup.run(&format!("ALTER {whose} SET {name} = '{value}'")).await.unwrap();
            let position: String = setup.query_value("SELECT pg_current_wal_lsn()::text").await.unwrap();
            eventually(&at_standby, &format!("{is_replayed} '{position}'::pg_lsn")).await;
            for (connector, server) in connectors.iter().zip(["primary", "standby"]) {
                let what = format!("{whose}, {name} = {value}, on the {server}");
                is_ours(&open(connector, &what).await, &what).await;
            }
            setup.run(&format!("ALTER {whose} RESET {name}")).await.unwrap();
        }
    }
}

/// A preset that cannot be reset does not prevent the reset of the others.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn all_presets_at_once_are_reset() {
    let (tasks, _stop) = runtime_tasks();
    let server = postgres(&tasks).await;
    let setup = server.connect(SUPERUSER, "postgres").await.unwrap();
    for (name, value) in PRESETS.into_iter().chain([("transaction_read_only", "on")]) {
        setup.run(&format!("ALTER DATABASE postgres SET {name} = '{value}'")).await.unwrap_or_else(|err| panic!("{name}: {err:?}"));
    }
    let connector = connector(&server.url(MONITORING_ROLE, "postgres"), TlsConfig::default(), &tasks);
    is_ours(&open(&connector, "all").await, "all").await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_primary_and_a_standby_of_a_server_that_is_serializable_by_default_are_watched_as_any_other() {
    let (tasks, _stop) = runtime_tasks();
    let primary = postgres(&tasks).await;
    let presets = [("isolation", "serializable"), ("deferrable", "on"), ("read_only", "on")];
    let settings = presets.map(|(name, value)| (format!("default_transaction_{name}"), value.to_owned()));
    let standby = primary.start_standby("standby", settings.to_vec(), &tasks).await.unwrap();
    let setup = primary.connect(SUPERUSER, "postgres").await.unwrap();
    for (name, value) in settings {
        setup.run(&format!("ALTER SYSTEM SET {name} = '{value}'")).await.unwrap();
    }
    setup.run("SELECT pg_reload_conf()").await.unwrap();
    // A transaction that a deferrable one would wait for.
    let writer = primary.connect(SUPERUSER, "postgres").await.unwrap();
    writer
        .run("BEGIN ISOLATION LEVEL SERIALIZABLE READ WRITE; CREATE TEMP TABLE written (i int); INSERT INTO written VALUES (1)")
        .await
        .unwrap();
    let replicas = format!("replicas = [\"{}\"]\n", standby.url(MONITORING_ROLE, "postgres"));
    let agent = TestAgent::start_with(&format!("{}{replicas}", postgres_config("app", &primary)), Vec::new()).await;
    for server in [&primary, &standby] {
        agent.wait_part(&part_name(server), |part| part["state"] == "ok").await;
        assert_eq!(agent.series(&series("pharos_postgres_up", server.port(), &[])).await, Some(1.0));
    }
    drop(writer);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_tenant_who_owns_a_datname_cannot_make_its_server_look_down() {
    let (tasks, _stop) = runtime_tasks();
    let server = postgres(&tasks).await;
    let setup = server.connect(SUPERUSER, "postgres").await.unwrap();
    setup.run("CREATE ROLE tenant LOGIN").await.unwrap();
    setup.run("CREATE DATABASE owned OWNER tenant").await.unwrap();
    server.connect(SUPERUSER, "owned").await.unwrap().run("CREATE EXTENSION pg_stat_statements").await.unwrap();
    let tenant = server.connect("tenant", "owned").await.unwrap();
    for preset in ["idle_session_timeout = '1ms'", "statement_timeout = '1ms'", "default_transaction_isolation = serializable"] {
        tenant.run(&format!("ALTER DATABASE owned SET {preset}")).await.unwrap();
    }
    let agent = TestAgent::start_with(&config(&server.url(MONITORING_ROLE, "owned")), shipped()).await;
    agent.wait_part(&part_name(&server), |part| part["state"] == "ok").await;
    let runs = |what: &str| format!("pharos_collect_{what}{{server=\"127.0.0.1:{}\",collector=\"accept\"}}", server.port());
    agent.wait_series(&runs("runs_total"), |runs| runs >= 3.0).await;
    assert_eq!(agent.series(&series("pharos_postgres_accepting_connections", server.port(), &[])).await, Some(1.0));
    let alerts = agent.json("/api/database/alerts?database=app").await;
    let rules: Vec<&str> = alerts["items"].as_array().unwrap().iter().filter_map(|alert| alert["rule"].as_str()).collect();
    assert!(!rules.iter().any(|rule| ["server-down", "not-accepting-connections"].contains(rule)), "{rules:?}");
}

/// Ends every session that waits longer than that for its first statement.
const HASTY: &str = "ALTER ROLE pharos SET idle_session_timeout = '1ms'";
/// What a statement takes to the server, so that none is there in time.
const LATE: Duration = Duration::from_millis(30);

/// An agent that watches a server over a slow line, and the port where that begins.
async fn watch_late(server: &PostgresServer) -> (TestAgent, u16) {
    let port = slow_line(server.port(), LATE).await;
    let config = format!("[[database]]\nname = \"app\"\nprimary = \"postgresql://{MONITORING_ROLE}@127.0.0.1:{port}/postgres\"\n");
    (TestAgent::start_with(&config, Vec::new()).await, port)
}

/// Until the agent's session is one that brings its limits along, because without them it was ended before its first statement.
async fn until_presets_hide(agent: &TestAgent) {
    let hidden = |metrics: &str| metrics.contains("setting=\"work_mem\"") && !metrics.contains("setting=\"statement_timeout\"");
    agent.wait_metrics(hidden).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn presets_are_shown_as_the_server_has_them_and_not_as_the_session_changed_them() {
    let (tasks, _stop) = runtime_tasks();
    let server = postgres(&tasks).await;
    let setup = server.connect(SUPERUSER, "postgres").await.unwrap();
    for preset in ["statement_timeout = '7s'", "lock_timeout = '5s'", "idle_session_timeout = '9min'"] {
        setup.run(&format!("ALTER SYSTEM SET {preset}")).await.unwrap();
    }
    setup.run("SELECT pg_reload_conf()").await.unwrap();
    // The server reads its files in its own time: what it read only after the agent would be a change.
    let read =
        "SELECT count(*) = 3 FROM pg_settings WHERE source = 'configuration file' AND name ~ '^(statement|lock|idle_session)_timeout$'";
    eventually(&setup, read).await;
    let (agent, port) = watch_late(&server).await;
    for (name, seconds) in [("statement_timeout", 7.0), ("lock_timeout", 5.0), ("idle_session_timeout", 540.0)] {
        agent.wait_series(&series("pharos_postgres_setting", port, &[("setting", name)]), |value| value == seconds).await;
    }
    // Where the session must bring its limits along, nothing is shown in their place.
    setup.run(HASTY).await.unwrap();
    setup.run("SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE application_name LIKE 'pharos %'").await.unwrap();
    until_presets_hide(&agent).await;
    assert_eq!(agent.series(&series("pharos_postgres_setting_changes_total", port, &[])).await, Some(0.0), "nothing that is seen changed");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn settings_that_change_are_noticed_while_presets_hide_some_of_them() {
    let (tasks, _stop) = runtime_tasks();
    let server = postgres(&tasks).await;
    let setup = server.connect(SUPERUSER, "postgres").await.unwrap();
    setup.run(HASTY).await.unwrap();
    let (agent, port) = watch_late(&server).await;
    until_presets_hide(&agent).await;
    let changes = series("pharos_postgres_setting_changes_total", port, &[]);
    let before = agent.wait_series(&changes, |_| true).await;
    setup.run("ALTER SYSTEM SET work_mem = '5MB'").await.unwrap();
    setup.run("ALTER SYSTEM SET lock_timeout = '5s'").await.unwrap();
    setup.run("SELECT pg_reload_conf()").await.unwrap();
    agent.wait_series(&changes, |changes| changes == before + 1.0).await;
}

async fn roles(server: &PostgresServer) {
    let setup = server.connect(SUPERUSER, "postgres").await.unwrap();
    for statement in [
        "CREATE ROLE monitoring NOLOGIN IN ROLE pg_monitor",
        "CREATE ROLE v_1 LOGIN NOINHERIT IN ROLE monitoring",
        "ALTER ROLE v_1 SET role = 'monitoring'",
        "CREATE ROLE nothing NOLOGIN",
        "CREATE ROLE v_2 LOGIN IN ROLE pg_monitor, nothing",
        "ALTER ROLE v_2 SET role = 'nothing'",
    ] {
        setup.run(statement).await.unwrap();
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_preset_role_stays_unless_it_lacks_rights() {
    let (tasks, _stop) = runtime_tasks();
    let server = postgres(&tasks).await;
    roles(&server).await;
    for (login, role) in [("v_1", "monitoring"), ("v_2", "v_2"), (MONITORING_ROLE, MONITORING_ROLE)] {
        let session = open(&connector(&server.url(login, "postgres"), TlsConfig::default(), &tasks), login).await;
        let sees = session.query("SELECT pg_has_role(current_user, 'pg_read_all_stats', 'USAGE') AS sees", &[]).await.unwrap();
        assert_eq!((session.login(), session.role(), sees[0].get::<bool>("sees").unwrap()), (login, role, true));
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_agents_own_sessions_count_nowhere_under_whatever_role_and_another_agents_do() {
    let (tasks, _stop) = runtime_tasks();
    let server = postgres(&tasks).await;
    roles(&server).await;
    let first = TestAgent::start_with(&config(&server.url("v_1", "postgres")), Vec::new()).await;
    first.wait_part(&part_name(&server), |part| part["state"] == "ok").await;
    let port = server.port();
    let of_others = |metrics: &str, metric: &str| {
        let lines = metrics.lines().filter(|line| line.starts_with(&format!("{metric}{{")));
        lines.filter_map(|line| line.rsplit(' ').next()?.parse::<f64>().ok()).sum::<f64>()
    };
    let encrypted = "pharos_postgres_sessions_encrypted";
    let runs = format!("pharos_collect_runs_total{{server=\"127.0.0.1:{port}\",collector=\"encryption\"}}");
    first.wait_series(&runs, |runs| runs >= 3.0).await;
    let metrics = first.text("/metrics").await;
    for metric in ["pharos_postgres_connections", "pharos_postgres_active_sessions", encrypted] {
        assert_eq!(of_others(&metrics, metric), 0.0, "{metric}: {metrics}");
    }
    // The same role, the same name of the agent: another one all the same.
    let second = TestAgent::start_with(&config(&server.url("v_1", "postgres")), Vec::new()).await;
    second.wait_part(&part_name(&server), |part| part["state"] == "ok").await;
    first.wait_metrics(|metrics| of_others(metrics, "pharos_postgres_connections") >= 1.0 && of_others(metrics, encrypted) >= 1.0).await;
}
