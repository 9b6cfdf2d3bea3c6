//! No incident is withheld from a receiver without a stored reason.
//!
//! Covers routes, groups, silences, inhibitions and acknowledgements, and what `pharos` prints about them.

mod gravest;
mod shown;

use axum::http::StatusCode;
use pharos::demo::receiver::{Count, Delivery, Receiver, Reply};
use pharos::demo::redis::RedisServer;
use redis::aio::MultiplexedConnection;
use serde_json::{Value, json};
use tokio_util::sync::{CancellationToken, DropGuard};

use crate::fixture::program::output;
use crate::fixture::{PATIENCE, TestAgent, redis, redis_config, runtime_tasks, send, set_keys, shipped};

/// A Redis whose number of keys is the condition of every rule, and a receiver.
struct Stage {
    redis: RedisServer,
    keys: MultiplexedConnection,
    ops: Receiver,
    _stop: DropGuard,
}

impl Stage {
    async fn new() -> Self {
        let (tasks, stop) = runtime_tasks();
        let redis = redis(&tasks).await;
        let keys = redis.connect().await.unwrap();
        let ops = Receiver::start(None, &tasks, &stop).await.unwrap();
        Self { redis, keys, ops, _stop: CancellationToken::drop_guard(stop) }
    }

    /// Rules that hold from so many keys on, a receiver, and what a test adds to its route.
    fn config(&self, rules: &[(&str, u32)], route: &str) -> String {
        let rule = |(id, above): &(&str, u32)| {
            format!(
                "[[plugin.threshold.settings.rules]]\nid = \"{id}\"\nmetric = \"pharos_redis_keys\"\nabove = {above}\nseverity = \"warning\"\n"
            )
        };
        let rules: String = rules.iter().map(rule).collect();
        format!(
            "{}{rules}[plugin.webhook]\ngrants = {{ egress = [\"127.0.0.1\"] }}\n[[receiver]]\nname = \"ops\"\nplugin = \"webhook\"\nsettings = {{ url = \"{}\" }}\n[[route]]\nreceiver = \"ops\"\n{route}",
            redis_config("cache", &[&self.redis]),
            self.ops.url()
        )
    }

    async fn set_keys(&mut self, count: u32) {
        set_keys(&mut self.keys, count).await;
    }

    async fn wait_counts(&self, rule: &str, firing: usize, resolved: usize) {
        let expected = Count { firing, resolved };
        let arrived = self.ops.wait_until(PATIENCE, |received| received.count(rule) == expected).await;
        assert!(arrived, "{rule}: {:?}, not {expected:?}", self.ops.received(|received| received.count(rule)));
    }

    fn deliveries(&self) -> Vec<Delivery> {
        self.ops.received(|received| received.deliveries().cloned().collect())
    }
}

const AT_ONCE: &str = "group_wait = \"0s\"\ngroup_interval = \"0s\"\n";

async fn start(config: &str) -> TestAgent {
    let agent = TestAgent::start_with(config, plugins()).await;
    for plugin in ["threshold", "webhook"] {
        agent.wait_plugin(plugin, |plugin| plugin["state"] == "serving").await;
    }
    agent
}

fn plugins() -> Vec<(String, Vec<u8>)> {
    shipped().into_iter().filter(|(id, _)| ["threshold", "webhook"].contains(&id.as_str())).collect()
}

fn url(agent: &TestAgent) -> String {
    format!("http://{}", agent.agent.address())
}

/// Runs `pharos`, which must succeed, and returns its output.
async fn run_pharos(agent: &TestAgent, arguments: &[&str]) -> String {
    let (url, token_file) = (url(agent), agent.token_file());
    let (code, out, err) = output(&[arguments, &["--url", &url, "--token-file", &token_file]].concat()).await;
    assert_eq!(code, Some(0), "{arguments:?}: {out}{err}");
    out
}

/// The fingerprint of the open alert of a rule, which is there soon.
async fn fingerprint(agent: &TestAgent, rule: &str) -> String {
    let fires = |item: &&Value| item["rule"] == rule && item["state"] == "firing";
    let answer = agent.wait_json("/api/alerts", |answer| answer["items"].as_array().unwrap().iter().any(|item| fires(&item))).await;
    answer["items"].as_array().unwrap().iter().find(fires).unwrap()["fingerprint"].as_str().unwrap().to_owned()
}

