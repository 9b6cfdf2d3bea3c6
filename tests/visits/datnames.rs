//! No datname is left out without a report: a datname that is not visited is never fine.
//!
//! Which datnames are visited, and what is reported about the others.

use serde_json::Value;

use super::{find, session, wait_row};
use crate::fixture::{TestAgent, postgres, postgres_config, runtime_tasks, series, shipped};

/// Waits for an alert that a datname is not visited.
async fn wait_alert(agent: &TestAgent, datname: &str) -> Value {
    let is_it =
        |alert: &Value| alert["rule"] == "datname-not-visited" && alert["labels"]["datname"] == datname && alert["state"] == "firing";
    let has_it = |answer: &Value| answer["items"].as_array().is_some_and(|items| items.iter().any(is_it));
    let answer = agent.wait_json("/api/alerts", has_it).await;
    answer["items"].as_array().unwrap().iter().find(|alert| is_it(alert)).unwrap().clone()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_template_of_a_user_is_visited_and_each_unvisited_datname_is_reported_with_its_own_cure() {
    let (tasks, _stop) = runtime_tasks();
    let server = postgres(&tasks).await;
    let truth = session(&server, "postgres").await;
    for datname in ["tenants", "broken", "closed", "full", "secret"] {
        server.create_database(datname).await.unwrap();
    }
    session(&server, "tenants").await.run("CREATE TABLE of_a_template AS SELECT g AS id FROM generate_series(1, 50000) g").await.unwrap();
    truth
        .run(
            "ALTER DATABASE tenants IS_TEMPLATE true; ALTER DATABASE closed ALLOW_CONNECTIONS false;
             ALTER DATABASE \"full\" CONNECTION LIMIT 0; REVOKE CONNECT ON DATABASE secret FROM public;
             UPDATE pg_database SET datconnlimit = -2 WHERE datname = 'broken'",
        )
        .await
        .unwrap();
    let settings = "[plugin.postgres-maintenance.settings.checks]\ndatname-not-visited = { for = \"0s\" }\n";
    let judge = shipped().into_iter().filter(|(id, _)| id == "postgres-maintenance").collect();
    let agent = TestAgent::start_with(&format!("{settings}{}", postgres_config("app", &server)), judge).await;
    agent.wait_plugin("postgres-maintenance", |plugin| plugin["state"] == "serving").await;

    wait_row(&agent, &server, "tables", &[("datname", "tenants"), ("relation", "of_a_template")], |_| true).await;
    for (datname, visited) in [("tenants", 1.0), ("broken", 0.0), ("closed", 0.0), ("full", 0.0), ("secret", 0.0)] {
        let visits = series("pharos_postgres_datname_visited", server.port(), &[("datname", datname)]);
        agent.wait_series(&visits, |value| value == visited).await;
    }
    for (datname, reason) in
        [("broken", "datname-invalid"), ("closed", "datname-closed"), ("full", "datname-limit"), ("secret", "privilege")]
    {
        let row = wait_row(&agent, &server, "visits", &[("datname", datname), ("collector", "tables")], |_| true).await;
        assert_eq!((&row["state"], &row["reason"]), (&"unsupported".into(), &reason.into()), "{row:#}");
    }
    for (datname, cure) in [
        ("broken", "DROP DATABASE \"broken\""),
        ("full", "ALTER DATABASE \"full\" CONNECTION LIMIT"),
        ("secret", "GRANT CONNECT ON DATABASE \"secret\""),
    ] {
        let alert = wait_alert(&agent, datname).await;
        assert!(alert["fix"].as_str().is_some_and(|fix| fix.contains(cure)), "{alert:#}");
    }
    // Its owner allows no connection.
    let open = agent.json("/api/alerts").await;
    assert_eq!(
        find(
            open["items"].as_array().unwrap(),
            &[("rule", "datname-not-visited"), ("title", "tables and indexes of closed are not watched")]
        ),
        None
    );
    agent.stop().await;
}
