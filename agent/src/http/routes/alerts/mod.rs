//! `/api/alerts`: open alerts, everything that was decided about each and why, and acknowledgements.

mod acknowledge;
mod area;
mod explain;
mod fingerprint;
mod history;
mod item;
mod list;

pub(crate) use self::area::area;
pub(crate) use self::history::item as history_item;
pub(crate) use self::list::AlertsState;
