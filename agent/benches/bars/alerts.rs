//! From facts to a receiver: how soon one alert is sent, what ten thousand at once cost, and how soon they are judged after a restart.

use std::time::Duration;

use anyhow::Context;
use pharos::demo::receiver::Delivery;
use serde_json::Value;
use tokio::time::{Instant, sleep};

use super::agent::Process;
use super::stage::{DATABASES, Stage};
use super::table::{Table, Times};

/// Alerts that come and go on the quiet system, one after the other: each database twice, more often would be flapping.
const ROUNDS: usize = 2 * DATABASES;
/// The shortest interval of a server, so that rounds are short. The interval is no part of the measured time.
const QUIET_INTERVAL: Duration = Duration::from_millis(100);
/// The bar from a transition to its webhook, p99.
const SENT_MAX: Duration = Duration::from_millis(150);

/// Servers of the crowd, each with [`DATABASES`] alerts.
const CROWD: usize = 100;
/// The default interval.
const CROWD_INTERVAL: Duration = Duration::from_secs(10);
/// Time between two alerts of the probe while the crowd's are judged and sent.
const PROBE_EVERY: Duration = Duration::from_millis(500);
const DRAIN_MIN: f64 = 500.0;
/// The messages that may be left when the last alert begins. With fewer, the outbox kept up with the servers.
const KEPT_UP_MAX: usize = 1_000;

const RESTARTS: usize = 5;
/// The bar for a restart with ten thousand open alerts.
const RESTART_MAX: Duration = Duration::from_secs(2);

pub async fn measure(table: &mut Table) -> anyhow::Result<()> {
    one(table).await?;
    many(table).await
}

async fn one(table: &mut Table) -> anyhow::Result<()> {
    let stage = Stage::new(0, QUIET_INTERVAL).await?;
    let process = stage.place.start()?;
    stage.place.settle().await?;
    for round in 1..=ROUNDS {
        let database = round % DATABASES;
        stage.raise(database).await?;
        stage.wait(&stage.pager, round, round - 1).await?;
        stage.clear(database).await?;
        stage.wait(&stage.pager, round, round).await?;
    }
    let times = latencies(&stage, &stage.pager.received(|all| all.deliveries().cloned().collect::<Vec<_>>()))?;
    process.stop().await?;
    let (p99, median) = (times.percentile(99), times.median());
    let what = format!("snapshot with a transition to webhook accepted, p99 of {}, quiet system", 2 * ROUNDS);
    table.plain(&what, "<= 150 ms", format!("{p99:.0?}, median {median:.0?}"), p99 <= SENT_MAX);
    Ok(())
}

async fn many(table: &mut Table) -> anyhow::Result<()> {
    let stage = Stage::new(CROWD, CROWD_INTERVAL).await?;
    let process = stage.place.start()?;
    stage.place.settle().await?;
    stage.raise(0).await?;
    stage.wait(&stage.pager, 1, 0).await?;

    let alerts = CROWD * DATABASES;
    stage.raise_all().await?;
    let probes = tokio::select! {
        ended = keep_raising(&stage) => ended,
        heard = stage.wait(&stage.ops, alerts, 0) => heard.map(|()| stage.pager.received(|all| all.deliveries().count())),
    }?;
    stage.wait(&stage.pager, probes, 0).await?;
    let probes = stage.pager.received(|all| all.deliveries().skip(1).cloned().collect::<Vec<_>>());
    let late = latencies(&stage, &probes)?.percentile(100);
    let what = format!("{alerts} alerts at once: another server's transition sent after its snapshot, longest of {}", probes.len());
    table.plain(&what, "<= 1 interval (10 s)", format!("{late:.1?}"), late <= CROWD_INTERVAL);

    let deliveries = stage.ops.received(|all| all.deliveries().cloned().collect::<Vec<_>>());
    let (drained, took) = drained(&stage, &deliveries)?;
    let per_second = drained as f64 / took.as_secs_f64();
    let measured = format!("{per_second:.0}/s, the last {drained} messages of one alert in {took:.1?}");
    table.plain("outbox drained to a fast receiver, those alerts", ">= 500/s", measured, per_second >= DRAIN_MIN);

    restarts(table, &stage, process).await
}

/// How many messages were still to be sent when the last alert began, and how long that took. The servers are read one after the other, so
/// before that the outbox waits for them; all messages count where it kept up.
fn drained(stage: &Stage, deliveries: &[Delivery]) -> anyhow::Result<(usize, Duration)> {
    let first = deliveries.first().context("nothing arrived")?.at;
    let last = deliveries.last().context("nothing arrived")?.at;
    let mut began = first;
    for delivery in deliveries {
        began = began.max(delivery.at.checked_sub(stage.latency(delivery)?).unwrap_or(first));
    }
    let after = deliveries.iter().filter(|delivery| delivery.at > began).count();
    if after < KEPT_UP_MAX { Ok((deliveries.len(), last - first)) } else { Ok((after, last - began)) }
}

/// Alerts of the probe, until it has no database left for more.
async fn keep_raising(stage: &Stage) -> anyhow::Result<usize> {
    for database in 1..DATABASES - RESTARTS {
        stage.raise(database).await?;
        sleep(PROBE_EVERY).await;
    }
    anyhow::bail!("the crowd's alerts are not sent before the probe has no database left")
}

/// A restart with all of them firing. An alert that began meanwhile shows that the first evaluation is not only made but also sent.
async fn restarts(table: &mut Table, stage: &Stage, mut process: Process) -> anyhow::Result<()> {
    let (mut evaluated, mut told) = (Times::default(), Times::default());
    for database in DATABASES - RESTARTS..DATABASES {
        process.stop().await?;
        stage.raise(database).await?;
        let heard = stage.pager.received(|all| all.deliveries().count());
        let start = Instant::now();
        process = stage.place.start()?;
        stage.place.wait("/api/plugins", has_evaluated).await?;
        evaluated.add(start.elapsed());
        stage.wait(&stage.pager, heard + 1, 0).await?;
        told.add(start.elapsed());
    }
    process.stop().await?;
    let (time, told) = (evaluated.median(), told.median());
    let what = format!("restart with {} firing alerts to first evaluation, median of {RESTARTS}", CROWD * DATABASES);
    table.plain(&what, "<= 2 s", format!("{time:.1?}, an alert that began meanwhile was sent after {told:.1?}"), time <= RESTART_MAX);
    Ok(())
}

fn has_evaluated(answer: &[u8]) -> bool {
    let answer: Value = serde_json::from_slice(answer).unwrap_or_default();
    let items = answer["items"].as_array().map(Vec::as_slice).unwrap_or_default();
    items.iter().any(|item| item["id"] == "threshold" && item["calls"].as_u64() > Some(0))
}

fn latencies(stage: &Stage, deliveries: &[Delivery]) -> anyhow::Result<Times> {
    let mut times = Times::default();
    for delivery in deliveries {
        times.add(stage.latency(delivery)?);
    }
    Ok(times)
}
