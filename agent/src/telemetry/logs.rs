//! Structured logs on standard error, as text or JSON lines.

use std::error::Error;
use std::io::IsTerminal;
use std::sync::OnceLock;
use std::time::Duration;

use tracing_subscriber::EnvFilter;

use super::lines::Lines;
use crate::config::agent::{LogConfig, LogFormat, LogLevel};

/// How long the end of a command waits for the last lines to be taken.
const LAST_LINES_MAX: Duration = Duration::from_secs(1);
/// The longest text of an error. Servers and receivers write them, as long as they like.
const ERROR_BYTES_MAX: usize = 2_000;

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
    // Libraries speak at `warn`: their debug lines can carry statements and addresses that are not ours to print.
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

/// Lets the last lines out before the process ends.
pub fn finish() {
    if let Some(lines) = LINES.get() {
        lines.flush(LAST_LINES_MAX);
    }
}

/// Lines of the log that were lost, since nothing took them.
pub fn lines_dropped() -> u64 {
    LINES.get().map_or(0, Lines::dropped)
}

/// An error with all its causes, outermost first, on one line and within a bound: part of it may be somebody else's words.
pub fn chain(err: &dyn Error) -> String {
    let mut text = err.to_string();
    let mut cause = err.source();
    while let Some(err) = cause {
        let message = err.to_string();
        // Some libraries repeat their source in their own text.
        if !text.ends_with(&message) {
            text.push_str(": ");
            text.push_str(&message);
        }
        if text.len() > ERROR_BYTES_MAX {
            break;
        }
        cause = err.source();
    }
    bounded(text)
}

fn bounded(mut text: String) -> String {
    if text.len() > ERROR_BYTES_MAX {
        text.truncate(text.floor_char_boundary(ERROR_BYTES_MAX));
        text.push_str(" ...");
    }
    if text.contains(char::is_control) { text.replace(char::is_control, " ") } else { text }
}
