//! The demo leaves no process and no file behind, whenever it ends.
//!
//! The throw-away servers, the application and its faults, each on the real thing.

use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use axum::http::StatusCode;
use pharos::demo::application::{Application, DATNAME};
use pharos::demo::binaries::{PostgresBinaries, find_redis};
use pharos::demo::faults::Fault;
use pharos::demo::postgres::{
    Authentication, MONITORING_ROLE, PostgresError, PostgresOptions, PostgresServer, SUPERUSER, ShutdownMode, TlsFiles,
};
use pharos::demo::receiver::{Count, Receiver, Reply};
use pharos::demo::redis::{RedisOptions, RedisServer};
use pharos::demo::schedule::{Schedule, Slot};
use pharos::demo::session::Session;
use rustix::process::Signal;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::time::timeout;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use crate::fixture::program::{Running, command};
use crate::fixture::wait::{holds, until};
use crate::fixture::{PATIENCE, eventually, get, shipped};

/// How long a frozen server is given to show that it is not frozen.
const SILENCE: Duration = Duration::from_millis(500);

async fn binaries() -> Result<PostgresBinaries> {
    let folder = std::env::var_os("PHAROS_TEST_POSTGRES").map(PathBuf::from);
    Ok(PostgresBinaries::find(folder.as_deref()).await?)
}

/// Whether the session answers in this time.
async fn answers(session: &Session, within: Duration) -> bool {
    timeout(within, session.run("SELECT 1")).await.is_ok_and(|answer| answer.is_ok())
}

/// A zombie does not count: it only waits for init to read its exit status.
fn exists(pid: u32) -> bool {
    std::fs::read_link(format!("/proc/{pid}/cwd")).is_ok()
}

#[tokio::test]
async fn dropped_servers_leave_no_process_no_file_and_no_shared_memory() -> Result<()> {
    let tasks = TaskTracker::new();
    let primary = PostgresServer::start(&binaries().await?, PostgresOptions::default(), &tasks).await?;
    let mut standby = primary.start_standby("standby", Vec::new(), &tasks).await?;
    let redis = RedisServer::start(&find_redis(None)?, RedisOptions::default()).await?;
    let pids = [primary.pids(), standby.pids(), redis.pid().into_iter().collect()].concat();
    let folders = [primary.socket_dir().to_owned(), standby.socket_dir().to_owned()];
    let segment = std::fs::read_to_string(standby.data_dir().join("postmaster.pid"))?;
    let segment = segment.lines().nth(6).and_then(|line| line.split_whitespace().nth(1)).context("a segment")?.to_owned();
    let segments = || std::fs::read_to_string("/proc/sysvipc/shm").map(|table| table.split_whitespace().any(|word| word == segment));
    ensure!(segments()?, "the segment is there while its server runs");

    primary.freeze().await?;
    redis.freeze().await?;
    standby.kill().await?;
    drop((primary, standby, redis));

    for pid in pids {
        ensure!(!exists(pid), "process {pid} is left");
    }
    for folder in folders {
        ensure!(!folder.exists(), "{} is left", folder.display());
    }
    ensure!(!segments()?, "the segment of a killed server is left");
    Ok(())
}

#[tokio::test]
async fn a_server_freezes_as_a_whole_and_in_parts() -> Result<()> {
    let tasks = TaskTracker::new();
    let server = PostgresServer::start(&binaries().await?, PostgresOptions::default(), &tasks).await?;
    let [one, other] = [server.connect(SUPERUSER, "postgres").await?, server.connect(SUPERUSER, "postgres").await?];

    server.freeze().await?;
    ensure!(!answers(&one, SILENCE).await, "a frozen server answers");
    server.thaw()?;
    ensure!(answers(&one, PATIENCE).await, "a thawed server does not answer");

    server.freeze_postmaster().await?;
    ensure!(answers(&one, PATIENCE).await, "an open session does not go on");
    ensure!(timeout(SILENCE, server.connect(SUPERUSER, "postgres")).await.is_err(), "a new session came in");
    server.thaw_postmaster()?;

    let backend: i32 = one.query_value("SELECT pg_backend_pid()").await?;
    server.freeze_backend(backend.try_into()?).await?;
    ensure!(!answers(&one, SILENCE).await, "a frozen backend answers");
    ensure!(answers(&other, PATIENCE).await, "another backend does not answer");
    server.thaw_backend(backend.try_into()?)?;
    ensure!(server.freeze_backend(1).await.is_err(), "process 1 is none of the server");
    Ok(())
}

