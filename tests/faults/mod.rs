//! No fact that could not be read is shown as zero, as healthy or as it was before. No server that is down is tried without a pause, and no
//! reset or restart makes a spike.
//!
//! Servers with faults: what the agent then shows, and that it recovers by itself.

mod languages;
mod refused;

use pharos::demo::postgres::{MONITORING_ROLE, PostgresOptions, PostgresServer, SUPERUSER, ShutdownMode};
use pharos::demo::session::Session;
use pharos_model::snapshot::Quantity;
use serde_json::Value;

use crate::fixture::wait::{fitting, until};
use crate::fixture::{
    TestAgent, eventually, item, part_name, postgres, postgres_config, postgres_with, redis, redis_config, runtime_tasks, series,
    server_id, shipped,
};

/// No server of a test does this much of anything in a second; a counter that was taken for its own increase is more.
const RATE_MAX: f64 = 1e9;

async fn session(server: &PostgresServer) -> Session {
    server.connect(SUPERUSER, "postgres").await.expect("PostgreSQL answers")
}

/// Whether `up` is the only metric that a server still has.
fn only_up(metrics: &str, kind: &str, port: u16) -> bool {
    let of_server = format!("server=\"{}\"", server_id(port));
    let mut lines = metrics.lines().filter(|line| line.starts_with(&format!("pharos_{kind}_")) && line.contains(&of_server));
    lines.next().is_some_and(|line| line.starts_with(&format!("pharos_{kind}_up{{")) && line.ends_with(" 0")) && lines.next().is_none()
}

/// Waits until every collector of a PostgreSQL server works.
async fn wait_whole(agent: &TestAgent, server: &PostgresServer) {
    agent.wait_part(&part_name(server), |part| part["state"] == "ok").await;
    agent.wait_metrics(|metrics| metrics.contains(&series("pharos_postgres_statements_tracked", server.port(), &[]))).await;
}

/// The rates of every counter in the latest snapshot of a server.
fn rates(agent: &TestAgent, port: u16) -> Vec<(String, f64)> {
    let picture = agent.agent.board().picture();
    let Some(change) = picture.subjects.values().find(|change| change.snapshot.subject.id == server_id(port)) else { return Vec::new() };
    let readings = change.snapshot.parts.values().filter_map(|part| part.reading.as_ref());
    let families = readings.flat_map(|reading| &reading.families);
    families
        .flat_map(|family| {
            let rates = change.samples(&family.metric, &[], Quantity::Rate).values;
            rates.into_iter().map(|rate| (family.metric.clone(), rate))
        })
        .collect()
}

/// Waits for `end` while looking at every rate on the way.
async fn wait_calm(agent: &TestAgent, port: u16, mut end: impl FnMut(&[(String, f64)]) -> bool) {
    agent
        .wait_metrics(|_| {
            let rates = rates(agent, port);
            let wild = rates.iter().find(|(_, rate)| *rate < 0.0 || *rate > RATE_MAX);
            assert!(wild.is_none(), "{wild:?}");
            end(&rates)
        })
        .await;
}

fn has_rate(rates: &[(String, f64)], metric: &str) -> bool {
    rates.iter().any(|(name, rate)| name == metric && *rate > 0.0)
}

async fn our_backends(truth: &Session) -> i64 {
    truth.query_value("SELECT count(*) FROM pg_stat_activity WHERE application_name LIKE 'pharos %'").await.expect("PostgreSQL answers")
}

