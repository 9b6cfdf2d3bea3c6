//! No session through a pooler leaves settings behind in sessions of other clients.
//!
//! A connection pooler in place of a server: it is recognised before a session of the agent leaves anything behind in it.

use pharos::config::collect::CollectConfig;
use pharos::config::database::TlsConfig;
use pharos::demo::postgres::{MONITORING_ROLE, SUPERUSER};
use pharos::postgres::Endpoint;
use pharos::postgres::monitor::{Connector, OddNames, Places, SessionLimits};
use tokio_postgres::NoTls;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use crate::fixture::pooler::Pooler;
use crate::fixture::{TestAgent, part_name, postgres, postgres_config, runtime_tasks, server_id};

const MODES: [&str; 3] = ["session", "transaction", "statement"];

fn connector(url: &str, tasks: &TaskTracker) -> Connector {
    Connector {
        endpoint: Endpoint {
            address: url.parse().expect("a URL"),
            password: None,
            tls: TlsConfig::default(),
            application_name: "pharos test".to_owned(),
        },
        limits: SessionLimits::from(&CollectConfig::default()),
        tasks: tasks.clone(),
        stop: CancellationToken::new(),
        places: Places::default(),
        odd_names: OddNames::default(),
    }
}

/// What an application finds that comes through the pooler: the process that serves it, and settings that are none of its own.
async fn found_by_an_application(pooler: &Pooler, tasks: &TaskTracker) -> (String, Vec<String>) {
    let (client, connection) = tokio_postgres::connect(&pooler.url(SUPERUSER, "postgres"), NoTls).await.unwrap();
    tasks.spawn(connection);
    let ask = "SELECT pg_backend_pid(), name, setting FROM pg_settings WHERE source IN ('session', 'client') \
               AND name NOT IN ('application_name', 'client_encoding', 'DateStyle', 'TimeZone', 'standard_conforming_strings')";
    let mut rows = Vec::new();
    for message in client.simple_query(&format!("{ask} UNION ALL SELECT pg_backend_pid(), '', ''")).await.unwrap() {
        if let tokio_postgres::SimpleQueryMessage::Row(row) = message {
            rows.push([0, 1, 2].map(|column| row.get(column).unwrap_or_default().to_owned()));
        }
    }
    let pid = rows[0][0].clone();
    (pid, rows.into_iter().filter(|row| !row[1].is_empty()).map(|[_, name, value]| format!("{name} = {value}")).collect())
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_pooler_is_refused_in_every_mode_and_nothing_is_left_behind_in_it() {
    let (tasks, _stop) = runtime_tasks();
    let server = postgres(&tasks).await;
    for mode in MODES {
        for (ignored, sign) in [("extra_float_digits", "unsupported startup parameter"), ("extra_float_digits, options", "did not pass on")]
        {
            let pooler = Pooler::start(&server, &format!("pool_mode = {mode}\nignore_startup_parameters = {ignored}")).await;
            let (pid, _) = found_by_an_application(&pooler, &tasks).await;
            // The same role as the application, so that both are lent the same session.
            let refused = connector(&pooler.url(SUPERUSER, "postgres"), &tasks).connect().await.err().expect("a pooler is no server");
            assert_eq!(refused.reason().as_str(), "pooler", "{mode}, {ignored}: {refused:?}");
            let text = refused.to_string();
            assert!(text.contains(sign) && text.contains("point the URL at the server's own host and port"), "{mode}, {ignored}: {text}");
            assert_eq!(found_by_an_application(&pooler, &tasks).await, (pid, Vec::new()), "{mode}, {ignored}");
        }
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_console_of_a_pooler_and_a_pooler_without_its_server_are_recognised_as_well() {
    let (tasks, _stop) = runtime_tasks();
    let mut server = postgres(&tasks).await;
    let pooler = Pooler::start(&server, "pool_mode = transaction\nignore_startup_parameters = options").await;
    let refused = connector(&pooler.url(MONITORING_ROLE, "pgbouncer"), &tasks).connect().await.err().expect("a console is no server");
    assert_eq!(refused.reason().as_str(), "pooler", "{refused:?}");
    server.stop(pharos::demo::postgres::ShutdownMode::Fast).await.unwrap();
    let refused =
        connector(&pooler.url(MONITORING_ROLE, "postgres"), &tasks).connect().await.err().expect("no server is behind the pooler");
    assert!(["pooler", "timeout"].contains(&refused.reason().as_str()), "{refused:?}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_address_of_a_pooler_is_reported_and_other_servers_are_monitored() {
    let (tasks, _stop) = runtime_tasks();
    let server = postgres(&tasks).await;
    let pooler = Pooler::start(&server, "pool_mode = transaction\nignore_startup_parameters = options, extra_float_digits").await;
    let through = format!("[[database]]\nname = \"pooled\"\nprimary = \"{}\"\n", pooler.url(MONITORING_ROLE, "postgres"));
    let agent = TestAgent::start_with(&format!("{}{through}", postgres_config("app", &server)), Vec::new()).await;
    let part = agent.wait_part(&format!("postgres {}", server_id(pooler.port())), |part| part["state"] == "degraded").await;
    assert!(part["cause"].as_str().unwrap().contains("a connection pooler answers at this address"), "{part:#}");
    let failures =
        format!("pharos_collect_failures_total{{server=\"{}\",collector=\"activity\",reason=\"pooler\"}}", server_id(pooler.port()));
    agent.wait_series(&failures, |failures| failures >= 1.0).await;
    agent.wait_part(&part_name(&server), |part| part["state"] == "ok").await;
}
