//! No memory that is full by design raises an alert, and no fix advises a setting that is set already or does harm.
//!
//! Memory that is full by design and by mistake, replicas behind one address, and whether the printed cure works.

use ::redis::aio::MultiplexedConnection;
use pharos::demo::redis::{RedisOptions, RedisServer};

use super::{command, commands, config, ends, fires, judged, run, start, works};
use crate::fixture::{TestAgent, redis_with, series};

const MEMORY_RULES: &str = "[plugin.redis-essentials.settings.checks]\nmemory-used = { for = \"0s\", keep_firing_for = \"0s\" }\n\
                            evictions = { for = \"0s\", keep_firing_for = \"0s\" }\n";

/// Writes until the memory is full, a while longer where keys make room for keys.
async fn fill(client: &mut MultiplexedConnection, name: &str, expiry: Option<u32>) {
    let value = "v".repeat(1_000);
    for round in 0..100 {
        let mut pipe = ::redis::pipe();
        for key in 0..100 {
            let set = pipe.cmd("SET").arg(format!("{name}{round}-{key}")).arg(&value);
            expiry.into_iter().for_each(|seconds| {
                set.arg("EX").arg(seconds);
            });
            set.ignore();
        }
        // Refused for want of memory: it is full.
        if pipe.query_async::<()>(client).await.is_err() {
            return;
        }
    }
}

async fn is_full(agent: &TestAgent, server: &RedisServer) {
    agent.wait_series(&series("pharos_redis_memory_used_ratio", server.port(), &[]), |used| used > 0.95).await;
}

async fn policy(agent: &TestAgent, server: &RedisServer, policy: &str) {
    agent.wait_series(&series("pharos_redis_memory_policy", server.port(), &[("policy", policy)]), |one| one == 1.0).await;
}

/// The alert comes and goes with what may be evicted, while the memory stays full.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_full_memory_is_critical_only_where_nothing_may_go_and_each_printed_command_ends_it() {
    let server = start(&[("maxmemory", "6mb"), ("maxmemory-policy", "noeviction")]).await;
    let mut admin = server.connect().await.unwrap();
    fill(&mut admin, "kept", None).await;
    let agent = judged(&format!("{MEMORY_RULES}{}", config(&server, "", "")), &["redis-essentials"]).await;
    is_full(&agent, &server).await;
    let alert = fires(&agent, "memory-used", "noeviction").await;
    assert_eq!(alert["severity"], "critical", "{alert:#}");
    run(&mut admin, &command(&alert, "CONFIG SET maxmemory-policy")).await;
    ends(&agent, "memory-used").await;
    is_full(&agent, &server).await;

    // Keys that expire may go, but there is none.
    run(&mut admin, "CONFIG SET maxmemory-policy volatile-ttl").await;
    let alert = fires(&agent, "memory-used", "none has one").await;
    assert!(!alert["fix"].as_str().unwrap().contains("volatile"), "{alert:#}");
    // One key that may go changes nothing, and neither do a hundred of thousands.
    for key in 0..100 {
        run(&mut admin, &format!("EXPIRE kept0-{key} 3600")).await;
    }
    let alert = fires(&agent, "memory-used", "of all keys have one").await;
    assert_eq!(alert["severity"], "critical", "{alert:#}");
    // With all of them it is a cache.
    let keys: Vec<String> = ::redis::cmd("KEYS").arg("kept*").query_async(&mut admin).await.unwrap();
    let mut pipe = ::redis::pipe();
    keys.iter().for_each(|key| {
        pipe.cmd("EXPIRE").arg(key).arg(3_600).ignore();
    });
    pipe.query_async::<()>(&mut admin).await.unwrap();
    ends(&agent, "memory-used").await;
    is_full(&agent, &server).await;

    run(&mut admin, "CONFIG SET maxmemory-policy noeviction").await;
    let alert = fires(&agent, "memory-used", "CONFIG SET maxmemory ").await;
    for tool in commands(&alert).iter().filter(|command| command.starts_with("redis-cli")) {
        let words: Vec<&str> = tool.split_whitespace().collect();
        let said = tokio::process::Command::new(words[0]).args(&words[1..]).output().await.unwrap();
        assert!(said.status.success() && String::from_utf8_lossy(&said.stdout).contains("Biggest"), "{tool}: {said:?}");
    }
    run(&mut admin, &command(&alert, "CONFIG SET maxmemory ")).await;
    ends(&agent, "memory-used").await;
    agent.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_cache_that_evicts_too_much_has_an_alert_about_evictions_and_none_about_memory() {
    let server = start(&[("maxmemory", "6mb"), ("maxmemory-policy", "allkeys-lru")]).await;
    let agent = judged(&format!("{MEMORY_RULES}{}", config(&server, "", "")), &["redis-essentials"]).await;
    policy(&agent, &server, "allkeys-lru").await;
    let mut client = server.connect().await.unwrap();
    let (tasks, stop) = crate::fixture::runtime_tasks();
    let guard = stop.clone().drop_guard();
    tasks.spawn(stop.run_until_cancelled_owned(async move {
        loop {
            fill(&mut client, "a", None).await;
            fill(&mut client, "b", None).await;
        }
    }));
    let alert = fires(&agent, "evictions", "keys evicted a second").await;
    assert!(!alert["fix"].as_str().unwrap().contains("allkeys"), "{alert:#}");
    let alerts = agent.json("/api/alerts").await;
    assert!(super::of_rule(&alerts, "memory-used").is_none(), "{alerts:#}");
    drop(guard);
    ends(&agent, "evictions").await;
    agent.stop().await;
}

