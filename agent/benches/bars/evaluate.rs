//! The time of a call into a plugin, and of making an instance.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use anyhow::Context;
use pharos::clock::Clock;
use pharos::config::plugins::{LimitsConfig, PluginConfig, PluginsConfig};
use pharos::plugin::compile::Compiler;
use pharos::plugin::{Linkers, LoadedPlugin, Loader, StateAccess, Ticker, digest, engine};
use pharos::telemetry::metrics::SelfMetrics;
use pharos_model::snapshot::Change;
use tokio_util::task::TaskTracker;

use super::bare::BareHost;
use super::facts::{STATEMENT_CALLS, keyspaces, statements};
use super::native::NativeRule;
use super::table::{Table, Times};
use super::{project, shipped};

const SAMPLES: usize = 1_000;
/// Turns of each peer, and calls in a turn: enough to fill the caches, and few enough that both peers see the same load of the machine.
const TURNS: usize = 60;
const CALLS: usize = 25;

pub async fn measure(table: &mut Table) -> anyhow::Result<()> {
    let threshold = shipped("threshold")?;
    let change = Arc::new(statements(&[STATEMENT_CALLS], SAMPLES));

    let whole: toml::Table = toml::from_str(&rule(""))?;
    let ours = load("threshold", &threshold, whole.clone()).await?;
    let bare = BareHost::new(&threshold, &whole, &change)?;
    let (time, peer) = pull(&ours, &bare, &change).await?;
    table.ratio("evaluate, 1,000 samples pulled (Rust), p50", time, ("bare host", peer), Some(1.2));

    let matched: toml::Table = toml::from_str(&rule("match = { datname = \"database_0\" }"))?;
    let few = load("threshold", &threshold, matched).await?;
    let native = NativeRule { metric: STATEMENT_CALLS, label: "datname", wanted: "database_0".to_owned(), above: 1e5 };
    let (matching, native) = threshold_beside_native(&few, &native, &change).await?;
    table.ratio("evaluate, 10 of 1,000 samples matched, p50", matching, ("native code", native), None);
    table.ratio("the same", matching, ("pulling all", time), Some(0.2));

    let (time, peer) = instances(&ours, &bare).await?;
    table.ratio("store and instance made and dropped (Rust), p50", time, ("bare host", peer), Some(1.2));

    let file = project().join("plugins/examples/javascript-rule/javascript-rule.wasm");
    let Ok(bytes) = std::fs::read(&file) else {
        table.absent("evaluate, two pulls of 1,000 samples (JavaScript), p50", "javascript-rule.wasm is not built");
        return Ok(());
    };
    let change = Arc::new(keyspaces(SAMPLES));
    let ours = load("javascript-rule", &bytes, toml::Table::new()).await?;
    let bare = BareHost::new(&bytes, &toml::Table::new(), &change)?;
    let (time, peer) = pull(&ours, &bare, &change).await?;
    table.ratio("evaluate, two pulls of 1,000 samples (JavaScript), p50", time, ("bare host", peer), Some(1.2));
    Ok(())
}

fn rule(matching: &str) -> String {
    format!("[[rules]]\nid = \"busy\"\nmetric = \"{STATEMENT_CALLS}\"\nabove = 1e5\nseverity = \"warning\"\n{matching}\n")
}

/// Loads a plugin as an agent would, with room for its budget on a slow machine.
async fn load(id: &str, bytes: &[u8], settings: toml::Table) -> anyhow::Result<LoadedPlugin> {
    let clock = Clock::start();
    let folder = tempfile::tempdir()?;
    let limits = LimitsConfig { wall: Some(Duration::from_secs(60)), cpu: Some(Duration::from_secs(10)), memory: None };
    let engine = engine::running(true).map_err(|err| anyhow::anyhow!("{err:#}"))?;
    let ticker = Ticker::start(&engine, clock)?;
    let loader = Loader {
        compiler: Compiler::new(super::pharos().to_owned(), folder.path(), &PluginsConfig::default(), &engine),
        linkers: Linkers::new(&engine).map_err(|err| anyhow::anyhow!("{err:#}"))?,
        engine,
        plugins: BTreeMap::from([(id.to_owned(), PluginConfig { settings, limits, ..PluginConfig::default() })]),
        receivers: Vec::new(),
        secrets: BTreeMap::new(),
        relays: BTreeMap::new(),
        state: StateAccess { store: None, clock },
        metrics: Arc::new(SelfMetrics::default()),
        clock,
        tasks: TaskTracker::new(),
    };
    let generation = loader.load(id, &bytes.to_vec().into(), digest(bytes), &[]).await.with_context(|| format!("loading {id}"))?;
    Ok(LoadedPlugin::new(generation, ticker))
}

/// Compares both hosts on one component and one set of facts.
async fn pull(ours: &LoadedPlugin, bare: &BareHost, change: &Arc<Change>) -> anyhow::Result<(Duration, Duration)> {
    let (mut times, mut peers) = (Times::default(), Times::default());
    let mut instance = bare.start().await?;
    for _ in 0..TURNS {
        for _ in 0..CALLS {
            let (_, judged) = times.take(ours.evaluate(Arc::clone(change))).await;
            anyhow::ensure!(judged?.report.findings.len() == 1, "the plugin should find one series");
        }
        for _ in 0..CALLS {
            let found = peers.take(instance.evaluate()).await?;
            anyhow::ensure!(found == 1, "the plugin should find one series");
        }
    }
    Ok((times.median(), peers.median()))
}

async fn threshold_beside_native(ours: &LoadedPlugin, native: &NativeRule, change: &Arc<Change>) -> anyhow::Result<(Duration, Duration)> {
    let (mut times, mut peers) = (Times::default(), Times::default());
    for _ in 0..TURNS {
        for _ in 0..CALLS {
            let (_, judged) = times.take(ours.evaluate(Arc::clone(change))).await;
            anyhow::ensure!(judged?.report.findings.len() == 1, "the plugin should find one series");
        }
        for _ in 0..CALLS {
            let judged = peers.take(async { native.judge(change, ours.rules()) }).await;
            anyhow::ensure!(judged.report.findings.len() == 1, "the rule should find one series");
        }
    }
    Ok((times.median(), peers.median()))
}

async fn instances(ours: &LoadedPlugin, bare: &BareHost) -> anyhow::Result<(Duration, Duration)> {
    let (mut times, mut peers) = (Times::default(), Times::default());
    for _ in 0..TURNS {
        for _ in 0..CALLS {
            times.take(ours.instantiate()).await?;
        }
        for _ in 0..CALLS {
            peers.take(async { bare.instantiate().await.map(drop) }).await?;
        }
    }
    Ok((times.median(), peers.median()))
}
