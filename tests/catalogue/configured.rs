//! No setting that may hold a secret is shown, and no restart loses a change that was made while no agent ran. Statistics that are reset
//! make no rate.
//!
//! Covers settings, limits, and the resets of statistics.

use serde_json::Value;

use super::*;
use crate::fixture::saved::open;
use crate::fixture::{item, shipped};

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_changed_setting_is_reported_with_both_values_and_a_secret_with_none() {
    let (tasks, _stop) = runtime_tasks();
    let server = newest(&[("archive_command", "copy --password=hunter1 %p")], &tasks).await;
    let work = session(&server, "postgres").await;
    let agent = TestAgent::watch(&server).await;
    let of = |metric: &str, labels: &[(&str, &str)]| series(metric, server.port(), labels);
    let changes = of("pharos_postgres_setting_changes_total", &[]);
    agent.wait_series(&changes, |count| count == 0.0).await;
    let work_mem = of("pharos_postgres_setting", &[("setting", "work_mem")]);
    agent.wait_series(&work_mem, |bytes| bytes == 4.0 * 1024.0 * 1024.0).await;
    for change in ["work_mem = '8MB'", "archive_command = 'copy --password=hunter2 %p'", "max_connections = 60"] {
        work.run(&format!("ALTER SYSTEM SET {change}")).await.unwrap();
    }
    work.run("SELECT pg_reload_conf()").await.unwrap();
    agent.wait_series(&work_mem, |bytes| bytes == 8.0 * 1024.0 * 1024.0).await;
    agent.wait_series(&changes, |count| count == 2.0).await;
    wait_row(&agent, &server, "setting_changes", &[("setting", "work_mem"), ("before", "4096"), ("after", "8192")]).await;
    wait_row(&agent, &server, "setting_changes", &[("setting", "archive_command"), ("before", "(hidden)"), ("after", "(hidden)")]).await;
    // Asked for, and not in force before a restart.
    agent.wait_series(&of("pharos_postgres_settings_pending_restart", &[]), |count| count == 1.0).await;
    wait_row(&agent, &server, "settings", &[("setting", "max_connections"), ("value", "50"), ("pending_restart", "true")]).await;
    wait_row(&agent, &server, "settings", &[("setting", "work_mem"), ("source", "configuration file"), ("unit", "kB")]).await;
    // What our own session changed for itself is not the server's.
    let listed = rows(latest(&agent, server.port()).unwrap().snapshot.table("settings").unwrap());
    assert!(listed.iter().all(|row| row["setting"] != "default_transaction_read_only"), "{listed:?}");
    assert!(!format!("{:?}", latest(&agent, server.port())).contains("hunter"), "a secret is in the snapshot");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn limits_of_roles_and_datnames_show_what_is_used_of_them() {
    let (tasks, _stop) = runtime_tasks();
    let server = newest(&[], &tasks).await;
    let setup = session(&server, "postgres").await;
    setup.run("CREATE ROLE app LOGIN CONNECTION LIMIT 4; CREATE ROLE admin LOGIN SUPERUSER CONNECTION LIMIT 1; CREATE ROLE closed CONNECTION LIMIT 0").await.unwrap();
    setup.run("CREATE DATABASE shop CONNECTION LIMIT 10").await.unwrap();
    let used = [server.connect("app", "shop").await.unwrap(), server.connect("app", "postgres").await.unwrap()];
    let agent = TestAgent::watch(&server).await;
    let of = |metric: &str, labels: &[(&str, &str)]| series(metric, server.port(), labels);
    let app = [("user", "app")];
    agent.wait_series(&of("pharos_postgres_role_connections", &app), |used| used == 2.0).await;
    agent.wait_series(&of("pharos_postgres_role_connections_limit", &app), |limit| limit == 4.0).await;
    agent.wait_series(&of("pharos_postgres_role_connections_used_ratio", &app), |ratio| ratio == 0.5).await;
    agent.wait_series(&of("pharos_postgres_datname_connections_limit", &[("datname", "shop")]), |limit| limit == 10.0).await;
    agent.wait_series(&of("pharos_postgres_datname_connections_used_ratio", &[("datname", "shop")]), |ratio| ratio == 0.1).await;
    agent.wait_series(&of("pharos_postgres_role_connections_limit", &[("user", "closed")]), |limit| limit == 0.0).await;
    let metrics = agent.text("/metrics").await;
    assert!(!metrics.contains("user=\"admin\""), "a superuser has no limit: {metrics}");
    let closed = of("pharos_postgres_role_connections_used_ratio", &[("user", "closed")]);
    assert!(!metrics.contains(&closed), "a limit of 0 has no share: {metrics}");
    drop(used);
    agent.wait_series(&of("pharos_postgres_role_connections_used_ratio", &app), |ratio| ratio == 0.0).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn sessions_are_distinguished_by_their_encryption() {
    let (tasks, _stop) = runtime_tasks();
    let files = tempfile::tempdir().unwrap();
    let tls = Some(certificates(files.path(), "localhost"));
    let server = newest_with(PostgresOptions { tls, ..PostgresOptions::default() }, &tasks).await;
    let agent = TestAgent::watch(&server).await;
    let sessions =
        |encryption: &str| series("pharos_postgres_sessions_encrypted", server.port(), &[("encryption", encryption), ("origin", "local")]);
    agent.wait_series(&sessions("tls"), |count| count == 0.0).await;
    agent.wait_series(&sessions("none"), |count| count == 0.0).await;
    let plain = session(&server, "postgres").await;
    agent.wait_series(&sessions("none"), |count| count == 1.0).await;
    // Its own sessions do not count, those of another agent do.
    let config = postgres_config("app", &server) + "tls = { mode = \"require\" }\n[agent]\nname = \"other\"\ndata_dir = \"data\"\n";
    let other = TestAgent::start_with(&config, Vec::new()).await;
    agent.wait_series(&sessions("tls"), |count| count >= 1.0).await;
    let version: String = plain.query_value("SELECT version FROM pg_stat_ssl WHERE ssl LIMIT 1").await.unwrap();
    let row = wait_row(&agent, &server, "tls_sessions", &[("version", &version)]).await;
    assert!(row["cipher"].contains("AES") || row["cipher"].contains("CHACHA"), "{row:?}");
    other.stop().await;
    agent.wait_series(&sessions("tls"), |count| count == 0.0).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn sizes_are_those_of_the_server_and_a_datname_that_is_dropped_takes_none_along() {
    let (tasks, _stop) = runtime_tasks();
    let server = newest(&[("autovacuum", "off")], &tasks).await;
    server.create_database("shop").await.unwrap();
    let work = session(&server, "postgres").await;
    work.run("REVOKE CONNECT ON DATABASE shop FROM PUBLIC").await.unwrap();
    let agent = TestAgent::watch(&server).await;
    let of = |metric: &str, labels: &[(&str, &str)]| series(metric, server.port(), labels);
    let truth: f64 = work.query_value("SELECT pg_database_size('shop')::float8").await.unwrap();
    agent.wait_series(&of("pharos_postgres_datname_size_bytes", &[("datname", "shop")]), |bytes| bytes == truth).await;
    let all: f64 = work.query_value("SELECT sum(pg_database_size(oid))::float8 FROM pg_database").await.unwrap();
    let default = of("pharos_postgres_tablespace_size_bytes", &[("tablespace", "pg_default")]);
    agent.wait_series(&default, |bytes| (bytes - all).abs() < 0.01 * all).await;
    // With a second tablespace, a datname may be in both, so the server computes its size.
    work.run("SET allow_in_place_tablespaces = on").await.unwrap();
    work.run("CREATE TABLESPACE extra LOCATION ''").await.unwrap();
    work.run("CREATE TABLE elsewhere TABLESPACE extra AS SELECT repeat('x', 1000) FROM generate_series(1, 50000)").await.unwrap();
    let extra: f64 = work.query_value("SELECT pg_tablespace_size('extra')::float8").await.unwrap();
    agent.wait_series(&of("pharos_postgres_tablespace_size_bytes", &[("tablespace", "extra")]), |bytes| bytes == extra).await;
    agent.wait_series(&default, |bytes| (bytes - all).abs() < 0.01 * all).await;
    agent.wait_series(&of("pharos_postgres_wal_directory_size_bytes", &[]), |bytes| bytes >= 16.0 * 1024.0 * 1024.0).await;
    let runs = format!("pharos_collect_runs_total{{server=\"{}\",collector=\"sizes\"}}", server_id(server.port()));
    let before = agent.wait_series(&runs, |_| true).await;
    // Datnames are created and dropped while the collector reads them.
    let enough = async {
        agent.wait_series(&runs, |count| count >= before + 5.0).await;
        true
    };
    let churn = async {
        loop {
            work.run("CREATE DATABASE passing").await.unwrap();
            work.run("DROP DATABASE passing WITH (FORCE)").await.unwrap();
        }
    };
    tokio::select! {
        _ = enough => {}
        () = churn => {}
    }
    let metrics = agent.text("/metrics").await;
    let failures: Vec<&str> =
        metrics.lines().filter(|line| line.starts_with("pharos_collect_failures_total{") && line.contains("collector=\"sizes\"")).collect();
    assert!(failures.is_empty(), "{failures:?}");
}

fn epoch(agent: &TestAgent, server: &PostgresServer, part: &str) -> Option<u64> {
    Some(latest(agent, server.port())?.snapshot.parts.get(part)?.reading.as_ref()?.epoch)
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn statistics_that_are_reset_begin_a_new_epoch_and_a_new_datname_does_not() {
    let (tasks, _stop) = runtime_tasks();
    let server = newest(&[], &tasks).await;
    server.create_database("shop").await.unwrap();
    let [work, shop] = [session(&server, "postgres").await, session(&server, "shop").await];
    let agent = TestAgent::watch(&server).await;
    for part in ["wal", "io", "database"] {
        agent.wait_metrics(|_| epoch(&agent, &server, part).is_some()).await;
    }
    let shared = |target: &str| format!("SELECT pg_stat_reset_shared('{target}')");
    for (part, session, reset) in [
        ("wal", &work, shared("bgwriter")),
        ("wal", &work, shared("checkpointer")),
        ("wal", &work, shared("wal")),
        ("wal", &work, shared("archiver")),
        ("wal", &work, shared("io")),
        ("io", &work, shared("io")),
        ("io", &work, shared("slru")),
        ("io", &work, "SELECT pg_stat_reset_slru('notify')".to_owned()),
        ("database", &shop, "SELECT pg_stat_reset()".to_owned()),
        ("database", &work, "SELECT pg_stat_reset()".to_owned()),
    ] {
        let before = epoch(&agent, &server, part);
        session.run(&reset).await.unwrap();
        agent.wait_metrics(|_| epoch(&agent, &server, part) != before).await;
    }
    let before = epoch(&agent, &server, "database");
    server.create_database("fresh").await.unwrap();
    let fresh = series("pharos_postgres_sessions_total", server.port(), &[("datname", "fresh")]);
    drop(session(&server, "fresh").await);
    agent.wait_series(&fresh, |sessions| sessions > 0.0).await;
    assert_eq!(epoch(&agent, &server, "database"), before, "what is new was not reset");
}

/// Datnames without any connection: their rows are in the catalogue, but their files do not exist.
const TENANTS: &str = "
    SET allow_system_table_mods = on;
    INSERT INTO pg_database
    SELECT (jsonb_populate_record(d, jsonb_build_object('oid', 900000 + n, 'datname', 'tenant ' || n))).*
    FROM pg_database d, generate_series(1, 110) n
    WHERE d.datname = 'postgres'";

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_hundred_datnames_have_series_and_the_rest_is_other() {
    let (tasks, _stop) = runtime_tasks();
    let server = newest(&[("autovacuum", "off")], &tasks).await;
    let work = session(&server, "postgres").await;
    work.run(TENANTS).await.unwrap();
    work.run("CREATE DATABASE shop").await.unwrap();
    let agent = TestAgent::watch(&server).await;
    let of = |metric: &str, datname: &str| series(metric, server.port(), &[("datname", datname)]);
    let sessions = agent.wait_series(&of("pharos_postgres_sessions_total", "other"), |_| true).await;
    agent.wait_series(&of("pharos_postgres_xid_age_transactions", "other"), |age| age > 0.0).await;
    let metrics = agent.text("/metrics").await;
    let count = |metric: &str| metrics.lines().filter(|line| line.starts_with(&format!("{metric}{{"))).count();
    // postgres, shop, template1 and the tenants.
    assert_eq!((count("pharos_postgres_backends"), count("pharos_postgres_sessions_total")), (101, 101));
    assert!(metrics.contains(&of("pharos_postgres_commits_total", "postgres")), "the busiest is one of them");
    assert!(!metrics.contains(&of("pharos_postgres_stats_reset_timestamp_seconds", "other")), "one time for many datnames means nothing");
    // A datname that becomes busy soon has a series of its own.
    for _ in 0..3 {
        drop(session(&server, "shop").await);
    }
    agent.wait_series(&of("pharos_postgres_sessions_total", "shop"), |sessions| sessions >= 3.0).await;
    assert!(agent.series(&of("pharos_postgres_sessions_total", "other")).await >= Some(sessions));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_setting_that_was_changed_while_no_agent_ran_is_reported_afterwards_and_stored() {
    let (tasks, _stop) = runtime_tasks();
    let server = newest(&[], &tasks).await;
    let work = session(&server, "postgres").await;
    // Long enough for plugins, which are compiled by then, to see the first reading.
    let config = format!("[collect]\nbudget = 1.0\n[collect.interval]\nsettings = \"5s\"\n{}", postgres_config("app", &server));
    let agent = TestAgent::start(&config).await;
    let work_mem = series("pharos_postgres_setting", server.port(), &[("setting", "work_mem")]);
    agent.wait_series(&work_mem, |bytes| bytes == 4.0 * 1024.0 * 1024.0).await;
    agent.wait_plugin("postgres-essentials", |plugin| plugin["state"] == "serving").await;
    let folder = agent.stop().await;
    for change in ["work_mem = '8MB'", "cpu_tuple_cost = 0.02", "cursor_tuple_fraction = 0.2"] {
        work.run(&format!("ALTER SYSTEM SET {change}")).await.unwrap();
    }
    work.run("SELECT pg_reload_conf()").await.unwrap();
    let told = [("setting", "work_mem"), ("before", "4096"), ("after", "8192")];
    let agent = TestAgent::start_in(folder, &config, shipped()).await;
    wait_row(&agent, &server, "setting_changes", &told).await;
    // As many as there were, however often the server is judged meanwhile.
    let is_found = |alerts: &Value| {
        item(alerts, "rule", "settings-changed")
            .is_some_and(|alert| alert["detail"].as_str().is_some_and(|detail| detail.contains(" 3 settings ")))
    };
    agent.wait_json("/api/database/alerts", is_found).await;
    let folder = agent.stop().await;
    // The next agent has the change as well, and does not report it as new.
    let agent = TestAgent::start_in(folder, &config, shipped()).await;
    wait_row(&agent, &server, "setting_changes", &told).await;
    let runs = format!("pharos_collect_runs_total{{server=\"{}\",collector=\"settings\"}}", server_id(server.port()));
    agent.wait_series(&runs, |runs| runs >= 2.0).await;
    assert_eq!(agent.series(&series("pharos_postgres_setting_changes_total", server.port(), &[])).await, Some(0.0));
    let folder = agent.stop().await;
    let events = open(&folder.path().join("data")).await.events(100).await.unwrap();
    let told: Vec<_> = events.iter().filter(|event| event.kind() == "setting" && event.stored_detail()["setting"] == "work_mem").collect();
    assert_eq!(told.len(), 1, "{told:?}");
    assert_eq!((&told[0].subject, &told[0].stored_detail()["after"]), (&server_id(server.port()), &"8192".into()));
}
