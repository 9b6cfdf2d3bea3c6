//! No restart or crash between two readings stays unreported.
//!
//! Restarts and crashes that are over before the server is read again.

use std::process::Command;

use pharos::demo::postgres::PostgresServer;
use serde_json::Value;

use crate::fixes::{fires, session, watch};
use crate::fixture::wait::until;
use crate::fixture::{PATIENCE, TestAgent, postgres, postgres_config, redis, redis_config, runtime_tasks, series, server_id, shipped};
use crate::versions::{MAJORS, start, versions};

const RULE: &str = "server-restarted";

/// Waits until the collector has run so many times more.
async fn wait_runs(agent: &TestAgent, port: u16, collector: &str, more: f64) {
    let runs = series("pharos_collect_runs_total", port, &[]).replace("database=\"app\",", "").replace("database=\"cache\",", "");
    let runs = runs.replace('}', &format!(",collector=\"{collector}\"}}"));
    let before = agent.wait_series(&runs, |_| true).await;
    agent.wait_series(&runs, |runs| runs >= before + more).await;
}

/// Whether the rule has an alert that is not over.
async fn is_reported(agent: &TestAgent) -> bool {
    let answer = agent.json("/api/alerts").await;
    answer["items"].as_array().unwrap().iter().any(|alert| alert["rule"] == RULE && alert["state"] != "resolved")
}

/// Ends one session of the server as the kernel does for want of memory. Returns when the server has recovered.
async fn crash_a_session(server: &PostgresServer) {
    let victim = session(server).await;
    let pid: i32 = victim.query_value("SELECT pg_backend_pid()").await.unwrap();
    let killed = Command::new("kill").args(["-9", &pid.to_string()]).status().unwrap();
    assert!(killed.success());
    victim.run_within(PATIENCE, "SELECT pg_sleep(60)").await.unwrap_err();
    until("the server has recovered", async || {
        let session = server.connect(pharos::demo::postgres::SUPERUSER, "postgres").await;
        session.map(drop).map_err(|err| format!("{err:?}"))
    })
    .await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_crash_of_one_session_is_a_warning_although_the_postmaster_goes_on() {
    let (tasks, _stop) = runtime_tasks();
    let server = postgres(&tasks).await;
    let agent = watch(&server, "", &["postgres-essentials"]).await;
    wait_runs(&agent, server.port(), "server", 2.0).await;
    assert!(!is_reported(&agent).await, "the first sight of a server is no restart");
    crash_a_session(&server).await;
    let alert = fires(&agent, RULE, &[], "the server ended all sessions and recovered").await;
    assert_eq!((&alert["severity"], &alert["value"]), (&"warning".into(), &1.0.into()), "{alert:#}");
    agent.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_clean_restart_is_an_info_an_unclean_start_a_warning_and_a_restart_of_the_agent_is_none() {
    let (tasks, _stop) = runtime_tasks();
    let mut server = postgres(&tasks).await;
    let config = postgres_config("app", &server);
    let plugins = || shipped().into_iter().filter(|(id, _)| id == "postgres-essentials").collect();
    let agent = watch(&server, "", &["postgres-essentials"]).await;
    wait_runs(&agent, server.port(), "server", 2.0).await;
    let folder = agent.stop().await;
    let agent = TestAgent::start_in(folder, &config, plugins()).await;
    wait_runs(&agent, server.port(), "server", 2.0).await;
    assert!(!is_reported(&agent).await, "a restart of the agent is none of the server");
    // While no agent runs.
    let folder = agent.stop().await;
    server.restart().await.unwrap();
    let agent = TestAgent::start_in(folder, &config, plugins()).await;
    let alert = fires(&agent, RULE, &[], "The server started").await;
    assert_eq!(alert["severity"], "info", "{alert:#}");
    // Between two runs of the collector, and after a crash.
    server.kill().await.unwrap();
    server.restart().await.unwrap();
    let alert = fires(&agent, RULE, &[], "without the statistics of the previous run").await;
    assert_eq!((&alert["severity"], &alert["value"]), (&"warning".into(), &2.0.into()), "{alert:#}");
    agent.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn every_major_version_shows_what_kind_of_restart_it_was() {
    let folder = versions();
    for major in MAJORS {
        let (tasks, _stop) = runtime_tasks();
        let mut server = start(&folder, major, &tasks).await;
        let agent = watch(&server, "", &["postgres-essentials"]).await;
        wait_runs(&agent, server.port(), "server", 2.0).await;
        assert!(!is_reported(&agent).await, "{major}: the first sight of a server is no restart");
        server.restart().await.unwrap();
        let alert = fires(&agent, RULE, &[], "The server started").await;
        assert_eq!(alert["title"], "the server restarted", "{major}: {alert:#}");
        server.kill().await.unwrap();
        server.restart().await.unwrap();
        fires(&agent, RULE, &[], "without the statistics of the previous run").await;
        crash_a_session(&server).await;
        fires(&agent, RULE, &[], "the server ended all sessions and recovered").await;
        agent.stop().await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_restart_of_a_redis_is_reported_and_its_first_reading_is_no_restart() {
    let (tasks, _stop) = runtime_tasks();
    let mut server = redis(&tasks).await;
    let plugins = shipped().into_iter().filter(|(id, _)| id == "redis-essentials").collect();
    let agent = TestAgent::start_with(&redis_config("cache", &[&server]), plugins).await;
    wait_runs(&agent, server.port(), "info", 2.0).await;
    assert!(!is_reported(&agent).await, "the first sight of a server is no restart");
    server.restart().await.unwrap();
    let alert = fires(&agent, RULE, &[], "The server started").await;
    assert_eq!(alert["severity"], "info", "{alert:#}");
    let of = |answer: &Value| answer["labels"]["server"].clone();
    assert_eq!(of(&alert), server_id(server.port()), "{alert:#}");
    agent.stop().await;
}