#[tokio::test]
async fn a_server_comes_back_on_its_port_after_every_kind_of_end() -> Result<()> {
    let tasks = TaskTracker::new();
    let mut primary = PostgresServer::start(&binaries().await?, PostgresOptions::default(), &tasks).await?;
    let standby = primary.start_standby("standby", Vec::new(), &tasks).await?;
    let port = primary.port();
    primary.create_database("kept").await?;
    for mode in [ShutdownMode::Smart, ShutdownMode::Immediate] {
        if mode != ShutdownMode::Smart {
            primary.freeze().await?;
        }
        primary.stop(mode).await?;
        ensure!(matches!(primary.thaw(), Err(PostgresError::Stopped)), "a stopped server has no processes");
        primary.restart().await?;
    }
    primary.kill().await?;
    primary.restart().await?;
    ensure!(primary.port() == port, "the port changed");
    let session = primary.connect(SUPERUSER, "kept").await?;
    eventually(&session, "SELECT EXISTS (SELECT FROM pg_stat_replication WHERE application_name = 'standby' AND state = 'streaming')")
        .await;
    session.run("CREATE TABLE replayed ()").await?;
    let session = standby.connect(SUPERUSER, "kept").await?;
    eventually(&session, "SELECT to_regclass('replayed') IS NOT NULL AND pg_is_in_recovery()").await;
    Ok(())
}

#[tokio::test]
async fn tls_and_passwords_guard_tcp_and_the_standby_still_comes_in() -> Result<()> {
    let tasks = TaskTracker::new();
    let files = tempfile::tempdir()?;
    let tls = TlsFiles { certificate: files.path().join("a.crt"), key: files.path().join("a.key") };
    let made = std::process::Command::new("openssl")
        .args(["req", "-x509", "-newkey", "rsa:2048", "-nodes", "-days", "1", "-subj", "/CN=localhost", "-out"])
        .arg(&tls.certificate)
        .arg("-keyout")
        .arg(&tls.key)
        .output()?;
    ensure!(made.status.success(), "openssl failed");
    let password = r"it's a \ difficult one".to_owned();
    let authentication = Authentication::Scram { password: password.clone() };
    let options = PostgresOptions { authentication, tls: Some(tls), ..PostgresOptions::default() };
    let primary = PostgresServer::start(&binaries().await?, options, &tasks).await?;
    primary.create_monitoring_role(Some(&password)).await?;
    let standby = primary.start_standby("stand'by \\", Vec::new(), &tasks).await?;

    let session = primary.connect(SUPERUSER, "postgres").await?;
    eventually(
        &session,
        r"SELECT EXISTS (SELECT FROM pg_stat_replication JOIN pg_stat_ssl USING (pid) WHERE ssl AND application_name = 'stand''by \')",
    )
    .await;
    let mut config: tokio_postgres::Config = standby.url(MONITORING_ROLE, "postgres").parse()?;
    config.ssl_mode(tokio_postgres::config::SslMode::Disable);
    ensure!(config.connect(tokio_postgres::NoTls).await.is_err(), "no password was asked for");
    let (client, connection) = config.password(&password).connect(tokio_postgres::NoTls).await?;
    tasks.spawn(connection);
    let monitors: bool = client.query_one("SELECT pg_has_role('pg_monitor', 'MEMBER')", &[]).await?.get(0);
    ensure!(monitors, "the role is no member of pg_monitor");
    Ok(())
}

