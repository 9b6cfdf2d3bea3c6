//! No SQL of the agent fails on a supported version.
//!
//! Every supported major version of PostgreSQL: a primary and a standby each, watched by a role with pg_monitor alone.

use std::fmt::Write as _;
use std::io::Write as _;
use std::path::PathBuf;
use std::process::{Command, Stdio};

use pharos::demo::binaries::PostgresBinaries;
use pharos::demo::postgres::{MONITORING_ROLE, PostgresOptions, PostgresServer, SUPERUSER};
use pharos::demo::session::Session;
use pharos_model::snapshot::{PartState, Snapshot};
use tokio_util::task::TaskTracker;

use crate::fixture::{TestAgent, eventually, pharos, postgres_config, project, runtime_tasks, series, server_id};

pub const MAJORS: [u32; 5] = [14, 15, 16, 17, 18];
const PARTS: [&str; 24] = [
    "up",
    "server",
    "activity",
    "locks",
    "database",
    "wal",
    "io",
    "horizon",
    "autovacuum",
    "progress",
    "limits",
    "encryption",
    "settings",
    "sizes",
    "replication",
    "subscriptions",
    "statements",
    "accept",
    "visits",
    "tables",
    "indexes",
    "sequences",
    "extensions",
    "subscription_tables",
];

/// The folder with a server of each major version.
pub fn versions() -> PathBuf {
    let output = Command::new(project().join("scripts/postgres-versions.sh")).output().expect("bash is installed");
    let stdout = String::from_utf8_lossy(&output.stdout);
    assert!(output.status.success(), "{stdout}{}", String::from_utf8_lossy(&output.stderr));
    stdout.lines().last().expect("it prints the folder").into()
}

pub async fn start(folder: &std::path::Path, major: u32, tasks: &TaskTracker) -> PostgresServer {
    let settings = vec![("wal_level".to_owned(), "logical".to_owned())];
    start_with(folder, major, PostgresOptions { settings, ..PostgresOptions::default() }, tasks).await
}

pub async fn start_with(folder: &std::path::Path, major: u32, options: PostgresOptions, tasks: &TaskTracker) -> PostgresServer {
    let binaries = PostgresBinaries::find(Some(&folder.join(format!("{major}/bin")))).await.expect("the server was fetched");
    assert_eq!(binaries.major(), major);
    let server = PostgresServer::start(&binaries, options, tasks).await.expect("PostgreSQL starts");
    server.create_monitoring_role(None).await.expect("the role is created");
    server
}

async fn session(server: &PostgresServer) -> Session {
    server.connect(SUPERUSER, "postgres").await.expect("PostgreSQL answers")
}

/// Has a datname of the server take from another one what is published there.
async fn subscribe(server: &PostgresServer, setup: &Session) {
    for statement in ["CREATE TABLE news (i int)", "CREATE PUBLICATION news FOR TABLE news", "CREATE DATABASE reader"] {
        setup.run(statement).await.unwrap();
    }
    setup.run("SELECT pg_create_logical_replication_slot('news', 'pgoutput')").await.unwrap();
    let reader = server.connect(SUPERUSER, "reader").await.unwrap();
    reader.run("CREATE TABLE news (i int)").await.unwrap();
    let conninfo = format!("host=127.0.0.1 port={} user={SUPERUSER} dbname=postgres", server.port());
    let subscription = format!("CREATE SUBSCRIPTION news CONNECTION '{conninfo}' PUBLICATION news WITH (create_slot = false)");
    reader.run(&subscription).await.unwrap();
}

