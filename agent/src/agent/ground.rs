//! The values from which every part of the agent is built, and the resources that another process could hold.

use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use tokio::net::TcpListener;
use tracing::warn;

use super::start_error::StartError;
use crate::board::Board;
use crate::clock::Clock;
use crate::config::Config;
use crate::config::secret::Secret;
use crate::http::{self, ListenError};
use crate::lifecycle::Lifecycle;
use crate::pipeline::upkeep;
use crate::plugin::Shipped;
use crate::store::Store;
use crate::telemetry::metrics::SelfMetrics;

/// Options of a start that are not in the config file.
pub struct Options {
    /// This program's binary, which compiles plugins in a process of its own.
    pub compile_helper: PathBuf,
    /// Plugins inside the binary.
    pub shipped: Shipped,
}

/// The values from which every part of the agent is built.
pub(super) struct Ground {
    pub config: Config,
    pub clock: Clock,
    pub board: Arc<Board>,
    pub metrics: Arc<SelfMetrics>,
    pub store: Store,
    pub lifecycle: Lifecycle,
}

/// The listener of the agent, and the token of its own user.
pub(super) struct Entrance {
    pub listener: TcpListener,
    pub address: SocketAddr,
    /// `None` if the token could not be written. The agent still monitors.
    pub operator: Option<Secret>,
}

/// Opens the port and locks the data directory before any part starts, since another process could hold them.
pub(super) async fn claim(config: Config, lifecycle: &Lifecycle) -> Result<(Ground, Entrance), StartError> {
    let clock = Clock::start();
    let board = Arc::new(Board::new(clock));
    let metrics = Arc::new(SelfMetrics::default());
    show_build(&metrics, clock);
    let listener = http::bind(&config.http).await?;
    let address = listener.local_addr().map_err(|source| ListenError::Bind { address: ([0, 0, 0, 0], 0).into(), source })?;
    let store = Store::open(&config.agent.data_dir)?;
    upkeep::show(&store, &board, &metrics);
    let operator = operator(&config.agent.data_dir);
    let ground = Ground { config, clock, board, metrics, store, lifecycle: lifecycle.clone() };
    Ok((ground, Entrance { listener, address, operator }))
}

fn show_build(metrics: &SelfMetrics, clock: Clock) {
    let labels = [env!("CARGO_PKG_VERSION"), env!("PHAROS_REVISION"), env!("PHAROS_RUSTC")];
    metrics.set("pharos_build_info", &labels, 1.0);
    // Prometheus sees the first failure as an increase only if the series was there before.
    ["collect", "http"].iter().for_each(|part| metrics.add("pharos_own_limit_total", &[part], 0.0));
    metrics.set("pharos_start_timestamp_seconds", &[], clock.wall_ms() as f64 / 1_000.0);
}

/// The token with which the agent's own user may make changes.
fn operator(data_dir: &Path) -> Option<Secret> {
    let prepared = http::operator::prepare(data_dir);
    prepared
        .inspect_err(|err| {
            let path = http::operator::place(data_dir).display().to_string();
            warn!(error = %err, "{path} cannot be written; commands that change something need a [[access.token]]");
        })
        .ok()
}
