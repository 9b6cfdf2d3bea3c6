//! A linked component, and the exports of an instance of it.

use std::any::Any;
use std::sync::Arc;

use wasmtime::component::{Instance, InstancePre};
use wasmtime::{Engine, Store};
use wasmtime_wasi::{WasiCtxView, WasiView};

use super::budget::{CpuMeter, MemoryLimiter};
use crate::plugin::contract::bindings::plugin::{Plugin, PluginIndices};
use crate::plugin::import::imports::Imports;

/// Data of a store: the imports of one instance, and what limits it.
pub struct InstanceState {
    pub imports: Imports,
    pub limiter: MemoryLimiter,
    pub meter: Arc<CpuMeter>,
}

impl InstanceState {
    pub fn new(imports: Imports, memory_bytes: u64) -> Self {
        Self { imports, limiter: MemoryLimiter::new(memory_bytes), meter: Arc::default() }
    }

    /// The data of imports, as linkers ask for it.
    pub fn imports(&mut self) -> &mut Imports {
        &mut self.imports
    }
}

impl WasiView for InstanceState {
    fn ctx(&mut self) -> WasiCtxView<'_> {
        self.imports.ctx()
    }
}

/// Exports of one instance: those that every plugin has, and those of its world.
pub struct Exports {
    pub plugin: Plugin,
    /// The type that the world's bindings have for its exports. A call that expects another one is refused.
    pub world: Box<dyn Any + Send + Sync>,
}

/// Finds the exports of a world in an instance.
type FindExports = dyn Fn(&mut Store<InstanceState>, &Instance) -> wasmtime::Result<Box<dyn Any + Send + Sync>> + Send + Sync;

/// A linked component, ready to be instantiated.
pub struct Linked {
    pre: InstancePre<InstanceState>,
    plugin: PluginIndices,
    find: Box<FindExports>,
}

impl Linked {
    /// Links a component whose exports of its world `find` finds in each instance. An error names the export that is missing.
    pub fn new<E: Send + Sync + 'static>(
        pre: InstancePre<InstanceState>,
        find: impl Fn(&mut Store<InstanceState>, &Instance) -> wasmtime::Result<E> + Send + Sync + 'static,
    ) -> wasmtime::Result<Self> {
        let plugin = PluginIndices::new(&pre)?;
        Ok(Self { pre, plugin, find: Box::new(move |store, instance| Ok(Box::new(find(store, instance)?))) })
    }

    pub fn engine(&self) -> &Engine {
        self.pre.engine()
    }

    /// Makes an instance in a store. Start functions of the guest run here.
    pub async fn instantiate(&self, store: &mut Store<InstanceState>) -> wasmtime::Result<Exports> {
        let instance = self.pre.instantiate_async(&mut *store).await?;
        let plugin = self.plugin.load(&mut *store, &instance)?;
        let world = (self.find)(store, &instance)?;
        Ok(Exports { plugin, world })
    }
}
