//! No case of rules that does not hold passes, and no mistake in its file is reported without its place.
//!
//! `pharos rules test`: the shipped cases pass, a case that fails is shown with its differences, and all mistakes in a file are reported.

use std::path::Path;

use pharos::plugin::ALERT_RULE;
use pharos::plugin::validate::inspect;
use serde_json::Value;

use crate::fixture::program::output;
use crate::fixture::{project, shipped};

/// The plugins as they are built now, before those inside the program.
fn plugins() -> String {
    shipped();
    project().join("target/plugins").display().to_string()
}

async fn test(files: &[&Path], more: &[&str]) -> (Option<i32>, String, String) {
    let plugins = plugins();
    let files = files.iter().map(|file| file.to_str().unwrap());
    let arguments: Vec<&str> = ["rules", "test", "--plugins", &plugins].into_iter().chain(files).chain(more.iter().copied()).collect();
    output(&arguments).await
}

/// A file in a folder of its own, run; its path is left out of what is printed.
async fn tested(text: &str, more: &[&str]) -> (Option<i32>, String, String) {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("tests.toml");
    std::fs::write(&file, text).unwrap();
    let (code, stdout, stderr) = test(&[&file], more).await;
    let short = |text: String| text.replace(&format!("{}/", folder.path().display()), "");
    (code, short(stdout), short(stderr))
}

/// One rule of the threshold plugin about a Redis server, and what follows.
fn about_redis(rest: &str) -> String {
    format!(
        r#"plugin = "threshold"
subject = {{ kind = "redis" }}
settings.rules = [{{ id = "full", metric = "pharos_redis_memory_used_ratio", above = 0.8, for = "30s", severity = "warning" }}]
{rest}"#
    )
}

#[track_caller]
fn refused(said: &(Option<i32>, String, String), expected: &[&str]) {
    let (code, stdout, stderr) = said;
    assert_eq!((*code, stdout.as_str()), (Some(78), ""), "{stderr}");
    assert_eq!(stderr.lines().collect::<Vec<_>>(), expected);
}

#[tokio::test]
async fn the_cases_beside_the_shipped_plugins_hold() {
    let has_rules = |bytes: &[u8]| inspect(bytes).unwrap().world == ALERT_RULE;
    let with_rules = shipped().into_iter().filter(|(_, bytes)| has_rules(bytes));
    let files: Vec<_> = with_rules.map(|(id, _)| project().join(format!("plugins/{id}/tests.toml"))).collect();
    let missing: Vec<_> = files.iter().filter(|file| !file.is_file()).collect();
    assert!(files.len() >= 4 && missing.is_empty(), "every plugin with rules has its cases: {missing:?}");
    let (code, stdout, stderr) = test(&files.iter().map(AsRef::as_ref).collect::<Vec<_>>(), &[]).await;
    assert_eq!(code, Some(0), "{stdout}{stderr}");
    assert!(stdout.lines().count() > 25 && stdout.ends_with(" passed, 0 failed\n"), "{stdout}");
}

#[tokio::test]
async fn the_case_of_the_readme_holds() {
    let readme = std::fs::read_to_string(project().join("plugins/README.md")).unwrap();
    let example = readme.split("```toml\n").nth(1).unwrap().split("```").next().unwrap();
    let (code, stdout, stderr) = tested(example, &[]).await;
    assert_eq!((code, stdout.as_str()), (Some(0), "ok    tests.toml: an alert waits for `for`\n1 case, 1 passed, 0 failed\n"), "{stderr}");
}

const DIFFERS: &str = r#"
[[case]]
name = "it fires too late"
series = [{ metric = "pharos_redis_memory_used_ratio", values = "0.9" }]
part = [{ name = "info", states = "present x3 failed", why = "BUSY" }]
expect = [
    { at = "20s", alerts = [{ rule = "full", severity = "critical", state = "firing", title = "full", value = 0.9 }], told = [{ rule = "full", reason = "firing" }] },
    { at = "1m30s", alerts = [], transitions = [], skipped = ["full"] },
]

[[case]]
name = "it holds"
series = [{ metric = "pharos_redis_memory_used_ratio", values = "0.7" }]
expect = [{ at = "1m", alerts = [], skipped = [] }]
"#;

