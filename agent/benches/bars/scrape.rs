//! `/metrics` on loopback, beside the same bytes out of memory from the same HTTP server.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use axum::http::header::CONTENT_TYPE;
use axum::routing::get;
use bytes::Bytes;
use pharos::board::Board;
use pharos::clock::Clock;
use pharos::config::http::{AccessConfig, HttpConfig};
use pharos::http::{Access, Exposition, Site, routes};
use pharos::plugin::{PluginHost, Ticker, engine};
use pharos::telemetry::metrics::SelfMetrics;
use tokio::net::TcpListener;
use tokio::sync::mpsc;
use tokio::time::sleep;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use super::agent::Client;
use super::facts::{STATEMENT_CALLS, statements};
use super::table::{Table, Times};

/// 5,000 series in all.
const METRICS: [&str; 5] = [
    STATEMENT_CALLS,
    "pharos_postgres_statement_time_seconds_total",
    "pharos_postgres_statement_rows_total",
    "pharos_postgres_statement_mean_time_seconds",
    "pharos_postgres_statement_time_p95_estimate_seconds",
];
const SERIES_EACH: usize = 1_000;
/// Short turns: a p99 consists of the machine's slow moments, which must affect both peers.
const TURNS: usize = 500;
const SCRAPES: usize = 2;
/// Time between a new snapshot and the scrape that shows it.
const PAUSE: Duration = Duration::from_millis(10);

pub async fn measure(table: &mut Table) -> anyhow::Result<()> {
    let (tasks, stop) = (TaskTracker::new(), CancellationToken::new());
    let clock = Clock::start();
    let board = Arc::new(Board::new(clock));
    board.publish(&Arc::new(statements(&METRICS, SERIES_EACH)));
    let agent = TcpListener::bind("127.0.0.1:0").await?;
    let agent_address = agent.local_addr()?;
    tasks.spawn(site(&board, clock)?.serve(agent, stop.clone()));
    let body = Client::connect(agent_address).await?.get("/metrics").await?;
    let series = body.split(|byte| *byte == b'\n').filter(|line| line.starts_with(b"pharos_postgres_statement")).count();
    anyhow::ensure!(series == METRICS.len() * SERIES_EACH, "{series} series: is one of the metrics gone from the catalogue?");
    let memory_address = serve_bytes(body, &tasks, &stop).await?;

    let (time, peer) = scrapes(agent_address, memory_address, async || {}).await?;
    table.ratio("/metrics, 5,000 series, p99", time, ("from memory", peer), Some(2.0));
    // Every scrape gets new facts, as it does if both intervals are equal.
    let mut snapshots = [0, 1].map(|_| Arc::new(statements(&METRICS, SERIES_EACH)));
    let fresh = async || {
        snapshots.swap(0, 1);
        board.publish(&snapshots[0]);
        sleep(PAUSE).await;
    };
    let (time, peer) = scrapes(agent_address, memory_address, fresh).await?;
    table.ratio("/metrics, each scrape after a new snapshot, p99", time, ("from memory", peer), Some(2.0));
    stop.cancel();
    tasks.close();
    tasks.wait().await;
    Ok(())
}

async fn scrapes(agent: SocketAddr, memory: SocketAddr, mut before: impl AsyncFnMut()) -> anyhow::Result<(Duration, Duration)> {
    let (mut times, mut peers) = (Times::default(), Times::default());
    let (mut agent, mut memory) = (Client::connect(agent).await?, Client::connect(memory).await?);
    for _ in 0..TURNS {
        for _ in 0..SCRAPES {
            before().await;
            times.take(agent.get("/metrics")).await?;
        }
        for _ in 0..SCRAPES {
            // The peer's caches must be equally cold.
            before().await;
            peers.take(memory.get("/metrics")).await?;
        }
    }
    Ok((times.percentile(99), peers.percentile(99)))
}

/// `/metrics` as the agent serves it.
fn site(board: &Arc<Board>, clock: Clock) -> anyhow::Result<Site> {
    let metrics = Arc::new(SelfMetrics::default());
    let engine = engine::running(false).map_err(|err| anyhow::anyhow!("{err:#}"))?;
    let (events, _) = mpsc::channel(1);
    let plugins = PluginHost::new(Ticker::start(&engine, clock)?, clock, Arc::clone(&metrics), events, Duration::ZERO);
    let exposition = Arc::new(Exposition::new(Arc::clone(board), plugins, Arc::clone(&metrics), clock));
    let access = Access::new(&AccessConfig::default(), &HttpConfig::default(), None, None);
    Ok(Site { areas: vec![routes::metrics::area(&exposition)], access, exposition, metrics })
}

async fn serve_bytes(body: Bytes, tasks: &TaskTracker, stop: &CancellationToken) -> anyhow::Result<SocketAddr> {
    let listener = TcpListener::bind("127.0.0.1:0").await?;
    let address = listener.local_addr()?;
    let content_type = [(CONTENT_TYPE, "text/plain; version=0.0.4; charset=utf-8")];
    let router = Router::new().route("/metrics", get(async move || (content_type, body.clone())));
    let served = axum::serve(listener, router).with_graceful_shutdown(stop.clone().cancelled_owned());
    tasks.spawn(served.into_future());
    Ok(address)
}