#[tokio::test]
async fn a_server_that_cannot_start_says_why() -> Result<()> {
    let settings = vec![("shared_buffers".to_owned(), "much".to_owned())];
    let options = PostgresOptions { settings, ..PostgresOptions::default() };
    let error = PostgresServer::start(&binaries().await?, options, &TaskTracker::new()).await.err().context("it started")?;
    ensure!(error.to_string().contains("invalid value for parameter \"shared_buffers\""), "{error}");
    let options = RedisOptions { settings: vec![("maxmemory".to_owned(), "much".to_owned())], ..RedisOptions::default() };
    let error = RedisServer::start(&find_redis(None)?, options).await.err().context("it started")?;
    ensure!(error.to_string().contains("maxmemory much"), "{error}");
    let missing = PostgresBinaries::find(Some(Path::new("/nowhere"))).await.err().context("found")?;
    ensure!(missing.to_string() == "/nowhere has no program `initdb`", "{missing}");
    Ok(())
}

#[tokio::test]
async fn each_fault_shows_in_the_servers_own_views_and_heals() -> Result<()> {
    let tasks = TaskTracker::new();
    let stop = CancellationToken::new();
    let primary = PostgresServer::start(&binaries().await?, PostgresOptions::default(), &tasks).await?;
    let standby = primary.start_standby("standby", Vec::new(), &tasks).await?;
    let redis = RedisServer::start(&find_redis(None)?, RedisOptions::default()).await?;
    let application = Application::install(&primary, &redis).await?;
    application.spawn(&tasks, &stop);
    let on_primary = primary.connect(SUPERUSER, DATNAME).await?;
    let on_standby = standby.connect(SUPERUSER, "postgres").await?;
    eventually(&on_primary, "SELECT count(*) > 20 FROM analytics_events WHERE id > 20000").await;

    let locks = Fault::lock_pile_up(primary.address(), &tasks);
    let blocked = "SELECT count(*) FROM pg_stat_activity WHERE cardinality(pg_blocking_pids(pid)) > 0";
    locks.cause().await?;
    ensure!(on_primary.query_value::<i64>(blocked).await? == 6, "six sessions wait");
    locks.heal().await?;
    ensure!(on_primary.query_value::<i64>(blocked).await? == 0, "no session waits");

    let slow = Fault::slow_query(primary.address(), &tasks);
    slow.cause().await?;
    eventually(
        &on_primary,
        "SELECT EXISTS (SELECT FROM pg_stat_statements WHERE query LIKE '%AS work%' AND calls > 2 AND mean_exec_time > 1500)",
    )
    .await;
    slow.heal().await?;

    let lag = Fault::replica_lag(primary.address(), standby.address(), &tasks);
    lag.cause().await?;
    eventually(&on_standby, "SELECT now() - pg_last_xact_replay_timestamp() > interval '3 seconds'").await;
    eventually(&on_primary, "SELECT pg_wal_lsn_diff(sent_lsn, replay_lsn) > 500000 FROM pg_stat_replication").await;
    lag.heal().await?;
    eventually(&on_standby, "SELECT now() - pg_last_xact_replay_timestamp() < interval '1 second'").await;

    drop((on_primary, on_standby));
    primary.freeze().await?;
    stop.cancel();
    tasks.close();
    timeout(PATIENCE, tasks.wait()).await.context("a worker outlives its token")?;
    Ok(())
}

/// A folder for everything that a demo makes, which servers may enter.
fn folder() -> Result<tempfile::TempDir> {
    let folder = tempfile::tempdir()?;
    std::fs::set_permissions(folder.path(), std::fs::Permissions::from_mode(0o755))?;
    Ok(folder)
}

fn demo(folder: &Path, duration: &str, log: &Path) -> Result<Running> {
    let mut demo = command(&["demo", "--for", duration]);
    demo.env("TMPDIR", folder).stderr(std::fs::File::create(log)?);
    Ok(Running::printing(demo))
}

/// The agent ends before the servers that it watches.
fn complains_of_no_end(log: &Path) -> Result<()> {
    let log = std::fs::read_to_string(log)?;
    let ends = ["Connection refused", "shutting down", "connection closed"];
    ensure!(!ends.iter().any(|end| log.contains(end)), "{log}");
    Ok(())
}

/// The command lines of all processes that work in the folder or have it among their arguments.
fn processes_of(folder: &Path) -> Result<Vec<String>> {
    let mut found = Vec::new();
    for entry in std::fs::read_dir("/proc")? {
        let process = entry?.path();
        let told = std::fs::read(process.join("cmdline")).unwrap_or_default();
        let told = String::from_utf8_lossy(&told).replace('\0', " ");
        let works = std::fs::read_link(process.join("cwd")).is_ok_and(|cwd| cwd.starts_with(folder));
        if works || told.contains(&folder.display().to_string()) {
            found.push(told);
        }
    }
    Ok(found)
}

