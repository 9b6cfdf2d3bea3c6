//! No kill between groups, reminders, silences and acknowledgements loses or doubles a notification.
//!
//! Covers everything that may come between an alert and its receivers: groups that wait, reminders, silences that begin and end
//! in between, conditions that change at every evaluation, and two receivers with different faults.

use std::time::Duration;

use axum::http::{HeaderValue, StatusCode, header};
use pharos::demo::receiver::{Receiver, Reply};
use serde_json::{Value, json};
use tokio::time::sleep;

use super::judge::{Recorded, arrivals, judge, repeated};
use super::{RULES, Stage, Victim, print_line};
use crate::fixture::{bearer, get, rounds, seeded, send, set_keys};

/// All to both, `ops` by subject and `pager` by rule.
fn delivery(ops: &Receiver, pager: &Receiver) -> String {
    let receiver = |name: &str, receiver: &Receiver| {
        format!("[[receiver]]\nname = \"{name}\"\nplugin = \"webhook\"\nsettings = {{ url = \"{}\" }}\n", receiver.url())
    };
    let times = "group_wait = \"300ms\"\ngroup_interval = \"200ms\"\nrepeat_interval = \"2s\"\n";
    format!(
        "[plugin.webhook]\ngrants = {{ egress = [\"127.0.0.1\"] }}\n{}{}\
         [[route]]\nreceiver = \"ops\"\ncontinue = true\n{times}[[route]]\nreceiver = \"pager\"\ngroup_by = [\"rule\"]\n{times}",
        receiver("ops", ops),
        receiver("pager", pager),
    )
}

/// How it answers the coming requests. It refuses none for good: what it refused so it would never arrive.
fn moods(receiver: &Receiver, chance: &mut fastrand::Rng) {
    let replies = (0..chance.u32(0..12)).map(|_| match chance.u32(0..16) {
        0..=1 => Reply::of(StatusCode::INTERNAL_SERVER_ERROR),
        2 => {
            let patience = vec![(header::RETRY_AFTER, HeaderValue::from_static("1"))];
            Reply { headers: patience, ..Reply::of(StatusCode::TOO_MANY_REQUESTS) }
        }
        // Longer than the agent waits for an answer.
        3 => Reply { delay: Duration::from_secs(20), has_it: chance.bool(), ..Reply::of(StatusCode::OK) },
        4..=9 => Reply { delay: Duration::from_millis(chance.u64(1..300)), has_it: chance.bool(), ..Reply::of(StatusCode::OK) },
        _ => Reply::of(StatusCode::OK),
    });
    receiver.reply_next(replies.collect::<Vec<_>>());
}

/// What the agent's own user sends, if the agent listens already; each start has a token of its own.
async fn operator(victim: &Victim) -> Option<String> {
    tokio::net::TcpStream::connect(("127.0.0.1", victim.port)).await.ok()?;
    get(victim.port, "/healthz", &[]).await;
    Some(bearer(&victim.data_dir))
}

fn signed(token: &str) -> [(&str, &str); 2] {
    [("content-type", "application/json"), ("authorization", token)]
}

/// Silences one rule, or all of them, for a while, if the agent listens already.
async fn silence(victim: &Victim, chance: &mut fastrand::Rng) {
    let rule = if chance.u32(0..3) > 0 { format!("rule=above-{}", chance.u32(0..RULES)) } else { "plugin=threshold".to_owned() };
    let duration = format!("{}ms", chance.u64(200..5_000));
    let body = json!({ "matchers": [rule], "duration": duration, "author": "ann", "comment": "we know" }).to_string();
    if let Some(token) = operator(victim).await {
        let (status, answer) = send(victim.port, "POST", "/api/silences", &signed(&token), &body).await;
        assert_eq!(status, 201, "{answer}");
    }
}

/// Ends those silences that chance names.
async fn expire(victim: &Victim, mut is_named: impl FnMut() -> bool) {
    let Some(token) = operator(victim).await else { return };
    let (_, silences) = send(victim.port, "GET", "/api/silences", &[], "").await;
    let silences: Value = serde_json::from_str(&silences).unwrap();
    for silence in silences["items"].as_array().unwrap().iter().filter(|silence| silence["state"] != "expired") {
        if is_named() {
            let path = format!("/api/silences/{}", silence["id"].as_str().unwrap());
            let (status, answer) = send(victim.port, "DELETE", &path, &signed(&token), "{}").await;
            assert_eq!(status, 200, "{answer}");
        }
    }
}

/// What happens between two kills.
async fn trouble(stage: &mut Stage, chance: &mut fastrand::Rng) {
    match chance.u32(0..8) {
        // The condition changes at every evaluation.
        0..=1 => {
            for look in 0..chance.u32(3..9) {
                set_keys(&mut stage.keys, if look % 2 == 0 { RULES } else { 0 }).await;
                sleep(Duration::from_millis(100)).await;
            }
        }
        2..=3 => silence(&stage.victim, chance).await,
        4 => expire(&stage.victim, || chance.bool()).await,
        _ => set_keys(&mut stage.keys, chance.u32(0..=RULES)).await,
    }
    sleep(Duration::from_millis(chance.u64(10..500))).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn random_kills_between_groups_silences_and_moods_lose_nothing_and_double_nothing() {
    let mut stage = Stage::with(None, Vec::new(), delivery).await;
    let mut chance = seeded();
    let mut recorded = Recorded::default();
    let kills = rounds(12);
    for _ in 0..kills {
        // Some die while they start, most at work.
        if chance.u32(0..4) > 0 {
            stage.victim.wait_at_work().await;
        }
        moods(&stage.receiver, &mut chance);
        moods(&stage.pager, &mut chance);
        for _ in 0..chance.u32(1..6) {
            trouble(&mut stage, &mut chance).await;
        }
        stage.victim.kill().await;
        recorded.read(&stage.victim.data_dir);
        stage.victim.start();
    }

    // Judgement begins when the faults are over.
    let Stage { keys, receiver, pager, victim, .. } = &mut stage;
    receiver.clear_replies();
    pager.clear_replies();
    victim.wait_at_work().await;
    expire(victim, || true).await;
    set_keys(keys, 0).await;
    victim.wait_calm().await;
    victim.kill().await;
    recorded.read(&victim.data_dir);
    let (ops, pages) = [&*receiver, pager].map(|receiver| receiver.received(|received| arrivals(received.deliveries()))).into();
    let complaints = [judge(&recorded, "ops", &ops), judge(&recorded, "pager", &pages)].concat();
    assert!(complaints.is_empty(), "{complaints:#?}\n{}", victim.log());
    let incidents = recorded.fired.len();
    assert!(incidents as u32 > kills / 4, "only {incidents} incidents in {kills} rounds");
    print_line(&format!(
        "{kills} kills: {incidents} incidents to two receivers, none lost, {} withheld by silences, {} repetitions under the same id",
        recorded.withheld.len(),
        repeated(&ops) + repeated(&pages)
    ));
}
