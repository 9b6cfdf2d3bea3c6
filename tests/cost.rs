//! No server pays more for monitoring than its budget. Every statement of the agent names its collector, and none resets statistics.
//!
//! Covers the budget of monitoring and its report.

use pharos::demo::postgres::{MONITORING_ROLE, SUPERUSER};

use crate::fixture::{TestAgent, eventually, item, part_name, postgres, postgres_config, runtime_tasks, server_id};

/// A budget that reading everything ten times a second exceeds on any machine.
const POOR: &str = r#"
    [collect]
    budget = 0.002
    [collect.interval]
    sample = "100ms"
    server = "100ms"
    activity = "100ms"
    database = "100ms"
    statements = "100ms"
    locks = "100ms"
    replication = "100ms"
"#;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn collectors_that_cost_too_much_run_less_often_and_report_it() {
    let (tasks, _stop) = runtime_tasks();
    let server = postgres(&tasks).await;
    let agent = TestAgent::start_with(&format!("{POOR}{}", postgres_config("app", &server)), Vec::new()).await;
    let is_slowed = |status: &serde_json::Value| {
        let part = item(status, "name", &part_name(&server));
        part.is_some_and(|part| part["cost"]["collectors"]["statements"]["slowed"] == true)
    };
    let status = agent.wait_json("/api/services/status", is_slowed).await;
    let cost = &item(&status, "name", &part_name(&server)).unwrap()["cost"];
    assert_eq!(cost["budget_ratio"], 0.002);
    let statements = &cost["collectors"]["statements"];
    assert!(statements["interval_seconds"].as_f64().unwrap() > 0.12, "{cost:#}");
    assert!(statements["statements"].as_f64().unwrap() >= 2.0 && statements["rows"].as_f64().unwrap() >= 2.0, "{cost:#}");
    // The collectors that show trouble first are hardly slowed, even if they cost too much.
    assert!(cost["collectors"]["activity"]["interval_seconds"].as_f64().unwrap() <= 0.2, "{cost:#}");
    let ratio = format!("pharos_collect_cost_ratio{{server=\"{}\"}}", server_id(server.port()));
    agent.wait_series(&ratio, |ratio| ratio > 0.0).await;
    let slowed = format!("pharos_collect_slowed{{server=\"{}\",collector=\"statements\"}}", server_id(server.port()));
    assert_eq!(agent.series(&slowed).await, Some(1.0));
    // A slowed part is not stale: parts stay valid for the longer interval.
    agent.wait_part(&part_name(&server), |part| part["state"] == "ok").await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn every_statement_of_ours_names_its_collector_and_none_resets_anything() {
    let (tasks, _stop) = runtime_tasks();
    let server = postgres(&tasks).await;
    let truth = server.connect(SUPERUSER, "postgres").await.unwrap();
    let resets = "SELECT coalesce(string_agg(stats_reset::text, ',' ORDER BY datname), '') || (SELECT stats_reset::text FROM pg_stat_bgwriter) \
                  || (SELECT stats_reset::text FROM pg_stat_statements_info) FROM pg_stat_database";
    let before: String = truth.query_value(resets).await.unwrap();
    let agent = TestAgent::watch(&server).await;
    for collector in [
        "session",
        "server",
        "activity",
        "locks",
        "database",
        "wal",
        "replication",
        "horizon",
        "autovacuum",
        "progress",
        "statements",
        "io",
        "subscriptions",
        "limits",
        "encryption",
        "sizes",
        "settings",
        "tables",
        "indexes",
        "sequences",
        "extensions",
    ] {
        let named = format!(
            "SELECT EXISTS (SELECT FROM pg_stat_statements JOIN pg_roles r ON r.oid = userid \
             WHERE rolname = '{MONITORING_ROLE}' AND query LIKE '%/* pharos {collector} */%')"
        );
        eventually(&truth, &named).await;
    }
    // All others only set a session's limits.
    let unnamed: String = truth
        .query_value(&format!(
            "SELECT coalesce(string_agg(query, '; '), '') FROM pg_stat_statements JOIN pg_roles r ON r.oid = userid \
             WHERE rolname = '{MONITORING_ROLE}' AND query NOT LIKE '%/* pharos %' AND query NOT LIKE 'SET %'"
        ))
        .await
        .unwrap();
    assert_eq!(unnamed, "");
    assert_eq!(truth.query_value::<String>(resets).await.unwrap(), before);
    agent.stop().await;
}
