//! No trouble of the agent itself stays unreported: a receiver that is away or gone, a notification that was given up, a store or a plugin
//! in trouble. No rule that can never match looks like one that finds nothing.
//!
//! The agent as a subject of its own: facts about it can be judged, and its troubles are reported like those of a server.

use std::path::Path;
use std::time::Duration;

use axum::http::StatusCode;
use pharos::demo::receiver::{Count, Received, Receiver, Reply};
use pharos::demo::redis::RedisServer;
use pharos_model::alert::UnmatchedRule;
use redis::AsyncCommands;
use serde_json::{Value, json};
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use crate::fixture::saved::open;
use crate::fixture::zoo::{Zoo, named};
use crate::fixture::{PATIENCE, TestAgent, item, plugin_folder, redis, redis_config, runtime_tasks, set_keys, shipped};

/// The receiver `ops` gets all alerts except those about the agent itself, which go to the pager.
struct Stage {
    redis: RedisServer,
    ops: Receiver,
    pager: Receiver,
    _tasks: TaskTracker,
    stop: CancellationToken,
}

impl Drop for Stage {
    fn drop(&mut self) {
        self.stop.cancel();
    }
}

const MANY_KEYS: &str =
    "[[plugin.threshold.settings.rules]]\nid = \"many-keys\"\nmetric = \"pharos_redis_keys\"\nabove = 5\nseverity = \"warning\"\n";

impl Stage {
    async fn new() -> Self {
        let (tasks, stop) = runtime_tasks();
        let redis = redis(&tasks).await;
        let ops = Receiver::start(None, &tasks, &stop).await.unwrap();
        let pager = Receiver::start(None, &tasks, &stop).await.unwrap();
        Self { redis, ops, pager, _tasks: tasks, stop }
    }

    fn config(&self, checks: &str) -> String {
        let receivers = [("ops", &self.ops), ("pager", &self.pager)].map(|(name, receiver)| {
            format!("[[receiver]]\nname = \"{name}\"\nplugin = \"webhook\"\nsettings = {{ url = \"{}\" }}\n", receiver.url())
        });
        let routes = "[[route]]\nmatch = { plugin = \"agent-essentials\" }\nreceiver = \"pager\"\n[[route]]\nreceiver = \"ops\"\n";
        let grants = "[plugin.webhook]\ngrants = { egress = [\"127.0.0.1\"] }\n";
        let checks = format!("[plugin.agent-essentials.settings.checks]\n{checks}\n");
        [&redis_config("cache", &[&self.redis]), MANY_KEYS, grants, &checks, &receivers.concat(), routes].concat()
    }

    /// An agent that judges itself and delivers.
    async fn agent(&self, checks: &str) -> TestAgent {
        let agent = TestAgent::start_with(&self.config(checks), plugins()).await;
        all_serve(&agent).await;
        agent
    }

    async fn set_keys(&self, count: u32) {
        set_keys(&mut self.redis.connect().await.unwrap(), count).await;
    }
}

async fn all_serve(agent: &TestAgent) {
    for plugin in ["agent-essentials", "threshold", "webhook"] {
        agent.wait_plugin(plugin, |plugin| plugin["state"] == "serving").await;
    }
}

fn only(ids: &[&str]) -> Vec<(String, Vec<u8>)> {
    shipped().into_iter().filter(|(id, _)| ids.contains(&id.as_str())).collect()
}

fn plugins() -> Vec<(String, Vec<u8>)> {
    only(&["agent-essentials", "threshold", "webhook"])
}

const FIRED: Count = Count { firing: 1, resolved: 0 };
const RESOLVED: Count = Count { firing: 1, resolved: 1 };

async fn wait_counts(receiver: &Receiver, rule: &str, expected: Count) {
    let arrived = receiver.wait_until(PATIENCE, |received| received.count(rule) == expected).await;
    assert!(arrived, "{rule}: {:?}, not {expected:?}", receiver.received(|received| received.counts().clone()));
}

/// A label of the first alert of this rule that arrived.
fn label_of(received: &Received, rule: &str, label: &str) -> Option<String> {
    let mut alerts = received.deliveries().flat_map(|delivery| &delivery.alerts);
    alerts.find(|alert| alert.name() == rule).and_then(|alert| alert.labels.get(label).cloned())
}

/// Waits for an alert about the agent.
async fn raised(agent: &TestAgent, rule: &str) -> Value {
    let fits = |alert: &Value| alert["rule"] == rule && alert["state"] == "firing" && alert["subject"]["kind"] == "agent";
    let list = agent.wait_json("/api/database/alerts", |list| list["items"].as_array().unwrap().iter().any(fits)).await;
    list["items"].as_array().unwrap().iter().find(|alert| fits(alert)).unwrap().clone()
}