/// While a server is down, the agent tries it as often as it reads a server that is up, and not more often.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_server_that_is_down_is_tried_as_often_as_one_that_is_up() {
    let (tasks, _stop) = runtime_tasks();
    let [mut down, up] = [postgres(&tasks).await, postgres(&tasks).await];
    let agent = TestAgent::start_with(&format!("{}{}", postgres_config("down", &down), postgres_config("up", &up)), Vec::new()).await;
    let runs_of =
        |server: &PostgresServer| format!("pharos_collect_runs_total{{server=\"{}\",collector=\"server\"}}", server_id(server.port()));
    for server in [&down, &up] {
        agent.wait_part(&part_name(server), |part| part["state"] == "ok").await;
        agent.wait_series(&runs_of(server), |runs| runs >= 2.0).await;
    }
    down.stop(ShutdownMode::Immediate).await.unwrap();
    let attempts =
        format!("pharos_collect_failures_total{{server=\"{}\",collector=\"server\",reason=\"unreachable\"}}", server_id(down.port()));
    let runs = runs_of(&up);
    let first = agent.wait_series(&attempts, |attempts| attempts >= 2.0).await;
    let before = agent.wait_series(&runs, |_| true).await;
    agent.wait_series(&runs, |runs| runs >= before + 10.0).await;
    let made = agent.wait_series(&attempts, |_| true).await - first;
    // Collectors with other intervals make attempts of their own.
    assert!(made < 100.0, "{made} attempts during 10 runs");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_server_that_refuses_is_down_until_it_is_back() {
    // What is read once an hour is read at once when the server is back, too.
    const RARE: &str = r#"
        [collect]
        budget = 1.0
        [collect.interval]
        server = "300ms"
        activity = "300ms"
        database = "300ms"
        statements = "500ms"
        locks = "300ms"
        replication = "1h"
    "#;
    let (tasks, _stop) = runtime_tasks();
    let mut server = postgres(&tasks).await;
    let config = format!("{RARE}{}", postgres_config("app", &server));
    let agent = TestAgent::start_with(&config, Vec::new()).await;
    wait_whole(&agent, &server).await;
    wait_calm(&agent, server.port(), |rates| has_rate(rates, "pharos_postgres_commits_total")).await;

    server.stop(ShutdownMode::Fast).await.unwrap();
    agent.wait_metrics(|metrics| only_up(metrics, "postgres", server.port())).await;
    // A moment before it still answered, that it shuts down.
    let refused = |part: &Value| part["cause"].as_str().is_some_and(|cause| cause.contains("Connection refused"));
    let part = agent.wait_part(&part_name(&server), refused).await;
    assert_eq!(part["state"], "degraded", "{part:#}");
    let (status, ready) = agent.request("/readyz", &[]).await;
    assert_eq!(status, 200, "{ready}");
    let facts = agent.json("/api/database/metrics").await;
    let parts = item(&facts, "server", &server_id(server.port())).unwrap()["parts"].as_object().unwrap().clone();
    assert!(parts.iter().all(|(name, part)| name == "up" || part["state"] == "failed"), "{parts:#?}");

    server.restart().await.unwrap();
    wait_calm(&agent, server.port(), |rates| has_rate(rates, "pharos_postgres_commits_total")).await;
    wait_whole(&agent, &server).await;
    // An agent that is started while the server is down waits for it just the same.
    let folder = agent.stop().await;
    server.stop(ShutdownMode::Fast).await.unwrap();
    let agent = TestAgent::start_in(folder, &config, Vec::new()).await;
    agent.wait_metrics(|metrics| only_up(metrics, "postgres", server.port())).await;
    server.restart().await.unwrap();
    wait_whole(&agent, &server).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_frozen_server_is_silent_its_alerts_freeze_and_its_neighbours_stay_on_time() {
    let (tasks, _stop) = runtime_tasks();
    let [server, other] = [postgres(&tasks).await, postgres(&tasks).await];
    let rule = r#"
        [[plugin.threshold.settings.rules]]
        id = "connected"
        metric = "pharos_postgres_connections_max"
        above = 1
        severity = "warning"
    "#;
    let other_config = format!("[[database]]\nname = \"other\"\nprimary = \"{}\"\n", other.url(MONITORING_ROLE, "postgres"));
    let threshold = shipped().into_iter().filter(|(id, _)| id == "threshold").collect();
    let agent = TestAgent::start_with(&format!("{}{other_config}{rule}", postgres_config("app", &server)), threshold).await;
    let alerts = |database: &str| format!("/api/database/alerts?database={database}");
    let firing = |alerts: &Value| alerts["items"].as_array().is_some_and(|items| items.len() == 1 && items[0]["state"] == "firing");
    agent.wait_json(&alerts("app"), firing).await;
    agent.wait_json(&alerts("other"), firing).await;

    server.freeze().await.unwrap();
    agent.wait_metrics(|metrics| only_up(metrics, "postgres", server.port())).await;
    let frozen = agent.wait_json(&alerts("app"), |alerts| firing(alerts) && alerts["items"][0]["frozen"].is_string()).await;
    assert!(!frozen["items"][0]["frozen"].as_str().unwrap().is_empty());
    // Collections of the neighbour continue while the frozen server is tried again and again.
    let of = |metric: &str, port: u16, collector: &str| format!("{metric}{{server=\"{}\",collector=\"{collector}\"}}", server_id(port));
    let runs = of("pharos_collect_runs_total", other.port(), "activity");
    let before = agent.series(&runs).await.unwrap();
    agent.wait_series(&runs, |runs| runs >= before + 15.0).await;
    let metrics = agent.text("/metrics").await;
    assert!(only_up(&metrics, "postgres", server.port()), "{metrics}");
    assert!(!metrics.contains("reason=\"unsupported\""), "what a silent server offers is not known: {metrics}");
    let calm = agent.json(&alerts("other")).await;
    assert!(firing(&calm) && calm["items"][0]["frozen"].is_null(), "{calm:#}");
    let part = agent.wait_part(&part_name(&server), |part| part["state"] == "degraded").await;
    assert!(part["cause"].as_str().unwrap().contains("cannot reach the server"), "{part:#}");
    let age = of("pharos_collect_age_seconds", server.port(), "activity");
    agent.wait_series(&age, |age| age > 1.0).await;
    // Its ticks come faster than its deadlines pass, and are not made up for later.
    let skipped = of("pharos_collect_skipped_total", server.port(), "activity");
    agent.wait_series(&skipped, |skipped| skipped >= 3.0).await;

    server.thaw().unwrap();
    wait_whole(&agent, &server).await;
    agent.wait_json(&alerts("app"), |alerts| firing(alerts) && alerts["items"][0]["frozen"].is_null()).await;
    let truth = session(&server).await;
    eventually(&truth, "SELECT count(*) = 1 FROM pg_stat_activity WHERE application_name LIKE 'pharos %' AND query <> ''").await;
    // The end does not wait for a server that never answers.
    drop(truth);
    server.freeze().await.unwrap();
    agent.wait_metrics(|metrics| only_up(metrics, "postgres", server.port())).await;
    agent.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_frozen_postmaster_stops_new_sessions_only() {
    let (tasks, _stop) = runtime_tasks();
    let server = postgres(&tasks).await;
    let agent = TestAgent::watch(&server).await;
    wait_whole(&agent, &server).await;
    let accepting = series("pharos_postgres_accepting_connections", server.port(), &[]);
    agent.wait_series(&accepting, |accepting| accepting == 1.0).await;

    server.freeze_postmaster().await.unwrap();
    agent.wait_series(&accepting, |accepting| accepting == 0.0).await;
    let part = agent.wait_part(&part_name(&server), |part| part["state"] == "degraded").await;
    assert!(part["cause"].as_str().unwrap().contains("accepts no new sessions (no session within 1s"), "{part:#}");
    let runs = format!("pharos_collect_runs_total{{server=\"{}\",collector=\"activity\"}}", server_id(server.port()));
    let before = agent.series(&runs).await.unwrap();
    agent.wait_series(&runs, |runs| runs >= before + 3.0).await;
    let metrics = agent.text("/metrics").await;
    for metric in ["pharos_postgres_up", "pharos_postgres_connections_max", "pharos_postgres_statements_tracked"] {
        assert!(metrics.contains(&series(metric, server.port(), &[])), "{metric} is gone: {metrics}");
    }
    assert_eq!(agent.series(&series("pharos_postgres_up", server.port(), &[])).await, Some(1.0));

    server.thaw_postmaster().unwrap();
    agent.wait_series(&accepting, |accepting| accepting == 1.0).await;
    wait_whole(&agent, &server).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_frozen_backend_of_ours_is_replaced_and_never_makes_three() {
    let (tasks, _stop) = runtime_tasks();
    let server = postgres(&tasks).await;
    let agent = TestAgent::watch(&server).await;
    wait_whole(&agent, &server).await;
    let truth = session(&server).await;
    // This is the session that stays: the visitor sends other statements.
    let ours = "SELECT pid FROM pg_stat_activity WHERE application_name LIKE 'pharos %' \
                AND query !~ '/. pharos (session|datnames|relations|tables|indexes|sequences|extensions|subscription_tables) ./' \
                AND query LIKE '%/* pharos %' ORDER BY backend_start LIMIT 1";
    let pid: i32 = truth.query_value(ours).await.unwrap();

    server.freeze_backend(pid.try_into().unwrap()).await.unwrap();
    let failures = format!("pharos_collect_failures_total{{server=\"{}\",collector=\"", server_id(server.port()));
    let timeouts = |metrics: &str| metrics.lines().any(|line| line.starts_with(&failures) && line.contains("reason=\"timeout\""));
    agent.wait_metrics(timeouts).await;
    // Another session does the work. The session that hangs holds its place, so no handshake may begin meanwhile.
    let collected = ["server", "activity", "locks", "database", "replication", "statements"];
    let parts = agent
        .wait_facts(&server_id(server.port()), |parts| {
            collected.iter().all(|part| parts[part]["state"] == "present") && parts["accept"]["state"] == "failed"
        })
        .await;
    assert!(parts["accept"]["why"].as_str().unwrap().contains("hangs"), "{parts:#}");
    let runs = format!("pharos_collect_runs_total{{server=\"{}\",collector=\"accept\"}}", server_id(server.port()));
    let before = agent.series(&runs).await.unwrap();
    while agent.series(&runs).await.unwrap() < before + 3.0 {
        assert!(our_backends(&truth).await <= 2);
    }
    assert_eq!(agent.series(&series("pharos_postgres_up", server.port(), &[])).await, Some(1.0));

    server.thaw_backend(pid.try_into().unwrap()).unwrap();
    eventually(&truth, &format!("SELECT NOT EXISTS (SELECT FROM pg_stat_activity WHERE pid = {pid})")).await;
    wait_whole(&agent, &server).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_killed_session_is_replaced_without_a_trace() {
    let (tasks, _stop) = runtime_tasks();
    let server = postgres(&tasks).await;
    let agent = TestAgent::watch(&server).await;
    wait_whole(&agent, &server).await;
    let truth = session(&server).await;
    let runs = format!("pharos_collect_runs_total{{server=\"{}\",collector=\"statements\"}}", server_id(server.port()));
    for _ in 0..5 {
        // Only the oldest session is ended: one of a visit may still be in its setup, and to lose that is a failure of the visit.
        let oldest = "SELECT pid FROM pg_stat_activity WHERE application_name LIKE 'pharos %' ORDER BY backend_start LIMIT 1";
        let is_ended: bool = truth.query_value(&format!("SELECT pg_terminate_backend(({oldest}))")).await.unwrap();
        assert!(is_ended, "there was a session to end");
        // The second run from now is of a later tick. Two sessions that end in one tick are a failure as well.
        let before = agent.series(&runs).await.unwrap();
        agent.wait_series(&runs, |runs| runs >= before + 2.0).await;
    }
    let metrics = agent.text("/metrics").await;
    let failures: Vec<&str> = metrics.lines().filter(|line| line.starts_with("pharos_collect_failures_total{")).collect();
    assert!(failures.is_empty(), "{failures:?}");
    wait_whole(&agent, &server).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn resets_and_restarts_make_no_spike() {
    let (tasks, _stop) = runtime_tasks();
    let mut server = postgres(&tasks).await;
    let work = session(&server).await;
    work.run("CREATE TABLE rows_of_work AS SELECT n FROM generate_series(1, 50000) n").await.unwrap();
    let agent = TestAgent::watch(&server).await;
    let port = server.port();
    let lively = |rates: &[(String, f64)]| {
        has_rate(rates, "pharos_postgres_commits_total") && has_rate(rates, "pharos_postgres_statement_calls_total")
    };
    wait_calm(&agent, port, lively).await;
    let reset = series("pharos_postgres_statements_reset_timestamp_seconds", port, &[]);
    let before = agent.series(&reset).await.unwrap();
    work.run("SELECT pg_stat_reset()").await.unwrap();
    work.run("SELECT pg_stat_statements_reset()").await.unwrap();
    wait_calm(&agent, port, |_| true).await;
    agent.wait_series(&reset, |at| at > before).await;
    wait_calm(&agent, port, lively).await;
    drop(work);
    let started = series("pharos_postgres_start_timestamp_seconds", port, &[]);
    for mode in [ShutdownMode::Fast, ShutdownMode::Immediate] {
        let before = agent.series(&started).await.unwrap_or(0.0);
        server.stop(mode).await.unwrap();
        server.restart().await.unwrap();
        wait_calm(&agent, port, |_| true).await;
        agent.wait_series(&started, |at| at > before).await;
        wait_calm(&agent, port, lively).await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn redis_that_stops_or_freezes_is_down_until_it_is_back() {
    let (tasks, _stop) = runtime_tasks();
    let mut server = redis(&tasks).await;
    let config = redis_config("app", &[&server]);
    let agent = TestAgent::start_with(&config, Vec::new()).await;
    let port = server.port();
    let part = format!("redis {}", server_id(port));
    let rate = |rates: &[(String, f64)]| has_rate(rates, "pharos_redis_commands_total");
    wait_calm(&agent, port, rate).await;

    server.stop().await.unwrap();
    agent.wait_metrics(|metrics| only_up(metrics, "redis", port)).await;
    let shown = agent.wait_part(&part, |part| part["state"] == "degraded").await;
    assert!(shown["cause"].as_str().unwrap().contains("Connection refused"), "{shown:#}");
    server.restart().await.unwrap();
    wait_calm(&agent, port, rate).await;

    server.freeze().await.unwrap();
    agent.wait_metrics(|metrics| only_up(metrics, "redis", port)).await;
    assert_eq!(agent.request("/readyz", &[]).await.0, 200);
    server.thaw().unwrap();
    wait_calm(&agent, port, rate).await;
    agent.wait_part(&part, |part| part["state"] == "ok").await;

    // A connection that broke proves nothing about the server.
    let failed = async || -> f64 {
        let metrics = agent.text("/metrics").await;
        let lines = metrics.lines().filter(|line| line.starts_with("pharos_collect_failures_total{"));
        lines.filter_map(|line| line.rsplit_once(' ')?.1.parse::<f64>().ok()).sum()
    };
    let before = failed().await;
    let runs = format!("pharos_collect_runs_total{{server=\"{}\",collector=\"info\"}}", server_id(port));
    let mut client = server.connect().await.unwrap();
    for _ in 0..5 {
        let ended: i64 = ::redis::cmd("CLIENT").arg(&["KILL", "TYPE", "normal", "SKIPME", "yes"]).query_async(&mut client).await.unwrap();
        assert!(ended > 0, "there was a connection to end");
        let done = agent.series(&runs).await.unwrap();
        agent.wait_series(&runs, |runs| runs > done).await;
    }
    assert_eq!(failed().await, before, "{}", agent.text("/metrics").await);
    agent.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_locked_catalog_fails_one_collector_and_no_other() {
    let (tasks, _stop) = runtime_tasks();
    let server = postgres(&tasks).await;
    let agent = TestAgent::watch(&server).await;
    wait_whole(&agent, &server).await;
    let holder = session(&server).await;
    holder.run("BEGIN; LOCK TABLE pg_catalog.pg_extension IN ACCESS EXCLUSIVE MODE").await.unwrap();
    let others = ["server", "activity", "locks", "database", "replication", "accept"];
    let parts = agent
        .wait_facts(&server_id(server.port()), |parts| {
            parts["statements"]["state"] == "failed" && others.iter().all(|part| parts[part]["state"] == "present")
        })
        .await;
    assert!(parts["statements"]["why"].as_str().unwrap().contains("lock timeout"), "{parts:#}");
    let failures = format!(
        "pharos_collect_failures_total{{server=\"{}\",collector=\"statements\",reason=\"lock-timeout\"}}",
        server_id(server.port())
    );
    let before = agent.wait_series(&failures, |failures| failures >= 1.0).await;
    agent.wait_series(&failures, |failures| failures > before).await;
    holder.run("COMMIT").await.unwrap();
    wait_whole(&agent, &server).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_locked_catalog_lets_at_most_two_sessions_of_the_agent_wait() {
    let (tasks, _stop) = runtime_tasks();
    let server = postgres(&tasks).await;
    server.create_database("shop").await.unwrap();
    let agent = TestAgent::watch(&server).await;
    wait_whole(&agent, &server).await;
    let [home, shop] = [session(&server).await, server.connect(SUPERUSER, "shop").await.unwrap()];
    let accepting = series("pharos_postgres_accepting_connections", server.port(), &[]);
    let runs = format!("pharos_collect_runs_total{{server=\"{}\",collector=\"accept\"}}", server_id(server.port()));
    // Sessions that begin cannot be seen in pg_stat_activity yet, but as processes.
    let title = |pid: u32| std::fs::read_to_string(format!("/proc/{pid}/cmdline")).unwrap_or_default();
    let is_beginning = |title: &String| title.contains(&format!(": {MONITORING_ROLE} ")) && title.contains("startup waiting");
    let beginning = || server.pids().into_iter().map(title).filter(is_beginning).count();
    for (datname, holder) in [("shop", &shop), ("postgres", &home)] {
        // As VACUUM FULL pg_class does for as long as it runs.
        holder.run("BEGIN; LOCK TABLE pg_catalog.pg_class IN ACCESS EXCLUSIVE MODE").await.unwrap();
        until(format_args!("a session waits in {datname}"), async || fitting(beginning(), |waiting| *waiting > 0)).await;
        let before = agent.wait_series(&runs, |_| true).await;
        until("the accept collector tries eight times more", async || {
            let waiting = beginning();
            assert!(waiting <= 2, "{waiting} sessions wait in {datname}");
            fitting(agent.series(&runs).await.unwrap(), |runs| *runs >= before + 8.0)
        })
        .await;
        // Only statements in the monitor's own datname show the state of the server.
        if datname == "postgres" {
            agent.wait_series(&accepting, |accepting| accepting == 0.0).await;
        } else {
            assert_ne!(agent.series(&accepting).await, Some(0.0), "a lock in another datname closes no server");
        }
        holder.run("COMMIT").await.unwrap();
        agent.wait_series(&accepting, |accepting| accepting == 1.0).await;
        wait_whole(&agent, &server).await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_full_server_is_reported_as_having_too_many_connections() {
    let (tasks, _stop) = runtime_tasks();
    let server = postgres_with(PostgresOptions { max_connections: 6, ..PostgresOptions::default() }, &tasks).await;
    let mut crowd = Vec::new();
    while let Ok(session) = server.connect(MONITORING_ROLE, "postgres").await {
        crowd.push(session);
    }
    let agent = TestAgent::watch(&server).await;
    let failures = format!(
        "pharos_collect_failures_total{{server=\"{}\",collector=\"activity\",reason=\"too-many-connections\"}}",
        server_id(server.port())
    );
    agent.wait_series(&failures, |failures| failures >= 1.0).await;
    agent.wait_metrics(|metrics| only_up(metrics, "postgres", server.port())).await;
    drop(crowd);
    wait_whole(&agent, &server).await;
}
