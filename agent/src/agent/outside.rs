//! The outside surface: the API, health and metrics.

use std::sync::Arc;

use tokio::net::TcpListener;
use tracing::info;

use super::ground::{Entrance, Ground};
use crate::board::PartHealth;
use crate::config::Config;
use crate::http::{self, Access, Api};
use crate::lifecycle::Lifecycle;
use crate::notify::Tester;
use crate::pipeline::Desk;
use crate::plugin::PluginHost;
use pharos_model::agent_part::AgentPart;

/// Answers requests from now on.
pub(super) fn start(ground: Ground, entrance: Entrance, plugins: PluginHost, desk: Desk, tester: Tester) {
    let Ground { config, clock, board, metrics, store, lifecycle } = ground;
    let Entrance { listener, address, operator } = entrance;
    let api = Arc::new(Api {
        board,
        plugins,
        metrics,
        access: Access::new(&config.access, &config.http, config.agent.external_url.as_deref(), operator.as_ref()),
        databases: names(&config),
        slow_after: config.database.iter().map(|database| (database.name.clone(), database.slow_query.threshold)).collect(),
        plugin_config: config.plugin,
        desk,
        tester,
        store,
        clock,
    });
    lifecycle.supervise(AgentPart::Http, serve(listener, api, lifecycle.clone()));
    info!(address = %address, "listening on http://{address}");
}

/// Names of the configured databases and Redis deployments.
fn names(config: &Config) -> Vec<String> {
    let names = config.database.iter().map(|database| &database.name).chain(config.redis.iter().map(|redis| &redis.name));
    names.cloned().collect()
}

async fn serve(listener: TcpListener, api: Arc<Api>, lifecycle: Lifecycle) {
    api.board.set(AgentPart::Http, PartHealth::Ok, None);
    http::serve(listener, api, lifecycle.soft().clone()).await;
}
