//! No stranger gets an answer off loopback, and no database, receiver or plugin that is down ends the agent or makes it unready. No part of
//! the agent is gone while the rest looks alive.
//!
//! What the outside sees over HTTP: shapes, errors, tokens.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use axum::http::StatusCode;
use pharos::board::PartHealth;
use pharos::demo::receiver::{Receiver, Reply};
use pharos_model::catalogue::metrics::Metrics;
use serde_json::{Value, json};
use sha2::{Digest, Sha256};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

use crate::fixture::wait::{fitting, until};
use crate::fixture::zoo::{Zoo, named};
use crate::fixture::{
    TestAgent, item, part_name, postgres, postgres_config, receiver_config, redis, redis_config, runtime_tasks, server_id, shipped,
};

/// One answer as it came: status, content type, body.
async fn send_raw(agent: &TestAgent, request: &str, headers: &str) -> (u16, String, String) {
    let mut stream = TcpStream::connect(agent.agent.address()).await.unwrap();
    let request = format!("{request} HTTP/1.1\r\nhost: 127.0.0.1\r\nconnection: close\r\n{headers}\r\n");
    stream.write_all(request.as_bytes()).await.unwrap();
    let mut answer = String::new();
    stream.read_to_string(&mut answer).await.unwrap();
    let (head, body) = answer.split_once("\r\n\r\n").unwrap();
    let status = head.split(' ').nth(1).unwrap().parse().unwrap();
    let content_type = head.lines().find_map(|line| line.strip_prefix("content-type: ")).unwrap_or_default();
    (status, content_type.to_owned(), body.to_owned())
}

async fn error(agent: &TestAgent, path: &str) -> (u16, Value) {
    let (status, content_type, body) = send_raw(agent, &format!("GET {path}"), "").await;
    assert_eq!(content_type, "application/json", "{path}");
    (status, serde_json::from_str::<Value>(&body).unwrap()["error"].take())
}

fn keys(value: &Value) -> Vec<&str> {
    let mut keys: Vec<&str> = value.as_object().unwrap().keys().map(String::as_str).collect();
    keys.sort_unstable();
    keys
}

/// Metric, label names and value of each series of an exposition.
fn series(exposition: &str) -> Vec<(&str, Vec<&str>)> {
    let lines = exposition.lines().filter(|line| !line.starts_with('#') && !line.is_empty());
    lines
        .map(|line| match line.split_once('{') {
            Some((metric, rest)) => {
                let labels = rest.rsplit_once("\"}").unwrap().0;
                (metric, labels.split("\",").map(|label| label.split_once("=\"").unwrap().0).collect())
            }
            None => (line.split_once(' ').unwrap().0, Vec::new()),
        })
        .collect()
}

