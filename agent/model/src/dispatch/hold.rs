//! The reasons not to notify a receiver of an alert. A new reason is a variant here.

use std::fmt;

use serde::{Deserialize, Serialize};

use super::inhibit::UNREACHABLE;
use crate::alert::Fingerprint;

/// Reason that holds a notification back from a receiver.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "kind", rename_all = "kebab-case")]
pub enum Hold {
    /// A silence matches the alert.
    Silenced {
        /// Id of the silence.
        silence: String,
        /// Author of the silence.
        author: String,
        /// Comment of the silence.
        comment: String,
        /// End of the silence, in milliseconds since 1970.
        until_ms: u64,
    },
    /// Another alert explains this one.
    Inhibited {
        /// Name of the inhibition.
        rule: String,
        /// Fingerprint of the source alert.
        by: Fingerprint,
    },
    /// A person acknowledged the incident.
    Acknowledged {
        /// Author of the acknowledgement.
        author: String,
        /// Wall clock of the acknowledgement, milliseconds since 1970.
        at_ms: u64,
    },
    /// Too many notifications already wait for the receiver.
    Behind,
    /// No route leads to the receiver any more.
    Unrouted,
}

/// The kind of a [`Hold`], as it is stored and counted.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum HoldReason {
    /// See [`Hold::Silenced`].
    Silenced,
    /// See [`Hold::Inhibited`].
    Inhibited,
    /// See [`Hold::Acknowledged`].
    Acknowledged,
    /// See [`Hold::Behind`].
    Behind,
    /// See [`Hold::Unrouted`].
    Unrouted,
}

impl HoldReason {
    /// The value of the label `reason` in metrics.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Silenced => "silenced",
            Self::Inhibited => "inhibited",
            Self::Acknowledged => "acknowledged",
            Self::Behind => "behind",
            Self::Unrouted => "unrouted",
        }
    }
}

impl Hold {
    /// Kind of the hold.
    pub fn reason(&self) -> HoldReason {
        match self {
            Self::Silenced { .. } => HoldReason::Silenced,
            Self::Inhibited { .. } => HoldReason::Inhibited,
            Self::Acknowledged { .. } => HoldReason::Acknowledged,
            Self::Behind => HoldReason::Behind,
            Self::Unrouted => HoldReason::Unrouted,
        }
    }

    /// Returns the `server-down` alert of the built-in inhibition; `None` for other holds.
    pub(super) fn by_unreachable(&self) -> Option<Fingerprint> {
        match self {
            Self::Inhibited { rule, by } if rule == UNREACHABLE => Some(*by),
            _ => None,
        }
    }
}

impl fmt::Display for Hold {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Silenced { silence, author, comment, .. } => write!(f, "silenced by {author} ({silence}): {comment}"),
            Self::Inhibited { rule, by } => write!(f, "explained by alert {by} (inhibition `{rule}`)"),
            Self::Acknowledged { author, .. } => write!(f, "acknowledged by {author}"),
            Self::Behind => f.write_str("too many notifications wait for this receiver already"),
            Self::Unrouted => f.write_str("no route leads to this receiver any more"),
        }
    }
}
