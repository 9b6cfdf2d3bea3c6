//! Tests of bodies, requests and settings, through the plugin as the host would call it.

use expect_test::{Expect, expect};
use pharos_plugin::{Alert, Label, Reason, Severity, Subject, settings};

use super::*;

fn label(name: &str, value: &str) -> Label {
    Label { name: name.to_owned(), value: value.to_owned() }
}

fn alert(datname: &str, ended_at_ms: Option<u64>) -> Alert {
    Alert {
        fingerprint: "00c0ffee00c0ffee".to_owned(),
        incident: 7,
        reason: Reason::Firing,
        severity: Severity::Warning,
        subject: Subject {
            kind: "postgres".to_owned(),
            id: "db1:5432".to_owned(),
            version: "17.2".to_owned(),
            labels: vec![label("database", "app"), label("server", "db1:5432")],
        },
        labels: vec![label("rule", "deadlocks"), label("datname", datname)],
        title: format!("3 deadlocks in {datname}"),
        detail: "Three in ten seconds.\n\nEvidence:\n- victims: 3 sessions\n- lock: tuple".to_owned(),
        cause: None,
        fix: Some("lock in one order".to_owned()),
        runbook: None,
        value: Some(3.0),
        raise_at: Some(1.0),
        started_at_ms: 1_700_000_000_000,
        ended_at_ms,
        ended_because: None,
    }
}

fn message(alerts: Vec<Alert>) -> Message {
    Message {
        id: "msg-1".to_owned(),
        receiver: "ops".to_owned(),
        group_key: "ops/deadlocks".to_owned(),
        group_labels: vec![label("rule", "deadlocks")],
        common_labels: vec![label("rule", "deadlocks")],
        alerts,
        truncated: 0,
        others_firing: 0,
        attempt: 1,
        agent: "db-watch-1".to_owned(),
        external_url: Some("https://pharos.example.com".to_owned()),
    }
}

fn payload(message: &Message, max_alerts: Option<usize>) -> serde_json::Value {
    serde_json::from_slice(&payload::render(message, max_alerts)).expect("the body is JSON")
}

#[test]
fn a_message_about_a_whole_incident_is_marked() {
    let whole = Alert { reason: Reason::Summary, ..alert("app", Some(1_700_000_060_000)) };
    let payload = payload(&message(vec![whole]), None);
    let sent = &payload["alerts"][0];
    assert_eq!(sent["status"], "resolved");
    assert_eq!(sent["annotations"]["summary"], "it fired and resolved before this receiver could be notified");
}

#[test]
fn a_reminder_differs_from_a_beginning() {
    let still = Alert { reason: Reason::Repeated, ..alert("app", None) };
    let payload = payload(&message(vec![still, alert("shop", None)]), None);
    let sent = [0, 1].map(|at| (&payload["alerts"][at]["status"], &payload["alerts"][at]["annotations"]["summary"]));
    assert_eq!(sent, [(&"firing".into(), &"it still fires".into()), (&"firing".into(), &serde_json::Value::Null)]);
}

fn webhook(settings: &str) -> Result<Webhook, Failure> {
    Webhook::new(settings::parse(settings)?)
}

#[track_caller]
fn check_refused(settings: &str, expected: Expect) {
    match webhook(settings).map(|_| ()) {
        Err(Failure::InvalidConfig(message)) => expected.assert_eq(&message),
        other => panic!("expected a refusal, got {other:?}"),
    }
}

