//! Cases that other tools are known to judge wrongly.

use super::*;

pub(super) fn key(attribute: i16) -> IndexKey {
    IndexKey { attribute, expression: String::new(), operator_class: 1978, collation: 0, option: 0 }
}

/// A plain B-tree on these columns of table 1.
pub(super) fn index(oid: u32, columns: &[i16]) -> IndexShape {
    IndexShape {
        oid,
        table: 1,
        name: format!("i{oid}"),
        access_method: "btree".to_owned(),
        keys: columns.iter().map(|column| key(*column)).collect(),
        included: Vec::new(),
        predicate: None,
        is_unique: false,
        nulls_not_distinct: false,
        is_immediate: true,
        is_primary: false,
        is_exclusion: false,
        is_replica_identity: false,
        constraint: None,
        is_attached: false,
        is_valid: true,
        size_bytes: 20 << 20,
        scans: 0,
    }
}

fn unique(oid: u32, columns: &[i16]) -> IndexShape {
    IndexShape { is_unique: true, ..index(oid, columns) }
}

fn primary(oid: u32, columns: &[i16]) -> IndexShape {
    IndexShape { is_primary: true, constraint: Some("pk".to_owned()), ..unique(oid, columns) }
}

fn found(indexes: &[IndexShape]) -> Vec<(u32, u32, Kinship)> {
    redundant(indexes).into_iter().map(|(index, other, kinship)| (index.oid, other.oid, kinship)).collect()
}

#[test]
fn the_oldest_or_the_needed_duplicate_stays() {
    assert_eq!(found(&[index(10, &[1]), index(11, &[1])]), [(11, 10, Kinship::Duplicate)]);
    assert_eq!(found(&[unique(10, &[1]), primary(11, &[1])]), [(10, 11, Kinship::Duplicate)]);
    assert_eq!(found(&[index(10, &[1]), index(11, &[1]), index(12, &[1])]), [(11, 10, Kinship::Duplicate), (12, 10, Kinship::Duplicate)]);
}

#[test]
fn the_beginning_of_another_index_is_redundant() {
    assert_eq!(found(&[index(10, &[1]), index(11, &[1, 2])]), [(10, 11, Kinship::Redundant)]);
    assert_eq!(found(&[index(10, &[2]), index(11, &[1, 2])]), []);
    assert_eq!(found(&[index(10, &[2, 1]), index(11, &[1, 2])]), []);
}

#[test]
fn a_unique_index_is_not_redundant_to_a_longer_one_and_a_plain_one_is_to_a_unique_one() {
    assert_eq!(found(&[unique(10, &[1]), index(11, &[1, 2])]), []);
    assert_eq!(found(&[unique(10, &[1]), unique(11, &[1, 2])]), []);
    assert_eq!(found(&[index(10, &[1]), primary(11, &[1])]), [(10, 11, Kinship::Redundant)]);
    let nulls_equal = IndexShape { nulls_not_distinct: true, ..unique(11, &[1]) };
    assert_eq!(found(&[unique(10, &[1]), nulls_equal]), [(10, 11, Kinship::Redundant)]);
    let deferred = IndexShape { is_immediate: false, ..unique(10, &[1]) };
    assert_eq!(found(&[deferred, unique(11, &[1])]), [(10, 11, Kinship::Redundant)]);
}

#[test]
fn every_property_that_changes_the_answers_separates_two_indexes() {
    let plain = index(10, &[1]);
    let changed: [fn(&mut IndexShape); 7] = [
        |index| index.table = 2,
        |index| index.access_method = "hash".to_owned(),
        |index| index.keys[0].operator_class = 4217,
        |index| index.keys[0].collation = 100,
        |index| index.keys[0].option = 3,
        |index| index.predicate = Some("{OPEXPR}".to_owned()),
        |index| index.keys[0] = IndexKey { expression: "{FUNCEXPR}".to_owned(), ..key(0) },
    ];
    for (number, change) in changed.into_iter().enumerate() {
        let mut other = index(11, &[1]);
        change(&mut other);
        assert_eq!(found(&[plain.clone(), other]), [], "change {number}");
    }
}

#[test]
fn included_columns_are_served_only_by_an_index_that_has_them() {
    let carries = |oid, columns: &[i16], included: &[i16]| IndexShape { included: included.to_vec(), ..index(oid, columns) };
    assert_eq!(found(&[carries(10, &[1], &[3]), index(11, &[1, 2])]), []);
    assert_eq!(found(&[carries(10, &[1], &[2]), index(11, &[1, 2])]), [(10, 11, Kinship::Redundant)]);
    assert_eq!(found(&[carries(10, &[1], &[3, 2]), carries(11, &[1], &[2, 3])]), [(11, 10, Kinship::Duplicate)]);
    assert_eq!(found(&[carries(10, &[1], &[2, 3]), index(11, &[1])]), [(11, 10, Kinship::Redundant)]);
}

