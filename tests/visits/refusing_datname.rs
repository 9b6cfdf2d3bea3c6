//! No owner of the datname in the URL makes the server look down, or stops the monitoring of its other datnames.
//!
//! The owner of the datname in the URL closes it: the server is still watched, and so are the other datnames.

use pharos::demo::postgres::{MONITORING_ROLE, PostgresServer, SUPERUSER};

use super::{session, wait_row};
use crate::fixture::wait::until;
use crate::fixture::{TestAgent, item, part_name, postgres, runtime_tasks, series, server_id, shipped};

/// How the datname `owned` is closed, the reason that the agent then names, and how it is opened again. The second one is a superuser's: an
/// owner can take the right from PUBLIC only.
const WAYS: [[&str; 3]; 3] = [
    ["ALTER DATABASE owned CONNECTION LIMIT 0", "datname-limit", "ALTER DATABASE owned CONNECTION LIMIT -1"],
    ["REVOKE CONNECT ON DATABASE owned FROM PUBLIC", "privilege", "GRANT CONNECT ON DATABASE owned TO PUBLIC"],
    ["ALTER DATABASE owned RENAME TO taken", "datname", "ALTER DATABASE taken RENAME TO owned"],
];

/// A server with a tenant's datname `owned`, and `other`.
async fn furnish(server: &PostgresServer) {
    let setup = session(server, "postgres").await;
    setup.run("CREATE ROLE tenant LOGIN CREATEDB").await.unwrap();
    setup.run("CREATE DATABASE owned OWNER tenant").await.unwrap();
    setup.run("CREATE DATABASE other").await.unwrap();
    let other = session(server, "other").await;
    other.run("CREATE TABLE orders (id int PRIMARY KEY); INSERT INTO orders SELECT generate_series(1, 5000)").await.unwrap();
}

fn config(server: &PostgresServer) -> String {
    format!("[[database]]\nname = \"app\"\nprimary = \"{}\"\n", server.url(MONITORING_ROLE, "owned"))
}

/// As often as a session is in the way.
async fn run(tenant: &pharos::demo::session::Session, statement: &str) {
    until(statement, async || tenant.run(statement).await.map_err(|err| format!("{err:?}"))).await;
}

async fn is_watched(agent: &TestAgent, server: &PostgresServer, what: &str) {
    let up = |metric: &str| series(metric, server.port(), &[]);
    agent.wait_series(&up("pharos_postgres_up"), |up| up == 1.0).await;
    agent.wait_facts(&server_id(server.port()), |parts| parts["activity"]["state"] == "present").await;
    let visit = [("collector", "tables"), ("datname", "other")];
    let visited = wait_row(agent, server, "visits", &visit, |row| row["state"] == "ok").await;
    assert_eq!(visited["why"], serde_json::Value::Null, "{what}");
    wait_row(agent, server, "tables", &[("datname", "other"), ("relation", "orders")], |_| true).await;
}

/// Rules and severities of the alerts once the refusal of the configured datname is one of them.
async fn alerts(agent: &TestAgent) -> Vec<(String, String)> {
    let told = |alerts: &serde_json::Value| item(alerts, "rule", "not-accepting-connections").is_some();
    let alerts = agent.wait_json("/api/database/alerts?database=app", told).await;
    let text = |alert: &serde_json::Value, key: &str| alert[key].as_str().unwrap_or_default().to_owned();
    alerts["items"].as_array().unwrap().iter().map(|alert| (text(alert, "rule"), text(alert, "severity"))).collect()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_server_whose_configured_datname_is_closed_at_the_start_is_watched_through_another_one() {
    let (tasks, _stop) = runtime_tasks();
    let server = postgres(&tasks).await;
    furnish(&server).await;
    let tenant = server.connect("tenant", "postgres").await.unwrap();
    for [close, reason, open] in WAYS {
        run(&tenant, close).await;
        let agent = TestAgent::start_with(&config(&server), shipped()).await;
        is_watched(&agent, &server, close).await;
        let owned = wait_row(&agent, &server, "visits", &[("collector", "tables"), ("datname", "owned")], |_| true).await;
        assert_eq!((&owned["state"], &owned["reason"]), (&"failed".into(), &reason.into()), "{close}: {owned:#}");
        let alerts = alerts(&agent).await;
        assert!(!alerts.iter().any(|(rule, _)| ["server-down", "no-primary"].contains(&rule.as_str())), "{close}: {alerts:?}");
        let critical = |(rule, severity): &(String, String)| rule == "not-accepting-connections" && severity == "critical";
        assert!(!alerts.iter().any(critical), "{close}: {alerts:?}");
        agent.stop().await;
        run(&tenant, open).await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_owner_who_closes_the_configured_datname_stops_no_other_visit_and_it_is_tried_again() {
    let (tasks, _stop) = runtime_tasks();
    let server = postgres(&tasks).await;
    furnish(&server).await;
    let tenant = server.connect("tenant", "postgres").await.unwrap();
    let setup = server.connect(SUPERUSER, "postgres").await.unwrap();
    let agent = TestAgent::start_with(&config(&server), shipped()).await;
    is_watched(&agent, &server, "open").await;
    let owned = [("collector", "tables"), ("datname", "owned")];
    for [close, reason, open] in WAYS {
        wait_row(&agent, &server, "visits", &owned, |row| row["state"] == "ok").await;
        // Who is in it when it is renamed is in its way.
        let leave = "SELECT count(pg_terminate_backend(pid)) FROM pg_stat_activity WHERE datname = 'owned'";
        until(close, async || {
            let closed = tenant.run(close).await;
            if closed.is_err() {
                setup.run(leave).await.unwrap();
            }
            closed.map_err(|err| format!("{err:?}"))
        })
        .await;
        setup.run(leave).await.unwrap();
        wait_row(&agent, &server, "visits", &owned, |row| row["reason"] == reason).await;
        is_watched(&agent, &server, close).await;
        let part = agent.wait_part(&part_name(&server), |part| part["state"] != "down").await;
        assert!(!part["cause"].to_string().contains("cannot reach"), "{close}: {part:#}");
        run(&tenant, open).await;
    }
    wait_row(&agent, &server, "visits", &owned, |row| row["state"] == "ok").await;
}
