//! No fact that servers of a database share is reported once for each of them, or ends with a failover. No configured behaviour of a server
//! is reported as its trouble.
//!
//! Covers alerts of a database that its primary and standbys share.

use pharos::demo::postgres::{MONITORING_ROLE, PostgresServer, SUPERUSER, ShutdownMode};
use pharos::demo::session::Session;
use serde_json::Value;

use crate::fixture::{TestAgent, eventually, postgres, postgres_config, runtime_tasks, server_id, shipped};

async fn session(server: &PostgresServer, datname: &str) -> Session {
    server.connect(SUPERUSER, datname).await.expect("PostgreSQL answers")
}

fn with_standby(settings: &str, primary: &PostgresServer, standby: &PostgresServer) -> String {
    format!("{settings}{}replicas = [\"{}\"]\n", postgres_config("app", primary), standby.url(MONITORING_ROLE, "postgres"))
}

/// An agent with one judge, who is there: on a busy host judges come a while after the facts.
async fn judged(config: &str, plugin: &str) -> TestAgent {
    let one = shipped().into_iter().filter(|(id, _)| id == plugin).collect();
    let agent = TestAgent::start_with(config, one).await;
    agent.wait_plugin(plugin, |plugin| plugin["state"] == "serving").await;
    agent
}

/// Every open alert of a rule, once one of them is as wanted.
async fn alerts(agent: &TestAgent, rule: &str, is_wanted: impl Fn(&Value) -> bool) -> Vec<Value> {
    let of_rule = |answer: &Value| {
        let items = answer["items"].as_array().cloned().unwrap_or_default();
        items.into_iter().filter(|alert| alert["rule"] == rule).collect::<Vec<_>>()
    };
    let answer = agent.wait_json("/api/alerts", |answer| of_rule(answer).iter().any(&is_wanted)).await;
    of_rule(&answer)
}

