//! No release watches a server without its finding reaching a receiver.
//!
//! The main job from end to end: a server is monitored, a rule finds something, and a receiver is notified.

use crate::fixture::{PATIENCE, TestAgent, postgres, postgres_config, receiver_config, runtime_tasks};
use pharos::demo::receiver::Receiver;

const RULE: &str = r#"
[[plugin.threshold.settings.rules]]
id = "always"
metric = "pharos_postgres_up"
above = 0.5
severity = "info"
"#;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_threshold_on_a_real_server_reaches_a_receiver() {
    let (tasks, stop) = runtime_tasks();
    let server = postgres(&tasks).await;
    let receiver = Receiver::start(None, &tasks, &stop).await.unwrap();
    let config = [postgres_config("app", &server), receiver_config(&receiver.url()), RULE.to_owned()].concat();
    let agent = TestAgent::start(&config).await;
    assert!(receiver.wait_until(PATIENCE, |received| received.deliveries().next().is_some()).await);
    let metrics = agent.text("/metrics").await;
    assert!(metrics.contains("pharos_postgres_up{"), "{metrics}");
    agent.stop().await;
}
