//! Texts of a server that are not UTF-8: each is logged once, and there is an end to it.
//!
//! A name is logged as it is shown. Of what people read, a statement or the value of a setting, only the column is logged: a password may be
//! in it, and what may be shown of it is decided later.

use std::collections::BTreeSet;
use std::sync::{Arc, Mutex, PoisonError};

use pharos_model::postgres::server_text::Use;
use tracing::warn;

/// Names that are logged of one server. Whoever makes names could fill a log with them.
const LOGGED_MAX: usize = 20;
/// What is logged of one name.
const LOGGED_CHARS_MAX: usize = 200;

/// The names that were logged, shared by all sessions with a server.
#[derive(Debug, Clone, Default)]
pub struct OddNames(Arc<Mutex<BTreeSet<String>>>);

impl OddNames {
    pub(super) fn note(&self, column: &str, shown: &str, used: Use) {
        let mut logged = self.0.lock().unwrap_or_else(PoisonError::into_inner);
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
            warn!("there are more names and texts in other encodings; they are shown escaped and logged no longer");
        } else {
            warn!(column, "`{}` is shown escaped: it is not UTF-8, or looks as if it were escaped already", name.escape_debug());
        }
        logged.insert(name);
    }
}
