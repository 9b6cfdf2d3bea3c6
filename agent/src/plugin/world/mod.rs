//! The worlds of the contract, one file each: its imports, budget, exports and calls, and the trial of a new generation.
//!
//! Another world is a file here and a line in [`WORLDS`].

pub(crate) mod alert_rule;
mod definition;
pub(crate) mod notifier;

pub(crate) use self::definition::World;

/// Every world that this agent runs.
pub(super) const WORLDS: [&dyn World; 2] = [alert_rule::ALERT_RULE, notifier::NOTIFIER];
