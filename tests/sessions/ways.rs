//! No trouble on the agent's side is reported as the server's, and no server that is back waits because packets were lost before.
//!
//! The connection to a server: a fault of the connection is reported as a fault of the server only if it is one.

use std::net::{Ipv4Addr, SocketAddr, TcpStream};
use std::time::Duration;

use pharos::config::database::TlsConfig;
use pharos::demo::postgres::{MONITORING_ROLE, PostgresServer, SUPERUSER};
use pharos::postgres::monitor::ConnectError;
use pharos::postgres::{OpenError, RefusalReason};
use pharos_model::subject::SubjectKey;
use serde_json::Value;
use socket2::{Domain, Socket, Type};

use super::connector;
use crate::fixture::{PATIENCE, TestAgent, postgres, postgres_config, redis, redis_config, runtime_tasks, series, server_id, shipped};
use crate::topology::standby_of;

/// A port that swallows what is sent to it, as a host does that is gone.
fn black_hole() -> (Socket, SocketAddr, Vec<TcpStream>) {
    let socket = Socket::new(Domain::IPV4, Type::STREAM, None).unwrap();
    socket.bind(&SocketAddr::from((Ipv4Addr::LOCALHOST, 0)).into()).unwrap();
    socket.listen(0).unwrap();
    let address = socket.local_addr().unwrap().as_socket().unwrap();
    // The queue of connections that are not accepted is full after one or two.
    let waiting = std::iter::from_fn(|| TcpStream::connect_timeout(&address, Duration::from_millis(300)).ok()).collect();
    (socket, address, waiting)
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_server_that_is_back_after_a_black_hole_is_read_again_at_once() {
    let (tasks, _stop) = runtime_tasks();
    let (hole, address, waiting) = black_hole();
    let mut connector = connector(&format!("postgresql://nobody@{address}/none"), TlsConfig::default(), &tasks);
    connector.limits.connect_timeout = Duration::from_millis(300);
    let swallowed = connector.connect().await.err();
    assert!(matches!(swallowed, Some(ConnectError::Open(OpenError::DeadlineExceeded(_)))), "{swallowed:?}");
    drop((hole, waiting));
    // The connection is refused at once, even if a busy machine needs some time for it.
    connector.limits.connect_timeout = PATIENCE;
    let answered = connector.connect().await.err();
    assert!(matches!(&answered, Some(err) if err.reason() == RefusalReason::Unreachable), "{answered:?}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_password_that_cannot_be_read_is_reported_as_a_fault_of_the_agent_and_not_of_the_server() {
    let (tasks, _stop) = runtime_tasks();
    let (server, cache) = (postgres(&tasks).await, redis(&tasks).await);
    let folder = tempfile::tempdir().unwrap();
    let (password, of_cache) = (folder.path().join("password"), folder.path().join("of_cache"));
    let config = format!(
        "{}password_file = {password:?}\n{}password_file = {of_cache:?}\n",
        postgres_config("app", &server),
        redis_config("cache", &[&cache])
    );
    let agent = TestAgent::start_with(&config, shipped()).await;
    agent.wait_series("pharos_own_limit_total{part=\"files\"}", |count| count >= 4.0).await;
    let rules = |alerts: &Value| -> Vec<String> {
        let alerts = alerts["items"].as_array().unwrap().iter();
        alerts.filter_map(|alert| Some(alert["rule"].as_str()?.to_owned())).collect()
    };
    let alerts = agent.wait_json("/api/database/alerts", |alerts| rules(alerts).iter().any(|rule| rule == "own-limit")).await;
    assert!(!rules(&alerts).iter().any(|rule| rule == "server-down"), "{alerts:#}");
    let up = [
        series("pharos_postgres_up", server.port(), &[]),
        format!("pharos_redis_up{{database=\"cache\",server=\"{}\"}}", server_id(cache.port())),
    ];
    for up in &up {
        assert_eq!(agent.series(up).await, None, "the agent could not ask");
    }
    std::fs::write(&password, "of no use").unwrap();
    agent.wait_series(&up[0], |up| up == 1.0).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_database_is_observed_while_one_of_its_members_cannot_be_read() {
    let (tasks, _stop) = runtime_tasks();
    let primary = postgres(&tasks).await;
    let standby = standby_of(&primary, "standby", &[], &tasks).await;
    let folder = tempfile::tempdir().unwrap();
    let password = folder.path().join("password");
    std::fs::write(&password, "of no use").unwrap();
    let replicas = format!("replicas = [\"{}\"]\npassword_file = {password:?}\n", standby.url(MONITORING_ROLE, "postgres"));
    let agent = TestAgent::start_with(&format!("{}{replicas}", postgres_config("app", &primary)), Vec::new()).await;
    let of_member =
        |server: &PostgresServer| format!("pharos_database_member_lag_bytes{{database=\"app\",member=\"{}\"}}", server_id(server.port()));
    agent.wait_series(&of_member(&standby), |_| true).await;
    // Sessions that are open go on, and those that begin need the password.
    std::fs::remove_file(&password).unwrap();
    let at_standby = standby.connect(SUPERUSER, "postgres").await.unwrap();
    at_standby.run("SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE application_name LIKE 'pharos %'").await.unwrap();
    let up = series("pharos_postgres_up", standby.port(), &[]);
    agent.wait_metrics(|metrics| !metrics.contains(&up)).await;
    let writer = primary.connect(SUPERUSER, "postgres").await.unwrap();
    writer.run("CREATE TABLE written AS SELECT i FROM generate_series(1, 1000) i").await.unwrap();
    let written: i64 = writer.query_value("SELECT pg_wal_lsn_diff(pg_current_wal_insert_lsn(), '0/0')::int8").await.unwrap();
    let key = SubjectKey::new("database", "app");
    let is_seen = || {
        let picture = agent.agent.board().picture();
        let table = picture.subjects.get(&key).and_then(|change| change.snapshot.table("members").cloned());
        table
            .is_some_and(|table| (0..table.row_count as usize).any(|row| table.integer("lsn_bytes", row).is_some_and(|lsn| lsn >= written)))
    };
    agent.wait_metrics(|_| is_seen()).await;
    let primaries = agent.series("pharos_database_primaries{database=\"app\"}").await;
    let reached = agent.series("pharos_database_members_up{database=\"app\"}").await;
    assert_eq!((primaries, reached), (Some(1.0), Some(2.0)), "the standby is as it was last, and not down");
    assert_eq!(agent.series(&of_member(&standby)).await, None, "its lag is unknown");
    // With the primary out of sight as well, there may be one that writes or none.
    writer.run("SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE application_name LIKE 'pharos %'").await.unwrap();
    agent.wait_metrics(|metrics| !metrics.contains("pharos_database_primaries{")).await;
    assert!(agent.text("/metrics").await.contains("pharos_database_members{"), "the rest of the part is there");
}
