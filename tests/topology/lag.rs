//! No lag is made by two clocks or an idle primary, or hidden by a paused replay. No slot that has lost its WAL looks safe.
//!
//! Covers standbys and replication slots behind a primary that writes.

use pharos::demo::postgres::{PostgresOptions, PostgresServer};
use pharos_model::subject::SubjectKey;
use tokio::time::Instant;

use super::{config, id, member, of_member, probes, session, standby_of};
use crate::fixture::wait::{fitting, until};
use crate::fixture::{TestAgent, eventually, postgres, postgres_with, runtime_tasks, series};

/// Waits until the identity of each of these servers was read this many times more.
async fn further_probes(agent: &TestAgent, servers: &[&PostgresServer], count: f64) {
    for server in servers {
        let before = probes(agent, server).await;
        let further = async || fitting(probes(agent, server).await, |probes| *probes >= before + count);
        until(format_args!("{count} further probes of {}", id(server)), further).await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_standby_that_does_not_replay_lags_by_the_time_since_the_primary_went_on() {
    let (tasks, _stop) = runtime_tasks();
    let primary = postgres(&tasks).await;
    let standby = standby_of(&primary, "second", &[], &tasks).await;
    let agent = TestAgent::start_with(&config(&primary, &[&standby]), Vec::new()).await;
    let lag = of_member("member_lag_seconds", &standby);
    let sender = series("pharos_postgres_replication_lag_seconds", primary.port(), &[("standby", "second"), ("client", "127.0.0.1")]);
    let (writer, reader) = (session(&primary).await, session(&standby).await);
    agent.wait_series(&lag, |seconds| seconds == 0.0).await;
    // Nothing is written: nothing is missing, however long ago the last transaction was.
    further_probes(&agent, &[&standby], 6.0).await;
    agent.wait_series(&lag, |seconds| seconds == 0.0).await;

    // Both servers are read once more after this instant, when nothing is missing. Everything that is missing later was written later.
    let complete = Instant::now();
    further_probes(&agent, &[&primary, &standby], 2.0).await;
    agent.wait_series(&lag, |seconds| seconds == 0.0).await;
    reader.run("SELECT pg_wal_replay_pause()").await.unwrap();
    agent.wait_series(&series("pharos_postgres_standby_replay_paused", standby.port(), &[]), |paused| paused == 1.0).await;
    writer.run("CREATE TABLE written AS SELECT n, repeat('x', 500) FROM generate_series(1, 10000) n").await.unwrap();
    for series in [&lag, &sender] {
        let shown = agent.wait_series(series, |seconds| seconds >= 2.0).await;
        let elapsed = complete.elapsed().as_secs_f64();
        assert!(shown <= elapsed, "{series}: {shown} s are shown after {elapsed} s");
    }
    // Everything has arrived: it is the replay that lags.
    let (table, row) = member(&agent, &standby);
    assert_eq!(table.number("shipping_lag_seconds", row), Some(0.0));
    let apply = series("pharos_postgres_standby_replay_lag_seconds", standby.port(), &[]);
    let shown = agent.series(&apply).await.unwrap();
    assert!((1.0..=complete.elapsed().as_secs_f64()).contains(&shown), "{shown}");

    // Busy meanwhile: the lag is still since the first thing that is missing.
    for round in 0..5 {
        writer.run(&format!("CREATE TABLE more_{round} AS SELECT n FROM generate_series(1, 1000) n")).await.unwrap();
    }
    let shown = agent.wait_series(&lag, |seconds| seconds >= 4.0).await;
    assert!(shown <= complete.elapsed().as_secs_f64(), "{shown}");
    reader.run("SELECT pg_wal_replay_resume()").await.unwrap();
    agent.wait_series(&lag, |seconds| seconds == 0.0).await;
    agent.wait_series(&sender, |seconds| seconds == 0.0).await;

    // The standby is cut off, so no sender reports it any more. The database still does.
    reader.run("ALTER SYSTEM SET primary_conninfo = ''").await.unwrap();
    reader.run("SELECT pg_reload_conf()").await.unwrap();
    eventually(&writer, "SELECT count(*) = 0 FROM pg_stat_replication").await;
    writer.run("CREATE TABLE unseen AS SELECT n, repeat('x', 500) FROM generate_series(1, 10000) n").await.unwrap();
    agent.wait_series(&of_member("member_lag_bytes", &standby), |bytes| bytes > 1e6).await;
    agent.wait_series(&lag, |seconds| seconds >= 1.0).await;
    agent.wait_metrics(|metrics| !metrics.contains(&sender)).await;
    let receiver_up = series("pharos_postgres_standby_receiver_up", standby.port(), &[]);
    agent.wait_series(&receiver_up, |up| up == 0.0).await;
    let (table, row) = member(&agent, &standby);
    assert!(table.number("shipping_lag_seconds", row) >= Some(1.0), "now it is the way that lags: {table:?}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_slot_shows_how_much_wal_it_may_still_retain_and_then_that_it_has_lost_its_wal() {
    let (tasks, _stop) = runtime_tasks();
    let settings = [("max_slot_wal_keep_size", "32MB"), ("wal_keep_size", "0"), ("max_wal_size", "32MB"), ("min_wal_size", "32MB")];
    let settings = settings.map(|(key, value)| (key.to_owned(), value.to_owned())).into();
    let server = postgres_with(PostgresOptions { settings, ..PostgresOptions::default() }, &tasks).await;
    let agent = TestAgent::watch(&server).await;
    let writer = session(&server).await;
    writer.run("SELECT pg_create_physical_replication_slot('kept', true)").await.unwrap();
    let of = |metric: &str| series(metric, server.port(), &[("slot", "kept"), ("slot_type", "physical")]);
    let safe = agent.wait_series(&of("pharos_postgres_slot_safe_bytes"), |safe| safe > 0.0).await;
    let switch = async || writer.run("CREATE TABLE t (); DROP TABLE t; SELECT pg_switch_wal()").await.unwrap();
    switch().await;
    agent.wait_series(&of("pharos_postgres_slot_safe_bytes"), |now| now < safe).await;
    agent.wait_series(&of("pharos_postgres_slot_inactive_seconds"), |seconds| seconds > 0.5).await;
    for _ in 0..4 {
        switch().await;
    }
    agent.wait_series(&of("pharos_postgres_slot_wal_lost"), |lost| lost >= 0.5).await;
    writer.run("CHECKPOINT").await.unwrap();
    agent.wait_series(&of("pharos_postgres_slot_wal_lost"), |lost| lost == 1.0).await;
    agent.wait_series(&of("pharos_postgres_slot_invalidated"), |invalidated| invalidated == 1.0).await;
    let key = SubjectKey::new("postgres", id(&server));
    let picture = agent.agent.board().picture();
    let slots = picture.subjects[&key].snapshot.table("slots").unwrap();
    assert_eq!((slots.text("slot", 0), slots.text("invalidation_reason", 0)), (Some("kept"), Some("wal_removed")));
}