fn leaves_nothing(folder: &Path) -> Result<()> {
    let left = std::fs::read_dir(folder)?.collect::<std::io::Result<Vec<_>>>()?;
    ensure!(left.is_empty(), "files are left: {left:?}");
    let left = processes_of(folder)?;
    ensure!(left.is_empty(), "processes are left: {left:?}");
    Ok(())
}

#[tokio::test]
async fn the_demo_reports_each_fault_until_it_is_over_and_ends_by_itself() -> Result<()> {
    shipped();
    let (folder, log) = (folder()?, tempfile::NamedTempFile::new()?);
    let mut demo = demo(folder.path(), "52s", log.path())?;
    let introduction = demo.lines_to("Ctrl-C ends everything").await;
    let urls: Vec<&str> = introduction.iter().filter_map(|line| line.trim().strip_prefix("http://127.0.0.1:")).collect();
    ensure!(urls.len() == 5, "{introduction:#?}");
    for url in urls {
        let (port, path) = url.split_once('/').context("a path")?;
        let (status, body) = get(port.parse()?, &format!("/{path}"), &[]).await;
        ensure!(status == 200, "{url}: {status} {body}");
    }
    let servers = introduction.iter().find(|line| line.starts_with("the agent watches ")).context("servers")?;
    for server in servers.split("127.0.0.1:").skip(1) {
        let port: String = server.chars().take_while(char::is_ascii_digit).collect();
        TcpStream::connect(("127.0.0.1", port.parse()?)).await?;
    }

    let (code, shown) = demo.end().await;
    let shown = shown.join("\n");
    ensure!(code == Some(0), "{code:?}\n{shown}");
    let (told, summary) = shown.split_once("what the receiver got:\n").context(shown.clone())?;
    for (fault, rule) in [("lock pile-up", "lock-pile-up"), ("slow query", "statement-slow"), ("replica lag", "standby-replay-paused")] {
        let steps = [format!("cause  {fault}: "), format!(" {rule} {{"), format!("heal   {fault}"), format!(" {rule} {{")];
        let begins = ["cause", "firing", "heal", "resolved"];
        let mut lines = told.lines();
        for (begin, step) in begins.iter().zip(&steps) {
            ensure!(lines.any(|line| line.starts_with(begin) && line.contains(step)), "no {begin} of {rule} in its turn:\n{shown}");
        }
        ensure!(summary.contains(&format!("  {rule}: fired ")), "{shown}");
    }
    for line in summary.lines() {
        let (fired, resolved) =
            line.split_once(": fired ").and_then(|(_, counts)| counts.split_once(", resolved ")).context(shown.clone())?;
        ensure!(fired == resolved && fired != "0", "{shown}");
    }
    leaves_nothing(folder.path())?;
    complains_of_no_end(log.path())
}

#[tokio::test]
async fn a_signal_ends_the_demo_wherever_it_is_and_nothing_is_left() -> Result<()> {
    // The first moment is a race, so it is tried some times.
    let early = [("starting PostgreSQL", 1, Signal::INT); 6];
    let later = [("Ctrl-C ends everything", 10, Signal::TERM), ("cause  lock pile-up", 10, Signal::INT)];
    for (moment, processes, signal) in early.into_iter().chain(later) {
        let (folder, log) = (folder()?, tempfile::NamedTempFile::new()?);
        let mut demo = demo(folder.path(), "20s", log.path())?;
        demo.line(moment).await;
        until(format_args!("{moment}: {processes} processes"), async || {
            let count = processes_of(folder.path()).map_or(0, |found| found.len());
            holds(count >= processes, || format!("{count} processes"))
        })
        .await;
        demo.signal(signal);
        let (code, shown) = demo.end().await;
        ensure!(code == Some(0), "{moment}: {code:?} {shown:#?}");
        leaves_nothing(folder.path()).context(moment)?;
        complains_of_no_end(log.path())?;
    }
    Ok(())
}

