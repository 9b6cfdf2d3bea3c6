//! No clock that is set resolves, promotes or delays anything, or becomes a lag, an age or a rate.
//!
//! A clock that is set, while no agent runs or under one that does: nothing is resolved, promoted, lost or put off because of it.

mod running;

use std::path::Path;
use std::time::Duration;

use axum::http::StatusCode;
use pharos::demo::receiver::{Receiver, Reply};
use pharos::store::{OutboxRow, Store};
use pharos_model::outbox::OutboxState;
use serde_json::Value;

use crate::fixture::saved::row;
use crate::fixture::{PATIENCE, TestAgent, receiver_config, redis, redis_config, runtime_tasks, set_keys, shipped};

const HOUR_MS: i64 = 3_600_000;
/// Steps of the clock between two agents, in milliseconds.
const STEPS_MS: [i64; 4] = [HOUR_MS, -HOUR_MS, 87_660 * HOUR_MS, -87_660 * HOUR_MS];

#[test]
fn notifications_of_an_earlier_agent_wait_an_hour_at_most_whatever_the_clocks_show() {
    let row = |state, created_at_ms, due_at_ms| OutboxRow {
        seq: 1,
        made: row(1),
        state,
        created_at_ms,
        due_at_ms,
        settled_at_ms: None,
        attempts: 3,
        waited_ms: 0,
        message: None,
        reason: None,
        why: None,
    };
    let now = 1_000 * HOUR_MS.unsigned_abs();
    let minute = 60_000;
    let waits = |state, created_at_ms, due_at_ms| row(state, created_at_ms, due_at_ms).left_to_wait(now);
    assert_eq!(waits(OutboxState::Waiting, now - minute, now + minute), Duration::from_secs(60), "no clock was set");
    assert_eq!(waits(OutboxState::Waiting, now - minute, now - minute), Duration::ZERO, "its time is over, or the clock was set forward");
    assert_eq!(
        waits(OutboxState::Waiting, now + minute, now + minute),
        Duration::ZERO,
        "it was made in the future: the clock was set back"
    );
    assert_eq!(waits(OutboxState::Waiting, now - minute, u64::MAX), Duration::from_secs(3_600), "nothing waits for ten years");
    assert_eq!(waits(OutboxState::Sending, now - minute, now + minute), Duration::ZERO, "it may have arrived");
}

/// Sets the store's times back by what the clock is to be set forward, which is the same to the next agent.
fn set_clock(folder: &Path, step_ms: i64) {
    let database = rusqlite::Connection::open(folder.join("data/pharos.db")).unwrap();
    let moved = |column: &str| format!("{column} = max({column} - {step_ms}, 0)");
    let columns = ["created_at_ms", "due_at_ms", "settled_at_ms"].map(moved).join(", ");
    database.execute(&format!("UPDATE outbox SET {columns}"), []).unwrap();
    database.execute(&format!("UPDATE events SET {}", moved("at_ms")), []).unwrap();
    let mut query = database.prepare("SELECT fingerprint, alert FROM alerts").unwrap();
    let alerts: Vec<(String, String)> = query.query_map([], |row| Ok((row.get(0)?, row.get(1)?))).unwrap().map(Result::unwrap).collect();
    for (fingerprint, alert) in alerts {
        let mut alert: Value = serde_json::from_str(&alert).unwrap();
        for time in ["since_ms", "started_at_ms", "fired_at_ms"] {
            if let Some(at_ms) = alert[time].as_i64() {
                alert[time] = (at_ms - step_ms).max(0).into();
            }
        }
        database.execute("UPDATE alerts SET alert = ?2 WHERE fingerprint = ?1", (fingerprint, alert.to_string())).unwrap();
    }
}

/// Rule and state of every alert.
fn states(alerts: &Value) -> Vec<(String, String)> {
    let text = |value: &Value| value.as_str().unwrap().to_owned();
    let mut states: Vec<_> =
        alerts["items"].as_array().unwrap().iter().map(|alert| (text(&alert["rule"]), text(&alert["state"]))).collect();
    states.sort();
    states
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_clock_that_was_set_between_two_agents_changes_no_alert_and_puts_off_no_notification() {
    for step_ms in STEPS_MS {
        let (tasks, stop) = runtime_tasks();
        let redis = redis(&tasks).await;
        let mut keys = redis.connect().await.unwrap();
        let ops = Receiver::start(None, &tasks, &stop).await.unwrap();
        let rule = |id: &str, wait: &str| {
            format!(
                "[[plugin.threshold.settings.rules]]\nid = \"{id}\"\nmetric = \"pharos_redis_keys\"\nabove = 0\nseverity = \"warning\"\nfor = \"{wait}\"\n"
            )
        };
        let rules = format!("{}{}", rule("at-once", "0s"), rule("patient", "30m"));
        let config = format!("{}{rules}{}", redis_config("cache", &[&redis]), receiver_config(&ops.url()));
        set_keys(&mut keys, 1).await;
        ops.reply_next(vec![Reply::of(StatusCode::SERVICE_UNAVAILABLE); 3]);
        let agent = TestAgent::start(&config).await;
        assert!(ops.wait_until(PATIENCE, |received| received.deliveries().count() >= 1).await);
        let expected = [("at-once".to_owned(), "firing".to_owned()), ("patient".to_owned(), "pending".to_owned())];
        agent.wait_json("/api/database/alerts", |alerts| states(alerts) == expected).await;
        let folder = agent.stop().await;

        set_clock(folder.path(), step_ms);
        ops.clear_replies();
        let agent = TestAgent::start_in(folder, &config, shipped()).await;
        assert!(
            ops.wait_until(PATIENCE, |received| received.deliveries().any(|delivery| delivery.status.is_success())).await,
            "after {step_ms} ms no receiver got a message"
        );
        let judged = |alerts: &Value| alerts["items"].as_array().unwrap().iter().all(|alert| alert["frozen"].is_null());
        let alerts = agent.wait_json("/api/database/alerts", |alerts| states(alerts).len() == 2 && judged(alerts)).await;
        assert_eq!(states(&alerts), expected, "after {step_ms} ms");
        let folder = agent.stop().await;
        let ids: std::collections::BTreeSet<String> = ops.received(|received| {
            received.deliveries().map(|delivery| delivery.headers["webhook-id"].to_str().unwrap().to_owned()).collect()
        });
        assert_eq!(ids.len(), 1, "after {step_ms} ms: one change, one id");
        let store = Store::open(&folder.path().join("data")).unwrap();
        let reasons: Vec<Value> = store
            .events(100)
            .await
            .unwrap()
            .iter()
            .filter(|event| event.kind() == "alert")
            .map(|event| event.stored_detail()["reason"].clone())
            .collect();
        assert_eq!(reasons, ["raised", "firing"], "after {step_ms} ms nothing else happened");
        stop.cancel();
    }
}
