//! No step of the wall clock under a running agent changes an alert, a message or a duration.
//!
//! A clock that is set while the built program runs: libfaketime moves the wall clock and leaves the monotonic one.

use std::collections::BTreeSet;
use std::path::Path;
use std::process::Stdio;

use pharos::demo::postgres::{MONITORING_ROLE, SUPERUSER};
use pharos::demo::receiver::{Count, Receiver};
use serde_json::{Value, json};
use tokio::process::Child;

use super::states;
use crate::fixture::program::command;
use crate::fixture::reserved::ReservedPort;
use crate::fixture::wait::{holds, until};
use crate::fixture::zoo_program::with_only;
use crate::fixture::{PATIENCE, get, postgres, postgres_config, receiver_config, redis, redis_config, runtime_tasks, server_id, set_keys};
use crate::topology::standby_of;

/// Seconds that are added to the real time, one after the other: an hour on, an hour back, ten years on, and all is as it was.
const STEPS_S: [i64; 4] = [3_600, -3_600, 315_360_000, 0];

/// Where Debian's package libfaketime has it.
const LIBRARY: &str = "/usr/lib/x86_64-linux-gnu/faketime/libfaketimeMT.so.1";

async fn text_at(port: u16, path: &str) -> String {
    match tokio::net::TcpStream::connect(("127.0.0.1", port)).await {
        Ok(_) => get(port, path, &[]).await.1,
        Err(_) => String::new(),
    }
}

async fn alerts(port: u16) -> Value {
    // The agent does not answer before it listens.
    serde_json::from_str(&text_at(port, "/api/alerts").await).unwrap_or_else(|_| json!({ "items": [] }))
}

/// Judgements of the rules so far.
async fn judged(port: u16) -> f64 {
    let metrics = text_at(port, "/metrics").await;
    let calls = metrics.lines().find_map(|line| line.strip_prefix("pharos_plugin_calls_total{plugin=\"threshold\"} "));
    calls.map_or(0.0, |calls| calls.parse().unwrap())
}

async fn eventually(what: &str, mut is_so: impl AsyncFnMut() -> bool) {
    until(what, async || holds(is_so().await, || "not so")).await;
}

fn set_clock(file: &Path, seconds: i64) {
    // Replaced as a whole, since the program may read it at any moment.
    let next = file.with_extension("next");
    std::fs::write(&next, format!("{seconds:+}\n")).unwrap();
    std::fs::rename(next, file).unwrap();
}

