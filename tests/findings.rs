//! No trouble of a real server is overlooked by the shipped plugins, or blamed on something else.
//!
//! Troubles of real servers, brought about, and what the shipped plugins make of them: the right finding, its cause, and its end.

use pharos::demo::postgres::{MONITORING_ROLE, PostgresOptions, PostgresServer, SUPERUSER, ShutdownMode};
use pharos::demo::session::Session;
use serde_json::Value;
use tokio_util::task::TaskTracker;

use crate::fixture::{TestAgent, eventually, postgres, postgres_config, postgres_with, runtime_tasks, server_id};

/// Thresholds that a test reaches at once; everything else is as shipped.
const SETTINGS: &str = r#"
    [plugin.postgres-essentials.settings.checks]
    lock-pile-up = { for = "0s" }
    [plugin.postgres-maintenance.settings.checks]
    vacuum-held-back = { warning = 100, critical = 1000000000, clear = 50, for = "0s" }
    [plugin.postgres-replication.settings.checks]
    slot-losing-wal = { for = "0s" }
    slot-soon-losing-wal = { enabled = false }
    split-brain = { for = "0s" }
"#;

async fn session(server: &PostgresServer) -> Session {
    server.connect(SUPERUSER, "postgres").await.expect("PostgreSQL answers")
}

/// Waits until an alert of a rule fires with this text in its title, detail, cause or fix.
async fn fires(agent: &TestAgent, rule: &str, with: &str) -> Value {
    let is_it = |alert: &Value| {
        let says = |key: &str| alert[key].as_str().is_some_and(|text| text.contains(with));
        alert["rule"] == rule && alert["state"] == "firing" && (["title", "cause", "fix", "detail"].into_iter().any(says))
    };
    let alerts = agent.wait_json("/api/alerts", |alerts| alerts["items"].as_array().is_some_and(|items| items.iter().any(is_it))).await;
    alerts["items"].as_array().unwrap().iter().find(|alert| is_it(alert)).unwrap().clone()
}

/// Waits until no alert of a rule is open.
async fn clears(agent: &TestAgent, rule: &str) {
    let open = |alert: &Value| alert["rule"] == rule && alert["state"] != "recovering";
    agent.wait_json("/api/alerts", |alerts| alerts["items"].as_array().is_some_and(|items| !items.iter().any(open))).await;
}

