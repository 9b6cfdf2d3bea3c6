//! `/api/alerts`: open alerts, everything that was decided about each and why, and acknowledgements.

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
