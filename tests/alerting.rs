//! No change is sent twice, out of order, or not at all while a receiver is away. No receiver that hangs delays another one, and no restart
//! loses an alert or sends it again.
//!
//! From a finding to a receiver: each change is sent once, in order, and is never lost while a receiver is away.

use std::time::Duration;

use axum::http::StatusCode;
use pharos::demo::receiver::{Count, Delivery, Receiver, Reply};
use pharos::demo::redis::RedisServer;
use redis::aio::MultiplexedConnection;
use serde_json::Value;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use crate::fixture::saved::open;
use crate::fixture::{PATIENCE, TestAgent, redis, redis_config, runtime_tasks, set_keys, shipped};

/// A Redis whose keys are the condition of every rule, and receivers.
struct Stage {
    redis: RedisServer,
    keys: MultiplexedConnection,
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

impl Stage {
    async fn new() -> Self {
        let (tasks, stop) = runtime_tasks();
        let redis = redis(&tasks).await;
        let keys = redis.connect().await.unwrap();
        let ops = Receiver::start(None, &tasks, &stop).await.unwrap();
        let pager = Receiver::start(None, &tasks, &stop).await.unwrap();
        Self { redis, keys, ops, pager, _tasks: tasks, stop }
    }

    fn server(&self) -> String {
        redis_config("cache", &[&self.redis])
    }

    /// Both receivers; critical alerts go to the pager.
    fn receivers(&self) -> String {
        format!(
            r#"
[plugin.webhook]
grants = {{ egress = ["127.0.0.1"] }}
limits = {{ wall = "1500ms" }}
[[receiver]]
name = "ops"
plugin = "webhook"
settings = {{ url = "{}" }}
[[receiver]]
name = "pager"
plugin = "webhook"
settings = {{ url = "{}" }}
[[route]]
match = {{ severity = "critical" }}
receiver = "pager"
group_wait = "0s"
group_interval = "0s"
[[route]]
receiver = "ops"
group_wait = "0s"
group_interval = "0s"
"#,
            self.ops.url(),
            self.pager.url()
        )
    }

    /// A rule that holds while there are more keys than this.
    fn rule(id: &str, above: u32, severity: &str, wait: &str) -> String {
        format!(
            "[[plugin.threshold.settings.rules]]\nid = \"{id}\"\nmetric = \"pharos_redis_keys\"\nabove = {above}\nseverity = \"{severity}\"\nfor = \"{wait}\"\n"
        )
    }

    fn config(&self, rules: &str) -> String {
        format!("{}{rules}{}", self.server(), self.receivers())
    }

    /// An agent that can judge and deliver.
    async fn agent(&self, rules: &str) -> TestAgent {
        let agent = TestAgent::start_with(&self.config(rules), plugins()).await;
        for plugin in ["threshold", "webhook"] {
            agent.wait_plugin(plugin, |plugin| plugin["state"] == "serving").await;
        }
        agent
    }

