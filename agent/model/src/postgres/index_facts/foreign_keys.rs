//! Foreign keys without an index on the referencing side: each delete of a referenced row reads the whole table.

use std::collections::BTreeSet;

use super::tree::required_not_null_columns;
use super::{IndexKey, IndexShape};

/// A foreign key on its referencing side.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ForeignKey {
    /// Name of the constraint.
    pub name: String,
    /// OID of the referencing table.
    pub table: u32,
    /// Numbers of the referencing columns.
    pub columns: Vec<i16>,
}

/// Foreign keys that no index of their table serves.
pub fn without_index<'a>(keys: &'a [ForeignKey], indexes: &[IndexShape]) -> Vec<&'a ForeignKey> {
    keys.iter().filter(|key| !indexes.iter().any(|index| serves(index, key))).collect()
}

/// Foreign key that only this index serves; `None` if there is none.
pub(super) fn only_one_for<'a>(index: &IndexShape, keys: &'a [ForeignKey], indexes: &[&IndexShape]) -> Option<&'a ForeignKey> {
    let alone = |key: &&ForeignKey| serves(index, key) && !indexes.iter().any(|other| other.oid != index.oid && serves(other, key));
    keys.iter().find(alone)
}

/// Returns true if the index serves the lookups of the key. They compare all columns, in any order, and with values that are never null.
fn serves(index: &IndexShape, key: &ForeignKey) -> bool {
    if index.table != key.table || !index.is_valid {
        return false;
    }
    let columns: BTreeSet<i16> = key.columns.iter().copied().collect();
    let leading: BTreeSet<i16> = index.keys.iter().take(columns.len()).map(|key: &IndexKey| key.attribute).collect();
    let finds = match index.access_method.as_str() {
        "btree" => leading == columns,
        "hash" => index.keys.len() == 1 && leading == columns,
        _ => false,
    };
    let holds_all = index.predicate.as_deref().is_none_or(|condition| {
        required_not_null_columns(condition).is_some_and(|wanted| wanted.iter().all(|column| columns.contains(column)))
    });
    finds && holds_all
}
