//! What the catalogue says against an index, or for one that is missing.
//!
//! Indexes are compared by everything that makes them answer queries ([`redundancy`]), foreign keys with what leads the indexes of their
//! table ([`foreign_keys`]), counters say who is not used ([`usage`]), and their growth how tables are read ([`scans`]). Whoever finds
//! something says with which numbers, and what speaks against acting on it: the guard.

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

pub use first_seen::FirstSeen;
pub use foreign_keys::{ForeignKey, without_index};
pub use redundancy::{Kinship, kinship, redundant};
pub use scans::{Reads, ScanCounters, ScanHistory, ScannedTable};
pub use tree::{expressions, only_wants_not_null, without_locations};
pub use usage::{Counted, Unused, UsageSettings, bloated, size_text, unused};

/// One key column of an index, as `pg_index` describes it.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct IndexKey {
    /// Number of the table's column; 0 for an expression.
    pub attribute: i16,
    /// The expression's parse tree, without what says where it was written; empty for a column.
    pub expression: String,
    pub operator_class: u32,
    pub collation: u32,
    /// Descending, nulls first.
    pub option: i16,
}

/// An index with all that makes it answer queries or keep promises.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct IndexShape {
    pub oid: u32,
    pub table: u32,
    pub name: String,
    pub access_method: String,
    pub keys: Vec<IndexKey>,
    /// Columns that it only carries (INCLUDE).
    pub included: Vec<i16>,
    /// Parse tree of the condition of a partial index, without what says where it was written.
    pub predicate: Option<String>,
    pub is_unique: bool,
    /// Two nulls are equal to it.
    pub nulls_not_distinct: bool,
    /// Uniqueness is checked at once rather than at the end of the transaction.
    pub is_immediate: bool,
    pub is_primary: bool,
    pub is_exclusion: bool,
    pub is_replica_identity: bool,
    /// A constraint needs it: its own, or a foreign key that refers to its columns.
    pub constraint: Option<String>,
    /// It belongs to the index of a partitioned table and cannot go without it.
    pub is_attached: bool,
    pub is_valid: bool,
    pub size_bytes: i64,
    pub scans: i64,
}

impl IndexShape {
    /// Whether it promises something, whoever reads it.
    pub fn keeps_a_promise(&self) -> bool {
        self.is_unique || self.is_primary || self.is_exclusion || self.is_replica_identity || self.constraint.is_some()
    }

    /// What speaks against dropping it although another one answers the same queries.
    pub fn guard(&self) -> Option<String> {
        match &self.constraint {
            _ if self.is_replica_identity => Some("it is the replica identity of its table".to_owned()),
            Some(name) => Some(format!("the constraint {name} needs it: drop that instead, if nothing refers to it")),
            None => None,
        }
    }
}
