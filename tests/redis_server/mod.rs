//! No Redis that the agent cannot read counts as healthy.
//!
//! Redis servers as people set them up: what the agent reports about each, and whether the cure that it prints works.

mod cures;
mod losses;
mod refusals;
mod tls;

use ::redis::Value as Answer;
use ::redis::aio::MultiplexedConnection;
use pharos::demo::redis::{RedisOptions, RedisServer};
use serde_json::Value;

use crate::fixture::{TestAgent, redis_with, server_id, shipped};

/// A server with these lines in its redis.conf.
async fn start(settings: &[(&str, &str)]) -> RedisServer {
    let settings = settings.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect();
    redis_with(RedisOptions { settings, ..RedisOptions::default() }).await
}

/// A `[[redis]]` of one server, logged in as this user.
fn config(server: &RedisServer, user: &str, more: &str) -> String {
    format!("[[redis]]\nname = \"app\"\nnodes = [\"redis://{user}@127.0.0.1:{}\"]\n{more}\n", server.port()).replace("//@", "//")
}

/// An agent with these plugins, all of them there: on a busy host judges come a while after the facts.
async fn judged(config: &str, plugins: &[&str]) -> TestAgent {
    let some = shipped().into_iter().filter(|(id, _)| plugins.contains(&id.as_str())).collect();
    let agent = TestAgent::start_with(config, some).await;
    for plugin in plugins {
        agent.wait_plugin(plugin, |plugin| plugin["state"] == "serving").await;
    }
    agent
}

/// Runs a command as it is printed.
async fn run(admin: &mut MultiplexedConnection, command: &str) -> Answer {
    let mut words = command.split_whitespace();
    let mut asked = ::redis::cmd(words.next().expect("a command"));
    words.for_each(|word| {
        asked.arg(word);
    });
    asked.query_async(admin).await.unwrap_or_else(|err| panic!("{command}: {err}"))
}

fn of_rule<'a>(alerts: &'a Value, rule: &str) -> Option<&'a Value> {
    alerts["items"].as_array()?.iter().find(|alert| alert["rule"] == rule)
}

/// Waits until an alert of a rule fires whose texts have this in them.
async fn fires(agent: &TestAgent, rule: &str, with: &str) -> Value {
    let says = |alert: &Value| ["title", "detail", "fix"].iter().any(|key| alert[*key].as_str().is_some_and(|text| text.contains(with)));
    let fits = |alerts: &Value| of_rule(alerts, rule).is_some_and(|alert| alert["state"] == "firing" && says(alert));
    let alerts = agent.wait_json("/api/alerts", fits).await;
    of_rule(&alerts, rule).cloned().expect("it was there a moment ago")
}

/// Waits until no alert of a rule fires any more.
async fn ends(agent: &TestAgent, rule: &str) {
    let is_over = |alerts: &Value| of_rule(alerts, rule).is_none_or(|alert| alert["state"] == "recovering" || alert["state"] == "resolved");
    agent.wait_json("/api/alerts", is_over).await;
}

/// The commands in a fix, as they are printed.
fn commands(alert: &Value) -> Vec<String> {
    let fix = alert["fix"].as_str().expect("every alert has a fix");
    fix.split('`').skip(1).step_by(2).map(ToOwned::to_owned).collect()
}

/// The one of them that begins so.
fn command(alert: &Value, beginning: &str) -> String {
    let all = commands(alert);
    all.iter().find(|command| command.starts_with(beginning)).unwrap_or_else(|| panic!("no {beginning} in {alert:#}")).clone()
}

/// Waits until the server's collector failed for this reason.
async fn fails(agent: &TestAgent, server: &RedisServer, reason: &str) {
    let id = server_id(server.port());
    let failing = format!("pharos_collect_failing{{server=\"{id}\",collector=\"info\",reason=\"{reason}\"}}");
    agent.wait_series(&failing, |failing| failing == 1.0).await;
}

async fn is_up(agent: &TestAgent, server: &RedisServer, up: f64) {
    agent.wait_series(&crate::fixture::series("pharos_redis_up", server.port(), &[]), |value| value == up).await;
}

/// Facts are present, and no part has failed.
async fn works(agent: &TestAgent, server: &RedisServer) {
    is_up(agent, server, 1.0).await;
    agent.wait_metrics(|metrics| metrics.contains("pharos_redis_clients{") && !metrics.contains("pharos_collect_failing{")).await;
}
