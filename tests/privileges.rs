//! No right that is lost makes a fact look gone: no alert resolves and no metric reads 0. No statement runs whose rows the role may not
//! see.
//!
//! A role that loses a right while the agent runs: hidden facts are not facts that are gone, and what comes back is noticed without a
//! restart.

use std::collections::BTreeMap;

use pharos::demo::postgres::{MONITORING_ROLE, PostgresServer, SUPERUSER};
use pharos::demo::session::Session;
use pharos_model::postgres::privilege::{NEEDS, Need};
use pharos_model::snapshot::PartId;
use serde_json::Value;
use tokio_util::task::TaskTracker;

use crate::fixture::wait::{fitting, until};
use crate::fixture::{TestAgent, part_name, postgres, postgres_config, runtime_tasks, server_id, shipped};

/// Metrics that a user's rules watch, and the part of each. All of them are above 0 from the beginning to the end.
const WATCHED: [(&str, &str); 6] = [
    ("pharos_postgres_idle_in_transaction_age_max_seconds", "activity"),
    ("pharos_postgres_lock_waiters", "locks"),
    ("pharos_postgres_horizon_age_transactions", "horizon"),
    ("pharos_postgres_role_connections", "limits"),
    ("pharos_postgres_datname_size_bytes", "sizes"),
    ("pharos_postgres_settings_pending_restart", "settings"),
];

/// How a need is lost and had again while the server runs; none where only a restart changes it.
fn loss(need: Need) -> Option<(&'static str, &'static str)> {
    Some(match need {
        Need::Stats => ("REVOKE pg_read_all_stats FROM pharos", "GRANT pg_read_all_stats TO pharos"),
        Need::Settings => ("REVOKE pg_read_all_settings FROM pharos", "GRANT pg_read_all_settings TO pharos"),
        Need::Files => (
            "REVOKE EXECUTE ON FUNCTION pg_catalog.pg_ls_waldir() FROM pharos",
            "GRANT EXECUTE ON FUNCTION pg_catalog.pg_ls_waldir() TO pharos",
        ),
        Need::Activities => ("ALTER SYSTEM SET track_activities = off", "ALTER SYSTEM RESET track_activities"),
        Need::Counts => ("ALTER SYSTEM SET track_counts = off", "ALTER SYSTEM RESET track_counts"),
        Need::StatementsLibrary => return None,
        Need::StatementsExtension => ("DROP EXTENSION pg_stat_statements", "CREATE EXTENSION pg_stat_statements"),
        Need::StatementsSchema => {
            ("CREATE SCHEMA hidden; ALTER EXTENSION pg_stat_statements SET SCHEMA hidden", "GRANT USAGE ON SCHEMA hidden TO pharos")
        }
        Need::Connect => ("REVOKE CONNECT ON DATABASE shop FROM PUBLIC", "GRANT CONNECT ON DATABASE shop TO PUBLIC"),
        Need::Statistic => (
            "REVOKE SELECT (starelid, staattnum, stainherit, stanullfrac, stawidth, stadistinct) ON pg_catalog.pg_statistic FROM pharos",
            "GRANT SELECT (starelid, staattnum, stainherit, stanullfrac, stawidth, stadistinct) ON pg_catalog.pg_statistic TO pharos",
        ),
        Need::Sequences => ("REVOKE SELECT ON numbers FROM pharos", "GRANT SELECT ON numbers TO pharos"),
    })
}

/// A series that is there while a need is had and is gone without it, where parts go on with less.
fn missing_without(need: Need) -> Option<(&'static str, &'static str)> {
    match need {
        Need::Counts => Some(("pharos_postgres_commits_total{", "")),
        Need::Connect => Some(("pharos_postgres_sequence", "datname=\"shop\",schema=\"public\",sequence=\"numbers\"} ")),
        Need::Sequences => Some(("pharos_postgres_sequence", "datname=\"postgres\",schema=\"public\",sequence=\"numbers\"} ")),
        Need::Statistic => Some(("pharos_postgres_index_bloat_bytes{", "datname=\"postgres\"")),
        _ => None,
    }
}

fn is_shown(metrics: &str, (metric, labels): (&str, &str)) -> bool {
    metrics.lines().any(|line| line.starts_with(metric) && line.contains(labels))
}

