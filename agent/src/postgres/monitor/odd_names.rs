//! Logs texts of a server that are not UTF-8, each once, up to a limit.
//!
//! A name is logged as it is shown. For texts that people read - a statement, the value of a setting - only the column is logged: they may
//! hold a password, and other code decides later what may be shown.

use std::collections::BTreeSet;
use std::sync::Arc;

use parking_lot::Mutex;
use pharos_model::postgres::server_text::Use;
use tracing::warn;

/// Most names that are logged for one server. Without a limit, a hostile owner could fill the log with made-up names.
const LOGGED_MAX: usize = 20;
/// Most characters of a name that are logged.
const LOGGED_CHARS_MAX: usize = 200;

/// The names that were logged, shared by all sessions with one server.
#[derive(Debug, Clone, Default)]
pub struct OddNames(Arc<Mutex<BTreeSet<String>>>);

impl OddNames {
    /// Logs a text, unless it was logged before.
    pub(super) fn log(&self, column: &str, shown: &str, used: Use) {
        let mut logged = self.0.lock();
        if logged.len() > LOGGED_MAX {
            return;
        }
        let name: String = match used {
            Use::Name | Use::Datname => shown.chars().take(LOGGED_CHARS_MAX).collect(),
            Use::Reading => format!("a text of the column {column}"),
        };
        if logged.contains(&name) {
            return;
        }
        if logged.len() == LOGGED_MAX {
            warn!("there are more names and texts in other encodings; they are shown escaped and no longer logged");
        } else {
            warn!(column, "`{}` is shown escaped: it is not UTF-8, or looks as if it were escaped already", name.escape_debug());
        }
        logged.insert(name);
    }
}
