//! No route answers otherwise than `GET /api/openapi.json` documents, and no request makes a server error.

use std::collections::BTreeSet;
use std::process::Stdio;
use std::time::Duration;

use hyper::Request;
use jsonschema::Validator;
use pharos::api::client::exchange;
use pharos::demo::postgres::PostgresServer;
use pharos::demo::receiver::Receiver;
use pharos::demo::redis::RedisServer;
use serde_json::{Value, json};
use tokio::process::Command;
use tokio::time::timeout;
use tokio_util::sync::CancellationToken;

use crate::fixture::{TestAgent, postgres, postgres_config, project, receiver_config, redis, redis_config, runtime_tasks, shipped};

/// Methods that a path may support.
const METHODS: [&str; 5] = ["get", "post", "put", "delete", "patch"];
/// The longest run of schemathesis on a busy machine. A quiet machine needs a few seconds.
const FUZZ_MAX: Duration = Duration::from_secs(180);
/// Two alerts, so that pages of them can be cut. The graver one is pending before it fires, so that its history has pages as well.
const RULES: &str = r#"
[[plugin.threshold.settings.rules]]
id = "always"
metric = "pharos_redis_up"
above = 0.5
severity = "warning"
summary = "{server} is up"

[[plugin.threshold.settings.rules]]
id = "graver"
metric = "pharos_redis_up"
above = 0.5
for = "500ms"
severity = "critical"
summary = "{server} is up"
"#;

/// Headers of a request: names and values.
type Headers<'a> = &'a [(&'a str, &'a str)];

/// An agent that watches servers, has alerts and delivers them, so that its lists are not empty.
struct Watching {
    agent: TestAgent,
    fingerprint: String,
    /// Whatever the agent stands on.
    _servers: (PostgresServer, RedisServer, Receiver),
    stop: CancellationToken,
}

impl Watching {
    async fn start() -> Self {
        let (tasks, stop) = runtime_tasks();
        let (server, cache) = (postgres(&tasks).await, redis(&tasks).await);
        let receiver = Receiver::start(None, &tasks, &stop).await.unwrap();
        let config =
            [postgres_config("app", &server), redis_config("cache", &[&cache]), receiver_config(&receiver.url()), RULES.to_owned()];
        // No other plugin raises alerts of its own meanwhile.
        let shipped = shipped().into_iter().filter(|(id, _)| ["threshold", "webhook"].contains(&id.as_str()));
        let agent = TestAgent::start_with(&config.concat(), shipped.collect()).await;
        let alerts = agent
            .wait_json("/api/database/alerts?database=cache", |alerts| (0..2).all(|index| alerts["items"][index]["state"] == "firing"))
            .await;
        agent.wait_json("/api/outbox?state=delivered", |outbox| outbox["items"][0].is_object()).await;
        agent.wait_json("/api/database/slow-queries?threshold=0s", |slow| slow["items"][0].is_object()).await;
        agent.wait_json("/readyz", |ready| ready["ready"] == true).await;
        let fingerprint = alerts["items"][0]["fingerprint"].as_str().unwrap().to_owned();
        Self { agent, fingerprint, _servers: (server, cache, receiver), stop }
    }

    async fn stop(self) {
        self.agent.stop().await;
        self.stop.cancel();
    }

    /// Status, media type and body of an answer.
    async fn send(&self, method: &str, path: &str, headers: Headers<'_>, body: &str) -> (u16, String, String) {
        let mut request = Request::builder().method(method.to_ascii_uppercase().as_str()).uri(path);
        let has_host = headers.iter().any(|(name, _)| *name == "host");
        for (name, value) in headers.iter().copied().chain((!has_host).then_some(("host", "127.0.0.1"))) {
            request = request.header(name, value);
        }
        let request = request.body(body.to_owned().into()).unwrap();
        let answer = exchange("127.0.0.1", self.agent.agent.address().port(), request).await.unwrap();
        let content_type = answer.headers().get("content-type").map(|value| value.to_str().unwrap()).unwrap_or_default();
        let media = content_type.split(';').next().unwrap_or_default().to_owned();
        (answer.status().as_u16(), media, String::from_utf8(answer.body().to_vec()).unwrap())
    }
}