/// Patient with a slow machine: a size that was not read in time is not one that the role may not read.
const PATIENT: &str = r#"
[collect]
statement_timeout = "10s"
deadline = "20s"
connect_timeout = "10s"
budget = 1.0
[collect.interval]
server = "500ms"
activity = "500ms"
database = "500ms"
statements = "500ms"
locks = "500ms"
replication = "1s"
sample = "500ms"
horizon = "1s"
autovacuum = "1s"
progress = "1s"
limits = "1s"
encryption = "1s"
sizes = "1s"
settings = "1s"
tables = "1s"
indexes = "1s"
sequences = "1s"
"#;

/// Sessions that work, wait and hold; they last as long as this.
struct Trouble {
    _sessions: Vec<Session>,
    admin: Session,
}

async fn trouble(server: &PostgresServer, tasks: &TaskTracker) -> Trouble {
    let admin = server.connect(SUPERUSER, "postgres").await.unwrap();
    for statement in [
        "REVOKE pg_monitor FROM pharos; GRANT pg_read_all_stats, pg_read_all_settings TO pharos",
        "GRANT EXECUTE ON FUNCTION pg_ls_waldir(), pg_ls_tmpdir(), pg_ls_tmpdir(oid), pg_ls_archive_statusdir() TO pharos",
        "CREATE ROLE app LOGIN CONNECTION LIMIT 5",
        "CREATE DATABASE shop",
        // It waits for a restart.
        "ALTER SYSTEM SET max_files_per_process = 900",
        "SELECT pg_reload_conf()",
    ] {
        admin.run(statement).await.unwrap();
    }
    for datname in ["postgres", "shop"] {
        let inside = server.connect(SUPERUSER, datname).await.unwrap();
        inside.run("CREATE SEQUENCE numbers MAXVALUE 10; SELECT setval('numbers', 10); GRANT SELECT ON numbers TO pharos").await.unwrap();
        inside
            .run("CREATE TABLE filled AS SELECT i, md5(i::text) FROM generate_series(1, 20000) i; CREATE INDEX ON filled (i)")
            .await
            .unwrap();
        inside.run("ANALYZE filled").await.unwrap();
        inside.run(loss(Need::Statistic).unwrap().1).await.unwrap();
    }
    admin.run("CREATE TABLE held (id int); INSERT INTO held VALUES (1); GRANT ALL ON held TO app").await.unwrap();
    let holder = server.connect("app", "postgres").await.unwrap();
    holder.run("BEGIN; UPDATE held SET id = 2").await.unwrap();
    for _ in 0..5 {
        admin.run("SELECT pg_current_xact_id()").await.unwrap();
    }
    let waiter = server.connect("app", "postgres").await.unwrap();
    waiter.run("SET statement_timeout = 0").await.unwrap();
    let waits = server.connect("app", "postgres").await.unwrap();
    tasks.spawn(async move {
        let _ = waiter.batch_execute("UPDATE held SET id = 3").await;
    });
    Trouble { _sessions: vec![holder, waits], admin }
}

fn config(server: &PostgresServer) -> String {
    let rule = |(metric, part): &(&str, &str)| {
        format!(
            "[[plugin.threshold.settings.rules]]\nid = \"{part}\"\nmetric = \"{metric}\"\nabove = 0\nfor = \"0s\"\nseverity = \"warning\"\n"
        )
    };
    let rules: String = WATCHED.iter().map(rule).collect();
    let checks = "[plugin.postgres-maintenance.settings.checks]\nsequence-exhausted = { for = \"0s\" }\n";
    format!("{PATIENT}{}{rules}{checks}", postgres_config("app", server))
}

/// The incidents that fire, by rule and labels: each with its beginning.
async fn firing(agent: &TestAgent) -> BTreeMap<String, Value> {
    let alerts = agent.json("/api/alerts").await;
    let rules: Vec<&str> = WATCHED.iter().map(|(_, part)| *part).chain(["sequence-exhausted"]).collect();
    let items = alerts["items"].as_array().unwrap();
    let ours = items.iter().filter(|alert| rules.contains(&alert["rule"].as_str().unwrap()) && alert["state"] == "firing");
    ours.map(|alert| (format!("{} {}", alert["rule"], alert["labels"]), alert["since"].clone())).collect()
}