#[test]
fn an_invalid_index_replaces_none_and_an_attached_one_cannot_be_dropped() {
    assert_eq!(found(&[index(10, &[1]), IndexShape { is_valid: false, ..index(11, &[1, 2]) }]), []);
    let attached = |oid| IndexShape { is_attached: true, ..index(oid, &[1]) };
    assert_eq!(found(&[attached(10), attached(11)]), []);
    assert_eq!(found(&[attached(12), index(11, &[1])]), [(11, 12, Kinship::Duplicate)]);
}

#[test]
fn a_constraint_guards_its_index() {
    assert!(primary(1, &[1]).guard().unwrap().contains("pk"));
    assert_eq!(index(1, &[1]).guard(), None);
}

fn foreign_key(columns: &[i16]) -> ForeignKey {
    ForeignKey { name: "fk".to_owned(), table: 1, columns: columns.to_vec() }
}

#[test]
fn a_foreign_key_is_served_by_its_columns_in_any_order_at_the_front() {
    let served = |columns: &[i16], indexes: &[IndexShape]| without_index(&[foreign_key(columns)], indexes).is_empty();
    assert!(served(&[1, 2], &[index(10, &[2, 1, 3])]));
    assert!(!served(&[1, 2], &[index(10, &[1, 3, 2])]));
    assert!(!served(&[1, 2], &[index(10, &[1])]));
    assert!(!served(&[1], &[]));
    assert!(!served(&[1], &[IndexShape { is_valid: false, ..index(10, &[1]) }]));
    assert!(!served(&[1], &[IndexShape { access_method: "brin".to_owned(), ..index(10, &[1]) }]));
    assert!(served(&[1], &[IndexShape { access_method: "hash".to_owned(), ..index(10, &[1]) }]));
    assert!(!served(&[1], &[IndexShape { table: 2, ..index(10, &[1]) }]));
}

#[test]
fn a_partial_index_serves_a_foreign_key_if_it_leaves_out_nulls_alone() {
    let not_null =
        |column: i16| format!("{{NULLTEST :arg {{VAR :varno 1 :varattno {column} :vartype 23}} :nulltesttype 1 :argisrow false}}");
    let partial = |condition: String| IndexShape { predicate: Some(condition), ..index(10, &[1]) };
    assert!(without_index(&[foreign_key(&[1])], &[partial(not_null(1))]).is_empty());
    assert_eq!(without_index(&[foreign_key(&[1])], &[partial(not_null(2))]).len(), 1);
    assert_eq!(without_index(&[foreign_key(&[1])], &[partial("{OPEXPR}".to_owned())]).len(), 1);
}

const WEEK: f64 = 7.0 * 86_400.0;

pub(super) fn counted(age_seconds: Option<f64>) -> CountedTime<impl Fn(u32) -> Option<f64>> {
    CountedTime { age_seconds, known_seconds: |_| None }
}

#[test]
fn an_index_that_enforces_something_or_was_scanned_is_not_unused() {
    let settings = UsageSettings::default();
    let indexes = [
        unique(10, &[1]),
        primary(11, &[2]),
        IndexShape { is_exclusion: true, ..index(12, &[3]) },
        IndexShape { is_replica_identity: true, ..index(13, &[3]) },
        IndexShape { is_attached: true, ..index(14, &[3]) },
        IndexShape { scans: 1, ..index(15, &[3]) },
        IndexShape { is_valid: false, ..index(16, &[3]) },
    ];
    assert_eq!(unused(&indexes, &[], &[], &counted(Some(2.0 * WEEK)), &settings), []);
}

#[test]
fn an_unused_index_has_its_time_and_its_guard() {
    let settings = UsageSettings::default();
    let indexes = [index(10, &[1])];
    let judge = |age, known, keys: &[ForeignKey]| {
        let counted = CountedTime { age_seconds: age, known_seconds: |_| known };
        let found = unused(&indexes, &[], keys, &counted, &settings).remove(0);
        (found.evidence, found.guard)
    };
    assert_eq!(judge(Some(2.0 * WEEK), None, &[]), ("no scan in 14 days, 20 MB on disk".to_owned(), None));
    let guard = |found: (String, Option<String>)| found.1.unwrap();
    assert!(guard(judge(Some(3600.0), None, &[])).starts_with("statistics too young: scans are counted for 1.0 hours"));
    assert!(guard(judge(None, None, &[])).starts_with("statistics too young"));
    assert!(guard(judge(Some(2.0 * WEEK), Some(60.0), &[])).starts_with("the index is new"));
    assert!(guard(judge(Some(2.0 * WEEK), None, &[foreign_key(&[1])])).contains("foreign key fk"));
}

