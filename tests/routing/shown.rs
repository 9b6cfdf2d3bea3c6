//! No detail, cause, fix or evidence of an alert is in the store only.
//!
//! Covers the command line, the API and messages.

use super::*;
use crate::fixture::zoo::{Zoo, named};

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn detail_cause_fix_and_evidence_reach_people() {
    let stage = Stage::new().await;
    let (tasks, stop) = runtime_tasks();
    let own = Receiver::start(None, &tasks, &stop).await.unwrap();
    let second = format!(
        "continue = true\n{AT_ONCE}[[receiver]]\nname = \"own\"\nplugin = \"webhook\"\nsettings = {{ url = \"{}\", format = \"generic\" }}\n[[route]]\nreceiver = \"own\"\n{AT_ONCE}",
        own.url()
    );
    // The zoo brings a Redis of its own.
    let config = stage.config(&[], &second).replace(&redis_config("cache", &[&stage.redis]), "");
    let zoo = Zoo::start(&config, vec![named("z", "finds=always;explains=yes")], plugins()).await;
    let list = zoo.wait_alert("z", "always", "firing").await;
    let alert = list["items"].as_array().unwrap().iter().find(|alert| alert["plugin"] == "z").unwrap();
    let fingerprint = alert["fingerprint"].as_str().unwrap();
    assert_eq!((&alert["detail"], alert.get("evidence")), (&json!("Two lines\nof detail."), None), "a list has no evidence");

    let evidence = json!([{ "name": "idle", "value": "61 sessions" }, { "name": "oldest", "value": "12 min" }]);
    let answer = zoo.agent.json(&format!("/api/alerts/{fingerprint}")).await;
    let told = |key: &str| answer["alert"][key].clone();
    assert_eq!(["cause", "fix", "evidence"].map(told), [json!("A <b>pool</b>."), json!("SELECT 1;"), evidence.clone()]);

    let printed = run_pharos(&zoo.agent, &["alerts", "show", &fingerprint[..6]]).await;
    let blocks =
        "\nTwo lines\nof detail.\n\nCause\n  A <b>pool</b>.\n\nFix\n  SELECT 1;\n\nEvidence\n  idle: 61 sessions\n  oldest: 12 min\n";
    assert!(printed.contains(blocks) && printed.contains(fingerprint) && printed.contains("redis "), "{printed}");
    let printed: Value = serde_json::from_str(&run_pharos(&zoo.agent, &["alerts", "show", fingerprint, "--json"]).await).unwrap();
    assert_eq!((&printed["evidence"], &printed["fingerprint"]), (&evidence, &json!(fingerprint)));

    let show = format!("pharos alerts show {fingerprint}");
    for receiver in [&stage.ops, &own] {
        assert!(receiver.wait_until(PATIENCE, |received| received.deliveries().next().is_some()).await);
    }
    let annotations = stage.deliveries()[0].alerts[0].annotations.clone();
    let annotation = |name: &str| annotations.get(name).map(String::as_str).unwrap_or_default();
    assert_eq!(
        ["detail", "cause", "fix", "evidence", "show"].map(annotation),
        ["Two lines\nof detail.", "A <b>pool</b>.", "SELECT 1;", "idle: 61 sessions\noldest: 12 min", &show]
    );
    let body = own.received(|received| received.deliveries().next().unwrap().body.clone());
    let event: Value = serde_json::from_slice(&body).unwrap();
    let told = &event["data"]["alerts"][0];
    assert_eq!((&told["detail"], &told["evidence"], &told["show"]), (&json!("Two lines\nof detail."), &evidence, &json!(show)));
    stop.cancel();
    zoo.agent.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_delivery_about_an_earlier_incident_does_not_count_for_this_one() {
    let mut stage = Stage::new().await;
    let agent = start(&stage.config(&[("many", 5)], AT_ONCE)).await;
    stage.set_keys(6).await;
    stage.wait_counts("many", 1, 0).await;
    stage.set_keys(0).await;
    stage.wait_counts("many", 1, 1).await;
    run_pharos(&agent, &["silence", "add", "rule=many", "--for", "2h", "--comment", "we know", "--author", "ann"]).await;
    stage.set_keys(6).await;
    let many = fingerprint(&agent, "many").await;
    held(&agent, &many).await;
    let explained = run_pharos(&agent, &["alerts", "explain", &many]).await;
    assert!(explained.contains("No receiver was notified.\n  `ops` gets no message"), "{explained}");
    assert!(explained.contains("delivered"), "the messages about the earlier one are listed: {explained}");
    agent.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_alert_that_ended_is_shown_by_how_its_fingerprint_begins() {
    let mut stage = Stage::new().await;
    let config = stage.config(&[("many", 5)], AT_ONCE);
    let agent = start(&config).await;
    stage.set_keys(6).await;
    stage.wait_counts("many", 1, 0).await;
    let many = fingerprint(&agent, "many").await;
    stage.set_keys(0).await;
    stage.wait_counts("many", 1, 1).await;
    agent.wait_json("/api/alerts", |alerts| alerts["items"].as_array().unwrap().is_empty()).await;
    let begins = &many[..6];
    let shown = run_pharos(&agent, &["alerts", "show", begins]).await;
    assert!(shown.contains(&format!("Fingerprint   {many}\n")) && shown.contains("resolved since"), "{shown}");
    let explained = run_pharos(&agent, &["alerts", "explain", &begins.to_uppercase()]).await;
    assert!(explained.contains("history, newest first") && !explained.contains("incident"), "{explained}");
    let history = run_pharos(&agent, &["alerts", "history", begins]).await;
    assert!(history.contains("-> resolved"), "{history}");
    assert_eq!(agent.request("/api/alerts/0", &[]).await.0, if many.starts_with('0') { 200 } else { 404 });
    // All of them begin with nothing, and nothing is no beginning.
    assert!(matches!(agent.request("/api/alerts/zz", &[]).await.0, 400));
    let folder = agent.stop().await;
    // The store of a stopped agent gives the same answer.
    let path = folder.path().join("stopped.toml");
    std::fs::write(&path, "[agent]\ndata_dir = \"data\"\n[http]\nlisten = \"127.0.0.1:1\"\n").unwrap();
    let (code, stdout, stderr) = output(&["alerts", "history", begins, "--config", path.to_str().unwrap()]).await;
    assert!(code == Some(0) && stdout == history, "{stdout}{stderr}");
}
