//! The peer of the plugin host: wasmtime with the same engine and the same contract, and nothing else.
//!
//! It has no limits, no budgets, no pool of instances and no checks of reports. Its facts have the types of the contract already.

use std::collections::HashMap;
use std::sync::Arc;

use anyhow::Context;
use pharos::plugin::engine;
use pharos_model::snapshot::{Change, Quantity};
use wasmtime::component::{Component, HasSelf, Linker, Resource, ResourceTable};
use wasmtime::{Engine, Store};
use wasmtime_wasi::{WasiCtx, WasiCtxView, WasiView};

use self::bindings::pharos::plugin::{config, snapshots as wit, types};
use self::bindings::{AlertRulePlugin, AlertRulePluginPre};

mod bindings {
    wasmtime::component::bindgen!({
        path: "../wit",
        world: "alert-rule-plugin",
        imports: { default: trappable },
        exports: { default: async },
        with: {
            "pharos:plugin/snapshots.snapshot": super::Given,
            "pharos:plugin/snapshots.table": super::Nothing,
        },
    });
}

/// The snapshot of the guest: facts in the types of the contract.
pub struct Given {
    subject: types::Subject,
    part: String,
    samples: HashMap<String, wit::Samples>,
}

/// There are no tables here.
pub struct Nothing;

pub struct State {
    given: Arc<Given>,
    settings: String,
    table: ResourceTable,
    wasi: WasiCtx,
}

pub struct BareHost {
    engine: Engine,
    pre: AlertRulePluginPre<State>,
    given: Arc<Given>,
    settings: String,
}

/// An instance with its store.
pub struct BareInstance {
    store: Store<State>,
    exports: AlertRulePlugin,
}

impl BareHost {
    pub fn new(bytes: &[u8], settings: &toml::Table, change: &Change) -> anyhow::Result<Self> {
        let engine = engine::running(true).map_err(plain)?;
        let component = Component::new(&engine, bytes).map_err(plain)?;
        let mut linker = Linker::new(&engine);
        wasmtime_wasi::p2::add_to_linker_async(&mut linker).map_err(plain)?;
        wit::add_to_linker::<_, HasSelf<State>>(&mut linker, |state| state).map_err(plain)?;
        config::add_to_linker::<_, HasSelf<State>>(&mut linker, |state| state).map_err(plain)?;
        linker.define_unknown_imports_as_traps(&component).map_err(plain)?;
        let pre = AlertRulePluginPre::new(linker.instantiate_pre(&component).map_err(plain)?).map_err(plain)?;
        Ok(Self { engine, pre, given: Arc::new(Given::of(change)), settings: serde_json::to_string(settings)? })
    }

    /// A store and an instance, its `init` not called yet.
    pub async fn instantiate(&self) -> anyhow::Result<BareInstance> {
        let wasi = WasiCtx::builder().build();
        let state = State { given: Arc::clone(&self.given), settings: self.settings.clone(), table: ResourceTable::new(), wasi };
        let mut store = Store::new(&self.engine, state);
        // The code checks the epoch as in the agent, but here the epoch never advances.
        store.set_epoch_deadline(u64::MAX / 2);
        let exports = self.pre.instantiate_async(&mut store).await.map_err(plain)?;
        Ok(BareInstance { store, exports })
    }

    pub async fn start(&self) -> anyhow::Result<BareInstance> {
        let mut instance = self.instantiate().await?;
        let BareInstance { store, exports } = &mut instance;
        let begun = exports.pharos_plugin_plugin().call_init(store).await.map_err(plain)?;
        begun.map_err(|failure| anyhow::anyhow!("init: {failure:?}"))?;
        Ok(instance)
    }
}

impl BareInstance {
    /// Judges the facts; the number of findings.
    pub async fn evaluate(&mut self) -> anyhow::Result<usize> {
        let at = Resource::new_own(0);
        let report = self.exports.pharos_plugin_alert_rule().call_evaluate(&mut self.store, at).await.map_err(plain)?;
        Ok(report.ok().context("the plugin failed")?.findings.len())
    }
}

fn plain(err: wasmtime::Error) -> anyhow::Error {
    anyhow::anyhow!("{err:#}")
}