    async fn set_keys(&mut self, count: u32) {
        set_keys(&mut self.keys, count).await;
    }
}

/// A plugin that judges, and a notifier.
fn plugins() -> Vec<(String, Vec<u8>)> {
    shipped().into_iter().filter(|(id, _)| ["threshold", "webhook"].contains(&id.as_str())).collect()
}

async fn wait_counts(receiver: &Receiver, rule: &str, expected: Count) {
    let arrived = receiver.wait_until(PATIENCE, |received| received.count(rule) == expected).await;
    assert!(arrived, "{rule}: {:?}, not {expected:?}", receiver.received(|received| received.count(rule)));
}

fn deliveries(receiver: &Receiver) -> Vec<Delivery> {
    receiver.received(|received| received.deliveries().cloned().collect())
}

fn ids(deliveries: &[Delivery]) -> Vec<String> {
    deliveries.iter().map(|delivery| delivery.headers["webhook-id"].to_str().unwrap().to_owned()).collect()
}

fn statuses(deliveries: &[Delivery]) -> Vec<&str> {
    deliveries.iter().map(|delivery| delivery.alerts[0].status.as_str()).collect()
}

const FIRED: Count = Count { firing: 1, resolved: 0 };
const RESOLVED: Count = Count { firing: 1, resolved: 1 };

async fn wait_state(agent: &TestAgent, rule: &str, state: &str) -> Value {
    let is_it = |item: &Value| item["rule"] == rule && item["state"] == state;
    let answer = agent.wait_json("/api/database/alerts", |answer| answer["items"].as_array().unwrap().iter().any(is_it)).await;
    answer["items"].as_array().unwrap().iter().find(|item| is_it(item)).unwrap().clone()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn pending_firing_and_resolved_are_sent_once_each_and_in_order() {
    let mut stage = Stage::new().await;
    let rules = Stage::rule("many-keys", 5, "warning", "1500ms") + &Stage::rule("blip", 5, "warning", "1h");
    let agent = stage.agent(&rules).await;
    stage.set_keys(6).await;
    wait_state(&agent, "blip", "pending").await;
    let firing = wait_state(&agent, "many-keys", "firing").await;
    wait_counts(&stage.ops, "many-keys", FIRED).await;
    stage.set_keys(0).await;
    wait_counts(&stage.ops, "many-keys", RESOLVED).await;
    agent.wait_json("/api/database/alerts", |answer| answer["items"].as_array().unwrap().is_empty()).await;

    let told = deliveries(&stage.ops);
    assert_eq!(statuses(&told), ["firing", "resolved"], "and no message about the pending alert");
    let ids = ids(&told);
    assert_ne!(ids[0], ids[1], "each transition has an id of its own");
    assert!(told.iter().all(|delivery| delivery.alerts[0].fingerprint == firing["fingerprint"]));
    // The receiver may have the message before the agent has the answer.
    agent.wait_series("pharos_notifications_total{receiver=\"ops\"}", |told| told == 2.0).await;
    agent.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_receiver_that_is_away_gets_the_same_message_again() {
    let mut stage = Stage::new().await;
    let patience =
        Reply { headers: vec![("retry-after".parse().unwrap(), "1".parse().unwrap())], ..Reply::of(StatusCode::TOO_MANY_REQUESTS) };
    stage.ops.reply_next([Reply::of(StatusCode::SERVICE_UNAVAILABLE), patience]);
    let agent = stage.agent(&Stage::rule("many-keys", 5, "warning", "0")).await;
    stage.set_keys(6).await;
    wait_counts(&stage.ops, "many-keys", FIRED).await;
    stage.set_keys(0).await;
    wait_counts(&stage.ops, "many-keys", RESOLVED).await;

    let told = deliveries(&stage.ops);
    assert_eq!(told.iter().map(|delivery| delivery.status.as_u16()).collect::<Vec<_>>(), [503, 429, 200, 200]);
    let ids = ids(&told);
    assert!(ids[0] == ids[1] && ids[1] == ids[2] && ids[2] != ids[3], "{ids:?}");
    assert_eq!(statuses(&told), ["firing", "firing", "firing", "resolved"]);
    for reason in ["retry", "throttled"] {
        let failed = format!("pharos_notifications_failed_total{{receiver=\"ops\",reason=\"{reason}\"}}");
        assert_eq!(agent.series(&failed).await, Some(1.0), "{reason}");
    }
    agent.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_rejected_message_is_given_up_with_its_end_and_the_next_incident_is_sent() {
    let mut stage = Stage::new().await;
    stage.ops.reply_next([Reply::of(StatusCode::BAD_REQUEST)]);
    let agent = stage.agent(&Stage::rule("many-keys", 5, "warning", "0")).await;
    let dropped = |reason| format!("pharos_notifications_dropped_total{{receiver=\"ops\",reason=\"{reason}\"}}");
    stage.set_keys(6).await;
    agent.wait_series(&dropped("rejected"), |count| count == 1.0).await;
    stage.set_keys(0).await;
    agent.wait_series(&dropped("untold"), |count| count == 1.0).await;
    assert_eq!(deliveries(&stage.ops).len(), 1, "an end without a beginning would only puzzle");
    stage.set_keys(6).await;
    wait_counts(&stage.ops, "many-keys", FIRED).await;
    stage.set_keys(0).await;
    wait_counts(&stage.ops, "many-keys", RESOLVED).await;
    let folder = agent.stop().await;

    let store = open(&folder.path().join("data")).await;
    let rows = store.outbox(None, None, None, 10).await.unwrap();
    let states: Vec<(&str, Option<&str>)> = rows.iter().rev().map(|row| (row.state.as_str(), row.reason.as_deref())).collect();
    assert_eq!(states, [("dead", Some("rejected")), ("dead", Some("untold")), ("delivered", None), ("delivered", None)]);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn notifications_that_were_not_delivered_at_the_stop_are_delivered_after_the_next_start() {
    let mut stage = Stage::new().await;
    let rules = Stage::rule("many-keys", 5, "warning", "0");
    stage.ops.reply_otherwise(Reply::of(StatusCode::SERVICE_UNAVAILABLE));
    let agent = stage.agent(&rules).await;
    stage.set_keys(6).await;
    assert!(stage.ops.wait_until(PATIENCE, |received| received.deliveries().count() >= 1).await);
    stage.set_keys(0).await;
    agent.wait_series("pharos_notifications_pending{receiver=\"ops\"}", |waiting| waiting == 2.0).await;
    let folder = agent.stop().await;

    stage.ops.reply_otherwise(Reply::of(StatusCode::OK));
    let agent = TestAgent::start_in(folder, &stage.config(&rules), plugins()).await;
    // The alert began and ended while the receiver was away, so it is reported as a whole.
    wait_counts(&stage.ops, "many-keys", Count { firing: 0, resolved: 1 }).await;
    let told = deliveries(&stage.ops);
    let last = told.last().unwrap();
    assert_eq!((told.iter().filter(|delivery| delivery.status == 200).count(), last.alerts.len()), (1, 1), "{last:?}");
    assert!(last.alerts[0].annotations["summary"].contains("before this receiver could be notified"), "{last:?}");
    agent.wait_series("pharos_notifications_pending{receiver=\"ops\"}", |waiting| waiting == 0.0).await;
    agent.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_route_by_severity_leads_to_its_receiver_and_one_that_hangs_delays_no_other() {
    let mut stage = Stage::new().await;
    // The pager reads the request and does not answer before the plugin's deadline.
    stage.pager.reply_next([Reply { delay: Duration::from_secs(10), ..Reply::of(StatusCode::OK) }]);
    let rules = Stage::rule("grave", 5, "critical", "0") + &Stage::rule("odd", 5, "info", "0");
    let agent = stage.agent(&rules).await;
    stage.set_keys(6).await;
    wait_counts(&stage.ops, "odd", FIRED).await;
    stage.set_keys(0).await;
    wait_counts(&stage.ops, "odd", RESOLVED).await;
    wait_counts(&stage.pager, "grave", RESOLVED).await;
    assert_eq!(stage.ops.received(|received| received.counts().len()), 1, "ops gets nothing critical");
    assert_eq!(stage.pager.received(|received| received.counts().len()), 1, "the pager gets nothing else");
    agent.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_restarted_agent_continues_its_alerts_and_sends_nothing_twice() {
    let mut stage = Stage::new().await;
    let rules = Stage::rule("many-keys", 5, "warning", "0");
    let agent = stage.agent(&rules).await;
    stage.set_keys(6).await;
    wait_counts(&stage.ops, "many-keys", FIRED).await;
    let before = wait_state(&agent, "many-keys", "firing").await;
    let folder = agent.stop().await;

    let agent = TestAgent::start_in(folder, &stage.config(&rules), plugins()).await;
    // Frozen until it is judged again, and the same alert all along.
    let is_judged = |answer: &Value| answer["items"][0]["frozen"].is_null() && answer["items"][0]["state"] == "firing";
    let after = agent.wait_json("/api/database/alerts", is_judged).await["items"][0].clone();
    assert_eq!((&after["fingerprint"], &after["started_at"]), (&before["fingerprint"], &before["started_at"]));
    stage.set_keys(0).await;
    wait_counts(&stage.ops, "many-keys", RESOLVED).await;
    assert_eq!(statuses(&deliveries(&stage.ops)), ["firing", "resolved"]);
    agent.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn alerts_of_a_server_that_is_no_longer_configured_resolve_with_that_reason() {
    let mut stage = Stage::new().await;
    let rules = Stage::rule("many-keys", 5, "warning", "0");
    let agent = stage.agent(&rules).await;
    stage.set_keys(6).await;
    wait_counts(&stage.ops, "many-keys", FIRED).await;
    let folder = agent.stop().await;

    let agent = TestAgent::start_in(folder, &format!("{rules}{}", stage.receivers()), plugins()).await;
    wait_counts(&stage.ops, "many-keys", RESOLVED).await;
    assert_eq!(agent.json("/api/database/alerts").await["items"].as_array().map(Vec::len), Some(0));
    let folder = agent.stop().await;

    let store = open(&folder.path().join("data")).await;
    let events = store.events(10).await.unwrap();
    let last = events.iter().find(|event| event.kind() == "alert").unwrap();
    assert_eq!(last.stored_detail()["reason"], "subject-removed", "{last:?}");
    assert_eq!(store.alerts().await.unwrap().alerts, []);
}
