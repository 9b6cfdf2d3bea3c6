//! The states of an alert.

use std::fmt;

use serde::{Deserialize, Serialize};

/// Where an alert stands. An alert that is inactive or resolved is no longer in the book; the two appear in transitions.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum AlertState {
    Inactive,
    /// Raised, but not yet for as long as its rule asks.
    Pending,
    Firing,
    /// Clear, but not yet for as long as its rule asks. Still an incident.
    Recovering,
    Resolved,
}

impl AlertState {
    /// The states an alert in the book can have.
    pub const OPEN: [Self; 3] = [Self::Pending, Self::Firing, Self::Recovering];

    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Inactive => "inactive",
            Self::Pending => "pending",
            Self::Firing => "firing",
            Self::Recovering => "recovering",
            Self::Resolved => "resolved",
        }
    }

    pub fn is_open(self) -> bool {
        Self::OPEN.contains(&self)
    }
}

impl fmt::Display for AlertState {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.as_str())
    }
}
