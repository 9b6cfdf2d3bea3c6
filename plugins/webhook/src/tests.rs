//! What a receiver gets and what its answers mean, through the plugin as the host would call it.

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
        detail: "Three in ten seconds.".to_owned(),
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
fn an_incident_told_as_a_whole_says_so() {
    let whole = Alert { reason: Reason::Summary, ..alert("app", Some(1_700_000_060_000)) };
    let payload = payload(&message(vec![whole]), None);
    let told = &payload["alerts"][0];
    assert_eq!(told["status"], "resolved");
    assert_eq!(told["annotations"]["summary"], "it fired and resolved before this receiver could be told");
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
                "fix": "lock in one order",
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
            "fix": "lock in one order",
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
fn mistakes_say_how_to_mend_them() {
    check_refused("{}", expect!["settings: missing field `url`"]);
    check_refused(
        r#"{"url":"hooks.example.com"}"#,
        expect!["settings.url: `hooks.example.com` is no web address; begin it with https:// or http://"],
    );
    check_refused(
        r#"{"url":"https://x","header":{}}"#,
        expect![
            "settings: unknown field `header`, expected one of `url`, `headers`, `secret`, `sign`, `max_alerts`; did you mean `headers`?"
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
        r#"{"url":"https://x","secret":"a","headers":{"Authorization":"b"}}"#,
        expect!["settings.headers.Authorization: `secret` sets this header already; keep one of them"],
    );
}
