//! Random sets of indexes, compared with definitions that are written out.

use std::collections::BTreeSet;

use proptest::collection::vec;
use proptest::prelude::*;

use super::tests::{counted, index, key};
use super::*;

prop_compose! {
    fn any_key()(attribute in 1..4_i16, option in prop_oneof![9 => Just(0_i16), 1 => Just(3)], collation in prop_oneof![9 => Just(0_u32), 1 => Just(100)]) -> IndexKey {
        IndexKey { option, collation, ..key(attribute) }
    }
}

prop_compose! {
    fn any_index()(
        keys in vec(any_key(), 1..4),
        included in vec(1..5_i16, 0..2),
        is_hash in proptest::bool::weighted(0.1),
        is_partial in proptest::bool::weighted(0.2),
        is_unique in proptest::bool::weighted(0.3),
        has_constraint: bool,
        nulls_not_distinct in proptest::bool::weighted(0.2),
        is_valid in proptest::bool::weighted(0.9),
        is_attached in proptest::bool::weighted(0.1),
        scans in 0..2_i64,
        table in 1..3_u32,
    ) -> IndexShape {
        IndexShape {
            table,
            keys,
            included,
            access_method: if is_hash { "hash" } else { "btree" }.to_owned(),
            predicate: is_partial.then(|| "{OPEXPR}".to_owned()),
            is_unique,
            nulls_not_distinct: is_unique && nulls_not_distinct,
            constraint: (is_unique && has_constraint).then(|| "c".to_owned()),
            is_valid,
            is_attached,
            scans,
            ..index(0, &[])
        }
    }
}

fn any_indexes() -> impl Strategy<Value = Vec<IndexShape>> {
    let number = |(oid, index)| IndexShape { oid, name: format!("i{oid}"), ..index };
    vec(any_index(), 0..12).prop_map(move |indexes| (1..).zip(indexes).map(number).collect())
}

/// Columns that queries can read from an index alone.
fn columns(index: &IndexShape) -> Vec<i16> {
    index.keys.iter().map(|key| key.attribute).chain(index.included.iter().copied()).collect()
}

/// Returns true if `other` serves every query and check that `index` serves. This is the definition, without regard to cost.
fn answers_all(index: &IndexShape, other: &IndexShape) -> bool {
    let searches = match index.access_method.as_str() {
        "btree" => (0..index.keys.len()).all(|at| other.keys.get(at) == Some(&index.keys[at])),
        _ => index.keys == other.keys,
    };
    let reads = columns(index).iter().all(|column| columns(other).contains(column));
    let keeps =
        !index.is_unique || (other.is_unique && index.keys == other.keys && (!index.nulls_not_distinct || other.nulls_not_distinct));
    let same = index.table == other.table && index.access_method == other.access_method && index.predicate == other.predicate;
    // An index with a constraint of its own gives way only to an equal one.
    let may_go = index.constraint.is_none() || index.keys == other.keys;
    same && searches && reads && keeps && may_go && other.is_valid && index.oid != other.oid
}