const RULES: &str = r#"
[[plugin.threshold.settings.rules]]
id = "always"
metric = "pharos_redis_up"
above = 0.5
clear = 0.25
severity = "warning"
summary = "{server} is up"
"#;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn answers_have_the_promised_shapes() {
    let (tasks, _) = runtime_tasks();
    let (server, cache) = (postgres(&tasks).await, redis(&tasks).await);
    let agent = TestAgent::start(&format!("{}{}{RULES}", postgres_config("app", &server), redis_config("cache", &[&cache]))).await;
    let (postgres_id, redis_id) = (server_id(server.port()), server_id(cache.port()));

    let ready = agent.wait_json("/readyz", |answer| answer["ready"] == true).await;
    assert_eq!(keys(&ready), ["failed", "items", "ready", "waiting_for"]);
    assert_eq!((&ready["waiting_for"], &ready["failed"]), (&json!([]), &json!([])));
    assert_eq!(send_raw(&agent, "GET /healthz", "").await, (200, "application/json".to_owned(), r#"{"status":"alive"}"#.to_owned()));

    // Facts of each server.
    let has_statements =
        |answer: &Value| item(answer, "kind", "postgres").is_some_and(|item| item["parts"]["statements"]["state"] == "present");
    let facts = agent.wait_json("/api/database/metrics", has_statements).await;
    let fact = item(&facts, "server", &postgres_id).unwrap();
    assert_eq!(keys(fact), ["database", "kind", "metrics", "parts", "server", "taken_at", "up", "version"]);
    assert_eq!((&fact["database"], &fact["up"]), (&json!("app"), &json!(true)));
    assert_eq!(fact["metrics"]["pharos_postgres_up"], json!([{ "labels": {}, "value": 1.0 }]));
    let facts = agent.json("/api/database/metrics?database=cache").await;
    assert_eq!((facts["items"].as_array().unwrap().len(), &facts["items"][0]["server"]), (1, &json!(redis_id)));

    // Slow queries, here every query.
    let slow = agent.wait_json("/api/database/slow-queries?threshold=0s&limit=1", |answer| answer["items"][0]["query"].is_string()).await;
    assert_eq!(slow["items"].as_array().unwrap().len(), 1);
    assert_eq!(
        keys(&slow["items"][0]),
        [
            "calls",
            "database",
            "datname",
            "fingerprint",
            "mean_seconds",
            "p95_estimate_seconds",
            "query",
            "rows",
            "server",
            "time_seconds",
            "toplevel",
            "user"
        ]
    );

    // Alerts.
    let fires = |answer: &Value| answer["items"][0]["state"] == "firing";
    let mut alerts = agent.wait_json("/api/database/alerts?database=cache", fires).await;
    let mut alert = alerts["items"][0].take();
    for time in ["since", "started_at"] {
        assert!(humantime::parse_rfc3339(alert[time].take().as_str().unwrap()).is_ok());
    }
    assert!(alert["detail"].take().is_string() && alert["incident"].take().is_u64());
    assert_eq!(alert["fingerprint"].take().as_str().map(str::len), Some(16));
    let expected = json!({
        "fingerprint": null, "incident": null, "rule": "always", "plugin": "threshold", "subject": { "kind": "redis", "id": redis_id },
        "labels": { "database": "cache", "server": redis_id }, "severity": "warning", "state": "firing", "since": null, "started_at": null,
        "value": 1.0, "raise_at": 0.5, "clear_at": 0.25, "title": format!("{redis_id} is up"), "detail": null, "cause": null, "fix": null, "runbook": null,
        "frozen": null, "frozen_since": null, "frozen_evaluations": 0, "flapping_since": null,
        "acknowledgement": null, "silenced_by": [],
    });
    assert_eq!(alert, expected);
    assert_eq!(agent.json("/api/database/alerts?database=app").await["items"], json!([]));
    agent.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn every_part_of_the_agent_shows_its_state_and_that_it_stops() {
    let (tasks, stop) = runtime_tasks();
    let (server, cache) = (postgres(&tasks).await, redis(&tasks).await);
    let receiver = Receiver::start(None, &tasks, &stop).await.unwrap();
    let config = [postgres_config("app", &server), redis_config("cache", &[&cache]), receiver_config(&receiver.url())].concat();
    let agent = TestAgent::start(&config).await;
    agent.wait_json("/readyz", |answer| answer["ready"] == true).await;

    let services = agent.json("/api/services/status").await;
    let (postgres, redis) = (part_name(&server), format!("redis {}", server_id(cache.port())));
    let names: Vec<&str> = services["items"].as_array().unwrap().iter().map(|part| part["name"].as_str().unwrap()).collect();
    let own = ["http", "pipeline", "plugin clock", "plugin reload", "plugins"];
    assert_eq!(names, [&own[..], &[&postgres, "receiver ops", &redis, "store"]].concat());
    for part in services["items"].as_array().unwrap() {
        // Statements on a server have a cost.
        let cost = (part["name"] == postgres.as_str()).then_some("cost");
        let wanted: Vec<&str> = ["cause"].into_iter().chain(cost).chain(["name", "since", "state"]).collect();
        assert_eq!(keys(part), wanted);
        assert_eq!((&part["state"], &part["cause"]), (&json!("ok"), &Value::Null), "{part}");
        assert!(humantime::parse_rfc3339(part["since"].as_str().unwrap()).is_ok(), "{part}");
    }

    let board = Arc::clone(agent.agent.board());
    agent.stop().await;
    let parts = board.parts();
    assert!(parts.len() == names.len() && parts.iter().all(|part| part.state == PartHealth::Stopping), "{parts:?}");
    stop.cancel();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_receiver_that_is_down_is_degraded_until_it_accepts_again() {
    let (tasks, stop) = runtime_tasks();
    let cache = redis(&tasks).await;
    let receiver = Receiver::start(None, &tasks, &stop).await.unwrap();
    receiver.reply_otherwise(Reply::of(StatusCode::SERVICE_UNAVAILABLE));
    let agent = TestAgent::start(&[redis_config("cache", &[&cache]), receiver_config(&receiver.url()), RULES.to_owned()].concat()).await;
    let part = agent.wait_part("receiver ops", |part| part["state"] == "degraded").await;
    assert_eq!(part["cause"], "status 503 (1 waiting)");
    agent.wait_series("pharos_notifications_pending{receiver=\"ops\"}", |pending| pending == 1.0).await;
    agent.wait_json("/readyz", |answer| answer["ready"] == true).await;

    receiver.reply_otherwise(Reply::of(StatusCode::OK));
    let part = agent.wait_part("receiver ops", |part| part["state"] == "ok").await;
    assert!(part["cause"].is_null(), "{part}");
    agent.wait_series("pharos_notifications_pending{receiver=\"ops\"}", |pending| pending == 0.0).await;
    agent.stop().await;
    stop.cancel();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_plugin_that_does_not_serve_degrades_the_agent_and_leaves_it_ready() {
    let broken = ("broken".to_owned(), b"no component".to_vec());
    let zoo = Zoo::start("", vec![broken, named("trapper", "armed=trap"), named("steady", "")], Vec::new()).await;
    zoo.wait_alert("trapper", "always", "firing").await;
    let degraded = |part: &Value, who: &[&str]| {
        let cause = part["cause"].as_str().unwrap_or_default();
        part["state"] == "degraded" && who.iter().all(|who| cause.contains(who)) && !cause.contains("steady")
    };
    zoo.agent.wait_part("plugins", |part| degraded(part, &["`broken` failed at "])).await;
    zoo.arm().await;
    zoo.agent.wait_part("plugins", |part| degraded(part, &["`broken` failed at ", "`trapper` is quarantined: it trapped"])).await;
    let (status, ready) = zoo.agent.request("/readyz", &[]).await;
    assert_eq!(status, 200, "{ready}");

    zoo.disarm().await;
    std::fs::remove_file(zoo.file("broken")).unwrap();
    let part = zoo.agent.wait_part("plugins", |part| part["state"] == "ok").await;
    assert!(part["cause"].is_null(), "{part}");
    zoo.agent.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn plugins_are_listed_with_what_serves_and_where_it_came_from() {
    let shipped: Vec<_> = shipped().into_iter().filter(|(id, _)| id == "webhook").collect();
    let file = shipped[0].1.clone();
    let agent = TestAgent::start_with("[plugin.webhook]\ngrants = { egress = [\"127.0.0.1\"] }", shipped).await;
    agent.wait_plugin("webhook", |plugin| plugin["state"] == "serving").await;
    let plugin = agent.plugin("webhook").await;
    assert_eq!((&plugin["source"], &plugin["generation"]), (&json!("embedded"), &json!(1)));
    assert_eq!((&plugin["wants"], &plugin["granted"]), (&json!(["egress"]), &json!(["egress 127.0.0.1"])));
    std::fs::create_dir_all(agent.plugins_dir()).unwrap();
    std::fs::write(agent.plugins_dir().join("webhook.wasm"), file).unwrap();
    let same = agent.wait_plugin("webhook", |plugin| plugin["source"] == "file").await;
    assert_eq!(same["generation"], 1, "the same content is no new generation");
    agent.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn series_have_the_labels_of_the_catalogue_and_both_formats_agree() {
    let (tasks, _) = runtime_tasks();
    let (server, cache) = (postgres(&tasks).await, redis(&tasks).await);
    let agent = TestAgent::start(&format!("{}{}{RULES}", postgres_config("app", &server), redis_config("cache", &[&cache]))).await;
    let all = [
        "pharos_postgres_statement_calls_total{",
        "pharos_database_members{",
        "pharos_redis_up{",
        "pharos_alert_transitions_total{",
        "pharos_plugin_info{",
    ];
    let text = agent.wait_metrics(|text| all.iter().all(|name| text.contains(name))).await;

    let mut wrong = BTreeSet::new();
    for (metric, mut labels) in series(&text) {
        let Some(spec) = Metrics::shipped().spec(metric) else {
            wrong.insert(format!("{metric} is not in the catalogue"));
            continue;
        };
        let subject: &[&str] = match spec.part {
            None => &[],
            Some(_) if metric.starts_with("pharos_database_") => &["database"],
            Some(_) => &["database", "server"],
        };
        let mut expected: Vec<&str> = subject.iter().copied().chain(spec.labels.iter().map(String::as_str)).collect();
        labels.sort_unstable();
        expected.sort_unstable();
        if labels != expected {
            wrong.insert(format!("{metric} has {labels:?}, not {expected:?}"));
        }
    }
    assert!(wrong.is_empty(), "{wrong:#?}");

    let (_, content_type, text) = send_raw(&agent, "GET /metrics", "").await;
    assert_eq!(content_type, "text/plain; version=0.0.4; charset=utf-8");
    let (_, content_type, open) = send_raw(&agent, "GET /metrics", "accept: application/openmetrics-text; version=1.0.0\r\n").await;
    assert_eq!(content_type, "application/openmetrics-text; version=1.0.0; charset=utf-8");
    assert!(open.ends_with("\n# EOF\n"));
    let count = |text: &str| {
        let mut counts = BTreeMap::new();
        // The requests themselves count requests.
        series(text).iter().filter(|(metric, _)| metric.contains("_postgres_") || metric.contains("_redis_")).for_each(|(metric, _)| {
            *counts.entry((*metric).to_owned()).or_insert(0) += 1;
        });
        counts.into_keys().collect::<Vec<_>>()
    };
    assert_eq!(count(&text), count(&open));
    agent.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn errors_are_json_with_a_way_out() {
    let agent = TestAgent::start("[[database]]\nname = \"app\"\nprimary = \"postgresql://pharos@127.0.0.1:1/app\"").await;
    let unknown = json!({ "code": "not_found", "message": "no database is named \"ap\"", "hint": "configured are: app" });
    for resource in ["metrics", "slow-queries", "alerts"] {
        assert_eq!(error(&agent, &format!("/api/database/{resource}?database=ap")).await, (404, unknown.clone()), "{resource}");
        let (status, body) = error(&agent, &format!("/api/database/{resource}?databse=app")).await;
        assert_eq!((status, &body["code"]), (400, &json!("bad_request")), "{resource}: {body}");
        assert!(body["message"].as_str().unwrap().contains("databse"), "{body}");
    }
    let (status, body) = error(&agent, "/api/database/slow-queries?threshold=long").await;
    assert_eq!((status, &body["hint"]), (400, &json!("a duration like 250ms")));
    assert_eq!(error(&agent, "/api/database/slow-queries?limit=-1").await.0, 400);
    let (status, body) = error(&agent, "/nowhere").await;
    assert_eq!((status, &body["code"]), (404, &json!("not_found")));
    let (status, content_type, body) = send_raw(
        &agent,
        "POST /api/plugins",
        &format!("content-type: application/json\r\ncontent-length: 0\r\nauthorization: {}\r\n", agent.operator()),
    )
    .await;
    assert_eq!((status, content_type.as_str()), (405, "application/json"), "{body}");

    // A server that is down: degraded, and ready all the same.
    let ready = agent.wait_json("/readyz", |answer| answer["ready"] == true).await;
    let part = item(&ready, "name", "postgres 127.0.0.1:1").unwrap();
    assert_eq!(part["state"], "degraded");
    assert!(part["cause"].as_str().unwrap().contains("cannot reach the server"), "{part}");
    let (status, _, _) = send_raw(&agent, "GET /readyz", "").await;
    assert_eq!(status, 200);
    agent.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn tokens_open_everything_and_only_health_is_open_without() {
    let digest: String = Sha256::digest(b"open sesame").iter().map(|byte| format!("{byte:02X}")).collect();
    let token = format!("[http]\nlisten = \"0.0.0.0:0\"\n[[access.token]]\nname = \"grafana\"\nrole = \"viewer\"\nsha256 = \"{digest}\"");
    let agent = TestAgent::start_with(&token, Vec::new()).await;
    let key = [("authorization", "Bearer open sesame")];
    until("it is ready", async || fitting(agent.request("/readyz", &key).await.0, |status| *status != 503)).await;
    for path in ["/metrics", "/readyz", "/api/plugins", "/api/services/status", "/api/database/alerts", "/nowhere"] {
        for header in [None, Some("Bearer open sesam"), Some("open sesame"), Some("Bearer "), Some("Basic b3Blbg==")] {
            let headers: Vec<(&str, &str)> = header.map(|value| ("authorization", value)).into_iter().collect();
            let (status, body) = agent.request(path, &headers).await;
            assert!(status == 401 && !body.contains("sesam"), "{path} {header:?}: {status} {body}");
        }
        let (status, body) = agent.request(path, &key).await;
        assert_eq!(status, if path == "/nowhere" { 404 } else { 200 }, "{path}: {body}");
    }
    assert_eq!(agent.request("/healthz", &[]).await.0, 200);
    let (status, body) = error(&agent, "/metrics").await;
    assert_eq!((status, &body["code"]), (401, &json!("unauthorised")));
    agent.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_damaged_store_is_reported_and_monitoring_continues() {
    let folder = tempfile::tempdir().unwrap();
    std::fs::create_dir(folder.path().join("data")).unwrap();
    std::fs::write(folder.path().join("data/pharos.db"), "this is no database, and long enough to be looked at as one".repeat(200))
        .unwrap();
    let agent = TestAgent::start_in(folder, "", Vec::new()).await;
    let part = agent.wait_part("store", |part| part["state"] == "degraded").await;
    assert!(part["cause"].as_str().unwrap().contains("pharos.db.damaged-1"), "{part:#}");
    agent.wait_json("/readyz", |ready| ready["ready"] == true).await;
    agent.stop().await;
}
