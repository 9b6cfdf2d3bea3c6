//! Structured logs on standard error, as text or JSON lines.

use std::io::IsTerminal;
use std::sync::OnceLock;
use std::time::Duration;

use tracing_subscriber::EnvFilter;

use super::lines::Lines;
use crate::config::agent::{LogConfig, LogFormat, LogLevel};

/// The longest wait for the last lines at the end of a command.
const LAST_LINES_MAX: Duration = Duration::from_secs(1);

static LINES: OnceLock<Lines> = OnceLock::new();

/// Starts logging for the process. A second call changes nothing, so that tests may call it freely.
pub fn start(config: &LogConfig) {
    let level = match config.level {
        LogLevel::Error => "error",
        LogLevel::Warn => "warn",
        LogLevel::Info => "info",
        LogLevel::Debug => "debug",
        LogLevel::Trace => "trace",
    };
    // Libraries log from `warn` on: their debug lines can contain statements and addresses that must not be printed.
    let filter = EnvFilter::new(format!("warn,pharos={level}"));
    if LINES.get().is_some() {
        return;
    }
    let Ok(lines) = Lines::start(std::io::stderr()) else { return };
    let lines = LINES.get_or_init(|| lines).clone();
    let builder = tracing_subscriber::fmt().with_env_filter(filter).with_target(false).with_writer(lines);
    let _ = match config.format {
        LogFormat::Text => builder.with_ansi(std::io::stderr().is_terminal()).try_init(),
        LogFormat::Json => builder.json().flatten_event(true).try_init(),
    };
}

/// Waits for the last lines before the process ends.
pub fn finish() {
    if let Some(lines) = LINES.get() {
        lines.flush(LAST_LINES_MAX);
    }
}

/// The number of log lines that were lost because the output took none.
pub fn lines_dropped() -> u64 {
    LINES.get().map_or(0, Lines::dropped)
}
