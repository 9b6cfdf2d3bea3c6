//! What a plugin's store holds, and the small imports: `log`, `telemetry`, `config`, `state`.

use std::sync::Arc;

use pharos_model::text;
use tracing::{debug, error, info, trace, warn};
use wasmtime::component::{HasSelf, ResourceTable};
use wasmtime_wasi::{WasiCtx, WasiCtxView, WasiView};

use super::context::PluginContext;
use super::snapshots::Handles;
use super::stdio::{LastWords, LogStream};
use crate::plugin::contract::bindings::alert_rule::pharos::plugin::{config, log, state, telemetry, types};
use crate::plugin::load::trial::Wrong;
use crate::plugin::run::budget::{CpuMeter, MemoryLimiter};

/// Bytes a plugin may hand to the host in one call.
pub const HOSTCALL_BYTES_MAX: usize = 4 << 20;
/// Handles an instance may hold.
pub const HANDLES_MAX: usize = 4_096;
/// Resources an instance may hold: streams and pollables; and, counted apart, snapshots and tables.
pub const RESOURCES_MAX: usize = 1_024;
/// Bytes of a line that a plugin logs, and of the fields beside it.
pub const LINE_BYTES_MAX: usize = 4_096;
/// Random bytes of one request.
const RANDOM_BYTES_MAX: u64 = 64 << 10;

/// The host's side of one instance.
pub struct HostState {
    pub plugin: Arc<PluginContext>,
    /// Resources of WASI, which live as long as the instance: a language's runtime keeps its standard output.
    table: ResourceTable,
    /// What the guest holds of the snapshot that it judges.
    pub handles: Handles,
    pub limiter: MemoryLimiter,
    pub meter: Arc<CpuMeter>,
    pub words: LastWords,
    /// A JSON object; a notifier sees its plugin's settings overlaid by its receiver's.
    settings: Arc<str>,
    wasi: WasiCtx,
}

/// Marks [`HostState`] as the data behind every import.
pub type Data = HasSelf<HostState>;

impl HostState {
    pub fn new(plugin: Arc<PluginContext>, settings: Arc<str>, memory_bytes: u64) -> Self {
        let mut table = ResourceTable::new();
        table.set_max_capacity(RESOURCES_MAX);
        let words = LastWords::default();
        let wasi = WasiCtx::builder()
            .stdout(LogStream::output(&plugin))
            .stderr(LogStream::error(&plugin, &words))
            .max_random_size(RANDOM_BYTES_MAX)
            // No folder is opened, and nothing leads out: these are the defaults, on which the sandbox stands.
            .allow_tcp(false)
            .allow_udp(false)
            .allow_ip_name_lookup(false)
            .socket_addr_check(|_, _| Box::pin(async { false }))
            .build();
        Self {
            table,
            handles: Handles::default(),
            limiter: MemoryLimiter::new(memory_bytes),
            meter: Arc::default(),
            words,
            settings,
            wasi,
            plugin,
        }
    }
}

impl WasiView for HostState {
    fn ctx(&mut self) -> WasiCtxView<'_> {
        WasiCtxView { ctx: &mut self.wasi, table: &mut self.table }
    }
}

impl types::Host for HostState {}

impl log::Host for HostState {
    fn enabled(&mut self, level: log::Level) -> wasmtime::Result<bool> {
        Ok(match level {
            log::Level::Trace => tracing::enabled!(tracing::Level::TRACE),
            log::Level::Debug => tracing::enabled!(tracing::Level::DEBUG),
            log::Level::Info => tracing::enabled!(tracing::Level::INFO),
            // Always, since a warning about a setting is for more than the log: `pharos check` has none.
            log::Level::Warn | log::Level::Error => true,
        })
    }

    fn emit(&mut self, level: log::Level, message: String, fields: Vec<log::Field>) -> wasmtime::Result<()> {
        // What a plugin says so is about its settings: see `trial`.
        if let (log::Level::Warn, Some(setting)) = (level, fields.iter().find(|field| field.name == "setting")) {
            let wrong = Wrong::of_plugin(&setting.value, &message);
            if !self.plugin.ignores(wrong) {
                return Ok(());
            }
        }
        let fields: Vec<String> = fields.into_iter().map(|field| format!("{}={}", field.name, field.value)).collect();
        emit(&self.plugin, level, &message, &fields.join(" "));
        Ok(())
    }
}

/// Writes a plugin's line into the agent's log, if its rate limit allows.
pub fn emit(plugin: &PluginContext, level: log::Level, message: &str, fields: &str) {
    if !plugin.may_log() {
        return;
    }
    let (id, message, fields) = (plugin.id.as_str(), text::line(message, LINE_BYTES_MAX), text::line(fields, LINE_BYTES_MAX));
    let fields = fields.as_ref();
    match level {
        log::Level::Trace => trace!(plugin = id, fields, "{message}"),
        log::Level::Debug => debug!(plugin = id, fields, "{message}"),
        log::Level::Info => info!(plugin = id, fields, "{message}"),
        log::Level::Warn => warn!(plugin = id, fields, "{message}"),
        log::Level::Error => error!(plugin = id, fields, "{message}"),
    }
}

impl telemetry::Host for HostState {
    fn counter_add(&mut self, name: String, delta: u64) -> wasmtime::Result<()> {
        if self.plugin.may_name_metric(&name) {
            self.plugin.metrics.add("pharos_plugin_user_counter_total", &[&self.plugin.id, &name], delta as f64);
        }
        Ok(())
    }

    fn gauge_set(&mut self, name: String, value: f64) -> wasmtime::Result<()> {
        if self.plugin.may_name_metric(&name) && value.is_finite() {
            self.plugin.metrics.set("pharos_plugin_user_gauge", &[&self.plugin.id, &name], value);
        }
        Ok(())
    }
}

impl config::Host for HostState {
    fn settings(&mut self) -> wasmtime::Result<String> {
        Ok(self.settings.to_string())
    }
}

impl state::Host for HostState {
    async fn get(&mut self, key: String) -> wasmtime::Result<Result<Option<Vec<u8>>, state::StateError>> {
        Ok(self.plugin.state.get(&self.plugin.id, key).await)
    }

    async fn put(&mut self, key: String, value: Vec<u8>, ttl_seconds: Option<u32>) -> wasmtime::Result<Result<(), state::StateError>> {
        Ok(self.plugin.state.put(&self.plugin.id, key, value, ttl_seconds).await)
    }

    async fn compare_and_swap(
        &mut self,
        key: String,
        expected: Option<Vec<u8>>,
        value: Vec<u8>,
    ) -> wasmtime::Result<Result<bool, state::StateError>> {
        Ok(self.plugin.state.compare_and_swap(&self.plugin.id, key, expected, value).await)
    }

    async fn delete(&mut self, key: String) -> wasmtime::Result<Result<(), state::StateError>> {
        Ok(self.plugin.state.delete(&self.plugin.id, key).await)
    }
}
