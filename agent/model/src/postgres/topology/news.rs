//! Changes of a topology, each of which is reported once.

use std::fmt;

use serde::{Deserialize, Serialize};

/// Change that is reported once.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum News {
    /// Another server, or another cluster, became the primary.
    PrimaryChanged {
        /// Name of the primary before.
        from: String,
        /// Name of the new primary.
        to: String,
    },
    /// Several members write to one cluster at the same time.
    SplitBrain {
        /// Names of these members.
        members: Vec<String>,
    },
    /// At most one member writes again.
    SplitBrainEnded,
    /// Another cluster answers at this member's address.
    ClusterReplaced {
        /// Name of the member.
        member: String,
    },
}

/// The kind of [`News`], as it is stored: `primary-changed`, `split-brain`, `split-brain-ended`, `cluster-replaced`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum NewsKind {
    /// See [`News::PrimaryChanged`].
    PrimaryChanged,
    /// See [`News::SplitBrain`].
    SplitBrain,
    /// See [`News::SplitBrainEnded`].
    SplitBrainEnded,
    /// See [`News::ClusterReplaced`].
    ClusterReplaced,
}

impl News {
    /// Kind of the change.
    pub fn kind(&self) -> NewsKind {
        match self {
            Self::PrimaryChanged { .. } => NewsKind::PrimaryChanged,
            Self::SplitBrain { .. } => NewsKind::SplitBrain,
            Self::SplitBrainEnded => NewsKind::SplitBrainEnded,
            Self::ClusterReplaced { .. } => NewsKind::ClusterReplaced,
        }
    }
}

impl fmt::Display for News {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::PrimaryChanged { from, to } if from == to => write!(f, "`{to}` is the primary of another cluster than before"),
            Self::PrimaryChanged { from, to } => write!(f, "the primary is now `{to}`, no longer `{from}`"),
            Self::SplitBrain { members } => write!(f, "split brain: `{}` write to one cluster at the same time", members.join("` and `")),
            Self::SplitBrainEnded => write!(f, "the split brain is over"),
            Self::ClusterReplaced { member } => write!(f, "another cluster answers as `{member}`"),
        }
    }
}