#[test]
fn a_minute_leaves_each_fault_eight_seconds_and_each_alert_time_to_resolve() {
    let whole = |slot: Slot| (slot.begin.as_secs(), slot.end.as_secs());
    let slots: Vec<(u64, u64)> = Schedule::over(Duration::from_secs(60)).slots(3).map(whole).collect();
    assert_eq!(slots, [(7, 16), (22, 30), (36, 45)]);
    // Three rounds of a hundred seconds.
    let slots: Vec<(u64, u64)> = Schedule::over(Duration::from_secs(300)).slots(2).map(whole).collect();
    assert_eq!(slots, [(13, 34), (49, 70)]);
}

async fn post(receiver: &Receiver, body: &str) -> Result<String> {
    let mut stream = TcpStream::connect(("127.0.0.1", receiver.port())).await?;
    let length = body.len();
    let request = format!("POST /alerts HTTP/1.1\r\nhost: x\r\nconnection: close\r\nx-id: 7\r\ncontent-length: {length}\r\n\r\n{body}");
    stream.write_all(request.as_bytes()).await?;
    let mut answer = String::new();
    timeout(PATIENCE, stream.read_to_string(&mut answer)).await??;
    Ok(answer)
}

#[tokio::test]
async fn the_receiver_counts_accepted_requests_and_answers_as_set() -> Result<()> {
    let (tasks, stop) = (TaskTracker::new(), CancellationToken::new());
    let (lines, mut printed) = tokio::sync::mpsc::channel(8);
    let receiver = Receiver::start(Some(lines), &tasks, &stop).await?;
    let body = r#"{"version":"4","alerts":[
        {"status":"firing","fingerprint":"ab","labels":{"alertname":"lag","severity":"warning","server":"a:1"},"annotations":{"summary":"3 s behind"}},
        {"status":"resolved","labels":{"alertname":"lag"},"annotations":{}}]}"#;
    let busy = Reply { headers: vec![("retry-after".parse()?, "2".parse()?)], ..Reply::of(StatusCode::SERVICE_UNAVAILABLE) };
    receiver.reply_next([busy, Reply { delay: Duration::from_millis(200), ..Reply::of(StatusCode::ACCEPTED) }]);

    let refused = post(&receiver, body).await?;
    ensure!(refused.starts_with("HTTP/1.1 503") && refused.contains("retry-after: 2"), "{refused}");
    ensure!(receiver.received(|received| received.count("lag")) == Count::default(), "a refused delivery counts");
    let (answer, seen) = tokio::join!(post(&receiver, body), receiver.wait_until(PATIENCE, |r| r.count("lag").firing == 1));
    ensure!(seen && answer?.starts_with("HTTP/1.1 202"), "the delivery was not accepted");
    ensure!(post(&receiver, "not json").await?.starts_with("HTTP/1.1 200"), "the usual answer is 200");

    let deliveries = receiver.received(|received| received.deliveries().cloned().collect::<Vec<_>>());
    let statuses: Vec<u16> = deliveries.iter().map(|delivery| delivery.status.as_u16()).collect();
    ensure!(statuses == [503, 202, 200], "{statuses:?}");
    ensure!(deliveries[1].body == body && deliveries[1].headers["x-id"] == "7" && deliveries[1].alerts.len() == 2, "{deliveries:?}");
    ensure!(printed.recv().await.as_deref() == Some("firing   warning  lag {server=a:1} 3 s behind"), "the line differs");
    ensure!(printed.recv().await.as_deref() == Some("resolved          lag {} "), "the line differs");

    receiver.reply_otherwise(Reply { delay: PATIENCE * 10, has_it: true, ..Reply::of(StatusCode::OK) });
    let before = receiver.received(|received| received.count("lag").firing);
    let (_, is_received) = tokio::join!(post(&receiver, body), async {
        let is_received = receiver.wait_until(PATIENCE, |received| received.count("lag").firing > before).await;
        stop.cancel();
        is_received
    });
    ensure!(is_received, "the receiver did not get the last delivery");
    tasks.close();
    timeout(PATIENCE, tasks.wait()).await.context("the receiver outlives its token")?;
    Ok(())
}
