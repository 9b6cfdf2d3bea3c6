//! No plugin that was built for a released contract stops being served, and no released text is edited.
//!
//! The contract with plugins: what was released of `wit/` stands, and what was built for it is served.

mod released;

use std::path::{Path, PathBuf};

use pharos::demo::receiver::Receiver;

use crate::fixture::program::output;
use crate::fixture::{PATIENCE, TestAgent, item, project, redis, redis_config, runtime_tasks};

use self::released::{broken, items};

/// One folder per released version.
fn versions() -> Vec<PathBuf> {
    let mut folders: Vec<PathBuf> =
        std::fs::read_dir(project().join("tests/contract")).unwrap().map(|entry| entry.unwrap().path()).collect();
    folders.retain(|path| path.is_dir());
    folders.sort();
    assert!(!folders.is_empty());
    folders
}

fn texts(folder: &Path) -> String {
    let mut files: Vec<PathBuf> = std::fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path()).collect();
    files.retain(|path| path.extension().is_some_and(|extension| extension == "wit"));
    files.sort();
    files.iter().map(|file| std::fs::read_to_string(file).unwrap()).collect::<Vec<_>>().join("\n")
}

#[test]
fn what_was_released_is_still_there() {
    let present = items(&texts(&project().join("wit")));
    for version in versions() {
        let released = items(&texts(&version.join("wit")));
        assert!(released.len() > 50, "the released text is read: {released:#?}");
        let broken = broken(&released, &present);
        assert!(broken.is_empty(), "{} is released and was changed in wit/:\n{}", version.display(), broken.join("\n"));
    }
}

#[tokio::test]
async fn a_rule_of_every_release_is_told_what_it_was_told_then() {
    for version in versions() {
        let [rust, javascript] = ["rust-rule.toml", "javascript-rule.toml"].map(|name| version.join(name).display().to_string());
        let (code, stdout, stderr) = output(&["rules", "test", &rust, &javascript]).await;
        assert_eq!(code, Some(0), "{stdout}{stderr}");
        assert!(!stdout.contains("repaired"), "{stdout}");
    }
}

#[tokio::test]
async fn a_plugin_says_for_which_contract_it_was_built() {
    let file = project().join("tests/contract/0.1.0/javascript-notifier.wasm").display().to_string();
    let (code, stdout, stderr) = output(&["plugin", "inspect", &file]).await;
    assert!(code == Some(0) && stdout.contains("world    notifier-plugin, contract 0.1.0\n"), "{stdout}{stderr}");
}

/// A notifier of the fixtures, granted what it needs, with a receiver of its own that hears of one rule.
fn notifier(name: &str, rule: &str, url: &str) -> String {
    format!(
        r#"
[plugin.{name}]
grants = {{ egress = ["127.0.0.1"], secrets = ["token", "key"] }}
limits = {{ cpu = "5s", wall = "30s" }}
[[receiver]]
name = "{name}"
plugin = "{name}"
settings = {{ url = "{url}" }}
[[route]]
match = {{ plugin = "{rule}" }}
receiver = "{name}"
"#
    )
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn plugins_of_every_release_judge_and_deliver_in_an_agent() {
    for version in versions() {
        let (tasks, stop) = runtime_tasks();
        let server = redis(&tasks).await;
        let receivers = [Receiver::start(None, &tasks, &stop).await.unwrap(), Receiver::start(None, &tasks, &stop).await.unwrap()];
        let folder = tempfile::tempdir().unwrap();
        for (name, value) in [("token", "open sesame"), ("key", "whsec_c2VjcmV0")] {
            std::fs::write(folder.path().join(name), value).unwrap();
        }
        let mut config = redis_config("cache", &[&server]);
        // Each tells of the other language's rule.
        for ((name, rule), receiver) in
            [("rust-notifier", "javascript-rule"), ("javascript-notifier", "rust-rule")].into_iter().zip(&receivers)
        {
            config.push_str(&notifier(name, rule, &receiver.url()));
        }
        for rule in ["rust-rule", "javascript-rule"] {
            config.push_str(&format!("[plugin.{rule}.limits]\ncpu = \"5s\"\nwall = \"30s\"\n"));
        }
        config.push_str("[secret.token]\nfile = \"token\"\n[secret.key]\nfile = \"key\"\n");
        let names = ["rust-rule", "javascript-rule", "rust-notifier", "javascript-notifier"];
        let plugins = names.map(|name| (name.to_owned(), std::fs::read(version.join(format!("{name}.wasm"))).unwrap()));
        let agent = TestAgent::start_in(folder, &config, plugins.into()).await;

        let has = |list: &serde_json::Value, plugin| item(list, "plugin", plugin).is_some_and(|alert| alert["state"] == "firing");
        let alerts = agent.wait_json("/api/database/alerts", |list| has(list, "rust-rule") && has(list, "javascript-rule")).await;
        for (plugin, by) in [("rust-rule", "rust"), ("javascript-rule", "javascript")] {
            let alert = item(&alerts, "plugin", plugin).unwrap();
            assert_eq!((&alert["rule"], &alert["labels"]["by"]), (&"seen-redis".into(), &by.into()), "{alert:#}");
            assert!(alert["title"].as_str().unwrap().starts_with("redis of 2: info present, "), "{alert:#}");
        }
        for receiver in &receivers {
            told(receiver).await;
        }
        for name in names {
            let plugin = agent.plugin(name).await;
            assert_eq!((&plugin["traps"], &plugin["state"]), (&0.into(), &"serving".into()), "{plugin:#}");
        }
        agent.stop().await;
    }
}

/// The alert arrives, with what the host puts in: a secret, a signature, an answer about mail.
async fn told(receiver: &Receiver) {
    let arrived = receiver.wait_until(PATIENCE, |received| received.deliveries().next().is_some()).await;
    assert!(arrived, "nothing was delivered");
    receiver.received(|received| {
        for delivery in received.deliveries() {
            let body = String::from_utf8_lossy(&delivery.body);
            assert!(body.contains(" at attempt 1, 0 left out, ") && body.contains("\nfiring warning "), "{body}");
            assert!(body.contains("redis of 2: ") && body.ends_with("\nmail: denied\n"), "{body}");
            let header = |name: &str| delivery.headers.get(name).and_then(|value| value.to_str().ok()).unwrap_or_default();
            assert_eq!(header("authorization"), "Bearer open sesame");
            assert!(header("webhook-signature").starts_with("v1,") && !header("webhook-id").is_empty(), "{:?}", delivery.headers);
        }
    });
}
