//! Advice about indexes: superfluous, unused and bloated ones, and missing ones.
//!
//! [`redundancy`] compares indexes by everything that lets them answer queries. [`foreign_keys`] compares foreign keys with the leading
//! columns of indexes. [`usage`] finds unused indexes by their counters, and [`scans`] finds tables without a fitting index by the growth
//! of counters. Each result has its evidence in numbers, and a guard: the reason not to act on it.

mod first_seen;
mod foreign_keys;
mod redundancy;
mod scans;
mod tree;
mod usage;

#[cfg(test)]
mod properties;
#[cfg(test)]
mod tests;

pub use self::first_seen::FirstSeen;
pub use self::foreign_keys::{ForeignKey, without_index};
pub use self::redundancy::{Kinship, kinship, redundant};
pub use self::scans::{Reads, ScanCounters, ScanHistory, ScannedTable};
pub use self::tree::{expressions, required_not_null_columns, without_locations};
pub use self::usage::{CountedTime, STATISTICS_AGE_MIN, Unused, UsageSettings, bloated, size_text, unused};

/// Key column of an index, from `pg_index`.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct IndexKey {
    /// Number of the table's column; 0 for an expression.
    pub attribute: i16,
    /// Parse tree of the expression, without source locations. Empty for a column.
    pub expression: String,
    /// OID of the operator class.
    pub operator_class: u32,
    /// OID of the collation; 0 for none.
    pub collation: u32,
    /// Flags of `pg_index.indoption`: descending, nulls first.
    pub option: i16,
}

/// An index with everything that lets it answer queries or enforce constraints.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct IndexShape {
    /// OID of the index.
    pub oid: u32,
    /// OID of its table.
    pub table: u32,
    /// Name of the index.
    pub name: String,
    /// Name of the access method, such as `btree`.
    pub access_method: String,
    /// Key columns in their order.
    pub keys: Vec<IndexKey>,
    /// Columns that the index only stores (INCLUDE).
    pub included: Vec<i16>,
    /// Parse tree of a partial index's condition, without source locations; `None` for a full index.
    pub predicate: Option<String>,
    /// True for a unique index.
    pub is_unique: bool,
    /// True if the unique index treats two nulls as equal.
    pub nulls_not_distinct: bool,
    /// True if uniqueness is checked at once, not at the end of the transaction.
    pub is_immediate: bool,
    /// True for the index of a primary key.
    pub is_primary: bool,
    /// True for the index of an exclusion constraint.
    pub is_exclusion: bool,
    /// True if the table's replica identity uses the index.
    pub is_replica_identity: bool,
    /// Name of the constraint that needs the index: its own, or a foreign key that refers to its columns.
    pub constraint: Option<String>,
    /// True if the index belongs to an index of a partitioned table and cannot be dropped alone.
    pub is_attached: bool,
    /// True if the index is valid; false after a failed CREATE INDEX CONCURRENTLY.
    pub is_valid: bool,
    /// Size in bytes.
    pub size_bytes: i64,
    /// Number of scans since the statistics began.
    pub scans: i64,
}

impl IndexShape {
    /// Returns true if the index enforces something, even without any scan.
    pub fn enforces_something(&self) -> bool {
        self.is_unique || self.is_primary || self.is_exclusion || self.is_replica_identity || self.constraint.is_some()
    }

    /// Reason not to drop the index although another one answers the same queries; `None` if there is none.
    pub fn guard(&self) -> Option<String> {
        match &self.constraint {
            _ if self.is_replica_identity => Some("it is the replica identity of its table".to_owned()),
            Some(name) => Some(format!("the constraint {name} needs it: drop that instead, if nothing refers to it")),
            None => None,
        }
    }
}
