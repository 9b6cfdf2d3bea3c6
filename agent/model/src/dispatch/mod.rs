//! The dispatcher decides which receivers get a notification about an alert, when, grouped with which alerts, and why not.
//!
//! The alert book records what is wrong; the dispatcher decides which part of that is sent. The ledger has an entry for each incident and
//! each receiver that a route leads to: what was sent, and what is still to be sent. No event sends a notification. When a group is due,
//! its entries are compared with the present state, and the difference is sent. So an alert that was silenced, inhibited, or without room
//! in the outbox is sent as soon as nothing holds it back. It is never lost on the way.
//!
//! Entries are stored in one transaction with the change that made them, and rows with the entry that counts them.

mod commands;
mod dispatcher;
mod explain;
mod flush;
mod hold;
mod inhibit;
mod key;
mod ledger;
mod matcher;
mod matchers;
mod message_intervals;
mod message_rows;
mod pattern;
mod route;
mod saved;
mod silence;

#[cfg(test)]
mod properties;
#[cfg(test)]
pub(crate) mod stories;

pub use self::commands::AcknowledgeError;
pub use self::dispatcher::Dispatcher;
pub use self::explain::{ReceiverTrace, RouteTrace, Trace};
pub use self::flush::{Release, Withheld};
pub use self::hold::{Hold, HoldReason};
pub use self::inhibit::Inhibition;
pub use self::key::IncidentKey;
pub use self::ledger::{Entry, SentState};
pub use self::matcher::{LabelMatcher, MATCHERS_BYTES_MAX, MATCHERS_MAX, MatcherError, label_of};
pub use self::matchers::{Matchers, Never};
pub use self::message_rows::message_alert;
pub use self::route::{Route, Routes};
pub use self::saved::{Changes, SavedDispatch};
pub use self::silence::{Acknowledgement, SILENCES_BYTES_MAX, SILENCES_MAX, Silence, SilenceError, SilenceState};
