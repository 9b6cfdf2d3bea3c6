//! Loads plugin files as the agent would, but with a temporary folder and without a store.

use std::collections::BTreeMap;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use anyhow::Context;
use bytes::Bytes;
use pharos_model::snapshot::Change;
use tempfile::TempDir;
use tokio_util::task::TaskTracker;

use crate::clock::Clock;
use crate::config::Config;
use crate::config::plugins::{LimitsConfig, PluginConfig};
use crate::plugin::compile::Compiler;
use crate::plugin::{Linkers, LoadError, LoadedPlugin, Loader, SettingsError, StateAccess, Ticker, digest, engine, folder, validate};
use crate::telemetry::metrics::SelfMetrics;

/// Longest wall time of one call of a plugin.
const CALL_WALL: Duration = Duration::from_secs(60);

/// Loads plugins. Each file is compiled only once.
pub(super) struct Workbench {
    loader: Loader,
    ticker: Ticker,
    /// Folder of the compiled plugins, removed with this value.
    _folder: TempDir,
}

impl Workbench {
    pub(super) fn open() -> anyhow::Result<Self> {
        Self::of(&Config::default())
    }

    /// A workbench with the plugins, receivers, secrets and relays of a config.
    pub(super) fn of(config: &Config) -> anyhow::Result<Self> {
        let clock = Clock::start();
        let folder = tempfile::tempdir()?;
        // Memory is pooled as in an agent, so that calls cost the same here.
        let engine = engine::running(true).map_err(|err| anyhow::anyhow!("{err:#}"))?;
        let ticker = Ticker::start(&engine, clock)?;
        let loader = Loader {
            compiler: Compiler::new(std::env::current_exe()?, folder.path(), &config.plugins, &engine),
            linkers: Linkers::new(&engine).map_err(|err| anyhow::anyhow!("{err:#}"))?,
            engine,
            plugins: config.plugin.clone(),
            receivers: config.receiver.clone(),
            secrets: config.secret.clone(),
            relays: config.relay.clone(),
            state: StateAccess { store: None, clock },
            metrics: Arc::new(SelfMetrics::default()),
            clock,
            tasks: TaskTracker::new(),
        };
        Ok(Self { loader, ticker, _folder: folder })
    }

    pub(super) fn loader(&self) -> &Loader {
        &self.loader
    }

    /// Loads a plugin with these settings. A wrong setting is an error.
    pub(super) async fn load(&mut self, id: &str, bytes: &Bytes, settings: toml::Table) -> Result<LoadedPlugin, LoadError> {
        // Only CPU time counts as cost, so wall time gets a wide limit: the author's machine may be busy with other things.
        let limits = LimitsConfig { wall: Some(CALL_WALL), ..LimitsConfig::default() };
        self.loader.plugins = BTreeMap::from([(id.to_owned(), PluginConfig { settings, limits, ..PluginConfig::default() })]);
        let tried = self.loader.load(id, bytes, digest(bytes), &[]).await?;
        if !tried.generation.ignored.is_empty() {
            return Err(SettingsError::Invalid(tried.generation.ignored.into_iter().map(|ignored| ignored.text).collect()).into());
        }
        Ok(LoadedPlugin::new(tried, self.ticker.clone()))
    }
}

/// Reads and inspects a plugin file, as the agent does before it compiles one.
pub(super) fn read_plugin(file: &Path) -> anyhow::Result<(Bytes, validate::Inspection)> {
    let bytes = folder::read(file)?;
    let inspection = validate::inspect(&bytes).with_context(|| file.display().to_string())?;
    Ok((bytes, inspection))
}

/// The id that a plugin file must have.
pub(super) fn plugin_id(file: &Path) -> anyhow::Result<&str> {
    file.file_stem().and_then(|stem| stem.to_str()).context("the file's name is not UTF-8")
}

/// A snapshot that `pharos snapshot` recorded.
pub(super) fn read_snapshot(file: &Path) -> anyhow::Result<Change> {
    let text = std::fs::read_to_string(file).with_context(|| format!("reading {}", file.display()))?;
    serde_json::from_str(&text).with_context(|| format!("{} is not a snapshot that `pharos snapshot` recorded", file.display()))
}
