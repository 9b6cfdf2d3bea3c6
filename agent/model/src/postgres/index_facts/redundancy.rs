//! Which indexes another one makes superfluous.

use std::collections::BTreeMap;

use super::IndexShape;

/// How one index stands to another of its table.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kinship {
    /// Both answer the same queries and keep the same promises.
    Duplicate,
    /// The other answers all its queries too, and keeps its promises if it has any.
    Redundant,
}

/// Compares by access method, keys with their operators, collations and order, condition, carried columns and promises.
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
    // Only a B-tree is searched by what its keys begin with.
    let begins = index.access_method == "btree" && other.keys.starts_with(&index.keys);
    (begins && !index.keeps_a_promise() && carries(other, index)).then_some(Kinship::Redundant)
}

fn same_keys(index: &IndexShape, other: &IndexShape) -> Option<Kinship> {
    if !carries(other, index) || !promises(other, index) {
        return None;
    }
    let is_same = carries(index, other) && promises(index, other) && index.is_valid;
    Some(if is_same { Kinship::Duplicate } else { Kinship::Redundant })
}

/// Whether every column that `index` carries can be read from `other`.
fn carries(other: &IndexShape, index: &IndexShape) -> bool {
    let has = |column: &i16| other.included.contains(column) || other.keys.iter().any(|key| key.attribute == *column);
    index.included.iter().all(has)
}

/// Whether `other`, with the same keys, is unique in every way that `index` is.
fn promises(other: &IndexShape, index: &IndexShape) -> bool {
    let same_nulls = other.nulls_not_distinct || !index.nulls_not_distinct;
    !index.is_unique || (other.is_unique && same_nulls && (other.is_immediate || !index.is_immediate))
}

/// Those that another index makes superfluous, each with that other one. When all of them are gone, an index that does the work of each is
/// still there. Of duplicates the one stays that something needs, else the oldest; of several that would do, the smallest. A duplicate is
/// one although its twin is redundant as well: advice about redundant indexes may be left out for their size.
pub fn redundant(indexes: &[IndexShape]) -> Vec<(&IndexShape, &IndexShape, Kinship)> {
    let mut by_table: BTreeMap<u32, Vec<&IndexShape>> = BTreeMap::new();
    // What cannot go is nobody's to drop; what is not valid is told as that.
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

/// The first of its duplicates, which gives way to none of them.
fn twin<'a>(index: &'a IndexShape, of_table: &[&'a IndexShape]) -> Option<(&'a IndexShape, &'a IndexShape, Kinship)> {
    let twins = of_table.iter().filter(|other| gives_way(index, other) == Some(Kinship::Duplicate));
    twins.min_by_key(|other| rank(other)).map(|other| (index, *other, Kinship::Duplicate))
}

fn stays_instead<'a>(index: &'a IndexShape, staying: &[&'a IndexShape]) -> Option<(&'a IndexShape, &'a IndexShape, Kinship)> {
    let candidates = staying.iter().filter_map(|other| Some((*other, gives_way(index, other)?)));
    let best = candidates.min_by_key(|(other, _)| (other.keys.len(), rank(other)));
    best.map(|(other, kinship)| (index, other, kinship))
}

/// Whether `index` is the one of the two that goes.
fn gives_way(index: &IndexShape, other: &IndexShape) -> Option<Kinship> {
    let kinship = kinship(index, other).filter(|_| !index.is_attached)?;
    (kinship == Kinship::Redundant || rank(other) < rank(index)).then_some(kinship)
}

/// The lowest stays.
fn rank(index: &IndexShape) -> (bool, bool, bool, bool, u32) {
    (!index.is_attached, !index.is_primary, !index.is_replica_identity, index.constraint.is_none(), index.oid)
}
