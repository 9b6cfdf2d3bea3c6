//! No server has more than two sessions of the agent, or one that can write or wait without end. No missing privilege is reported without
//! its cure.
//!
//! The agent's own sessions: what they may see, how they are encrypted, how few and how harmless they are.

mod certificates;
mod impostor;
mod presets;
mod ways;

use std::path::Path;
use std::process::Command;
use std::time::Duration;

use pharos::config::collect::CollectConfig;
use pharos::config::database::{TlsConfig, TlsMode};
use pharos::demo::postgres::{Authentication, MONITORING_ROLE, PostgresOptions, PostgresServer, SUPERUSER, TlsFiles};
use pharos::postgres::Endpoint;
use pharos::postgres::monitor::{ConnectError, Connector, OddNames, Places, Session, SessionLimits};
use pharos_model::snapshot::FailureReason;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use crate::fixture::wait::{fitting, until};
use crate::fixture::{
    PATIENCE, TestAgent, eventually, part_name, postgres, postgres_config, postgres_with, runtime_tasks, series, server_id,
};

/// The parts that need to see other roles' statistics.
const PRIVILEGED: [&str; 4] = ["activity", "locks", "replication", "statements"];
const OPEN: [&str; 4] = ["up", "server", "database", "accept"];

pub fn connector(url: &str, tls: TlsConfig, tasks: &TaskTracker) -> Connector {
    Connector {
        endpoint: Endpoint { address: url.parse().expect("a URL"), password: None, tls, application_name: "pharos test".to_owned() },
        limits: SessionLimits::from(&CollectConfig::default()),
        tasks: tasks.clone(),
        stop: CancellationToken::new(),
        places: Places::default(),
        odd_names: OddNames::default(),
    }
}

