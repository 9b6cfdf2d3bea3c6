//! The text of `/metrics`. The lines of all series are written before a scrape asks for them.

mod format;
mod written;

pub(super) use self::format::Format;
pub use self::written::Exposition;
