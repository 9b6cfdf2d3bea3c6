//! No size differs from what the server reports.
//!
//! Sizes equal those of the server or are left out. Also covers which relations have series.

use serde_json::Value;

use super::{latest, rows, session, wait_row};
use crate::fixture::{TestAgent, postgres, postgres_config, runtime_tasks};

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_index_that_no_vacuum_ever_counted_is_as_large_as_it_is() {
    let (tasks, _stop) = runtime_tasks();
    let server = postgres(&tasks).await;
    let truth = session(&server, "postgres").await;
    truth
        .run(
            "CREATE TABLE events (id bigint PRIMARY KEY, small int) WITH (autovacuum_enabled = off);
             CREATE INDEX events_small ON events (small) WHERE id < 100;
             INSERT INTO events SELECT g, g FROM generate_series(1, 200000) g",
        )
        .await
        .unwrap();
    let pages: i32 = truth.query_value("SELECT relpages FROM pg_class WHERE relname = 'events_pkey'").await.unwrap();
    assert!(pages <= 1, "its pages were never counted: {pages}");
    let agent = TestAgent::watch(&server).await;
    for index in ["events_pkey", "events_small"] {
        let row = wait_row(&agent, &server, "indexes", &[("index", index)], |row| row["size_is_exact"] == true).await;
        let size: i64 = truth.query_value(&format!("SELECT pg_relation_size('{index}')")).await.unwrap();
        assert_eq!(row["size_bytes"], size, "{row:#}");
    }
    agent.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn indexes_of_a_table_have_no_size_while_one_of_them_has_none() {
    let (tasks, _stop) = runtime_tasks();
    let server = postgres(&tasks).await;
    let truth = session(&server, "postgres").await;
    truth
        .run(
            "CREATE TABLE locked (id bigint PRIMARY KEY, small int) WITH (autovacuum_enabled = off);
             CREATE INDEX locked_small ON locked (small);
             INSERT INTO locked SELECT g, g FROM generate_series(1, 200000) g",
        )
        .await
        .unwrap();
    let holder = session(&server, "postgres").await;
    holder.run("BEGIN; LOCK TABLE locked IN ACCESS EXCLUSIVE MODE").await.unwrap();
    let agent = TestAgent::watch(&server).await;
    let of_table = [("relation", "locked")];
    let row = wait_row(&agent, &server, "tables", &of_table, |_| true).await;
    assert_eq!((&row["size_bytes"], &row["indexes_size_bytes"]), (&Value::Null, &Value::Null), "the sizes were never counted: {row:#}");
    holder.run("ROLLBACK").await.unwrap();
    let row = wait_row(&agent, &server, "tables", &of_table, |row| !row["indexes_size_bytes"].is_null()).await;
    let size: i64 = truth.query_value("SELECT pg_indexes_size('locked')").await.unwrap();
    assert_eq!(row["indexes_size_bytes"], size, "{row:#}");
    agent.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_servers_own_catalogue_has_series_where_they_are_asked_for_and_is_judged_in_any_case() {
    let (tasks, _stop) = runtime_tasks();
    let server = postgres(&tasks).await;
    session(&server, "postgres").await.run("CREATE TABLE orders (id int PRIMARY KEY)").await.unwrap();
    for (setting, is_shown) in [("", false), ("catalog_series = true\n", true)] {
        let collect = format!("[collect]\nbudget = 1.0\n{setting}[collect.interval]\ntables = \"300ms\"\nindexes = \"300ms\"\n");
        let agent = TestAgent::start(&format!("{collect}{}", postgres_config("app", &server))).await;
        let size =
            |line: &str| line.starts_with("pharos_postgres_table_size_bytes{") || line.starts_with("pharos_postgres_index_size_bytes{");
        let own = |line: &&str| size(line) && line.contains("relation=\"orders\"");
        let text = agent.wait_metrics(|text| text.lines().filter(own).count() == 2).await;
        let of_catalogue = text.lines().filter(|line| size(line) && line.contains("schema=\"pg_catalog\"")).count();
        assert_eq!(of_catalogue > 100, is_shown, "{of_catalogue}");
        assert!(is_shown || of_catalogue == 0, "{of_catalogue}");
        let snapshot = &latest(&agent, &server).unwrap().snapshot;
        for table in ["tables", "indexes"] {
            assert!(rows(snapshot, table).iter().any(|row| row["schema"] == "pg_catalog"), "{table} has those that rules judge");
        }
        agent.stop().await;
    }
}
