//! No alert resolves because its object left a list of the worst, was counted again after a reset or a crash, or is being dropped and still
//! exists. A right that is back is used at once, and a right that two servers lack is reported once.
//!
//! No false all-clear: an alert of something that is out of sight, or cannot be judged any more, does not resolve.

use std::collections::BTreeSet;

use pharos::demo::postgres::{MONITORING_ROLE, PostgresServer, ShutdownMode};
use pharos_model::snapshot::PartState;
use serde_json::Value;
use tokio::time::Duration;

use crate::fixes::{ends, fires, session, watch};
use crate::fixture::wait::{holds, until};
use crate::fixture::{PATIENCE, TestAgent, eventually, postgres, postgres_config, runtime_tasks, series, server_id, shipped};

const SETTINGS: &str = r#"
    [plugin.postgres-maintenance.settings.checks]
    index-invalid = { for = "0s" }
    statistics-stale = { for = "0s" }
"#;

fn of_rule<'a>(answer: &'a Value, rule: &str) -> Vec<&'a Value> {
    answer["items"].as_array().map(|items| items.iter().filter(|alert| alert["rule"] == rule).collect()).unwrap_or_default()
}

/// Patience with statements that wait until the test, which waits several times meanwhile, lets them go on.
const HELD: Duration = PATIENCE.saturating_mul(10);