fn fires(alert: &Value) -> bool {
    alert["state"] == "firing"
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn facts_that_a_primary_and_its_standby_share_are_reported_once_and_survive_a_failover() {
    let (tasks, _stop) = runtime_tasks();
    let mut primary = postgres(&tasks).await;
    let truth = session(&primary, "postgres").await;
    truth
        .run("CREATE TABLE ticket (id smallserial); SELECT setval('ticket_id_seq', 32000); GRANT SELECT ON ticket_id_seq TO pharos")
        .await
        .unwrap();
    let standby = primary.start_standby("second", Vec::new(), &tasks).await.unwrap();
    let replayed = session(&standby, "postgres").await;
    eventually(&replayed, "SELECT EXISTS (SELECT FROM pg_class WHERE relname = 'ticket_id_seq')").await;
    let agent = judged(&with_standby("", &primary, &standby), "postgres-maintenance").await;

    // Both servers were visited before anything is counted.
    for server in [&primary, &standby] {
        agent
            .wait_series(&crate::fixture::series("pharos_postgres_datname_visited", server.port(), &[("datname", "postgres")]), |one| {
                one == 1.0
            })
            .await;
    }
    let told = alerts(&agent, "sequence-exhausted", fires).await;
    assert_eq!(told.len(), 1, "once, for the database: {told:#?}");
    assert_eq!(told[0]["subject"]["kind"], "database", "{told:#?}");

    primary.stop(ShutdownMode::Immediate).await.unwrap();
    agent.wait_series("pharos_database_primaries{database=\"app\"}", |primaries| primaries == 0.0).await;
    replayed.run("SELECT pg_promote()").await.unwrap();
    agent.wait_series("pharos_database_primaries{database=\"app\"}", |primaries| primaries == 1.0).await;
    // The new primary is judged: what is read from it now is another value of the same incident.
    replayed.run("SELECT setval('ticket_id_seq', 32700)").await.unwrap();
    let after = alerts(&agent, "sequence-exhausted", |alert| fires(alert) && alert["value"].as_f64() > Some(0.99)).await;
    assert_eq!(after.len(), 1, "{after:#?}");
    assert_eq!((&after[0]["fingerprint"], &after[0]["incident"]), (&told[0]["fingerprint"], &told[0]["incident"]));
    agent.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_standby_that_is_meant_to_be_late_is_no_lag() {
    let (tasks, _stop) = runtime_tasks();
    let primary = postgres(&tasks).await;
    let delay = vec![("recovery_min_apply_delay".to_owned(), "1h".to_owned())];
    let standby = primary.start_standby("late", delay, &tasks).await.unwrap();
    let settings = r#"
        [plugin.postgres-replication.settings.checks]
        member-lag = { warning = 1, critical = 1000, clear = 0.5, for = "0s" }
        replication-lag = { warning = 1, critical = 1000, clear = 0.5, for = "0s" }
        replication-lag-bytes = { warning = 1, critical = 1e12, clear = 0.5, for = "0s" }
    "#;
    let agent = judged(&with_standby(settings, &primary, &standby), "postgres-replication").await;
    let delay = crate::fixture::series("pharos_postgres_standby_apply_delay_seconds", standby.port(), &[]);
    agent.wait_series(&delay, |seconds| seconds == 3_600.0).await;
    session(&primary, "postgres").await.run("CREATE TABLE late AS SELECT g FROM generate_series(1, 1000) g").await.unwrap();
    let lag = format!("pharos_database_member_lag_seconds{{database=\"app\",member=\"{}\"}}", server_id(standby.port()));
    agent.wait_series(&lag, |seconds| seconds >= 2.0).await;
    // Judged since: the lag of two seconds was in a snapshot before this one.
    agent.wait_series(&lag, |seconds| seconds >= 4.0).await;
    let open = agent.json("/api/alerts").await;
    // The first snapshots were taken before the standby had replayed its backup.
    let is_lag = |alert: &&Value| alert["state"] == "firing" && alert["rule"].as_str().is_some_and(|rule| rule.contains("lag"));
    let lags: Vec<&Value> = open["items"].as_array().unwrap().iter().filter(is_lag).collect();
    assert!(lags.is_empty(), "{lags:#?}");
    agent.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_slot_that_a_manager_advances_on_a_standby_has_a_consumer() {
    let (tasks, _stop) = runtime_tasks();
    let primary = postgres(&tasks).await;
    let standby = primary.start_standby("second", Vec::new(), &tasks).await.unwrap();
    let (writes, manager) = (session(&primary, "postgres").await, session(&standby, "postgres").await);
    manager
        .run("SELECT pg_create_physical_replication_slot('node3', true), pg_create_physical_replication_slot('gone', true)")
        .await
        .unwrap();
    let settings = "[plugin.postgres-replication.settings.checks]\nslot-inactive = { for = \"0s\" }\n";
    let agent = judged(&with_standby(settings, &primary, &standby), "postgres-replication").await;
    let advance = async {
        loop {
            writes.run("SELECT pg_logical_emit_message(false, 'x', repeat('y', 10000))").await.unwrap();
            manager.run("SELECT pg_replication_slot_advance('node3', pg_last_wal_replay_lsn())").await.unwrap();
            tokio::time::sleep(std::time::Duration::from_millis(100)).await;
        }
    };
    let slot = |alert: &Value, slot: &str| alert["labels"]["slot"] == slot;
    let watch = async {
        alerts(&agent, "slot-inactive", |alert| fires(alert) && slot(alert, "gone")).await;
        // Before it was seen moving once, it may look like the other one.
        let only_gone = |answer: &Value| {
            let items = answer["items"].as_array().unwrap();
            let inactive = || items.iter().filter(|alert| alert["rule"] == "slot-inactive");
            inactive().any(|alert| slot(alert, "gone")) && !inactive().any(|alert| slot(alert, "node3"))
        };
        agent.wait_json("/api/alerts", only_gone).await;
    };
    tokio::select! { () = advance => {}, () = watch => {} }
    agent.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_limit_of_the_agents_own_role_is_advice_and_never_critical() {
    let (tasks, _stop) = runtime_tasks();
    let server = postgres(&tasks).await;
    session(&server, "postgres").await.run("ALTER ROLE pharos CONNECTION LIMIT 1").await.unwrap();
    let settings = r#"
        [plugin.postgres-essentials.settings.checks]
        not-accepting-connections = { for = "0s" }
        role-connections-used = { for = "0s" }
        own-role-limited = { for = "0s" }
        fsync-off = { enabled = false }
        checksums-off = { enabled = false }
    "#;
    let agent = judged(&format!("{settings}{}", postgres_config("app", &server)), "postgres-essentials").await;
    let advice = alerts(&agent, "own-role-limited", fires).await;
    assert!(advice[0]["fix"].as_str().unwrap().contains("ALTER ROLE \"pharos\" CONNECTION LIMIT 3"), "{advice:#?}");
    let refused = alerts(&agent, "not-accepting-connections", |alert| fires(alert) && alert["severity"] == "info").await;
    assert!(refused[0]["title"].as_str().unwrap().contains("Pharos is refused"), "{refused:#?}");
    assert!(!refused[0]["fix"].as_str().unwrap().contains("terminate"), "{refused:#?}");
    let open = agent.json("/api/alerts").await;
    let critical: Vec<&Value> = open["items"].as_array().unwrap().iter().filter(|alert| alert["severity"] == "critical").collect();
    assert!(critical.is_empty(), "{critical:#?}");
    agent.stop().await;
}
