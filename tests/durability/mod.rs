//! No notification is lost with the process, or repeated under another id.
//!
//! The tests have an agent that is killed at any moment, receivers that fail at random, and a judge that is independent of both.
//!
//! Causes, faults and judgement are separate. Once everything is over, the [`judge`] compares what the agent recorded with what its
//! receivers got. This file has the stage and the simple case; [`groups`] has everything that comes between an alert and its receivers.

mod groups;
mod judge;

use std::path::{Path, PathBuf};
use std::time::Duration;

use axum::http::StatusCode;
use pharos::demo::receiver::{Received, Receiver, Reply};
use pharos::demo::redis::RedisServer;
use redis::aio::MultiplexedConnection;
use tokio::process::{Child, Command};
use tokio::time::sleep;
use tokio_util::sync::CancellationToken;

use self::judge::{Recorded, arrivals, judge, repeated};
use crate::fixture::disk::FailingDisk;
use crate::fixture::reserved::ReservedPort;
use crate::fixture::wait::{fitting, holds, until, until_within};
use crate::fixture::{PATIENCE, get, pharos, receiver_config, redis, redis_config, rounds, runtime_tasks, seeded, set_keys, shipped};

/// Each holds from one key more on.
const RULES: u32 = 12;

/// Longest wait until everything is reported. A notification that was refused a few times waits a minute and more for its next attempt.
const CALM_MAX: Duration = Duration::from_secs(300);

/// The agent as a process, in a folder that stays.
pub struct Victim {
    folder: tempfile::TempDir,
    data_dir: PathBuf,
    pub port: u16,
    _reserved: ReservedPort,
    environment: Vec<(&'static str, PathBuf)>,
    process: Option<Child>,
}

impl Victim {
    fn new(data_dir: Option<&Path>, redis: &RedisServer, delivery: &str) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let data_dir = data_dir.map_or(folder.path().join("data"), Path::to_owned);
        let plugins = folder.path().join("plugins");
        std::fs::create_dir(&plugins).unwrap();
        for (id, bytes) in shipped().into_iter().filter(|(id, _)| id == "threshold" || id == "webhook") {
            std::fs::write(plugins.join(format!("{id}.wasm")), bytes).unwrap();
        }
        let reserved = ReservedPort::new();
        let port = reserved.number();
        let rule = |above| {
            format!(
                "[[plugin.threshold.settings.rules]]\nid = \"above-{above}\"\nmetric = \"pharos_redis_keys\"\nabove = {above}\nseverity = \"warning\"\n"
            )
        };
        let rules: String = (0..RULES).map(rule).collect();
        let config = format!(
            "[agent]\ndata_dir = \"{}\"\n[http]\nlisten = \"127.0.0.1:{port}\"\n[collect.interval]\ninfo = \"100ms\"\n[plugin.agent-essentials]\nenabled = false\n{}{rules}{delivery}",
            data_dir.display(),
            redis_config("cache", &[redis]),
        );
        std::fs::write(folder.path().join("pharos.toml"), config).unwrap();
        Self { folder, data_dir, port, _reserved: reserved, environment: Vec::new(), process: None }
    }

    pub fn start(&mut self) {
        let log = std::fs::OpenOptions::new().create(true).append(true).open(self.folder.path().join("log")).unwrap();
        let mut command = Command::new(pharos());
        command.arg("run").arg("--config").arg(self.folder.path().join("pharos.toml"));
        command.envs(self.environment.iter().cloned());
        self.process = Some(command.stdin(std::process::Stdio::null()).stderr(log).kill_on_drop(true).spawn().unwrap());
    }

    /// SIGKILL: nothing is finished.
    pub async fn kill(&mut self) {
        if let Some(mut process) = self.process.take() {
            process.kill().await.unwrap();
        }
    }

    pub fn log(&self) -> String {
        std::fs::read_to_string(self.folder.path().join("log")).unwrap_or_default()
    }

    /// Waits until the agent can judge and notify.
    pub async fn wait_at_work(&self) {
        let serve = |log: &str| ["threshold", "webhook"].iter().all(|id| log.contains(&format!("`{id}` 0.1.0 serves")));
        until("it is at work", async || fitting(self.log(), |log| log.rsplit("starts with").next().is_some_and(serve))).await;
    }

    /// Waits until there is no alert any more and everything about them is reported.
    pub async fn wait_calm(&self) {
        until_within(CALM_MAX, "it is calm", async || holds(self.is_calm().await, || self.log())).await;
    }

    async fn is_calm(&self) -> bool {
        if tokio::net::TcpStream::connect(("127.0.0.1", self.port)).await.is_err() {
            return false;
        }
        let (_, alerts) = get(self.port, "/api/database/alerts", &[]).await;
        let (_, metrics) = get(self.port, "/metrics", &[]).await;
        let judged = metrics.lines().any(|line| line.starts_with("pharos_plugin_calls_total{plugin=\"threshold\"} "));
        let is_empty =
            |text: &str| serde_json::from_str::<serde_json::Value>(text).is_ok_and(|list| list["items"] == serde_json::json!([]));
        // Decisions that are not sent yet are in the ledger, notifications on their way are in the outbox.
        if !judged || !is_empty(&alerts) || judge::left(&self.data_dir) != 0 {
            return false;
        }
        let waits = |line: &str| line.starts_with("pharos_notifications_pending{") && !line.ends_with(" 0");
        let (_, metrics) = get(self.port, "/metrics", &[]).await;
        !metrics.lines().any(waits)
    }
}

