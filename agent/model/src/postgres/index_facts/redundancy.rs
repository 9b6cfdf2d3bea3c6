//! Indexes that another index makes superfluous.

use std::collections::BTreeMap;

use super::IndexShape;

/// Relation of an index to another one of its table.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kinship {
    /// Both answer the same queries and enforce the same.
    Duplicate,
    /// The other index also answers all queries of this one, and enforces what this one enforces.
    Redundant,
}

/// Compares two indexes by access method, keys (with operators, collations and order), condition, included columns and enforcement. `None`
/// if neither relation holds.
pub fn kinship(index: &IndexShape, other: &IndexShape) -> Option<Kinship> {
    let comparable = index.oid != other.oid
        && index.table == other.table
        && index.access_method == other.access_method
        && index.predicate == other.predicate
        && index.is_exclusion == other.is_exclusion
        && other.is_valid;
    if !comparable || index.is_exclusion {
        return None;
    }
    if index.keys == other.keys {
        return same_keys(index, other);
    }
    // Only a B-tree can be searched by the beginning of its keys.
    let begins = index.access_method == "btree" && other.keys.starts_with(&index.keys);
    (begins && !index.enforces_something() && carries(other, index)).then_some(Kinship::Redundant)
}

fn same_keys(index: &IndexShape, other: &IndexShape) -> Option<Kinship> {
    if !carries(other, index) || !promises(other, index) {
        return None;
    }
    let is_same = carries(index, other) && promises(index, other) && index.is_valid;
    Some(if is_same { Kinship::Duplicate } else { Kinship::Redundant })
}

/// Returns true if all included columns of `index` can be read from `other`.
fn carries(other: &IndexShape, index: &IndexShape) -> bool {
    let has = |column: &i16| other.included.contains(column) || other.keys.iter().any(|key| key.attribute == *column);
    index.included.iter().all(has)
}

/// Returns true if `other`, which has the same keys, is unique in every way in which `index` is.
fn promises(other: &IndexShape, index: &IndexShape) -> bool {
    let same_nulls = other.nulls_not_distinct || !index.nulls_not_distinct;
    !index.is_unique || (other.is_unique && same_nulls && (other.is_immediate || !index.is_immediate))
}

/// Indexes that another index makes superfluous, each with that other one. If all are dropped, an index that does the work of each
/// remains. Among duplicates, the index that something needs remains, else the oldest. Among several replacements, the smallest is named.
/// A duplicate is listed as one even if its twin is redundant. Advice about redundant indexes may be left out for their size.
pub fn redundant(indexes: &[IndexShape]) -> Vec<(&IndexShape, &IndexShape, Kinship)> {
    let mut by_table: BTreeMap<u32, Vec<&IndexShape>> = BTreeMap::new();
    // An index that is not valid is reported as that, and cannot replace another one.
    for index in indexes.iter().filter(|index| index.is_valid) {
        by_table.entry(index.table).or_default().push(index);
    }
    by_table.values().flat_map(|of_table| redundant_of(of_table)).collect()
}

fn redundant_of<'a>(of_table: &[&'a IndexShape]) -> Vec<(&'a IndexShape, &'a IndexShape, Kinship)> {
    let goes = |index: &IndexShape| of_table.iter().any(|other| gives_way(index, other).is_some());
    let (going, staying): (Vec<&IndexShape>, Vec<&IndexShape>) = of_table.iter().partition(|index| goes(index));
    let instead = |index| twin(index, of_table).or_else(|| stays_instead(index, &staying));
    going.into_iter().filter_map(instead).collect()
}

/// The best of the index's duplicates, which gives way to none of them.
fn twin<'a>(index: &'a IndexShape, of_table: &[&'a IndexShape]) -> Option<(&'a IndexShape, &'a IndexShape, Kinship)> {
    let twins = of_table.iter().filter(|other| gives_way(index, other) == Some(Kinship::Duplicate));
    twins.min_by_key(|other| rank(other)).map(|other| (index, *other, Kinship::Duplicate))
}

fn stays_instead<'a>(index: &'a IndexShape, staying: &[&'a IndexShape]) -> Option<(&'a IndexShape, &'a IndexShape, Kinship)> {
    let candidates = staying.iter().filter_map(|other| Some((*other, gives_way(index, other)?)));
    let best = candidates.min_by_key(|(other, _)| (other.keys.len(), rank(other)));
    best.map(|(other, kinship)| (index, other, kinship))
}

/// Returns the relation if `index` is the one of the two that goes; `None` otherwise.
fn gives_way(index: &IndexShape, other: &IndexShape) -> Option<Kinship> {
    let kinship = kinship(index, other).filter(|_| !index.is_attached)?;
    (kinship == Kinship::Redundant || rank(other) < rank(index)).then_some(kinship)
}

/// Rank of an index among duplicates. The lowest rank stays.
fn rank(index: &IndexShape) -> (bool, bool, bool, bool, u32) {
    (!index.is_attached, !index.is_primary, !index.is_replica_identity, index.constraint.is_none(), index.oid)
}
