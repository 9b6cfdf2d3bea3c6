//! Nothing is lost: an agent that is killed at any moment, a receiver with moods, and a judge who knows neither.
//!
//! Causes, faults and judgement are three things apart. The judge looks once everything is over, at what the agent recorded and at what
//! the receiver heard: every incident began there at least once and ended exactly once, in this order, and a repetition has the same id.

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};
use std::time::Duration;

use axum::http::StatusCode;
use pharos::demo::receiver::{Delivery, Received, Receiver, Reply};
use pharos::demo::redis::RedisServer;
use pharos::store::Store;
use redis::aio::MultiplexedConnection;
use tokio::process::{Child, Command};
use tokio::time::{Instant, sleep};
use tokio_util::sync::CancellationToken;

use crate::fixture::disk::FailingDisk;
use crate::fixture::{PATIENCE, get, pharos, receiver_config, redis, redis_config, rounds, runtime_tasks, seeded, set_keys, shipped};

/// Each holds from one key more on.
const RULES: u32 = 12;

/// An incident, as both sides know it: the alert's fingerprint and when it began.
type Incident = (String, String);

/// What came to the receiver's ears about an incident, in order: message id, and what it said.
type Heard = BTreeMap<Incident, Vec<(String, Said)>>;

#[derive(Debug, Clone, Copy, PartialEq)]
enum Said {
    Firing,
    /// Firing, and that it comes and goes.
    Flapping,
    Resolved,
    /// That it fired and resolved.
    Whole,
}

fn hear<'a>(deliveries: impl Iterator<Item = &'a Delivery>) -> Heard {
    let mut heard = Heard::new();
    for delivery in deliveries.filter(|delivery| delivery.status.is_success()) {
        let id = delivery.headers["webhook-id"].to_str().unwrap().to_owned();
        let body: serde_json::Value = serde_json::from_slice(&delivery.body).unwrap();
        for alert in body["alerts"].as_array().unwrap() {
            let text = |value: &serde_json::Value| value.as_str().unwrap().to_owned();
            let summary = alert["annotations"]["summary"].as_str().unwrap_or_default();
            let said = match (alert["status"] == "resolved", summary) {
                (true, "") => Said::Resolved,
                (true, _) => Said::Whole,
                (false, "") => Said::Firing,
                (false, _) => Said::Flapping,
            };
            heard.entry((text(&alert["fingerprint"]), text(&alert["startsAt"]))).or_default().push((id.clone(), said));
        }
    }
    heard
}

/// Everything that is wrong.
fn judge(recorded: &BTreeSet<Incident>, heard: &Heard) -> Vec<String> {
    let mut complaints = Vec::new();
    for incident in recorded {
        let Some(heard) = heard.get(incident) else {
            complaints.push(format!("{incident:?} was never told"));
            continue;
        };
        let ids = |wanted: &[Said]| heard.iter().filter(|(_, said)| wanted.contains(said)).map(|(id, _)| id).collect::<BTreeSet<_>>();
        let is_end = |said: Said| matches!(said, Said::Resolved | Said::Whole);
        if heard[0].1 == Said::Resolved {
            complaints.push(format!("{incident:?} began with its end: {heard:?}"));
        }
        if ids(&[Said::Resolved, Said::Whole]).len() != 1 {
            complaints.push(format!("{incident:?} did not end once: {heard:?}"));
        }
        if ids(&[Said::Firing]).len() > 1 {
            complaints.push(format!("{incident:?} began under several ids: {heard:?}"));
        }
        if heard.iter().skip_while(|(_, said)| !is_end(*said)).any(|(_, said)| !is_end(*said)) {
            complaints.push(format!("{incident:?} went on after its end: {heard:?}"));
        }
    }
    complaints.extend(heard.keys().filter(|incident| !recorded.contains(*incident)).map(|incident| format!("{incident:?} has no cause")));
    complaints
}