/// The document, and whether answers are among those that it has.
struct Document(Value);

impl Document {
    fn operations(&self) -> impl Iterator<Item = (&str, &str)> {
        let paths = self.0["paths"].as_object().unwrap();
        paths.iter().flat_map(|(path, item)| item.as_object().unwrap().keys().map(move |method| (method.as_str(), path.as_str())))
    }

    /// Why an answer is none of the documented ones.
    fn objection(&self, method: &str, path: &str, (status, media, body): &(u16, String, String)) -> Option<String> {
        let response = &self.0["paths"][path][method]["responses"][status.to_string()];
        let Some(content) = response["content"].get(media) else {
            return Some(format!("{method} {path}: {status} with `{media}` is not documented: {body}"));
        };
        if media != "application/json" {
            return None;
        }
        let mut schema = content["schema"].clone();
        schema["components"] = self.0["components"].clone();
        let validator: Validator = jsonschema::draft202012::new(&schema).unwrap();
        let body: Value = serde_json::from_str(body).unwrap();
        let errors: Vec<String> = validator.iter_errors(&body).map(|err| format!("{} at {}", err, err.instance_path())).collect();
        (!errors.is_empty()).then(|| format!("{method} {path}: {status}: {}: {body:#}", errors.join("; ")))
    }
}