fn wait_in(session: Session, sql: &'static str, tasks: &TaskTracker) {
    tasks.spawn(async move { session.run_within(crate::fixture::PATIENCE, sql).await });
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_lock_pile_up_names_the_session_to_end() {
    let (tasks, _stop) = runtime_tasks();
    let server = postgres(&tasks).await;
    let idle = session(&server).await;
    idle.run("CREATE TABLE accounts (id int)").await.unwrap();
    let root: i32 = idle.query_value("SELECT pg_backend_pid()").await.unwrap();
    let agent = TestAgent::start(&format!("{SETTINGS}{}", postgres_config("app", &server))).await;
    idle.run("BEGIN; SELECT count(*) FROM accounts").await.unwrap();
    let truth = session(&server).await;
    wait_in(session(&server).await, "ALTER TABLE accounts ADD COLUMN cents int", &tasks);
    eventually(&truth, "SELECT count(*) = 1 FROM pg_locks WHERE NOT granted").await;
    for _ in 0..4 {
        wait_in(session(&server).await, "SELECT count(*) FROM accounts", &tasks);
    }
    let alert = fires(&agent, "lock-pile-up", &root.to_string()).await;
    assert_eq!(alert["severity"], "warning", "{alert:#}");
    idle.run("ROLLBACK").await.unwrap();
    clears(&agent, "lock-pile-up").await;
    agent.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_prepared_transaction_that_holds_the_horizon_is_named() {
    let (tasks, _stop) = runtime_tasks();
    let settings = vec![("max_prepared_transactions".to_owned(), "5".to_owned())];
    let server = postgres_with(PostgresOptions { settings, ..PostgresOptions::default() }, &tasks).await;
    let truth = session(&server).await;
    truth.run("CREATE TABLE orders AS SELECT 1 AS id").await.unwrap();
    let transfer = session(&server).await;
    transfer.run("BEGIN; UPDATE orders SET id = 2").await.unwrap();
    transfer.run("PREPARE TRANSACTION 'transfer-7'").await.unwrap();
    for _ in 0..300 {
        truth.run("SELECT txid_current()").await.unwrap();
    }
    let agent = TestAgent::start(&format!("{SETTINGS}{}", postgres_config("app", &server))).await;
    let alert = fires(&agent, "vacuum-held-back", "transfer-7").await;
    assert_eq!(alert["labels"]["holder"], "prepared", "{alert:#}");
    assert!(alert["fix"].as_str().unwrap().contains("ROLLBACK PREPARED"), "{alert:#}");
    truth.run("ROLLBACK PREPARED 'transfer-7'").await.unwrap();
    clears(&agent, "vacuum-held-back").await;
    agent.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_slot_about_to_lose_its_wal_is_named_until_it_is_dropped() {
    let (tasks, _stop) = runtime_tasks();
    let settings = vec![("max_slot_wal_keep_size".to_owned(), "16MB".to_owned()), ("wal_keep_size".to_owned(), "0".to_owned())];
    let server = postgres_with(PostgresOptions { settings, ..PostgresOptions::default() }, &tasks).await;
    let truth = session(&server).await;
    truth.run("SELECT pg_create_physical_replication_slot('forgotten', true)").await.unwrap();
    let agent = TestAgent::start(&format!("{SETTINGS}{}", postgres_config("app", &server))).await;
    truth.run("CREATE TABLE filler (a text)").await.unwrap();
    for _ in 0..4 {
        truth.run("INSERT INTO filler SELECT repeat('x', 1000) FROM generate_series(1, 8000)").await.unwrap();
        truth.run("SELECT pg_switch_wal()").await.unwrap();
    }
    let alert = fires(&agent, "slot-losing-wal", "forgotten").await;
    assert_eq!(alert["labels"]["slot"], "forgotten", "{alert:#}");
    truth.run("SELECT pg_drop_replication_slot('forgotten')").await.unwrap();
    clears(&agent, "slot-losing-wal").await;
    agent.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn two_primaries_are_a_split_brain_with_both_addresses_until_one_is_gone() {
    let (tasks, _stop) = runtime_tasks();
    let mut primary = postgres(&tasks).await;
    let standby = primary.start_standby("second", Vec::new(), &tasks).await.unwrap();
    let config = format!("{SETTINGS}{}replicas = [\"{}\"]\n", postgres_config("app", &primary), standby.url(MONITORING_ROLE, "postgres"));
    let agent = TestAgent::start(&config).await;
    let primaries = "pharos_database_primaries{database=\"app\"}";
    agent.wait_series(primaries, |primaries| primaries == 1.0).await;
    let promoted = session(&standby).await;
    promoted.run("SELECT pg_promote()").await.unwrap();
    let alert = fires(&agent, "split-brain", &server_id(standby.port())).await;
    assert_eq!((&alert["severity"], &alert["subject"]["kind"]), (&"critical".into(), &"database".into()), "{alert:#}");
    assert!(alert.to_string().contains(&server_id(primary.port())), "{alert:#}");
    primary.stop(ShutdownMode::Fast).await.unwrap();
    clears(&agent, "split-brain").await;
    agent.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_failover_is_reported_first_as_a_loss_and_then_with_the_new_primary() {
    let (tasks, _stop) = runtime_tasks();
    let mut primary = postgres(&tasks).await;
    let standby = primary.start_standby("second", Vec::new(), &tasks).await.unwrap();
    let settings = "[plugin.postgres-replication.settings.checks]\nno-primary = { for = \"0s\" }\n";
    let config = format!("{settings}{}replicas = [\"{}\"]\n", postgres_config("app", &primary), standby.url(MONITORING_ROLE, "postgres"));
    let agent = TestAgent::start(&config).await;
    agent.wait_series("pharos_database_primaries{database=\"app\"}", |primaries| primaries == 1.0).await;
    agent.wait_plugin("postgres-replication", |plugin| plugin["state"] == "serving").await;
    primary.stop(ShutdownMode::Immediate).await.unwrap();
    fires(&agent, "no-primary", "").await;
    session(&standby).await.run("SELECT pg_promote()").await.unwrap();
    // Seen in one snapshot, then it recovers: both are it.
    let title = format!("{} is the primary now", server_id(standby.port()));
    let is_it = |alert: &Value| alert["rule"] == "primary-changed" && alert["title"] == title.as_str();
    let alerts = agent.wait_json("/api/alerts", |alerts| alerts["items"].as_array().is_some_and(|items| items.iter().any(is_it))).await;
    let alert = alerts["items"].as_array().unwrap().iter().find(|alert| is_it(alert)).unwrap();
    assert_eq!(alert["value"], 1.0, "it changed once: {alert:#}");
    clears(&agent, "no-primary").await;
    // Told for an hour, not for ever.
    clears(&agent, "primary-changed").await;
    agent.stop().await;
}