async fn held(agent: &TestAgent, fingerprint: &str) -> String {
    let path = format!("/api/alerts/{fingerprint}");
    let answer = agent.wait_json(&path, |answer| answer["decision"]["receivers"][0]["held"].is_string()).await;
    answer["decision"]["receivers"][0]["held"].as_str().unwrap().to_owned()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_silenced_alert_is_explained_survives_a_restart_and_is_sent_when_the_silence_ends() {
    let mut stage = Stage::new().await;
    let config = stage.config(&[("many", 5), ("more", 6)], AT_ONCE);
    let agent = start(&config).await;
    let printed = run_pharos(&agent, &["silence", "add", "rule=many", "--for", "2h", "--comment", "we know", "--author", "ann"]).await;
    let id = printed.split(' ').nth(1).unwrap().to_owned();
    stage.set_keys(7).await;
    stage.wait_counts("more", 1, 0).await;
    let many = fingerprint(&agent, "many").await;
    assert_eq!(held(&agent, &many).await, format!("silenced by ann ({id}): we know"));
    let open = run_pharos(&agent, &["alerts", "list"]).await;
    let of_many = |line: &&str| line.starts_with(&many);
    assert!(open.lines().find(of_many).is_some_and(|line| line.ends_with("[silenced]")), "{open}");
    assert!(run_pharos(&agent, &["alerts", "show", &many]).await.contains(&format!("by {id}: pharos silence list")));
    let misspelt = run_pharos(&agent, &["silence", "add", "rul=many", "--for", "1h", "--comment", "?"]).await;
    assert!(misspelt.contains("; no open alert matches"), "{misspelt}");
    let same = run_pharos(&agent, &["silence", "add", "rule=many", "--for", "1h", "--comment", "once more"]).await;
    assert!(same.contains("; 1 open alert matches"), "{same}");
    for silence in [&misspelt, &same] {
        run_pharos(&agent, &["silence", "expire", silence.split(' ').nth(1).unwrap()]).await;
    }
    let explained = run_pharos(&agent, &["alerts", "explain", &many]).await;
    assert!(
        explained.contains(&format!("No receiver was notified.\n  `ops` gets no message: silenced by ann ({id}): we know")),
        "{explained}"
    );
    assert!(explained.contains("1 {} -> ops: taken"), "{explained}");
    let listed = run_pharos(&agent, &["silence", "list"]).await;
    assert!(listed.starts_with(&format!("{id}  active")) && listed.contains("{rule=\"many\"}  ann: we know"), "{listed}");

    let agent = TestAgent::start_in(agent.stop().await, &config, plugins()).await;
    assert_eq!(held(&agent, &many).await, format!("silenced by ann ({id}): we know"));
    run_pharos(&agent, &["silence", "expire", &id]).await;
    stage.wait_counts("many", 1, 0).await;
    stage.set_keys(0).await;
    stage.wait_counts("many", 1, 1).await;
    let history = run_pharos(&agent, &["alerts", "history", &many]).await;
    assert!(history.contains("ops: not notified for now, silenced by ann") && history.contains("firing -> resolved"), "{history}");
    let listed = run_pharos(&agent, &["silence", "list"]).await;
    assert!(listed.contains(&format!("{id}  expired")), "{listed}");
    agent.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_alert_that_is_silenced_to_its_end_is_never_sent_and_that_is_explained() {
    let mut stage = Stage::new().await;
    let agent = start(&stage.config(&[("many", 5), ("more", 5)], AT_ONCE)).await;
    run_pharos(&agent, &["silence", "add", "rule=many", "--for", "2h", "--comment", "we know", "--author", "ann"]).await;
    stage.set_keys(6).await;
    let many = fingerprint(&agent, "many").await;
    held(&agent, &many).await;
    stage.set_keys(0).await;
    stage.wait_counts("more", 1, 1).await;
    agent.wait_json("/api/alerts", |answer| answer["items"].as_array().unwrap().is_empty()).await;
    let explained = run_pharos(&agent, &["alerts", "explain", &many]).await;
    assert!(explained.contains("No receiver was notified.") && explained.contains("`ops` was never notified: "), "{explained}");
    assert_eq!(stage.ops.received(|received| received.count("many")), Count::default());
    agent.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_inhibited_alert_is_sent_when_the_alert_that_explains_it_ends() {
    let mut stage = Stage::new().await;
    let inhibit = "[[inhibit]]\nname = \"cause\"\nsource = ['rule=\"cause\"']\ntarget = ['rule=\"effect\"']\nequal = [\"subject\"]\n";
    let agent = start(&stage.config(&[("cause", 9), ("effect", 5)], &format!("{AT_ONCE}{inhibit}"))).await;
    stage.set_keys(10).await;
    stage.wait_counts("cause", 1, 0).await;
    let (cause, effect) = (fingerprint(&agent, "cause").await, fingerprint(&agent, "effect").await);
    assert_eq!(held(&agent, &effect).await, format!("explained by alert {cause} (inhibition `cause`)"));
    let explained = run_pharos(&agent, &["alerts", "explain", &effect[..8]]).await;
    assert!(explained.contains(&format!("held: explained by alert {cause} (inhibition `cause`)")), "{explained}");
    stage.set_keys(6).await;
    stage.wait_counts("effect", 1, 0).await;
    stage.wait_counts("cause", 1, 1).await;
    agent.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn alerts_of_one_group_are_sent_in_one_message_after_their_wait() {
    let mut stage = Stage::new().await;
    let agent = start(&stage.config(&[("many", 5), ("more", 6), ("most", 7)], "group_wait = \"2s\"\ngroup_interval = \"1s\"\n")).await;
    stage.set_keys(8).await;
    let many = fingerprint(&agent, "many").await;
    let waits = |answer: &Value| answer["decision"]["receivers"][0]["due_at"].is_string();
    let answer = agent.wait_json(&format!("/api/alerts/{many}"), waits).await;
    assert_eq!(answer["decision"]["receivers"][0]["group_size"], 3);
    let explained = run_pharos(&agent, &["alerts", "explain", &many]).await;
    assert!(explained.contains("No receiver was notified.\n  `ops` gets a message at") && explained.contains("of 3 alerts"), "{explained}");
    stage.wait_counts("most", 1, 0).await;
    let told = stage.deliveries();
    assert_eq!((told.len(), told[0].alerts.len()), (1, 3));
    stage.set_keys(6).await;
    stage.wait_counts("most", 1, 1).await;
    let last: Value = serde_json::from_slice(&stage.deliveries().last().unwrap().body).unwrap();
    assert_eq!(
        (&last["alerts"].as_array().unwrap().len(), &last["status"]),
        (&2, &json!("firing")),
        "one of the group still fires: {last}"
    );
    stage.set_keys(0).await;
    stage.wait_counts("many", 1, 1).await;
    let last: Value = serde_json::from_slice(&stage.deliveries().last().unwrap().body).unwrap();
    assert_eq!(last["status"], "resolved");
    let explained = run_pharos(&agent, &["alerts", "explain", &many]).await;
    assert!(explained.contains("Notified: ops."), "{explained}");
    agent.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn no_receiver_is_reminded_of_an_acknowledged_alert() {
    let mut stage = Stage::new().await;
    let route = format!("{AT_ONCE}repeat_interval = \"500ms\"\n");
    let config = stage.config(&[("many", 5), ("more", 6)], &route);
    let agent = start(&config).await;
    stage.set_keys(7).await;
    let many = fingerprint(&agent, "many").await;
    let reminded = |rule: &'static str, times: usize| stage.ops.wait_until(PATIENCE, move |received| received.count(rule).firing >= times);
    assert!(reminded("many", 3).await && reminded("more", 3).await);
    run_pharos(&agent, &["alerts", "ack", &many, "--comment", "on it", "--author", "ann"]).await;
    let before = stage.ops.received(|received| (received.count("many").firing, received.count("more").firing));
    // The alert without an acknowledgement shows when reminders are due.
    assert!(reminded("more", before.1 + 4).await);
    let agent = TestAgent::start_in(agent.stop().await, &config, plugins()).await;
    assert!(reminded("more", before.1 + 6).await);
    let after = stage.ops.received(|received| received.count("many").firing);
    assert!(after <= before.0 + 1, "one may have been under way: {after} after {}", before.0);
    let listed = run_pharos(&agent, &["alerts", "list"]).await;
    assert!(listed.lines().any(|line| line.starts_with(&many) && line.contains("[acknowledged]")), "{listed}");
    run_pharos(&agent, &["alerts", "ack", &many, "--undo"]).await;
    assert!(reminded("many", after + 2).await);
    agent.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_receiver_that_is_notified_late_gets_the_alert_and_no_reminder() {
    let mut stage = Stage::new().await;
    let agent = start(&stage.config(&[("many", 5)], &format!("{AT_ONCE}repeat_interval = \"100ms\"\n"))).await;
    // Before the next attempt, reminders are due as well.
    stage.ops.reply_next([Reply::of(StatusCode::SERVICE_UNAVAILABLE)]);
    stage.set_keys(6).await;
    assert!(stage.ops.wait_until(PATIENCE, |received| received.count("many").firing >= 2).await);
    let delivered = stage.deliveries().into_iter().filter(|delivery| delivery.status.is_success());
    let summaries: Vec<Option<String>> = delivered.map(|delivery| delivery.alerts[0].annotations.get("summary").cloned()).collect();
    assert_eq!((summaries[0].as_deref(), summaries[1].as_deref()), (None, Some("it still fires")));
    agent.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_notification_that_was_given_up_is_explained_and_can_be_retried_or_dropped() {
    let mut stage = Stage::new().await;
    stage.ops.reply_otherwise(Reply::of(StatusCode::BAD_REQUEST));
    let agent = start(&stage.config(&[("many", 5)], AT_ONCE)).await;
    stage.set_keys(6).await;
    let many = fingerprint(&agent, "many").await;
    agent.wait_json("/api/outbox?state=dead", |answer| answer["items"].as_array().unwrap().len() == 1).await;
    let explained = run_pharos(&agent, &["alerts", "explain", &many]).await;
    assert!(explained.contains("`ops` was not reached, and #1 was given up (rejected): status 400"), "{explained}");
    stage.ops.reply_otherwise(Reply::of(StatusCode::OK));
    assert_eq!(run_pharos(&agent, &["outbox", "retry", "1"]).await, "1 notifications are tried again\n");
    stage.wait_counts("many", 1, 0).await;
    agent.wait_json("/api/outbox?state=delivered", |answer| answer["items"].as_array().unwrap().len() == 1).await;
    stage.set_keys(0).await;
    stage.wait_counts("many", 1, 1).await;

    stage.ops.reply_otherwise(Reply::of(StatusCode::GONE));
    stage.set_keys(6).await;
    agent.wait_json("/api/outbox?state=dead", |answer| answer["items"].as_array().unwrap().len() == 1).await;
    let listed = run_pharos(&agent, &["outbox", "list", "--state", "dead", "--receiver", "ops"]).await;
    assert!(listed.contains("ops  dead  begin") && listed.contains("(gone after"), "{listed}");
    assert_eq!(run_pharos(&agent, &["outbox", "drop", "--receiver", "ops"]).await, "1 notifications were dropped\n");
    assert_eq!(run_pharos(&agent, &["outbox", "list", "--state", "dead"]).await, "no notifications\n");

    // Stored facts can be read without the agent too.
    let folder = agent.stop().await;
    let config = folder.path().join("stopped.toml");
    std::fs::write(&config, "[agent]\ndata_dir = \"data\"\n[http]\nlisten = \"127.0.0.1:1\"\n").unwrap();
    let config = config.to_str().unwrap();
    let (code, listed, err) = output(&["outbox", "list", "--receiver", "ops", "--config", config]).await;
    assert!(code == Some(0) && listed.lines().count() == 2 && listed.contains("#1  ops  delivered  begin"), "{listed}{err}");
    let (code, history, err) = output(&["alerts", "history", &many, "--config", config]).await;
    assert!(code == Some(0) && history.contains("firing -> resolved"), "{history}{err}");
    let (code, _, err) = output(&["alerts", "list", "--config", config]).await;
    assert!(code == Some(1) && err.contains("no agent answers"), "{err}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_test_message_shows_whether_it_arrived() {
    let stage = Stage::new().await;
    let agent = start(&stage.config(&[], AT_ONCE)).await;
    assert_eq!(run_pharos(&agent, &["notify", "test", "ops"]).await, "`ops` accepted a test message\n");
    let told = stage.deliveries();
    assert_eq!((told.len(), told[0].alerts[0].status.as_str()), (1, "resolved"), "nothing shall look as if it fires");
    stage.ops.reply_next([Reply::of(StatusCode::UNAUTHORIZED)]);
    let (code, out, _) = output(&["notify", "test", "ops", "--url", &url(&agent), "--token-file", &agent.token_file()]).await;
    assert_eq!((code, out.as_str()), (Some(1), "`ops` did not accept a test message (unauthorised): status 401\n"));
    let (code, _, err) = output(&["notify", "test", "pos", "--url", &url(&agent), "--token-file", &agent.token_file()]).await;
    assert_eq!((code, err.as_str()), (Some(1), "pharos: no receiver is named \"pos\"; there are ops\n"));
    agent.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_silence_of_the_config_is_listed_and_stays() {
    let mut stage = Stage::new().await;
    let silence = "[[silence]]\nname = \"move\"\nmatchers = ['rule=\"many\"']\nstarts = \"2026-01-01T00:00:00Z\"\nends = \"2099-01-01T00:00:00Z\"\nauthor = \"ann\"\ncomment = \"moving\"\n";
    // Longer than a year, and so refused.
    let refused = pharos::config::parse(&stage.config(&[("many", 5)], silence), std::path::Path::new(".")).unwrap_err();
    assert!(refused[0].to_string().contains("a silence lasts at most a year"), "{refused:?}");
    let silence = silence.replace("2026-01-01", "2098-06-01");
    let agent = start(&stage.config(&[("many", 5)], &format!("{AT_ONCE}{silence}"))).await;
    let listed = run_pharos(&agent, &["silence", "list"]).await;
    assert!(listed.starts_with("config:move  pending"), "{listed}");
    let (code, _, err) = output(&["silence", "expire", "config:move", "--url", &url(&agent), "--token-file", &agent.token_file()]).await;
    assert_eq!((code, err.as_str()), (Some(1), "pharos: the silence `config:move` stands in the config file; remove it there\n"));
    stage.set_keys(6).await;
    stage.wait_counts("many", 1, 0).await;
    agent.stop().await;
}

/// One request of the agent's own user: status and answer.
async fn change(agent: &TestAgent, method: &str, path: &str, body: &str) -> (u16, Value) {
    let headers = [("content-type", "application/json"), ("authorization", &agent.operator())];
    let (status, body) = send(agent.agent.address().port(), method, path, &headers, body).await;
    (status, serde_json::from_str(&body).unwrap_or_default())
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn mistakes_in_what_people_send_are_named() {
    let stage = Stage::new().await;
    let agent = start(&stage.config(&[], AT_ONCE)).await;
    let refused = async |method: &str, path: &str, body: &str| {
        let (status, body) = change(&agent, method, path, body).await;
        (status, body["error"]["message"].as_str().unwrap_or_default().to_owned())
    };
    let silence = async |body: &str| refused("POST", "/api/silences", body).await;
    let whole = |matchers: &str, end: &str| format!("{{\"matchers\":{matchers},{end},\"comment\":\"c\",\"author\":\"a\"}}");
    assert_eq!(silence("{").await.0, 400);
    assert!(silence("{\"matchers\":[],\"x\":1}").await.1.contains("unknown field `x`"));
    assert_eq!(
        silence(&whole("[\"rule\"]", "\"duration\":\"1h\"")).await.1,
        "`matchers`: `rule` is no matcher; write name=value, name!=value, name=~regex or name!~regex"
    );
    assert_eq!(
        silence(&whole("[]", "\"duration\":\"1h\"")).await.1,
        "a silence needs a matcher; one that matches every alert would hide everything"
    );
    assert!(silence(&whole("[\"a=b\"]", "\"duration\":\"soon\"")).await.1.starts_with("`duration`: `soon`"));
    assert_eq!(silence(&whole("[\"a=b\"]", "\"ends_at\":\"tomorrow\"")).await.1, "`ends_at`: `tomorrow` is no instant");
    assert_eq!(silence(&whole("[\"a=b\"]", "\"ends_at\":\"2001-01-01T00:00:00Z\"")).await.1, "the silence would end before it begins");
    assert_eq!(refused("DELETE", "/api/silences/nope", "{}").await, (404, "no silence has the id `nope`".to_owned()));
    let acknowledge =
        async |fingerprint: &str| refused("PUT", &format!("/api/alerts/{fingerprint}/acknowledgement"), "{\"comment\":\"c\"}").await;
    assert_eq!(acknowledge("xyz").await, (400, "`xyz` is no fingerprint".to_owned()));
    assert_eq!(acknowledge("0123456789abcdef").await, (404, "no alert that fires has the fingerprint 0123456789abcdef".to_owned()));
    assert_eq!(
        refused("POST", "/api/outbox/retry", "{}").await,
        (400, "name the notifications: `ids`, `receiver`, or `\"all\": true`".to_owned())
    );
    assert_eq!(refused("GET", "/api/outbox?state=lost", "").await, (400, "no notification is `lost`".to_owned()));
    assert_eq!(
        refused("GET", "/api/alerts/0123456789abcdef", "").await,
        (404, "no alert with the fingerprint 0123456789abcdef is known".to_owned())
    );
    let (code, _, err) = output(&["alerts", "explain", "zz", "--url", &url(&agent)]).await;
    assert_eq!((code, err.as_str()), (Some(1), "pharos: `zz` is no fingerprint; `pharos alerts list` shows those of open alerts\n"));
    let (code, _, err) = output(&["alerts", "list", "--url", "http://127.0.0.1:1"]).await;
    assert!(code == Some(1) && err.contains("no agent answers at http://127.0.0.1:1; is `pharos run` running"), "{err}");
    agent.stop().await;
}