impl Given {
    fn of(change: &Change) -> Self {
        let snapshot = &change.snapshot;
        let subject = &snapshot.subject;
        let labels = subject.labels.iter().map(|label| types::Label { name: label.name.clone(), value: label.value.clone() });
        let (kind, id, version) = (subject.kind.clone(), subject.id.clone(), subject.version.clone());
        let readings = snapshot.parts.values().filter_map(|part| part.reading.as_ref());
        let metrics = readings.flat_map(|reading| &reading.families).map(|family| &family.metric);
        Self {
            subject: types::Subject { kind: kind.into(), id, version, labels: labels.collect() },
            part: snapshot.parts.keys().next().cloned().unwrap_or_default(),
            samples: metrics.map(|metric| (metric.clone(), samples(change, metric))).collect(),
        }
    }
}

fn samples(change: &Change, metric: &str) -> wit::Samples {
    let samples = change.samples(metric, &[], Quantity::Value);
    let labels = samples.labels.into_iter().map(|column| {
        let values = wit::TextColumn { words: column.values.words, codes: column.values.codes };
        wit::LabelColumn { name: column.name, values }
    });
    wit::Samples { labels: labels.collect(), values: samples.values }
}

impl WasiView for State {
    fn ctx(&mut self) -> WasiCtxView<'_> {
        WasiCtxView { ctx: &mut self.wasi, table: &mut self.table }
    }
}

impl config::Host for State {
    fn settings(&mut self) -> wasmtime::Result<String> {
        Ok(self.settings.clone())
    }
}

impl wit::Host for State {}

impl wit::HostSnapshot for State {
    fn subject(&mut self, _: Resource<Given>) -> wasmtime::Result<types::Subject> {
        Ok(self.given.subject.clone())
    }

    fn source(&mut self, _: Resource<Given>, _: String) -> wasmtime::Result<Option<wit::Part>> {
        Ok(Some(wit::Part { name: self.given.part.clone(), state: wit::PartState::Present }))
    }

    fn samples(&mut self, _: Resource<Given>, metric: String, _: Vec<wit::Matcher>, _: wit::Reading) -> wasmtime::Result<wit::Samples> {
        self.given.samples.get(&metric).cloned().ok_or_else(unused)
    }

    fn taken_at_ms(&mut self, _: Resource<Given>) -> wasmtime::Result<u64> {
        Ok(0)
    }

    fn interval_ms(&mut self, _: Resource<Given>) -> wasmtime::Result<u64> {
        Ok(0)
    }

    fn parts(&mut self, _: Resource<Given>) -> wasmtime::Result<Vec<wit::Part>> {
        Err(unused())
    }

    fn table(&mut self, _: Resource<Given>, _: String) -> wasmtime::Result<Option<Resource<Nothing>>> {
        Ok(None)
    }

    fn members(&mut self, _: Resource<Given>) -> wasmtime::Result<Vec<types::Subject>> {
        Ok(Vec::new())
    }

    fn member(&mut self, _: Resource<Given>, _: String) -> wasmtime::Result<Option<Resource<Given>>> {
        Ok(None)
    }

    fn drop(&mut self, _: Resource<Given>) -> wasmtime::Result<()> {
        Ok(())
    }
}

impl wit::HostTable for State {
    fn row_count(&mut self, _: Resource<Nothing>) -> wasmtime::Result<u32> {
        Err(unused())
    }

    fn columns(&mut self, _: Resource<Nothing>) -> wasmtime::Result<Vec<wit::Column>> {
        Err(unused())
    }

    fn floats(&mut self, _: Resource<Nothing>, _: u32, _: u32, _: u32) -> wasmtime::Result<wit::FloatColumn> {
        Err(unused())
    }

    fn integers(&mut self, _: Resource<Nothing>, _: u32, _: u32, _: u32) -> wasmtime::Result<wit::IntegerColumn> {
        Err(unused())
    }

    fn texts(&mut self, _: Resource<Nothing>, _: u32, _: u32, _: u32) -> wasmtime::Result<wit::TextColumn> {
        Err(unused())
    }

    fn drop(&mut self, _: Resource<Nothing>) -> wasmtime::Result<()> {
        Ok(())
    }
}

impl types::Host for State {}

fn unused() -> wasmtime::Error {
    wasmtime::Error::msg("no plugin of the benchmark asks for this")
}
