//! No server that shuts down waits for the agent, and no refusal stays without its reason and cure.
//!
//! Servers that run and no longer accept the agent: each is reported with reason and cure, and is monitored again once it is corrected.

use std::fs;

use pharos::demo::postgres::{MONITORING_ROLE, PostgresOptions, PostgresServer, SUPERUSER, ShutdownMode};
use pharos::demo::session::Session;

use super::{only_up, our_backends, session, wait_whole};
use crate::fixture::wait::{fitting, until};
use crate::fixture::{TestAgent, eventually, part_name, postgres, postgres_with, runtime_tasks, series, server_id};

const OURS_END: &str = "SELECT count(pg_terminate_backend(pid)) FROM pg_stat_activity WHERE application_name LIKE 'pharos %'";

/// Changes of a server, with the report of the agent for each.
struct Case {
    breaks: &'static [&'static str],
    mends: &'static [&'static str],
    reason: &'static str,
    says: &'static str,
}

const CASES: [Case; 7] = [
    Case {
        breaks: &["ALTER ROLE pharos NOLOGIN"],
        mends: &["ALTER ROLE pharos LOGIN"],
        reason: "authentication",
        says: "the role must exist and have LOGIN",
    },
    Case {
        breaks: &["ALTER ROLE pharos CONNECTION LIMIT 0"],
        mends: &["ALTER ROLE pharos CONNECTION LIMIT -1"],
        reason: "role-limit",
        says: "too many connections for role \"pharos\"",
    },
    Case {
        breaks: &["ALTER DATABASE watched CONNECTION LIMIT 0"],
        mends: &["ALTER DATABASE watched CONNECTION LIMIT -1"],
        reason: "datname-limit",
        says: "run ALTER DATABASE ... CONNECTION LIMIT: db error: FATAL: too many connections for database \"watched\"",
    },
    Case {
        breaks: &["ALTER DATABASE watched ALLOW_CONNECTIONS false"],
        mends: &["ALTER DATABASE watched ALLOW_CONNECTIONS true"],
        reason: "datname",
        says: "ALTER DATABASE ... ALLOW_CONNECTIONS true: db error: FATAL: database \"watched\" is not currently accepting connections",
    },
    Case {
        breaks: &["REVOKE CONNECT ON DATABASE watched FROM PUBLIC"],
        mends: &["GRANT CONNECT ON DATABASE watched TO PUBLIC"],
        reason: "privilege",
        says: "GRANT CONNECT ON DATABASE lets it",
    },
    Case {
        breaks: &["ALTER DATABASE watched ALLOW_CONNECTIONS false", OURS_END, "ALTER DATABASE watched RENAME TO away"],
        mends: &["ALTER DATABASE away RENAME TO watched", "ALTER DATABASE watched ALLOW_CONNECTIONS true"],
        reason: "datname",
        says: "the server has no such datname",
    },
    Case {
        breaks: &["ALTER ROLE pharos RENAME TO other"],
        mends: &["ALTER ROLE other RENAME TO pharos"],
        reason: "authentication",
        says: "role \"pharos\" does not exist",
    },
];

fn failures(port: u16, reason: &str) -> String {
    format!("pharos_collect_failures_total{{server=\"{}\",collector=\"activity\",reason=\"{reason}\"}}", server_id(port))
}

async fn watch(server: &PostgresServer) -> TestAgent {
    let config = format!("[[database]]\nname = \"app\"\nprimary = \"{}\"\n", server.url(MONITORING_ROLE, "watched"));
    let agent = TestAgent::start_with(&config, Vec::new()).await;
    wait_whole(&agent, server).await;
    agent
}

async fn run_all(truth: &Session, statements: &[&str]) {
    for sql in statements {
        truth.run(sql).await.unwrap();
    }
}

