//! The parts of snapshots, by name.

use std::fmt;

use serde::{Serialize, Serializer};

/// A part of a snapshot: the name of the collector that fills it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum PartId {
    /// Acceptance of new sessions by the server.
    Accept,
    /// Sessions and their waits.
    Activity,
    /// Facts about the agent itself.
    Agent,
    /// Settings and workers of autovacuum.
    Autovacuum,
    /// Counters of each datname.
    Database,
    /// The list of datnames that a round of visits begins with. No snapshot has this part: its statements and errors have the name.
    Datnames,
    /// Sessions by their encryption and origin.
    Encryption,
    /// Extensions of each datname.
    Extensions,
    /// Oldest transactions, which hold VACUUM back.
    Horizon,
    /// Indexes of each datname; for a database, indexes that no member uses.
    Indexes,
    /// The answer of a Redis server to `INFO`.
    Info,
    /// Counters of I/O.
    Io,
    /// Roles and datnames with a limit of sessions, and their usage.
    Limits,
    /// Sessions that wait for locks.
    Locks,
    /// The rights of the agent's role, which only `pharos doctor` reads. No snapshot has this part.
    Privileges,
    /// Progress of long commands.
    Progress,
    /// Standbys and replication slots.
    Replication,
    /// Usage of sequences.
    Sequences,
    /// Role, timeline, WAL position and start times of the server.
    Server,
    /// Settings and their changes.
    Settings,
    /// Sizes of datnames, tablespaces and WAL.
    Sizes,
    /// Statements from `pg_stat_statements`.
    Statements,
    /// Subscriptions of each datname, with their tables that are not copied yet.
    SubscriptionTables,
    /// Subscriptions of every datname, with their apply workers.
    Subscriptions,
    /// Tables of each datname.
    Tables,
    /// The members of a database and their roles.
    Topology,
    /// Reachability of the server.
    Up,
    /// Datnames that were visited, and reasons why others were not.
    Visits,
    /// Checkpoints, buffers and WAL.
    Wal,
}

impl PartId {
    /// Every part, once, in the order of their names.
    pub const ALL: [Self; 29] = [
        Self::Accept,
        Self::Activity,
        Self::Agent,
        Self::Autovacuum,
        Self::Database,
        Self::Datnames,
        Self::Encryption,
        Self::Extensions,
        Self::Horizon,
        Self::Indexes,
        Self::Info,
        Self::Io,
        Self::Limits,
        Self::Locks,
        Self::Privileges,
        Self::Progress,
        Self::Replication,
        Self::Sequences,
        Self::Server,
        Self::Settings,
        Self::Sizes,
        Self::Statements,
        Self::SubscriptionTables,
        Self::Subscriptions,
        Self::Tables,
        Self::Topology,
        Self::Up,
        Self::Visits,
        Self::Wal,
    ];

    /// Name of the part in snapshots, metrics, settings and the API.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Accept => "accept",
            Self::Activity => "activity",
            Self::Agent => "agent",
            Self::Autovacuum => "autovacuum",
            Self::Database => "database",
            Self::Datnames => "datnames",
            Self::Encryption => "encryption",
            Self::Extensions => "extensions",
            Self::Horizon => "horizon",
            Self::Indexes => "indexes",
            Self::Info => "info",
            Self::Io => "io",
            Self::Limits => "limits",
            Self::Locks => "locks",
            Self::Privileges => "privileges",
            Self::Progress => "progress",
            Self::Replication => "replication",
            Self::Sequences => "sequences",
            Self::Server => "server",
            Self::Settings => "settings",
            Self::Sizes => "sizes",
            Self::Statements => "statements",
            Self::SubscriptionTables => "subscription_tables",
            Self::Subscriptions => "subscriptions",
            Self::Tables => "tables",
            Self::Topology => "topology",
            Self::Up => "up",
            Self::Visits => "visits",
            Self::Wal => "wal",
        }
    }

    /// Part with this name; `None` for an unknown name.
    pub fn named(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|part| part.as_str() == name)
    }
}

impl fmt::Display for PartId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

impl Serialize for PartId {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(self.as_str())
    }
}

/// Parts are sorted by name, as in every snapshot.
impl Ord for PartId {
    fn cmp(&self, other: &Self) -> std::cmp::Ordering {
        self.as_str().cmp(other.as_str())
    }
}

impl PartialOrd for PartId {
    fn partial_cmp(&self, other: &Self) -> Option<std::cmp::Ordering> {
        Some(self.cmp(other))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_stay_as_they_are_served_and_each_belongs_to_one_part() {
        let served = "accept activity agent autovacuum database datnames encryption extensions horizon indexes info io limits locks privileges progress replication sequences server settings sizes statements subscription_tables subscriptions tables topology up visits wal";
        assert_eq!(PartId::ALL.map(PartId::as_str).join(" "), served);
        assert!(PartId::ALL.into_iter().all(|part| PartId::named(part.as_str()) == Some(part)));
    }
}