#[test]
fn too_short_a_time_differs_from_other_guards() {
    let settings = UsageSettings::default();
    let indexes = [index(10, &[1])];
    let judge = |age, known, keys: &[ForeignKey]| {
        let counted = CountedTime { age_seconds: age, known_seconds: |_| known };
        let found = unused(&indexes, &[], keys, &counted, &settings).remove(0);
        (found.counted_seconds, found.is_too_young)
    };
    assert_eq!(judge(Some(3_600.0), Some(2.0 * WEEK), &[]), (Some(3_600.0), true));
    assert_eq!(judge(Some(2.0 * WEEK), Some(60.0), &[]), (Some(60.0), true));
    assert_eq!(judge(None, Some(2.0 * WEEK), &[]), (None, true));
    assert_eq!(judge(Some(2.0 * WEEK), Some(2.0 * WEEK), &[foreign_key(&[1])]), (Some(2.0 * WEEK), false));
}

/// OIDs of the indexes that may be dropped as unused.
fn may_go(indexes: &[IndexShape], keys: &[ForeignKey]) -> Vec<u32> {
    let found = unused(indexes, &redundant(indexes), keys, &counted(Some(2.0 * WEEK)), &UsageSettings::default());
    found.into_iter().filter(|found| found.guard.is_none()).map(|found| found.index.oid).collect()
}

#[test]
fn a_second_index_behind_a_foreign_key_may_go_and_never_the_last() {
    let used = |oid, columns: &[i16]| IndexShape { scans: 5, ..index(oid, columns) };
    assert_eq!(may_go(&[index(10, &[1]), used(11, &[1, 2])], &[foreign_key(&[1])]), [10]);
    assert_eq!(may_go(&[index(10, &[1, 2]), index(11, &[1, 3])], &[foreign_key(&[1])]), [11]);
    assert_eq!(may_go(&[index(10, &[1, 2]), index(11, &[1, 3]), index(12, &[1, 3, 4])], &[foreign_key(&[1])]), [11, 10]);
    assert!(may_go(&[index(10, &[1]), index(11, &[2])], &[foreign_key(&[1]), foreign_key(&[2])]).is_empty());
}

#[test]
fn one_index_of_a_redundant_pair_may_be_dropped() {
    let used = |oid, columns: &[i16]| IndexShape { scans: 5, ..index(oid, columns) };
    // The planner used the shorter index; without it, it uses the longer one.
    assert!(may_go(&[used(10, &[1]), index(11, &[1, 2])], &[]).is_empty());
    assert_eq!(may_go(&[index(10, &[1]), index(11, &[1])], &[]), [11], "as redundant() says of duplicates");
    assert_eq!(may_go(&[index(10, &[1]), used(11, &[1, 2])], &[]), [10], "both say the same of it");
    assert_eq!(may_go(&[used(10, &[1]), index(11, &[1, 2]), index(12, &[1, 2, 3])], &[]), [11]);
    let guard = |indexes: &[IndexShape]| {
        let found = unused(indexes, &redundant(indexes), &[], &counted(Some(2.0 * WEEK)), &UsageSettings::default());
        found.into_iter().find_map(|found| found.guard).unwrap()
    };
    assert!(guard(&[used(10, &[1]), index(11, &[1, 2])]).starts_with("it does the work of i10 as well"));
}

#[test]
fn a_chain_names_the_index_that_stays() {
    let chain = [index(10, &[1]), index(11, &[1, 2]), index(12, &[1, 2, 3])];
    assert_eq!(found(&chain), [(10, 12, Kinship::Redundant), (11, 12, Kinship::Redundant)]);
}

#[test]
fn a_duplicate_is_listed_as_one_although_a_third_index_makes_both_superfluous() {
    let equals = [index(10, &[1]), index(11, &[1]), index(12, &[1, 2]), primary(13, &[1, 2])];
    assert_eq!(found(&equals), [(10, 13, Kinship::Redundant), (11, 10, Kinship::Duplicate), (12, 13, Kinship::Redundant)]);
    let thrice = [index(10, &[1]), index(11, &[1]), index(12, &[1]), index(13, &[1, 2])];
    assert_eq!(found(&thrice), [(10, 13, Kinship::Redundant), (11, 10, Kinship::Duplicate), (12, 10, Kinship::Duplicate)]);
    // Advice about duplicates, about redundant indexes, or both: each leaves an index that serves.
    assert_eq!(may_go(&thrice, &[]), [12, 11], "what does the work of others stays until they are gone");
}
