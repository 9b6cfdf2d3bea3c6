//! No cure ends a later session with the same number.
//!
//! Sessions that hold what others need: the one that is meant is ended, and no later one with its number.

use pharos::demo::postgres::PostgresOptions;

use super::{cure, ends, fires, session, statements, watch};
use crate::fixture::{PATIENCE, eventually, postgres_with, runtime_tasks};

const SETTINGS: &str = r#"
    [plugin.postgres-essentials.settings.checks]
    idle-in-transaction = { warning = 1, critical = 1000, clear = 0.5 }
    long-transaction = { warning = 1, critical = 1000, clear = 0.5 }
    lock-wait = { warning = 0.5, critical = 1000, clear = 0.2 }
    prepared-transaction-forgotten = { warning = 1, critical = 1000, clear = 0.5 }
    role-connections-used = { for = "0s", keep_firing_for = "0s" }
    datname-connections-used = { for = "0s", keep_firing_for = "0s" }
    [plugin.postgres-maintenance.settings.checks]
    relation-locked = { for = "0s" }
    vacuum-held-back = { warning = 100, critical = 1000000000, clear = 50, for = "0s" }
"#;

/// Any use of it fails, which a superuser would not notice of a function that does more.
const TRAP: &str = "CREATE SCHEMA trap;
    CREATE FUNCTION trap.pg_terminate_backend(int, bigint DEFAULT 0) RETURNS bool LANGUAGE plpgsql AS 'BEGIN RAISE EXCEPTION ''trapped''; END';
    CREATE FUNCTION trap.equal(int, int) RETURNS bool LANGUAGE plpgsql AS 'BEGIN RAISE EXCEPTION ''trapped''; END';
    CREATE OPERATOR trap.= (LEFTARG = int, RIGHTARG = int, FUNCTION = trap.equal);
    SET search_path = trap, pg_catalog";

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_holder_of_a_lock_a_snapshot_or_a_transaction_is_ended_by_name() {
    let (tasks, _stop) = runtime_tasks();
    let settings = vec![("max_prepared_transactions".to_owned(), "5".to_owned())];
    let server = postgres_with(PostgresOptions { settings, ..PostgresOptions::default() }, &tasks).await;
    let setup = session(&server).await;
    setup.run("CREATE TABLE orders (id int PRIMARY KEY, note text); CREATE ROLE \"Web shop\" LOGIN SUPERUSER").await.unwrap();
    let agent = watch(&server, SETTINGS, &["postgres-essentials", "postgres-maintenance"]).await;
    let open = || async { server.connect("Web shop", "postgres").await.unwrap() };

    // Locks that only concern the session's own transaction block no other session; the lock of an index counts for its table.
    let idle = open().await;
    idle.run("BEGIN; CREATE TEMP TABLE work (id int); CREATE TABLE fresh (id int); TRUNCATE orders").await.unwrap();
    let pid: i32 = idle.query_value("SELECT pg_backend_pid()").await.unwrap();
    let waiter = session(&server).await;
    let waits = tasks.spawn(async move { waiter.run_within(PATIENCE, "SELECT count(*) FROM orders").await });
    let locked = fires(&agent, "relation-locked", &[("relation", "orders")], &format!("process {pid}")).await;
    let alerts = agent.json("/api/alerts").await;
    let all: Vec<&str> = super::items(&alerts)
        .iter()
        .filter(|alert| alert["rule"] == "relation-locked")
        .filter_map(|alert| alert["labels"]["relation"].as_str())
        .collect();
    assert_eq!(all, ["orders"], "{alerts:#}");
    let waited = fires(&agent, "lock-wait", &[], &format!("pid = {pid} AND backend_start = ")).await;
    let idles = fires(&agent, "idle-in-transaction", &[], &format!("process {pid} (Web shop)")).await;
    let long = fires(&agent, "long-transaction", &[], &format!("pid = {pid} AND backend_start = ")).await;
    for alert in [&locked, &waited, &idles, &long] {
        let statements = statements(alert);
        assert!(statements[2].starts_with("SELECT pg_terminate_backend"), "to cancel does nothing to it: {alert:#}");
        assert!(!alert["fix"].as_str().unwrap().contains("ALTER ROLE app"), "{alert:#}");
    }
    // Of another session with its number nothing is ended.
    let other = statements(&locked)[2].replace("+00'", "+01'");
    setup.run(&other).await.unwrap();
    assert!(idle.query_value::<bool>("SELECT true").await.unwrap());
    // An owner of the datname put functions and operators of their own before PostgreSQL's.
    let lured = session(&server).await;
    lured.run(TRAP).await.unwrap();
    cure(&agent, &lured, &locked, &["BEGIN", "SET LOCAL search_path", "SELECT pg_terminate_backend", "COMMIT"]).await;
    assert!(
        lured.run("SET search_path = trap, pg_catalog; SELECT pid FROM pg_stat_activity WHERE pid = 1").await.is_err(),
        "the trap is none"
    );
    waits.await.unwrap().unwrap();
    cure(&agent, &setup, &idles, &["ALTER ROLE \"Web shop\" SET idle_in_transaction_session_timeout"]).await;
    ends(&agent, "lock-wait", &[]).await;
    ends(&agent, "long-transaction", &[]).await;

    // Each of the other three by its own fix.
    for (rule, chosen) in [("lock-wait", "SELECT pg_terminate_backend"), ("idle-in-transaction", "SELECT pg_terminate_backend")] {
        let idle = session(&server).await;
        idle.run("BEGIN; LOCK TABLE orders").await.unwrap();
        let pid: i32 = idle.query_value("SELECT pg_backend_pid()").await.unwrap();
        let waiter = session(&server).await;
        let waits = tasks.spawn(async move { waiter.run_within(PATIENCE, "SELECT count(*) FROM orders").await });
        let alert = fires(&agent, rule, &[], &format!("pid = {pid} AND")).await;
        cure(&agent, &setup, &alert, &[chosen]).await;
        waits.await.unwrap().unwrap();
    }
    let busy = session(&server).await;
    let pid: i32 = busy.query_value("SELECT pg_backend_pid()").await.unwrap();
    let runs = tasks.spawn(async move { busy.run_within(PATIENCE, "BEGIN; SELECT pg_sleep(600)").await });
    let alert = fires(&agent, "long-transaction", &[], &format!("pid = {pid} AND")).await;
    cure(&agent, &setup, &alert, &["SELECT pg_terminate_backend", "ALTER ROLE"]).await;
    runs.await.unwrap().unwrap_err();
    setup.run("ALTER ROLE postgres RESET statement_timeout").await.unwrap();

    let prepared = session(&server).await;
    prepared.run("BEGIN; LOCK TABLE orders").await.unwrap();
    prepared.run("PREPARE TRANSACTION 'it''s mine'").await.unwrap();
    let locked = fires(&agent, "relation-locked", &[("relation", "orders")], "it's mine").await;
    fires(&agent, "prepared-transaction-forgotten", &[], "ROLLBACK PREPARED 'it''s mine';").await;
    cure(&agent, &setup, &locked, &["ROLLBACK PREPARED"]).await;
    ends(&agent, "prepared-transaction-forgotten", &[]).await;

    let holder = session(&server).await;
    holder.run("BEGIN ISOLATION LEVEL REPEATABLE READ; SELECT count(*) FROM orders").await.unwrap();
    let pid: i32 = holder.query_value("SELECT pg_backend_pid()").await.unwrap();
    setup.run("DO $$ BEGIN FOR i IN 1..300 LOOP PERFORM pg_current_xact_id(); COMMIT; END LOOP; END $$").await.unwrap();
    let alert = fires(&agent, "vacuum-held-back", &[("holder", "backend")], &format!("pid = {pid} AND backend_start = ")).await;
    cure(&agent, &setup, &alert, &["SELECT pg_terminate_backend"]).await;
    agent.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_limit_of_connections_is_raised_and_never_lowered() {
    let (tasks, _stop) = runtime_tasks();
    let server = postgres_with(PostgresOptions::default(), &tasks).await;
    server.create_database("Small one").await.unwrap();
    let setup = session(&server).await;
    setup
        .run("CREATE ROLE batch LOGIN CONNECTION LIMIT 3; ALTER DATABASE \"Small one\" CONNECTION LIMIT 5; GRANT CONNECT ON DATABASE \"Small one\" TO batch")
        .await
        .unwrap();
    let mut open = Vec::new();
    for _ in 0..3 {
        open.push(server.connect("batch", "Small one").await.unwrap());
    }
    eventually(&setup, "SELECT count(*) = 3 FROM pg_stat_activity WHERE usename = 'batch'").await;
    let agent = watch(&server, SETTINGS, &["postgres-essentials", "postgres-maintenance"]).await;
    let alert = fires(&agent, "role-connections-used", &[("user", "batch")], "CONNECTION LIMIT 5").await;
    cure(&agent, &setup, &alert, &["ALTER ROLE"]).await;
    open.push(server.connect("batch", "Small one").await.unwrap());
    let alert = fires(&agent, "datname-connections-used", &[("datname", "Small one")], "CONNECTION LIMIT 8").await;
    cure(&agent, &setup, &alert, &["ALTER DATABASE"]).await;
    agent.stop().await;
}
