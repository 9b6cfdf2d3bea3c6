//! No alert waits behind milder alerts of its group, and a critical one waits behind none. No plugin mutes a server by the names of its
//! rules.
//!
//! Covers the waiting time of alerts that are graver than those a receiver has.

use super::*;

/// Further messages of a notified group wait so long that no test sees them.
const LONG_INTERVAL: &str = "group_wait = \"0s\"\ngroup_interval = \"1h\"\n";

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_new_critical_does_not_wait_for_the_interval_of_its_group() {
    let mut stage = Stage::new().await;
    let critical = |id: &str, above: u32| {
        format!(
            "[[plugin.threshold.settings.rules]]\nid = \"{id}\"\nmetric = \"pharos_redis_keys\"\nabove = {above}\nseverity = \"critical\"\n"
        )
    };
    let route = format!("{LONG_INTERVAL}{}{}", critical("grave", 9), critical("as-grave", 19));
    let config = stage.config(&[("calm", 5), ("calm-too", 7)], &route);
    let agent = start(&config).await;
    stage.set_keys(6).await;
    stage.wait_counts("calm", 1, 0).await;
    stage.set_keys(8).await;
    let calm_too = fingerprint(&agent, "calm-too").await;
    let waits = |answer: &Value| answer["decision"]["receivers"][0]["due_at"].is_string();
    agent.wait_json(&format!("/api/alerts/{calm_too}"), waits).await;
    // After a restart the agent still has what it sent to the receiver.
    let agent = TestAgent::start_in(agent.stop().await, &config, plugins()).await;
    stage.set_keys(10).await;
    stage.wait_counts("grave", 1, 0).await;
    stage.wait_counts("calm-too", 1, 0).await;
    stage.set_keys(20).await;
    // A critical alert was just sent. Two servers that write are worse than none that does.
    stage.wait_counts("as-grave", 1, 0).await;
    agent.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_rule_that_is_named_server_down_mutes_no_server_that_answers() {
    let mut stage = Stage::new().await;
    let agent = start(&stage.config(&[("server-down", 5), ("many", 5)], AT_ONCE)).await;
    stage.set_keys(6).await;
    stage.wait_counts("server-down", 1, 0).await;
    stage.wait_counts("many", 1, 0).await;
    let many = fingerprint(&agent, "many").await;
    let answer = agent.json(&format!("/api/alerts/{many}")).await;
    assert_eq!(answer["decision"]["inhibited_by"], Value::Null);
    agent.stop().await;
}
