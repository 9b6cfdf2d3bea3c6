//! No cure ends a session that does not prevent freezing.
//!
//! Covers everything that holds back the age of a datname.

use pharos::demo::postgres::{PostgresOptions, SUPERUSER};

use super::{cure, fires, session, statements, watch};
use crate::fixture::{eventually, postgres_with, runtime_tasks};

const SETTINGS: &str = r#"
    [plugin.postgres-maintenance.settings.checks]
    freeze-overdue = { for = "0s", keep_firing_for = "0s" }
"#;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_temporary_table_that_holds_back_freezing_is_named_with_its_session() {
    let (tasks, _stop) = runtime_tasks();
    let settings = [("autovacuum_freeze_max_age", "100000"), ("autovacuum_naptime", "1s"), ("max_prepared_transactions", "2")];
    let settings = settings.map(|(name, value)| (name.to_owned(), value.to_owned())).to_vec();
    let server = postgres_with(PostgresOptions { settings, ..PostgresOptions::default() }, &tasks).await;
    server.create_database("shop").await.unwrap();
    let setup = session(&server).await;
    let basket = server.connect(SUPERUSER, "shop").await.unwrap();
    basket.run("CREATE TEMP TABLE basket AS SELECT 1 AS id").await.unwrap();
    let pid: i32 = basket.query_value("SELECT pg_backend_pid()").await.unwrap();
    // Before PostgreSQL 16 a session is known by those with a transaction beside it.
    let neighbour = session(&server).await;
    neighbour.run("BEGIN").await.unwrap();
    setup.run("DO $$ BEGIN FOR i IN 1..150000 LOOP PERFORM pg_current_xact_id(); COMMIT; END LOOP; END $$").await.unwrap();
    let shop = server.connect(SUPERUSER, "shop").await.unwrap();
    shop.run("VACUUM (FREEZE)").await.unwrap();
    let agent = watch(&server, SETTINGS, &["postgres-maintenance"]).await;
    let alert =
        fires(&agent, "freeze-overdue", &[("datname", "shop"), ("counter", "xid")], &format!("pid = {pid} AND backend_start = ")).await;
    assert!(alert["cause"].as_str().unwrap().contains(&format!("belongs to process {pid} ({SUPERUSER})")), "{alert:#}");
    assert!(!alert["fix"].as_str().unwrap().contains("VACUUM (FREEZE"), "nothing else is in the way: {alert:#}");
    assert_eq!(statements(&alert).len(), 4, "{alert:#}");
    cure(&agent, &setup, &alert, &["SELECT pg_terminate_backend"]).await;
    agent.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_table_is_named_where_it_is_the_oldest_and_a_holder_only_where_it_is_old_enough() {
    let (tasks, _stop) = runtime_tasks();
    let settings = [("autovacuum_freeze_max_age", "100000"), ("autovacuum_naptime", "1h"), ("max_prepared_transactions", "2")];
    let settings = settings.map(|(name, value)| (name.to_owned(), value.to_owned())).to_vec();
    let server = postgres_with(PostgresOptions { settings, ..PostgresOptions::default() }, &tasks).await;
    let setup = session(&server).await;
    setup.run("CREATE TABLE \"Old one\" AS SELECT 1 AS id").await.unwrap();
    setup.run("DO $$ BEGIN FOR i IN 1..150000 LOOP PERFORM pg_current_xact_id(); COMMIT; END LOOP; END $$").await.unwrap();
    // A session that is younger than the rows to freeze blocks no freeze.
    let young = session(&server).await;
    young.run("BEGIN ISOLATION LEVEL REPEATABLE READ; SELECT count(*) FROM \"Old one\"").await.unwrap();
    let all_but_one = "SELECT string_agg(format('VACUUM (FREEZE) %s', oid::regclass), ';' ORDER BY oid) FROM pg_class WHERE relkind IN ('r', 'm') AND relname <> 'Old one'";
    let all_but_one: String = setup.query_value(all_but_one).await.unwrap();
    for statement in all_but_one.split(';') {
        setup.run(statement).await.unwrap();
    }
    eventually(&setup, "SELECT age(datfrozenxid) > 105000 FROM pg_database WHERE datname = 'postgres'").await;
    let agent = watch(&server, SETTINGS, &["postgres-maintenance"]).await;
    let alert =
        fires(&agent, "freeze-overdue", &[("datname", "postgres"), ("counter", "xid")], "VACUUM (FREEZE, VERBOSE) \"public\".\"Old one\";")
            .await;
    assert!(!alert["cause"].as_str().unwrap().contains("may still see"), "{alert:#}");
    cure(&agent, &setup, &alert, &["VACUUM (FREEZE, VERBOSE)"]).await;
    agent.stop().await;
}
