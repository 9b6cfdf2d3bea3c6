//! `/api/alerts`: what is wrong, everything that was decided about it and why, and who takes care of it.

mod acknowledge;
mod area;
mod explain;
mod fingerprint;
mod history;
mod item;
mod list;

pub use self::area::area;
pub use self::history::item as history_item;
pub use self::list::AlertsState;