#[test]
fn the_judge_finds_what_is_wrong() {
    let incident = |name: &str| (name.to_owned(), "t".to_owned());
    let recorded = BTreeSet::from([incident("a")]);
    let complaints = |told: &[(&str, Said)]| {
        let told = told.iter().map(|(id, said)| ((*id).to_owned(), *said)).collect();
        judge(&recorded, &Heard::from([(incident("a"), told)])).len()
    };
    let (begin, flaps, end, whole) = (Said::Firing, Said::Flapping, Said::Resolved, Said::Whole);
    assert_eq!(complaints(&[("1", begin), ("2", end)]), 0);
    assert_eq!(complaints(&[("1", begin), ("2", flaps), ("3", end)]), 0);
    assert_eq!(complaints(&[("1", begin), ("1", begin), ("2", end), ("2", end)]), 0, "repetitions with their ids");
    assert_eq!(complaints(&[("1", whole)]), 0);
    assert_eq!(complaints(&[("1", begin)]), 1, "no end");
    assert_eq!(complaints(&[("1", end)]), 1, "no beginning");
    assert_eq!(complaints(&[("1", begin), ("2", end), ("3", end)]), 1, "two ends");
    assert_eq!(complaints(&[("1", begin), ("2", begin), ("3", end)]), 1, "the same under another id");
    assert!(complaints(&[("2", end), ("1", begin)]) > 0, "the wrong way round");
    assert_eq!(judge(&recorded, &Heard::new()).len(), 1, "nothing at all");
    assert_eq!(judge(&BTreeSet::new(), &Heard::from([(incident("b"), vec![("1".to_owned(), Said::Whole)])])).len(), 1, "out of thin air");
}

/// The agent as a process, in a folder that stays.
pub struct Victim {
    folder: tempfile::TempDir,
    pub port: u16,
    environment: Vec<(&'static str, PathBuf)>,
    process: Option<Child>,
}

impl Victim {
    fn new(data_dir: Option<&Path>, redis: &RedisServer, receiver: &Receiver) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let plugins = folder.path().join("plugins");
        std::fs::create_dir(&plugins).unwrap();
        for (id, bytes) in shipped().into_iter().filter(|(id, _)| id == "threshold" || id == "webhook") {
            std::fs::write(plugins.join(format!("{id}.wasm")), bytes).unwrap();
        }
        let port = std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
        let rule = |above| {
            format!(
                "[[plugin.threshold.settings.rules]]\nid = \"above-{above}\"\nmetric = \"pharos_redis_keys\"\nabove = {above}\nseverity = \"warning\"\n"
            )
        };
        let rules: String = (0..RULES).map(rule).collect();
        let config = format!(
            "[agent]\ndata_dir = \"{}\"\n[http]\nlisten = \"127.0.0.1:{port}\"\n[collect.interval]\ninfo = \"100ms\"\n[plugin.agent-essentials]\nenabled = false\n{}{}{}",
            data_dir.unwrap_or(Path::new("data")).display(),
            redis_config("cache", &[redis]),
            rules,
            receiver_config(&receiver.url())
        );
        std::fs::write(folder.path().join("pharos.toml"), config).unwrap();
        Self { folder, port, environment: Vec::new(), process: None }
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

    /// Waits until it can judge and tell.
    pub async fn wait_at_work(&self) {
        let started = Instant::now();
        let serve = |log: &str| ["threshold", "webhook"].iter().all(|id| log.contains(&format!("`{id}` 0.1.0 serves")));
        while !self.log().rsplit("starts with").next().is_some_and(serve) {
            assert!(started.elapsed() < PATIENCE, "never at work:\n{}", self.log());
            sleep(Duration::from_millis(20)).await;
        }
    }

    /// Waits until there is no alert any more and nothing waits for the receiver.
    pub async fn wait_calm(&self) {
        let started = Instant::now();
        loop {
            assert!(started.elapsed() < PATIENCE, "never calm:\n{}", self.log());
            sleep(Duration::from_millis(100)).await;
            if tokio::net::TcpStream::connect(("127.0.0.1", self.port)).await.is_err() {
                continue;
            }
            let (_, alerts) = get(self.port, "/api/database/alerts", &[]).await;
            let (_, metrics) = get(self.port, "/metrics", &[]).await;
            let judged = metrics.lines().any(|line| line.starts_with("pharos_plugin_calls_total{plugin=\"threshold\"} "));
            let waiting = metrics.lines().find_map(|line| line.strip_prefix("pharos_notifications_pending{receiver=\"ops\"} "));
            let is_empty =
                |text: &str| serde_json::from_str::<serde_json::Value>(text).is_ok_and(|list| list["items"] == serde_json::json!([]));
            if judged && is_empty(&alerts) && waiting == Some("0") {
                return;
            }
        }
    }
}

/// A Redis whose keys are the cause, a receiver, and an agent at work, its plugins compiled.
pub struct Stage {
    _redis: RedisServer,
    pub keys: MultiplexedConnection,
    pub receiver: Receiver,
    pub victim: Victim,
    stop: CancellationToken,
}

impl Stage {
    async fn set() -> Self {
        Self::with(None, Vec::new()).await
    }

