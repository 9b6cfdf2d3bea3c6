//! No Redis returns without its data unreported, and no loss ends while the server loads.
//!
//! Servers that come back without their data, and those that only seem to.

use std::path::PathBuf;

use ::redis::aio::MultiplexedConnection;
use pharos::demo::redis::{RedisOptions, RedisServer};
use pharos::store::Store;

use super::{commands, config, ends, fires, judged, run, start, works};
use crate::fixture::wait::{fitting, until};
use crate::fixture::{TestAgent, redis_with, series, set_keys, shipped};

const AT_ONCE: &str = "[plugin.redis-essentials.settings.checks]\ndata-lost = { for = \"0s\" }\n";

async fn watch(server: &RedisServer) -> TestAgent {
    let agent = judged(&format!("{AT_ONCE}{}", config(server, "", "")), &["redis-essentials"]).await;
    works(&agent, server).await;
    agent
}

async fn has_keys(agent: &TestAgent, server: &RedisServer, keys: f64) {
    agent.wait_series(&series("pharos_redis_keys", server.port(), &[("db", "db0")]), |count| count == keys).await;
}

async fn is_missing(agent: &TestAgent, server: &RedisServer, share: f64) {
    agent.wait_series(&series("pharos_redis_keys_missing_ratio", server.port(), &[]), |missing| missing == share).await;
}

/// The stored events of alerts about losses, oldest first. The agent has stopped.
async fn stored(agent: TestAgent) -> Vec<String> {
    let folder = agent.stop().await;
    let store = Store::open(&folder.path().join("data")).unwrap();
    let mut events = store.events(1_000).await.unwrap();
    events.reverse();
    let alerts = events.iter().filter(|event| event.kind() == "alert").map(|event| event.stored_detail().to_string());
    alerts.filter(|detail| detail.contains("\"data-lost\"")).collect()
}

/// Waits until the append-only file that was just turned on holds what the server has.
async fn has_append_only_file(admin: &mut MultiplexedConnection) {
    until("the append-only file is written", async || {
        let info: String = ::redis::cmd("INFO").arg("persistence").query_async(admin).await.unwrap();
        let wanted = ["aof_enabled:1", "aof_rewrite_in_progress:0", "aof_rewrite_scheduled:0"];
        fitting(info, |info| wanted.iter().all(|line| info.contains(line)))
    })
    .await;
}

async fn folder(admin: &mut MultiplexedConnection) -> PathBuf {
    let (_, dir): (String, String) = ::redis::cmd("CONFIG").arg(&["GET", "dir"]).query_async(admin).await.unwrap();
    dir.into()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_server_that_restarts_empty_has_lost_its_data_and_one_that_is_emptied_has_not() {
    let mut server = start(&[]).await;
    let mut client = server.connect().await.unwrap();
    set_keys(&mut client, 500).await;
    let agent = watch(&server).await;
    has_keys(&agent, &server, 500.0).await;
    // It saves nothing.
    server.restart().await.unwrap();
    let alert = fires(&agent, "data-lost", "500 keys before it restarted").await;
    assert_eq!(
        (&alert["severity"], &alert["title"]),
        (&"critical".into(), &"all of the keys are gone since the restart".into()),
        "{alert:#}"
    );
    let mut client = server.connect().await.unwrap();
    for printed in ["CONFIG GET dir", "CONFIG GET dbfilename", "CONFIG GET appenddirname", "CONFIG SET appendonly yes", "CONFIG REWRITE"] {
        let with_program = commands(&alert).into_iter().find(|command| command.ends_with(printed)).expect(printed);
        let words: Vec<&str> = with_program.split_whitespace().collect();
        let said = tokio::process::Command::new(words[0]).args(&words[1..]).output().await.unwrap();
        assert!(said.status.success() && !String::from_utf8_lossy(&said.stdout).contains("ERR"), "{with_program}: {said:?}");
    }
    has_append_only_file(&mut client).await;
    set_keys(&mut client, 250).await;
    ends(&agent, "data-lost").await;

    // What is deleted later is not lost by the restart, and with the append-only file the next one loses nothing.
    run(&mut client, "FLUSHALL").await;
    has_keys(&agent, &server, 0.0).await;
    set_keys(&mut client, 600).await;
    has_keys(&agent, &server, 600.0).await;
    server.restart().await.unwrap();
    // Of the first restart it was 500.
    agent.wait_series(&series("pharos_redis_keys_before_restart", server.port(), &[]), |keys| keys == 600.0).await;
    is_missing(&agent, &server, 0.0).await;
    has_keys(&agent, &server, 600.0).await;
    let stored = stored(agent).await;
    assert_eq!(stored.iter().filter(|alert| alert.contains("500 keys before it restarted")).count(), stored.len(), "{stored:#?}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_loss_while_the_agent_was_stopped_is_reported() {
    let mut server = start(&[]).await;
    set_keys(&mut server.connect().await.unwrap(), 500).await;
    let agent = watch(&server).await;
    has_keys(&agent, &server, 500.0).await;
    let folder = agent.stop().await;
    server.restart().await.unwrap();
    let plugins = shipped().into_iter().filter(|(id, _)| id == "redis-essentials").collect();
    let agent = TestAgent::start_in(folder, &format!("{AT_ONCE}{}", config(&server, "", "")), plugins).await;
    fires(&agent, "data-lost", "500 keys before it restarted").await;
    agent.stop().await;
}

/// The file is taken away and brought back, as a volume that was not mounted is mounted again.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn data_that_was_elsewhere_is_brought_back_as_printed() {
    let mut server = start(&[]).await;
    let mut client = server.connect().await.unwrap();
    set_keys(&mut client, 500).await;
    run(&mut client, "SAVE").await;
    let file = folder(&mut client).await.join("dump.rdb");
    let agent = watch(&server).await;
    has_keys(&agent, &server, 500.0).await;
    server.kill().await.unwrap();
    let elsewhere = file.with_extension("elsewhere");
    std::fs::rename(&file, &elsewhere).unwrap();
    server.restart().await.unwrap();
    let alert = fires(&agent, "data-lost", "gone since the restart").await;
    let printed = commands(&alert).into_iter().find(|command| command.ends_with("SHUTDOWN NOSAVE")).unwrap();
    let words: Vec<&str> = printed.split_whitespace().collect();
    tokio::process::Command::new(words[0]).args(&words[1..]).output().await.unwrap();
    std::fs::rename(&elsewhere, &file).unwrap();
    server.kill().await.unwrap();
    server.restart().await.unwrap();
    has_keys(&agent, &server, 500.0).await;
    ends(&agent, "data-lost").await;
    agent.stop().await;
}

/// It begins empty each time, until its master has sent it everything.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_replica_that_fills_itself_from_its_master_has_lost_nothing() {
    let master = start(&[]).await;
    set_keys(&mut master.connect().await.unwrap(), 500).await;
    let mut replica = redis_with(RedisOptions { replica_of: Some(master.port()), ..RedisOptions::default() }).await;
    let agent = watch(&replica).await;
    has_keys(&agent, &replica, 500.0).await;
    replica.restart().await.unwrap();
    is_missing(&agent, &replica, 0.0).await;
    assert_eq!(stored(agent).await, Vec::<String>::new());
}
