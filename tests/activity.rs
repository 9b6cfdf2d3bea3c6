//! No session is counted in the wrong state, and no wait is shown without its time or its blocker.
//!
//! Covers working and waiting sessions and their blockers, on servers in real trouble.

use std::io::Write as _;
use std::sync::Arc;

use pharos::demo::postgres::{PostgresOptions, PostgresServer, SUPERUSER};
use pharos::demo::session::Session;
use pharos_model::snapshot::Change;
use pharos_model::snapshot::Table;
use serde_json::Value;
use tokio_util::task::TaskTracker;

use crate::fixture::{TestAgent, eventually, postgres, postgres_config, postgres_with, runtime_tasks, series, server_id};

async fn session(server: &PostgresServer) -> Session {
    server.connect(SUPERUSER, "postgres").await.expect("PostgreSQL answers")
}

async fn pid(session: &Session) -> i64 {
    session.query_value::<i32>("SELECT pg_backend_pid()").await.unwrap().into()
}

/// Runs a statement that waits until the session is dropped or its lock is free.
fn wait_in(session: Session, statement: &'static str, tasks: &TaskTracker) {
    tasks.spawn(async move { session.run(statement).await });
}

fn latest(agent: &TestAgent, port: u16) -> Option<Arc<Change>> {
    let picture = agent.agent.board().picture();
    picture.subjects.values().find(|change| change.snapshot.subject.id == server_id(port)).cloned()
}