/// A request that each operation accepts: method, documented path, requested path, body.
fn accepted(fingerprint: &str, silence: &str) -> Vec<(&'static str, &'static str, String, Value)> {
    let alert = format!("/api/alerts/{fingerprint}");
    let acknowledgement = format!("{alert}/acknowledgement");
    let none = Value::Null;
    let silenced = json!({ "matchers": ["rule=\"x\""], "duration": "1h", "comment": "c" });
    vec![
        ("get", "/healthz", "/healthz".to_owned(), none.clone()),
        ("get", "/readyz", "/readyz".to_owned(), none.clone()),
        ("get", "/metrics", "/metrics".to_owned(), none.clone()),
        ("get", "/api/openapi.json", "/api/openapi.json".to_owned(), none.clone()),
        ("get", "/api/services/status", "/api/services/status".to_owned(), none.clone()),
        ("get", "/api/plugins", "/api/plugins".to_owned(), none.clone()),
        ("get", "/api/database/metrics", "/api/database/metrics?database=app".to_owned(), none.clone()),
        ("get", "/api/database/slow-queries", "/api/database/slow-queries?threshold=0s&limit=3".to_owned(), none.clone()),
        ("get", "/api/database/indexes", "/api/database/indexes?limit=3".to_owned(), none.clone()),
        ("get", "/api/database/locks", "/api/database/locks".to_owned(), none.clone()),
        ("get", "/api/database/alerts", "/api/database/alerts?database=cache".to_owned(), none.clone()),
        ("get", "/api/alerts", "/api/alerts?limit=1".to_owned(), none.clone()),
        ("get", "/api/alerts/{fingerprint}/history", format!("{alert}/history?limit=1"), none.clone()),
        ("get", "/api/alerts/{fingerprint}", alert, none.clone()),
        ("put", "/api/alerts/{fingerprint}/acknowledgement", acknowledgement.clone(), json!({ "comment": "c" })),
        ("delete", "/api/alerts/{fingerprint}/acknowledgement", acknowledgement, json!({})),
        ("get", "/api/silences", "/api/silences".to_owned(), none.clone()),
        ("post", "/api/silences", "/api/silences".to_owned(), silenced),
        ("delete", "/api/silences/{id}", format!("/api/silences/{silence}"), json!({})),
        ("post", "/api/receivers/{name}/test", "/api/receivers/ops/test".to_owned(), json!({})),
        ("get", "/api/outbox", "/api/outbox?limit=1".to_owned(), none.clone()),
        ("post", "/api/outbox/retry", "/api/outbox/retry".to_owned(), json!({ "ids": [1] })),
        ("post", "/api/outbox/drop", "/api/outbox/drop".to_owned(), json!({ "ids": [1_000_000] })),
        ("get", "/api/audit", "/api/audit?limit=1".to_owned(), none),
    ]
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn every_route_is_documented_and_answers_as_documented() {
    let watching = Watching::start().await;
    let operator = watching.agent.operator();
    let (operator, json) = (("authorization", operator.as_str()), ("content-type", "application/json"));
    let document = Document(watching.agent.json("/api/openapi.json").await);
    assert_eq!(document.0["openapi"], "3.1.0");
    let (_, _, silence) =
        watching.send("post", "/api/silences", &[operator, json], r#"{"matchers":["rule=y"],"duration":"1h","comment":"c"}"#).await;
    let silence = serde_json::from_str::<Value>(&silence).unwrap()["id"].as_str().unwrap().to_owned();

    let accepted = accepted(&watching.fingerprint, &silence);
    let asked: BTreeSet<(&str, &str)> = accepted.iter().map(|(method, path, ..)| (*method, *path)).collect();
    assert_eq!(asked, document.operations().collect::<BTreeSet<_>>(), "each operation is asked below, and documented");

    let mut wrong = Vec::new();
    for (method, path, url, body) in &accepted {
        let body = if body.is_null() { String::new() } else { body.to_string() };
        let answer = watching.send(method, url, &[operator, json], &body).await;
        if !(200..300).contains(&answer.0) {
            wrong.push(format!("{method} {url}: {} {}", answer.0, answer.2));
        }
        wrong.extend(document.objection(method, path, &answer));
        // What a visitor may do wrong.
        let strange = if url.contains('?') { format!("{url}&strange=1") } else { format!("{url}?strange=1") };
        let unreadable = url.replace(&watching.fingerprint, "%FF").replace(&silence, "%FF").replace("/ops/", "/%FF/");
        let mistakes: [(&str, Headers<'_>, &str); 9] = [
            (url, &[], &body),
            (url, &[json], &body),
            (url, &[operator], &body),
            (url, &[("authorization", "Bearer nonsense"), json], &body),
            (url, &[json, ("host", "evil.example.com")], &body),
            (url, &[operator, json, ("host", "localhost"), ("host", "127.0.0.1")], &body),
            (url, &[operator, json], "{\"strange\": 1}"),
            (&strange, &[operator, json], &body),
            (&unreadable, &[operator, json], &body),
        ];
        for (url, headers, body) in mistakes {
            let answer = watching.send(method, url, headers, body).await;
            wrong.extend(document.objection(method, path, &answer));
        }
        for other in METHODS.iter().filter(|other| !asked.contains(&(**other, *path))) {
            let (status, media, body) = watching.send(other, url, &[operator, json], "{}").await;
            if (status, media.as_str()) != (405, "application/json") {
                wrong.push(format!("{other} {url} is not documented, and answers {status}: {body}"));
            }
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n\n"));
    watching.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn every_parameter_and_key_of_the_document_is_described() {
    let agent = TestAgent::start_with("", Vec::new()).await;
    let document = agent.json("/api/openapi.json").await;
    let mut silent = Vec::new();
    for (path, item) in document["paths"].as_object().unwrap() {
        for (method, operation) in item.as_object().unwrap() {
            let named = [("summary", &operation["summary"]), ("operationId", &operation["operationId"])];
            silent.extend(
                named.iter().filter(|(_, text)| text.as_str().is_none_or(str::is_empty)).map(|(key, _)| format!("{method} {path}: {key}")),
            );
            let parameters = operation["parameters"].as_array().unwrap();
            let undescribed = parameters.iter().filter(|parameter| !parameter["description"].is_string());
            silent.extend(undescribed.map(|parameter| format!("{method} {path}: {}", parameter["name"])));
        }
    }
    assert!(silent.is_empty(), "{}", silent.join("\n"));
    agent.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn pages_of_a_list_are_the_list() {
    let watching = Watching::start().await;
    let history = format!("/api/alerts/{}/history?", watching.fingerprint);
    for (path, key) in [("/api/alerts?", "fingerprint"), ("/api/outbox?", "id"), ("/api/audit?", "seq"), (&history, "at")] {
        let ids = |page: &Value| -> Vec<Value> { page["items"].as_array().unwrap().iter().map(|item| item[key].clone()).collect() };
        let mut pages = Vec::new();
        let mut page = watching.agent.json(&format!("{path}limit=1")).await;
        loop {
            assert_eq!(page["items"].as_array().unwrap().len(), 1, "{path}: {page:#}");
            pages.extend(ids(&page));
            let Some(cursor) = page["next_cursor"].as_str() else { break };
            page = watching.agent.json(&format!("{path}limit=1&cursor={cursor}")).await;
        }
        let whole = ids(&watching.agent.json(&format!("{path}limit=1000")).await);
        // The newest items stand first, and some may have come meanwhile.
        assert!(pages.len() >= 2 && whole.ends_with(&pages), "{path}: {pages:?} of {whole:?}");
    }
    let operator = watching.agent.operator();
    let refused = async |path: &str| {
        let (status, _, body) = watching.send("get", path, &[("authorization", operator.as_str())], "").await;
        let error = serde_json::from_str::<Value>(&body).unwrap()["error"].take();
        (status, error["hint"].as_str().unwrap_or_default().to_owned())
    };
    for (path, max) in
        [("alerts", 10_000), ("outbox", 1_000), ("audit", 1_000), ("database/slow-queries", 200), ("database/indexes", 1_000)]
    {
        for limit in [0, -1, max + 1] {
            assert_eq!(refused(&format!("/api/{path}?limit={limit}")).await, (400, format!("ask for 1 to {max} rows")), "{path}");
        }
        let hint = "send `next_cursor` of the page before, or no cursor".to_owned();
        assert_eq!(refused(&format!("/api/{path}?cursor=strange")).await, (400, hint), "{path}");
    }
    watching.stop().await;
}

/// Runs schemathesis, which makes requests out of the document and judges every answer.
async fn fuzz(watching: &Watching, token: Option<&str>) {
    let address = watching.agent.agent.address();
    let folder = tempfile::tempdir().unwrap();
    let mut command = Command::new(project().join("target/python/bin/schemathesis"));
    command
        .args(["run", &format!("http://{address}/api/openapi.json"), "--no-color", "--seed", "1", "--max-examples", "3"])
        .args(["--phases", "coverage,fuzzing", "--generation-database", "none", "--continue-on-failure"])
        .args(["--checks", "not_a_server_error,status_code_conformance,content_type_conformance,response_schema_conformance"])
        .args(token.iter().flat_map(|token| ["--header".to_owned(), format!("authorization: {token}")]))
        .current_dir(folder.path())
        .kill_on_drop(true)
        .stdin(Stdio::null());
    let run = timeout(FUZZ_MAX, command.output()).await;
    let output = run.expect("it ends in time").unwrap_or_else(|err| panic!("schemathesis: {err}; run scripts/setup.sh"));
    let report = [output.stdout, output.stderr].map(|bytes| String::from_utf8_lossy(&bytes).into_owned()).concat();
    assert!(output.status.success(), "{report}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn schemathesis_finds_no_undocumented_answer_and_no_server_error() {
    let watching = Watching::start().await;
    fuzz(&watching, None).await;
    fuzz(&watching, Some(&watching.agent.operator())).await;
    watching.agent.wait_json("/readyz", |ready| ready["ready"] == true).await;
    watching.stop().await;
}
