//! The HTTP interface: the API, health and metrics.

use std::sync::Arc;

use pharos_model::agent_part::AgentPart;
use tracing::info;

use super::ground::{Entrance, Ground};
use crate::board::PartHealth;
use crate::config::Config;
use crate::http::routes::alerts::AlertsState;
use crate::http::routes::database::DatabaseState;
use crate::http::routes::outbox::OutboxState;
use crate::http::routes::plugins::PluginsState;
use crate::http::routes::silences::SilencesState;
use crate::http::{Access, Area, Databases, Exposition, Site, routes};
use crate::notify::Tester;
use crate::pipeline::Desk;
use crate::plugin::PluginHost;

/// Starts to answer requests.
pub(super) fn start(ground: Ground, entrance: Entrance, plugins: PluginHost, desk: Desk, tester: Tester) {
    let Entrance { listener, address, operator } = entrance;
    let exposition = Exposition::new(Arc::clone(&ground.board), plugins.clone(), Arc::clone(&ground.metrics), ground.clock);
    let exposition = Arc::new(exposition);
    let areas = areas(&ground, plugins, desk, &tester, &exposition);
    let Ground { config, board, metrics, lifecycle, .. } = ground;
    let access = Access::new(&config.access, &config.http, config.agent.external_url.as_deref(), operator.as_ref());
    let site = Site { areas, access, exposition, metrics };
    board.set(AgentPart::Http, PartHealth::Ok, None);
    lifecycle.supervise(AgentPart::Http, site.serve(listener, lifecycle.soft().clone()));
    info!(address = %address, "listening on http://{address}");
}

/// Every area of the interface, each with the narrow state that it needs.
fn areas(ground: &Ground, plugins: PluginHost, desk: Desk, tester: &Tester, exposition: &Arc<Exposition>) -> Vec<Area> {
    let Ground { config, clock, board, store, .. } = ground;
    let databases = Databases::new(names(config));
    let slow_after = config.database.iter().map(|database| (database.name.clone(), database.slow_query.threshold)).collect();
    let database =
        DatabaseState { board: Arc::clone(board), clock: *clock, databases: databases.clone(), slow_after: Arc::new(slow_after) };
    let alerts = AlertsState { board: Arc::clone(board), clock: *clock, databases, desk: desk.clone(), store: store.clone() };
    vec![
        routes::health::area(board),
        routes::services::area(board),
        routes::plugins::area(&PluginsState { host: plugins, config: Arc::new(config.plugin.clone()) }),
        routes::database::area(&database),
        routes::alerts::area(&alerts),
        routes::silences::area(&SilencesState { desk: desk.clone(), board: Arc::clone(board), clock: *clock }),
        routes::receivers::area(tester),
        routes::outbox::area(&OutboxState { desk, store: store.clone() }),
        routes::audit::area(store),
        routes::metrics::area(exposition),
    ]
}

/// Names of the configured databases and Redis deployments.
fn names(config: &Config) -> Vec<String> {
    let names = config.database.iter().map(|database| &database.name).chain(config.redis.iter().map(|redis| &redis.name));
    names.cloned().collect()
}
