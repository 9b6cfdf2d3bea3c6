//! No example in Python fails to build or to serve as its README says.
//!
//! The contract does not depend on Rust: the Python example, built as its README says, and the text of an exception in Python.

use std::time::Duration;

use serde_json::Value;

use crate::fixture::examples::{copied, run};
use crate::fixture::wait::{fitting, until_within};
use crate::fixture::{TestAgent, item, postgres, postgres_config, runtime_tasks};

/// The longest that compiling CPython takes a busy machine, with a compiler that was not optimised.
const COMPILE_MAX: Duration = Duration::from_secs(600);

/// Tries to leave the sandbox, and raises what came of it.
const UNRULY: &str = r#"
import encodings.idna
import socket

from wit_world import exports
from wit_world.exports.plugin import Description


class Plugin(exports.Plugin):
    def describe(self):
        return Description("unruly", "0.1.0", "raises what came of its attempts", '{"type": "object"}', [])

    def init(self):
        attempts = [
            lambda: open("/etc/passwd"),
            lambda: open("../written", "w"),
            lambda: socket.socket(socket.AF_INET, socket.SOCK_STREAM).connect(("127.0.0.1", 9465)),
            lambda: socket.socket(socket.AF_INET, socket.SOCK_DGRAM),
            lambda: socket.getaddrinfo("localhost", 80),
        ]
        raise RuntimeError(", ".join(map(outcome, attempts)))


def outcome(attempt):
    try:
        return f"reached {attempt()}"
    except OSError as error:
        return type(error).__name__


class AlertRule(exports.AlertRule):
    def rules(self):
        return []

    def evaluate(self, at):
        pass
"#;

/// A plugin that is no longer being loaded.
async fn loaded(agent: &TestAgent, id: &str) -> Value {
    until_within(COMPILE_MAX, format_args!("`{id}` is loaded"), async || {
        fitting(agent.plugin(id).await, |plugin| plugin["state"] != "loading")
    })
    .await
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_rule_in_python_judges_a_real_server_and_an_exception_is_shown_with_its_traceback() {
    let folder = copied("python-rule");
    run(&folder, "python3", &["-m", "unittest"]);
    run(&folder, "./build.sh", &[]);
    std::fs::write(folder.join("unruly.py"), UNRULY).unwrap();
    let unruly = "--quiet --wit-path ../../../wit --world alert-rule-plugin componentize unruly --output unruly.wasm";
    run(&folder, "componentize-py", &unruly.split(' ').collect::<Vec<_>>());
    let read = |id: &str| (id.to_owned(), std::fs::read(folder.join(format!("{id}.wasm"))).unwrap());

    let (tasks, _) = runtime_tasks();
    let server = postgres(&tasks).await;
    let mut sessions = Vec::new();
    for _ in 0..3 {
        sessions.push(server.connect("postgres", "postgres").await.unwrap());
    }
    // Wall time is the machine's, and so is what one call of many takes. The memory is that which every rule has.
    let config = format!(
        "[plugins]\ndir = \"plugins\"\ncompile_timeout = \"10m\"\n[plugin.python-rule.settings]\nmin_sessions = 3\nshare = 0.5\nclear = 0.4\n\
         [plugin.python-rule.limits]\nwall = \"20s\"\ncpu = \"5s\"\n{}",
        postgres_config("app", &server)
    );
    let agent = TestAgent::start_with(&config, vec![read("python-rule"), read("unruly")]).await;
    let plugin = loaded(&agent, "python-rule").await;
    assert_eq!((&plugin["state"], &plugin["last_error"]), (&"serving".into(), &Value::Null), "{plugin:#}");

    let found = agent.wait_json("/api/database/alerts", |list| item(list, "plugin", "python-rule").is_some()).await;
    let alert = item(&found, "plugin", "python-rule").unwrap();
    assert_eq!((&alert["rule"], &alert["labels"]["datname"]), (&"idle-sessions".into(), &"postgres".into()), "{alert:#}");
    assert_eq!(alert["title"], "100% of the sessions in postgres are idle");
    let plugin = agent.wait_plugin("python-rule", |plugin| plugin["calls"].as_u64() >= Some(20)).await;
    assert_eq!((&plugin["traps"], &plugin["state"]), (&0.into(), &"serving".into()), "{plugin:#}");
    assert!(plugin["memory_bytes_max"].as_u64() < Some(24 << 20), "{plugin:#}");

    let unruly = loaded(&agent, "unruly").await;
    let error = &unruly["last_error"];
    assert!(error["message"].as_str().unwrap().contains("trapped in `init`: "), "{unruly:#}");
    let words = error["last_words"].as_str().unwrap();
    assert!(words.starts_with("Traceback (most recent call last): ") && words.contains("unruly.py\", line 21, in init"), "{words}");
    let outcomes = "RuntimeError: FileNotFoundError, FileNotFoundError, PermissionError, PermissionError, gaierror";
    assert!(words.contains(outcomes), "{words}");
    agent.stop().await;
}
