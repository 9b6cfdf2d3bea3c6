//! No visit reports a datname that it could not enter, or rates across a reset.
//!
//! Covers tables, indexes, sequences and extensions of every datname, against what the servers say.

mod bloat;
mod catalogue;
mod datnames;
mod locks;
mod refusing_datname;
mod scale;
mod sequences;
mod sizes;

use std::sync::Arc;

use pharos::demo::postgres::{PostgresServer, SUPERUSER};
use pharos::demo::session::Session;
use pharos_model::snapshot::{Change, Quantity};
use pharos_model::snapshot::{ColumnValues, Part, PartState, Reading, Snapshot, Table};
use serde_json::{Map, Value, json};
use tokio::time::Duration;

use crate::fixture::wait::{fitting, until};
use crate::fixture::{TestAgent, postgres, runtime_tasks, server_id};

async fn session(server: &PostgresServer, datname: &str) -> Session {
    server.connect(SUPERUSER, datname).await.expect("PostgreSQL answers")
}

fn latest(agent: &TestAgent, server: &PostgresServer) -> Option<Arc<Change>> {
    let picture = agent.agent.board().picture();
    picture.subjects.values().find(|change| change.snapshot.subject.id == server_id(server.port())).cloned()
}

/// The latest reading of a part. A machine that is too slow for one round proves nothing; any other failure is a fault.
fn reading(part: &Part) -> Option<&Reading> {
    if let PartState::Failed(why) = &part.state {
        assert!(["no answer within", "statement timeout", "timed out"].iter().any(|slow| why.contains(slow)), "{part:?}");
    }
    part.reading.as_deref()
}

/// The rows of a table of the snapshot, as JSON; none where it has no such table.
fn rows(snapshot: &Snapshot, table: &str) -> Vec<Value> {
    let Some(table) = snapshot.table(table) else { return Vec::new() };
    (0..table.row_count as usize).map(|row| Value::Object(cells(table, row))).collect()
}

fn cells(table: &Table, row: usize) -> Map<String, Value> {
    let cell = |values: &ColumnValues| match values {
        ColumnValues::Float(values) => json!(values[row]),
        ColumnValues::Integer(values) => json!(values[row]),
        ColumnValues::Text(texts) => json!(texts.text(row)),
        ColumnValues::Boolean(values) => json!(values[row]),
    };
    table.columns.iter().map(|column| (column.name.clone(), cell(&column.values))).collect()
}

/// Waits for rows of a table of the latest snapshot that fit, and returns them.
async fn wait_rows(agent: &TestAgent, server: &PostgresServer, table: &str, fits: impl Fn(&[Value]) -> bool) -> Vec<Value> {
    until(table, async || {
        let found = latest(agent, server).map(|change| rows(&change.snapshot, table)).unwrap_or_default();
        fitting(found, |found| fits(found)).map_err(|found| format!("{found:#?}"))
    })
    .await
}

fn find<'a>(rows: &'a [Value], wanted: &[(&str, &str)]) -> Option<&'a Value> {
    rows.iter().find(|row| wanted.iter().all(|(column, value)| row[*column] == *value))
}

