//! Findings over time: the book of all alerts, and what each evaluation does to it.
//!
//! Plugins only report what is wrong now; the book owns time, identity and incidents. It distinguishes three answers that monitoring tools
//! often mix: *found* (it is wrong), *clear* (the rule read its facts, and all is well) and *unknown* (the rule could not read its facts).
//! *Unknown* freezes an alert and never resolves it. Only a series that is really gone also ends its alert.

mod book;
mod cycle;
mod fingerprint;
mod flapping;
mod freeze;
mod group;
mod key;
mod machine;
mod match_history;
mod now;
mod overflow;
mod record;
mod report_by_alert;
mod room;
mod saved;
mod series;
mod state;
mod transition;

#[cfg(test)]
mod properties;
#[cfg(test)]
mod stories;
#[cfg(test)]
mod tests;

pub use self::book::AlertBook;
pub use self::cycle::{Cycle, Outcome};
pub use self::fingerprint::{Fingerprint, NotAFingerprint};
pub use self::flapping::Verdicts;
pub use self::freeze::{Freeze, Frozen};
pub use self::group::ENDED_ALERTS_MAX;
pub use self::machine::GONE_AFTER;
pub use self::match_history::{MatchHistory, UnmatchedRule};
pub use self::now::Now;
pub use self::record::Alert;
pub use self::room::{ALERTS_PER_PLUGIN_MAX, ALERTS_PER_RULE_MAX, ALERTS_PER_SUBJECT_MAX, BYTES_PER_PLUGIN_MAX, NEW_AT_ONCE_MAX};
pub use self::saved::{Changes, SavedBook};
pub use self::state::AlertState;
pub use self::transition::{Reason, ReasonKind, Transition, UnknownReason};
