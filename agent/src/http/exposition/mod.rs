//! The text of `/metrics`: lines of every series, written ahead of the scrape.

mod format;
mod written;

pub use self::format::Format;
pub use self::written::Exposition;