/// Waits until a part was read so many times more.
async fn wait_readings(agent: &TestAgent, server: &PostgresServer, part: &str, count: usize) {
    let mut seen = BTreeSet::new();
    until(format_args!("`{part}` is read {count} times more"), async || {
        let picture = agent.agent.board().picture();
        let change = picture.subjects.values().find(|change| change.snapshot.subject.id == server_id(server.port()));
        let part = change.and_then(|change| change.snapshot.parts.get(part));
        seen.extend(part.filter(|part| part.state == PartState::Present).and_then(|part| part.last_read));
        holds(seen.len() > count, || format!("{} readings", seen.len()))
    })
    .await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_index_whose_drop_waits_for_an_old_transaction_is_reported_until_it_is_gone() {
    let (tasks, _stop) = runtime_tasks();
    let server = postgres(&tasks).await;
    let setup = session(&server).await;
    setup.run("CREATE TABLE twice (id int); INSERT INTO twice VALUES (1), (1); CREATE TABLE other AS SELECT * FROM twice").await.unwrap();
    for table in ["twice", "other"] {
        setup.run(&format!("CREATE UNIQUE INDEX CONCURRENTLY {table}_id ON {table} (id)")).await.unwrap_err();
    }
    let agent = watch(&server, SETTINGS, &["postgres-maintenance"]).await;
    fires(&agent, "index-invalid", &[("index", "twice_id")], "").await;
    fires(&agent, "index-invalid", &[("index", "other_id")], "").await;
    // The first one is dropped; beside the other one, an index is made.
    let old = session(&server).await;
    old.run("BEGIN; SELECT count(*) FROM twice, other").await.unwrap();
    let dropper = session(&server).await;
    let dropped = tasks.spawn(async move { dropper.run_within(HELD, "DROP INDEX CONCURRENTLY twice_id").await });
    let writer = session(&server).await;
    writer.run("BEGIN; INSERT INTO other VALUES (2)").await.unwrap();
    let maker = session(&server).await;
    let made = tasks.spawn(async move { maker.run_within(HELD, "CREATE INDEX CONCURRENTLY made_id ON other (id)").await });
    let both = "SELECT count(*) = 2 FROM pg_stat_activity WHERE query LIKE '%INDEX CONCURRENTLY%' AND wait_event_type = 'Lock' AND pid <> pg_backend_pid()";
    eventually(&setup, both).await;
    let alert = fires(&agent, "index-invalid", &[("index", "twice_id")], "pg_blocking_pids").await;
    assert!(alert["cause"].as_str().unwrap().contains("older transaction"), "{alert:#}");
    // There were several readings since: nothing was reported about the new one, and nothing is over.
    wait_readings(&agent, &server, "indexes", 3).await;
    let answer = agent.json("/api/alerts").await;
    let told: Vec<&Value> = of_rule(&answer, "index-invalid").iter().map(|alert| &alert["labels"]["index"]).collect();
    assert!(told.contains(&&"twice_id".into()) && told.contains(&&"other_id".into()) && told.len() == 2, "{answer:#}");
    old.run("COMMIT").await.unwrap();
    writer.run("COMMIT").await.unwrap();
    dropped.await.unwrap().unwrap();
    made.await.unwrap().unwrap();
    ends(&agent, "index-invalid", &[("index", "twice_id")]).await;
    agent.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_reset_of_the_statistics_or_a_restart_of_the_agent_is_no_cure_of_what_they_showed() {
    let (tasks, _stop) = runtime_tasks();
    let server = postgres(&tasks).await;
    let setup = session(&server).await;
    setup.run("CREATE TABLE scanned AS SELECT i, repeat('x', 500) FROM generate_series(1, 30000) i; ANALYZE scanned").await.unwrap();
    setup
        .run("CREATE TABLE loaded (id int) WITH (autovacuum_enabled = off); INSERT INTO loaded SELECT generate_series(1, 150000)")
        .await
        .unwrap();
    setup.run("SELECT pg_stat_force_next_flush()").await.unwrap();
    let agent = watch(&server, SETTINGS, &["postgres-maintenance"]).await;
    let is_named = |one: &Value| one["fact"] == "sequential-scans" && one["why"].as_str().is_some_and(|why| why.contains("scanned"));
    agent.wait_json("/api/database/indexes", |answer| answer["not_judged"].as_array().unwrap().iter().any(is_named)).await;
    setup.run("DO $$ BEGIN FOR i IN 1..120 LOOP PERFORM count(*) FROM scanned; END LOOP; END $$").await.unwrap();
    setup.run("SELECT pg_stat_force_next_flush()").await.unwrap();
    fires(&agent, "sequential-scans", &[("relation", "scanned")], "threshold=10ms").await;
    fires(&agent, "statistics-stale", &[("relation", "loaded")], "").await;
    setup.run("SELECT pg_stat_reset()").await.unwrap();
    let alert = |answer: &Value, rule: &str, is_frozen: bool| {
        let alerts = of_rule(answer, rule);
        alerts.iter().any(|alert| alert["state"] == "firing" && alert["frozen"].is_string() == is_frozen)
    };
    // Reads that were counted before the reset stay counted, so their alert is judged as before.
    let answer = agent.wait_json("/api/alerts", |answer| alert(answer, "statistics-stale", true)).await;
    assert!(alert(&answer, "sequential-scans", false), "{answer:#}");
    setup.run("ANALYZE loaded").await.unwrap();
    ends(&agent, "statistics-stale", &[("relation", "loaded")]).await;
    // An agent that has just started cannot judge.
    let folder = agent.stop().await;
    let plugins = shipped().into_iter().filter(|(id, _)| id == "postgres-maintenance").collect();
    let agent = TestAgent::start_in(folder, &format!("{SETTINGS}{}", postgres_config("app", &server)), plugins).await;
    agent.wait_json("/api/alerts", |answer| alert(answer, "sequential-scans", true)).await;
    agent.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_time_of_a_slot_without_a_consumer_survives_restarts_of_the_agent() {
    let (tasks, _stop) = runtime_tasks();
    let server = postgres(&tasks).await;
    session(&server).await.run("SELECT pg_create_physical_replication_slot('kept', true)").await.unwrap();
    let config = postgres_config("app", &server);
    let agent = TestAgent::start_with(&config, Vec::new()).await;
    let inactive = series("pharos_postgres_slot_inactive_seconds", server.port(), &[("slot", "kept"), ("slot_type", "physical")]);
    let before = agent.wait_series(&inactive, |seconds| seconds >= 3.0).await;
    let folder = agent.stop().await;
    let agent = TestAgent::start_in(folder, &config, Vec::new()).await;
    // As long as its store has not answered, there is no series, and so never one that forgot.
    let first = agent.wait_series(&inactive, |_| true).await;
    assert!(first >= before, "the restart forgot: {first} after {before}");
    agent.stop().await;
}

/// Parts whose turn comes in an hour are not read by then. What fails in its first round for want of time would be asked for no sooner.
const SELDOM: &str = r#"
[collect]
statement_timeout = "60s"
deadline = "120s"
budget = 1.0
[collect.interval]
activity = "500ms"
settings = "1h"
sizes = "1h"
limits = "1h"
tables = "1h"
indexes = "1h"
"#;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_right_that_is_back_is_used_at_once_by_all_that_lacked_it() {
    let (tasks, _stop) = runtime_tasks();
    let server = postgres(&tasks).await;
    let setup = session(&server).await;
    setup.run("REVOKE pg_monitor FROM pharos").await.unwrap();
    let agent = TestAgent::start_with(&format!("{SELDOM}{}", postgres_config("app", &server)), Vec::new()).await;
    let lacking = ["activity", "settings", "sizes", "limits", "tables", "indexes"];
    let are = |parts: &Value, state: &str| lacking.iter().all(|part| parts[*part]["state"] == state);
    agent.wait_facts(&server_id(server.port()), |parts| are(parts, "unsupported")).await;
    setup.run("GRANT pg_monitor TO pharos").await.unwrap();
    // Those that are read beside the session have no other occasion within the hour.
    agent.wait_facts_within(3 * PATIENCE, &server_id(server.port()), |parts| are(parts, "present")).await;
    agent.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_right_that_a_primary_and_its_standby_lack_is_reported_once_and_for_the_standby_while_it_is_alone() {
    let (tasks, _stop) = runtime_tasks();
    let mut primary = postgres(&tasks).await;
    let standby = primary.start_standby("second", Vec::new(), &tasks).await.unwrap();
    session(&primary).await.run("REVOKE pg_monitor FROM pharos").await.unwrap();
    let replayed = session(&standby).await;
    eventually(&replayed, "SELECT NOT pg_has_role('pharos', 'pg_monitor', 'MEMBER')").await;
    let config = format!(
        "[plugin.agent-essentials.settings.checks]\nrights-missing = {{ for = \"5s\" }}\n{}replicas = [\"{}\"]\n",
        postgres_config("app", &primary),
        standby.url(MONITORING_ROLE, "postgres")
    );
    let plugins = shipped().into_iter().filter(|(id, _)| id == "agent-essentials").collect();
    let agent = TestAgent::start_with(&config, plugins).await;
    fires(&agent, "rights-missing", &[("server", &server_id(primary.port()))], "").await;
    let lacks = |port: u16| format!("pharos_collect_failing{{server=\"{}\",collector=\"activity\",reason=\"privilege\"}}", server_id(port));
    agent.wait_series(&lacks(standby.port()), |failing| failing == 1.0).await;
    let is_open = |alert: &&&Value| ["pending", "firing"].iter().any(|state| alert["state"] == *state);
    let is_told_once = |answer: &Value| {
        let alerts = of_rule(answer, "rights-missing");
        let open: Vec<_> = alerts.iter().filter(is_open).collect();
        open.len() == 1 && open[0]["state"] == "firing"
    };
    agent.wait_json("/api/alerts", is_told_once).await;
    // No alert reports it for the standby any more.
    primary.stop(ShutdownMode::Immediate).await.unwrap();
    fires(&agent, "rights-missing", &[("server", &server_id(standby.port()))], "").await;
    agent.stop().await;
}