#[test]
fn the_body_is_an_alertmanager_webhook() {
    let payload = payload(&message(vec![alert("app", None)]), None);
    expect![[r#"
        {
          "alerts": [
            {
              "annotations": {
                "detail": "Three in ten seconds.",
                "evidence": "victims: 3 sessions\nlock: tuple",
                "fix": "lock in one order",
                "limit": "1",
                "show": "pharos alerts show 00c0ffee00c0ffee",
                "title": "3 deadlocks in app",
                "value": "3"
              },
              "endsAt": "0001-01-01T00:00:00Z",
              "fingerprint": "00c0ffee00c0ffee",
              "generatorURL": "https://pharos.example.com",
              "labels": {
                "alertname": "deadlocks",
                "database": "app",
                "datname": "app",
                "rule": "deadlocks",
                "server": "db1:5432",
                "severity": "warning"
              },
              "startsAt": "2023-11-14T22:13:20.000Z",
              "status": "firing"
            }
          ],
          "commonAnnotations": {
            "detail": "Three in ten seconds.",
            "evidence": "victims: 3 sessions\nlock: tuple",
            "fix": "lock in one order",
            "limit": "1",
            "show": "pharos alerts show 00c0ffee00c0ffee",
            "title": "3 deadlocks in app",
            "value": "3"
          },
          "commonLabels": {
            "alertname": "deadlocks",
            "database": "app",
            "datname": "app",
            "rule": "deadlocks",
            "server": "db1:5432",
            "severity": "warning"
          },
          "externalURL": "https://pharos.example.com",
          "groupKey": "ops/deadlocks",
          "groupLabels": {
            "rule": "deadlocks"
          },
          "receiver": "ops",
          "status": "firing",
          "truncatedAlerts": 0,
          "version": "4"
        }"#]]
    .assert_eq(&format!("{payload:#}"));
}

#[test]
fn a_group_is_resolved_when_all_its_alerts_are() {
    let ended = Some(1_700_000_060_000);
    let mixed = payload(&message(vec![alert("app", ended), alert("shop", None)]), None);
    assert_eq!((&mixed["status"], &mixed["alerts"][0]["status"]), (&"firing".into(), &"resolved".into()));
    assert_eq!(mixed["alerts"][0]["endsAt"], "2023-11-14T22:14:20.000Z");
    assert_eq!(payload(&message(vec![alert("app", ended)]), None)["status"], "resolved");
}

#[test]
fn common_is_what_all_alerts_agree_on() {
    let payload = payload(&message(vec![alert("app", None), alert("shop", None)]), None);
    assert_eq!(payload["commonLabels"]["alertname"], "deadlocks");
    assert_eq!(payload["commonLabels"]["datname"], serde_json::Value::Null);
    assert_eq!(payload["commonAnnotations"]["fix"], "lock in one order");
    assert_eq!(payload["commonAnnotations"]["title"], serde_json::Value::Null);
}

#[test]
fn alerts_beyond_the_maximum_are_counted() {
    let mut message = message(vec![alert("app", None), alert("shop", None), alert("test", None)]);
    message.truncated = 4;
    let payload = payload(&message, Some(2));
    assert_eq!(payload["alerts"].as_array().map(Vec::len), Some(2));
    assert_eq!(payload["truncatedAlerts"], 5);
}

#[test]
fn an_alert_without_a_rule_label_is_named_by_its_title() {
    let mut nameless = alert("app", None);
    nameless.labels.clear();
    assert_eq!(payload(&message(vec![nameless]), None)["alerts"][0]["labels"]["alertname"], "3 deadlocks in app");
}

#[test]
fn the_request_names_secrets_and_carries_the_idempotency_key() {
    let webhook = webhook(
        r#"{"url":"https://hooks.example.com/x","secret":"ops-bearer","sign":"ops-key","headers":{"x-team":"db","x-key":{"secret":"k"}}}"#,
    )
    .expect("right");
    let request = webhook.request(&message(Vec::new()), b"{}".to_vec());
    expect![[r#"
        Request {
            method: "POST",
            url: [
                Text::Plain(
                    "https://hooks.example.com/x",
                ),
            ],
            headers: [
                Header {
                    name: "content-type",
                    value: [
                        Text::Plain(
                            "application/json",
                        ),
                    ],
                },
                Header {
                    name: "webhook-id",
                    value: [
                        Text::Plain(
                            "msg-1",
                        ),
                    ],
                },
                Header {
                    name: "authorization",
                    value: [
                        Text::Secret(
                            "ops-bearer",
                        ),
                    ],
                },
                Header {
                    name: "x-key",
                    value: [
                        Text::Secret(
                            "k",
                        ),
                    ],
                },
                Header {
                    name: "x-team",
                    value: [
                        Text::Plain(
                            "db",
                        ),
                    ],
                },
            ],
            body: [
                123,
                125,
            ],
            signing: Some(
                Signing::StandardWebhooks(
                    [
                        "ops-key",
                    ],
                ),
            ),
        }
    "#]]
    .assert_debug_eq(&request);
}

#[test]
fn mistakes_name_their_correction() {
    check_refused("{}", expect!["settings: missing field `url`"]);
    check_refused(
        r#"{"url":"hooks.example.com"}"#,
        expect!["settings.url: `hooks.example.com` is no web address; begin it with https:// or http://"],
    );
    check_refused(
        r#"{"url":"https://x","header":{}}"#,
        expect![
            "settings: unknown field `header`, expected one of `url`, `headers`, `secret`, `sign`, `format`, `template`, `content_type`, `max_alerts`; did you mean `headers`?"
        ],
    );
    check_refused(
        r#"{"url":"https://x","max_alerts":0}"#,
        expect!["settings.max_alerts: a message needs an alert; give 1 or more, or remove the key"],
    );
    check_refused(
        r#"{"url":"https://x","headers":{"Content-Type":"text/plain"}}"#,
        expect!["settings.headers.Content-Type: the plugin sets this header itself; remove it"],
    );
    check_refused(
        r#"{"url":"https://x","headers":{"x y":"z"}}"#,
        expect!["settings.headers.x y: a header's name is made of letters, digits and dashes"],
    );
    check_refused(r#"{"url":"https://x","headers":{"x":"a\nb"}}"#, expect!["settings.headers.x: a header's value is one line of text"]);
    check_refused(
        r#"{"url":"https://x","headers":{"x":{"secrt":"a"}}}"#,
        expect!["settings.headers.x: unknown field `secrt`, expected `secret`; did you mean `secret`?"],
    );
    check_refused(
        r#"{"url":"https://x","format":"alertmanger"}"#,
        expect!["settings.format: unknown variant `alertmanger`, expected `alertmanager` or `generic`; did you mean `alertmanager`?"],
    );
    check_refused(
        r#"{"url":"https://x","template":"x","format":"generic"}"#,
        expect!["settings.template: `format` already sets the body; keep one of them"],
    );
    check_refused(
        r#"{"url":"https://x","content_type":"text/plain"}"#,
        expect!["settings.content_type: only a `template` can have another content type; remove the key"],
    );
    check_refused(
        r#"{"url":"https://x","sign":{"secret":"a"}}"#,
        expect!["settings.sign: invalid type: map, expected the name of a secret or a list of names"],
    );
    check_refused(
        r#"{"url":"https://x","secret":"a","headers":{"Authorization":"b"}}"#,
        expect!["settings.headers.Authorization: `secret` sets this header already; keep one of them"],
    );
}

fn body(settings: &str, message: &Message) -> Result<String, Outcome> {
    let webhook = webhook(settings).unwrap_or_else(|err| panic!("{err:?}"));
    webhook.body(message).map(|body| String::from_utf8(body).expect("it is text"))
}

#[test]
fn the_generic_body_has_all_facts() {
    let whole = Alert { ended_because: Some("gone".to_owned()), reason: Reason::Resolved, ..alert("app", Some(1_700_000_060_000)) };
    let body = body(r#"{"url":"https://x","format":"generic"}"#, &message(vec![whole])).expect("it is made");
    let event: serde_json::Value = serde_json::from_str(&body).expect("it is JSON");
    expect![[r#"
        {
          "data": {
            "agent": "db-watch-1",
            "alerts": [
              {
                "cause": null,
                "detail": "Three in ten seconds.",
                "ended_at": "2023-11-14T22:14:20.000Z",
                "ended_because": "gone",
                "evidence": [
                  {
                    "name": "victims",
                    "value": "3 sessions"
                  },
                  {
                    "name": "lock",
                    "value": "tuple"
                  }
                ],
                "fingerprint": "00c0ffee00c0ffee",
                "fix": "lock in one order",
                "incident": 7,
                "labels": {
                  "database": "app",
                  "datname": "app",
                  "rule": "deadlocks",
                  "server": "db1:5432"
                },
                "raise_at": 1.0,
                "reason": "resolved",
                "runbook": null,
                "severity": "warning",
                "show": "pharos alerts show 00c0ffee00c0ffee",
                "started_at": "2023-11-14T22:13:20.000Z",
                "status": "resolved",
                "subject": {
                  "id": "db1:5432",
                  "kind": "postgres",
                  "version": "17.2"
                },
                "title": "3 deadlocks in app",
                "value": 3.0
              }
            ],
            "common_labels": {
              "rule": "deadlocks"
            },
            "external_url": "https://pharos.example.com",
            "group_key": "ops/deadlocks",
            "group_labels": {
              "rule": "deadlocks"
            },
            "receiver": "ops",
            "status": "resolved",
            "truncated": 0
          },
          "id": "msg-1",
          "timestamp": "2023-11-14T22:14:20.000Z",
          "type": "alerts.resolved"
        }"#]]
    .assert_eq(&format!("{event:#}"));
}

#[test]
fn a_long_generic_body_is_cut_to_what_receivers_take() {
    let many = message((0..200).map(|number| alert(&format!("db{number}"), None)).collect());
    let body = body(r#"{"url":"https://x","format":"generic"}"#, &many).expect("it is made");
    let event: serde_json::Value = serde_json::from_str(&body).expect("it is JSON");
    let listed = event["data"]["alerts"].as_array().expect("a list").len();
    assert!(body.len() <= 20_000 && listed > 10, "{} bytes, {listed} alerts", body.len());
    assert_eq!(event["data"]["truncated"], 200 - listed);
}

#[test]
fn a_template_makes_the_body_and_no_label_breaks_out_of_it() {
    let nasty = alert("\"}, {\"admin\": true, \"x\": \"\r\n<script>", None);
    let template = r#"{"url":"https://x","template":"{\"text\": {{ '[' ~ data.status ~ '] ' ~ data.alerts[0].title }}, \"n\": {{ data.alerts | length }}, \"all\": {{ data.alerts[0].labels | tojson }}}"}"#;
    let made = body(template, &message(vec![nasty.clone()])).expect("it is made");
    let value: serde_json::Value = serde_json::from_str(&made).expect("it is JSON");
    assert_eq!(value["text"], format!("[firing] {}", nasty.title));
    assert_eq!((&value["n"], value.as_object().map(serde_json::Map::len)), (&1.into(), Some(3)));
    let text = r#"{"url":"https://x","content_type":"text/plain","template":"{% for alert in data.alerts %}{{ alert.severity | upper }} {{ alert.subject.id }}\n{% endfor %}"}"#;
    assert_eq!(body(text, &message(vec![alert("app", None)])), Ok("WARNING db1:5432\n".to_owned()));
    let html = r#"{"url":"https://x","content_type":"text/html","template":"<b>{{ data.alerts[0].title }}</b>"}"#;
    assert_eq!(body(html, &message(vec![nasty])).map(|html| html.contains("<script>")), Ok(false));
}

#[test]
fn an_invalid_template_is_an_error_of_the_settings() {
    let refused = |template: &str, expected: Expect| {
        let settings = serde_json::json!({ "url": "https://x", "content_type": "text/plain", "template": template });
        check_refused(&settings.to_string(), expected);
    };
    refused("a\nb {{ data.alerts }\nc", expect!["settings.template: line 2: syntax error: unexpected `}`, expected end of variable block"]);
    refused(
        "{% for alert in data.alerts %}",
        expect!["settings.template: line 1: syntax error: unexpected end of input, expected end of block"],
    );
    refused(
        "a\n{{ data.alert[0].title }}",
        expect![
            "settings.template: with a sample message: line 2: a name is unknown there; known are id, type, timestamp and what is in data, as the README lists it"
        ],
    );
    refused(
        "{{ titel }}",
        expect![
            "settings.template: with a sample message: line 1: a name is unknown there; known are id, type, timestamp and what is in data, as the README lists it"
        ],
    );
    refused("{% include '/etc/passwd' %}", expect!["settings.template: line 1: syntax error: unknown statement include"]);
    refused(
        "{% for a in range(9999) %}{% for b in range(9999) %}x{% endfor %}{% endfor %}",
        expect![
            "settings.template: with a sample message: line 1: it takes more than 400000 steps, or creates too much data; are loops nested?"
        ],
    );
    refused(
        "{% for a in range(10) %}{{ 'x' * 30000 }}{% endfor %}",
        expect!["settings.template: with a sample message: its output is longer than 262144 bytes; list fewer alerts with `max_alerts`"],
    );
    refused(
        "{{ 'x' * 1000000000 }}",
        expect![
            "settings.template: with a sample message: line 1: it takes more than 400000 steps, or creates too much data; are loops nested?"
        ],
    );
    check_refused(
        r#"{"url":"https://x","template":"{\"text\": \"{{ id }}\"}"}"#,
        expect![
            "settings.template: with a sample message: its output is no JSON: expected `,` or `}` at line 1 column 12; write values without quotes around them, as {{ id }}"
        ],
    );
}

#[test]
fn a_template_that_explodes_with_its_alerts_is_refused_then() {
    let settings = r#"{"url":"https://x","content_type":"text/plain","template":"{% for a in data.alerts %}{% for b in data.alerts %}{{ a.title }}{{ b.detail }}{% endfor %}{% endfor %}"}"#;
    let many = message((0..200).map(|number| alert(&format!("db{number}"), None)).collect());
    let Err(Outcome::Rejected(why)) = body(settings, &many) else { panic!("it is too long") };
    expect!["settings.template: its output is longer than 262144 bytes; list fewer alerts with `max_alerts`"].assert_eq(&why);
    assert!(body(&settings.replace("\"template\"", "\"max_alerts\":3,\"template\""), &many).is_ok());
}

#[test]
fn parts_are_written_one_after_the_other_and_keys_rotate() {
    let webhook = webhook(
        r#"{"url":["https://hooks.example.com/",{"secret":"path"}],"headers":{"authorization":["Bearer ",{"secret":"token"}]},"sign":["new","old"]}"#,
    )
    .expect("right");
    let request = webhook.request(&message(Vec::new()), Vec::new());
    expect![[r#"
        [Text::Plain("https://hooks.example.com/"), Text::Secret("path")]
        Header { name: "authorization", value: [Text::Plain("Bearer "), Text::Secret("token")] }
        Some(Signing::StandardWebhooks(["new", "old"]))"#]]
    .assert_eq(&format!("{:?}\n{:?}\n{:?}", request.url, request.headers[2], request.signing));
}
