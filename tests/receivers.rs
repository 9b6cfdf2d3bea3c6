//! No answer of a receiver is taken for another one, and no label leaves the body of a message.
//!
//! HTTP receivers with every fault that one can have, and the contract with a real Alertmanager.

use std::collections::BTreeMap;
use std::process::{Command, Stdio};

use expect_test::expect;
use pharos::demo::process::ServerProcess;
use pharos::demo::receiver::Receiver;
use pharos_model::notification::{Delivery, MessageReason, UndeliveredReason};
use pharos_model::subject::Label;
use rustix::process::Signal;
use serde_json::{Value, json};

use crate::fixture::delivery::{Notifier, again, message};
use crate::fixture::http::{Answer, ScriptedHttp};
use crate::fixture::reserved::ReservedPort;
use crate::fixture::wait::{holds, until};
use crate::fixture::{PATIENCE, get, runtime_tasks};

const GRANTED: &str = "[plugin.webhook]\ngrants = { egress = [\"127.0.0.1\"] }\n";

async fn webhook() -> Notifier {
    Notifier::load("webhook", GRANTED).await.unwrap()
}

async fn deliver(webhook: &Notifier, answer: Answer) -> Delivery {
    let server = ScriptedHttp::start(vec![answer]).await;
    webhook.deliver(&json!({ "url": server.url() }), &message("ops/1")).await
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn each_answer_of_a_receiver_has_its_meaning() {
    let webhook = webhook().await;
    let date = "date: Sun, 06 Nov 1994 08:49:37 GMT\r\nretry-after: Sun, 06 Nov 1994 08:50:37 GMT\r\n";
    let cases = [
        ("200 OK", ""),
        ("204 No Content", ""),
        ("400 Bad Request", ""),
        ("401 Unauthorized", ""),
        ("403 Forbidden", ""),
        ("404 Not Found", ""),
        ("408 Request Timeout", ""),
        ("410 Gone", ""),
        ("429 Too Many Requests", ""),
        ("429 Too Many Requests", "retry-after: 30\r\n"),
        ("429 Too Many Requests", "Retry-After:  1000000000 \r\n"),
        ("429 Too Many Requests", "retry-after: 99999999999999999999999\r\n"),
        ("429 Too Many Requests", "retry-after: -5\r\n"),
        ("429 Too Many Requests", "retry-after: soon\r\n"),
        ("429 Too Many Requests", "retry-after: \r\n"),
        ("429 Too Many Requests", date),
        ("503 Service Unavailable", "retry-after: Sun, 06 Nov 1994 08:50:37 GMT\r\n"),
        ("503 Service Unavailable", "retry-after: 2\r\n"),
        ("500 Internal Server Error", ""),
        ("599 What", ""),
        ("999 What", ""),
        ("100 Continue", ""),
    ];
    let mut told = String::new();
    for (status, headers) in cases {
        let delivery = deliver(&webhook, Answer::headers(status, headers)).await;
        told += &format!("{status} {}: {delivery:?}\n", headers.trim_end().escape_debug());
    }
    expect![[r#"
        200 OK : Accepted
        204 No Content : Accepted
        400 Bad Request : Rejected { reason: Rejected, why: "status 400: no" }
        401 Unauthorized : Unauthorised("status 401: no")
        403 Forbidden : Unauthorised("status 403: no")
        404 Not Found : Rejected { reason: Rejected, why: "status 404: no" }
        408 Request Timeout : Retry { after: None, why: "status 408: no" }
        410 Gone : Gone("status 410: no")
        429 Too Many Requests : Retry { after: None, why: "status 429: no" }
        429 Too Many Requests retry-after: 30: Retry { after: Some(30s), why: "status 429: no" }
        429 Too Many Requests Retry-After:  1000000000: Retry { after: Some(3600s), why: "status 429: no" }
        429 Too Many Requests retry-after: 99999999999999999999999: Retry { after: None, why: "status 429: no" }
        429 Too Many Requests retry-after: -5: Retry { after: None, why: "status 429: no" }
        429 Too Many Requests retry-after: soon: Retry { after: None, why: "status 429: no" }
        429 Too Many Requests retry-after:: Retry { after: None, why: "status 429: no" }
        429 Too Many Requests date: Sun, 06 Nov 1994 08:49:37 GMT\r\nretry-after: Sun, 06 Nov 1994 08:50:37 GMT: Retry { after: Some(60s), why: "status 429: no" }
        503 Service Unavailable retry-after: Sun, 06 Nov 1994 08:50:37 GMT: Retry { after: None, why: "status 503: no" }
        503 Service Unavailable retry-after: 2: Retry { after: Some(2s), why: "status 503: no" }
        500 Internal Server Error : Retry { after: None, why: "status 500: no" }
        599 What : Retry { after: None, why: "status 599: no" }
        999 What : Rejected { reason: Rejected, why: "status 999: no" }
        100 Continue : Ambiguous("invalid HTTP version parsed")
    "#]].assert_eq(&told);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_redirect_is_never_followed_and_believed_at_the_third_time() {
    let answer = Answer::headers("302 Found", "location: http://169.254.169.254/latest/meta-data/\r\n");
    let server = ScriptedHttp::start(vec![answer]).await;
    let (webhook, settings) = (webhook().await, json!({ "url": server.url() }));
    let mut told = message("ops/1");
    let mut deliveries = Vec::new();
    for _ in 0..3 {
        deliveries.push(webhook.deliver(&settings, &told).await);
        told = again(&told);
    }
    let [Delivery::Retry { .. }, Delivery::Retry { .. }, Delivery::Rejected { why, .. }] = &deliveries[..] else {
        panic!("{deliveries:?}")
    };
    assert!(why.contains("redirects to http://169.254.169.254/latest/meta-data/, which is not followed"), "{why}");
    let requests = server.requests();
    assert!(requests.len() == 3 && requests.iter().all(|request| request.starts_with("POST /alerts ")), "{requests:?}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_receiver_that_fails_and_comes_back_gets_the_same_message() {
    let server = ScriptedHttp::start(vec![Answer::status("500 Oh"), Answer::Close, Answer::status("200 OK")]).await;
    let (webhook, settings) = (webhook().await, json!({ "url": server.url(), "format": "generic" }));
    let told = message("ops/1");
    let second = again(&told);
    assert!(matches!(webhook.deliver(&settings, &told).await, Delivery::Retry { after: None, .. }));
    assert!(matches!(webhook.deliver(&settings, &second).await, Delivery::Ambiguous(_)));
    assert_eq!(webhook.deliver(&settings, &again(&second)).await, Delivery::Accepted);
    let requests = server.requests();
    assert_eq!(requests.len(), 3);
    assert!(requests.windows(2).all(|pair| pair[0] == pair[1]), "to the last byte: {requests:?}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn silence_and_floods_are_bounded() {
    let webhook = webhook().await;
    let (never, trickle) = tokio::join!(deliver(&webhook, Answer::Never), deliver(&webhook, Answer::Trickle));
    for silent in [never, trickle] {
        let Delivery::Ambiguous(why) = &silent else { panic!("{silent:?}") };
        assert!(why.contains("no answer within 9s"), "{why}");
    }
    let flood = ScriptedHttp::start(vec![Answer::Endless]).await;
    let endless = webhook.deliver(&json!({ "url": flood.url() }), &message("ops/1")).await;
    assert!(matches!(&endless, Delivery::Rejected { why, .. } if why.contains("65536")), "{endless:?}");
    assert!(flood.taken_bytes() < 32 << 20, "of a gigabyte {} bytes were taken", flood.taken_bytes());
    let interim = ScriptedHttp::start(vec![Answer::Interim]).await;
    let never_final = webhook.deliver(&json!({ "url": interim.url() }), &message("ops/1")).await;
    assert!(matches!(&never_final, Delivery::Ambiguous(why) if why.contains("sends too much")), "{never_final:?}");
    assert!(interim.taken_bytes() < 32 << 20, "of a gigabyte {} bytes were taken", interim.taken_bytes());
    let head = format!("HTTP/1.1 200 OK\r\nx: {}\r\n\r\n", "x".repeat(1 << 20));
    let long = deliver(&webhook, Answer::Bytes(head)).await;
    assert!(matches!(long, Delivery::Ambiguous(_)), "{long:?}");
    let nonsense = deliver(&webhook, Answer::Bytes("220 mail.example.com ESMTP\r\n".to_owned())).await;
    assert!(matches!(nonsense, Delivery::Ambiguous(_)), "{nonsense:?}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_a_label_holds_stays_in_the_body_and_out_of_the_headers() {
    let server = ScriptedHttp::start(vec![Answer::status("200 OK")]).await;
    let webhook = webhook().await;
    let mut told = message("ops/1\r\nx-injected: yes");
    told.alerts[0].labels.push(Label::new("a\r\nb", "c\r\n\r\nGET / HTTP/1.1\r\n"));
    told.alerts[0].title = "title\r\nx-injected: yes".to_owned();
    // The id becomes a header, and ids of the agent never look like this.
    let refused = webhook.deliver(&json!({ "url": server.url() }), &told).await;
    assert!(
        matches!(&refused, Delivery::Rejected { reason: UndeliveredReason::Denied, why } if why.contains("header value")),
        "{refused:?}"
    );
    told.id = "ops/1".to_owned();
    assert_eq!(webhook.deliver(&json!({ "url": server.url() }), &told).await, Delivery::Accepted);
    let requests = server.requests();
    let [request] = &requests[..] else { panic!("{requests:?}") };
    let (head, body) = request.split_once("\r\n\r\n").unwrap();
    assert!(!head.contains("injected"), "{head}");
    let body: Value = serde_json::from_str(body).unwrap();
    assert_eq!(body["alerts"][0]["labels"]["a\r\nb"], "c\r\n\r\nGET / HTTP/1.1\r\n");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_template_that_cannot_work_is_refused_at_load_with_its_line() {
    let config = |template: &str| {
        let settings = format!("settings = {{ url = \"http://127.0.0.1:9/\", template = {template:?} }}");
        format!("{GRANTED}[[receiver]]\nname = \"ops\"\nplugin = \"webhook\"\n{settings}\n[[route]]\nreceiver = \"ops\"\n")
    };
    let refusals = [
        ("{\"a\":\n{{ id }", "settings.template: line 2: "),
        ("{% for a in range(9000) %}{% for b in range(9000) %}1{% endfor %}{% endfor %}", "takes more than"),
        ("{{ 'x' * 100000000 }}", "takes more than"),
    ];
    for (template, expected) in refusals {
        let refused = Notifier::load("webhook", &config(template)).await.err().map(|err| err.text()).unwrap_or_default();
        assert!(refused.contains(expected), "{template}: {refused}");
    }
    assert!(Notifier::load("webhook", &config("{\"text\": {{ data.alerts[0].title }}}")).await.is_ok());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn both_keys_sign_while_they_rotate() {
    let server = ScriptedHttp::start(vec![Answer::status("200 OK")]).await;
    let folder = tempfile::tempdir().unwrap();
    let secret = |name: &str, value: &str| {
        let path = folder.path().join(name);
        std::fs::write(&path, value).unwrap();
        format!("{name} = {{ file = {path:?} }}\n")
    };
    let config = format!(
        "[plugin.webhook]\ngrants = {{ egress = [\"127.0.0.1\"], secrets = [\"new\", \"old\", \"token\"] }}\n[secret]\n{}{}{}",
        secret("new", "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw"),
        secret("old", "whsec_C2FVsBQIhrscChlQIMV+b5sSYspob7oD"),
        secret("token", "t0ken")
    );
    let webhook = Notifier::load("webhook", &config).await.unwrap();
    let settings = json!({ "url": server.url(), "format": "generic", "sign": ["new", "old"],
        "headers": { "authorization": ["Bearer ", { "secret": "token" }] } });
    assert_eq!(webhook.deliver(&settings, &message("ops/1")).await, Delivery::Accepted);
    let request = server.requests().remove(0);
    let (head, body) = request.split_once("\r\n\r\n").unwrap();
    let header = |name: &str| head.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(": ")).unwrap_or_default().to_owned();
    assert_eq!(header("authorization"), "Bearer t0ken");
    let signatures: Vec<String> = header("webhook-signature").split(' ').map(str::to_owned).collect();
    // The signature is made by openssl, which is independent of the agent's code.
    let signed = |key: &str| {
        let script = "printf '%s.%s.%s' \"$1\" \"$2\" \"$3\" | openssl dgst -sha256 -mac HMAC -macopt hexkey:$(printf %s \"$4\" | base64 -d | od -An -tx1 | tr -d ' \\n') -binary | base64";
        let arguments = [header("webhook-id"), header("webhook-timestamp"), body.to_owned(), key.to_owned()];
        let output = Command::new("bash").args(["-c", script, "bash"]).args(arguments).output().unwrap();
        format!("v1,{}", String::from_utf8_lossy(&output.stdout).trim())
    };
    assert_eq!(signatures, [signed("MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw"), signed("C2FVsBQIhrscChlQIMV+b5sSYspob7oD")]);
}

/// Paths of a document, each with the type of what is there. Labels and annotations are the sender's own, so only the type of each counts.
fn shape(path: &str, value: &Value, types: &mut BTreeMap<String, &'static str>) {
    let kind = match value {
        Value::Null => "null",
        Value::Bool(_) => "boolean",
        Value::Number(_) => "number",
        Value::String(_) => "text",
        Value::Array(_) => "list",
        Value::Object(_) => "object",
    };
    types.insert(path.to_owned(), kind);
    let own = ["abels", "nnotations"].iter().any(|end| path.ends_with(end));
    match value {
        Value::Object(members) => members.iter().for_each(|(name, member)| {
            shape(&if own { format!("{path}.*") } else { format!("{path}.{name}") }, member, types);
        }),
        Value::Array(items) => items.iter().for_each(|item| shape(&format!("{path}[]"), item, types)),
        _ => {}
    }
}

fn shape_of(value: &Value) -> BTreeMap<String, &'static str> {
    let mut types = BTreeMap::new();
    shape("", value, &mut types);
    types
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_we_send_is_what_a_real_alertmanager_sends() {
    let (tasks, stop) = runtime_tasks();
    let receiver = Receiver::start(None, &tasks, &stop).await.unwrap();
    let folder = tempfile::tempdir().unwrap();
    let reserved = ReservedPort::new();
    let port = reserved.number();
    let url = receiver.url();
    let config = format!(
        "route:\n  receiver: ops\n  group_by: [rule]\n  group_wait: 0s\n  group_interval: 1s\nreceivers:\n- name: ops\n  webhook_configs:\n  - url: {url}\n    send_resolved: true\n"
    );
    std::fs::write(folder.path().join("alertmanager.yml"), config).unwrap();
    let mut command = Command::new("prometheus-alertmanager");
    command.current_dir(folder.path()).stdout(Stdio::null()).stderr(Stdio::null());
    command.args(["--config.file=alertmanager.yml", "--storage.path=data", "--cluster.listen-address="]);
    command.arg(format!("--web.listen-address=127.0.0.1:{port}"));
    let _alertmanager =
        ServerProcess::spawn(command, folder.path(), Signal::TERM).expect("prometheus-alertmanager is installed: run scripts/setup.sh");
    let mut told = message("ops/1");
    told.alerts[0].subject.labels = vec![Label::new("server", "db1:5432")];
    let labels =
        json!({ "alertname": "connections", "rule": "connections", "datname": "app", "server": "db1:5432", "severity": "warning" });
    let annotations = json!({ "title": "92 % of the connections are taken", "fix": "ALTER ROLE app CONNECTION LIMIT 40;" });
    let firing = json!([{ "labels": labels, "annotations": annotations, "generatorURL": "https://pharos.example.com" }]);
    post(port, "/api/v2/alerts", &firing).await;
    let resolved = json!([{ "labels": labels, "annotations": annotations, "generatorURL": "https://pharos.example.com",
        "startsAt": "2023-11-14T22:13:20Z", "endsAt": "2023-11-14T22:14:20Z" }]);
    let real_firing = nth(&receiver, 1).await;
    post(port, "/api/v2/alerts", &resolved).await;
    let real_resolved = nth(&receiver, 2).await;
    let webhook = webhook().await;
    assert_eq!(webhook.deliver(&json!({ "url": url }), &told).await, Delivery::Accepted);
    let ours_firing = nth(&receiver, 3).await;
    told.alerts[0].reason = MessageReason::Resolved;
    told.alerts[0].ended_at_ms = Some(1_700_000_060_000);
    assert_eq!(webhook.deliver(&json!({ "url": url }), &told).await, Delivery::Accepted);
    let ours_resolved = nth(&receiver, 4).await;
    for (ours, real) in [(&ours_firing, &real_firing), (&ours_resolved, &real_resolved)] {
        assert_eq!(shape_of(ours), shape_of(real), "ours: {ours:#}\nAlertmanager's: {real:#}");
        for key in ["version", "status", "receiver", "truncatedAlerts"] {
            assert_eq!(ours[key], real[key], "{key}");
        }
        assert_eq!(ours["alerts"][0]["labels"], real["alerts"][0]["labels"]);
        assert_eq!(ours["commonLabels"], real["commonLabels"]);
        assert_eq!(ours["alerts"][0]["status"], real["alerts"][0]["status"]);
        let fingerprint = |payload: &Value| payload["alerts"][0]["fingerprint"].as_str().unwrap().len();
        assert_eq!((fingerprint(ours), fingerprint(real)), (16, 16));
    }
    assert_eq!(ours_firing["alerts"][0]["endsAt"], real_firing["alerts"][0]["endsAt"], "the time that is none");
    stop.cancel();
}

/// The body of the delivery with this number.
async fn nth(receiver: &Receiver, number: usize) -> Value {
    assert!(receiver.wait_until(PATIENCE, |received| received.deliveries().count() >= number).await, "delivery {number} never came");
    receiver.received(|received| serde_json::from_slice(&received.deliveries().nth(number - 1).unwrap().body).unwrap())
}

/// Posts JSON as soon as a program listens.
async fn post(port: u16, path: &str, body: &Value) {
    until(format_args!("port {port} is ready"), async || {
        tokio::net::TcpStream::connect(("127.0.0.1", port)).await.map_err(|err| err.to_string())?;
        let (status, body) = get(port, "/-/ready", &[]).await;
        holds(status == 200, || format!("{status} {body}"))
    })
    .await;
    let stream = tokio::net::TcpStream::connect(("127.0.0.1", port)).await.unwrap();
    let (mut sender, connection) = hyper::client::conn::http1::handshake(hyper_util::rt::TokioIo::new(stream)).await.unwrap();
    let driver = runtime_tasks().0.spawn(connection);
    let request = hyper::Request::post(path).header("host", "127.0.0.1").header("content-type", "application/json");
    let request = request.body(http_body_util::Full::new(bytes::Bytes::from(body.to_string()))).unwrap();
    let answer = sender.send_request(request).await.unwrap();
    assert_eq!(answer.status(), 200);
    driver.abort();
}
