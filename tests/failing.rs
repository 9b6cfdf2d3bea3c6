//! No plugin that works only most of the time is shown as healthy.
//!
//! Plugins that work most of the time: they do not serve for ever as if nothing were wrong.

use serde_json::Value;

use crate::fixture::zoo::{Zoo, named};
use crate::fixture::{item, shipped};

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_plugin_that_traps_now_and_then_does_not_serve_for_ever() {
    let files = vec![named("sometimes", "armed=sometimes:5"), named("steady", "")];
    let config = "[plugin.agent-essentials.settings.checks]\nplugin-failing = { for = \"0\" }\n";
    let shipped = shipped().into_iter().filter(|(id, _)| id == "agent-essentials").collect();
    let zoo = Zoo::start(config, files, shipped).await;
    zoo.wait_alert("sometimes", "always", "firing").await;
    zoo.arm().await;
    let quarantined = zoo.agent.wait_plugin("sometimes", |plugin| plugin["state"] == "quarantined").await;
    assert!(quarantined["traps"].as_u64() >= Some(10), "{quarantined:#}");
    // It comes back as others do, and is not taken for healthy meanwhile.
    zoo.agent.wait_plugin("sometimes", |plugin| plugin["state"] == "failing").await;
    let part = zoo.agent.wait_part("plugins", |part| part["cause"].as_str().is_some_and(|cause| cause.contains("failed in "))).await;
    assert_eq!(part["state"], "degraded", "{part:#}");
    let raised = |list: &Value| item(list, "rule", "plugin-failing").is_some_and(|alert| alert["state"] == "firing");
    let alerts = zoo.agent.wait_json("/api/database/alerts", raised).await;
    let metrics = zoo.agent.text("/metrics").await;
    // Each probe that fails doubles the pause after which the plugin may serve.
    zoo.disarm().await;
    let alert = item(&alerts, "rule", "plugin-failing").unwrap();
    assert_eq!((&alert["labels"]["plugin_id"], &alert["severity"]), (&"sometimes".into(), &"warning".into()), "{alert:#}");
    assert!(metrics.contains("pharos_plugin_state{plugin=\"sometimes\",state=\"serving\"} 0"), "{metrics}");
    assert_eq!(zoo.agent.plugin("steady").await["traps"], 0);
    zoo.agent.wait_plugin("sometimes", |plugin| plugin["state"] == "serving").await;
    zoo.agent.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_plugin_that_traps_on_one_server_goes_on_judging_the_others() {
    const SUBJECTS: u8 = 4;
    let zoo = Zoo::start_wide("", vec![named("picky", "armed=trap;armed-for=127.0.0.2")], SUBJECTS).await;
    let of = |list: &Value, fits: &dyn Fn(&Value) -> bool| list["items"].as_array().unwrap().iter().filter(|alert| fits(alert)).count();
    let fires = |alert: &Value| alert["plugin"] == "picky" && alert["state"] == "firing";
    zoo.agent.wait_json("/api/database/alerts", |list| of(list, &fires) == usize::from(SUBJECTS)).await;
    zoo.arm().await;
    // Three offences, and probes after longer and longer pauses.
    zoo.agent.wait_plugin("picky", |plugin| plugin["traps"].as_u64() >= Some(5) && plugin["state"] == "failing").await;
    zoo.wait_calls("picky", 30).await;
    let plugin = zoo.agent.plugin("picky").await;
    assert_eq!(plugin["state"], "failing", "{plugin:#}");
    let part = zoo.agent.wait_part("plugins", |part| part["state"] == "degraded").await;
    assert!(part["cause"].as_str().unwrap().contains("`picky` fails whenever it is called about redis 127.0.0.2:"), "{part:#}");
    let alerts = zoo.agent.json("/api/database/alerts").await;
    let frozen: Vec<&Value> = alerts["items"].as_array().unwrap().iter().filter(|alert| !alert["frozen"].is_null()).collect();
    assert!(frozen.len() == 1 && frozen[0]["subject"]["id"].as_str().unwrap().starts_with("127.0.0.2:"), "{alerts:#}");

    zoo.disarm().await;
    zoo.agent.wait_plugin("picky", |plugin| plugin["state"] == "serving").await;
    zoo.agent.stop().await;
}