proptest! {
    #[test]
    fn kinship_equals_its_definition(indexes in any_indexes()) {
        for index in &indexes {
            for other in &indexes {
                prop_assert_eq!(kinship(index, other).is_some(), answers_all(index, other), "{:?} {:?}", index, other);
            }
        }
    }

    #[test]
    fn a_duplicate_is_one_both_ways_and_a_redundant_one_never(indexes in any_indexes()) {
        for index in indexes.iter().filter(|index| index.is_valid) {
            for other in indexes.iter().filter(|other| other.is_valid) {
                match kinship(index, other) {
                    Some(Kinship::Duplicate) => prop_assert_eq!(kinship(other, index), Some(Kinship::Duplicate)),
                    Some(Kinship::Redundant) => prop_assert_eq!(kinship(other, index), None),
                    None => {}
                }
            }
        }
    }

    #[test]
    fn the_indexes_that_stay_serve_for_all_that_go(indexes in any_indexes()) {
        let found = redundant(&indexes);
        for (index, other, _) in &found {
            prop_assert!(answers_all(index, other) && !index.is_attached);
            prop_assert!(columns(index).iter().all(|column| columns(other).contains(column)), "redundant to a smaller set");
            prop_assert!(!found.iter().any(|(back, towards, _)| back.oid == other.oid && towards.oid == index.oid), "both ways");
        }
        // Dropping all of them at once loses nothing: each has a replacement that stays.
        let goes = |oid: u32| found.iter().any(|(index, ..)| index.oid == oid);
        for (index, ..) in &found {
            let stays = indexes.iter().any(|other| !goes(other.oid) && answers_all(index, other));
            prop_assert!(stays, "{} has no replacement left", index.name);
        }
    }

    #[test]
    fn everything_superfluous_is_found(indexes in any_indexes()) {
        let found = redundant(&indexes);
        for index in indexes.iter().filter(|index| index.is_valid && !index.is_attached) {
            let strictly = indexes.iter().any(|other| answers_all(index, other) && !(answers_all(other, index) && index.is_valid));
            let is_found = found.iter().any(|(redundant, ..)| redundant.oid == index.oid);
            prop_assert!(!strictly || is_found, "{} is not found", index.name);
        }
    }

    #[test]
    fn a_foreign_key_has_an_index_or_is_reported(indexes in any_indexes(), columns in vec(1..4_i16, 1..3)) {
        let mut columns = columns;
        columns.sort_unstable();
        columns.dedup();
        let key = ForeignKey { name: "fk".to_owned(), table: 1, columns: columns.clone() };
        let serves = |index: &IndexShape| {
            let mut leading: Vec<i16> = index.keys.iter().take(columns.len()).map(|key| key.attribute).collect();
            leading.sort_unstable();
            let whole = index.access_method == "btree" || index.keys.len() == 1;
            index.table == 1 && index.is_valid && index.predicate.is_none() && leading == columns && whole
        };
        let keys = [key];
        prop_assert_eq!(without_index(&keys, &indexes).is_empty(), indexes.iter().any(serves));
    }

    #[test]
    fn unused_indexes_have_no_scan_and_enforce_nothing(indexes in any_indexes(), age in proptest::option::of(0.0..1e7_f64)) {
        for found in unused(&indexes, &[], &[], &counted(age), &UsageSettings::default()) {
            prop_assert!(found.index.scans == 0 && !found.index.is_unique && !found.index.is_attached);
            prop_assert_eq!(found.guard.is_none(), age.is_some_and(|age| age >= 7.0 * 86_400.0));
        }
    }

    #[test]
    fn dropping_all_reported_indexes_loses_nothing(indexes in any_indexes(), wanted in vec((1..3_u32, vec(1..4_i16, 1..3)), 0..4)) {
        let keys: Vec<ForeignKey> =
            wanted.into_iter().map(|(table, columns)| ForeignKey { name: "fk".to_owned(), table, columns }).collect();
        let superfluous = redundant(&indexes);
        let unused = unused(&indexes, &superfluous, &keys, &counted(Some(1e7)), &UsageSettings::default());
        let dropped = superfluous.iter().filter(|(index, ..)| index.guard().is_none()).map(|(index, ..)| index.oid);
        let dropped: BTreeSet<u32> = dropped.chain(unused.iter().filter(|found| found.guard.is_none()).map(|found| found.index.oid)).collect();
        let rest: Vec<IndexShape> = indexes.iter().filter(|index| !dropped.contains(&index.oid)).cloned().collect();
        for used in indexes.iter().filter(|index| index.is_valid && (index.scans > 0 || index.is_unique)) {
            let is_served = rest.iter().any(|other| other.oid == used.oid || answers_all(used, other));
            prop_assert!(is_served, "nothing is left for {}", used.name);
        }
        prop_assert_eq!(without_index(&keys, &rest), without_index(&keys, &indexes), "a foreign key lost its index");
    }

    #[test]
    fn any_text_is_a_parse_tree_without_a_panic(text in ".{0,200}") {
        let _ = expressions(&text);
        let _ = required_not_null_columns(&text);
        let _ = without_locations(&text);
    }
}