#[tokio::test]
async fn differences_are_shown_with_the_waits_and_the_reasons() {
    let (code, stdout, stderr) = tested(&about_redis(DIFFERS), &[]).await;
    let expected = r#"FAIL  tests.toml:5: it fires too late
      open alerts at 20s (line 10), - expected, + got:
        - firing     critical full, title with "full", value 0.9
        + pending    warning  full: "pharos_redis_memory_used_ratio is 90 %, above 80 %", value 0.9, since 0s, raised for 20s of 30s
      what people are told at 20s (line 10), - expected, + got:
        - firing           any      full
      open alerts at 1m30s (line 11), - expected, + got:
        + pending    warning  full: "pharos_redis_memory_used_ratio is 90 %, above 80 %", value 0.9, since 0s, raised for 30s of 30s, frozen: skipped: part `info` failed: BUSY
ok    tests.toml: it holds
2 cases, 1 passed, 1 failed
"#;
    assert_eq!((code, stdout.as_str()), (Some(1), expected), "{stderr}");
}

#[tokio::test]
async fn json_has_the_same_results_and_cases_can_be_chosen() {
    let (code, stdout, stderr) = tested(&about_redis(DIFFERS), &["--json", "--case", "late"]).await;
    let said: Value = serde_json::from_str(&stdout).unwrap_or_else(|err| panic!("{err}: {stdout}{stderr}"));
    assert_eq!((code, &said["passed"], &said["failed"]), (Some(1), &0.into(), &1.into()));
    let case = &said["cases"][0];
    assert_eq!((&case["line"], &case["passed"], said["cases"].as_array().unwrap().len()), (&5.into(), &false.into(), 1), "{said:#}");
    let mismatch = &case["mismatches"][0];
    assert_eq!(
        (&mismatch["at_seconds"], &mismatch["line"], &mismatch["lines"][1]["mark"]),
        (&20.0.into(), &10.into(), &"unexpected".into())
    );
    let (code, _, stderr) = tested(&about_redis(DIFFERS), &["--case", "nothing"]).await;
    assert_eq!((code, stderr.as_str()), (Some(1), "pharos: no case has \"nothing\" in its name\n"));
}

#[tokio::test]
async fn every_mistake_of_a_file_is_named_at_its_place() {
    let text = r#"plugin = "threshold"
intervall = "10s"
subject = { kind = "postgras" }
[[case]]
name = "a"
[[case.series]]
metrik = "pharos_redis_keys"
"#;
    refused(
        &tested(text, &[]).await,
        &[
            "tests.toml:2:1: unknown key `intervall` in the file; did you mean `interval`?",
            "tests.toml:3:20: `subject.kind` is \"postgras\" but must be one of \"agent\", \"database\", \"postgres\", \"redis\"; did you mean `postgres`?",
            "tests.toml:4:1: `case[0]` needs a key `expect`",
            "tests.toml:6:1: `case[0].series[0]` needs a key `metric`",
            "tests.toml:6:1: `case[0].series[0]` needs a key `values`",
            "tests.toml:7:1: unknown key `metrik` in `case[0].series[0]`; did you mean `metric`?",
        ],
    );
}

