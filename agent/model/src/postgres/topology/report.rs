//! What members report about themselves.

use std::time::Duration;

use crate::postgres::lsn_history::Course;

/// Role of a member.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Role {
    /// The member writes: it is not in recovery.
    Primary,
    /// The member is in recovery.
    Standby,
    /// The server was never reached.
    Unknown,
}

impl Role {
    /// Name of the role in labels, tables and the API.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Primary => "primary",
            Self::Standby => "standby",
            Self::Unknown => "unknown",
        }
    }
}

/// A member's own report about itself.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Identity {
    /// Time of the report on the agent's monotonic clock.
    pub at: Duration,
    /// System identifier of the cluster; `None` if the role may not read it.
    pub system_identifier: Option<String>,
    /// True for a standby.
    pub in_recovery: bool,
    /// Epoch and timeline of the member.
    pub course: Course,
    /// WAL position: where a primary writes, or up to where a standby has replayed.
    pub lsn: Option<u64>,
    /// WAL position up to which a standby has received WAL.
    pub received_lsn: Option<u64>,
}

impl Identity {
    pub(super) fn role(&self) -> Role {
        if self.in_recovery { Role::Standby } else { Role::Primary }
    }
}

/// Reading of one member.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Report {
    /// Name of the member.
    pub member: String,
    /// True if the server could be reached.
    pub up: bool,
    /// The member's own report; `None` while it cannot be read.
    pub identity: Option<Identity>,
    /// True if the agent could ask. If false, the identity is the last known one, and the WAL position is outdated.
    pub is_asked: bool,
}

/// Returns true if both identities are known to be of different clusters.
pub(super) fn differ(one: &Identity, other: &Identity) -> bool {
    one.system_identifier.is_some() && other.system_identifier.is_some() && one.system_identifier != other.system_identifier
}

/// Returns true for two different servers of one cluster. One server under two names does not count.
pub(super) fn are_two_of_one_cluster(one: &Identity, other: &Identity) -> bool {
    one.course.epoch != other.course.epoch && one.system_identifier == other.system_identifier
}
