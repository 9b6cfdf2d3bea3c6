//! No Redis that refuses the agent's commands counts as up without a report, and no password that a server repeats is shown.
//!
//! Servers that refuse the agent something, from the beginning and later.

use serde_json::Value;

use super::{command, config, ends, fails, fires, is_up, judged, run, start, works};
use crate::fixture::program::output;

const AGENT_RULES: &str =
    "[plugin.agent-essentials.settings.checks]\ncollector-failing = { for = \"0s\" }\nrights-missing = { for = \"0s\" }\n";
const DOWN_AT_ONCE: &str = "[plugin.redis-essentials.settings.checks]\nserver-down = { for = \"0s\" }\n";
const USER: &str = "pharos on >pw ~* +@all -@dangerous";

/// The report of `pharos doctor` about the only server of a config.
async fn doctor(config: &str, files: &[(&str, &str)]) -> (Option<i32>, Value) {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("pharos.toml");
    std::fs::write(&path, format!("[agent]\ndata_dir = \"data\"\n{config}")).unwrap();
    for (name, text) in files {
        std::fs::write(folder.path().join(name), text).unwrap();
    }
    let (code, stdout, stderr) = output(&["doctor", "--json", "--config", &path.display().to_string()]).await;
    let report: Value = serde_json::from_str(&stdout).unwrap_or_else(|err| panic!("{err}: {stdout}{stderr}"));
    (code, report["servers"][0].clone())
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_server_that_wants_a_password_is_down_until_it_gets_the_right_one() {
    let server = start(&[("requirepass", "right")]).await;
    let none = config(&server, "", "");
    let agent = judged(&format!("{DOWN_AT_ONCE}{none}"), &["redis-essentials"]).await;
    let alert = fires(&agent, "server-down", "cannot log in").await;
    let detail = alert["detail"].as_str().unwrap();
    assert!(detail.contains("NOAUTH") && detail.contains("password_file") && detail.contains("ACL SETUSER pharos"), "{alert:#}");
    is_up(&agent, &server, 0.0).await;
    fails(&agent, &server, "authentication").await;
    agent.stop().await;

    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("password");
    std::fs::write(&file, "wrong\n").unwrap();
    let named = config(&server, "", &format!("password_file = \"{}\"", file.display()));
    let agent = judged(&format!("{DOWN_AT_ONCE}{named}"), &["redis-essentials"]).await;
    let alert = fires(&agent, "server-down", "cannot log in").await;
    assert!(alert["detail"].as_str().unwrap().contains("WRONGPASS"), "{alert:#}");
    std::fs::write(&file, "right\n").unwrap();
    works(&agent, &server).await;
    ends(&agent, "server-down").await;
    agent.stop().await;

    let (code, found) = doctor(&none, &[]).await;
    assert_eq!((code, &found["refused"]["reason"]), (Some(1), &Value::from("authentication")), "{found:#}");
    assert!(found["refused"]["why"].as_str().unwrap().contains("password_file"), "{found:#}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_server_that_repeats_unknown_commands_reveals_no_password() {
    let server = start(&[("rename-command", "AUTH \"\"")]).await;
    let folder = tempfile::tempdir().unwrap();
    std::fs::write(folder.path().join("pw"), "correct-horse").unwrap();
    let named = config(&server, "pharos", &format!("password_file = \"{}\"", folder.path().join("pw").display()));
    let agent = judged(&format!("{DOWN_AT_ONCE}{named}"), &["redis-essentials"]).await;
    let alert = fires(&agent, "server-down", "may not know AUTH").await;
    for text in [alert.to_string(), agent.text("/api/services/status").await, agent.text("/api/alerts").await] {
        assert!(!text.contains("correct-horse"), "{text}");
    }
    agent.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_user_that_may_not_run_info_is_reported_with_the_command_that_grants_it() {
    let server = start(&[("user", USER)]).await;
    let folder = tempfile::tempdir().unwrap();
    std::fs::write(folder.path().join("pw"), "pw").unwrap();
    let config = config(&server, "pharos", &format!("password_file = \"{}\"", folder.path().join("pw").display()));
    let (code, found) = doctor(&config, &[]).await;
    let why = found["parts"][0]["why"][0].as_str().unwrap();
    assert_eq!((code, &found["ok"], &found["parts"][0]["state"]), (Some(1), &Value::from(false), &Value::from("failed")));
    assert!(why.contains("NOPERM") && why.ends_with("run: ACL SETUSER pharos +info"), "{why}");

    let agent = judged(&format!("{AGENT_RULES}{config}"), &["agent-essentials"]).await;
    let alert = fires(&agent, "rights-missing", "may not run INFO").await;
    assert!(!alert.to_string().contains("pg_monitor"), "{alert:#}");
    is_up(&agent, &server, 1.0).await;
    fails(&agent, &server, "privilege").await;
    let cure = command(&alert, "ACL SETUSER");
    run(&mut server.connect().await.unwrap(), &cure).await;
    works(&agent, &server).await;
    ends(&agent, "rights-missing").await;
    agent.stop().await;

    // Nothing more than that line is needed, the name of the user apart.
    let mut admin = server.connect().await.unwrap();
    run(&mut admin, "ACL SETUSER pharos reset on >pw +info").await;
    let (code, found) = doctor(&config, &[]).await;
    assert_eq!((code, &found["ok"]), (Some(0), &Value::from(true)), "{found:#}");
}

/// A user without a password logs in under its own name, and not as the server's default user.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_user_of_the_url_is_logged_in_without_a_password_as_well() {
    let server = start(&[("user", "pharos on nopass +ping")]).await;
    let agent = judged(&format!("{AGENT_RULES}{}", config(&server, "pharos", "")), &["agent-essentials"]).await;
    fires(&agent, "rights-missing", "ACL SETUSER pharos +info").await;
    agent.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_server_that_renamed_info_is_reported_although_it_answers() {
    let server = start(&[("rename-command", "INFO hidden"), ("rename-command", "PING hidden-too")]).await;
    let agent = judged(&format!("{AGENT_RULES}{}", config(&server, "", "")), &["agent-essentials"]).await;
    let alert = fires(&agent, "collector-failing", "unknown command").await;
    assert!(alert["fix"].as_str().unwrap().contains("rename-command"), "{alert:#}");
    is_up(&agent, &server, 1.0).await;
    fails(&agent, &server, "query").await;
    agent.stop().await;
}

/// The script never writes, so the printed command ends it.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_server_that_is_busy_with_a_script_is_down_and_the_cure_ends_it() {
    let server = start(&[("busy-reply-threshold", "50")]).await;
    let agent = judged(&format!("{DOWN_AT_ONCE}{}", config(&server, "", "")), &["redis-essentials"]).await;
    works(&agent, &server).await;
    let mut client = server.connect().await.unwrap();
    let (tasks, _stop) = crate::fixture::runtime_tasks();
    tasks.spawn(async move {
        let script = ::redis::cmd("EVAL").arg("while true do end").arg(0).query_async::<()>(&mut client).await;
        drop((script, client));
    });
    let alert = fires(&agent, "server-down", "busy by a script").await;
    fails(&agent, &server, "busy").await;
    let printed = command(&alert, "redis-cli");
    let words: Vec<&str> = printed.split_whitespace().collect();
    let said = tokio::process::Command::new(words[0]).args(&words[1..]).output().await.unwrap();
    assert_eq!(String::from_utf8_lossy(&said.stdout).trim(), "OK", "{printed}: {said:?}");
    works(&agent, &server).await;
    ends(&agent, "server-down").await;
    agent.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_server_without_a_place_left_is_down_with_its_own_words() {
    let server = start(&[("maxclients", "1")]).await;
    let holder = server.connect().await.unwrap();
    let agent = judged(&format!("{DOWN_AT_ONCE}{}", config(&server, "", "")), &["redis-essentials"]).await;
    fires(&agent, "server-down", "max number of clients reached").await;
    fails(&agent, &server, "closed").await;
    drop(holder);
    works(&agent, &server).await;
    agent.stop().await;
}

/// What a user may is taken away and given back while the agent runs.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn rights_that_are_lost_resolve_nothing_and_are_noticed_when_they_are_back() {
    let server = start(&[("user", "pharos on >pw +info")]).await;
    let folder = tempfile::tempdir().unwrap();
    std::fs::write(folder.path().join("pw"), "pw").unwrap();
    let rule = "[[plugin.threshold.settings.rules]]\nid = \"keys\"\nmetric = \"pharos_redis_keys\"\nabove = 0\nseverity = \"warning\"\nfor = \"0s\"\n";
    let named = config(&server, "pharos", &format!("password_file = \"{}\"", folder.path().join("pw").display()));
    let agent = judged(&format!("{AGENT_RULES}{rule}{named}"), &["agent-essentials", "threshold"]).await;
    let mut admin = server.connect().await.unwrap();
    run(&mut admin, "SET a b").await;
    let incident = fires(&agent, "keys", "").await["incident"].clone();
    let still =
        |alerts: &Value| super::of_rule(alerts, "keys").is_some_and(|alert| alert["incident"] == incident && alert["state"] == "firing");
    let frozen = |alerts: &Value| still(alerts) && super::of_rule(alerts, "keys").is_some_and(|alert| !alert["frozen"].is_null());
    let keys = crate::fixture::series("pharos_redis_keys", server.port(), &[("db", "db0")]);
    for (loss, reason, back) in [
        ("ACL SETUSER pharos -info", "privilege", "ACL SETUSER pharos +info"),
        ("ACL SETUSER pharos -@all", "privilege", "ACL SETUSER pharos +info"),
        // A section other than the requested one.
        ("ACL SETUSER pharos -info +info|memory", "privilege", "ACL SETUSER pharos +info"),
        // Ends the session, and there is no other one.
        ("ACL DELUSER pharos", "authentication", "ACL SETUSER pharos on >pw +info"),
    ] {
        run(&mut admin, loss).await;
        fails(&agent, &server, reason).await;
        agent.wait_json("/api/alerts", frozen).await;
        assert_eq!(agent.series(&keys).await, None, "{loss}: a number that is not known is shown");
        run(&mut admin, back).await;
        works(&agent, &server).await;
        agent.wait_series(&keys, |keys| keys == 1.0).await;
        let alerts = agent.wait_json("/api/alerts", |alerts| still(alerts) && !frozen(alerts)).await;
        assert!(still(&alerts), "{loss}: {alerts:#}");
    }
    agent.stop().await;
}