/// Metrics that every major version must have on both roles, or on one of them.
const EVERYWHERE: [&str; 37] = [
    "pharos_postgres_timeline",
    "pharos_postgres_info",
    "pharos_postgres_connections",
    "pharos_postgres_connections_max",
    "pharos_postgres_lock_waiters",
    "pharos_postgres_commits_total",
    "pharos_postgres_session_time_seconds_total",
    "pharos_postgres_xid_age_transactions",
    "pharos_postgres_statement_calls_total",
    "pharos_postgres_statement_time_p95_estimate_seconds",
    "pharos_postgres_checksums_enabled",
    "pharos_postgres_checkpoints_total",
    "pharos_postgres_checkpoint_age_seconds",
    "pharos_postgres_checkpoint_timeout_seconds",
    "pharos_postgres_wal_since_checkpoint_bytes",
    "pharos_postgres_buffers_written_total",
    "pharos_postgres_buffers_allocated_total",
    "pharos_postgres_wal_bytes_total",
    "pharos_postgres_archive_enabled",
    "pharos_postgres_archive_failing",
    "pharos_postgres_archived_total",
    "pharos_postgres_slru_blocks_hit_total",
    "pharos_postgres_commands_in_progress",
    "pharos_postgres_autovacuum_enabled",
    "pharos_postgres_autovacuum_workers",
    "pharos_postgres_autovacuum_workers_max",
    "pharos_postgres_autovacuum_cost_delay_seconds",
    "pharos_postgres_vacuum_failsafe_age_transactions",
    "pharos_postgres_horizon_age_transactions",
    "pharos_postgres_prepared_transactions",
    "pharos_postgres_setting",
    "pharos_postgres_settings_pending_restart",
    "pharos_postgres_sessions_encrypted",
    "pharos_postgres_datname_size_bytes",
    "pharos_postgres_tablespace_size_bytes",
    "pharos_postgres_wal_directory_size_bytes",
    "pharos_postgres_role_connections_limit",
];
/// What came with a version, on either role.
const SINCE: [(u32, &str); 3] = [
    (16, "pharos_postgres_io_read_bytes_total"),
    (16, "pharos_postgres_io_write_time_seconds_total"),
    (17, "pharos_postgres_restartpoints_total"),
];
const ON_PRIMARY: [&str; 9] = [
    "pharos_postgres_replication_lag_bytes",
    "pharos_postgres_replication_lag_seconds",
    "pharos_postgres_replication_sync",
    "pharos_postgres_slot_retained_bytes",
    "pharos_postgres_slot_inactive_seconds",
    "pharos_postgres_slot_invalidated",
    "pharos_postgres_slot_spill_bytes_total",
    "pharos_postgres_subscription_up",
    "pharos_postgres_subscription_tables_not_ready",
];
const ON_STANDBY: [&str; 6] = [
    "pharos_postgres_standby_receiver_up",
    "pharos_postgres_standby_receiver_message_age_seconds",
    "pharos_postgres_standby_replay_paused",
    "pharos_postgres_standby_replay_lag_bytes",
    "pharos_postgres_standby_replay_lag_seconds",
    "pharos_postgres_standby_conflicts_total",
];

fn has_all(snapshot: &Snapshot, metrics: &[&str]) -> bool {
    metrics.iter().all(|metric| snapshot.family(metric).is_some_and(|family| !family.values.is_empty()))
}

/// The monitoring roles, and the parts with fewer facts for each, with the table, column and word that show that.
const WATCHERS: [(&str, &[Reduced]); 2] = [(SUPERUSER, &[]), (MONITORING_ROLE, &REDUCED)];
const REDUCED: [Reduced; 3] = [
    Reduced { part: "tables", column: "bloat_state", word: "not-estimable", why: "bloat: pg_statistic is closed to it" },
    Reduced { part: "indexes", column: "bloat_state", word: "not-estimable", why: "bloat: pg_statistic is closed to it" },
    Reduced { part: "sequences", column: "state", word: "no-privilege", why: "last values: SELECT on each sequence is missing" },
];

/// Texts that a role without a privilege gets instead, in the table with the name of their part.
struct Reduced {
    part: &'static str,
    column: &'static str,
    word: &'static str,
    why: &'static str,
}

impl Reduced {
    fn is_in(&self, snapshot: &Snapshot) -> bool {
        let table = snapshot.table(self.part);
        table.is_some_and(|table| (0..table.row_count as usize).any(|row| table.text(self.column, row) == Some(self.word)))
    }
}

/// State of each part by server: `ok`, `less` if the role gets fewer facts and the part shows that, else the part's state.
#[derive(Default)]
struct Matrix {
    heads: Vec<String>,
    columns: Vec<Vec<String>>,
}

