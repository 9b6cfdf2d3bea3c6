//! No call of a statement is counted twice, even after resets, renames and drops. No run of the collector reads more than its budget.
//!
//! Covers the counters of pg_stat_statements and the cost of reading them, on real servers.

use std::io::Write as _;
use std::path::Path;
use std::process::Command;

use pharos::demo::binaries::PostgresBinaries;
use pharos::demo::postgres::{MONITORING_ROLE, PostgresOptions, PostgresServer, SUPERUSER};
use pharos::demo::session::Session;

use crate::fixture::wait::{holds, until};
use crate::fixture::{TestAgent, postgres_config, postgres_with, project, runtime_tasks, series, server_id, value_of};

async fn session(server: &PostgresServer) -> Session {
    server.connect(SUPERUSER, "postgres").await.expect("PostgreSQL answers")
}

fn with(settings: &[(&str, &str)]) -> PostgresOptions {
    let settings = settings.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect();
    PostgresOptions { settings, ..PostgresOptions::default() }
}

/// The series of one statement.
fn of(server: &PostgresServer, counter: &str, queryid: i64) -> String {
    let fingerprint = format!("{:016x}", queryid.cast_unsigned());
    let labels = [("datname", "postgres"), ("user", "postgres"), ("fingerprint", fingerprint.as_str()), ("toplevel", "true")];
    series(&format!("pharos_postgres_statement_{counter}_total"), server.port(), &labels)
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn planning_wal_and_temporary_blocks_are_counted_as_the_server_does() {
    const WORK: [(&str, &[(&str, &str)]); 3] = [
        (
            "INSERT INTO written SELECT n FROM generate_series(1, 1000) n",
            &[("wal_records", "wal_records"), ("wal_bytes", "wal_bytes"), ("plans", "plans"), ("blocks_dirtied", "shared_blks_dirtied")],
        ),
        (
            "SELECT count(*) FROM (SELECT n FROM generate_series(1, 100000) n ORDER BY n DESC) s",
            &[("temp_blocks_read", "temp_blks_read"), ("plans", "plans")],
        ),
        ("INSERT INTO passing SELECT n FROM generate_series(1, 1000) n", &[("local_blocks_hit", "local_blks_hit")]),
    ];
    let (tasks, _stop) = runtime_tasks();
    let server = postgres_with(with(&[("pg_stat_statements.track_planning", "on")]), &tasks).await;
    let work = session(&server).await;
    work.run("SET work_mem = '64kB'; CREATE TABLE written (n int); CREATE TEMP TABLE passing (n int)").await.unwrap();
    let agent = TestAgent::watch(&server).await;
    for (statement, counters) in WORK {
        work.run(statement).await.unwrap();
        let queryid = work
            .query_value::<i64>(&format!("SELECT queryid FROM pg_stat_statements WHERE query LIKE '{}%'", &statement[..19]))
            .await
            .unwrap();
        // What is counted before there is a series is part of `other`; what is counted then is exact.
        for counter in ["calls"].iter().chain(counters.iter().map(|(counter, _)| counter)) {
            until(format_args!("{counter} of {queryid} is shown"), async || {
                work.run(statement).await.unwrap();
                agent.series(&of(&server, counter, queryid)).await.ok_or("no series")
            })
            .await;
        }
        let truth = async |column: &str| -> f64 {
            work.query_value(&format!("SELECT {column}::float8 FROM pg_stat_statements WHERE queryid = {queryid}")).await.unwrap()
        };
        // Nothing of this statement is under way when two collections in a row show the same.
        let calls = of(&server, "calls", queryid);
        let runs = format!("pharos_collect_runs_total{{server=\"{}\",collector=\"statements\"}}", server_id(server.port()));
        let mut last = (agent.wait_series(&calls, |_| true).await, agent.wait_series(&runs, |_| true).await);
        until("two collections show the same", async || {
            let run = agent.wait_series(&runs, |runs| runs >= last.1 + 2.0).await;
            let counted = agent.wait_series(&calls, |_| true).await;
            let before = std::mem::replace(&mut last, (counted, run)).0;
            holds(counted == before, || format!("{before} calls, then {counted}"))
        })
        .await;
        let mut before = Vec::new();
        for (counter, column) in counters {
            before.push((agent.series(&of(&server, counter, queryid)).await.unwrap(), truth(column).await));
        }
        for _ in 0..5 {
            work.run(statement).await.unwrap();
        }
        for ((counter, column), (shown, counted)) in counters.iter().zip(before) {
            let gained = truth(column).await - counted;
            assert!(gained > 0.0, "{column} counts something");
            agent.wait_series(&of(&server, counter, queryid), |now| (now - shown - gained).abs() < 0.5).await;
        }
    }
    // Only one statement writes to a temporary table, so the others have no series for it.
    let metrics = agent.text("/metrics").await;
    let lines =
        |counter: &str| metrics.lines().filter(|line| line.starts_with(&format!("pharos_postgres_statement_{counter}_total{{"))).count();
    assert_eq!(lines("local_blocks_hit"), 2, "that statement and `other`");
    let _ = writeln!(
        std::io::stderr(),
        "{} series of statements",
        metrics.lines().filter(|line| line.starts_with("pharos_postgres_statement_")).count()
    );
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_older_extension_has_no_series_for_what_it_does_not_count() {
    let (tasks, _stop) = runtime_tasks();
    let folder = Command::new(project().join("scripts/postgres-versions.sh")).output().expect("bash is installed").stdout;
    let folder = String::from_utf8_lossy(&folder).lines().last().expect("it prints the folder").to_owned();
    let binaries = PostgresBinaries::find(Some(&Path::new(&folder).join("18/bin"))).await.unwrap();
    let server = PostgresServer::start(&binaries, PostgresOptions::default(), &tasks).await.unwrap();
    server.create_monitoring_role(None).await.unwrap();
    let setup = session(&server).await;
    setup.run("CREATE SCHEMA stats; CREATE EXTENSION pg_stat_statements WITH SCHEMA stats VERSION '1.9'").await.unwrap();
    let agent = TestAgent::watch(&server).await;
    let parts = agent.wait_facts(&server_id(server.port()), |parts| parts["statements"]["state"] == "unsupported").await;
    assert!(parts["statements"]["why"].as_str().unwrap().ends_with("run: GRANT USAGE ON SCHEMA stats TO \"pharos\""), "{parts:#}");
    setup.run("GRANT USAGE ON SCHEMA stats TO pharos").await.unwrap();
    let other = |counter: &str| {
        let labels = [("datname", ""), ("user", ""), ("fingerprint", "other"), ("toplevel", "")];
        series(&format!("pharos_postgres_statement_{counter}_total"), server.port(), &labels)
    };
    agent.wait_series(&other("wal_bytes"), |_| true).await;
    assert_eq!(agent.series(&other("jit_time_seconds")).await, None);
    assert_eq!(agent.series(&other("temp_block_read_time_seconds")).await, None);
    for version in ["1.10", "1.11", "1.12"] {
        setup.run(&format!("ALTER EXTENSION pg_stat_statements UPDATE TO '{version}'")).await.unwrap();
        agent.wait_series(&other("jit_time_seconds"), |_| true).await;
        agent.wait_series(&other("block_read_time_seconds"), |_| true).await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn twenty_megabytes_of_texts_make_no_run_slow_and_arrive_bit_by_bit() {
    // 8,192 expressions of thirteen operators each are as many statements.
    fn statements(count: u32, times: u32) -> String {
        format!(
            "DO $$ DECLARE expression text; BEGIN FOR i IN 1..{count} LOOP expression := '1';
            FOR bit IN 0..12 LOOP expression := expression || CASE WHEN (i >> bit) & 1 = 1 THEN ' + 1' ELSE ' - 1' END; END LOOP;
            FOR again IN 1..{times} LOOP EXECUTE 'SELECT ' || expression || ' /* ' || repeat('x', 4000) || ' */'; END LOOP; END LOOP; END $$"
        )
    }
    let (tasks, _stop) = runtime_tasks();
    let server = postgres_with(with(&[("pg_stat_statements.max", "8000"), ("pg_stat_statements.track", "all")]), &tasks).await;
    let work = session(&server).await;
    work.run(&statements(5_000, 1)).await.unwrap();
    let bytes: i64 = work.query_value("SELECT sum(octet_length(query)) FROM pg_stat_statements").await.unwrap();
    assert!(bytes > 20_000_000, "{bytes}");
    // The bytes that it reads decide how long a run takes. Its time depends on the machine, which may be busy, so no deadline is near.
    let quick = "[collect.interval]\nstatements = \"500ms\"\n[collect]\nbudget = 1.0\nstatement_timeout = \"25s\"\ndeadline = \"30s\"\n";
    let agent = TestAgent::start_with(&format!("{quick}{}", postgres_config("app", &server)), Vec::new()).await;
    agent.wait_series(&series("pharos_postgres_statements_tracked", server.port(), &[]), |tracked| tracked >= 5_000.0).await;

    let known = |slow: &serde_json::Value| {
        let items = slow["items"].as_array().cloned().unwrap_or_default();
        items.iter().filter(|item| item["query"].as_str().is_some_and(|query| query.contains("xxxx"))).count()
    };
    let path = "/api/database/slow-queries?threshold=0ms&limit=200";
    let (mut most, mut longest) = (0, 0.0_f64);
    let mut seen = Vec::new();
    let duration = format!("pharos_collect_duration_seconds{{server=\"{}\",collector=\"statements\"}}", server_id(server.port()));
    until("texts came twice", async || {
        // More than come at once are run all the time, and so are listed.
        work.run(&statements(150, 20)).await.unwrap();
        let now = known(&agent.json(path).await);
        if now > most {
            seen.push(now);
            most = now;
        }
        longest = longest.max(agent.series(&duration).await.unwrap());
        let up = format!("pharos_collect_up{{server=\"{}\",collector=\"statements\"}}", server_id(server.port()));
        assert_eq!(agent.series(&up).await, Some(1.0));
        holds(seen.len() >= 2, || format!("{seen:?}"))
    })
    .await;
    let calls = "SELECT coalesce(sum(calls), 0)::int8 FROM pg_stat_statements WHERE query LIKE '%pharos statements%' AND query LIKE ";
    let texts: i64 = work.query_value(&format!("{calls} '%octet_length%'")).await.unwrap();
    let counters: i64 = work.query_value(&format!("{calls} '%temp_blocks_written%'")).await.unwrap();
    let _ = writeln!(
        std::io::stderr(),
        "texts known: {seen:?}; the longest run took {longest:.2} s; texts asked {texts} times, counters {counters} times"
    );
    assert!(seen[0] <= 80 && seen[1] > seen[0], "they come within a budget: {seen:?}");
    assert!(texts >= 1 && counters > texts * 3, "texts asked {texts} times, counters {counters} times");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn of_more_entries_than_are_read_the_dearest_are_and_the_rest_is_counted() {
    let (tasks, _stop) = runtime_tasks();
    let server = postgres_with(with(&[("pg_stat_statements.max", "30000"), ("pg_stat_statements.track", "all")]), &tasks).await;
    let work = session(&server).await;
    // Fifteen operators that are one or the other are 32,768 statements.
    work.run(
        "DO $$ DECLARE expression text; BEGIN FOR i IN 1..21000 LOOP expression := '1';
         FOR bit IN 0..14 LOOP expression := expression || CASE WHEN (i >> bit) & 1 = 1 THEN ' + 1' ELSE ' - 1' END; END LOOP;
         EXECUTE 'SELECT ' || expression; END LOOP; END $$",
    )
    .await
    .unwrap();
    work.run("SELECT pg_sleep(0.2)").await.unwrap();
    let config = format!("[collect.interval]\nstatements = \"500ms\"\n[collect]\nbudget = 1.0\n{}", postgres_config("app", &server));
    let agent = TestAgent::start_with(&config, Vec::new()).await;
    let entries: f64 = work.query_value("SELECT count(*)::float8 FROM pg_stat_statements").await.unwrap();
    assert!(entries > 21_000.0, "{entries}");
    agent.wait_series(&series("pharos_postgres_statements_tracked", server.port(), &[]), |tracked| tracked >= entries).await;
    let queryid = "SELECT queryid FROM pg_stat_statements WHERE query = 'SELECT pg_sleep($1)'";
    let queryid = work.query_value::<i64>(queryid).await.unwrap();
    let naps = of(&server, "calls", queryid);
    until("the naps are shown", async || {
        work.run("SELECT pg_sleep(0.05)").await.unwrap();
        agent.series(&naps).await.ok_or("no series")
    })
    .await;
    // Those that come to be read for the first time had their counters before: they count nothing.
    let other = series(
        "pharos_postgres_statement_calls_total",
        server.port(),
        &[("datname", ""), ("user", ""), ("fingerprint", "other"), ("toplevel", "")],
    );
    let runs = format!("pharos_collect_runs_total{{server=\"{}\",collector=\"statements\"}}", server_id(server.port()));
    let begun = agent.series(&runs).await.unwrap();
    let before = agent.series(&other).await.unwrap();
    let cheap = "FROM pg_stat_statements WHERE query LIKE 'SELECT $1 + $2%' OR query LIKE 'SELECT $1 - $2%'";
    let done: f64 = work.query_value(&format!("SELECT sum(calls)::float8 {cheap}")).await.unwrap();
    agent.wait_series(&runs, |runs| runs >= begun + 5.0).await;
    assert!(agent.series(&other).await.unwrap() - before < done / 10.0, "{done} calls were there before");
    let up = format!("pharos_collect_up{{server=\"{}\",collector=\"statements\"}}", server_id(server.port()));
    assert_eq!(agent.series(&up).await, Some(1.0));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn resets_under_way_count_nothing_twice() {
    let (tasks, _stop) = runtime_tasks();
    let server = postgres_with(PostgresOptions::default(), &tasks).await;
    let work = session(&server).await;
    work.run("CREATE ROLE app LOGIN").await.unwrap();
    let app = server.connect("app", "postgres").await.unwrap();
    let agent = TestAgent::watch(&server).await;
    let runs = format!("pharos_collect_runs_total{{server=\"{}\",collector=\"statements\"}}", server_id(server.port()));
    let begun = agent.wait_series(&runs, |runs| runs >= 1.0).await;
    let sum = |metrics: &str| -> f64 {
        let lines =
            metrics.lines().filter(|line| line.starts_with("pharos_postgres_statement_calls_total{") && line.contains("user=\"app\""));
        lines.filter_map(|line| line.rsplit_once(' ')?.1.parse::<f64>().ok()).sum()
    };
    let mut called = 0.0;
    while agent.series(&runs).await.unwrap() < begun + 8.0 {
        for _ in 0..10 {
            app.run("SELECT pg_sleep(0.001)").await.unwrap();
            called += 1.0;
        }
        work.run("SELECT pg_stat_statements_reset()").await.unwrap();
    }
    let metrics = agent.text("/metrics").await;
    assert!(sum(&metrics) <= called, "{} of {called}", sum(&metrics));
    let failures = metrics.lines().find(|line| line.starts_with("pharos_collect_failures_total{") && line.contains("\"statements\""));
    assert_eq!(failures, None);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn statements_of_the_agent_name_their_collector_and_are_no_slow_queries() {
    let (tasks, _stop) = runtime_tasks();
    let server = postgres_with(PostgresOptions::default(), &tasks).await;
    let agent = TestAgent::watch(&server).await;
    for collector in ["activity", "locks", "statements", "database"] {
        let cost =
            format!("pharos_collect_cost_execution_seconds_total{{server=\"{}\",collector=\"{collector}\"}}", server_id(server.port()));
        let seconds = agent.wait_series(&cost, |seconds| seconds > 0.0).await;
        agent.wait_series(&cost, |later| later > seconds).await;
    }
    let slow = agent.json("/api/database/slow-queries?threshold=0ms&limit=200").await;
    let ours =
        slow["items"].as_array().unwrap().iter().filter(|item| item["query"].as_str().is_some_and(|text| text.contains("/* pharos ")));
    assert_eq!(ours.count(), 0, "{slow:#}");
    // Read after the reported value, so it can only be larger.
    let metrics = agent.text("/metrics").await;
    let truth: f64 = session(&server)
        .await
        .query_value(&format!("SELECT sum(total_exec_time)::float8 / 1000 FROM pg_stat_statements s JOIN pg_roles r ON r.oid = s.userid WHERE rolname = '{MONITORING_ROLE}'"))
        .await
        .unwrap();
    let counted = metrics.lines().filter(|line| line.starts_with("pharos_collect_cost_execution_seconds_total{"));
    let counted: f64 = counted.filter_map(|line| line.rsplit_once(' ')?.1.parse::<f64>().ok()).sum();
    assert!(counted <= truth + 1e-6, "{counted} s were reported, {truth} s were spent");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_datname_that_is_renamed_or_dropped_calls_nothing() {
    const CALLS: usize = 20_000;
    let (tasks, _stop) = runtime_tasks();
    let mut server = postgres_with(with(&[]), &tasks).await;
    server.create_database("shop").await.unwrap();
    let admin = session(&server).await;
    // So that no visit of the agent's is in the way.
    admin.run("REVOKE CONNECT ON DATABASE shop FROM PUBLIC").await.unwrap();
    let shop = server.connect(SUPERUSER, "shop").await.unwrap();
    shop.run(&"SELECT 7 AS often;".repeat(CALLS)).await.unwrap();
    let agent = TestAgent::watch(&server).await;
    let runs = format!("pharos_collect_runs_total{{server=\"{}\",collector=\"statements\"}}", server_id(server.port()));
    let further = async || {
        let before = agent.wait_series(&runs, |runs| runs >= 1.0).await;
        agent.wait_series(&runs, |runs| runs >= before + 3.0).await;
        let metrics = agent.text("/metrics").await;
        let calls = metrics.lines().filter(|line| line.starts_with("pharos_postgres_statement_calls_total{"));
        calls.filter_map(|line| line.rsplit_once(' ')?.1.parse::<f64>().ok()).sum::<f64>()
    };
    shop.run("SELECT 7 AS often").await.unwrap();
    let before = further().await;
    drop(shop);
    admin.run("ALTER DATABASE shop RENAME TO store").await.unwrap();
    server.connect(SUPERUSER, "store").await.unwrap().run("SELECT 7 AS often").await.unwrap();
    let after = further().await;
    assert!(after < before + CALLS as f64, "a renamed datname's calls count as new");
    admin.run("ALTER DATABASE store RENAME TO market").await.unwrap();
    server.restart().await.unwrap();
    let restarted = further().await;
    assert!(restarted < after + CALLS as f64, "after a restart a renamed datname's calls count as new");
    session(&server).await.run("DROP DATABASE market").await.unwrap();
    assert!(further().await < restarted + CALLS as f64, "a dropped datname's calls count as new");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn only_what_changed_is_read_unless_our_parameters_would_fill_the_log() {
    const ENTRIES: usize = 600;
    let (tasks, _stop) = runtime_tasks();
    let server = postgres_with(with(&[]), &tasks).await;
    let work = session(&server).await;
    for columns in 1..=ENTRIES {
        work.run(&format!("SELECT {}", vec!["1"; columns].join(","))).await.unwrap();
    }
    let agent = TestAgent::watch(&server).await;
    let of = |metric: &str| format!("{metric}{{server=\"{}\",collector=\"statements\"}}", server_id(server.port()));
    let [runs, rows] = ["pharos_collect_runs_total", "pharos_collect_cost_rows_total"].map(of);
    agent.wait_series(&runs, |runs| runs >= 2.0).await;
    // Over three runs, one of which may be whole in any case.
    let value = |metrics: &str, series: &str| value_of(metrics, series).unwrap();
    let rows_a_run = async || {
        // Of one scrape each, since a run may end between two.
        let before = agent.text("/metrics").await;
        let after = agent.wait_metrics(|metrics| value(metrics, &runs) >= value(&before, &runs) + 3.0).await;
        (value(&after, &rows) - value(&before, &rows)) / (value(&after, &runs) - value(&before, &runs))
    };
    let read = rows_a_run().await;
    assert!(read < 400.0, "{read} rows were read in a run");
    work.run("ALTER SYSTEM SET log_min_duration_statement = 0").await.unwrap();
    work.run("SELECT pg_reload_conf()").await.unwrap();
    agent.wait_series(&runs, |_| true).await;
    rows_a_run().await;
    let read = rows_a_run().await;
    assert!(read >= 500.0, "only {read} rows were read in a run");
}
