//! The agent: the only place where all parts meet. [`Agent::start`] builds them phase by phase; each phase is a file of its own.

mod delivery;
mod flow;
mod ground;
mod outside;
mod plugins;
mod seams;
mod servers;
mod sources;
mod start_error;

use std::net::SocketAddr;
use std::sync::Arc;

pub use self::ground::Options;
pub(crate) use self::servers::Servers;
pub(crate) use self::start_error::StartError;

use crate::board::Board;
use crate::config::Config;
use crate::lifecycle::Lifecycle;
use crate::telemetry::metrics::SelfMetrics;

/// A running agent.
pub struct Agent {
    address: SocketAddr,
    board: Arc<Board>,
    metrics: Arc<SelfMetrics>,
}

impl Agent {
    /// Starts every part on `lifecycle`. A server or receiver may be down; the port, the data directory and the plugin engine may not.
    pub async fn start(config: Config, options: Options, lifecycle: &Lifecycle) -> Result<Self, StartError> {
        let (ground, entrance) = ground::claim(config, lifecycle).await?;
        let agent = Self { address: entrance.address, board: Arc::clone(&ground.board), metrics: Arc::clone(&ground.metrics) };
        let plugins::Plugins { host, events, loader } = plugins::build(&ground, &options).await?;
        let delivery::Delivery { receivers, tester } = delivery::start(&ground, &host).await?;
        let mut servers = Servers::of(&ground.config, lifecycle);
        servers.connect_notes(&ground.store);
        let flow::Flow { snapshots, desk } = flow::start(&ground, &host, events, receivers, servers.subjects()).await?;
        plugins::start(&ground, &host, loader, options.shipped).await;
        sources::start(&ground, servers, &host, snapshots);
        outside::start(ground, entrance, host, desk, tester);
        Ok(agent)
    }

    /// The address of the API.
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// The board, which has the present state of the agent.
    pub fn board(&self) -> &Arc<Board> {
        &self.board
    }

    /// The agent's own metrics.
    pub fn metrics(&self) -> &Arc<SelfMetrics> {
        &self.metrics
    }
}