#[tokio::test]
async fn facts_that_cannot_be_are_refused() {
    let text = about_redis(
        r#"
[[case]]
name = "a"
server = "up dwon"
expect = [{ at = "10s", alerts = [] }]
[[case]]
name = "a"
interval = "0s"
restarts = ["5s"]
series = [
    { metric = "pharos_redis_memry_used_ratio", values = "1" },
    { metric = "pharos_redis_up", values = "1" },
    { metric = "pharos_postgres_backends", values = "1" },
    { metric = "pharos_notify_sent_total", values = "1" },
    { metric = "pharos_redis_keys", labels = { dbb = "db0" }, values = "1 fife" },
    { metric = "pharos_redis_clients", values = "1" },
    { metric = "pharos_redis_clients", labels = { x = "1" }, values = "0+1 5" },
    { metric = "pharos_redis_clients", values = "x3" },
]
part = [{ name = "inof", states = "present" }, { name = "up", states = "present" }, { name = "info", states = "gone" }]
table = [{ name = "restarts", from = "20s", to = "10s", rows = [{ at = "x", att = 1 }] }]
expect = [
    { at = "15s", alerts = [] },
    { at = "10s" },
    { at = "300h", alerts = [] },
]
"#,
    );
    let (code, stdout, stderr) = tested(&text, &[]).await;
    assert_eq!((code, stdout.as_str()), (Some(78), ""), "{stderr}");
    expect_test::expect![[r#"
        tests.toml:7:10: `case[0].server`: `dwon` is not one of `up`, `down`
        tests.toml:10:8: `case[1].name`: another case has this name
        tests.toml:11:12: `case[1].interval`: must not be 0
        tests.toml:12:13: `case[1].restarts[0]`: is between two ticks, which are 10s apart; give "0s" or "10s"
        tests.toml:14:16: `case[1].series[0].metric`: there is no metric `pharos_redis_memry_used_ratio`; did you mean `pharos_redis_memory_used_ratio`?
        tests.toml:15:16: `case[1].series[1].metric`: `pharos_redis_up` follows from the server: write `server = "up x3 down"`, so that all else fails with it
        tests.toml:16:16: `case[1].series[2].metric`: `pharos_postgres_backends` is not of a redis server, which the case is about
        tests.toml:17:16: `case[1].series[3].metric`: there is no metric `pharos_notify_sent_total`; did you mean `pharos_redis_network_sent_bytes_total`?
        tests.toml:18:54: `case[1].series[4].labels.dbb`: `pharos_redis_keys` has no label `dbb`; did you mean `db`?
        tests.toml:18:72: `case[1].series[4].values`: `fife` is not a number, a ramp such as `0+10x5`, or `_` for no sample
        tests.toml:20:55: `case[1].series[6].labels.x`: `pharos_redis_clients` has no label `x`; it has no labels but those of the subject
        tests.toml:20:71: `case[1].series[6].values`: `0+1` grows, and is not the last item: say for how many ticks, such as `0+1x5`
        tests.toml:21:5: `case[1].series[7]`: another series of the case has the same metric and labels
        tests.toml:21:49: `case[1].series[7].values`: `x3` repeats nothing: it must follow what is repeated, once
        tests.toml:23:18: `case[1].part[0].name`: no part of a redis server is named `inof`; did you mean `info`?
        tests.toml:23:57: `case[1].part[1].name`: no part of a redis server is named `up`; write `server = "up x3 down"` instead
        tests.toml:23:111: `case[1].part[2].states`: `gone` is not one of `present`, `failed`, `unsupported`, `stale`, `absent`
        tests.toml:24:50: `case[1].table[0].to`: must be after `from`
        tests.toml:24:72: `case[1].table[0].rows[0].at`: is string, but the column is float
        tests.toml:24:83: `case[1].table[0].rows[0].att`: `restarts` has no column `att`; did you mean `at`?
        tests.toml:26:12: `case[1].expect[0].at`: is between two ticks, which are 10s apart; give "10s" or "20s"
        tests.toml:27:5: `case[1].expect[1]`: it expects nothing; give `alerts` (`[]` is none), `transitions`, `told` or `skipped`
        tests.toml:27:12: `case[1].expect[1].at`: is before the expectation above it; write them in the order of time
        tests.toml:28:12: `case[1].expect[2].at`: is tick 108000 of the case, more than 20000; give a longer interval
    "#]].assert_eq(&stderr);
}

#[tokio::test]
async fn tables_are_those_of_the_catalogue() {
    let text = about_redis(
        r#"
[[case]]
name = "a"
table = [
    { name = "restart", rows = [] },
    { name = "nothing", rows = [] },
    { name = "members", rows = [] },
    { name = "readings", rows = [] },
    { name = "restarts", part = "up", rows = [] },
    { name = "restarts", columns = {}, rows = [] },
    { name = "restarts", columns = { at = "integer", kin = "text", pid = "integer" }, rows = [{ at = true }] },
    { name = "restarts", columns = { at = "float" }, rows = [{ kind = "restart" }] },
    { name = "numbers_left_out", rows = [{ field = 1, value = "x", count = 1.5, nothing = 1 }] },
    { name = "restarts", columns = { at = "number" }, rows = [] },
]
expect = [{ at = "10s", alerts = [] }]
"#,
    );
    let (code, stdout, stderr) =
        tested(&text.replace("    { name = \"restarts\", columns = { at = \"number\" }, rows = [] },\n", ""), &[]).await;
    assert_eq!((code, stdout.as_str()), (Some(78), ""), "{stderr}");
    expect_test::expect![[r#"
        tests.toml:8:14: `case[0].table[0].name`: there is no table `restart`; did you mean `restarts`?
        tests.toml:9:14: `case[0].table[1].name`: there is no table `nothing`; a redis server has unreachable, restarts, numbers_left_out
        tests.toml:10:14: `case[0].table[2].name`: `members` is not of a redis server, which the case is about
        tests.toml:11:14: `case[0].table[3].name`: `readings` follows from the ticks of the case; leave it out
        tests.toml:12:33: `case[0].table[4].part`: `restarts` is in part `info`
        tests.toml:13:36: `case[0].table[5].columns`: there is none; leave the key out, and the table has all its columns
        tests.toml:14:43: `case[0].table[6].columns.at`: is integer, but the column is float
        tests.toml:14:60: `case[0].table[6].columns.kin`: `restarts` has no column `kin`; did you mean `kind`?
        tests.toml:14:74: `case[0].table[6].columns.pid`: `restarts` has no column `pid`; it has kind, at, seconds_ago
        tests.toml:14:102: `case[0].table[6].rows[0].at`: is boolean, but the column is float
        tests.toml:15:71: `case[0].table[7].rows[0].kind`: `columns` leaves `kind` out
        tests.toml:16:52: `case[0].table[8].rows[0].field`: is integer, but the column is text
        tests.toml:16:76: `case[0].table[8].rows[0].count`: is float, but the column is integer
        tests.toml:16:91: `case[0].table[8].rows[0].nothing`: `numbers_left_out` has no column `nothing`; it has field, value, count
    "#]]
    .assert_eq(&stderr);
    let (code, _, stderr) = tested(&text, &[]).await;
    assert_eq!(code, Some(78));
    expect_test::expect![[r#"
        tests.toml:17:43: `case[0].table[9].columns.at` is "number" but must be one of "integer", "float", "text", "boolean"
    "#]]
    .assert_eq(&stderr);
}

/// A plugin sees a table as the agent makes it: with all columns, or with those that the case names, as of an agent that made fewer.
#[tokio::test]
async fn a_table_has_its_columns_without_a_word_and_fewer_if_the_case_says_so() {
    let text = r#"plugin = "postgres-essentials"
subject.kind = "postgres"
[[case]]
name = "all columns"
table = [{ name = "setting_changes", rows = [{ setting = "fsync", before = "on", after = "off" }] }]
expect = [{ at = "10s", alerts = [] }]
[[case]]
name = "fewer columns, and the part as well"
table = [{ name = "setting_changes", part = "settings", columns = { setting = "text" }, rows = [{ setting = "fsync" }] }]
expect = [{ at = "10s", alerts = [] }]
"#;
    let (code, stdout, stderr) = tested(text, &[]).await;
    assert_eq!((code, stdout.lines().last()), (Some(0), Some("2 cases, 2 passed, 0 failed")), "{stdout}{stderr}");
}

/// Facts about a server that cannot be reached are in a table of the part `up`.
#[tokio::test]
async fn a_server_that_is_down_may_have_tables_with_the_reason() {
    let text = r#"plugin = "redis-essentials"
subject.kind = "redis"
[[case]]
name = "the reason is in the alert"
server = "up down"
table = [{ name = "unreachable", from = "10s", rows = [{ reason = "authentication", why = "WRONGPASS invalid username-password pair" }] }]
expect = [{ at = "5m", alerts = [{ rule = "server-down", severity = "critical", state = "firing", title = "Pharos cannot log in" }] }]
"#;
    let (code, stdout, stderr) = tested(text, &[]).await;
    assert_eq!(code, Some(0), "{stdout}{stderr}");
}

#[tokio::test]
async fn a_case_must_be_about_something_and_expect_something() {
    let said = tested("plugin = \"threshold\"\n[[case]]\nname = \"a\"\nexpect = []\n", &[]).await;
    refused(
        &said,
        &[
            "tests.toml:2:1: `case[0]`: the case expects nothing; write an [[case.expect]]",
            "tests.toml:2:1: `case[0]`: the case has no subject; give the file a `[subject]` whose `kind` is \"postgres\", \"redis\", \"database\" or \"agent\"",
        ],
    );
    refused(&tested("plugin = \"threshold\"\ncase = []\n", &[]).await, &["tests.toml:2:8: `case`: there is none"]);
    let said = tested("plugin = \"threshold\ncase = []\n", &[]).await;
    assert!(said.0 == Some(78) && said.2.starts_with("tests.toml:1:"), "{}", said.2);
    let (code, _, stderr) = test(&[Path::new("/nowhere/tests.toml")], &[]).await;
    assert_eq!((code, stderr.as_str()), (Some(78), "/nowhere/tests.toml: No such file or directory (os error 2)\n"));
    assert_eq!(output(&["rules", "test"]).await.0, Some(2));
}

#[tokio::test]
async fn the_agent_is_no_server_and_has_its_own_metrics() {
    let text = r#"plugin = "agent-essentials"
subject.kind = "agent"
[[case]]
name = "a"
server = "up"
series = [
    { metric = "pharos_redis_keys", values = "1" },
    { metric = "pharos_notifications_pendig", values = "1" },
]
part = [{ name = "up", states = "present" }]
expect = [{ at = "10s", alerts = [] }]
[[case]]
name = "b"
subject.kind = "redis"
series = [{ metric = "pharos_notifications_pending", labels = { receiver = "ops" }, values = "1" }]
expect = [{ at = "10s", alerts = [] }]
"#;
    let (code, stdout, stderr) = tested(text, &[]).await;
    assert_eq!((code, stdout.as_str()), (Some(78), ""), "{stderr}");
    expect_test::expect![[r#"
        tests.toml:5:10: `case[0].server`: the agent is no server that could be down; leave it out
        tests.toml:7:16: `case[0].series[0].metric`: `pharos_redis_keys` is not of the agent, which the case is about
        tests.toml:8:16: `case[0].series[1].metric`: there is no metric `pharos_notifications_pendig`; did you mean `pharos_notifications_pending`?
        tests.toml:10:18: `case[0].part[0].name`: no part of the agent is named `up`; there are agent
        tests.toml:15:22: `case[1].series[0].metric`: `pharos_notifications_pending` is of the agent itself, and in no snapshot of a redis server
    "#]].assert_eq(&stderr);
    let postgres =
        "plugin = \"agent-essentials\"\nsubject.kind = \"postgres\"\n[[case]]\nname = \"a\"\nexpect = [{ at = \"10s\", alerts = [] }]\n";
    refused(&tested(postgres, &[]).await, &["tests.toml:3:1: no rule of `agent-essentials` is about a postgres server"]);
    refused(
        &tested(&postgres.replace("agent-ess", "redis-ess").replace("postgres", "agent"), &[]).await,
        &["tests.toml:3:1: no rule of `redis-essentials` is about the agent"],
    );
}

#[tokio::test]
async fn a_database_is_no_server_and_has_its_own_metrics_and_tables() {
    let text = r#"plugin = "threshold"
subject.kind = "database"
settings.rules = [{ id = "split", metric = "pharos_database_split_brain", above = 0, severity = "critical", summary = "{database} is split" }]
[[case]]
name = "two primaries"
series = [{ metric = "pharos_database_split_brain", values = "0 1x3" }]
table = [{ name = "members", rows = [{ member = "db1:5432" }] }]
expect = [
    { at = "0s", alerts = [] },
    { at = "10s", alerts = [{ rule = "split", severity = "critical", state = "firing", title = "app is split" }] },
]
"#;
    let (code, stdout, stderr) = tested(text, &[]).await;
    assert_eq!(code, Some(0), "{stdout}{stderr}");
    let down =
        text.replace("series = ", "server = \"down\"\nseries = ").replace("pharos_database_split_brain\", v", "pharos_redis_keys\", v");
    refused(
        &tested(&down, &[]).await,
        &[
            "tests.toml:6:10: `case[0].server`: a database is no server that could be down; leave it out",
            "tests.toml:7:22: `case[0].series[0].metric`: `pharos_redis_keys` is not of a database, which the case is about",
        ],
    );
}

#[tokio::test]
async fn mistakes_that_only_the_plugin_finds_are_refused_at_their_place_too() {
    let case = "[[case]]\nname = \"a\"\nexpect = [{ at = \"10s\", alerts = [{ rule = \"fill\", severity = \"info\", state = \"firing\" }], skipped = [\"x\"] }]\n";
    refused(
        &tested(&about_redis(case), &[]).await,
        &[
            "tests.toml:6:44: the plugin has no rule `fill`; did you mean `full`?",
            "tests.toml:6:103: the plugin has no rule `x`; its rules are full",
        ],
    );
    let postgres = "[[case]]\nname = \"a\"\nsubject = { kind = \"postgres\" }\nexpect = [{ at = \"10s\", alerts = [] }]\n";
    refused(&tested(&about_redis(postgres), &[]).await, &["tests.toml:4:1: no rule of `threshold` is about a postgres server"]);

    let settings = "settings.rules = [{ id = \"full\", metric = \"pharos_redis_keys\", above = \"x\", severity = \"warning\" }]\n";
    let own = format!("[[case]]\nname = \"a\"\n{settings}expect = [{{ at = \"10s\", alerts = [] }}]\n");
    refused(
        &tested(&about_redis(&own), &[]).await,
        &["tests.toml:6:72: `settings.rules[0].above`: invalid type: string \"x\", expected f64"],
    );
    let both = own.replace("above = \"x\"", "above = 1, below = 2");
    let (code, _, stderr) = tested(&about_redis(&both), &[]).await;
    assert!(code == Some(78) && stderr.contains("`settings.rules[0].below`: rule `full`: `below`: a rule has one threshold"), "{stderr}");
}

#[tokio::test]
async fn a_plugin_that_is_not_there_is_refused() {
    let case = "subject.kind = \"redis\"\n[[case]]\nname = \"a\"\nexpect = [{ at = \"10s\", alerts = [] }]\n";
    let of = |plugin: &str| format!("plugin = \"{plugin}\"\n{case}");
    refused(
        &tested(&of("redis-esentials"), &[]).await,
        &[
            "tests.toml:1:10: no shipped plugin is named `redis-esentials`; did you mean `redis-essentials`?; a file of your own is a path ending in `.wasm`",
        ],
    );
    let (code, _, stderr) = tested(&of("my/rule.wasm"), &[]).await;
    assert!(code == Some(78) && stderr == "tests.toml:1:10: there is no file my/rule.wasm\n", "{stderr}");
    refused(
        &tested(&of("webhook"), &[]).await,
        &[&format!("tests.toml:1:10: {}/webhook.wasm is a notifier-plugin, and has no rules", plugins())],
    );
    let folder = tempfile::tempdir().unwrap();
    std::fs::write(folder.path().join("tests.toml"), of("broken.wasm")).unwrap();
    std::fs::write(folder.path().join("broken.wasm"), "no component").unwrap();
    let (code, _, stderr) = test(&[&folder.path().join("tests.toml")], &[]).await;
    assert!(code == Some(1) && stderr.contains("broken.wasm") && stderr.contains("is not WebAssembly"), "{stderr}");
}

#[tokio::test]
async fn a_recorded_snapshot_can_be_what_a_case_stands_on() {
    let folder = tempfile::tempdir().unwrap();
    let reading = |value: f64| {
        serde_json::json!({
            "at": { "secs": 5, "nanos": 0 }, "fresh_until": { "secs": 9, "nanos": 0 }, "epoch": 7, "tables": [],
            "families": [{ "metric": "pharos_redis_memory_used_ratio", "labels": [], "values": [value] }],
        })
    };
    let recorded = serde_json::json!({
        "snapshot": {
            "subject": { "kind": "redis", "id": "cache9:6379", "version": "7.2.4", "labels": [{ "name": "server", "value": "cache9:6379" }] },
            "taken_at_ms": 1, "taken_at": { "secs": 5, "nanos": 0 }, "interval": { "secs": 10, "nanos": 0 }, "members": [],
            "parts": { "info": { "state": { "state": "present" }, "reading": reading(0.9), "last_read": { "secs": 5, "nanos": 0 } } },
        },
        "rates": {},
    });
    std::fs::write(folder.path().join("cache9.json"), recorded.to_string()).unwrap();
    let text = about_redis(
        r#"
[[case]]
name = "as it was"
snapshot = "cache9.json"
settings.rules = [{ id = "full", metric = "pharos_redis_memory_used_ratio", above = 0.8, severity = "warning", summary = "{server} is full" }]
expect = [{ at = "0s", alerts = [{ rule = "full", severity = "warning", state = "firing", title = "cache9:6379 is full" }] }]
[[case]]
name = "with other memory"
snapshot = "cache9.json"
series = [{ metric = "pharos_redis_memory_used_ratio", values = "0.5" }]
expect = [{ at = "1m", alerts = [] }]
"#,
    );
    std::fs::write(folder.path().join("tests.toml"), &text).unwrap();
    let (code, stdout, stderr) = test(&[&folder.path().join("tests.toml")], &[]).await;
    assert_eq!(code, Some(0), "{stdout}{stderr}");
    std::fs::write(folder.path().join("cache9.json"), "{}").unwrap();
    let (code, _, stderr) = test(&[&folder.path().join("tests.toml")], &[]).await;
    assert!(code == Some(78) && stderr.contains("cache9.json is not a snapshot that `pharos snapshot` recorded"), "{stderr}");
}
