//! No metric differs from what the server reports.
//!
//! Every collector's metrics against what the database itself says.

use std::collections::BTreeSet;
use std::io::Write as _;
use std::process::{Command, Stdio};
use std::sync::Arc;

use pharos::demo::binaries::find_redis;
use pharos::demo::postgres::{MONITORING_ROLE, PostgresOptions, PostgresServer, SUPERUSER};
use pharos::demo::redis::{RedisOptions, RedisServer};
use pharos::demo::session::Session;
use pharos_model::snapshot::{Change, Quantity};
use pharos_model::snapshot::{ColumnValues, Table};
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use crate::fixture::{
    TestAgent, eventually, postgres, postgres_config, postgres_with, redis, redis_config, runtime_tasks, series, server_id,
};

async fn session(server: &PostgresServer, datname: &str) -> Session {
    server.connect(SUPERUSER, datname).await.expect("PostgreSQL answers")
}

/// The latest snapshot of a server, with its rates.
fn latest(agent: &TestAgent, port: u16) -> Option<Arc<Change>> {
    let picture = agent.agent.board().picture();
    picture.subjects.values().find(|change| change.snapshot.subject.id == server_id(port)).cloned()
}

/// Runs statements again and again until the test ends.
fn repeat(session: Session, statements: &'static [&'static str], tasks: &TaskTracker, stop: &CancellationToken) {
    let stop = stop.clone();
    tasks.spawn(stop.run_until_cancelled_owned(async move {
        loop {
            for statement in statements {
                // The task ends with its server, which may stop before the test ends the task.
                let Ok(()) = session.run(statement).await else { return };
            }
        }
    }));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn activity_shows_sessions_by_state_and_the_ages_of_what_they_do() {
    let (tasks, stop) = runtime_tasks();
    let server = postgres(&tasks).await;
    let idle = session(&server, "postgres").await;
    idle.run("BEGIN; SELECT 1").await.unwrap();
    repeat(session(&server, "postgres").await, &["SELECT pg_sleep(3600)"], &tasks, &stop);
    let agent = TestAgent::watch(&server).await;

    let of = |metric: &str, labels: &[(&str, &str)]| series(metric, server.port(), labels);
    let in_state = |state| of("pharos_postgres_connections", &[("datname", "postgres"), ("state", state)]);
    agent.wait_series(&in_state("idle in transaction"), |count| count == 1.0).await;
    agent.wait_series(&in_state("active"), |count| count == 1.0).await;
    agent.wait_series(&of("pharos_postgres_waiting_connections", &[("wait_event_type", "Timeout")]), |count| count == 1.0).await;
    // All but the three that are reserved for superusers; used by the two sessions above.
    agent.wait_series(&of("pharos_postgres_connections_max", &[]), |count| count == 47.0).await;
    agent.wait_series(&of("pharos_postgres_connections_used_ratio", &[]), |ratio| (ratio - 2.0 / 47.0).abs() < 1e-9).await;
    let truth = session(&server, "postgres").await;
    let ages = [
        ("pharos_postgres_idle_in_transaction_age_max_seconds", "state_change", "state = 'idle in transaction'"),
        ("pharos_postgres_transaction_age_max_seconds", "xact_start", "state = 'idle in transaction'"),
        ("pharos_postgres_query_age_max_seconds", "query_start", "query LIKE '%3600%' AND pid <> pg_backend_pid()"),
    ];
    for (metric, since, which) in ages {
        let age = |truth: &'static str| format!("SELECT extract(epoch FROM {truth} - {since})::float8 FROM pg_stat_activity WHERE {which}");
        let before: f64 = truth.query_value(&age("clock_timestamp()")).await.unwrap();
        let shown = agent.wait_series(&of(metric, &[]), |shown| shown >= before).await;
        let after: f64 = truth.query_value(&age("clock_timestamp()")).await.unwrap();
        assert!(shown <= after, "{metric}: {shown} is more than {after}");
    }
    idle.run("COMMIT").await.unwrap();
    agent.wait_series(&of("pharos_postgres_idle_in_transaction_age_max_seconds", &[]), |age| age == 0.0).await;
    stop.cancel();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn database_counts_commits_deadlocks_and_temporary_files_as_the_server_does() {
    let (tasks, stop) = runtime_tasks();
    let server = postgres(&tasks).await;
    server.create_database("shop").await.unwrap();
    let agent = TestAgent::watch(&server).await;
    let setup = session(&server, "shop").await;
    setup.run("CREATE TABLE stock AS SELECT n AS id, 0 AS left_over FROM generate_series(1, 2) n").await.unwrap();
    setup.run("SET work_mem = '64kB'; SELECT count(*) FROM (SELECT n FROM generate_series(1, 200000) n ORDER BY n DESC) s").await.unwrap();
    drop(setup);

    let [one, two] = [session(&server, "shop").await, session(&server, "shop").await];
    for (session, id) in [(&one, 1), (&two, 2)] {
        session.run(&format!("SET deadlock_timeout = '50ms'; BEGIN; UPDATE stock SET left_over = 1 WHERE id = {id}")).await.unwrap();
    }
    let (first, second) = tokio::join!(one.run("UPDATE stock SET left_over = 2 WHERE id = 2"), async {
        let end = two.run("UPDATE stock SET left_over = 2 WHERE id = 1").await;
        two.run("ROLLBACK").await.unwrap();
        end
    });
    assert!(first.is_err() != second.is_err(), "one of them is the victim");
    drop((one, two));

    let of = |metric: &str| series(metric, server.port(), &[("datname", "shop")]);
    agent.wait_series(&of("pharos_postgres_deadlocks_total"), |count| count == 1.0).await;
    // No session works in this database any more, so the server's own numbers soon stay the same.
    let truth = session(&server, "postgres").await;
    eventually(&truth, "SELECT numbackends = 0 FROM pg_stat_database WHERE datname = 'shop'").await;
    for (metric, column) in [
        ("pharos_postgres_commits_total", "xact_commit"),
        ("pharos_postgres_rollbacks_total", "xact_rollback"),
        ("pharos_postgres_temp_files_total", "temp_files"),
        ("pharos_postgres_temp_bytes_total", "temp_bytes"),
        ("pharos_postgres_rows_inserted_total", "tup_inserted"),
    ] {
        let expected: f64 =
            truth.query_value(&format!("SELECT {column}::float8 FROM pg_stat_database WHERE datname = 'shop'")).await.unwrap();
        assert!(expected > 0.0, "{column} counts something");
        agent.wait_series(&of(metric), |shown| shown == expected).await;
    }

    repeat(session(&server, "shop").await, &["SELECT 1"], &tasks, &stop);
    let rate = || {
        let change = latest(&agent, server.port())?;
        let samples = change.samples("pharos_postgres_commits_total", &[], Quantity::Rate);
        let shop = |row: &usize| samples.labels.iter().any(|label| label.name == "datname" && label.values.text(*row) == Some("shop"));
        (0..samples.values.len()).find(shop).map(|row| samples.values[row])
    };
    agent.wait_metrics(|_| rate().is_some_and(|rate| rate > 1.0)).await;
    stop.cancel();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn secrets_in_statements_without_placeholders_are_never_shown() {
    const LIVELY: &[&str] = &[
        "ALTER ROLE somebody SET app.key = 'hunter2'",
        "ALTER ROLE somebody SET app.pin TO hunter2",
        "SELECT pg_sleep(0.01)",
        "CREATE SUBSCRIPTION copy CONNECTION $c$postgresql://u:hunter2@h/d$c$ PUBLICATION p WITH (connect = false, slot_name = NONE)",
        "DROP SUBSCRIPTION copy",
        "COPY (SELECT 1) TO PROGRAM E'cat > /dev/null # it\\'s hunter2'",
        "DO $$ BEGIN PERFORM 'hunter2'; END $$",
    ];
    const SHOWN: [&str; 5] = [
        "ALTER ROLE somebody SET app.key = '...'",
        "ALTER ROLE somebody SET app.pin TO '...'",
        "CREATE SUBSCRIPTION copy CONNECTION '...' PUBLICATION p WITH (connect = false, slot_name = NONE)",
        "COPY (SELECT 1) TO PROGRAM '...'",
        "DO '...'",
    ];
    let (tasks, stop) = runtime_tasks();
    let server = postgres_with(PostgresOptions::default(), &tasks).await;
    let setup = session(&server, "postgres").await;
    setup.run("CREATE ROLE somebody").await.unwrap();
    repeat(session(&server, "postgres").await, LIVELY, &tasks, &stop);
    let agent = TestAgent::watch(&server).await;
    let slow = agent
        .wait_json("/api/database/slow-queries?database=app&threshold=0ms&limit=200", |slow| {
            let queries: Vec<&str> = slow["items"].as_array().into_iter().flatten().filter_map(|item| item["query"].as_str()).collect();
            SHOWN.iter().all(|shown| queries.contains(shown))
        })
        .await;
    assert!(!slow.to_string().contains("hunter2"), "{slow:#}");
    let snapshot = serde_json::to_string(&latest(&agent, server.port()).unwrap().snapshot).unwrap();
    assert!(snapshot.contains(SHOWN[2]) && !snapshot.contains("hunter2"), "{snapshot}");
    assert!(!agent.text("/metrics").await.contains("hunter2"));
    let kept: i64 = setup.query_value("SELECT count(*) FROM pg_stat_statements WHERE query LIKE '%hunter2%'").await.unwrap();
    assert!(kept >= 5, "the server itself keeps them: {kept}");
    stop.cancel();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn statements_are_counted_by_level_and_their_texts_hide_passwords() {
    const LIVELY: &[&str] = &["SELECT pg_sleep(0.02)", "SELECT nested()", "ALTER ROLE somebody PASSWORD 'hunter2'"];
    let (tasks, stop) = runtime_tasks();
    let settings = vec![("pg_stat_statements.track".to_owned(), "all".to_owned())];
    let server = postgres_with(PostgresOptions { settings, ..PostgresOptions::default() }, &tasks).await;
    let setup = session(&server, "postgres").await;
    setup.run("CREATE ROLE somebody; CREATE FUNCTION nested() RETURNS bigint LANGUAGE plpgsql AS 'BEGIN RETURN (SELECT count(*) FROM pg_class); END'").await.unwrap();
    setup.run("CREATE TABLE counted AS SELECT 1 AS n").await.unwrap();
    repeat(session(&server, "postgres").await, LIVELY, &tasks, &stop);
    let agent = TestAgent::watch(&server).await;

    let slow = agent
        .wait_json("/api/database/slow-queries?database=app&threshold=0ms", |slow| {
            let text = slow.to_string();
            text.contains("SELECT pg_sleep($1)") && text.contains("it may hold a password") && text.contains("\"toplevel\":false")
        })
        .await;
    assert!(!slow.to_string().contains("hunter2"), "{slow:#}");
    let items = slow["items"].as_array().unwrap();
    let naps = items.iter().find(|item| item["query"] == "SELECT pg_sleep($1)").unwrap();
    let [mean, p95] = ["mean_seconds", "p95_estimate_seconds"].map(|key| naps[key].as_f64().unwrap());
    assert!(mean >= 0.02 && p95 >= mean, "{naps}");
    assert_eq!((&naps["user"], &naps["datname"], &naps["toplevel"]), (&"postgres".into(), &"postgres".into(), &true.into()));
    let of = |metric: &str, fingerprint: &str| {
        let labels = [("datname", "postgres"), ("user", "postgres"), ("fingerprint", fingerprint), ("toplevel", "true")];
        series(metric, server.port(), &labels)
    };
    let fingerprint = naps["fingerprint"].as_str().unwrap();
    agent.wait_series(&of("pharos_postgres_statement_mean_time_seconds", fingerprint), |mean| mean >= 0.02).await;
    agent.wait_series(&of("pharos_postgres_statement_time_p95_estimate_seconds", fingerprint), |p95| p95 >= 0.02).await;

    // A statement's first calls are part of `other`; those after it has a series are counted there, each of them.
    setup.run("SELECT n FROM counted").await.unwrap();
    let queryid: i64 = setup.query_value("SELECT queryid FROM pg_stat_statements WHERE query = 'SELECT n FROM counted'").await.unwrap();
    let fingerprint = format!("{:016x}", queryid.cast_unsigned());
    agent.wait_series(&of("pharos_postgres_statement_calls_total", &fingerprint), |calls| calls == 0.0).await;
    for _ in 0..7 {
        setup.run("SELECT n FROM counted").await.unwrap();
    }
    agent.wait_series(&of("pharos_postgres_statement_calls_total", &fingerprint), |calls| calls == 7.0).await;
    agent.wait_series(&of("pharos_postgres_statement_rows_total", &fingerprint), |rows| rows == 7.0).await;
    stop.cancel();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn two_hundred_statements_have_series_and_the_rest_is_their_sum() {
    let (tasks, _stop) = runtime_tasks();
    let server = postgres(&tasks).await;
    let agent = TestAgent::watch(&server).await;
    let of = |metric: &str| series(metric, server.port(), &[]);
    agent.wait_series(&of("pharos_postgres_statements_tracked"), |tracked| tracked > 0.0).await;
    let work = session(&server, "postgres").await;
    work.run("CREATE ROLE app LOGIN; SET ROLE app").await.unwrap();
    for columns in 1..=260 {
        let columns = vec!["1"; columns].join(", ");
        work.run(&format!("SELECT {columns}")).await.unwrap();
    }
    let calls = |metrics: &str| -> Vec<(String, f64)> {
        let lines = metrics.lines().filter_map(|line| line.strip_prefix("pharos_postgres_statement_calls_total{")?.rsplit_once("} "));
        lines.map(|(labels, value)| (labels.to_owned(), value.parse().unwrap())).collect()
    };
    let sum = |metrics: &str| calls(metrics).iter().map(|(_, calls)| calls).sum::<f64>();
    let metrics = agent.wait_metrics(|metrics| sum(metrics) >= 260.0).await;
    let calls = calls(&metrics);
    assert_eq!(calls.len(), 201, "two hundred and the rest");
    assert_eq!(calls.iter().filter(|(labels, _)| labels.contains("fingerprint=\"other\"")).count(), 1);
    let truth: f64 = session(&server, "postgres").await.query_value("SELECT sum(calls)::float8 FROM pg_stat_statements").await.unwrap();
    assert!(sum(&metrics) <= truth, "{} calls were shown, {truth} were made", sum(&metrics));
}

fn integers(table: &Table, column: &str) -> Vec<Option<i64>> {
    match table.column(column).map(|column| &column.values) {
        Some(ColumnValues::Integer(values)) => values.clone(),
        _ => panic!("{column} is no column of integers"),
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn locks_show_who_waits_for_whom_down_to_the_root() {
    let (tasks, _stop) = runtime_tasks();
    let server = postgres(&tasks).await;
    let sessions = [session(&server, "postgres").await, session(&server, "postgres").await, session(&server, "postgres").await];
    sessions[0].run("CREATE TABLE accounts AS SELECT n AS id, 0 AS cents FROM generate_series(1, 2) n").await.unwrap();
    let mut pids = Vec::new();
    for session in &sessions {
        pids.push(i64::from(session.query_value::<i32>("SELECT pg_backend_pid()").await.unwrap()));
        session.run("BEGIN").await.unwrap();
    }
    let [root, middle, leaf] = &sessions;
    root.run("UPDATE accounts SET cents = 1 WHERE id = 1").await.unwrap();
    middle.run("UPDATE accounts SET cents = 1 WHERE id = 2").await.unwrap();
    let agent = TestAgent::watch(&server).await;
    let of = |metric: &str| series(metric, server.port(), &[]);
    let end = async {
        agent.wait_series(&of("pharos_postgres_lock_waiters"), |waiters| waiters == 2.0).await;
        agent.wait_series(&of("pharos_postgres_lock_blockers"), |blockers| blockers == 1.0).await;
        agent.wait_series(&of("pharos_postgres_lock_tree_depth_max"), |depth| depth == 2.0).await;
        agent.wait_series(&of("pharos_postgres_lock_wait_age_max_seconds"), |age| age > 0.0).await;
        let change = latest(&agent, server.port()).unwrap();
        let table = change.snapshot.table("lock_waits").unwrap();
        let mut waits: Vec<_> = [integers(table, "pid"), integers(table, "blocked_by"), integers(table, "root_pid")]
            .map(Vec::into_iter)
            .into_iter()
            .fold(vec![Vec::new(), Vec::new()], |mut rows, column| {
                rows.iter_mut().zip(column).for_each(|(row, value)| row.push(value.unwrap()));
                rows
            });
        waits.sort_by_key(|row| row[1] != pids[0]);
        assert_eq!(waits, [[pids[1], pids[0], pids[0]], [pids[2], pids[1], pids[0]]]);
        root.run("COMMIT").await.unwrap();
    };
    let (waited, behind, ()) = tokio::join!(
        async {
            let waited = middle.run("UPDATE accounts SET cents = 2 WHERE id = 1").await;
            middle.run("COMMIT").await.unwrap();
            waited
        },
        leaf.run("UPDATE accounts SET cents = 3 WHERE id = 2"),
        end
    );
    assert!(waited.is_ok() && behind.is_ok(), "{waited:?} {behind:?}");
    agent.wait_series(&of("pharos_postgres_lock_waiters"), |waiters| waiters == 0.0).await;
    agent.wait_series(&of("pharos_postgres_lock_tree_depth_max"), |depth| depth == 0.0).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn replication_is_shown_from_both_sides_with_the_wal_that_slots_retain() {
    let (tasks, _stop) = runtime_tasks();
    let primary = postgres(&tasks).await;
    let standby = primary.start_standby("second", Vec::new(), &tasks).await.unwrap();
    let config = format!("{}replicas = [\"{}\"]\n", postgres_config("app", &primary), standby.url(MONITORING_ROLE, "postgres"));
    let agent = TestAgent::start_with(&config, Vec::new()).await;
    let sender = [("standby", "second"), ("client", "127.0.0.1")];
    let on_primary = |metric: &str, labels: &[(&str, &str)]| series(metric, primary.port(), labels);
    let on_standby = |metric: &str| series(metric, standby.port(), &[]);
    agent.wait_series(&on_primary("pharos_postgres_replication_streaming", &sender), |streaming| streaming == 1.0).await;
    agent.wait_series(&on_primary("pharos_postgres_in_recovery", &[]), |in_recovery| in_recovery == 0.0).await;
    agent.wait_series(&on_standby("pharos_postgres_in_recovery"), |in_recovery| in_recovery == 1.0).await;
    agent.wait_series(&on_standby("pharos_postgres_standby_receiver_up"), |up| up == 1.0).await;
    let wanted = "pharos_postgres_synchronous_standbys_wanted";
    agent.wait_series(&on_primary(wanted, &[]), |wanted| wanted == 0.0).await;

    let [writer, reader] = [session(&primary, "postgres").await, session(&standby, "postgres").await];
    // Servers of tests wait for no standby unless they are configured so.
    writer.run("ALTER SYSTEM SET synchronous_commit = 'on'").await.unwrap();
    for (names, count) in [("second", 1.0), ("ANY 1 (second, third)", 1.0), ("first 2 (second, third)", 2.0), ("", 0.0)] {
        writer.run(&format!("ALTER SYSTEM SET synchronous_standby_names = '{names}'")).await.unwrap();
        writer.run("SELECT pg_reload_conf()").await.unwrap();
        agent.wait_series(&on_primary(wanted, &[]), |wanted| wanted == count).await;
    }
    writer.run("SELECT pg_create_physical_replication_slot('kept', true)").await.unwrap();
    writer.run("CREATE TABLE first ()").await.unwrap();
    eventually(&reader, "SELECT to_regclass('first') IS NOT NULL").await;
    reader.run("SELECT pg_wal_replay_pause()").await.unwrap();
    writer.run("CREATE TABLE written AS SELECT n, repeat('x', 500) FROM generate_series(1, 20000) n").await.unwrap();
    agent.wait_series(&on_standby("pharos_postgres_standby_replay_lag_bytes"), |bytes| bytes > 1e6).await;
    agent.wait_series(&on_standby("pharos_postgres_standby_replay_lag_seconds"), |seconds| seconds > 0.0).await;
    agent.wait_series(&on_primary("pharos_postgres_replication_lag_bytes", &sender), |bytes| bytes > 1e6).await;
    agent.wait_series(&on_primary("pharos_postgres_replication_lag_seconds", &sender), |seconds| seconds > 0.0).await;
    let slot = [("slot", "kept"), ("slot_type", "physical")];
    agent.wait_series(&on_primary("pharos_postgres_slot_active", &slot), |active| active == 0.0).await;
    let kept = "SELECT pg_wal_lsn_diff(pg_current_wal_lsn(), restart_lsn)::float8 FROM pg_replication_slots WHERE slot_name = 'kept'";
    let truth: f64 = writer.query_value(kept).await.unwrap();
    let shown = agent.wait_series(&on_primary("pharos_postgres_slot_retained_bytes", &slot), |bytes| bytes >= truth).await;
    let truth: f64 = writer.query_value(kept).await.unwrap();
    assert!(shown <= truth, "{shown} bytes were shown, {truth} are kept");

    reader.run("SELECT pg_wal_replay_resume()").await.unwrap();
    agent.wait_series(&on_standby("pharos_postgres_standby_replay_lag_bytes"), |bytes| bytes == 0.0).await;
    agent.wait_series(&on_standby("pharos_postgres_standby_replay_lag_seconds"), |seconds| seconds == 0.0).await;
    agent.wait_series(&on_primary("pharos_postgres_replication_lag_bytes", &sender), |bytes| bytes < 1e6).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn redis_info_becomes_series_of_both_roles() {
    let (tasks, _stop) = runtime_tasks();
    let mut primary = redis(&tasks).await;
    let options = RedisOptions { replica_of: Some(primary.port()), ..RedisOptions::default() };
    let replica = RedisServer::start(&find_redis(None).unwrap(), options).await.unwrap();
    let agent = TestAgent::start_with(&redis_config("app", &[&primary, &replica]), Vec::new()).await;
    let mut client = primary.connect().await.unwrap();
    let () = ::redis::pipe().set("a", 1).set("b", 2).cmd("SET").arg(&["c", "3", "EX", "1000"]).query_async(&mut client).await.unwrap();

    let of = |metric: &str, port: u16, labels: &[(&str, &str)]| series(metric, port, labels);
    for port in [primary.port(), replica.port()] {
        agent.wait_series(&of("pharos_redis_keys", port, &[("db", "db0")]), |keys| keys == 3.0).await;
        agent.wait_series(&of("pharos_redis_keys_expiring", port, &[("db", "db0")]), |keys| keys == 1.0).await;
    }
    let info: String = ::redis::cmd("INFO").query_async(&mut client).await.unwrap();
    let truth = |field: &str| -> f64 {
        let line = info.lines().find_map(|line| line.strip_prefix(field)?.strip_prefix(':'));
        line.unwrap_or_else(|| panic!("no {field}")).parse().unwrap()
    };
    agent.wait_series(&of("pharos_redis_clients", primary.port(), &[]), |clients| clients == truth("connected_clients")).await;
    agent.wait_series(&of("pharos_redis_clients_max", primary.port(), &[]), |max| max == truth("maxclients")).await;
    let memory = truth("used_memory");
    agent.wait_series(&of("pharos_redis_memory_used_bytes", primary.port(), &[]), |used| used > memory / 2.0 && used < memory * 2.0).await;
    agent.wait_series(&of("pharos_redis_replicas", primary.port(), &[]), |replicas| replicas == 1.0).await;
    agent.wait_series(&of("pharos_redis_replica_link_up", replica.port(), &[]), |up| up == 1.0).await;
    agent.wait_metrics(|metrics| metrics.contains("role=\"master\"} 1") && metrics.contains("role=\"slave\"} 1")).await;

    drop(client);
    primary.stop().await.unwrap();
    agent.wait_series(&of("pharos_redis_replica_link_up", replica.port(), &[]), |up| up == 0.0).await;
}

/// The parser of the format's authors, which accepts nothing that the format does not allow.
const OPENMETRICS: &str = "
import sys
from prometheus_client.openmetrics.parser import text_string_to_metric_families
for family in text_string_to_metric_families(sys.stdin.read()):
    print(family.name, family.type, len(family.samples))
";

/// The result of a program that reads an exposition: whether it accepts it, and what it prints.
fn read_by(program: &str, arguments: &[&str], exposition: &str) -> (bool, String) {
    let mut child = Command::new(program)
        .args(arguments)
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap_or_else(|err| panic!("{program}: {err}: run scripts/setup.sh"));
    child.stdin.take().expect("it is piped").write_all(exposition.as_bytes()).expect("it reads");
    let output = child.wait_with_output().expect("it ends");
    (output.status.success(), format!("{}{}", String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr)))
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn both_expositions_are_read_by_the_parsers_of_their_authors() {
    let (tasks, stop) = runtime_tasks();
    let server = postgres(&tasks).await;
    let redis = redis(&tasks).await;
    repeat(session(&server, "postgres").await, &["SELECT pg_sleep(0.01)"], &tasks, &stop);
    let agent = TestAgent::start_with(&format!("{}{}", postgres_config("app", &server), redis_config("app", &[&redis])), Vec::new()).await;
    let text = agent.wait_metrics(|metrics| metrics.contains("p95_estimate") && metrics.contains("pharos_redis_clients{")).await;
    assert_eq!(read_by("promtool", &["check", "metrics"], &text), (true, String::new()));
    let kinds: BTreeSet<&str> = text.lines().filter_map(|line| line.strip_prefix("# TYPE ")?.split(' ').next()).collect();
    assert_eq!(kinds.len(), text.lines().filter(|line| line.starts_with("# TYPE ")).count(), "each family stands once");

    let (status, open) = agent.request("/metrics", &[("accept", "application/openmetrics-text; version=1.0.0")]).await;
    assert_eq!((status, open.lines().last()), (200, Some("# EOF")));
    assert!(open.contains("# TYPE pharos_postgres_commits counter\npharos_postgres_commits_total{"), "counters' families have no suffix");
    // Debian's own Python: another one would not have its packages.
    let (accepted, families) = read_by("/usr/bin/python3", &["-c", OPENMETRICS], &open);
    assert!(accepted, "{families}");
    let (accepted, why) = read_by("/usr/bin/python3", &["-c", OPENMETRICS], "# TYPE a counter\na 1\n# EOF\n");
    assert!(!accepted && why.contains("ValueError"), "the parser refuses an invalid text: {why}");
    let mut names: Vec<&str> = families.lines().map(|family| family.split(' ').next().unwrap()).collect();
    names.sort_unstable();
    let mut expected: Vec<&str> = open.lines().filter_map(|line| line.strip_prefix("# TYPE ")?.split(' ').next()).collect();
    expected.sort_unstable();
    assert_eq!(names, expected, "every family is read");
    stop.cancel();
}