/// A Redis whose keys are the cause, receivers, and an agent at work, its plugins compiled.
pub struct Stage {
    _redis: RedisServer,
    pub keys: MultiplexedConnection,
    pub receiver: Receiver,
    /// Hears only what a config leads there.
    pager: Receiver,
    pub victim: Victim,
    stop: CancellationToken,
}

impl Stage {
    async fn set() -> Self {
        Self::with(None, Vec::new(), plain).await
    }

    /// With its state in this directory.
    pub async fn set_in(data_dir: &Path) -> Self {
        Self::with(Some(data_dir), Vec::new(), plain).await
    }

    /// On a disk that may fail.
    pub async fn set_on(data_dir: &Path, disk: &FailingDisk) -> Self {
        Self::with(Some(data_dir), disk.environment().into(), plain).await
    }

    async fn with(
        data_dir: Option<&Path>,
        environment: Vec<(&'static str, PathBuf)>,
        delivery: impl Fn(&Receiver, &Receiver) -> String,
    ) -> Self {
        let (tasks, stop) = runtime_tasks();
        let redis = redis(&tasks).await;
        let keys = redis.connect().await.unwrap();
        let receiver = Receiver::start(None, &tasks, &stop).await.unwrap();
        let pager = Receiver::start(None, &tasks, &stop).await.unwrap();
        let mut victim = Victim::new(data_dir, &redis, &delivery(&receiver, &pager));
        victim.environment = environment;
        victim.start();
        victim.wait_at_work().await;
        Self { _redis: redis, keys, receiver, pager, victim, stop }
    }
}

impl Stage {
    /// Lets this many alerts fire, and waits until the receiver has got each of them.
    pub async fn raise(&mut self, alerts: u32) {
        set_keys(&mut self.keys, alerts).await;
        let has_all = |received: &Received| arrivals(received.deliveries()).len() >= alerts as usize;
        assert!(self.receiver.wait_until(PATIENCE, has_all).await, "{}", self.victim.log());
    }
}

impl Drop for Stage {
    fn drop(&mut self) {
        self.stop.cancel();
    }
}

/// Everything at once to the first receiver.
fn plain(ops: &Receiver, _: &Receiver) -> String {
    receiver_config(&ops.url())
}

/// The complaints of the judge about the records of an agent and the messages of a receiver.
pub fn complaints(data_dir: &Path, receiver: &Receiver) -> Vec<String> {
    let mut recorded = Recorded::default();
    recorded.read(data_dir);
    judge(&recorded, "ops", &receiver.received(|received| arrivals(received.deliveries())))
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn random_kills_lose_nothing_and_double_nothing() {
    let mut stage = Stage::set().await;
    let Stage { keys, receiver, victim, .. } = &mut stage;
    let mut chance = seeded();
    let kills = rounds(8);
    let mut recorded = Recorded::default();
    for _ in 0..kills {
        // Some die while they start, most at work.
        if chance.u32(0..4) > 0 {
            victim.wait_at_work().await;
        }
        for _ in 0..chance.u32(0..12) {
            receiver.reply_next([match chance.u32(0..8) {
                0 => Reply::of(StatusCode::SERVICE_UNAVAILABLE),
                1..=4 => Reply { delay: Duration::from_millis(chance.u64(1..300)), has_it: chance.bool(), ..Reply::of(StatusCode::OK) },
                _ => Reply::of(StatusCode::OK),
            }]);
        }
        for _ in 0..chance.u32(1..4) {
            set_keys(keys, chance.u32(0..=RULES)).await;
            sleep(Duration::from_millis(chance.u64(10..400))).await;
        }
        victim.kill().await;
        recorded.read(&victim.data_dir);
        victim.start();
    }

    // Judgement begins when the faults are over.
    receiver.clear_replies();
    set_keys(keys, 0).await;
    victim.wait_calm().await;
    victim.kill().await;
    recorded.read(&victim.data_dir);
    let arrived = receiver.received(|received| arrivals(received.deliveries()));
    let complaints = judge(&recorded, "ops", &arrived);
    assert!(complaints.is_empty(), "{complaints:#?}\n{}", victim.log());
    let (incidents, repeated) = (recorded.fired.len(), repeated(&arrived));
    assert!(incidents as u32 > kills / 4, "only {incidents} incidents in {kills} rounds");
    print_line(&format!("{kills} kills: {incidents} incidents, none lost, {repeated} repetitions under the same id"));
}

/// Prints a result for the reader of the test's output.
pub fn print_line(line: &str) {
    let _ = std::io::Write::write_all(&mut std::io::stderr(), format!("{line}\n").as_bytes());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_kill_between_the_receivers_yes_and_our_mark_repeats_the_message_under_its_id() {
    let mut stage = Stage::set().await;
    let Stage { keys, receiver, victim, .. } = &mut stage;
    victim.wait_calm().await;
    // The receiver has it, and the agent waits for the answer.
    receiver.reply_next([Reply { delay: Duration::from_secs(5), has_it: true, ..Reply::of(StatusCode::OK) }]);
    set_keys(keys, 1).await;
    assert!(receiver.wait_until(PATIENCE, |received| received.deliveries().count() == 1).await);
    victim.kill().await;
    victim.start();
    assert!(receiver.wait_until(PATIENCE, |received| received.deliveries().count() == 2).await, "{}", victim.log());
    set_keys(keys, 0).await;
    victim.wait_calm().await;
    let ids: Vec<String> = receiver
        .received(|received| received.deliveries().map(|delivery| delivery.headers["webhook-id"].to_str().unwrap().to_owned()).collect());
    assert!(ids.len() == 3 && ids[0] == ids[1] && ids[1] != ids[2], "{ids:?}");
}
