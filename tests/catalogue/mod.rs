//! No fact about a server differs from what the server itself reports.
//!
//! Covers the collectors of a whole server, cause by cause, on the newest version.

mod configured;
mod tables;

use std::collections::BTreeMap;
use std::sync::Arc;

use pharos::demo::binaries::PostgresBinaries;
use pharos::demo::postgres::{PostgresOptions, PostgresServer, SUPERUSER};
use pharos::demo::session::Session;
use pharos_model::snapshot::Change;
use pharos_model::snapshot::{ColumnValues, Table};
use tokio::process::Command;
use tokio_util::task::TaskTracker;

use crate::fixture::{TestAgent, postgres, postgres_config, runtime_tasks, series, server_id};
use crate::sessions::certificates;
use crate::versions::versions;

async fn newest(settings: &[(&str, &str)], tasks: &TaskTracker) -> PostgresServer {
    let settings = settings.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect();
    newest_with(PostgresOptions { settings, ..PostgresOptions::default() }, tasks).await
}

async fn newest_with(options: PostgresOptions, tasks: &TaskTracker) -> PostgresServer {
    let binaries = PostgresBinaries::find(Some(&versions().join("18/bin"))).await.expect("the server was fetched");
    let server = PostgresServer::start(&binaries, options, tasks).await.expect("PostgreSQL starts");
    server.create_monitoring_role(None).await.expect("the role is created");
    server
}

async fn session(server: &PostgresServer, datname: &str) -> Session {
    server.connect(SUPERUSER, datname).await.expect("PostgreSQL answers")
}

fn latest(agent: &TestAgent, port: u16) -> Option<Arc<Change>> {
    let picture = agent.agent.board().picture();
    picture.subjects.values().find(|change| change.snapshot.subject.id == server_id(port)).cloned()
}

/// A row of a table: the columns that are not null, as text.
type Row = BTreeMap<String, String>;

fn rows(table: &Table) -> Vec<Row> {
    let cell = |values: &ColumnValues, row: usize| match values {
        ColumnValues::Float(values) => values[row].map(|value| value.to_string()),
        ColumnValues::Integer(values) => values[row].map(|value| value.to_string()),
        ColumnValues::Boolean(values) => values[row].map(|value| value.to_string()),
        ColumnValues::Text(values) => values.text(row).map(str::to_owned),
    };
    let row = |row| table.columns.iter().filter_map(|column| Some((column.name.clone(), cell(&column.values, row)?))).collect();
    (0..table.row_count as usize).map(row).collect()
}

/// Waits until the table of a server has a row with these texts, and returns that row.
async fn wait_row(agent: &TestAgent, server: &PostgresServer, table: &str, wanted: &[(&str, &str)]) -> Row {
    let mut found = None;
    let fits = |row: &Row| wanted.iter().all(|(column, text)| row.get(*column).is_some_and(|cell| cell == text));
    agent
        .wait_metrics(|_| {
            let Some(change) = latest(agent, server.port()) else { return false };
            let read = change.snapshot.table(table).map(rows).unwrap_or_default();
            found = read.into_iter().find(fits);
            found.is_some()
        })
        .await;
    found.expect("it was waited for")
}

fn number(row: &Row, column: &str) -> f64 {
    row.get(column).unwrap_or_else(|| panic!("no {column} in {row:?}")).parse().unwrap()
}

