//! Host's side of one instance: the data behind every import.

use std::sync::Arc;

use wasmtime::component::{HasSelf, ResourceTable};
use wasmtime_wasi::{WasiCtx, WasiCtxView, WasiView};

use super::context::PluginContext;
use super::stdio::{LastWords, LogStream};
use crate::plugin::contract::handle::Handles;

/// WASI resources that an instance may hold: streams and pollables. A guest that never drops them would fill the agent's memory.
const WASI_RESOURCES_MAX: usize = 1_024;
/// Random bytes of one request. The host makes them at once, which nothing can interrupt.
const RANDOM_BYTES_MAX: u64 = 64 << 10;

/// Everything that the imports of one instance work on.
pub struct Imports {
    pub plugin: Arc<PluginContext>,
    /// Handles that the guest holds of the snapshot that it judges.
    pub handles: Handles,
    /// Text that the guest wrote to standard error in the present call.
    pub last_words: LastWords,
    /// A JSON object. A notifier sees its plugin's settings overlaid by its receiver's.
    pub settings: Arc<str>,
    /// WASI resources, which live as long as the instance: a language's runtime holds on to its standard output.
    table: ResourceTable,
    wasi: WasiCtx,
}

/// Marks [`Imports`] as the data behind every import.
pub(crate) type Data = HasSelf<Imports>;

impl Imports {
    pub fn new(plugin: Arc<PluginContext>, settings: Arc<str>) -> Self {
        let mut table = ResourceTable::new();
        table.set_max_capacity(WASI_RESOURCES_MAX);
        let last_words = LastWords::default();
        let wasi = WasiCtx::builder()
            .stdout(LogStream::output(&plugin))
            .stderr(LogStream::error(&plugin, &last_words))
            .max_random_size(RANDOM_BYTES_MAX)
            // No folder is opened, and nothing leads out: these are the defaults, on which the sandbox stands.
            .allow_tcp(false)
            .allow_udp(false)
            .allow_ip_name_lookup(false)
            .socket_addr_check(|_, _| Box::pin(async { false }))
            .build();
        Self { plugin, handles: Handles::default(), last_words, settings, table, wasi }
    }
}

impl WasiView for Imports {
    fn ctx(&mut self) -> WasiCtxView<'_> {
        WasiCtxView { ctx: &mut self.wasi, table: &mut self.table }
    }
}