/// Waits for one row that fits.
async fn wait_row(
    agent: &TestAgent,
    server: &PostgresServer,
    table: &str,
    wanted: &[(&str, &str)],
    fits: impl Fn(&Value) -> bool,
) -> Value {
    let rows = wait_rows(agent, server, table, |rows| find(rows, wanted).is_some_and(&fits)).await;
    find(&rows, wanted).cloned().unwrap_or_default()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn tables_and_indexes_of_every_datname_are_as_the_server_counts_them() {
    let (tasks, _stop) = runtime_tasks();
    let server = postgres(&tasks).await;
    server.create_database("shop").await.unwrap();
    let shop = session(&server, "shop").await;
    shop.run(
        "CREATE SCHEMA sales;
         CREATE TABLE sales.orders (id int PRIMARY KEY, note text) WITH (autovacuum_enabled = off, autovacuum_vacuum_scale_factor = 0.5);
         INSERT INTO sales.orders SELECT g, repeat('x', 200) FROM generate_series(1, 60000) g",
    )
    .await
    .unwrap();
    shop.run("SELECT pg_stat_force_next_flush()").await.unwrap();
    shop.run("ANALYZE sales.orders").await.unwrap();
    shop.run(
        "UPDATE sales.orders SET note = 'y' WHERE id <= 5000; DELETE FROM sales.orders WHERE id > 59000;
         CREATE MATERIALIZED VIEW sales.totals AS SELECT count(*) FROM sales.orders",
    )
    .await
    .unwrap();
    shop.run("SET enable_seqscan = off; SELECT * FROM sales.orders WHERE id = 7").await.unwrap();
    shop.run("SELECT pg_stat_force_next_flush()").await.unwrap();
    let agent = TestAgent::watch(&server).await;

    let orders = [("datname", "shop"), ("schema", "sales"), ("relation", "orders")];
    let row =
        wait_row(&agent, &server, "tables", &orders, |row| row["dead_rows"].as_i64() > Some(5900) && row["index_scans"].as_i64() > Some(0))
            .await;
    // Any session that reads a page may clean it up as well.
    let dead = row["dead_rows"].as_f64().unwrap();
    let ask = |sql: &'static str| async { shop.query_value::<i64>(sql).await.unwrap() };
    assert_eq!(row["size_bytes"], ask("SELECT pg_table_size('sales.orders')").await);
    assert_eq!(row["size_is_exact"], true);
    assert_eq!(row["indexes_size_bytes"], ask("SELECT pg_relation_size('sales.orders_pkey')").await);
    assert_eq!(row["live_rows"], ask("SELECT n_live_tup FROM pg_stat_all_tables WHERE relname = 'orders'").await);
    assert_eq!(row["xid_age"], ask("SELECT age(relfrozenxid)::int8 FROM pg_class WHERE relname = 'orders'").await);
    // 50 + 0.5 * 60000 rows; by default an analyze begins after 50 + 0.1 * 60000 changes, of which there were 6000.
    assert_eq!((&row["vacuum_trigger"], &row["vacuum_enabled"]), (&json!(30_050.0), &json!(false)), "{row:#}");
    assert!((row["vacuum_pressure"].as_f64().unwrap() - dead / 30_050.0).abs() < 1e-9, "{row:#}");
    assert!((row["analyze_pressure"].as_f64().unwrap() - 6000.0 / 6050.0).abs() < 1e-9, "{row:#}");
    assert!(row["seconds_since_analyze"].as_f64().unwrap() < 600.0 && row["seconds_since_vacuum"].is_null(), "{row:#}");

    let labels = "datname=\"shop\",schema=\"sales\",relation=\"orders\"";
    let of = |metric: &str, labels: &str| format!("{metric}{{database=\"app\",server=\"{}\",{labels}}}", server_id(server.port()));
    for (metric, truth) in [("rows_inserted", 60_000.0), ("rows_updated", 5_000.0), ("rows_deleted", 1_000.0)] {
        agent.wait_series(&of(&format!("pharos_postgres_table_{metric}_total"), labels), |value| value == truth).await;
    }
    agent.wait_series(&of("pharos_postgres_tables", "datname=\"shop\""), |count| count == 2.0).await;
    agent.wait_series(&of("pharos_postgres_indexes", "datname=\"shop\""), |count| count == 1.0).await;
    let index = of("pharos_postgres_index_scans_total", &format!("{labels},index=\"orders_pkey\""));
    agent.wait_series(&index, |scans| scans >= 1.0).await;
    let index = wait_row(&agent, &server, "indexes", &[("index", "orders_pkey")], |_| true).await;
    assert_eq!((&index["is_primary"], &index["is_constraint"]), (&json!(true), &json!(true)), "{index:#}");
    let visits =
        wait_rows(&agent, &server, "visits", |rows| find(rows, &[("datname", "shop"), ("collector", "extensions")]).is_some()).await;
    assert!(visits.iter().all(|visit| visit["state"] == "ok"), "{visits:#?}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn counters_that_are_reset_or_dropped_under_way_make_no_spike() {
    let (tasks, stop) = runtime_tasks();
    let server = postgres(&tasks).await;
    let setup = session(&server, "postgres").await;
    setup.run("CREATE TABLE busy (id int PRIMARY KEY); INSERT INTO busy SELECT generate_series(1, 50000)").await.unwrap();
    setup.run("SELECT pg_stat_force_next_flush()").await.unwrap();
    let agent = TestAgent::watch(&server).await;
    wait_row(&agent, &server, "tables", &[("relation", "busy")], |row| row["live_rows"] == 50_000).await;
    let churn = session(&server, "postgres").await;
    tasks.spawn(stop.clone().run_until_cancelled_owned(async move {
        while churn.run("SELECT pg_stat_reset(); CREATE TABLE brief (id int PRIMARY KEY); INSERT INTO brief VALUES (1)").await.is_ok() {
            let flushed = churn.run("SELECT pg_stat_force_next_flush()").await;
            let Ok(()) = flushed.and(churn.run("DROP TABLE brief").await) else { return };
        }
    }));
    let mut rounds = 0;
    let mut seen = Duration::ZERO;
    until("six rounds", async || {
        let change = latest(&agent, &server).unwrap();
        let part = &change.snapshot.parts["tables"];
        if let Some(reading) = reading(part).filter(|reading| reading.at > seen) {
            seen = reading.at;
            rounds += 1;
        }
        let rates = change.samples("pharos_postgres_table_rows_inserted_total", &[], Quantity::Rate).values;
        assert!(rates.iter().all(|rate| (0.0..10_000.0).contains(rate)), "{rates:?}");
        fitting(rounds, |rounds| *rounds >= 6)
    })
    .await;
    stop.cancel();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_datname_that_cannot_be_visited_is_named_and_one_that_is_renamed_or_dropped_is_gone() {
    let (tasks, _stop) = runtime_tasks();
    let server = postgres(&tasks).await;
    for datname in ["closed", "moving", "doomed", "broken"] {
        server.create_database(datname).await.unwrap();
    }
    let setup = session(&server, "postgres").await;
    setup.run("REVOKE CONNECT ON DATABASE closed FROM PUBLIC").await.unwrap();
    // As a DROP DATABASE that was interrupted leaves it.
    setup.run("UPDATE pg_database SET datconnlimit = -2 WHERE datname = 'broken'").await.unwrap();
    let agent = TestAgent::watch(&server).await;
    let visit = |datname: &'static str| [("collector", "tables"), ("datname", datname)];
    let closed = wait_row(&agent, &server, "visits", &visit("closed"), |_| true).await;
    assert_eq!((&closed["state"], &closed["reason"]), (&"unsupported".into(), &"privilege".into()));
    let broken = wait_row(&agent, &server, "visits", &visit("broken"), |_| true).await;
    assert_eq!((&broken["state"], &broken["reason"]), (&"unsupported".into(), &"datname-invalid".into()), "{broken:#}");
    assert!(broken["why"].as_str().unwrap().contains("DROP DATABASE"), "{broken:#}");
    assert!(closed["why"].as_str().unwrap().contains("GRANT CONNECT ON DATABASE \"closed\" TO \"pharos\""), "{closed:#}");
    let answer = agent.wait_json("/api/database/indexes?datname=closed", |answer| answer["not_judged"][0].is_object()).await;
    assert!(answer["not_judged"][0]["why"].as_str().unwrap().contains("GRANT CONNECT"), "{answer:#}");
    for datname in ["moving", "doomed"] {
        wait_row(&agent, &server, "visits", &visit(datname), |row| row["state"] == "ok").await;
    }
    setup.run("DROP DATABASE doomed WITH (FORCE)").await.unwrap();
    // A session in the datname prevents that it is renamed.
    let rename = async || setup.run("ALTER DATABASE moving RENAME TO moved").await.map_err(|err| format!("{err:?}"));
    until("no session is in the datname", rename).await;
    wait_row(&agent, &server, "visits", &visit("moved"), |row| row["state"] == "ok").await;
    let rows = wait_rows(&agent, &server, "visits", |rows| find(rows, &visit("doomed")).is_none()).await;
    assert!(find(&rows, &visit("moving")).is_none() && find(&rows, &visit("postgres")).unwrap()["state"] == "ok", "{rows:#?}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn datnames_that_cannot_be_listed_are_not_taken_for_gone() {
    let (tasks, _stop) = runtime_tasks();
    let server = postgres(&tasks).await;
    server.create_database("shop").await.unwrap();
    let setup = session(&server, "postgres").await;
    let shop = session(&server, "shop").await;
    shop.run("CREATE TABLE orders (id int PRIMARY KEY); INSERT INTO orders SELECT generate_series(1, 5000)").await.unwrap();
    let agent = TestAgent::watch(&server).await;
    let visit = [("collector", "tables"), ("datname", "shop")];
    wait_row(&agent, &server, "visits", &visit, |row| row["state"] == "ok").await;
    // The visitor reads them in its own datname only.
    setup.run("REVOKE SELECT ON pg_database FROM PUBLIC").await.unwrap();
    let failed = wait_row(&agent, &server, "visits", &visit, |row| row["state"] != "ok").await;
    assert!(failed["why"].as_str().unwrap().contains("may not read datnames"), "{failed:#}");
    setup.run("GRANT SELECT ON pg_database TO PUBLIC").await.unwrap();
    wait_row(&agent, &server, "visits", &visit, |row| row["state"] == "ok").await;
    wait_row(&agent, &server, "tables", &[("datname", "shop"), ("relation", "orders")], |_| true).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn names_of_any_letters_are_reported_as_they_are() {
    let (tasks, _stop) = runtime_tasks();
    let server = postgres(&tasks).await;
    let names = ["quote\"'s", "two\nlines", "back\\slash", "ünïcödé-ünïcödé-ünïcödé-ünïcödé-ünïcöd", "{curly}", "%s$1"];
    let datname = "da\"t'a\nname";
    server.create_database(datname).await.unwrap();
    let setup = session(&server, datname).await;
    for name in names {
        let name = name.replace('"', "\"\"");
        setup
            .run(&format!("CREATE SCHEMA \"{name}\"; CREATE TABLE \"{name}\".\"{name}\" (\"{name}\" int); CREATE INDEX \"i{name}\" ON \"{name}\".\"{name}\" (\"{name}\"); CREATE SEQUENCE \"{name}\".\"s{name}\"; INSERT INTO \"{name}\".\"{name}\" VALUES (1)"))
            .await
            .unwrap();
    }
    setup.run("ANALYZE").await.unwrap();
    let agent = TestAgent::watch(&server).await;
    for name in names {
        let wanted = [("datname", datname), ("schema", name), ("relation", name)];
        wait_row(&agent, &server, "tables", &wanted, |_| true).await;
        wait_row(&agent, &server, "indexes", &wanted, |row| row["index"] == format!("i{name}")).await;
        wait_row(&agent, &server, "sequences", &[("datname", datname), ("schema", name)], |row| row["sequence"] == format!("s{name}"))
            .await;
    }
}
