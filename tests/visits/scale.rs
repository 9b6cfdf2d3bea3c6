//! No index that grows while indexes are read is missed.
//!
//! Many tables, and every major version.

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::io::Write as _;
use std::path::Path;
use std::process::Command;

use pharos::demo::binaries::PostgresBinaries;
use pharos::demo::postgres::{MONITORING_ROLE, PostgresOptions, PostgresServer, SUPERUSER};
use serde_json::Value;

use super::{find, latest, rows, session, wait_row, wait_rows};
use crate::fixture::{TestAgent, eventually, postgres, postgres_config, postgres_with, project, runtime_tasks, server_id};

/// As it ships, but for the waiting.
const SHIPPED_DEADLINES: &str = r#"
[collect]
budget = 1.0
[collect.interval]
tables = "1s"
indexes = "1s"
sequences = "1s"
extensions = "1s"
"#;

const TABLES: usize = 10_000;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn ten_thousand_tables_have_bounded_series_that_add_up_to_the_truth() {
    let (tasks, _stop) = runtime_tasks();
    let settings = vec![("max_locks_per_transaction".to_owned(), "1000".to_owned()), ("autovacuum".to_owned(), "off".to_owned())];
    let server = postgres_with(PostgresOptions { settings, ..PostgresOptions::default() }, &tasks).await;
    let setup = session(&server, "postgres").await;
    for thousand in 0..TABLES / 1000 {
        let tables = (0..1000).fold(String::new(), |mut sql, table| {
            let _ = write!(sql, "CREATE TABLE t{thousand}_{table} (id int);");
            sql
        });
        setup.run(&tables).await.unwrap();
    }
    setup.run("SELECT pg_stat_force_next_flush()").await.unwrap();
    let agent = TestAgent::start_with(&format!("{SHIPPED_DEADLINES}{}", postgres_config("app", &server)), Vec::new()).await;
    let id = server_id(server.port());
    let count = format!("pharos_postgres_tables{{database=\"app\",server=\"{id}\",datname=\"postgres\"}}");
    agent.wait_series(&count, |count| count == TABLES as f64).await;
    let mut before = agent.text("/metrics").await;
    let series = before.lines().filter(|line| line.starts_with("pharos_postgres_table_size_bytes{")).count();
    assert_eq!(series, 201, "two hundred and `other`");
    // Each of a thousand tables gets seven rows. The increases add up, whichever tables have series of their own by then.
    let inserts = (0..1000).fold(String::new(), |mut sql, table| {
        let _ = write!(sql, "INSERT INTO t3_{table} SELECT generate_series(1, 7);");
        sql
    });
    setup.run(&inserts).await.unwrap();
    setup.run("SELECT pg_stat_force_next_flush()").await.unwrap();
    let mut told = 0.0;
    agent
        .wait_metrics(|text| {
            told += increases(&before, text);
            text.clone_into(&mut before);
            told >= 7000.0
        })
        .await;
    assert!(told < 7100.0, "{told}");
    let folded = format!("pharos_collect_series_folded{{server=\"{id}\",collector=\"tables\"}}");
    agent.wait_series(&folded, |folded| folded > (TABLES - 201) as f64).await;
    let listed = rows(&latest(&agent, &server).unwrap().snapshot, "tables").len();
    assert!(listed <= 500, "{listed}");
}

