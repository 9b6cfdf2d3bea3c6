//! No example in JavaScript fails to build or to serve as its README says.
//!
//! The contract speaks no Rust: the JavaScript examples, built as their READMEs say.

use pharos::demo::receiver::Receiver;
use serde_json::Value;

use crate::fixture::examples::{copied, run};
use crate::fixture::{PATIENCE, TestAgent, item, redis, redis_config, runtime_tasks, shipped};

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_rule_in_javascript_judges_a_real_server() {
    let folder = copied("javascript-rule");
    run(&folder, "npm", &["ci", "--no-audit", "--no-fund"]);
    run(&folder, "npm", &["test"]);
    run(&folder, "npm", &["run", "build"]);
    let unready = "node_modules/componentize-qjs/cli.mjs --stub-wasi --wit ../../../wit --world alert-rule-plugin --js rule.js --output asynchronous.wasm";
    run(&folder, "node", &unready.split(' ').collect::<Vec<_>>());
    let built = std::fs::read(folder.join("javascript-rule.wasm")).unwrap();

    let (tasks, _) = runtime_tasks();
    let server = redis(&tasks).await;
    let mut connection = server.connect().await.unwrap();
    let () = redis::AsyncCommands::set(&mut connection, "forever", "and a day").await.unwrap();
    let config = format!(
        "[plugin.javascript-rule.settings]\nmin_keys = 1\n[plugin.javascript-rule.limits]\nwall = \"20s\"\ncpu = \"5s\"\n{}",
        redis_config("cache", &[&server])
    );
    let agent = TestAgent::start_with(&config, vec![("javascript-rule".to_owned(), built)]).await;
    let plugins = agent.plugins_dir();
    std::fs::create_dir_all(&plugins).unwrap();
    std::fs::copy(folder.join("asynchronous.wasm"), plugins.join("asynchronous.wasm")).unwrap();

    let found = agent.wait_json("/api/database/alerts", |list| item(list, "plugin", "javascript-rule").is_some()).await;
    let alert = item(&found, "plugin", "javascript-rule").unwrap();
    assert_eq!((&alert["rule"], &alert["labels"]["db"]), (&"keys-without-expiry".into(), &"db0".into()), "{alert:#}");
    // Many calls into one instance: what its garbage collector drops late must not hurt.
    let plugin = agent.wait_plugin("javascript-rule", |plugin| plugin["calls"].as_u64() >= Some(20)).await;
    assert_eq!((&plugin["traps"], &plugin["state"]), (&0.into(), &"serving".into()), "{plugin:#}");

    let refused = agent.wait_plugin("asynchronous", |plugin| plugin["state"] == "failed").await;
    assert!(refused["last_error"]["message"].as_str().unwrap().contains("--sync"), "{refused:#}");
    agent.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_notifier_in_javascript_posts_what_a_chat_takes() {
    let folder = copied("javascript-notifier");
    run(&folder, "npm", &["ci", "--no-audit", "--no-fund"]);
    run(&folder, "npm", &["test"]);
    run(&folder, "npm", &["run", "build"]);
    let built = std::fs::read(folder.join("javascript-notifier.wasm")).unwrap();

    let (tasks, stop) = runtime_tasks();
    let server = redis(&tasks).await;
    let chat = Receiver::start(None, &tasks, &stop).await.unwrap();
    let secrets = tempfile::tempdir().unwrap();
    std::fs::write(secrets.path().join("chat"), chat.url()).unwrap();
    let config = format!(
        r##"
[secret.chat]
file = "{}/chat"
[plugin.javascript-notifier]
grants = {{ egress = ["127.0.0.1"], secrets = ["chat"] }}
limits = {{ cpu = "5s", wall = "20s" }}
[[receiver]]
name = "chat"
plugin = "javascript-notifier"
settings = {{ url_secret = "chat", channel = "ops" }}
[[receiver]]
name = "stranger"
plugin = "javascript-notifier"
settings = {{ url = "https://hooks.example.com/x" }}
[[route]]
match = {{ severity = "info" }}
receiver = "chat"
[[route]]
receiver = "stranger"
[[plugin.threshold.settings.rules]]
id = "up-too"
metric = "pharos_redis_up"
above = 0.5
severity = "warning"
[[plugin.threshold.settings.rules]]
id = "up"
metric = "pharos_redis_up"
above = 0.5
severity = "info"
summary = "<{{server}}> is up"
{}"##,
        secrets.path().display(),
        redis_config("cache", &[&server])
    );
    let plugins = shipped().into_iter().chain([("javascript-notifier".to_owned(), built)]).collect();
    let agent = TestAgent::start_with(&config, plugins).await;
    assert!(chat.wait_until(PATIENCE, |received| received.deliveries().next().is_some()).await, "nothing was posted");
    let posted: Value = chat.received(|received| serde_json::from_slice(&received.deliveries().next().unwrap().body).unwrap());
    let id = format!("127.0.0.1:{}", server.port());
    let expected = format!(":information_source: *info* &lt;{id}&gt; is up - redis {id}");
    assert_eq!((&posted["text"], &posted["channel"]), (&expected.into(), &"ops".into()), "{posted:#}");
    // A call that the host refuses is reported to the operator with the host's text.
    let stranger = agent.wait_part("receiver stranger", |part| part["state"] != "ok").await;
    assert!(stranger["cause"].as_str().unwrap().contains("grants = { egress = [\"hooks.example.com\"] }"), "{stranger:#}");
    agent.stop().await;
}
