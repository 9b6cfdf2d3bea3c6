//! No panic or traceback of a plugin that is stopped is lost: its author has no other information.
//!
//! Covers output, panics and traps of plugins.

use serde_json::Value;

use crate::fixture::guests::{guest, with_trap_at_start};
use crate::fixture::program::output;
use crate::fixture::zoo::{Zoo, named};
use crate::fixture::zoo_program::{ZooProgram, without_shipped};
use crate::fixture::{item, redis, redis_config, runtime_tasks};

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_trap_names_its_export_and_the_panic_is_in_last_error() {
    let cases = [
        // The first call of a Rust component runs what is to run at its start.
        ("constructs", "start=trap", "reading its description: it trapped in `describe`: "),
        ("describes", "describe=trap", "reading its description: it trapped in `describe`: "),
        ("inits", "init=trap", "its start with the present settings: trapped in `init`: "),
        ("rules", "rules=trap", "its start with the present settings: trapped in `rules`: "),
        ("evaluates", "evaluate=trap", "the trial run on the latest snapshot trapped in `evaluate`: "),
    ];
    let mut files: Vec<_> = cases.iter().map(|(id, order, _)| named(id, order)).collect();
    files.push(named("trapper", "armed=trap"));
    files.push(("starts".to_owned(), with_trap_at_start(&guest("id=starts"))));
    let zoo = Zoo::start("", files, Vec::new()).await;
    for (id, _, expected) in cases {
        let plugin = zoo.agent.wait_plugin(id, |plugin| plugin["state"] == "failed").await;
        let error = &plugin["last_error"];
        assert!(error["message"].as_str().unwrap().starts_with(expected), "{plugin:#}");
        let words = error["last_words"].as_str().unwrap();
        assert!(words.contains("panicked at src/deeds.rs:") && words.contains("ordered to trap"), "{plugin:#}");
    }
    let starts = zoo.agent.wait_plugin("starts", |plugin| plugin["state"] == "failed").await;
    let message = starts["last_error"]["message"].as_str().unwrap();
    assert!(message.starts_with("reading its description: it trapped in its start function: "), "{starts:#}");
    assert_eq!(starts["last_error"]["last_words"], Value::Null, "it wrote nothing: {starts:#}");
    zoo.wait_alert("trapper", "always", "firing").await;
    zoo.arm().await;
    let trapper = zoo.agent.wait_plugin("trapper", |plugin| plugin["state"] == "quarantined").await;
    let error = &trapper["last_error"];
    assert!(error["message"].as_str().unwrap().starts_with("trapped in `evaluate`: wasm "), "{trapper:#}");
    assert!(error["last_words"].as_str().unwrap().contains("ordered to trap"), "{trapper:#}");
    // A frozen alert gives its reason in a few words.
    let frozen = |list: &Value| item(list, "plugin", "trapper").is_some_and(|alert| alert["frozen"].is_string());
    let alerts = zoo.agent.wait_json("/api/database/alerts", frozen).await;
    let why = item(&alerts, "plugin", "trapper").unwrap()["frozen"].as_str().unwrap();
    assert!(why.contains("trapped in `evaluate`") && !why.contains("ordered to trap"), "{why}");
    zoo.agent.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn last_words_are_bounded_and_clean_and_those_of_calls_before_are_none() {
    let files = vec![named("babbler", "armed=babble:100000"), named("printer", "init=complain;armed=fail")];
    let zoo = Zoo::start("", files, Vec::new()).await;
    for id in ["babbler", "printer"] {
        zoo.wait_alert(id, "always", "firing").await;
    }
    zoo.arm().await;
    let babbler = zoo.agent.wait_plugin("babbler", |plugin| plugin["state"] == "quarantined").await;
    let words = babbler["last_error"]["last_words"].as_str().unwrap();
    assert!(words.starts_with("first words[31m xxx"), "{words}");
    assert!(words.contains(" bytes left out] xxx") && words.contains("last words ") && words.contains("ordered to babble"), "{words}");
    assert!(words.len() < 2_100 && !words.contains(char::is_control), "{} bytes: {words}", words.len());
    let printer = zoo.agent.wait_plugin("printer", |plugin| plugin["state"] == "quarantined").await;
    assert_eq!(printer["last_error"]["last_words"], Value::Null, "{printer:#}");
    zoo.agent.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_log_has_the_words_of_a_crash_once() {
    let program = ZooProgram::start(&without_shipped(), vec![named("trapper", "armed=trap")]).await;
    program.wait_json("/api/database/alerts", |list| item(list, "plugin", "trapper").is_some()).await;
    program.arm().await;
    let traps = |list: &Value| item(list, "id", "trapper").and_then(|plugin| plugin["traps"].as_u64());
    program.wait_json("/api/plugins", |list| traps(list) >= Some(4)).await;
    // The log is written by a thread of its own, and may come after.
    let log = program.wait_in_log("a call of `trapper` trapped in `evaluate`: ", 4).await;
    let calls: Vec<&str> = log.lines().filter(|line| line.contains("a call of `trapper` trapped in `evaluate`: ")).collect();
    let with_words = calls.iter().filter(|line| line.contains("; it wrote: ") && line.contains("ordered to trap")).count();
    assert_eq!(with_words, 1, "{log}");
    program.kill().await;
}

/// Cases in which the plugin is armed from the start.
const SUITE: &str = r#"
plugin = "trapper.wasm"

[subject]
kind = "redis"

[[case]]
name = "it crashes"
series = [{ metric = "pharos_redis_keys", labels = { db = "db0" }, values = "1 1 1" }]

[[case.expect]]
at = "20s"
alerts = []
"#;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn plugin_test_inspect_and_rules_test_show_the_panic_as_it_was_written() {
    let folder = tempfile::tempdir().unwrap();
    let put = |name: &str, bytes: &[u8]| {
        let file = folder.path().join(name);
        std::fs::write(&file, bytes).unwrap();
        file.display().to_string()
    };
    let (tasks, _) = runtime_tasks();
    let server = redis(&tasks).await;
    let mut connection = server.connect().await.unwrap();
    let () = redis::AsyncCommands::set(&mut connection, "armed", "yes").await.unwrap();
    let config = put("pharos.toml", redis_config("cache", &[&server]).as_bytes());
    let id = format!("127.0.0.1:{}", server.port());
    let (code, recorded, stderr) = output(&["snapshot", &id, "--config", &config]).await;
    assert_eq!(code, Some(0), "{stderr}");
    let (snapshot, suite) = (put("armed.json", recorded.as_bytes()), put("suite.toml", SUITE.as_bytes()));
    let trapper = put("trapper.wasm", &guest("id=trapper;armed=trap"));
    let unready = put("unready.wasm", &guest("id=unready;init=trap"));
    let shows = |text: &str| {
        let at = text.find("wrote to standard error:\n").unwrap_or_else(|| panic!("{text}"));
        let words: Vec<&str> = text[at..].lines().skip(1).take_while(|line| line.starts_with("    ")).map(str::trim).collect();
        assert!(words[0].starts_with("thread '<unnamed>'") && words[0].contains("panicked at src/deeds.rs:"), "{text}");
        assert_eq!(words[1], "ordered to trap", "{text}");
    };

    let (code, _, stderr) = output(&["plugin", "test", &trapper, "--snapshot", &snapshot]).await;
    assert_eq!(code, Some(1), "{stderr}");
    assert!(stderr.contains(&format!("`trapper` failed on redis {id}: trapped in `evaluate`: wasm ")), "{stderr}");
    shows(&stderr);
    let (code, _, stderr) = output(&["plugin", "inspect", &unready]).await;
    assert_eq!(code, Some(1), "{stderr}");
    assert!(stderr.contains("trapped in `init`: wasm "), "{stderr}");
    shows(&stderr);
    let (code, stdout, stderr) = output(&["rules", "test", &suite]).await;
    assert_eq!(code, Some(1), "{stdout}{stderr}");
    assert!(stdout.contains("the plugin trapped in `evaluate`: wasm "), "{stdout}");
    assert_eq!(stdout.matches("ordered to trap").count(), 1, "the same crash on every snapshot: {stdout}");
    shows(&stdout);
}
