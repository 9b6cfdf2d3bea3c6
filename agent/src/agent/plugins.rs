//! The plugins: their host, what loads them, and the check of their settings.

use std::sync::Arc;
use std::time::Duration;

use tokio::sync::mpsc;
use tracing::warn;

use super::ground::{Ground, Options};
use super::start_error::StartError;
use crate::board::PartHealth;
use crate::plugin::compile::Compiler;
use crate::plugin::{Examination, Linkers, Loader, PluginEvent, PluginHost, Reloader, Shipped, StateAccess, Ticker, engine};
use pharos_model::agent_part::AgentPart;

/// Plugin events that wait to be recorded.
const QUEUED_EVENTS_MAX: usize = 256;
/// Longest check of the shipped plugins' settings at a start. Plugins that were compiled before take a fraction of a second.
const SETTINGS_CHECK_MAX: Duration = Duration::from_secs(30);

/// The plugin host before its files are read.
pub(super) struct Plugins {
    pub host: PluginHost,
    pub events: mpsc::Receiver<PluginEvent>,
    pub loader: Loader,
}

/// Builds the host and refuses wrong settings of shipped plugins.
pub(super) async fn build(ground: &Ground, options: &Options) -> Result<Plugins, StartError> {
    let Ground { config, clock, metrics, .. } = ground;
    let (sender, events) = mpsc::channel(QUEUED_EVENTS_MAX);
    let engine = engine::running(config.plugins.pooling).map_err(|err| StartError::Engine(format!("{err:#}")))?;
    let ticker = Ticker::start(&engine, *clock).map_err(|err| StartError::Engine(err.to_string()))?;
    let host = PluginHost::new(ticker, *clock, Arc::clone(metrics), sender, config.plugins.probation);
    let loader = loader(ground, options, engine)?;
    check_settings(ground, &loader, &options.shipped).await?;
    Ok(Plugins { host, events, loader })
}

fn loader(ground: &Ground, options: &Options, engine: wasmtime::Engine) -> Result<Loader, StartError> {
    let Ground { config, clock, metrics, store, lifecycle, .. } = ground;
    let compiler = Compiler::new(options.compile_helper.clone(), &config.agent.data_dir, &config.plugins, &engine);
    let linkers = Linkers::new(&engine).map_err(|err| StartError::Engine(format!("{err:#}")))?;
    Ok(Loader {
        engine,
        linkers,
        compiler,
        plugins: config.plugin.clone(),
        receivers: config.receiver.clone(),
        secrets: config.secret.clone(),
        relays: config.relay.clone(),
        state: StateAccess { store: Some(store.clone()), clock: *clock },
        metrics: Arc::clone(metrics),
        clock: *clock,
        tasks: lifecycle.tasks().clone(),
    })
}

/// Refuses settings that the file and this binary alone show to be wrong. Any other mistake only stops its plugin. If the machine is too
/// busy to check in time, the agent starts all the same: monitoring that begins late would be worse.
async fn check_settings(ground: &Ground, loader: &Loader, shipped: &Shipped) -> Result<(), StartError> {
    let examination = Examination { loader, shipped, dir: &ground.config.plugins.dir };
    let examined = tokio::select! {
        () = ground.lifecycle.interrupted() => return Ok(()),
        examined = tokio::time::timeout(SETTINGS_CHECK_MAX, examination.examine_shipped()) => examined,
    };
    match examined {
        Ok(mistakes) if mistakes.is_empty() => Ok(()),
        Ok(mistakes) => Err(StartError::Config(mistakes)),
        Err(_) => {
            warn!("the settings of plugins were not checked within {SETTINGS_CHECK_MAX:?}; a wrong setting only stops its plugin");
            Ok(())
        }
    }
}

/// Loads the plugins' files, and loads those again that change.
pub(super) async fn start(ground: &Ground, host: &PluginHost, loader: Loader, shipped: Shipped) {
    let Ground { config, board, lifecycle, .. } = ground;
    let mut reloader = Reloader::new(loader, host.clone(), config.plugins.clone(), shipped, Arc::clone(board));
    reloader.announce().await;
    board.set(AgentPart::PluginReload, PartHealth::Starting, None);
    lifecycle.supervise(AgentPart::PluginReload, reloader.run(lifecycle.soft().clone()));
    lifecycle.supervise(AgentPart::Plugins, host.clone().follow(Arc::clone(board), lifecycle.soft().clone()));
}
