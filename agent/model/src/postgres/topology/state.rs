//! The present state of all members.

use std::collections::BTreeSet;

use super::news::News;
use super::report::Role;
use crate::postgres::lsn_history::TimeLag;

/// Lag in bytes and in time; `None` for what is unknown.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Lag {
    /// Lag in bytes of WAL.
    pub bytes: Option<u64>,
    /// Lag in time.
    pub time: Option<TimeLag>,
}

/// Present state of a member. Unknown values are the last known ones: then `up` is false, and there is no lag.
#[derive(Debug, Clone, PartialEq)]
pub struct Member {
    /// Name of the member.
    pub name: String,
    /// Role of the member.
    pub role: Role,
    /// True if the server could be reached.
    pub up: bool,
    /// True if the agent could ask the member. If false, `role` and `up` are its last report.
    pub is_asked: bool,
    /// Timeline; `None` if never read.
    pub timeline: Option<i64>,
    /// System identifier; `None` if unknown.
    pub system_identifier: Option<String>,
    /// WAL position of the latest reading; `None` if unknown.
    pub lsn: Option<u64>,
    /// WAL that a standby of the primary's cluster has not replayed.
    pub lag: Lag,
    /// WAL that has not arrived at the standby.
    pub shipping: Lag,
    /// Wall time since which the member is known to have this role, milliseconds since 1970.
    pub role_since_ms: Option<u64>,
    /// True if the member was ever seen writing.
    pub was_primary: bool,
    /// Epoch of the server that answered last. Two members with the same epoch are one server under two names.
    pub(super) epoch: Option<u64>,
}

/// Present state of all members.
#[derive(Debug, Clone, PartialEq)]
pub struct TopologyState {
    /// All members, by name.
    pub members: Vec<Member>,
    /// The primary; `None` while no writing member is known.
    pub primary: Option<String>,
    /// Members that write to one cluster at the same time.
    pub split_brain: Vec<String>,
    /// Number of different clusters among the members that can be read now.
    pub clusters: usize,
    /// Number of times that another server, or another cluster, became the primary.
    pub primary_changes: u64,
    /// True if it is certain that no other members write at the same time.
    pub is_split_known: bool,
    /// Changes since the reading before.
    pub news: Vec<News>,
}

impl TopologyState {
    /// Number of primaries among the servers that were asked; two names of one server count once. `None` if none of them writes and a
    /// server that was not asked may.
    pub fn primaries(&self) -> Option<usize> {
        let asked = || self.members.iter().filter(|member| member.is_asked);
        let primaries = || asked().filter(|member| member.up && member.role == Role::Primary);
        if primaries().next().is_none() && asked().count() < self.members.len() {
            return None;
        }
        let distinct: BTreeSet<u64> = primaries().filter_map(|member| member.epoch).collect();
        Some(distinct.len() + primaries().filter(|member| member.epoch.is_none()).count())
    }

    /// Name of an earlier member that is the same server in the same state; `None` without one.
    pub fn same_as(&self, member: &Member) -> Option<&str> {
        let state = |member: &Member| (member.epoch, member.up, member.role);
        let mut before = self.members.iter().take_while(|other| other.name != member.name);
        before.find(|other| member.epoch.is_some() && state(other) == state(member)).map(|other| other.name.as_str())
    }
}
