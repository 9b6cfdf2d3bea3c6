//! Lines in the agent's log, under the plugin's id. Pass numbers and names as fields, not in the message, so that lines can be searched.
//!
//! ```ignore
//! log::warn("no such table", &[("table", &name)]);
//! ```

use std::fmt::Display;

use crate::bindings::plugin::pharos::plugin::log as host;
pub use host::Level;

/// Logs a line at level `debug`.
pub fn debug(message: &str, fields: &[(&str, &dyn Display)]) {
    emit(Level::Debug, message, fields);
}

/// Logs a line at level `info`.
pub fn info(message: &str, fields: &[(&str, &dyn Display)]) {
    emit(Level::Info, message, fields);
}

/// Logs a line at level `warn`.
pub fn warn(message: &str, fields: &[(&str, &dyn Display)]) {
    emit(Level::Warn, message, fields);
}

/// Logs a line at level `error`.
pub fn error(message: &str, fields: &[(&str, &dyn Display)]) {
    emit(Level::Error, message, fields);
}

/// Logs a line at a level. The line is dropped if the host does not log this level.
pub fn emit(level: Level, message: &str, fields: &[(&str, &dyn Display)]) {
    // The level is checked first, so that a dropped line costs no formatting.
    if host::enabled(level) {
        let fields: Vec<_> =
            fields.iter().map(|(name, value)| host::Field { name: (*name).to_owned(), value: value.to_string() }).collect();
        host::emit(level, message, &fields);
    }
}