/// The watched series of a scrape, each above 0.
fn assert_nothing_shrinks(metrics: &str, when: &str) {
    for line in metrics.lines() {
        let Some((series, value)) = line.rsplit_once(' ') else { continue };
        let is_watched = WATCHED.iter().any(|(metric, _)| series.starts_with(&format!("{metric}{{")));
        // Kinds of holders that hold nothing are 0 from the beginning.
        let is_of_app = !series.contains("holder=") || series.contains("holder=\"backend\"");
        assert!(!is_watched || !is_of_app || value.parse::<f64>().unwrap() > 0.0, "{when}: {line}");
    }
}

/// Waits until a scrape fits, and checks every scrape meanwhile.
async fn wait_watching(agent: &TestAgent, when: &str, mut fits: impl FnMut(&str) -> bool) {
    until(when, async || {
        let metrics = agent.text("/metrics").await;
        assert_nothing_shrinks(&metrics, when);
        fitting(metrics, |metrics| fits(metrics))
    })
    .await;
}

fn runs(metrics: &str, server: &PostgresServer, collector: &str) -> f64 {
    let series = format!("pharos_collect_runs_total{{server=\"{}\",collector=\"{collector}\"}} ", server_id(server.port()));
    metrics.lines().find_map(|line| line.strip_prefix(&series)?.parse().ok()).unwrap_or(0.0)
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn whatever_right_is_lost_no_alert_resolves_no_number_shrinks_and_all_comes_back() {
    let (tasks, _stop) = runtime_tasks();
    let server = postgres(&tasks).await;
    let trouble = trouble(&server, &tasks).await;
    let plugins = shipped().into_iter().filter(|(id, _)| id == "threshold" || id.starts_with("postgres-")).collect();
    let agent = TestAgent::start_with(&config(&server), plugins).await;
    // One of each rule, but a size of four datnames and a sequence in two.
    let all = WATCHED.len() + 3 + 2;
    let fired = until("every rule fires", async || {
        fitting(firing(&agent).await, |fired| fired.len() >= all).map_err(|fired| format!("{fired:#?}"))
    })
    .await;
    let mut seen = Vec::new();
    for entry in NEEDS {
        let need = entry.need;
        let Some((take, give)) = loss(need).filter(|_| !seen.contains(&need)) else { continue };
        seen.push(need);
        let parts = NEEDS.iter().filter(|entry| entry.need == need).flat_map(|entry| entry.parts).copied();
        // The agent sees which session waits for whose lock even if sessions hide what they do.
        let parts: Vec<&str> = parts.filter(|part| need != Need::Activities || *part == PartId::Activity).map(PartId::as_str).collect();
        let up = |metrics: &str, expected: u8| {
            let line = |part: &str| format!("pharos_collect_up{{server=\"{}\",collector=\"{part}\"}} {expected}", server_id(server.port()));
            parts.iter().all(|part| metrics.lines().any(|known| known == line(part)))
        };
        let is_whole = missing_without(need).is_none();
        let is_lost = |metrics: &str| missing_without(need).map_or_else(|| up(metrics, 0), |series| !is_shown(metrics, series));
        let is_there = |metrics: &str| up(metrics, 1) && missing_without(need).is_none_or(|series| is_shown(metrics, series));
        wait_watching(&agent, &format!("before {need:?} is lost"), is_there).await;
        trouble.admin.run(take).await.unwrap();
        trouble.admin.run("SELECT pg_reload_conf()").await.unwrap();
        wait_watching(&agent, &format!("{need:?} is being lost"), is_lost).await;
        if is_whole {
            let cure = match need {
                Need::Activities => "ALTER SYSTEM SET track_activities = on",
                Need::StatementsExtension => "CREATE EXTENSION pg_stat_statements",
                Need::StatementsSchema => "GRANT USAGE ON SCHEMA hidden",
                _ => "GRANT pg_monitor TO \"pharos\"",
            };
            agent.wait_part(&part_name(&server), |part| part["cause"].as_str().is_some_and(|why| why.contains(cure))).await;
        }
        // Rules judge several snapshots without it.
        let before = runs(&agent.text("/metrics").await, &server, "server");
        let judged = |metrics: &str| runs(metrics, &server, "server") >= before + 6.0 && is_lost(metrics);
        wait_watching(&agent, &format!("{need:?} is lost"), judged).await;
        assert_eq!(firing(&agent).await, fired, "without {need:?}");
        trouble.admin.run(give).await.unwrap();
        trouble.admin.run("SELECT pg_reload_conf()").await.unwrap();
        wait_watching(&agent, &format!("{need:?} comes back"), is_there).await;
        assert_eq!(firing(&agent).await, fired, "{need:?} is back");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn every_way_to_lose_pg_monitor_is_noticed_and_so_is_every_way_back() {
    let (tasks, _stop) = runtime_tasks();
    let server = postgres(&tasks).await;
    let admin = server.connect(SUPERUSER, "postgres").await.unwrap();
    admin.run("CREATE ROLE watchers IN ROLE pg_monitor").await.unwrap();
    let agent = TestAgent::watch(&server).await;
    let id = server_id(server.port());
    for (before, take, give, cure) in [
        ("", "REVOKE pg_monitor FROM pharos", "GRANT pg_monitor TO pharos", "GRANT pg_monitor"),
        (
            "REVOKE pg_monitor FROM pharos; GRANT watchers TO pharos",
            "REVOKE pg_monitor FROM watchers",
            "GRANT pg_monitor TO watchers",
            "GRANT",
        ),
        ("", "REVOKE watchers FROM pharos", "GRANT watchers TO pharos", "GRANT pg_monitor"),
        ("", "ALTER ROLE pharos NOINHERIT", "ALTER ROLE pharos INHERIT", "ALTER ROLE \"pharos\" INHERIT"),
        (
            "ALTER ROLE pharos SUPERUSER; REVOKE watchers FROM pharos",
            "ALTER ROLE pharos NOSUPERUSER",
            "ALTER ROLE pharos SUPERUSER",
            "GRANT",
        ),
    ] {
        admin.run(before).await.unwrap();
        agent.wait_facts(&id, |parts| parts["activity"]["state"] == "present").await;
        admin.run(take).await.unwrap();
        let lost = |parts: &Value| ["activity", "locks", "statements"].iter().all(|part| parts[part]["state"] == "unsupported");
        let parts = agent.wait_facts(&id, lost).await;
        assert!(parts["activity"]["why"].as_str().unwrap().contains(cure), "{take}: {parts:#}");
        admin.run(give).await.unwrap();
        agent.wait_facts(&id, |parts| ["activity", "locks", "statements"].iter().all(|part| parts[part]["state"] == "present")).await;
    }
}

/// Statements that fail as soon as they run, in each form that collectors use.
const FAILING: [&str; 5] = [
    "SELECT 1 / (count(*) FILTER (WHERE false))::int AS n FROM pg_class",
    "SELECT c.relname, 1 / (c.relpages - c.relpages) AS n FROM pg_class c",
    "SELECT 1 / (c.relpages - c.relpages) AS n FROM pg_class c JOIN pg_namespace s ON s.oid = c.relnamespace ORDER BY 1 LIMIT 5",
    "WITH u AS MATERIALIZED (SELECT 1 / (c.relpages - c.relpages) AS n FROM pg_class c) SELECT u.n FROM u UNION ALL SELECT 0",
    "SELECT s.n FROM generate_series(1, 3) r LEFT JOIN LATERAL (SELECT 1 / (r - r) AS n) s ON true",
];

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_statement_is_not_run_without_the_right_that_its_rows_depend_on() {
    let (tasks, _stop) = runtime_tasks();
    let server = postgres(&tasks).await;
    let agents = server.connect(MONITORING_ROLE, "postgres").await.unwrap();
    let truth = server.connect(SUPERUSER, "postgres").await.unwrap();
    for statement in FAILING {
        let asked = include_str!("../agent/src/collect/postgres/sql/with_right.sql");
        let asked = asked.replace("{right}", "pg_read_all_stats").replace("{statement}", statement);
        agents.run(&asked).await.expect_err("the role has the right");
        truth.run("REVOKE pg_monitor FROM pharos").await.unwrap();
        assert!(!agents.query_value::<bool>(&asked).await.expect(statement), "the right is missing, and the answer reports it");
        truth.run("GRANT pg_monitor TO pharos").await.unwrap();
    }
}
