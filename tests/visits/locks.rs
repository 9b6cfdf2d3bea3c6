//! No visit waits for a lock, and no size that could not be read is reported as exact.
//!
//! Locks of all kinds, held or awaited: no lock delays a visit, and a visit reports relations that it could not measure.

use std::time::Duration;

use pharos::demo::postgres::PostgresServer;

use super::{find, latest, rows, session, wait_row, wait_rows};
use crate::fixture::wait::{holds, until};
use crate::fixture::{TestAgent, eventually, postgres, runtime_tasks};

const MODES: [&str; 8] = [
    "ACCESS SHARE",
    "ROW SHARE",
    "ROW EXCLUSIVE",
    "SHARE UPDATE EXCLUSIVE",
    "SHARE",
    "SHARE ROW EXCLUSIVE",
    "EXCLUSIVE",
    "ACCESS EXCLUSIVE",
];

/// Waits for so many rounds that began from now on.
async fn rounds(agent: &TestAgent, server: &PostgresServer, count: usize) {
    let read_at =
        || latest(agent, server).and_then(|change| change.snapshot.parts.get("tables")?.reading.as_ref().map(|reading| reading.at));
    let mut reads: Vec<Duration> = Vec::new();
    until(format_args!("{count} rounds"), async || {
        reads.extend(read_at().filter(|at| reads.last() != Some(at)));
        // The first one may have begun before.
        holds(reads.len() >= count + 2, || format!("{} rounds", reads.len()))
    })
    .await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_lock_of_any_mode_held_or_awaited_holds_up_no_visit() {
    let (tasks, _stop) = runtime_tasks();
    let server = postgres(&tasks).await;
    let setup = session(&server, "postgres").await;
    setup
        .run(
            "CREATE TABLE largest (id int PRIMARY KEY, note text);
             INSERT INTO largest SELECT g, repeat('x', 100) FROM generate_series(1, 50000) g;
             CREATE TABLE second AS SELECT * FROM largest",
        )
        .await
        .unwrap();
    setup.run("SELECT pg_stat_force_next_flush()").await.unwrap();
    setup.run("ANALYZE largest, second").await.unwrap();
    let agent = TestAgent::watch(&server).await;
    let largest = [("relation", "largest")];
    wait_row(&agent, &server, "tables", &largest, |row| row["size_is_exact"] == true && row["live_rows"] == 50_000).await;
    for mode in MODES {
        let holder = session(&server, "postgres").await;
        holder.run(&format!("BEGIN; LOCK TABLE largest IN {mode} MODE")).await.unwrap();
        rounds(&agent, &server, 2).await;
        wait_reported(&agent, &server, mode, "held").await;
        holder.run("ROLLBACK").await.unwrap();

        // A session waits for the lock behind a reader. From then on all others queue behind that session.
        holder.run("BEGIN; LOCK TABLE largest IN ACCESS EXCLUSIVE MODE").await.unwrap();
        let waiter = session(&server, "postgres").await;
        let waits = tasks.spawn({
            let sql = format!("BEGIN; LOCK TABLE largest IN {mode} MODE; ROLLBACK");
            async move { waiter.run(&sql).await }
        });
        eventually(&setup, "SELECT count(*) = 1 FROM pg_locks WHERE NOT granted").await;
        rounds(&agent, &server, 2).await;
        holder.run("ROLLBACK").await.unwrap();
        waits.await.unwrap().unwrap();
    }
    // No session holds the lock, but one waits for it behind a reader.
    let reader = session(&server, "postgres").await;
    reader.run("BEGIN; LOCK TABLE largest IN ACCESS SHARE MODE").await.unwrap();
    let waiter = session(&server, "postgres").await;
    let waits = tasks.spawn(async move { waiter.run("BEGIN; LOCK TABLE largest IN ACCESS EXCLUSIVE MODE; ROLLBACK").await });
    eventually(&setup, "SELECT count(*) = 1 FROM pg_locks WHERE NOT granted").await;
    rounds(&agent, &server, 2).await;
    wait_reported(&agent, &server, "ACCESS EXCLUSIVE", "waiting").await;
    reader.run("ROLLBACK").await.unwrap();
    waits.await.unwrap().unwrap();
    wait_row(&agent, &server, "tables", &largest, |row| row["size_is_exact"] == true).await;
    wait_rows(&agent, &server, "locked_relations", <[_]>::is_empty).await;
}

/// Waits until a lock on the relation is reported. Only an exclusive lock, held or awaited, blocks readers; the counters are read all the
/// same.
async fn wait_reported(agent: &TestAgent, server: &PostgresServer, mode: &str, state: &str) {
    if mode != "ACCESS EXCLUSIVE" {
        let row = wait_row(agent, server, "tables", &[("relation", "largest")], |row| row["size_is_exact"] == true).await;
        assert_eq!(row["live_rows"], 50_000);
        return;
    }
    let wanted =
        [("datname", "postgres"), ("schema", "public"), ("relation", "largest"), ("mode", "AccessExclusiveLock"), ("state", state)];
    wait_row(agent, server, "locked_relations", &wanted, |_| true).await;
    let row = wait_row(agent, server, "tables", &[("relation", "largest")], |row| row["size_is_exact"] == false).await;
    assert_eq!(row["live_rows"], 50_000);
    assert!(row["size_bytes"].as_i64().unwrap() > 5_000_000, "the pages of the last analyze: {row:#}");
    let tables = rows(&latest(agent, server).unwrap().snapshot, "tables");
    assert_eq!(find(&tables, &[("relation", "second")]).unwrap()["size_is_exact"], true, "others are measured all the same");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn locks_that_come_and_go_all_the_time_fail_no_visit() {
    let (tasks, stop) = runtime_tasks();
    let server = postgres(&tasks).await;
    let setup = session(&server, "postgres").await;
    setup
        .run(
            "CREATE TABLE hot (id int PRIMARY KEY, note text); INSERT INTO hot SELECT g, repeat('x', 100) FROM generate_series(1, 50000) g",
        )
        .await
        .unwrap();
    let agent = TestAgent::watch(&server).await;
    wait_row(&agent, &server, "tables", &[("relation", "hot")], |_| true).await;
    let churn = session(&server, "postgres").await;
    tasks.spawn(stop.clone().run_until_cancelled_owned(async move {
        while churn.run("BEGIN; LOCK TABLE hot IN ACCESS EXCLUSIVE MODE; SELECT pg_sleep(0.3); COMMIT").await.is_ok() {}
    }));
    for _ in 0..8 {
        rounds(&agent, &server, 1).await;
        let change = latest(&agent, &server).unwrap();
        assert!(change.snapshot.parts["tables"].reading.is_some() && change.snapshot.parts["indexes"].reading.is_some());
    }
    stop.cancel();
}