fn config(url: &str) -> String {
    format!("[[database]]\nname = \"app\"\nprimary = \"{url}\"\n")
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_role_with_pg_monitor_alone_sees_everything() {
    let (tasks, _stop) = runtime_tasks();
    let server = postgres(&tasks).await;
    let agent = TestAgent::watch(&server).await;
    let is_present = |part: &str, parts: &serde_json::Value| parts[part]["state"] == "present";
    agent.wait_facts(&server_id(server.port()), |parts| PRIVILEGED.iter().chain(&OPEN).all(|part| is_present(part, parts))).await;
    agent.wait_part(&part_name(&server), |part| part["state"] == "ok").await;
    // No other session is connected, so the values are 0.
    assert_eq!(
        agent.series(&series("pharos_postgres_connections_used_ratio", server.port(), &[])).await.map(|ratio| ratio.to_string()),
        Some("0".to_owned())
    );
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_missing_privilege_or_extension_is_named_with_its_cure() {
    let (tasks, _stop) = runtime_tasks();
    let server = postgres(&tasks).await;
    let setup = server.connect(SUPERUSER, "postgres").await.unwrap();
    setup.run("CREATE ROLE stranger LOGIN; CREATE ROLE half LOGIN IN ROLE pg_read_all_stats").await.unwrap();
    setup.run("CREATE DATABASE bare").await.unwrap();
    let settings = vec![("shared_preload_libraries".to_owned(), String::new())];
    let plain = postgres_with(PostgresOptions { settings, ..PostgresOptions::default() }, &tasks).await;

    let id = server_id(server.port());
    let agent = TestAgent::start_with(&config(&server.url("stranger", "postgres")), Vec::new()).await;
    let cure = |parts: &serde_json::Value, part: &str, cure: &str| {
        parts[part]["state"] == "unsupported" && parts[part]["why"].as_str().is_some_and(|why| why.contains(cure))
    };
    let grant = "GRANT pg_monitor TO \"stranger\"";
    let all_open = |parts: &serde_json::Value| OPEN.iter().all(|part| parts[part]["state"] == "present");
    agent.wait_facts(&id, |parts| all_open(parts) && PRIVILEGED.iter().all(|part| cure(parts, part, grant))).await;
    let part = agent.wait_part(&format!("postgres {id}"), |part| part["state"] == "degraded").await;
    assert!(part["cause"].as_str().unwrap().contains(grant), "{part:#}");

    let agent = TestAgent::start_with(&config(&server.url("half", "postgres")), Vec::new()).await;
    agent.wait_facts(&id, |parts| cure(parts, "statements", "GRANT pg_monitor TO \"half\"")).await;
    let agent = TestAgent::start_with(&config(&server.url(MONITORING_ROLE, "bare")), Vec::new()).await;
    agent.wait_facts(&id, |parts| cure(parts, "statements", "CREATE EXTENSION pg_stat_statements")).await;
    let agent = TestAgent::start_with(&postgres_config("app", &plain), Vec::new()).await;
    agent.wait_facts(&server_id(plain.port()), |parts| cure(parts, "statements", "shared_preload_libraries")).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_agent_has_at_most_two_sessions() {
    const BUSY: &str = r#"
        [collect]
        [collect.interval]
        accept = "300ms"
        server = "100ms"
        activity = "100ms"
        database = "100ms"
        statements = "100ms"
        locks = "100ms"
        replication = "100ms"
    "#;
    let (tasks, _stop) = runtime_tasks();
    let server = postgres(&tasks).await;
    let agent = TestAgent::start_with(&format!("{BUSY}{}", postgres_config("app", &server)), Vec::new()).await;
    let truth = server.connect(SUPERUSER, "postgres").await.unwrap();
    let runs = format!("pharos_collect_runs_total{{server=\"{}\",collector=\"accept\"}}", server_id(server.port()));
    let ours = async || -> i64 {
        let ours = truth.query_value("SELECT count(*) FROM pg_stat_activity WHERE application_name LIKE 'pharos %'").await.unwrap();
        assert!(ours <= 2, "{ours} sessions");
        ours
    };
    until("ten attempts to open a session", async || {
        ours().await;
        fitting(agent.series(&runs).await.unwrap_or(0.0), |runs| *runs >= 10.0)
    })
    .await;
    until("one session, while no new session is opened", async || fitting(ours().await, |ours| *ours == 1)).await;
    assert_eq!(agent.series(&runs.replace("runs_total", "up")).await, Some(1.0));
    // The new session waits during its start, where it can be seen as a process only.
    let title = |pid: u32| std::fs::read_to_string(format!("/proc/{pid}/cmdline")).unwrap_or_default();
    let is_ours = |title: &String| title.contains(&format!(": {MONITORING_ROLE} "));
    truth.run("BEGIN; LOCK TABLE pg_catalog.pg_class IN ACCESS EXCLUSIVE MODE").await.unwrap();
    until("two sessions, while the second is held", async || {
        fitting(server.pids().into_iter().map(title).filter(is_ours).count(), |sessions| *sessions == 2)
    })
    .await;
    truth.run("COMMIT").await.unwrap();
}

async fn setting(session: &Session, name: &str) -> String {
    let rows = session.query(&format!("SELECT current_setting('{name}') AS value"), &[]).await.expect("PostgreSQL answers");
    rows[0].get("value").expect("a text")
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn sessions_are_read_only_and_every_wait_is_bounded() {
    let (tasks, _stop) = runtime_tasks();
    let server = postgres(&tasks).await;
    // As superuser, so that nothing but the session's own limits could hold it back.
    let session = connector(&server.url(SUPERUSER, "postgres"), TlsConfig::default(), &tasks).connect().await.unwrap();
    for (name, value) in [
        ("application_name", "pharos test"),
        ("default_transaction_read_only", "on"),
        ("search_path", "pg_catalog"),
        ("lock_timeout", "200ms"),
        ("statement_timeout", "3s"),
        ("idle_in_transaction_session_timeout", "4s"),
    ] {
        assert_eq!(setting(&session, name).await, value, "{name}");
    }
    let refused = session.query("CREATE TABLE public.written ()", &[]).await.unwrap_err();
    assert!(format!("{refused:?}").contains("25006"), "{refused:?}");
    assert!(!refused.ends_session());
    let too_long = session.query("SELECT pg_sleep(60)", &[]).await.unwrap_err();
    assert_eq!((too_long.reason(), too_long.ends_session()), (FailureReason::StatementTimeout, false));
    assert_eq!(setting(&session, "search_path").await, "pg_catalog");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_run_has_one_deadline_for_all_its_statements() {
    let (tasks, _stop) = runtime_tasks();
    let server = postgres(&tasks).await;
    let connector = connector(&server.url(MONITORING_ROLE, "postgres"), TlsConfig::default(), &tasks);
    let mut session = connector.connect().await.unwrap();
    let (deadline, statement_timeout) = (Duration::from_secs(3), Duration::from_millis(2_900));
    // Each run has the whole deadline: all together they sleep longer than one may take, and each has far more time than it needs.
    for _ in 0..17 {
        session.begin("test", deadline, statement_timeout).await.unwrap();
        assert_eq!(setting(&session, "statement_timeout").await, "2900ms");
        session.query("SELECT pg_sleep(0.2)", &[]).await.unwrap();
    }
    // In one run no more of them fit than the deadline has room for. On a busy machine it is fewer.
    session.begin("test", deadline, statement_timeout).await.unwrap();
    let mut done = 0;
    let ended = loop {
        match session.query("SELECT pg_sleep(0.2)", &[]).await {
            Ok(_) => done += 1,
            Err(err) => break err.reason(),
        }
        assert!(done <= 15, "{done} statements of 0.2 s fitted into {deadline:?}");
    };
    assert_eq!(ended, FailureReason::Timeout, "after {done} statements");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn past_its_deadline_a_statement_is_cancelled_on_the_server() {
    let (tasks, _stop) = runtime_tasks();
    let server = postgres(&tasks).await;
    let mut session = connector(&server.url(MONITORING_ROLE, "postgres"), TlsConfig::default(), &tasks).connect().await.unwrap();
    let truth = server.connect(SUPERUSER, "postgres").await.unwrap();
    let hour = Duration::from_secs(3_600);
    session.begin("test", Duration::from_secs(2), hour).await.unwrap();
    let err = session.query("SELECT pg_sleep(3600)", &[]).await.unwrap_err();
    assert_eq!((err.reason(), err.ends_session()), (FailureReason::Timeout, true));
    // The session is still held, so nothing but the cancel request ends the statement.
    eventually(&truth, "SELECT state = 'idle' FROM pg_stat_activity WHERE application_name = 'pharos test'").await;
    drop(session);
    eventually(&truth, "SELECT NOT EXISTS (SELECT FROM pg_stat_activity WHERE application_name = 'pharos test')").await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_unix_socket_needs_no_port_on_the_network() {
    let (tasks, _stop) = runtime_tasks();
    let settings = vec![("listen_addresses".to_owned(), String::new())];
    let server = postgres_with(PostgresOptions { settings, ..PostgresOptions::default() }, &tasks).await;
    let folder = server.socket_dir().display().to_string();
    let url = format!("postgresql://{MONITORING_ROLE}@{}:{}/postgres", folder.replace('/', "%2F"), server.port());
    let agent = TestAgent::start_with(&config(&url), Vec::new()).await;
    agent.wait_facts(&format!("{folder}:{}", server.port()), |parts| PRIVILEGED.iter().all(|part| parts[part]["state"] == "present")).await;
}

/// An authority, and a certificate from it for this name.
pub fn certificates(folder: &Path, name: &str) -> TlsFiles {
    let script = format!(
        "openssl req -x509 -newkey ec -pkeyopt ec_paramgen_curve:P-256 -nodes -days 2 -subj '/CN=Test authority' -keyout ca.key -out ca.crt &&
         openssl req -newkey ec -pkeyopt ec_paramgen_curve:P-256 -nodes -subj '/CN={name}' -keyout server.key -out server.csr &&
         printf 'subjectAltName=DNS:{name}' > server.ext &&
         openssl x509 -req -in server.csr -CA ca.crt -CAkey ca.key -CAcreateserial -days 2 -extfile server.ext -out server.crt"
    );
    let made = Command::new("sh").args(["-c", &script]).current_dir(folder).output().expect("openssl is installed");
    assert!(made.status.success(), "{}", String::from_utf8_lossy(&made.stderr));
    TlsFiles { certificate: folder.join("server.crt"), key: folder.join("server.key") }
}

async fn try_tls(
    server: &PostgresServer,
    host: &str,
    mode: TlsMode,
    ca: Option<&Path>,
    tasks: &TaskTracker,
) -> Result<Session, ConnectError> {
    let url = format!("postgresql://{MONITORING_ROLE}@{host}:{}/postgres", server.port());
    connector(&url, TlsConfig { mode: Some(mode), ca: ca.map(Path::to_owned) }, tasks).connect().await
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn tls_is_checked_as_far_as_its_mode_says() {
    let (tasks, _stop) = runtime_tasks();
    let [files, others] = [tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap()];
    let tls = Some(certificates(files.path(), "localhost"));
    certificates(others.path(), "localhost");
    let server = postgres_with(PostgresOptions { tls, ..PostgresOptions::default() }, &tasks).await;
    let ca = files.path().join("ca.crt");
    let is_encrypted = async |session: Session| {
        let rows = session.query("SELECT ssl FROM pg_stat_ssl WHERE pid = pg_backend_pid()", &[]).await.unwrap();
        rows[0].get::<bool>("ssl").unwrap()
    };
    for (host, mode, ca) in [
        ("localhost", TlsMode::VerifyFull, Some(ca.as_path())),
        ("127.0.0.1", TlsMode::VerifyCa, Some(ca.as_path())),
        ("127.0.0.1", TlsMode::Require, None),
    ] {
        let session = try_tls(&server, host, mode, ca, &tasks).await.unwrap_or_else(|err| panic!("{host} {mode:?}: {err:?}"));
        assert!(is_encrypted(session).await, "{host} {mode:?}");
    }
    let session = try_tls(&server, "localhost", TlsMode::Disable, None, &tasks).await.unwrap();
    assert!(!is_encrypted(session).await);

    let foreign = others.path().join("ca.crt");
    for (host, mode, ca) in [
        ("127.0.0.1", TlsMode::VerifyFull, Some(ca.as_path())),
        ("localhost", TlsMode::VerifyFull, Some(foreign.as_path())),
        ("localhost", TlsMode::VerifyCa, Some(foreign.as_path())),
        ("localhost", TlsMode::VerifyCa, Some(Path::new("/nowhere/ca.crt"))),
    ] {
        let err = try_tls(&server, host, mode, ca, &tasks).await.err().unwrap_or_else(|| panic!("{host} {mode:?} {ca:?} was accepted"));
        assert_eq!(err.reason().as_str(), "tls", "{host} {mode:?}: {err:?}");
    }
    // Linux leads this address to 127.0.0.1, but it is none of loopback: nothing less than verify-full holds by itself.
    let elsewhere = "0.0.0.0";
    let by_default = async |ca: Option<&Path>| {
        let url = format!("postgresql://{MONITORING_ROLE}@{elsewhere}:{}/postgres", server.port());
        connector(&url, TlsConfig { mode: None, ca: ca.map(Path::to_owned) }, &tasks).connect().await
    };
    assert_eq!(by_default(None).await.err().expect("no trusted authority signed it").reason().as_str(), "tls");
    assert_eq!(by_default(Some(&ca)).await.err().expect("the name is another").reason().as_str(), "tls");
    try_tls(&server, elsewhere, TlsMode::VerifyCa, Some(&ca), &tasks).await.expect("but for the name it is right");
    let plain = postgres(&tasks).await;
    let err = try_tls(&plain, "localhost", TlsMode::Require, None, &tasks).await.err().expect("plain text is refused");
    assert_eq!(err.reason().as_str(), "tls", "{err:?}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_renewed_authority_is_read_without_a_restart() {
    let (tasks, _stop) = runtime_tasks();
    let [files, old] = [tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap()];
    let tls = Some(certificates(files.path(), "localhost"));
    certificates(old.path(), "localhost");
    let server = postgres_with(PostgresOptions { tls, ..PostgresOptions::default() }, &tasks).await;
    let ca = old.path().join("ca.crt");
    let url = format!("postgresql://{MONITORING_ROLE}@localhost:{}/postgres", server.port());
    let config = format!("{}tls = {{ mode = \"verify-full\", ca = \"{}\" }}\n", config(&url), ca.display());
    let agent = TestAgent::start_with(&config, Vec::new()).await;
    let name = format!("postgres localhost:{}", server.port());
    let part = agent.wait_part(&name, |part| part["state"] == "degraded").await;
    assert!(part["cause"].as_str().unwrap().contains("certificate"), "{part:#}");
    std::fs::copy(files.path().join("ca.crt"), &ca).unwrap();
    agent.wait_part(&name, |part| part["state"] == "ok").await;
}

/// A server that wants passwords; that of the monitoring role is `right`.
async fn behind_passwords(tasks: &TaskTracker) -> PostgresServer {
    let authentication = Authentication::Scram { password: "of the superuser".to_owned() };
    let server = postgres_with(PostgresOptions { authentication, ..PostgresOptions::default() }, tasks).await;
    let setup = server.connect(SUPERUSER, "postgres").await.unwrap();
    setup.run(&format!("ALTER ROLE {MONITORING_ROLE} PASSWORD 'right'")).await.unwrap();
    server
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_password_comes_from_a_file_and_a_wrong_one_is_reported() {
    let (tasks, _stop) = runtime_tasks();
    let server = behind_passwords(&tasks).await;
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("password");
    std::fs::write(&file, "wrong\n").unwrap();
    let config = format!("{}password_file = \"{}\"\n", postgres_config("app", &server), file.display());
    let agent = TestAgent::start_with(&config, Vec::new()).await;
    let name = part_name(&server);
    let part = agent.wait_part(&name, |part| part["state"] == "degraded").await;
    assert!(part["cause"].as_str().unwrap().contains("password authentication failed"), "{part:#}");
    assert!(!part.to_string().contains("wrong"), "{part:#}");
    std::fs::write(&file, "right\n").unwrap();
    agent.wait_part(&name, |part| part["state"] == "ok").await;
    tokio::time::timeout(PATIENCE, agent.stop()).await.expect("it stops");
}