fn lags(metrics: &str) -> Vec<f64> {
    let lines = metrics.lines().filter(|line| line.starts_with("pharos_redis_replica_lag_bytes{"));
    lines.filter_map(|line| line.rsplit_once(' ')?.1.parse().ok()).collect()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn replicas_behind_one_announced_address_are_one_series_with_the_greatest_lag() {
    let master = start(&[]).await;
    let replica = || async {
        let announce = [("replica-announce-ip", "10.0.0.9"), ("replica-announce-port", "6379")];
        let settings = announce.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect();
        redis_with(RedisOptions { replica_of: Some(master.port()), settings }).await
    };
    let replicas = [replica().await, replica().await];
    let checks = "[plugin.redis-essentials.settings.checks]\nreplication-lag = { warning = 100000, critical = 1e12, clear = 10, for = \"0s\", keep_firing_for = \"0s\" }\n";
    let agent = judged(&format!("{checks}{}", config(&master, "", "")), &["redis-essentials"]).await;
    works(&agent, &master).await;
    agent.wait_series(&series("pharos_redis_replicas", master.port(), &[]), |replicas| replicas == 2.0).await;
    let mut client = master.connect().await.unwrap();
    // Whichever of them is first in the server's list.
    for slow in &replicas {
        agent.wait_metrics(|metrics| lags(metrics).iter().all(|lag| *lag < 10_000.0) && lags(metrics).len() == 1).await;
        ends(&agent, "replication-lag").await;
        slow.freeze().await.unwrap();
        run(&mut client, &format!("SET a {}", "v".repeat(1_000_000))).await;
        agent.wait_metrics(|metrics| lags(metrics).len() == 1 && lags(metrics)[0] > 900_000.0).await;
        let alert = fires(&agent, "replication-lag", "replica 10.0.0.9:6379 is").await;
        assert_eq!(alert["labels"]["replica"], "10.0.0.9:6379", "{alert:#}");
        slow.thaw().unwrap();
    }
    ends(&agent, "replication-lag").await;
    let metrics = agent.text("/metrics").await;
    assert!(!metrics.contains("pharos_collect_series_united_total{"), "it was expected, and is no wonder");
    agent.stop().await;
}

/// Commands that change nothing that matters here, as they are printed.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn clients_that_fill_the_server_are_found_and_let_go_as_printed() {
    let server = start(&[("maxclients", "20")]).await;
    let checks = "[plugin.redis-essentials.settings.checks]\nclients-used = { for = \"0s\", keep_firing_for = \"0s\" }\n";
    let agent = judged(&format!("{checks}{}", config(&server, "", "")), &["redis-essentials"]).await;
    let mut clients = Vec::new();
    for _ in 0..16 {
        clients.push(server.connect().await.unwrap());
    }
    let alert = fires(&agent, "clients-used", "of clients are connected").await;
    let listed = tokio::process::Command::new("sh").args(["-c", &command(&alert, "redis-cli")]).output().await.unwrap();
    let listed = String::from_utf8_lossy(&listed.stdout).into_owned();
    assert!(listed.trim().ends_with(" addr=127.0.0.1") && listed.trim().lines().count() == 1, "{listed}");
    for beginning in ["CONFIG GET timeout", "CONFIG SET timeout", "CONFIG SET maxclients"] {
        run(&mut clients[0], &command(&alert, beginning)).await;
    }
    ends(&agent, "clients-used").await;
    agent.stop().await;
}

/// Something is in the way of the file, and is taken away, as room is made on a disk that was full.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_save_that_failed_is_made_good_by_the_printed_command() {
    let server = start(&[]).await;
    let mut admin = server.connect().await.unwrap();
    let dir: (String, String) = ::redis::cmd("CONFIG").arg(&["GET", "dir"]).query_async(&mut admin).await.unwrap();
    // A folder with content has the name of the file, so saving fails for every user.
    let in_the_way = std::path::Path::new(&dir.1).join("dump.rdb");
    std::fs::create_dir_all(in_the_way.join("inside")).unwrap();
    let agent = judged(&config(&server, "", ""), &["redis-essentials"]).await;
    run(&mut admin, "BGSAVE").await;
    let alert = fires(&agent, "rdb-save-failed", "last background save failed").await;
    run(&mut admin, &command(&alert, "CONFIG GET dir")).await;
    std::fs::remove_dir_all(&in_the_way).unwrap();
    run(&mut admin, &command(&alert, "BGSAVE")).await;
    ends(&agent, "rdb-save-failed").await;
    agent.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_replica_that_its_master_refuses_is_found_and_let_in_as_printed() {
    let master = start(&[("requirepass", "masters-own")]).await;
    let replica = redis_with(RedisOptions { replica_of: Some(master.port()), ..RedisOptions::default() }).await;
    let checks = "[plugin.redis-essentials.settings.checks]\nreplica-link-down = { for = \"0s\" }\n";
    let agent = judged(&format!("{checks}{}", config(&replica, "", "")), &["redis-essentials"]).await;
    let alert = fires(&agent, "replica-link-down", "masterauth").await;
    let printed = command(&alert, "redis-cli");
    let words: Vec<&str> = printed.split_whitespace().collect();
    let said = tokio::process::Command::new(words[0]).args(&words[1..]).output().await.unwrap();
    assert!(String::from_utf8_lossy(&said.stdout).contains(&format!("master_port:{}", master.port())), "{printed}: {said:?}");
    run(&mut replica.connect().await.unwrap(), "CONFIG SET masterauth masters-own").await;
    ends(&agent, "replica-link-down").await;
    agent.stop().await;
}