/// What a reader of both sees: increases of series that are in both.
fn increases(before: &str, after: &str) -> f64 {
    let inserted = |text: &str| -> BTreeMap<String, f64> {
        let lines = text.lines().filter(|line| line.starts_with("pharos_postgres_table_rows_inserted_total{"));
        lines.filter_map(|line| line.rsplit_once(' ').and_then(|(series, value)| Some((series.to_owned(), value.parse().ok()?)))).collect()
    };
    let before = inserted(before);
    inserted(after).iter().filter_map(|(series, value)| Some(value - before.get(series)?)).sum()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn every_major_version_is_read_by_a_role_with_pg_monitor_alone_on_a_primary_and_a_standby() {
    let (tasks, _stop) = runtime_tasks();
    let output = Command::new(project().join("scripts/postgres-versions.sh")).output().expect("bash is installed");
    let folder = String::from_utf8_lossy(&output.stdout).lines().last().expect("it prints the folder").to_owned();
    let mut matrix = String::new();
    for major in [14, 15, 16, 17, 18] {
        let binaries = PostgresBinaries::find(Some(Path::new(&format!("{folder}/{major}/bin")))).await.expect("the server was fetched");
        let primary = PostgresServer::start(&binaries, PostgresOptions::default(), &tasks).await.unwrap();
        primary.create_monitoring_role(None).await.unwrap();
        let setup = primary.connect(SUPERUSER, "postgres").await.unwrap();
        setup
            .run(
                "CREATE TABLE orders (id serial PRIMARY KEY, note text); CREATE INDEX orders_id ON orders (id);
                 INSERT INTO orders (note) SELECT md5(g::text) FROM generate_series(1, 50000) g; ANALYZE orders;
                 GRANT SELECT ON SEQUENCE orders_id_seq TO pharos; GRANT pg_read_all_data TO pharos",
            )
            .await
            .unwrap();
        // Older ones have none.
        let has_unlogged = major >= 15;
        if has_unlogged {
            setup.run("CREATE UNLOGGED SEQUENCE passing; SELECT nextval('passing'); GRANT SELECT ON passing TO pharos").await.unwrap();
        }
        let standby = primary.start_standby("second", Vec::new(), &tasks).await.unwrap();
        let reader = standby.connect(SUPERUSER, "postgres").await.unwrap();
        eventually(&reader, "SELECT count(*) = 50000 FROM orders").await;
        let config = format!("{}replicas = [\"{}\"]\n", postgres_config("app", &primary), standby.url(MONITORING_ROLE, "postgres"));
        let agent = TestAgent::start_with(&config, Vec::new()).await;
        for server in [&primary, &standby] {
            let table = wait_row(&agent, server, "tables", &[("relation", "orders")], |row| row["bloat_state"] == "estimated").await;
            assert!(table["size_is_exact"] == true && table["bloat_ratio"].as_f64() < Some(0.1), "{major}: {table:#}");
            let index = wait_row(&agent, server, "indexes", &[("index", "orders_id")], |row| row["bloat_state"] == "estimated").await;
            assert!(index["bloat_ratio"].as_f64() < Some(0.1), "{major}: {index:#}");
            wait_row(&agent, server, "index_facts", &[("fact", "redundant"), ("index", "orders_id")], |_| true).await;
            wait_row(&agent, server, "index_facts", &[("fact", "unused"), ("index", "orders_id")], |_| true).await;
            wait_row(&agent, server, "sequences", &[("sequence", "orders_id_seq")], |row| row["last_value"] == 50_000).await;
            if has_unlogged {
                let state = if std::ptr::eq(server, &primary) { "known" } else { "unlogged" };
                wait_row(&agent, server, "sequences", &[("sequence", "passing")], |row| row["state"] == state).await;
            }
            let visits = wait_rows(&agent, server, "visits", |rows| find(rows, &[("collector", "extensions")]).is_some()).await;
            assert!(visits.iter().all(|visit| visit["state"] == "ok"), "{major}: {visits:#?}");
            let _ = writeln!(matrix, "{major} {} {}", table["size_bytes"], table["bloat_ratio"]);
        }
        agent.stop().await;
    }
    std::io::stderr().write_all(matrix.as_bytes()).unwrap();
    assert_eq!(matrix.lines().count(), 10);
}

/// The order by size changes while indexes grow. The catalogue's facts about indexes are larger than one answer.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_index_that_grows_while_definitions_are_read_is_not_missed() {
    const KEYS: usize = 200;
    let (tasks, stop) = runtime_tasks();
    let server = postgres(&tasks).await;
    let setup = session(&server, "postgres").await;
    setup.run("CREATE TABLE parent (id int PRIMARY KEY); CREATE TABLE bare (parent int REFERENCES parent)").await.unwrap();
    for tables in 0..KEYS / 20 {
        let make = format!(
            "DO $$ BEGIN FOR i IN {tables} * 20 + 1 .. {tables} * 20 + 20 LOOP
             EXECUTE format('CREATE TABLE child%s (parent int REFERENCES parent); CREATE INDEX ON child%1$s (parent)', i);
             EXECUTE format('CREATE TABLE filler%s (a int)', i);
             FOR j IN 1..10 LOOP EXECUTE format('CREATE INDEX ON filler%s (a)', i); END LOOP; END LOOP; END $$"
        );
        setup.run(&make).await.unwrap();
    }
    // Their sizes change all the time, as the catalogue has them.
    let grow = session(&server, "postgres").await;
    let guard = stop.clone().drop_guard();
    tasks.spawn(stop.run_until_cancelled_owned(async move {
        loop {
            grow.run("UPDATE pg_class SET relpages = random() * 1000 WHERE relkind = 'i' AND oid >= 16384").await.unwrap();
        }
    }));
    let agent = TestAgent::watch(&server).await;
    let is_one = |row: &&Value| row["fact"] == "foreign-key-without-index";
    let facts = wait_rows(&agent, &server, "schema_facts", |rows| rows.iter().any(|row| is_one(&row))).await;
    let without: Vec<&Value> = facts.iter().filter(is_one).collect();
    assert_eq!(without.iter().map(|row| row["relation"].as_str().unwrap()).collect::<Vec<_>>(), ["bare"]);
    agent.stop().await;
    drop(guard);
}
