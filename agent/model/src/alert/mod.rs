//! Findings over time: the book of all alerts, and what each evaluation does to it.
//!
//! Plugins only say what is wrong now; the book owns time, identity and incidents. It tells apart three answers that
//! monitoring tools like to mix: *found* (it is wrong), *clear* (the rule looked, it is fine) and *unknown* (nobody
//! could look), which freezes an alert and never resolves it; only a series that is really gone takes its alert along.

mod book;
mod cycle;
mod fingerprint;
mod flapping;
mod freeze;
mod group;
mod key;
mod machine;
mod now;
mod overflow;
mod record;
mod room;
mod said;
mod saved;
mod series;
mod sightings;
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
pub use self::group::REMEMBERED_MAX;
pub use self::machine::GONE_AFTER;
pub use self::now::Now;
pub use self::record::Alert;
pub use self::room::{ALERTS_PER_PLUGIN_MAX, ALERTS_PER_RULE_MAX, ALERTS_PER_SUBJECT_MAX, BYTES_PER_PLUGIN_MAX, NEW_AT_ONCE_MAX};
pub use self::saved::{Changes, SavedBook};
pub use self::sightings::{Sightings, Unseen};
pub use self::state::AlertState;
pub use self::transition::{Reason, ReasonKind, Transition, UnknownReason};
