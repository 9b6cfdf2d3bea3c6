//! Lines in the agent's log, under the plugin's id. Fields are structured: keep numbers and names out of the message.
//!
//! ```ignore
//! log::warn("no such table", &[("table", &name)]);
//! ```

use std::fmt::Display;

use crate::bindings::plugin::pharos::plugin::log as host;
pub use host::Level;

pub fn debug(message: &str, fields: &[(&str, &dyn Display)]) {
    emit(Level::Debug, message, fields);
}

pub fn info(message: &str, fields: &[(&str, &dyn Display)]) {
    emit(Level::Info, message, fields);
}

pub fn warn(message: &str, fields: &[(&str, &dyn Display)]) {
    emit(Level::Warn, message, fields);
}

pub fn error(message: &str, fields: &[(&str, &dyn Display)]) {
    emit(Level::Error, message, fields);
}

pub fn emit(level: Level, message: &str, fields: &[(&str, &dyn Display)]) {
    // Asked first, so that a line nobody reads costs no formatting.
    if host::enabled(level) {
        let fields: Vec<_> =
            fields.iter().map(|(name, value)| host::Field { name: (*name).to_owned(), value: value.to_string() }).collect();
        host::emit(level, message, &fields);
    }
}