/// The rows of a table whose column has this text.
fn rows(table: &Table, column: &str, text: &str) -> Vec<usize> {
    (0..table.row_count as usize).filter(|row| table.text(column, *row) == Some(text)).collect()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn sessions_that_wait_are_averaged_and_their_time_adds_up() {
    let (tasks, _stop) = runtime_tasks();
    let server = postgres(&tasks).await;
    let holder = session(&server).await;
    holder.run("SELECT pg_advisory_lock(7)").await.unwrap();
    for _ in 0..3 {
        wait_in(session(&server).await, "SELECT pg_sleep(3600)", &tasks);
    }
    wait_in(session(&server).await, "SELECT pg_advisory_lock(7)", &tasks);
    let agent = TestAgent::watch(&server).await;
    let of = |metric: &str, labels: &[(&str, &str)]| series(metric, server.port(), labels);
    let active = |class| of("pharos_postgres_active_sessions", &[("wait_event_type", class)]);
    agent.wait_series(&active("Timeout"), |average| average == 3.0).await;
    agent.wait_series(&active("Lock"), |average| average == 1.0).await;
    agent.wait_series(&active("IO"), |average| average == 0.0).await;
    for slice in ["parallel worker", "walsender"] {
        agent.wait_series(&of("pharos_postgres_background_active_sessions", &[("backend_type", slice)]), |average| average == 0.0).await;
    }

    // Three sessions spend three seconds each second, by the agent's counter and by the server's clock.
    let truth = session(&server).await;
    let seconds = of("pharos_postgres_wait_seconds_total", &[("wait_event_type", "Timeout"), ("wait_event", "PgSleep")]);
    let now = "SELECT extract(epoch FROM clock_timestamp())::float8";
    let counted = agent.wait_series(&seconds, |_| true).await;
    let began: f64 = truth.query_value(now).await.unwrap();
    let later = agent.wait_series(&seconds, |seconds| seconds >= counted + 9.0).await;
    let spent = truth.query_value::<f64>(now).await.unwrap() - began;
    let rate = (later - counted) / spent;
    assert!((2.2..=3.8).contains(&rate), "{rate} sessions by {later} - {counted} in {spent}");

    let change = latest(&agent, server.port()).unwrap();
    let waits = change.snapshot.table("activity_waits").unwrap();
    let sleeping = rows(waits, "wait_event", "PgSleep");
    let [row] = sleeping[..] else { panic!("one statement sleeps: {waits:?}") };
    let queryid: i64 = truth.query_value("SELECT query_id FROM pg_stat_activity WHERE wait_event = 'PgSleep' LIMIT 1").await.unwrap();
    assert_eq!((waits.integer("query_id", row), waits.number("sessions_max", row)), (Some(queryid), Some(3.0)));
    assert!(waits.number("longest_seconds", row).unwrap() >= 2.0, "it goes on from window to window: {waits:?}");
    assert!(agent.series(&of("pharos_postgres_activity_samples_total", &[])).await.unwrap() > 10.0);
    holder.run("SELECT pg_advisory_unlock(7)").await.unwrap();
    agent.wait_series(&active("Lock"), |average| average == 0.0).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn two_hundred_sessions_are_shown_as_they_are_and_reading_them_costs_little() {
    let (tasks, _stop) = runtime_tasks();
    let server = postgres_with(PostgresOptions { max_connections: 230, ..PostgresOptions::default() }, &tasks).await;
    let mut idle = Vec::new();
    for _ in 0..150 {
        idle.push(session(&server).await);
    }
    for _ in 0..50 {
        wait_in(session(&server).await, "SELECT pg_sleep(3600)", &tasks);
    }
    let agent = TestAgent::watch(&server).await;
    let of = |metric: &str, labels: &[(&str, &str)]| series(metric, server.port(), labels);
    let active = of("pharos_postgres_active_sessions", &[("wait_event_type", "Timeout")]);
    agent.wait_series(&active, |average| average == 50.0).await;
    let samples = of("pharos_postgres_activity_samples_total", &[]);
    let taken = agent.wait_series(&samples, |_| true).await;
    agent.wait_series(&samples, |samples| samples >= taken + 20.0).await;
    let truth = session(&server).await;
    let cost = |text: &str| {
        format!(
            "SELECT coalesce(sum(total_exec_time) / sum(calls), -1)::float8 FROM pg_stat_statements WHERE query LIKE '%{text}%' AND query LIKE '%pharos activity%'"
        )
    };
    let whole: f64 = truth.query_value(&cost("FROM pg_stat_get_activity(")).await.unwrap();
    let _ = writeln!(std::io::stderr(), "a sample of 200 sessions, 50 of them at work: {whole:.3} ms");
    assert!(whole > 0.0 && whole < 20.0, "{whole} ms");
    // One in four sessions runs this, and then none does: another statement is needed.
    truth.run("SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE wait_event = 'PgSleep'").await.unwrap();
    agent.wait_series(&active, |average| average == 0.0).await;
    eventually(&truth, "SELECT sum(calls) > 5 FROM pg_stat_statements WHERE query LIKE '%pg_stat_get_backend_idset%'").await;
    let each: f64 = truth.query_value(&cost("pg_stat_get_backend_idset")).await.unwrap();
    let _ = writeln!(std::io::stderr(), "a sample of 150 sessions, none of them at work: {each:.3} ms");
    let missed = agent.series(&of("pharos_postgres_activity_samples_missed_total", &[])).await.unwrap();
    assert!(missed < agent.series(&samples).await.unwrap(), "{missed} were missed");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_pile_up_behind_ddl_names_the_session_to_cancel_and_the_prepared_transaction() {
    let (tasks, _stop) = runtime_tasks();
    let settings = vec![("max_prepared_transactions".to_owned(), "5".to_owned())];
    let server = postgres_with(PostgresOptions { settings, ..PostgresOptions::default() }, &tasks).await;
    server.create_database("shop").await.unwrap();
    let idle = session(&server).await;
    idle.run("CREATE TABLE accounts (id int); CREATE TABLE orders AS SELECT 1 AS id, 0 AS cents").await.unwrap();
    let root = pid(&idle).await;
    idle.run("BEGIN; SELECT count(*) FROM accounts").await.unwrap();
    let truth = session(&server).await;
    let waiting = |count: u32| format!("SELECT count(*) = {count} FROM pg_locks WHERE NOT granted");
    let ddl = session(&server).await;
    let ddl_pid = pid(&ddl).await;
    wait_in(ddl, "ALTER TABLE accounts ADD COLUMN cents int", &tasks);
    eventually(&truth, &waiting(1)).await;
    for _ in 0..3 {
        wait_in(session(&server).await, "SELECT count(*) FROM accounts", &tasks);
    }
    let transfer = session(&server).await;
    transfer.run("BEGIN; UPDATE orders SET cents = 1").await.unwrap();
    transfer.run("PREPARE TRANSACTION 'transfer-7'").await.unwrap();
    wait_in(session(&server).await, "UPDATE orders SET cents = 2", &tasks);
    let shop = server.connect(SUPERUSER, "shop").await.unwrap();
    shop.run("CREATE TABLE stock (id int)").await.unwrap();
    shop.run("BEGIN; LOCK TABLE stock").await.unwrap();
    wait_in(server.connect(SUPERUSER, "shop").await.unwrap(), "SELECT count(*) FROM stock", &tasks);
    eventually(&truth, &waiting(6)).await;

    let agent = TestAgent::watch(&server).await;
    let waiters = |item: &Value| -> Vec<Value> {
        let roots = item["roots"].as_array().cloned().unwrap_or_default();
        roots.iter().flat_map(|root| root["waiters"].as_array().cloned().unwrap_or_default()).collect()
    };
    let locks = agent.wait_json("/api/database/locks?database=app", |locks| waiters(&locks["items"][0]).len() == 6).await;
    let item = &locks["items"][0];
    let roots = item["roots"].as_array().unwrap();
    assert_eq!(
        (&roots[0]["pid"], &roots[0]["state"], &roots[0]["mode"]),
        (&root.into(), &"idle in transaction".into(), &"AccessShareLock".into()),
        "{locks:#}"
    );
    let all = waiters(item);
    let of = |relation: &str| all.iter().filter(|waiter| waiter["relation"] == relation).collect::<Vec<_>>();
    let accounts = of("accounts");
    assert_eq!(
        (accounts.len(), &accounts[0]["pid"], &accounts[0]["remedy"]),
        (4, &ddl_pid.into(), &"idle-in-transaction".into()),
        "{locks:#}"
    );
    assert!(
        accounts[0]["remedy_text"]
            .as_str()
            .unwrap()
            .contains(&format!("pg_terminate_backend(pid) FROM pg_stat_activity WHERE pid = {root} AND backend_start")),
        "{locks:#}"
    );
    for reader in &accounts[1..] {
        assert_eq!((&reader["remedy"], &reader["depth"], &reader["mode"]), (&"ddl-queue".into(), &2.into(), &"AccessShareLock".into()));
        assert!(
            reader["remedy_text"]
                .as_str()
                .unwrap()
                .contains(&format!("pg_cancel_backend(pid) FROM pg_stat_activity WHERE pid = {ddl_pid} AND backend_start")),
            "{locks:#}"
        );
    }
    let orders = of("orders");
    assert_eq!((orders.len(), &orders[0]["prepared"], &orders[0]["remedy"]), (1, &"transfer-7".into(), &"prepared-transaction".into()));
    assert_eq!((&orders[0]["lock_type"], &orders[0]["blocked_by"]), (&"transactionid".into(), &Value::Null), "{locks:#}");
    let elsewhere = all.iter().find(|waiter| waiter["datname"] == "shop").unwrap();
    let oid = shop.query_value::<String>("SELECT 'stock'::regclass::oid::text").await.unwrap();
    assert_eq!(elsewhere["relation"], oid.as_str(), "its name is known in its own database only");
    let of = |metric: &str, labels: &[(&str, &str)]| series(metric, server.port(), labels);
    agent.wait_series(&of("pharos_postgres_locks_held", &[("mode", "AccessExclusiveLock")]), |held| held >= 1.0).await;
    agent.wait_series(&of("pharos_postgres_lock_table_used_ratio", &[]), |ratio| ratio > 0.0 && ratio < 0.1).await;

    idle.run("COMMIT").await.unwrap();
    truth.run("ROLLBACK PREPARED 'transfer-7'").await.unwrap();
    shop.run("COMMIT").await.unwrap();
    agent.wait_json("/api/database/locks", |locks| locks["items"][0]["roots"].as_array().is_some_and(Vec::is_empty)).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_wait_for_a_lock_is_read_when_it_begins() {
    const CONFIG: &str = "[collect.interval]\nactivity = \"1h\"\nsample = \"100ms\"\nlocks = \"8s\"\n[collect]\nbudget = 1.0\n";
    let (tasks, _stop) = runtime_tasks();
    let server = postgres(&tasks).await;
    let holder = session(&server).await;
    holder.run("SELECT pg_advisory_lock(7)").await.unwrap();
    let agent = TestAgent::start_with(&format!("{CONFIG}{}", postgres_config("app", &server)), Vec::new()).await;
    let waiters = series("pharos_postgres_lock_waiters", server.port(), &[]);
    agent.wait_series(&waiters, |waiters| waiters == 0.0).await;
    // A collector that ran a moment ago is not hurried, so this one must have run half its interval ago.
    let read: String = holder.query_value("SELECT clock_timestamp()::text").await.unwrap();
    eventually(&holder, &format!("SELECT clock_timestamp() > '{read}'::timestamptz + interval '4.5 s'")).await;
    wait_in(session(&server).await, "SELECT pg_advisory_lock(7)", &tasks);
    agent.wait_series(&waiters, |waiters| waiters == 1.0).await;
    let age = agent.series(&series("pharos_postgres_lock_wait_age_max_seconds", server.port(), &[])).await.unwrap();
    assert!(age < 1.5, "it had waited for {age} s when it was read");
}

/// How often a plan goes through all locks, each scan by its loops.
fn scans_of_locks(plan: &Value) -> f64 {
    let own = if plan["CTE Name"] == "locks" { plan["Actual Loops"].as_f64().unwrap() } else { 0.0 };
    own + plan["Plans"].as_array().into_iter().flatten().map(scans_of_locks).sum::<f64>()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn many_waiters_among_many_locks_do_not_increase_how_often_locks_are_read() {
    const WAITERS: usize = 30;
    let (tasks, _stop) = runtime_tasks();
    let settings = [("max_prepared_transactions", "5"), ("max_locks_per_transaction", "500")];
    let settings = settings.map(|(name, value)| (name.to_owned(), value.to_owned())).to_vec();
    let server = postgres_with(PostgresOptions { settings, ..PostgresOptions::default() }, &tasks).await;
    let truth = session(&server).await;
    truth
        .run(
            "CREATE FUNCTION plan(sql text) RETURNS text LANGUAGE plpgsql AS
             $$ DECLARE plan json; BEGIN EXECUTE 'EXPLAIN (ANALYZE, FORMAT JSON) ' || sql INTO plan; RETURN plan::text; END $$",
        )
        .await
        .unwrap();
    truth.run("CREATE TABLE orders AS SELECT 1 AS id, 0 AS cents").await.unwrap();
    let transfer = session(&server).await;
    transfer.run("BEGIN; UPDATE orders SET cents = 1").await.unwrap();
    transfer.run("PREPARE TRANSACTION 'transfer-7'").await.unwrap();
    let holder = session(&server).await;
    holder.run("SELECT count(pg_advisory_lock(g)) FROM generate_series(1, 10000) g").await.unwrap();
    let locks = include_str!("../agent/src/collect/postgres/sql/locks.sql");
    let scans = async || {
        let plan: Value =
            serde_json::from_str(&truth.query_value::<String>(&format!("SELECT plan($plan${locks}$plan$)")).await.unwrap()).unwrap();
        scans_of_locks(&plan[0]["Plan"])
    };
    wait_in(session(&server).await, "UPDATE orders SET cents = 2", &tasks);
    eventually(&truth, "SELECT count(*) = 1 FROM pg_locks WHERE NOT granted").await;
    let of_one = scans().await;
    for _ in 1..WAITERS {
        wait_in(session(&server).await, "SELECT pg_advisory_lock(7)", &tasks);
    }
    eventually(&truth, &format!("SELECT count(*) = {WAITERS} FROM pg_locks WHERE NOT granted")).await;
    let of_many = scans().await;
    assert!((1.0..=6.0).contains(&of_one) && of_many <= 6.0, "{of_one} for one waiter, {of_many} for {WAITERS}");

    let agent = TestAgent::watch(&server).await;
    let locks = agent
        .wait_json("/api/database/locks?database=app", |locks| {
            let roots = locks["items"][0]["roots"].as_array().cloned().unwrap_or_default();
            roots.iter().filter_map(|root| root["waiters"].as_array()).map(Vec::len).sum::<usize>() == WAITERS
        })
        .await;
    let roots = locks["items"][0]["roots"].as_array().unwrap();
    let prepared = roots.iter().flat_map(|root| root["waiters"].as_array().unwrap()).find(|waiter| waiter["relation"] == "orders").unwrap();
    assert_eq!(prepared["prepared"], "transfer-7", "{locks:#}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_lock_table_is_counted_now_and_then_and_its_fill_reported_in_each_run() {
    const RUNS: f64 = 24.0;
    let (tasks, _stop) = runtime_tasks();
    let server = postgres(&tasks).await;
    let agent = TestAgent::watch(&server).await;
    let ratio = series("pharos_postgres_lock_table_used_ratio", server.port(), &[]);
    let runs = format!("pharos_collect_runs_total{{server=\"{}\",collector=\"locks\"}}", server_id(server.port()));
    agent.wait_series(&ratio, |ratio| ratio >= 0.0).await;
    let begun = agent.wait_series(&runs, |runs| runs >= 1.0).await;
    while agent.series(&runs).await.unwrap() < begun + RUNS {
        assert!(agent.series(&ratio).await.is_some(), "each run reports the ratio");
    }
    let truth = session(&server).await;
    let calls = "SELECT sum(calls)::float8 FROM pg_stat_statements WHERE query LIKE '%/* pharos locks */%' AND query LIKE";
    let counted: f64 = truth.query_value(&format!("{calls} '%fastpath%'")).await.unwrap();
    let asked: f64 = truth.query_value(&format!("{calls} '%lock_manager_waits%'")).await.unwrap();
    assert!(asked >= RUNS && counted >= 3.0 && counted <= asked / 5.0 + 2.0, "counted in {counted} of {asked} runs");
    truth.run("BEGIN; LOCK TABLE pg_class IN SHARE ROW EXCLUSIVE MODE").await.unwrap();
    let held = series("pharos_postgres_locks_held", server.port(), &[("mode", "ShareRowExclusiveLock")]);
    agent.wait_series(&held, |held| held == 1.0).await;
}
