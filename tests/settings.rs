//! No wrong setting of one check, rule or receiver turns another one off or is ignored without a report. `pharos check` approves nothing
//! that `pharos run` refuses.
//!
//! Settings of plugins: what is wrong with them is found before the agent starts, and what comes later costs nothing but itself.

use expect_test::{Expect, expect};
use pharos::demo::receiver::Receiver;
use serde_json::Value;

use crate::fixture::guests::guest;
use crate::fixture::program::output;
use crate::fixture::zoo::{Zoo, named};
use crate::fixture::{PATIENCE, TestAgent, item, plugin_folder, receiver_config, runtime_tasks};

/// The outputs of `pharos check`, without the folder, and of `pharos run` for one file.
async fn check(config: &str, expected: Expect) -> String {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("pharos.toml");
    std::fs::write(&path, format!("{config}\n[agent]\ndata_dir = \"data\"\n[http]\nlisten = \"127.0.0.1:0\"\n")).unwrap();
    let (code, stdout, stderr) = output(&["check", "--config", path.to_str().unwrap()]).await;
    assert_eq!(code, Some(if stdout.is_empty() { 78 } else { 0 }), "{stdout}{stderr}");
    let plain = |text: &str| text.replace(&format!("{}/", folder.path().display()), "");
    expected.assert_eq(&plain(&format!("{stdout}{stderr}")));
    plain(&stderr)
}

const MISTAKES: &str = r#"[[database]]
name = "x"
primary = "postgresql://p@127.0.0.1:1/x"
password_file = "/does/not/exist"
[[plugin.threshold.settings.rules]]
id = "a"
metric = "pharos_postgres_connection_used_ratio"
above = "80%"
clear = 0.9
for = "5 min"
severity = "warn"
[[plugin.threshold.settings.rules]]
id = "b"
metric = "pharos_postgres_connections"
match = { databse = "x" }
above = 1
severity = "warning"
[plugin.threshold.settings.ruels]
x = 1
[plugin.postgres-essentials.settings.checks]
lock-weit = { warning = 3 }
lock-wait = { warning = 1, critical = 0.5 }
[plugin.webhook]
grants = { egress = ["127.0.0.1:28080"] }
[[receiver]]
name = "ops"
plugin = "webhook"
settings = { url = "http://127.0.0.1:28081/x", secret = "nope" }
[relay.office]
host = "127.0.0.1"
from = "a@b.c"
encryption = "none"
[plugin.email]
grants = { mail = ["office"] }
[[receiver]]
name = "mail"
plugin = "email"
settings = { relay = "offfice", too = ["dba@b.c"] }
[[receiver]]
name = "pager"
plugin = "e-mail"
[[receiver]]
name = "rules"
plugin = "threshold"
[[route]]
match = { databse = "x" }
group_by = ["subjct"]
receiver = "mail"
continue = true
[[route]]
receiver = "ops"
continue = true
[[route]]
receiver = "pager"
continue = true
[[route]]
receiver = "rules"
[plugin.treshold]
enabled = true
limits = { memory = "0" }
"#;