async fn cleared(agent: &TestAgent, rule: &str) {
    agent.wait_json("/api/database/alerts", |list| list["items"].as_array().unwrap().iter().all(|alert| alert["rule"] != rule)).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn any_metric_of_the_agent_can_be_judged_and_none_is_shown_twice() {
    let rule = "[[plugin.threshold.settings.rules]]\nid = \"files\"\nmetric = \"process_open_fds\"\nabove = 1\nseverity = \"info\"\n";
    let rate = "[[plugin.threshold.settings.rules]]\nid = \"busy\"\nmetric = \"pharos_plugin_calls_total\"\nmatch = { plugin = \"threshold\" }\nreading = \"rate\"\nabove = 0\nseverity = \"info\"\n";
    let agent = TestAgent::start_with(&[rule, rate].concat(), only(&["threshold"])).await;
    let alert = raised(&agent, "files").await;
    assert_eq!((&alert["subject"], &alert["labels"]), (&json!({ "kind": "agent", "id": "pharos" }), &json!({ "agent": "pharos" })));
    assert!(alert["value"].as_f64() > Some(1.0), "{alert}");
    let alert = raised(&agent, "busy").await;
    assert_eq!(alert["labels"]["plugin"], "threshold");

    let metrics = agent.text("/metrics").await;
    for own in ["process_open_fds ", "pharos_start_timestamp_seconds ", "pharos_alerts{state=\"firing\",severity=\"info\"} "] {
        assert_eq!(metrics.lines().filter(|line| line.starts_with(own)).count(), 1, "{own}");
    }
    assert!(!metrics.contains("agent=\"pharos\"") && !metrics.contains("pharos_collect_age_seconds{server=\"pharos\""), "{metrics}");
    assert_eq!(agent.json("/api/database/metrics").await["items"], json!([]), "the agent is no database");
    let parts = agent.json("/api/services/status").await;
    assert!(parts["items"].as_array().unwrap().iter().all(|part| !part["name"].as_str().unwrap().starts_with("agent")), "{parts}");
    agent.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_receiver_that_is_away_is_reported_to_another_one_until_it_is_back() {
    let stage = Stage::new().await;
    let late = "receiver-failing = { for = \"0\" }\nnotifications-late = { warning = 0.5, critical = 3000, clear = 0.1 }";
    let agent = stage.agent(late).await;
    stage.ops.reply_otherwise(Reply::of(StatusCode::SERVICE_UNAVAILABLE));
    stage.set_keys(6).await;
    for rule in ["receiver-failing", "notifications-late"] {
        wait_counts(&stage.pager, rule, FIRED).await;
        let receiver = stage.pager.received(|received| label_of(received, rule, "receiver"));
        assert_eq!(receiver.as_deref(), Some("ops"), "{rule}");
    }
    let alert = raised(&agent, "receiver-failing").await;
    assert!(alert["detail"].as_str().unwrap().contains("The last try: "), "{alert}");
    stage.ops.reply_otherwise(Reply::of(StatusCode::OK));
    wait_counts(&stage.ops, "many-keys", FIRED).await;
    wait_counts(&stage.pager, "receiver-failing", RESOLVED).await;
    wait_counts(&stage.pager, "notifications-late", RESOLVED).await;
    agent.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_refused_notification_is_a_dead_letter_and_the_receiver_is_not_failing() {
    let stage = Stage::new().await;
    let agent = stage.agent("dead-letters = { keep_firing_for = \"0\" }\nreceiver-failing = { for = \"0\" }").await;
    stage.ops.reply_next([Reply::of(StatusCode::BAD_REQUEST)]);
    stage.set_keys(6).await;
    wait_counts(&stage.pager, "dead-letters", RESOLVED).await;
    assert_eq!(stage.pager.received(|received| label_of(received, "dead-letters", "receiver")).as_deref(), Some("ops"));
    assert_eq!(agent.series("pharos_notifications_dead_total{receiver=\"ops\"}").await, Some(1.0));
    assert_eq!(agent.series("pharos_notifications_dead_total{receiver=\"pager\"}").await, Some(0.0));
    // Its end is reported to no receiver, and that is no loss.
    stage.set_keys(0).await;
    agent.wait_series("pharos_notifications_dropped_total{receiver=\"ops\",reason=\"untold\"}", |count| count == 1.0).await;
    assert_eq!(agent.series("pharos_notifications_dead_total{receiver=\"ops\"}").await, Some(1.0));
    assert_eq!(stage.pager.received(|received| received.count("receiver-failing")), Count::default());
    agent.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_receiver_that_is_gone_is_reported_until_the_agent_starts_again() {
    let stage = Stage::new().await;
    let agent = stage.agent("").await;
    stage.ops.reply_next([Reply::of(StatusCode::GONE)]);
    stage.set_keys(6).await;
    wait_counts(&stage.pager, "receiver-gone", FIRED).await;
    assert_eq!(stage.pager.received(|received| label_of(received, "receiver-gone", "receiver")).as_deref(), Some("ops"));
    let folder = agent.stop().await;

    let agent = TestAgent::start_in(folder, &stage.config(""), plugins()).await;
    wait_counts(&stage.pager, "receiver-gone", RESOLVED).await;
    agent.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_damaged_store_is_reported_with_its_path_until_its_file_is_removed() {
    let folder = tempfile::tempdir().unwrap();
    std::fs::create_dir(folder.path().join("data")).unwrap();
    std::fs::write(folder.path().join("data/pharos.db"), "this is no database, and long enough to be looked at as one".repeat(200))
        .unwrap();
    let agent = TestAgent::start_in(folder, "", only(&["agent-essentials"])).await;
    let alert = raised(&agent, "store-damaged").await;
    let aside = agent.folder().join("data/pharos.db.damaged-1");
    assert_eq!(alert["labels"]["store"], "pharos.db.damaged-1");
    assert!(alert["detail"].as_str().unwrap().contains(aside.to_str().unwrap()), "{alert}");
    let folder = agent.stop().await;

    // The file is still there at the next start, and so is the alert.
    let agent = TestAgent::start_in(folder, "", only(&["agent-essentials"])).await;
    agent
        .wait_json("/api/database/alerts", |list| list["items"][0]["rule"] == "store-damaged" && list["items"][0]["frozen"].is_null())
        .await;
    std::fs::remove_file(aside).unwrap();
    cleared(&agent, "store-damaged").await;
    agent.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_store_that_cannot_be_written_is_reported_meanwhile() {
    let stage = Stage::new().await;
    let agent = stage.agent("store-degraded = { keep_firing_for = \"0\" }").await;
    let other = rusqlite::Connection::open(agent.folder().join("data/pharos.db")).unwrap();
    other.execute_batch("BEGIN IMMEDIATE").unwrap();
    stage.set_keys(6).await;
    raised(&agent, "store-degraded").await;
    other.execute_batch("ROLLBACK").unwrap();
    wait_counts(&stage.pager, "store-degraded", RESOLVED).await;
    agent.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn plugins_that_do_not_serve_and_refused_files_are_distinguished_and_both_clear() {
    let config = "[plugin.agent-essentials.settings.checks]\nplugin-not-serving = { for = \"0\" }\n";
    let zoo = Zoo::start(config, vec![named("steady", ""), named("trapper", "armed=trap")], only(&["agent-essentials"])).await;
    for plugin in ["steady", "trapper", "agent-essentials"] {
        zoo.agent.wait_plugin(plugin, |plugin| plugin["state"] == "serving").await;
    }
    zoo.put("steady", b"no component");
    let alert = raised(&zoo.agent, "plugin-refused").await;
    assert_eq!(alert["labels"]["plugin_id"], "steady");
    assert!(alert["detail"].as_str().unwrap().contains("is not WebAssembly"), "{alert}");
    zoo.put("steady", &named("steady", "version=2.0.0").1);
    cleared(&zoo.agent, "plugin-refused").await;

    zoo.arm().await;
    let alert = raised(&zoo.agent, "plugin-not-serving").await;
    assert_eq!((&alert["labels"]["plugin_id"], &alert["title"]), (&json!("trapper"), &json!("plugin trapper is quarantined")));
    zoo.disarm().await;
    cleared(&zoo.agent, "plugin-not-serving").await;
    zoo.agent.stop().await;
}

/// A rule for keys of the logical database 3, and a rule for keys of a server that does not exist.
const VAIN: &str = r#"
[alerts]
never_matched_after = "1s"
[[plugin.threshold.settings.rules]]
id = "third"
metric = "pharos_redis_keys"
match = { db = "db3" }
above = 1000
severity = "warning"
[[plugin.threshold.settings.rules]]
id = "nowhere"
metric = "pharos_redis_up"
match = { database = "cahce" }
below = 1
severity = "warning"
[[plugin.threshold.settings.rules]]
id = "right"
metric = "pharos_redis_up"
match = { database = "cache" }
below = 1
severity = "warning"
"#;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_rule_that_fits_nothing_is_reported_until_it_does() {
    let (tasks, _) = runtime_tasks();
    let cache = redis(&tasks).await;
    let config = [&redis_config("cache", &[&cache]), VAIN].concat();
    let agent = TestAgent::start_with(&config, only(&["agent-essentials", "threshold"])).await;
    let series = |rule: &str| format!("pharos_rule_never_matched{{plugin=\"threshold\",rule=\"{rule}\"}}");
    for rule in ["third", "nowhere"] {
        agent.wait_series(&series(rule), |never| never == 1.0).await;
    }
    let both = |list: &Value| {
        let found =
            list["items"].as_array().unwrap().iter().filter(|alert| alert["rule"] == "rule-never-matches" && alert["state"] == "firing");
        found.count() == 2
    };
    agent.wait_json("/api/database/alerts", both).await;

    let mut keys = cache.connect().await.unwrap();
    redis::cmd("SELECT").arg(3).exec_async(&mut keys).await.unwrap();
    let () = keys.set("key", "value").await.unwrap();
    agent.wait_series(&series("third"), |never| never == 0.0).await;
    let left = |list: &Value| {
        let mut found = list["items"].as_array().unwrap().iter().filter(|alert| alert["rule"] == "rule-never-matches");
        found.next().is_some_and(|alert| alert["labels"]["rule_id"] == "nowhere") && found.next().is_none()
    };
    agent.wait_json("/api/database/alerts", left).await;
    assert_eq!(agent.series(&series("right")).await, None, "it matched at once");
    let folder = agent.stop().await;

    let kept = unmatched(&folder.path().join("data")).await;
    let is_it = |unmatched: &&UnmatchedRule| unmatched.rule == "nowhere" && unmatched.searched >= Duration::from_secs(1);
    assert!(kept.len() == 1 && kept.iter().all(|unmatched| is_it(&unmatched)), "{kept:?}");
    // With the stored time, the first evaluation is enough.
    let config = config.replace("\"1s\"", "\"1100ms\"");
    let agent = TestAgent::start_in(folder, &config, only(&["agent-essentials", "threshold"])).await;
    agent.wait_series(&series("nowhere"), |never| never == 1.0).await;
    agent.stop().await;
}

/// The rules without a match that a stopped agent stored.
async fn unmatched(directory: &Path) -> Vec<UnmatchedRule> {
    open(directory).await.unmatched().await.unwrap()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_rule_that_needs_uncollected_facts_is_named_at_load() {
    let rule = "[[plugin.threshold.settings.rules]]\nid = \"misspelt\"\nmetric = \"pharos_redis_memory_used_byte\"\nabove = 1\nseverity = \"info\"\n";
    // As a file: an agent does not start where the config and its own plugin decide that a rule never matches.
    let folder = plugin_folder(&["threshold"]);
    let config = format!("[plugins]\ndir = \"{}\"\n{rule}", folder.path().display());
    let agent = TestAgent::start_with(&config, only(&["agent-essentials"])).await;
    let plugin = agent.wait_plugin("threshold", |plugin| plugin["state"] == "serving").await;
    let warning = "rule `misspelt` needs `pharos_redis_memory_used_byte`, which no collector reads for a subject of kind `redis`, so it can never match; \
                   did you mean `pharos_redis_memory_used_bytes`?";
    assert_eq!(plugin["warnings"], json!([warning]));
    let essentials = agent.wait_plugin("agent-essentials", |plugin| plugin["state"] == "serving").await;
    assert_eq!(essentials["warnings"], json!([]));
    assert_eq!(item(&agent.json("/api/plugins").await, "id", "threshold").unwrap()["last_error"], Value::Null);
    agent.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn trouble_of_a_receiver_that_every_matching_route_leads_to_is_reported_to_another_one() {
    let stage = Stage::new().await;
    stage.ops.reply_otherwise(Reply::of(StatusCode::GONE));
    let config = stage.config("").replace("match = { plugin = \"agent-essentials\" }", "match = { rule = \"another\" }");
    let agent = TestAgent::start_with(&config, plugins()).await;
    all_serve(&agent).await;
    stage.set_keys(6).await;
    wait_counts(&stage.pager, "receiver-gone", FIRED).await;
    let gone = raised(&agent, "receiver-gone").await;
    let answer = agent.json(&format!("/api/alerts/{}", gone["fingerprint"].as_str().unwrap())).await;
    let routes = answer["decision"]["routes"].as_array().unwrap();
    assert!(routes.iter().any(|route| route["why"] == "the alert is about this receiver itself"), "{answer}");
    assert_eq!(answer["decision"]["receivers"][0]["receiver"], "pager");
    agent.stop().await;
}
