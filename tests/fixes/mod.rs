//! No printed cure fails, ends nothing or does harm: people copy it at night.
//!
//! Cures: a trouble is brought about on a real server, the SQL of its alert is run as it is printed, and the alert ends.

mod freezing;
mod printed;
mod relations;
mod replication;
mod schema;
mod server;
mod sessions;
mod storage;

use pharos::demo::postgres::{PostgresServer, SUPERUSER};
use pharos::demo::session::Session;
use serde_json::Value;

use crate::fixture::{TestAgent, postgres_config, shipped};

/// An agent with the plugins that judge here. Each of them needs time to compile.
pub async fn watch(server: &PostgresServer, settings: &str, plugins: &[&str]) -> TestAgent {
    let plugins = shipped().into_iter().filter(|(id, _)| plugins.contains(&id.as_str())).collect();
    TestAgent::start_with(&format!("{settings}{}", postgres_config("app", server)), plugins).await
}

pub async fn session(server: &PostgresServer) -> Session {
    server.connect(SUPERUSER, "postgres").await.expect("PostgreSQL answers")
}

fn items(alerts: &Value) -> &[Value] {
    alerts["items"].as_array().map_or(&[], Vec::as_slice)
}

fn is_it(alert: &Value, rule: &str, labels: &[(&str, &str)]) -> bool {
    alert["rule"] == rule && labels.iter().all(|(name, value)| alert["labels"][*name] == *value)
}

/// Waits until an alert of a rule fires whose title, detail or fix has this text.
pub async fn fires(agent: &TestAgent, rule: &str, labels: &[(&str, &str)], with: &str) -> Value {
    let says = |alert: &Value| ["title", "detail", "fix"].iter().any(|key| alert[*key].as_str().is_some_and(|text| text.contains(with)));
    let fits = |alert: &Value| is_it(alert, rule, labels) && alert["state"] == "firing" && says(alert);
    let alerts = agent.wait_json("/api/alerts", |alerts| items(alerts).iter().any(fits)).await;
    items(&alerts).iter().find(|alert| fits(alert)).cloned().expect("it was there a moment ago")
}

/// Waits until no alert of a rule with these labels fires any more.
pub async fn ends(agent: &TestAgent, rule: &str, labels: &[(&str, &str)]) {
    let is_open = |alert: &Value| is_it(alert, rule, labels) && alert["state"] != "recovering" && alert["state"] != "resolved";
    agent.wait_json("/api/alerts", |alerts| !items(alerts).iter().any(is_open)).await;
}

/// The statements of a fix, one by one as a person types them. What is no SQL does not end with a semicolon.
fn statements(alert: &Value) -> Vec<String> {
    let fix = alert["fix"].as_str().expect("every alert has a fix");
    let quoted = fix.split('`').skip(1).step_by(2).filter(|text| text.ends_with(';'));
    let mut statements = Vec::new();
    for text in quoted {
        let mut statement = String::new();
        let mut is_inside = false;
        for letter in text.chars() {
            is_inside ^= letter == '\'';
            if letter == ';' && !is_inside {
                statements.push(std::mem::take(&mut statement).trim().to_owned());
            } else {
                statement.push(letter);
            }
        }
    }
    statements
}

/// Runs the statements that begin so, each of which has to succeed, and waits until the alert ends.
async fn cure(agent: &TestAgent, session: &Session, alert: &Value, chosen: &[&str]) {
    let rule = alert["rule"].as_str().expect("every alert has a rule");
    let all = statements(alert);
    for beginning in chosen {
        let statement = all.iter().find(|statement| statement.starts_with(beginning));
        let statement = statement.unwrap_or_else(|| panic!("{rule} prints no {beginning}: {alert:#}"));
        session.run(statement).await.unwrap_or_else(|err| panic!("{rule}: `{statement}`: {err:?}"));
    }
    let labels: Vec<(&str, &str)> =
        alert["labels"].as_object().into_iter().flatten().filter_map(|(name, value)| Some((name.as_str(), value.as_str()?))).collect();
    ends(agent, rule, &labels).await;
}
