//! Imports that every world has: `log`, `telemetry`, `config` and `state`.

use super::imports::Imports;
use super::wrong_setting::WrongSetting;
use crate::plugin::contract::bindings::alert_rule::pharos::plugin::{config, log, state, telemetry, types};

/// Field of a logged warning by which a plugin names a setting that it ignores.
const SETTING_FIELD: &str = "setting";

impl types::Host for Imports {}

impl log::Host for Imports {
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
        // A trial of the settings collects these warnings.
        if let (log::Level::Warn, Some(setting)) = (level, fields.iter().find(|field| field.name == SETTING_FIELD)) {
            let wrong = WrongSetting::from_plugin(&setting.value, &message);
            if !self.plugin.note_wrong_setting(wrong) {
                return Ok(());
            }
        }
        let fields: Vec<String> = fields.into_iter().map(|field| format!("{}={}", field.name, field.value)).collect();
        self.plugin.log(level, &message, &fields.join(" "));
        Ok(())
    }
}

impl telemetry::Host for Imports {
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

impl config::Host for Imports {
    fn settings(&mut self) -> wasmtime::Result<String> {
        Ok(self.settings.to_string())
    }
}

impl state::Host for Imports {
    async fn get(&mut self, key: String) -> wasmtime::Result<Result<Option<Vec<u8>>, state::StateError>> {
        Ok(self.plugin.capabilities.state.get(&self.plugin.id, key).await)
    }

    async fn put(&mut self, key: String, value: Vec<u8>, ttl_seconds: Option<u32>) -> wasmtime::Result<Result<(), state::StateError>> {
        Ok(self.plugin.capabilities.state.put(&self.plugin.id, key, value, ttl_seconds).await)
    }

    async fn compare_and_swap(
        &mut self,
        key: String,
        expected: Option<Vec<u8>>,
        value: Vec<u8>,
    ) -> wasmtime::Result<Result<bool, state::StateError>> {
        Ok(self.plugin.capabilities.state.compare_and_swap(&self.plugin.id, key, expected, value).await)
    }

    async fn delete(&mut self, key: String) -> wasmtime::Result<Result<(), state::StateError>> {
        Ok(self.plugin.capabilities.state.delete(&self.plugin.id, key).await)
    }
}