/// The program with the config in `folder`. The file `clock` sets its wall clock.
fn start(folder: &Path, clock: &Path) -> Child {
    assert!(Path::new(LIBRARY).exists(), "libfaketime is not installed: run scripts/setup.sh");
    let path = folder.join("pharos.toml");
    let mut program = command(&["run", "--config", path.to_str().unwrap()]);
    program.env("LD_PRELOAD", LIBRARY).env("FAKETIME_TIMESTAMP_FILE", clock).env("FAKETIME_NO_CACHE", "1");
    program.env("FAKETIME_DONT_FAKE_MONOTONIC", "1").env("DONT_FAKE_MONOTONIC", "1").env("NO_FAKE_STAT", "1");
    program.stdout(Stdio::null()).stderr(Stdio::null()).spawn().unwrap()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_clock_that_is_set_under_the_running_agent_changes_no_alert_and_is_reported() {
    let (tasks, stop) = runtime_tasks();
    let redis = redis(&tasks).await;
    let mut keys = redis.connect().await.unwrap();
    let ops = Receiver::start(None, &tasks, &stop).await.unwrap();
    let folder = tempfile::tempdir().unwrap();
    let clock = folder.path().join("clock");
    set_clock(&clock, 0);
    let reserved = ReservedPort::new();
    let port = reserved.number();
    let rule = |id: &str, above: u32, waits: &str| {
        format!(
            "[[plugin.threshold.settings.rules]]\nid = \"{id}\"\nmetric = \"pharos_redis_keys\"\nabove = {above}\nseverity = \"warning\"\n{waits}\n"
        )
    };
    let config = format!(
        "[agent]\ndata_dir = \"data\"\n[http]\nlisten = \"127.0.0.1:{port}\"\n[collect.interval]\ninfo = \"200ms\"\nagent = \"200ms\"\n{}{}{}{}{}{}",
        with_only(&["threshold", "webhook", "agent-essentials"]),
        redis_config("cache", &[&redis]),
        rule("fires", 0, ""),
        rule("waits", 0, "for = \"30m\""),
        rule("recovers", 5, "keep_firing_for = \"30m\""),
        receiver_config(&ops.url()),
    );
    std::fs::write(folder.path().join("pharos.toml"), config).unwrap();
    set_keys(&mut keys, 6).await;

    let mut agent = start(folder.path(), &clock);
    eventually("everything fires or waits", async || states(&alerts(port).await).len() == 3).await;
    set_keys(&mut keys, 1).await;
    let owned = |(rule, state): (&str, &str)| (rule.to_owned(), state.to_owned());
    let expected = [("fires", "firing"), ("recovers", "recovering"), ("waits", "pending")].map(owned);
    eventually("one recovers", async || states(&alerts(port).await) == expected).await;
    assert!(ops.wait_until(PATIENCE, |received| received.count("recovers") == Count { firing: 1, resolved: 0 }).await);

    for step in STEPS_S {
        set_clock(&clock, step);
        let before = judged(port).await;
        eventually("it is judged on", async || judged(port).await >= before + 5.0).await;
        // Alerts about the agent itself may arrive meanwhile.
        let is_ours = |(rule, _): &(String, String)| expected.iter().any(|(known, _)| known == rule);
        let states: Vec<_> = states(&alerts(port).await).into_iter().filter(is_ours).collect();
        assert_eq!(states, expected, "after a step to {step} s");
    }
    let stepped = |alerts: &Value| {
        states(alerts).contains(&owned(("clock-stepped", "firing"))) || states(alerts).contains(&owned(("clock-stepped", "recovering")))
    };
    eventually("the alert reports that the clock was set", async || stepped(&alerts(port).await)).await;

    // No alert was sent twice, and nothing is delayed: the end of one is sent at once.
    set_keys(&mut keys, 0).await;
    assert!(ops.wait_until(PATIENCE, |received| received.count("fires") == Count { firing: 1, resolved: 1 }).await);
    let ids: Vec<String> = ops.received(|received| {
        let of_fires = received.deliveries().filter(|delivery| delivery.alerts.iter().any(|alert| alert.name() == "fires"));
        of_fires.map(|delivery| delivery.headers["webhook-id"].to_str().unwrap().to_owned()).collect()
    });
    assert_eq!(ids.iter().collect::<BTreeSet<_>>().len(), ids.len(), "{ids:?}");
    agent.kill().await.unwrap();
    stop.cancel();
}

/// The values of every series of these metrics.
fn values(metrics: &str, names: &[&str]) -> Vec<(String, f64)> {
    let of = |line: &str| {
        let (series, value) = line.rsplit_once(' ')?;
        names.contains(&series.split('{').next()?).then(|| Some((series.to_owned(), value.parse().ok()?)))?
    };
    metrics.lines().filter_map(of).collect()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_clock_that_is_set_makes_no_lag_no_age_and_no_rate() {
    let (tasks, stop) = runtime_tasks();
    let primary = postgres(&tasks).await;
    let standby = standby_of(&primary, "second", &[], &tasks).await;
    let folder = tempfile::tempdir().unwrap();
    let clock = folder.path().join("clock");
    set_clock(&clock, 0);
    let reserved = ReservedPort::new();
    let port = reserved.number();
    let replicas = [standby.url(MONITORING_ROLE, "postgres")];
    let intervals = ["server", "activity", "locks", "replication", "topology", "horizon", "tables", "agent"];
    // A backend reports its transactions once a second.
    let intervals: String =
        intervals.iter().map(|name| format!("{name} = \"200ms\"\n")).chain(["database = \"2s\"\n".to_owned()]).collect();
    // Each question of the agent's is a transaction. Over an hour there would be as good as none of them in a second.
    let busy = format!(
        "[[plugin.threshold.settings.rules]]\nid = \"busy\"\nmetric = \"pharos_postgres_commits_total\"\nreading = \"rate\"\nabove = 1\nseverity = \"info\"\nmatch = {{ datname = \"postgres\", server = \"{}\" }}\n",
        server_id(primary.port())
    );
    let config = format!(
        "[agent]\ndata_dir = \"data\"\n[http]\nlisten = \"127.0.0.1:{port}\"\n[collect]\nbudget = 1.0\n[collect.interval]\nsample = \"100ms\"\n{intervals}{}replicas = {replicas:?}\n{busy}",
        postgres_config("app", &primary),
    );
    std::fs::write(folder.path().join("pharos.toml"), config).unwrap();
    // A session in a transaction, a WAL position and a standby: what has an age or a lag.
    let held = primary.connect(SUPERUSER, "postgres").await.unwrap();
    held.run("CREATE TABLE work (id int)").await.unwrap();
    held.run("BEGIN; INSERT INTO work VALUES (1)").await.unwrap();
    let mut agent = start(folder.path(), &clock);
    let measured = [
        "pharos_database_member_lag_seconds",
        "pharos_postgres_replication_lag_seconds",
        "pharos_postgres_standby_replay_lag_seconds",
        "pharos_postgres_transaction_age_max_seconds",
    ];
    let all = |metrics: &str| measured.iter().all(|name| !values(metrics, &[name]).is_empty());
    eventually("everything is measured", async || all(&text_at(port, "/metrics").await)).await;
    let runs = format!("pharos_collect_runs_total{{server=\"{}\",collector=\"database\"}}", server_id(primary.port()));
    let is_busy = |states: &[(String, String)]| states.contains(&("busy".to_owned(), "firing".to_owned()));
    eventually("the rate is known", async || is_busy(&states(&alerts(port).await))).await;
    let read = async || {
        let metrics = text_at(port, "/metrics").await;
        (
            values(&metrics, &["pharos_collect_runs_total"]).into_iter().find(|(series, _)| *series == runs).map_or(0.0, |(_, runs)| runs),
            metrics,
        )
    };
    for step in STEPS_S {
        set_clock(&clock, step);
        let (before, _) = read().await;
        eventually("it is read on", async || {
            assert!(is_busy(&states(&alerts(port).await)), "a step to {step} s made a false rate");
            read().await.0 >= before + 2.0
        })
        .await;
        let (_, metrics) = read().await;
        assert!(all(&metrics), "after a step to {step} s something is not measured: {metrics}");
        let false_ages: Vec<_> = values(&metrics, &measured).into_iter().filter(|(_, seconds)| !(0.0..1_800.0).contains(seconds)).collect();
        assert!(false_ages.is_empty(), "after a step to {step} s: {false_ages:?}");
        let told: Vec<String> = states(&alerts(port).await).into_iter().map(|(rule, _)| rule).collect();
        let is_false = |rule: &String| ["lag", "standby", "transaction", "wraparound", "vacuum"].iter().any(|word| rule.contains(word));
        assert!(!told.iter().any(is_false), "after a step to {step} s: {told:?}");
    }
    held.run("COMMIT").await.unwrap();
    agent.kill().await.unwrap();
    stop.cancel();
}
