//! Redis servers whose keys are alerts, an agent that monitors them, and receivers that accept every message.
//!
//! Each logical database with a key is an alert of the shipped `threshold`, which the shipped `webhook` sends in a message of its own.
//! Alerts of the crowd go to one receiver and those of the probe to another one, so that they do not wait behind the crowd's.

use std::time::Duration;

use anyhow::Context;
use futures_util::future::try_join_all;
use pharos::clock::{Clock, parse_rfc3339};
use pharos::demo::binaries::find_redis;
use pharos::demo::receiver::{Delivery, Receiver};
use pharos::demo::redis::{RedisOptions, RedisServer};
use serde_json::Value;
use tokio::time::Instant;
use tokio_util::sync::{CancellationToken, DropGuard};
use tokio_util::task::TaskTracker;

use super::agent::Place;

/// Logical databases of each server: as many as have series of their own, each of which is an alert.
pub const DATABASES: usize = 100;
/// The longest wait for receivers.
const PATIENCE: Duration = Duration::from_secs(120);

pub struct Stage {
    pub place: Place,
    pub probe: RedisServer,
    pub crowd: Vec<RedisServer>,
    pub pager: Receiver,
    pub ops: Receiver,
    started: (Instant, u64),
    _stop: DropGuard,
}

impl Stage {
    /// A probe and a crowd of servers, all of them read once per interval.
    pub async fn new(crowd: usize, interval: Duration) -> anyhow::Result<Self> {
        let (tasks, stop) = (TaskTracker::new(), CancellationToken::new());
        let pager = Receiver::start(None, &tasks, &stop).await?;
        let ops = Receiver::start(None, &tasks, &stop).await?;
        let probe = server().await?;
        let crowd = try_join_all((0..crowd).map(|_| server())).await?;
        let place = Place::of(&config(interval, &probe, &crowd, [&pager, &ops])).await?;
        let started = (Instant::now(), Clock::start().wall_ms());
        Ok(Self { place, probe, crowd, pager, ops, started, _stop: stop.drop_guard() })
    }

    /// Puts a key into a database of the probe.
    pub async fn raise(&self, database: usize) -> anyhow::Result<()> {
        write(&self.probe, "SELECT", database, "SET").await
    }

    /// Removes the key again.
    pub async fn clear(&self, database: usize) -> anyhow::Result<()> {
        write(&self.probe, "SELECT", database, "DEL").await
    }

    /// Puts a key into every database of the crowd, of each server in one moment.
    pub async fn raise_all(&self) -> anyhow::Result<()> {
        let script = format!("for db = 0, {} do redis.call('SELECT', db) redis.call('SET', 'key', 'x') end", DATABASES - 1);
        try_join_all(self.crowd.iter().map(async |server| {
            let mut keys = server.connect().await?;
            redis::cmd("EVAL").arg(&script).arg(0).query_async::<()>(&mut keys).await?;
            anyhow::Ok(())
        }))
        .await
        .map(drop)
    }

    /// Waits until a receiver accepted so many alerts that fire, and that are resolved.
    pub async fn wait(&self, receiver: &Receiver, firing: usize, resolved: usize) -> anyhow::Result<()> {
        let heard = receiver.wait_until(PATIENCE, |received| {
            let count = received.count(RULE);
            count.firing >= firing && count.resolved >= resolved
        });
        anyhow::ensure!(heard.await, "a receiver got {:?} instead of {firing} and {resolved}", receiver.received(|all| all.count(RULE)));
        Ok(())
    }

    /// From the snapshot in which an alert began, or ended, to the moment when its receiver had the whole message.
    pub fn latency(&self, delivery: &Delivery) -> anyhow::Result<Duration> {
        let message: Value = serde_json::from_slice(&delivery.body)?;
        let alert = &message["alerts"][0];
        let key = if alert["status"] == "resolved" { "endsAt" } else { "startsAt" };
        let happened_ms = alert[key].as_str().and_then(parse_rfc3339).context("a message without a time")?;
        let (instant, wall_ms) = self.started;
        let arrived = Duration::from_millis(wall_ms) + delivery.at.saturating_duration_since(instant);
        Ok(arrived.saturating_sub(Duration::from_millis(happened_ms)))
    }
}

/// The rule that finds keys.
const RULE: &str = "keys";

async fn server() -> anyhow::Result<RedisServer> {
    let settings = vec![("databases".to_owned(), DATABASES.to_string())];
    Ok(RedisServer::start(&find_redis(None)?, RedisOptions { settings, ..RedisOptions::default() }).await?)
}

async fn write(server: &RedisServer, select: &str, database: usize, command: &str) -> anyhow::Result<()> {
    let mut write = redis::pipe();
    write.cmd(select).arg(database).ignore().cmd(command).arg("key");
    if command == "SET" {
        write.arg("x");
    }
    write.query_async::<()>(&mut server.connect().await?).await?;
    Ok(())
}

fn config(interval: Duration, probe: &RedisServer, crowd: &[RedisServer], [pager, ops]: [&Receiver; 2]) -> String {
    let crowd: Vec<String> = crowd.iter().enumerate().map(|(number, server)| watched(&format!("crowd-{number}"), server)).collect();
    let receiver = |name, receiver: &Receiver| {
        format!("[[receiver]]\nname = \"{name}\"\nplugin = \"webhook\"\nsettings = {{ url = \"{}\" }}\n", receiver.url())
    };
    format!(
        r#"
        [collect.interval]
        info = "{interval:?}"
        [[plugin.threshold.settings.rules]]
        id = "{RULE}"
        metric = "pharos_redis_keys"
        above = 0
        severity = "warning"
        [plugin.webhook]
        grants = {{ egress = ["127.0.0.1"] }}
        [[route]]
        match = {{ plugin = "threshold", database = "probe" }}
        receiver = "pager"
        group_by = ["db"]
        group_wait = "0s"
        group_interval = "0s"
        [[route]]
        match = {{ plugin = "threshold" }}
        receiver = "ops"
        group_by = ["subject", "db"]
        group_wait = "0s"
        group_interval = "0s"
        {}{}{}{}
        "#,
        receiver("pager", pager),
        receiver("ops", ops),
        watched("probe", probe),
        crowd.concat(),
    )
}

fn watched(name: &str, server: &RedisServer) -> String {
    format!("[[redis]]\nname = \"{name}\"\nmode = \"standalone\"\nnodes = [\"{}\"]\n", server.url())
}
