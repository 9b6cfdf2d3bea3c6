//! No number of sequences takes the locks of other sessions, and no sequence that is being changed fails a visit.
//!
//! Very many sequences, and some that are changed all the time: their values are read, and no session runs out of locks.

use pharos::demo::postgres::PostgresOptions;

use super::{find, latest, reading, rows, session, wait_row};
use crate::fixture::wait::{fitting, holds, until};
use crate::fixture::{TestAgent, postgres, postgres_with, runtime_tasks, server_id};

/// Locks that a visit may hold at once: those of a batch, and of the catalogue.
const LOCKS_MAX: i64 = 150;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn three_thousand_sequences_are_read_with_a_lock_table_that_holds_a_few_hundred() {
    let (tasks, _stop) = runtime_tasks();
    let settings = [("max_locks_per_transaction", "10"), ("max_connections", "20")];
    let settings = settings.map(|(name, value)| (name.to_owned(), value.to_owned())).to_vec();
    let server = postgres_with(PostgresOptions { settings, ..PostgresOptions::default() }, &tasks).await;
    let setup = session(&server, "postgres").await;
    setup.run("ALTER DEFAULT PRIVILEGES GRANT SELECT ON SEQUENCES TO pharos").await.unwrap();
    let columns: Vec<String> = (0..50).map(|column| format!("c{column} serial")).collect();
    for table in 0..60 {
        setup.run(&format!("CREATE TABLE many{table} ({}); INSERT INTO many{table} DEFAULT VALUES", columns.join(", "))).await.unwrap();
    }
    let agent = TestAgent::watch(&server).await;
    let of = |metric: &str| format!("{metric}{{database=\"app\",server=\"{}\",datname=\"postgres\"}}", server_id(server.port()));
    agent.wait_series(&of("pharos_postgres_sequences"), |count| count == 3000.0).await;
    // Not all of them in one visit, but all in turn.
    let mut most = 0;
    until("all sequences are asked", async || {
        let held = "SELECT count(*) FROM pg_locks l JOIN pg_stat_activity a USING (pid) WHERE a.usename = 'pharos'";
        most = most.max(setup.query_value::<i64>(held).await.unwrap());
        let change = latest(&agent, &server).unwrap();
        let part = &change.snapshot.parts["sequences"];
        assert!(part.reading.is_some(), "{part:?}");
        fitting(agent.text("/metrics").await, |metrics| metrics.contains(&format!("{} 0\n", of("pharos_postgres_sequences_unasked"))))
    })
    .await;
    assert!(most < LOCKS_MAX, "{most} locks");
    let read = rows(&latest(&agent, &server).unwrap().snapshot, "sequences");
    assert!(read.iter().all(|row| row["state"] == "known" && row["last_value"] == 1), "{read:#?}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_sequence_that_is_changed_all_the_time_fails_no_visit() {
    let (tasks, stop) = runtime_tasks();
    let server = postgres(&tasks).await;
    let setup = session(&server, "postgres").await;
    setup.run("CREATE SEQUENCE hot; SELECT nextval('hot'); GRANT SELECT ON hot TO pharos").await.unwrap();
    let agent = TestAgent::watch(&server).await;
    wait_row(&agent, &server, "sequences", &[("sequence", "hot")], |row| row["state"] == "known").await;
    let churn = session(&server, "postgres").await;
    tasks.spawn(stop.clone().run_until_cancelled_owned(async move {
        while churn.run("BEGIN; ALTER SEQUENCE hot CACHE 5; SELECT pg_sleep(0.4); COMMIT").await.is_ok() {}
    }));
    let (mut seen, mut locked) = (Vec::new(), 0);
    until("eight rounds, one of which meets the lock", async || {
        let change = latest(&agent, &server).unwrap();
        let part = &change.snapshot.parts["sequences"];
        if let Some(reading) = reading(part).filter(|reading| !seen.contains(&reading.at)) {
            seen.push(reading.at);
            let rows = rows(&change.snapshot, "sequences");
            locked += usize::from(find(&rows, &[("sequence", "hot"), ("state", "locked")]).is_some());
        }
        holds(seen.len() >= 8 && locked > 0, || format!("{} rounds, {locked} of them met the lock", seen.len()))
    })
    .await;
    stop.cancel();
}