    /// With its state in this directory.
    pub async fn set_in(data_dir: &Path) -> Self {
        Self::with(Some(data_dir), Vec::new()).await
    }

    /// On a disk that may fail.
    pub async fn set_on(data_dir: &Path, disk: &FailingDisk) -> Self {
        Self::with(Some(data_dir), disk.environment().into()).await
    }

    async fn with(data_dir: Option<&Path>, environment: Vec<(&'static str, PathBuf)>) -> Self {
        let (tasks, stop) = runtime_tasks();
        let redis = redis(&tasks).await;
        let keys = redis.connect().await.unwrap();
        let receiver = Receiver::start(None, &tasks, &stop).await.unwrap();
        let mut victim = Victim::new(data_dir, &redis, &receiver);
        victim.environment = environment;
        victim.start();
        victim.wait_at_work().await;
        Self { _redis: redis, keys, receiver, victim, stop }
    }
}

impl Stage {
    /// Has so many alerts fire, and waits until the receiver heard of each.
    pub async fn raise(&mut self, alerts: u32) {
        set_keys(&mut self.keys, alerts).await;
        let is_told = |received: &Received| hear(received.deliveries()).len() >= alerts as usize;
        assert!(self.receiver.wait_until(PATIENCE, is_told).await, "{}", self.victim.log());
    }
}

impl Drop for Stage {
    fn drop(&mut self) {
        self.stop.cancel();
    }
}

/// What the judge has to say of all that an agent recorded and a receiver heard.
pub async fn complaints(data_dir: &Path, receiver: &Receiver) -> Vec<String> {
    let heard = receiver.received(|received| hear(received.deliveries()));
    judge(&recorded(data_dir).await, &heard)
}

/// What the agent recorded of alerts that fired.
async fn recorded(data_dir: &Path) -> BTreeSet<Incident> {
    let store = Store::open(data_dir).unwrap();
    let events = store.events(100_000).await.unwrap();
    let fired = events.iter().filter(|event| event.kind == "alert" && event.detail["reason"] == "firing");
    fired
        .map(|event| {
            let began = event.detail["alert"]["started_at_ms"].as_u64().unwrap();
            (event.subject.clone(), pharos::clock::rfc3339(began))
        })
        .collect()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn random_kills_lose_nothing_and_double_nothing() {
    let mut stage = Stage::set().await;
    let Stage { keys, receiver, victim, .. } = &mut stage;
    let mut chance = seeded();
    let kills = rounds(20);
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
        victim.start();
    }

    // Judgement begins when the faults are over.
    receiver.behave();
    set_keys(keys, 0).await;
    victim.wait_calm().await;
    victim.kill().await;
    let recorded = recorded(&victim.folder.path().join("data")).await;
    let heard = receiver.received(|received| hear(received.deliveries()));
    let repeated: usize = heard.values().map(|heard| heard.len() - heard.iter().map(|(id, _)| id).collect::<BTreeSet<_>>().len()).sum();
    let complaints = judge(&recorded, &heard);
    assert!(complaints.is_empty(), "{complaints:#?}\n{}", victim.log());
    assert!(recorded.len() as u32 > kills / 4, "only {} incidents in {kills} rounds", recorded.len());
    let _ = std::io::Write::write_all(
        &mut std::io::stderr(),
        format!("{kills} kills: {} incidents, none lost, {repeated} repetitions under the same id\n", recorded.len()).as_bytes(),
    );
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
