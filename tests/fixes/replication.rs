//! No cure of replication removes a slot or a standby that is still needed.
//!
//! Standbys, slots that lost WAL, and subscriptions.

use pharos::demo::postgres::{MONITORING_ROLE, PostgresOptions, SUPERUSER};

use super::{cure, fires, session, watch};
use crate::fixture::{TestAgent, eventually, postgres_config, postgres_with, runtime_tasks, shipped};
use crate::topology::standby_of;

const SETTINGS: &str = r#"
    [plugin.postgres-replication.settings.checks]
    standby-replay-paused = { for = "0s" }
    sync-standby-missing = { for = "0s" }
    slot-losing-wal = { for = "0s" }
    subscription-disabled = { for = "0s" }
"#;

fn replication() -> Vec<(String, Vec<u8>)> {
    shipped().into_iter().filter(|(id, _)| id == "postgres-replication").collect()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_standby_that_stands_still_goes_on_and_commits_wait_for_no_absent_one() {
    let (tasks, _stop) = runtime_tasks();
    let settings = vec![("synchronous_commit".to_owned(), "on".to_owned())];
    let primary = postgres_with(PostgresOptions { settings, ..PostgresOptions::default() }, &tasks).await;
    let standby = standby_of(&primary, "standby", &[], &tasks).await;
    let (on_primary, on_standby) = (session(&primary).await, session(&standby).await);
    let replicas = format!("replicas = [\"{}\"]\n", standby.url(MONITORING_ROLE, "postgres"));
    let agent = TestAgent::start_with(&format!("{SETTINGS}{}{replicas}", postgres_config("app", &primary)), replication()).await;

    on_standby.run("SELECT pg_wal_replay_pause()").await.unwrap();
    // It pauses before the next record.
    on_primary.run("CREATE TABLE not_replayed ()").await.unwrap();
    let alert = fires(&agent, "standby-replay-paused", &[], "").await;
    cure(&agent, &on_standby, &alert, &["SELECT pg_catalog.pg_wal_replay_resume"]).await;

    on_primary.run("ALTER SYSTEM SET synchronous_standby_names = 'nobody'").await.unwrap();
    on_primary.run("SELECT pg_reload_conf()").await.unwrap();
    let alert = fires(&agent, "sync-standby-missing", &[], "").await;
    cure(&agent, &on_primary, &alert, &["ALTER SYSTEM SET", "SELECT pg_catalog.pg_reload_conf"]).await;
    on_primary.run("CREATE TABLE committed ()").await.unwrap();
    agent.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_slot_that_lost_wal_is_dropped() {
    let (tasks, _stop) = runtime_tasks();
    let settings = [("max_slot_wal_keep_size", "1MB"), ("wal_keep_size", "0"), ("max_wal_size", "32MB"), ("min_wal_size", "32MB")];
    let settings = settings.map(|(key, value)| (key.to_owned(), value.to_owned())).into();
    let server = postgres_with(PostgresOptions { settings, ..PostgresOptions::default() }, &tasks).await;
    let setup = session(&server).await;
    setup.run("SELECT pg_create_physical_replication_slot('too_late', true)").await.unwrap();
    let agent = watch(&server, SETTINGS, &["postgres-replication"]).await;
    setup.run("CREATE TABLE churned (line text)").await.unwrap();
    for _ in 0..4 {
        setup.run("INSERT INTO churned SELECT repeat('x', 1000) FROM generate_series(1, 20000)").await.unwrap();
        setup.run("SELECT pg_switch_wal()").await.unwrap();
        setup.run("CHECKPOINT").await.unwrap();
    }
    eventually(&setup, "SELECT wal_status = 'lost' FROM pg_replication_slots").await;
    let alert = fires(&agent, "slot-losing-wal", &[("slot", "too_late")], "has lost WAL").await;
    assert_eq!(alert["severity"], "critical", "{alert:#}");
    cure(&agent, &setup, &alert, &["SELECT pg_catalog.pg_drop_replication_slot"]).await;
    agent.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_subscription_that_is_disabled_is_enabled() {
    let (tasks, _stop) = runtime_tasks();
    let options = || PostgresOptions { settings: vec![("wal_level".to_owned(), "logical".to_owned())], ..PostgresOptions::default() };
    let (publisher, subscriber) = (postgres_with(options(), &tasks).await, postgres_with(options(), &tasks).await);
    let (sends, takes) = (session(&publisher).await, session(&subscriber).await);
    for side in [&sends, &takes] {
        side.run("CREATE TABLE t (i int PRIMARY KEY)").await.unwrap();
    }
    sends.run("CREATE PUBLICATION p FOR TABLE t").await.unwrap();
    let conninfo = format!("host=127.0.0.1 port={} user={SUPERUSER} dbname=postgres", publisher.port());
    takes.run(&format!("CREATE SUBSCRIPTION \"From shop\" CONNECTION '{conninfo}' PUBLICATION p WITH (slot_name = s)")).await.unwrap();
    takes.run("ALTER SUBSCRIPTION \"From shop\" DISABLE").await.unwrap();
    let agent = watch(&subscriber, SETTINGS, &["postgres-replication"]).await;
    let alert = fires(&agent, "subscription-disabled", &[("subscription", "From shop")], "").await;
    cure(&agent, &takes, &alert, &["ALTER SUBSCRIPTION \"From shop\" ENABLE"]).await;
    sends.run("INSERT INTO t VALUES (1)").await.unwrap();
    eventually(&takes, "SELECT count(*) = 1 FROM t").await;
    agent.stop().await;
}
