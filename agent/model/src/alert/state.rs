//! The states of an alert.

use std::fmt;

use serde::{Deserialize, Serialize};

/// The state of an alert. An inactive or resolved alert is no longer in the book; these two states appear only in transitions.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum AlertState {
    /// Not raised: the state before an incident, and after a condition that ended before the alert fired.
    Inactive,
    /// Raised, but not yet for the time `for` of its rule.
    Pending,
    /// Raised for long enough. Receivers are notified.
    Firing,
    /// Clear, but not yet for the time `keep_firing` of its rule. The incident goes on.
    Recovering,
    /// The alert has fired and has ended.
    Resolved,
}

impl AlertState {
    /// The states of an open alert.
    pub const OPEN: [Self; 3] = [Self::Pending, Self::Firing, Self::Recovering];

    /// Name of the state in the store and in the API.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Inactive => "inactive",
            Self::Pending => "pending",
            Self::Firing => "firing",
            Self::Recovering => "recovering",
            Self::Resolved => "resolved",
        }
    }

    /// True for the states of an alert that is in the book.
    pub fn is_open(self) -> bool {
        Self::OPEN.contains(&self)
    }
}

impl fmt::Display for AlertState {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.as_str())
    }
}
