//! `GET /api/plugins`: every plugin, its serving generation and its behaviour.

use std::collections::BTreeMap;
use std::sync::Arc;

use axum::extract::State;

use crate::api::list::{List, Timestamp};
use crate::api::plugin::{PluginError, PluginItem, PluginSource, PluginState};
use crate::config::plugins::PluginConfig;
use crate::http::exchange::Answer;
use crate::http::route::{Area, Route};
use crate::plugin::{self, Origin, PluginHost, PluginStatus};

/// State of the route about plugins.
#[derive(Clone)]
pub(crate) struct PluginsState {
    pub host: PluginHost,
    /// Configured settings and grants, by the id of the plugin.
    pub config: Arc<BTreeMap<String, PluginConfig>>,
}

pub(crate) fn area(state: &PluginsState) -> Area {
    let list = Route::get("/api/plugins", "listPlugins", list)
        .describes("Every plugin", "The generation that serves under each id, its source, its behaviour and its grants. Sorted by id.")
        .answers::<List<PluginItem>>(200, "All plugins.");
    Area::new("plugins", "The plugins that judge and notify.", state, [list])
}

async fn list(State(state): State<PluginsState>) -> Answer<List<PluginItem>> {
    let items = state.host.status(&state.config).into_iter().map(item).collect();
    Answer::ok(List { items, next_cursor: None })
}

fn item(status: PluginStatus) -> PluginItem {
    let last_error = status.last_error.map(|err| PluginError {
        at: Timestamp(err.at),
        stage: err.stage.as_str().to_owned(),
        message: err.message,
        last_words: err.last_words,
    });
    PluginItem {
        id: status.id,
        world: status.world.map(ToOwned::to_owned),
        version: status.version,
        source: status.source.map(source),
        enabled: status.enabled,
        state: state(status.state),
        generation: status.generation,
        digest: status.digest,
        last_error,
        calls: status.calls,
        traps: status.traps,
        cpu_seconds: status.cpu_seconds,
        memory_bytes_max: status.memory_bytes_max,
        wants: status.wants,
        warnings: status.warnings,
        ignored_settings: status.ignored_settings,
        granted: status.granted,
    }
}

fn source(origin: Origin) -> PluginSource {
    match origin {
        Origin::Embedded => PluginSource::Embedded,
        Origin::File => PluginSource::File,
    }
}

fn state(state: plugin::PluginState) -> PluginState {
    match state {
        plugin::PluginState::Serving => PluginState::Serving,
        plugin::PluginState::Failing => PluginState::Failing,
        plugin::PluginState::Loading => PluginState::Loading,
        plugin::PluginState::Quarantined => PluginState::Quarantined,
        plugin::PluginState::Failed => PluginState::Failed,
        plugin::PluginState::Disabled => PluginState::Disabled,
    }
}