/// Uses up transaction ids.
async fn spend_transactions(session: &Session, count: u32) {
    for _ in 0..count {
        session.run("SELECT txid_current()").await.unwrap();
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn requested_checkpoints_are_counted_with_their_writes() {
    let (tasks, _stop) = runtime_tasks();
    let server = newest(&[("checkpoint_timeout", "7min")], &tasks).await;
    let work = session(&server, "postgres").await;
    let agent = TestAgent::watch(&server).await;
    let of = |metric: &str, labels: &[(&str, &str)]| series(metric, server.port(), labels);
    let requested = of("pharos_postgres_checkpoints_total", &[("kind", "requested")]);
    let before = agent.wait_series(&requested, |_| true).await;
    let truth: f64 = work.query_value("SELECT num_requested::float8 FROM pg_stat_checkpointer").await.unwrap();
    assert_eq!(before, truth);
    let written = of("pharos_postgres_buffers_written_total", &[("by", "checkpointer")]);
    let buffers = agent.wait_series(&written, |_| true).await;
    work.run("CREATE TABLE written AS SELECT n FROM generate_series(1, 50000) n").await.unwrap();
    agent.wait_series(&of("pharos_postgres_wal_since_checkpoint_bytes", &[]), |bytes| bytes > 1e6).await;
    work.run("CHECKPOINT").await.unwrap();
    agent.wait_series(&requested, |count| count == before + 1.0).await;
    agent.wait_series(&written, |count| count > buffers + 100.0).await;
    agent.wait_series(&of("pharos_postgres_checkpoint_age_seconds", &[]), |age| age < 60.0).await;
    agent.wait_series(&of("pharos_postgres_checkpoint_timeout_seconds", &[]), |timeout| timeout == 420.0).await;
    agent.wait_series(&of("pharos_postgres_wal_since_checkpoint_bytes", &[]), |bytes| bytes < 1e6).await;
    agent.wait_series(&of("pharos_postgres_wal_records_total", &[]), |records| records > 50000.0).await;
    agent.wait_series(&of("pharos_postgres_archive_enabled", &[]), |enabled| enabled == 0.0).await;
    // The server does not measure the time, so there is no value, and not 0.
    let metrics = agent.text("/metrics").await;
    assert!(!metrics.contains("pharos_postgres_wal_write_time_seconds_total{"), "{metrics}");
    work.run("ALTER SYSTEM SET track_wal_io_timing = on").await.unwrap();
    work.run("SELECT pg_reload_conf()").await.unwrap();
    agent.wait_series(&of("pharos_postgres_wal_write_time_seconds_total", &[]), |seconds| seconds >= 0.0).await;
    // Databases' own: reads and writes by who did them.
    let client = [("backend_type", "client backend"), ("object", "relation"), ("context", "normal")];
    agent.wait_series(&of("pharos_postgres_io_hits_total", &client), |hits| hits > 0.0).await;
    let wal = [("backend_type", "client backend"), ("object", "wal"), ("context", "normal")];
    agent.wait_series(&of("pharos_postgres_io_write_bytes_total", &wal), |bytes| bytes > 0.0).await;
    agent.wait_series(&of("pharos_postgres_slru_blocks_hit_total", &[("slru", "transaction")]), |hits| hits > 0.0).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_archive_that_fails_is_failing_until_it_works() {
    let (tasks, _stop) = runtime_tasks();
    let server = newest(&[("archive_mode", "on"), ("archive_command", "false")], &tasks).await;
    let work = session(&server, "postgres").await;
    let agent = TestAgent::watch(&server).await;
    let of = |metric: &str| series(metric, server.port(), &[]);
    agent.wait_series(&of("pharos_postgres_archive_enabled"), |enabled| enabled == 1.0).await;
    agent.wait_series(&of("pharos_postgres_archive_failing"), |failing| failing == 0.0).await;
    work.run("CREATE TABLE written ()").await.unwrap();
    work.run("SELECT pg_switch_wal()").await.unwrap();
    agent.wait_series(&of("pharos_postgres_archive_failing"), |failing| failing == 1.0).await;
    agent.wait_series(&of("pharos_postgres_archive_failing_seconds"), |seconds| (0.0..120.0).contains(&seconds)).await;
    agent.wait_series(&of("pharos_postgres_archive_failures_total"), |failures| failures > 0.0).await;
    agent.wait_series(&of("pharos_postgres_archive_pending_files"), |files| files > 0.0).await;
    let failed = wait_row(&agent, &server, "archiver", &[]).await["last_failed"].clone();
    work.run("ALTER SYSTEM SET archive_command = 'true'").await.unwrap();
    work.run("SELECT pg_reload_conf()").await.unwrap();
    agent.wait_series(&of("pharos_postgres_archive_failing"), |failing| failing == 0.0).await;
    agent.wait_series(&of("pharos_postgres_archived_total"), |archived| archived >= 1.0).await;
    agent.wait_series(&of("pharos_postgres_archive_pending_files"), |files| files == 0.0).await;
    let archiver = wait_row(&agent, &server, "archiver", &[]).await;
    assert!(archiver["last_archived"] >= failed, "{archiver:?}");
}

/// Sleeps while an index is built, in a session that sets `demo.nap`.
const SLOW: &str = "
    CREATE FUNCTION slow(n int) RETURNS int LANGUAGE plpgsql IMMUTABLE AS
        'BEGIN PERFORM pg_sleep(nullif(current_setting(''demo.nap'', true), '''')::float8); RETURN n; END';
    CREATE TABLE indexed AS SELECT n FROM generate_series(1, 20000) n;
    CREATE INDEX ON indexed (slow(n));";

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn commands_show_their_progress_while_they_run() {
    let (tasks, _stop) = runtime_tasks();
    let server = newest(&[("autovacuum", "off")], &tasks).await;
    let setup = session(&server, "postgres").await;
    setup.run(SLOW).await.unwrap();
    let agent = TestAgent::watch(&server).await;
    let running = |command: &str| series("pharos_postgres_commands_in_progress", server.port(), &[("command", command)]);
    agent.wait_series(&running("vacuum"), |count| count == 0.0).await;
    for (command, statement, sql, phase) in [
        ("vacuum", "VACUUM", "SET vacuum_cost_delay = '100ms'; SET vacuum_cost_limit = 1; VACUUM indexed", Some("scanning heap")),
        (
            "analyze",
            "ANALYZE",
            "SET vacuum_cost_delay = '100ms'; SET vacuum_cost_limit = 1; ANALYZE indexed",
            Some("acquiring sample rows"),
        ),
        (
            "create index",
            "CREATE INDEX",
            "SET demo.nap = '60'; CREATE INDEX ON indexed (slow(n + 1))",
            Some("building index: scanning table"),
        ),
        ("cluster", "VACUUM FULL", "SET demo.nap = '60'; VACUUM FULL indexed", Some("rebuilding index")),
        ("copy", "COPY FROM", "COPY indexed FROM PROGRAM 'sleep 60'", None),
    ] {
        let runner = session(&server, "postgres").await;
        let pid: i32 = runner.query_value("SELECT pg_backend_pid()").await.unwrap();
        let cancelled = async {
            let mut wanted = vec![("command", command), ("statement", statement), ("datname", "postgres"), ("relation", "public.indexed")];
            wanted.extend(phase.map(|phase| ("phase", phase)));
            let row = wait_row(&agent, &server, "progress", &wanted).await;
            assert_eq!(row["pid"], pid.to_string());
            assert!(number(&row, "seconds") >= 0.0, "{row:?}");
            if ["vacuum", "analyze"].contains(&command) {
                let ratio = number(&row, "done") / number(&row, "total");
                assert!(number(&row, "total") > 50.0 && row["unit"] == "blocks" && number(&row, "ratio") == ratio, "{row:?}");
            }
            agent.wait_series(&running(command), |count| count == 1.0).await;
            setup.run(&format!("SELECT pg_cancel_backend({pid})")).await.unwrap();
        };
        // Several statements in one go would be one transaction, which VACUUM refuses.
        let (settings, last) = sql.rsplit_once("; ").unwrap_or(("", sql));
        runner.run(settings).await.unwrap();
        let (outcome, ()) = tokio::join!(runner.run(last), cancelled);
        assert!(outcome.is_err(), "{command} was cancelled");
        agent.wait_series(&running(command), |count| count == 0.0).await;
    }
    // In another datname a relation has no name, only its number.
    server.create_database("shop").await.unwrap();
    let shop = session(&server, "shop").await;
    shop.run("CREATE TABLE stock AS SELECT 1 AS n").await.unwrap();
    let writer = session(&server, "shop").await;
    writer.run("BEGIN; INSERT INTO stock VALUES (2)").await.unwrap();
    let oid: u32 = shop.query_value("SELECT 'stock'::regclass::oid").await.unwrap();
    let (built, ()) = tokio::join!(shop.run("CREATE INDEX CONCURRENTLY ON stock (n)"), async {
        let wanted = [("statement", "CREATE INDEX CONCURRENTLY"), ("datname", "shop"), ("phase", "waiting for writers before build")];
        let row = wait_row(&agent, &server, "progress", &wanted).await;
        assert_eq!((&row["relation"], row["unit"].as_str(), number(&row, "ratio")), (&oid.to_string(), "transactions", 0.0));
        writer.run("COMMIT").await.unwrap();
    });
    built.unwrap();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_base_backup_shows_its_progress() {
    let (tasks, _stop) = runtime_tasks();
    let server = postgres(&tasks).await;
    let agent = TestAgent::watch(&server).await;
    let running = series("pharos_postgres_commands_in_progress", server.port(), &[("command", "basebackup")]);
    agent.wait_series(&running, |count| count == 0.0).await;
    let folder = tempfile::tempdir().unwrap();
    let mut backup = Command::new("pg_basebackup")
        .args(["--max-rate=64k", "--checkpoint=fast", "--no-sync", "--wal-method=none", "--no-password", "--host=127.0.0.1"])
        .args([format!("--port={}", server.port()), format!("--username={SUPERUSER}")])
        .arg(format!("--pgdata={}", folder.path().join("backup").display()))
        .kill_on_drop(true)
        .spawn()
        .expect("pg_basebackup is installed: run scripts/setup.sh");
    let wanted = [("command", "basebackup"), ("statement", "BASE_BACKUP"), ("phase", "streaming database files"), ("unit", "bytes")];
    let row = wait_row(&agent, &server, "progress", &wanted).await;
    assert!(number(&row, "total") > 1_000_000.0 && (0.0..1.0).contains(&number(&row, "ratio")), "{row:?}");
    agent.wait_series(&running, |count| count == 1.0).await;
    backup.kill().await.unwrap();
    agent.wait_series(&running, |count| count == 0.0).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_horizon_names_its_holder() {
    let (tasks, _stop) = runtime_tasks();
    let server = newest(&[("max_prepared_transactions", "5"), ("wal_level", "logical"), ("autovacuum", "off")], &tasks).await;
    let work = session(&server, "postgres").await;
    work.run("CREATE TABLE written (n int)").await.unwrap();
    let agent = TestAgent::watch(&server).await;
    let of = |holder: &str| series("pharos_postgres_horizon_age_transactions", server.port(), &[("holder", holder)]);
    for holder in ["backend", "slot", "slot_catalog", "prepared", "standby"] {
        agent.wait_series(&of(holder), |age| age == 0.0).await;
    }
    let old = |row: &Row| assert!(number(row, "age_transactions") >= 20.0, "{row:?}");

    work.run("BEGIN; INSERT INTO written VALUES (1); PREPARE TRANSACTION 'forgotten'").await.unwrap();
    spend_transactions(&work, 20).await;
    agent.wait_series(&of("prepared"), |age| age >= 20.0).await;
    old(&wait_row(&agent, &server, "horizon", &[("holder", "prepared"), ("name", "forgotten"), ("user", SUPERUSER)]).await);
    let scalar = |metric: &str| series(metric, server.port(), &[]);
    agent.wait_series(&scalar("pharos_postgres_prepared_transactions"), |count| count == 1.0).await;
    agent.wait_series(&scalar("pharos_postgres_prepared_transaction_age_max_seconds"), |age| age > 0.0).await;
    work.run("ROLLBACK PREPARED 'forgotten'").await.unwrap();
    agent.wait_series(&of("prepared"), |age| age == 0.0).await;
    agent.wait_series(&scalar("pharos_postgres_prepared_transaction_age_max_seconds"), |age| age == 0.0).await;

    let reader = session(&server, "postgres").await;
    reader.run("SET application_name = 'report'; BEGIN ISOLATION LEVEL REPEATABLE READ; SELECT 1").await.unwrap();
    spend_transactions(&work, 20).await;
    agent.wait_series(&of("backend"), |age| age >= 20.0).await;
    old(&wait_row(&agent, &server, "horizon", &[("holder", "backend"), ("application", "report"), ("state", "idle in transaction")]).await);
    reader.run("COMMIT").await.unwrap();
    agent.wait_series(&of("backend"), |age| age < 20.0).await;

    work.run("SELECT pg_create_logical_replication_slot('decoded', 'test_decoding')").await.unwrap();
    spend_transactions(&work, 20).await;
    agent.wait_series(&of("slot_catalog"), |age| age >= 20.0).await;
    old(&wait_row(
        &agent,
        &server,
        "horizon",
        &[("holder", "slot_catalog"), ("name", "decoded"), ("datname", "postgres"), ("state", "inactive")],
    )
    .await);
    work.run("SELECT pg_drop_replication_slot('decoded')").await.unwrap();
    agent.wait_series(&of("slot_catalog"), |age| age == 0.0).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_standby_holds_the_horizon_of_its_primary_by_itself_or_through_its_slot() {
    let (tasks, _stop) = runtime_tasks();
    let server = newest(&[("autovacuum", "off")], &tasks).await;
    let work = session(&server, "postgres").await;
    work.run("SELECT pg_create_physical_replication_slot('kept', true)").await.unwrap();
    let feedback = || vec![("hot_standby_feedback".to_owned(), "on".to_owned())];
    let with_slot = feedback().into_iter().chain([("primary_slot_name".to_owned(), "kept".to_owned())]).collect();
    for (settings, holder, name) in [(feedback(), "standby", "second"), (with_slot, "slot", "kept")] {
        let standby = server.start_standby("second", settings, &tasks).await.unwrap();
        let agent = TestAgent::watch(&server).await;
        let of = |holder: &str| series("pharos_postgres_horizon_age_transactions", server.port(), &[("holder", holder)]);
        let reader = session(&standby, "postgres").await;
        reader.run("BEGIN ISOLATION LEVEL REPEATABLE READ; SELECT count(*) FROM pg_class").await.unwrap();
        // What the reader sees must have come back to the primary before more is done there.
        wait_row(&agent, &server, "horizon", &[("holder", holder), ("name", name)]).await;
        spend_transactions(&work, 30).await;
        agent.wait_series(&of(holder), |age| age >= 30.0).await;
        wait_row(&agent, &server, "horizon", &[("holder", holder), ("name", name), ("state", "active")]).await;
        reader.run("COMMIT").await.unwrap();
        agent.wait_series(&of(holder), |age| age < 30.0).await;
        agent.stop().await;
    }
}