impl Matrix {
    fn push(&mut self, head: String, snapshot: &Snapshot) {
        let cell = |part: &&str| match snapshot.parts.get(*part).map(|part| &part.state) {
            Some(PartState::Present) if REDUCED.iter().any(|less| less.part == *part && less.is_in(snapshot)) => "less".to_owned(),
            Some(PartState::Present) => "ok".to_owned(),
            Some(state) => format!("{state:?}"),
            None => "missing".to_owned(),
        };
        self.columns.push(PARTS.iter().map(cell).collect());
        self.heads.push(head);
    }

    fn print(&self) {
        let mut text = format!("{:<20} {}\n", "", self.heads.join(" "));
        for (row, part) in PARTS.iter().enumerate() {
            let cells = self.columns.iter().zip(&self.heads).map(|(column, head)| format!("{:<width$}", column[row], width = head.len()));
            let _ = writeln!(text, "{part:<20} {}", cells.collect::<Vec<_>>().join(" "));
        }
        text += "p: primary, s: standby; super: the agent has a superuser, else a role with pg_monitor alone, which can read less of:\n";
        for less in REDUCED {
            let _ = writeln!(text, "  {}: {}", less.part, less.why);
        }
        std::io::stderr().write_all(text.as_bytes()).unwrap();
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn every_major_version_gives_every_part_on_a_primary_and_a_standby() {
    let (tasks, _stop) = runtime_tasks();
    let folder = versions();
    let mut matrix = Matrix::default();
    for major in MAJORS {
        let primary = start(&folder, major, &tasks).await;
        let setup = session(&primary).await;
        setup.run("CREATE EXTENSION pg_stat_statements; SELECT pg_create_physical_replication_slot('kept', true)").await.unwrap();
        subscribe(&primary, &setup).await;
        setup.run("CREATE ROLE app LOGIN CONNECTION LIMIT 4").await.unwrap();
        // Statistics to estimate bloat from, and a sequence that was used.
        setup
            .run("CREATE TABLE numbered (id serial PRIMARY KEY); INSERT INTO numbered SELECT FROM generate_series(1, 5000)")
            .await
            .unwrap();
        setup.run("ANALYZE numbered").await.unwrap();
        let standby = primary.start_standby("second", Vec::new(), &tasks).await.unwrap();
        setup.run("CREATE TABLE first ()").await.unwrap();
        let reader = session(&standby).await;
        eventually(&reader, "SELECT to_regclass('first') IS NOT NULL").await;
        for (watcher, reduced) in WATCHERS {
            let [one, other] = [&primary, &standby].map(|server| server.url(watcher, "postgres"));
            let config = format!("[[database]]\nname = \"app\"\nprimary = \"{one}\"\nreplicas = [\"{other}\"]\n");
            let agent = TestAgent::start_with(&config, Vec::new()).await;
            for (server, role, own) in [(&primary, "p", &ON_PRIMARY[..]), (&standby, "s", &ON_STANDBY[..])] {
                let id = server_id(server.port());
                let snapshot = || {
                    let picture = agent.agent.board().picture();
                    picture.subjects.values().find(|change| change.snapshot.subject.id == id).map(|change| change.snapshot.clone())
                };
                agent.wait_facts(&id, |parts| PARTS.iter().all(|part| parts[part]["state"] == "present")).await;
                let is_whole = |snapshot: &Snapshot| {
                    has_all(snapshot, &EVERYWHERE) && has_all(snapshot, own) && reduced.iter().all(|less| less.is_in(snapshot))
                };
                agent.wait_metrics(|_| snapshot().is_some_and(|snapshot| is_whole(&snapshot))).await;
                let snapshot = snapshot().unwrap();
                for (since, metric) in SINCE {
                    assert_eq!(has_all(&snapshot, &[metric]), major >= since, "{metric} on {major}");
                }
                assert!(snapshot.subject.version.starts_with(&format!("{major}.")), "{}", snapshot.subject.version);
                let is_told_less = REDUCED.iter().filter(|less| less.is_in(&snapshot)).count();
                assert_eq!(is_told_less, reduced.len(), "{watcher} on {major}");
                matrix.push(format!("{major}{role}{}", if watcher == SUPERUSER { "-super" } else { "" }), &snapshot);
                agent.wait_part(&format!("postgres {id}"), |part| part["state"] == "ok").await;
            }
            agent.stop().await;
        }
    }
    matrix.print();
    assert!(matrix.columns.iter().flatten().all(|cell| cell == "ok" || cell == "less"));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_extension_that_was_not_updated_with_its_server_is_read_as_what_it_is() {
    let (tasks, _stop) = runtime_tasks();
    let server = start(&versions(), 18, &tasks).await;
    let setup = session(&server).await;
    setup.run("CREATE EXTENSION pg_stat_statements VERSION '1.8'").await.unwrap();
    let agent = TestAgent::watch(&server).await;
    let parts = agent.wait_facts(&server_id(server.port()), |parts| parts["statements"]["state"] == "unsupported").await;
    assert!(parts["statements"]["why"].as_str().unwrap().contains("ALTER EXTENSION pg_stat_statements UPDATE"), "{parts:#}");
    // From 1.9 on it has what is needed, whatever the server's version.
    for version in ["1.9", "1.10", "1.11"] {
        setup.run(&format!("ALTER EXTENSION pg_stat_statements UPDATE TO '{version}'")).await.unwrap();
        let parts = agent.wait_facts(&server_id(server.port()), |parts| parts["statements"]["state"] != "unsupported").await;
        assert_eq!(parts["statements"]["state"], "present", "{version}: {parts:#}");
        agent.wait_series(&series("pharos_postgres_statements_tracked", server.port(), &[]), |tracked| tracked > 0.0).await;
    }
}

/// Makes a server report version 19.3. The planner must inline the function, since a call by its number runs the built-in one.
const NEWER: &str = "
    SET allow_system_table_mods = on;
    CREATE FUNCTION pg_catalog.true_setting(text) RETURNS text LANGUAGE internal STABLE STRICT AS 'show_config_by_name';
    CREATE OR REPLACE FUNCTION pg_catalog.current_setting(text) RETURNS text LANGUAGE sql STABLE AS $$
        SELECT CASE $1 WHEN 'server_version_num' THEN '190003' WHEN 'server_version' THEN '19.3' ELSE pg_catalog.true_setting($1) END
    $$";

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_unknown_version_is_read_like_the_newest_and_reported_once() {
    let (tasks, _stop) = runtime_tasks();
    let server = start(&versions(), 18, &tasks).await;
    let setup = session(&server).await;
    setup.run("CREATE EXTENSION pg_stat_statements").await.unwrap();
    setup.run(NEWER).await.unwrap();
    let folder = tempfile::tempdir().unwrap();
    let (config, log) = (folder.path().join("pharos.toml"), folder.path().join("log"));
    let own = "[agent]\ndata_dir = \"data\"\n[http]\nlisten = \"127.0.0.1:0\"\n[collect.interval]\nactivity = \"100ms\"\n";
    std::fs::write(&config, format!("{own}{}", postgres_config("app", &server))).unwrap();
    let stderr = std::fs::File::create(&log).unwrap();
    let mut agent = tokio::process::Command::new(pharos());
    agent.arg("run").arg("--config").arg(&config).kill_on_drop(true).stdin(Stdio::null()).stderr(stderr);
    let _agent = agent.spawn().unwrap();

    // Its first session is ended, and the next one reads the version again.
    let collecting = "FROM pg_stat_activity WHERE application_name LIKE 'pharos %' AND query LIKE '%wait_event%'";
    eventually(&setup, &format!("SELECT EXISTS (SELECT {collecting})")).await;
    let oldest = "SELECT pid FROM pg_stat_activity WHERE application_name LIKE 'pharos %' ORDER BY backend_start LIMIT 1";
    let first: i32 = setup.query_value(oldest).await.unwrap();
    setup.run(&format!("SELECT pg_terminate_backend({first})")).await.unwrap();
    eventually(&setup, &format!("SELECT EXISTS (SELECT {collecting} AND pid <> {first})")).await;
    let warning = "PostgreSQL 19.3 is newer than this Pharos knows; it is read like 18";
    let said = || std::fs::read_to_string(&log).unwrap();
    assert_eq!(said().matches(warning).count(), 1, "{}", said());
    assert!(!said().contains("skipping"), "{}", said());
}
