//! The contract speaks no Rust: the JavaScript example, built as its README says.

use std::path::{Path, PathBuf};
use std::process::Command;

use crate::fixture::{TestAgent, item, project, redis, redis_config, runtime_tasks};

/// A copy of the example under `target/`, as deep in the tree as the original, whose scripts look for `wit/`.
fn copied() -> PathBuf {
    let (from, to) = (project().join("plugins/examples/javascript-rule"), project().join("target/examples/javascript-rule"));
    std::fs::create_dir_all(&to).expect("target/ can be written");
    for name in ["package.json", "package-lock.json", ".npmrc", "rule.js", "judge.js", "judge.test.js", "schema.js"] {
        std::fs::copy(from.join(name), to.join(name)).expect("the example has the file");
    }
    to
}

fn run(folder: &Path, program: &str, arguments: &[&str]) {
    let output =
        Command::new(program).args(arguments).current_dir(folder).output().expect("node and npm are installed: run scripts/setup.sh");
    assert!(output.status.success(), "{program} {arguments:?}: {}", String::from_utf8_lossy(&output.stderr));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_rule_in_javascript_judges_within_the_budget_of_every_rule() {
    let folder = copied();
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
        "[plugin.javascript-rule.settings]\nmin_keys = 1\n[plugin.javascript-rule.limits]\nwall = \"20s\"\n{}",
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
