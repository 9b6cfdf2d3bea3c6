//! No text of a server decides anything, since it is in the server's language.
//!
//! Servers that speak German: what they refuse is understood by its code, and none waits for the agent.

use std::fs;
use std::process::Command;

use pharos::config::database::TlsConfig;
use pharos::demo::account::Account;
use pharos::demo::postgres::{MONITORING_ROLE, PostgresOptions, PostgresServer, ShutdownMode};
use pharos::demo::session::Session;
use tempfile::TempDir;
use tokio_util::task::TaskTracker;

use super::{our_backends, session, wait_whole};
use crate::fixture::wait::{fitting, until};
use crate::fixture::{TestAgent, eventually, part_name, postgres_with, runtime_tasks, server_id};
use crate::sessions::connector;

/// A German server, and the folder of its language.
async fn german(tasks: &TaskTracker) -> (PostgresServer, TempDir) {
    let folder = Account::choose().expect("an account for servers").folder("pharos-locale-").expect("a temporary folder");
    let locale = folder.path().join("de_DE.UTF-8");
    let made = Command::new("localedef")
        .args(["-i", "de_DE", "-f", "UTF-8"])
        .arg(&locale)
        .output()
        .expect("locales is installed: run scripts/setup.sh");
    // It warns of what the locale leaves out and makes it all the same.
    assert!(locale.join("LC_MESSAGES").is_dir(), "{}", String::from_utf8_lossy(&made.stderr));
    let readable = Command::new("chmod").args(["-R", "a+rX"]).arg(folder.path()).status().expect("chmod runs");
    assert!(readable.success());
    let options = PostgresOptions {
        settings: vec![("lc_messages".to_owned(), "de_DE.UTF-8".to_owned())],
        environment: vec![("LOCPATH".to_owned(), folder.path().display().to_string())],
        ..PostgresOptions::default()
    };
    let server = postgres_with(options, tasks).await;
    let speaks: String = session(&server).await.query_value("SELECT current_setting('lc_messages')").await.unwrap();
    assert_eq!(speaks, "de_DE.UTF-8");
    (server, folder)
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_server_that_shuts_down_in_another_language_does_not_wait_for_us() {
    let (tasks, _stop) = runtime_tasks();
    let (mut server, _folder) = german(&tasks).await;
    let agent = TestAgent::watch(&server).await;
    wait_whole(&agent, &server).await;
    let application = session(&server).await;
    let part = part_name(&server);
    let stopping =
        format!("pharos_collect_failures_total{{server=\"{}\",collector=\"activity\",reason=\"stopping\"}}", server_id(server.port()));
    let watching = async {
        let says = "the server is shutting down; it is asked again until it is back";
        let status = agent.wait_part(&part, |part| part["cause"].as_str().is_some_and(|cause| cause.contains(says))).await;
        assert!(status["cause"].as_str().unwrap().contains("Datenbanksystem"), "it does not speak German: {status:#}");
        agent.wait_series(&stopping, |failures| failures >= 1.0).await;
        eventually(&application, "SELECT NOT EXISTS (SELECT FROM pg_stat_activity WHERE application_name LIKE 'pharos %')").await;
        assert_eq!(our_backends(&application).await, 0);
        drop(application);
    };
    let (stopped, ()) = tokio::join!(server.stop(ShutdownMode::Smart), watching);
    stopped.unwrap();
    server.restart().await.unwrap();
    wait_whole(&agent, &server).await;
}

/// Changes of the server, their undo, and the reason that the refusal must have.
const REFUSALS: [(&str, &str, &str); 9] = [
    ("ALTER ROLE pharos NOLOGIN", "ALTER ROLE pharos LOGIN", "authentication"),
    ("ALTER ROLE pharos RENAME TO other", "ALTER ROLE other RENAME TO pharos", "authentication"),
    ("ALTER ROLE pharos CONNECTION LIMIT 0", "ALTER ROLE pharos CONNECTION LIMIT -1", "role-limit"),
    ("ALTER DATABASE watched CONNECTION LIMIT 0", "ALTER DATABASE watched CONNECTION LIMIT -1", "datname-limit"),
    ("ALTER DATABASE watched ALLOW_CONNECTIONS false", "ALTER DATABASE watched ALLOW_CONNECTIONS true", "datname"),
    ("ALTER DATABASE watched RENAME TO away", "ALTER DATABASE away RENAME TO watched", "datname"),
    (
        "UPDATE pg_database SET datconnlimit = -2 WHERE datname = 'watched'",
        "UPDATE pg_database SET datconnlimit = -1 WHERE datname = 'watched'",
        "datname-invalid",
    ),
    ("REVOKE CONNECT ON DATABASE watched FROM PUBLIC", "GRANT CONNECT ON DATABASE watched TO PUBLIC", "privilege"),
    ("ALTER ROLE pharos SET session_preload_libraries = 'nowhere'", "ALTER ROLE pharos RESET session_preload_libraries", "refused"),
];

async fn hba(server: &PostgresServer, truth: &Session, rules: &str) {
    fs::write(server.data_dir().join("pg_hba.conf"), rules).unwrap();
    truth.run("SELECT pg_reload_conf()").await.unwrap();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn refusals_are_distinguished_by_code_in_any_language() {
    let (tasks, _stop) = runtime_tasks();
    let (server, _folder) = german(&tasks).await;
    server.create_database("watched").await.unwrap();
    let truth = session(&server).await;
    let connector = connector(&server.url(MONITORING_ROLE, "watched"), TlsConfig::default(), &tasks);
    let reason = async || connector.connect().await.err().map(|err| (err.reason().as_str(), format!("{err:?}")));
    for (breaks, mends, expected) in REFUSALS {
        truth.run(breaks).await.unwrap();
        let (seen, text) = reason().await.unwrap_or_else(|| panic!("{breaks}: it lets us in"));
        assert_eq!(seen, expected, "{breaks}: {text}");
        truth.run(mends).await.unwrap();
        connector.connect().await.unwrap_or_else(|err| panic!("{mends}: {err:?}"));
    }
    let open = fs::read_to_string(server.data_dir().join("pg_hba.conf")).unwrap();
    for rules in ["local all all trust\n", "local all all trust\nhost all pharos all reject\n"] {
        hba(&server, &truth, rules).await;
        until(rules, async || {
            fitting(reason().await, |seen| matches!(seen, Some((reason, _)) if *reason == "pg-hba")).map_err(|seen| format!("{seen:?}"))
        })
        .await;
    }
    hba(&server, &truth, &open).await;
}