/// Ends sessions of the agent until it gets no new one, and returns what it reports.
async fn wait_refused(agent: &TestAgent, server: &PostgresServer, truth: &Session, reason: &str, says: &str) {
    let before = agent.series(&failures(server.port(), reason)).await.unwrap_or(0.0);
    truth.run(OURS_END).await.unwrap();
    agent.wait_series(&failures(server.port(), reason), |failures| failures > before).await;
    agent.wait_metrics(|metrics| only_up(metrics, "postgres", server.port())).await;
    let part = agent.wait_part(&part_name(server), |part| part["cause"].as_str().is_some_and(|cause| cause.contains(says))).await;
    assert_eq!(part["state"], "degraded", "{part:#}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_refused_login_is_reported_with_its_cure_and_monitoring_resumes_by_itself() {
    let (tasks, _stop) = runtime_tasks();
    let server = postgres(&tasks).await;
    server.create_database("watched").await.unwrap();
    let truth = session(&server).await;
    // No other datname lets the agent in either, else it would go there: see `visits::entrance`.
    truth.run("REVOKE CONNECT ON DATABASE postgres FROM PUBLIC").await.unwrap();
    let agent = watch(&server).await;
    for case in CASES {
        run_all(&truth, case.breaks).await;
        wait_refused(&agent, &server, &truth, case.reason, case.says).await;
        run_all(&truth, case.mends).await;
        wait_whole(&agent, &server).await;
    }
    let rules = server.data_dir().join("pg_hba.conf");
    let open = fs::read_to_string(&rules).unwrap();
    fs::write(&rules, "local all all trust\n").unwrap();
    truth.run("SELECT pg_reload_conf()").await.unwrap();
    wait_refused(
        &agent,
        &server,
        &truth,
        "pg-hba",
        "it needs a line for this role, datname, address and encryption: db error: FATAL: no pg_hba.conf",
    )
    .await;
    fs::write(&rules, open).unwrap();
    truth.run("SELECT pg_reload_conf()").await.unwrap();
    wait_whole(&agent, &server).await;
}

/// Another service authenticates the role, so a password on the server would change nothing.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_authentication_method_of_another_service_is_no_fault_of_the_password() {
    let (tasks, _stop) = runtime_tasks();
    let server = postgres(&tasks).await;
    server.create_database("watched").await.unwrap();
    let agent = watch(&server).await;
    let truth = session(&server).await;
    wait_whole(&agent, &server).await;
    let rules = server.data_dir().join("pg_hba.conf");
    let open = fs::read_to_string(&rules).unwrap();
    fs::write(&rules, "local all all trust\nhost all all all ident\n").unwrap();
    truth.run("SELECT pg_reload_conf()").await.unwrap();
    wait_refused(&agent, &server, &truth, "authentication-method", "the role needs a line with scram-sha-256").await;
    fs::write(&rules, open).unwrap();
    truth.run("SELECT pg_reload_conf()").await.unwrap();
    wait_whole(&agent, &server).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_server_that_recovers_is_starting_until_it_is_ready() {
    let (tasks, _stop) = runtime_tasks();
    let mut server = postgres(&tasks).await;
    let agent = TestAgent::watch(&server).await;
    wait_whole(&agent, &server).await;
    server.stop(ShutdownMode::Fast).await.unwrap();
    // The server recovers from an archive that makes it wait as long as this file exists.
    let hold = server.data_dir().join("hold");
    fs::write(&hold, "").unwrap();
    fs::write(server.data_dir().join("recovery.signal"), "").unwrap();
    let settings = server.data_dir().join("postgresql.conf");
    let restore = "restore_command = 'while [ -e hold ]; do sleep 0.05; done; false'\n";
    fs::write(&settings, fs::read_to_string(&settings).unwrap() + restore).unwrap();
    let port = server.port();
    let part = part_name(&server);
    let watching = async {
        agent.wait_series(&failures(port, "starting"), |failures| failures >= 1.0).await;
        agent.wait_metrics(|metrics| only_up(metrics, "postgres", port)).await;
        let says = "the server is starting, recovers, or shuts down; it is asked again until it accepts sessions: db error: FATAL";
        agent.wait_part(&part, |part| part["cause"].as_str().is_some_and(|cause| cause.contains(says))).await;
        fs::remove_file(&hold).unwrap();
    };
    let (restarted, ()) = tokio::join!(server.restart(), watching);
    restarted.unwrap();
    wait_whole(&agent, &server).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_server_that_shuts_down_when_everybody_left_does_not_wait_for_us() {
    let (tasks, _stop) = runtime_tasks();
    let mut server = postgres(&tasks).await;
    let agent = TestAgent::watch(&server).await;
    wait_whole(&agent, &server).await;
    let application = session(&server).await;
    let (port, part) = (server.port(), part_name(&server));
    let watching = async {
        let says = "the server is shutting down; it is asked again until it is back";
        agent.wait_part(&part, |part| part["cause"].as_str().is_some_and(|cause| cause.contains(says))).await;
        agent.wait_series(&failures(port, "stopping"), |failures| failures >= 1.0).await;
        eventually(&application, "SELECT NOT EXISTS (SELECT FROM pg_stat_activity WHERE application_name LIKE 'pharos %')").await;
        assert_eq!(our_backends(&application).await, 0);
        drop(application);
    };
    let (stopped, ()) = tokio::join!(server.stop(ShutdownMode::Smart), watching);
    stopped.unwrap();
    server.restart().await.unwrap();
    wait_whole(&agent, &server).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_server_without_free_connections_stays_monitored_and_refused_sessions_are_reported() {
    let (tasks, _stop) = runtime_tasks();
    let server = postgres_with(PostgresOptions { max_connections: 8, ..PostgresOptions::default() }, &tasks).await;
    let agent = TestAgent::watch(&server).await;
    wait_whole(&agent, &server).await;
    let accepting = series("pharos_postgres_accepting_connections", server.port(), &[]);
    agent.wait_series(&accepting, |accepting| accepting == 1.0).await;
    let mut crowd = Vec::new();
    let says = "the server has no connection left for ordinary roles";
    // Our second session leaves its place now and then, so the crowd comes again until none is left.
    let part = until("the server is full", async || {
        while let Ok(session) = server.connect(MONITORING_ROLE, "postgres").await {
            crowd.push(session);
        }
        let status = agent.wait_part(&part_name(&server), |_| true).await;
        assert!(crowd.len() < 8, "{status:#}");
        fitting(status, |status| status["cause"].as_str().is_some_and(|cause| cause.contains(says)))
    })
    .await;
    assert!(part["cause"].as_str().unwrap().contains("accepts no new sessions"), "{part:#}");
    agent.wait_series(&accepting, |accepting| accepting == 0.0).await;
    assert_eq!(agent.series(&series("pharos_postgres_up", server.port(), &[])).await, Some(1.0));
    let superuser = server.connect(SUPERUSER, "postgres").await.unwrap();
    assert!(our_backends(&superuser).await >= 1);
    drop((crowd, superuser));
    agent.wait_series(&accepting, |accepting| accepting == 1.0).await;
    wait_whole(&agent, &server).await;
}