#[tokio::test]
async fn every_mistake_that_plugins_report_is_found_at_its_place() {
    check(MISTAKES, expect![[r#"
        pharos.toml:4:17: `database[0].password_file`: /does/not/exist cannot be read: No such file or directory (os error 2)
        pharos.toml:7:10: `plugin.threshold.settings.rules[0].metric`: no metric is named "pharos_postgres_connection_used_ratio"; did you mean `pharos_postgres_connections_used_ratio`?
        pharos.toml:8:9: `plugin.threshold.settings.rules[0].above`: invalid type: string "80%", expected f64
        pharos.toml:10:7: `plugin.threshold.settings.rules[0].for`: value does not match "^(0|([0-9]+(ms|s|m|min|h|d) ?)+)$"
        pharos.toml:11:12: `plugin.threshold.settings.rules[0].severity`: must be one of info, warning, critical; did you mean `warning`?
        pharos.toml:15:21: `plugin.threshold.settings.rules[1].match.databse`: `databse` is no label of pharos_postgres_connections; did you mean `database`?
        pharos.toml:18:1: `plugin.threshold.settings.ruels`: unknown key; did you mean `rules`?
        pharos.toml:21:13: `plugin.postgres-essentials.settings.checks.lock-weit`: no such check; did you mean `lock-wait`?
        pharos.toml:22:13: `plugin.postgres-essentials.settings.checks.lock-wait`: `warning` (1) must be below `critical` (0.5); raise `critical` or move `warning` as well
        pharos.toml:28:20: `receiver[0].settings.url`: the address 127.0.0.1:28081 is not granted; to allow it, add to [plugin.webhook]: grants = { egress = ["127.0.0.1:28081"] }
        pharos.toml:28:57: `receiver[0].settings.secret`: there is no secret "nope" under [secret]
        pharos.toml:38:12: `receiver[1].settings`: needs a key `to`
        pharos.toml:38:22: `receiver[1].settings.relay`: there is no [relay.offfice]; did you mean `office`?
        pharos.toml:38:39: `receiver[1].settings.too`: unknown key; did you mean `to`?
        pharos.toml:41:10: `receiver[2].plugin`: there is no plugin `e-mail`, neither shipped nor as plugins/e-mail.wasm; did you mean `email`?
        pharos.toml:44:10: `receiver[3].plugin`: `threshold` is no notifier but an alert-rule-plugin, and delivers no messages
        pharos.toml:46:21: `route[0].match.databse`: no alert has a label `databse`; did you mean `database`?
        pharos.toml:47:13: `route[0].group_by[0]`: no alert has a label `subjct`; did you mean `subject`?
        pharos.toml:58:1: `plugin.treshold`: there is no plugin `treshold`, neither shipped nor as plugins/treshold.wasm; did you mean `threshold`?
        pharos.toml:60:21: `plugin.treshold.limits.memory`: is 0 B, but an instance takes between 2.0 MiB and 4.0 GiB
    "#]]).await;
}

/// A plugin that comes later may have such a rule, so that the file is right.
#[tokio::test]
async fn values_that_no_alert_has_are_noted_with_what_was_meant() {
    let config = r#"[[database]]
name = "app"
primary = "postgresql://p@127.0.0.1:1/x"
[[plugin.threshold.settings.rules]]
id = "too-many"
metric = "pharos_postgres_connections"
above = 1
severity = "warning"
[plugin.webhook]
grants = { egress = ["127.0.0.1:28080"] }
[[receiver]]
name = "ops"
plugin = "webhook"
settings = { url = "http://127.0.0.1:28080/x" }
[[route]]
match = { rule = ["lock-wiat", "split-brian"] }
receiver = "ops"
[[route]]
matchers = ["database=ap", "rule!=locks", "plugin=~postgres-.*"]
receiver = "ops"
[[route]]
match = { rule = ["too-many", "lock-wait"], database = "app", server = "anything" }
receiver = "ops"
[[silence]]
name = "s"
matchers = ["plugin=postgres-esentials", "database=~xyz.*"]
starts = "2026-01-01T00:00:00Z"
ends = "2026-01-02T00:00:00Z"
author = "me"
comment = "c"
[[inhibit]]
name = "i"
source = ["rule=server-dwn"]
target = ["rule=\"\""]
"#;
    check(config, expect![[r#"
        pharos.toml: ok
        pharos.toml:16:18: note: `route[0].match.rule`: no rule that is known here fits `rule="lock-wiat"`; did you mean `lock-wait`?
        pharos.toml:16:18: note: `route[0].match.rule`: no rule that is known here fits `rule="split-brian"`; did you mean `split-brain`?
        pharos.toml:19:13: note: `route[1].matchers[0]`: no database that is known here fits `database="ap"`; did you mean `app`?
        pharos.toml:26:13: note: `silence[0].matchers[0]`: no plugin that is known here fits `plugin="postgres-esentials"`; did you mean `postgres-essentials`?
        pharos.toml:26:42: note: `silence[0].matchers[1]`: no database that is known here fits `database=~"xyz.*"`
        pharos.toml:33:11: note: `inhibit[0].source[0]`: no rule that is known here fits `rule="server-dwn"`; did you mean `server-down`?
    "#]]).await;
}

#[tokio::test]
async fn an_agent_refuses_mistakes_that_the_file_and_the_binary_decide_and_reports_the_same() {
    let config = "[plugin.postgres-essentials.settings.checks]\nlock-weit = { warning = 3 }\n";
    let said = check(
        config,
        expect![[r#"
            pharos.toml:2:13: `plugin.postgres-essentials.settings.checks.lock-weit`: no such check; did you mean `lock-wait`?
        "#]],
    )
    .await;
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("pharos.toml");
    std::fs::write(&path, format!("{config}\n[agent]\ndata_dir = \"data\"\n[http]\nlisten = \"127.0.0.1:0\"\n")).unwrap();
    let (code, _, stderr) = output(&["run", "--config", path.to_str().unwrap()]).await;
    assert_eq!(code, Some(78), "{stderr}");
    let last = stderr.replace(&format!("{}/", folder.path().display()), "");
    assert!(last.ends_with(&said), "{last}\nbut check said\n{said}");
}

#[tokio::test]
async fn files_that_the_config_names_are_looked_at_and_can_be_left_out() {
    let config = "[secret]\na = { file = \"/dev/zero\" }\nb = { file = \"none\" }\nc = { env = \"PHAROS_NO_SUCH\" }\n[[redis]]\nname = \"r\"\nnodes = [\"rediss://h\"]\npassword_file = \"/\"\n\
                  tls = { ca = \"none\", cert = \"/\", key = \"/dev/null\" }\n";
    check(
        config,
        expect![[r#"
            pharos.toml:4:13: note: `secret.c.env`: the environment variable PHAROS_NO_SUCH is not set or not UTF-8 here; the agent needs it
            pharos.toml:2:14: `secret.a.file`: /dev/zero cannot be read: it is a device, not a regular file
            pharos.toml:3:14: `secret.b.file`: none cannot be read: No such file or directory (os error 2)
            pharos.toml:8:17: `redis[0].password_file`: / cannot be read: it is a folder, not a regular file
            pharos.toml:9:14: `redis[0].tls.ca`: none cannot be read: No such file or directory (os error 2)
            pharos.toml:9:29: `redis[0].tls.cert`: / cannot be read: it is a folder, not a regular file
            pharos.toml:9:40: `redis[0].tls.key`: /dev/null cannot be read: it is a device, not a regular file
        "#]],
    )
    .await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_wrong_setting_of_a_plugin_file_costs_nothing_but_itself_and_is_reported() {
    let folder = plugin_folder(&["threshold", "agent-essentials"]);
    let config = format!(
        "[plugins]\ndir = \"{}\"\n\
         [[plugin.threshold.settings.rules]]\nid = \"right\"\nmetric = \"pharos_start_timestamp_seconds\"\nabove = 0\nseverity = \"info\"\n\
         [[plugin.threshold.settings.rules]]\nid = \"wrong\"\nmetric = \"pharos_start_timestamp_seconds\"\nabove = \"80%\"\nseverity = \"info\"\n\
         [plugin.agent-essentials.settings.checks]\nplugin-refsed = {{ enabled = false }}\n",
        folder.path().display()
    );
    let agent = TestAgent::start_with(&config, Vec::new()).await;
    for (id, place) in [
        ("threshold", "plugin.threshold.settings.rules[1].above: "),
        ("agent-essentials", "plugin.agent-essentials.settings.checks.plugin-refsed: no such check; did you mean `plugin-refused`?"),
    ] {
        let plugin = agent.wait_plugin(id, |plugin| plugin["state"] == "serving").await;
        assert_eq!(plugin["last_error"]["stage"], "settings-ignored", "{plugin}");
        assert!(plugin["ignored_settings"][0].as_str().unwrap().starts_with(place), "{plugin}");
        agent.wait_series(&format!("pharos_plugin_settings_ignored{{plugin=\"{id}\"}}"), |value| value == 1.0).await;
    }
    agent
        .wait_part("plugins", |part| part["state"] == "degraded" && part["cause"].as_str().unwrap().contains("ignores wrong settings"))
        .await;
    let fires = |rule: &str, plugin: &str, list: &Value| {
        let fits = |alert: &Value| alert["rule"] == rule && (plugin.is_empty() || alert["labels"]["plugin_id"] == plugin);
        list["items"].as_array().unwrap().iter().any(fits)
    };
    let both = |list: &Value| ["threshold", "agent-essentials"].iter().all(|id| fires("plugin-settings-ignored", id, list));
    agent.wait_json("/api/database/alerts", |list| fires("right", "", list) && both(list)).await;
    agent.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_version_with_another_reason_for_the_same_setting_serves_and_one_that_takes_less_does_not() {
    // Each version lists the keys that it has, so no two give the same reason.
    let build = |version: &str, known: &str| {
        let schema =
            format!(r#"{{"type":"object","x-pharos-wrong-settings":"ignored","additionalProperties":false,"properties":{{{known}}}}}"#);
        guest(&format!("id=judge;version={version};schema={schema}"))
    };
    let config = "[plugin.judge.settings]\nunknown = 1\nb = 2\n";
    let zoo = Zoo::start(config, vec![named("judge", "version=0.0.0")], Vec::new()).await;
    zoo.wait_version("judge", "0.0.0").await;
    zoo.put("judge", &build("1.0.0", r#""b":{}"#));
    // This version accepts `b`; the previous one in the folder accepted everything.
    let refused = zoo.agent.wait_plugin("judge", |plugin| plugin["last_error"]["stage"] == "settings").await;
    assert!(
        refused["last_error"]["message"].as_str().unwrap().contains("leaves out settings that the previous version accepts"),
        "{refused}"
    );
    std::fs::remove_file(zoo.file("judge")).unwrap();
    zoo.agent.wait_json("/api/plugins", |list| item(list, "id", "judge").is_none()).await;
    zoo.put("judge", &build("1.0.0", r#""b":{}"#));
    let first = zoo.wait_version("judge", "1.0.0").await;
    let reason = |plugin: &Value| plugin["ignored_settings"][0].as_str().unwrap().to_owned();
    zoo.put("judge", &build("2.0.0", r#""b":{},"c":{}"#));
    let second = zoo.wait_version("judge", "2.0.0").await;
    assert!(reason(&first) != reason(&second) && reason(&second).starts_with("plugin.judge.settings.unknown: "), "{second}");
    zoo.put("judge", &build("3.0.0", r#""c":{}"#));
    let kept = zoo.agent.wait_plugin("judge", |plugin| plugin["last_error"]["stage"] == "settings").await;
    assert_eq!(kept["version"], "2.0.0", "it takes `b`");
    assert!(kept["last_error"]["message"].as_str().unwrap().contains("plugin.judge.settings.b: "), "{kept}");
    zoo.agent.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_wrong_receiver_retains_its_messages_and_affects_no_other_receiver() {
    let (tasks, stop) = runtime_tasks();
    let ops = Receiver::start(None, &tasks, &stop).await.unwrap();
    let folder = plugin_folder(&["threshold", "webhook"]);
    let config = format!(
        "[plugins]\ndir = \"{}\"\n{}[[receiver]]\nname = \"wrong\"\nplugin = \"webhook\"\nsettings = {{ url = \"{}\", formt = \"generic\" }}\n\
         [[route]]\nreceiver = \"wrong\"\n\
         [[plugin.threshold.settings.rules]]\nid = \"right\"\nmetric = \"pharos_start_timestamp_seconds\"\nabove = 0\nseverity = \"info\"\n",
        folder.path().display(),
        receiver_config(&ops.url()).replace("receiver = \"ops\"\n", "receiver = \"ops\"\ncontinue = true\n"),
        ops.url(),
    );
    let agent = TestAgent::start_with(&config, Vec::new()).await;
    let plugin = agent.wait_plugin("webhook", |plugin| plugin["state"] == "serving").await;
    assert!(
        plugin["ignored_settings"][0].as_str().unwrap().contains("receiver \"wrong\" settings.formt: unknown key; did you mean `format`?"),
        "{plugin}"
    );
    assert!(ops.wait_until(PATIENCE, |received| received.count("right").firing == 1).await);
    agent
        .wait_json("/api/outbox", |outbox| {
            let waits = |row: &Value| row["receiver"] == "wrong" && row["why"].as_str().is_some_and(|why| why.contains("unknown key"));
            outbox["items"].as_array().is_some_and(|rows| rows.iter().any(waits))
        })
        .await;
    agent.stop().await;
    stop.cancel();
}
