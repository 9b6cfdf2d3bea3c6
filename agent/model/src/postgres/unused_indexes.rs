//! Indexes that no server of a database uses. An index that the primary never scans may be essential on a standby.

use std::collections::{BTreeMap, BTreeSet};

use crate::snapshot::{Column, Table};

/// Most listed indexes, largest first. A person would not read more.
const ROWS_MAX: usize = 500;

/// Most indexes without a scan that each member lists.
pub const CANDIDATES_MAX: usize = 1_000;

/// Tables of one member's part `indexes`; `None` if it could not be asked.
#[derive(Debug, Clone, Copy, Default)]
pub struct MemberIndexes<'a> {
    /// Table `indexes`.
    pub indexes: Option<&'a Table>,
    /// Table `index_facts`, which has the time since which scans are counted.
    pub facts: Option<&'a Table>,
}

/// Index without a scan on every member that was asked. A judgement needs all members.
#[derive(Debug, Clone, PartialEq)]
pub struct UnusedIndex {
    /// Names of datname, schema, relation and index.
    pub name: [String; 4],
    /// Size in bytes.
    pub size_bytes: i64,
    /// Number of members that were asked about the index.
    pub members_asked: usize,
    /// Number of all members.
    pub members_total: usize,
    /// Shortest time in seconds over which a member has counted scans; `None` if unknown.
    pub stats_age_seconds: Option<f64>,
    /// True if a member has counted for too short a time, for example after a reset of its statistics.
    pub is_too_young: bool,
}

impl UnusedIndex {
    /// Returns true if all members were asked, and have counted for long enough.
    pub fn is_judged(&self) -> bool {
        self.members_asked == self.members_total && !self.is_too_young
    }
}

/// Unused indexes of all members together.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct Unused {
    /// Judged indexes before others, largest first.
    pub indexes: Vec<UnusedIndex>,
    /// Number of indexes beyond the limit.
    pub left_out: usize,
    /// Size in bytes of the largest index beyond the limit.
    pub left_out_bytes: i64,
}

type Name<'a> = [&'a str; 4];

#[derive(Default)]
struct Found {
    asked: usize,
    size_bytes: i64,
    is_used: bool,
    is_too_young: bool,
    stats_age_seconds: Option<f64>,
}

/// Joins the lists of all members. A member lists all unscanned indexes of a datname, as long as they are few. So an index that is not on
/// its list was scanned there. For a longer list the member counts as not asked.
pub fn unused_indexes(members: &[MemberIndexes<'_>]) -> Unused {
    let mut found: BTreeMap<Name<'_>, Found> = BTreeMap::new();
    for member in members {
        let verdicts = member.facts.map(verdicts).unwrap_or_default();
        let Some(table) = member.indexes else { continue };
        for row in 0..table.row_count as usize {
            let (Some(name), Some(scans)) = (name(table, row), table.integer("scans", row)) else { continue };
            let [_, schema, ..] = name;
            if is_system(schema) {
                continue;
            }
            let index = found.entry(name).or_default();
            index.asked += 1;
            index.size_bytes = index.size_bytes.max(table.integer("size_bytes", row).unwrap_or_default());
            let verdict = verdicts.get(&name).copied().unwrap_or_default();
            index.is_used |= scans > 0 || verdict.is_guarded || is_needed(table, row);
            index.is_too_young |= verdict.is_too_young;
            index.stats_age_seconds = index.stats_age_seconds.into_iter().chain(verdict.counted_seconds).reduce(f64::min);
        }
    }
    let whole: Vec<CompleteList<'_>> = members.iter().filter_map(|member| member.indexes).filter_map(CompleteList::of).collect();
    let is_used = |name: &Name<'_>, index: &Found| index.is_used || whole.iter().any(|whole| whole.lacks(name));
    let unused = found.into_iter().filter(|(name, index)| !is_used(name, index)).map(|(name, index)| UnusedIndex {
        name: name.map(str::to_owned),
        size_bytes: index.size_bytes,
        members_asked: index.asked,
        members_total: members.len(),
        stats_age_seconds: index.stats_age_seconds,
        is_too_young: index.is_too_young,
    });
    let mut indexes: Vec<UnusedIndex> = unused.collect();
    indexes.sort_by(|a, b| (b.is_judged(), b.size_bytes).cmp(&(a.is_judged(), a.size_bytes)).then_with(|| a.name.cmp(&b.name)));
    let beyond = indexes.split_off(indexes.len().min(ROWS_MAX));
    let left_out_bytes = beyond.iter().map(|index| index.size_bytes).max().unwrap_or_default();
    Unused { indexes, left_out: beyond.len(), left_out_bytes }
}

fn name(table: &Table, row: usize) -> Option<Name<'_>> {
    Some([table.text("datname", row)?, table.text("schema", row)?, table.text("relation", row)?, table.text("index", row)?])
}

/// Complete list of a member: no unscanned index was left out.
struct CompleteList<'a> {
    /// Datnames that the member could visit.
    datnames: BTreeSet<&'a str>,
    listed: BTreeSet<Name<'a>>,
}

impl<'a> CompleteList<'a> {
    fn of(table: &'a Table) -> Option<Self> {
        let rows = 0..table.row_count as usize;
        let unscanned = rows.clone().filter(|row| table.integer("scans", *row) == Some(0)).count();
        (unscanned < CANDIDATES_MAX).then(|| Self {
            datnames: rows.clone().filter_map(|row| table.text("datname", row)).collect(),
            listed: rows.filter_map(|row| name(table, row)).collect(),
        })
    }

    fn lacks(&self, name: &Name<'_>) -> bool {
        self.datnames.contains(name[0]) && !self.listed.contains(name)
    }
}

/// Returns true for schemas of the server itself, whose indexes cannot be dropped.
fn is_system(schema: &str) -> bool {
    matches!(schema, "pg_catalog" | "pg_toast" | "information_schema")
}

/// Returns true if the index enforces something, even without any scan.
fn is_needed(table: &Table, row: usize) -> bool {
    ["is_unique", "is_primary", "is_constraint"].into_iter().any(|column| table.boolean(column, row) == Some(true))
}

/// Facts of a member about an index that it finds unused.
#[derive(Debug, Clone, Copy, Default)]
struct Verdict {
    counted_seconds: Option<f64>,
    /// True if there is a reason not to drop the index.
    is_guarded: bool,
    is_too_young: bool,
}

fn verdicts(facts: &Table) -> BTreeMap<Name<'_>, Verdict> {
    let unused = (0..facts.row_count as usize).filter(|row| facts.text("fact", *row) == Some("unused"));
    let verdict = |row: usize| {
        let is_too_young = facts.boolean("is_too_young", row) == Some(true);
        Verdict {
            counted_seconds: facts.number("counted_seconds", row),
            is_guarded: facts.text("guard", row).is_some() && !is_too_young,
            is_too_young,
        }
    };
    unused.filter_map(|row| Some((name(facts, row)?, verdict(row)))).collect()
}

/// Columns of the table `unused_indexes`.
pub fn columns(unused: &[UnusedIndex]) -> Vec<Column> {
    let text = |name: &str, place: usize| Column::text(name, unused.iter().map(move |index| Some(index.name[place].as_str())));
    let count = |count: usize| i64::try_from(count).ok();
    vec![
        text("datname", 0),
        text("schema", 1),
        text("relation", 2),
        text("index", 3),
        Column::integer("size_bytes", unused.iter().map(|index| Some(index.size_bytes))),
        Column::integer("scans", unused.iter().map(|_| Some(0))),
        Column::integer("members_asked", unused.iter().map(|index| count(index.members_asked))),
        Column::integer("members_total", unused.iter().map(|index| count(index.members_total))),
        Column::float("stats_age_seconds", "seconds", unused.iter().map(|index| index.stats_age_seconds)),
        Column::boolean("is_too_young", unused.iter().map(|index| Some(index.is_too_young))),
    ]
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Rows of `index scans size`; `!` after the name marks a unique index.
    fn table(rows: &[(&str, i64, i64)]) -> Table {
        let text = |name: &str, value: &'static str| Column::text(name, rows.iter().map(move |_| Some(value)));
        let schema = |name: &str| if name.starts_with("pg_") { "pg_catalog" } else { "public" };
        let no = |name: &str| Column::boolean(name, rows.iter().map(|_| Some(false)));
        Table::new(
            "indexes",
            vec![
                text("datname", "app"),
                Column::text("schema", rows.iter().map(|(name, ..)| Some(schema(name)))),
                text("relation", "orders"),
                Column::text("index", rows.iter().map(|(name, ..)| Some(name.trim_end_matches('!')))),
                Column::integer("scans", rows.iter().map(|(_, scans, _)| (*scans >= 0).then_some(*scans))),
                Column::integer("size_bytes", rows.iter().map(|(.., size)| Some(*size))),
                Column::boolean("is_unique", rows.iter().map(|(name, ..)| Some(name.ends_with('!')))),
                no("is_primary"),
                no("is_constraint"),
            ],
        )
    }

    /// `!` after the name marks an index with a guard.
    fn facts(rows: &[(&str, f64)]) -> Table {
        let text = |name: &str, value: &'static str| Column::text(name, rows.iter().map(move |_| Some(value)));
        let index = Column::text("index", rows.iter().map(|(name, _)| Some(name.trim_end_matches('!'))));
        let guard = Column::text("guard", rows.iter().map(|(name, _)| name.ends_with('!').then_some("it supports a foreign key")));
        let age = Column::float("counted_seconds", "seconds", rows.iter().map(|(_, age)| Some(*age)));
        let young = Column::boolean("is_too_young", rows.iter().map(|(_, age)| Some(*age < 3_600.0)));
        let names = [text("datname", "app"), text("schema", "public"), text("relation", "orders"), index, text("fact", "unused")];
        Table::new("index_facts", [&names[..], &[age, guard, young]].concat())
    }

    /// Compares every unused index as `index asked/total size age`.
    #[track_caller]
    fn check(members: &[MemberIndexes<'_>], expected: &[&str]) {
        let show = |index: UnusedIndex| {
            let [.., name] = &index.name;
            let age = index.stats_age_seconds.map_or("?".to_owned(), |age| age.to_string());
            let young = if index.is_too_young { " too young" } else { "" };
            format!("{name} {}/{} {} {age}{young}", index.members_asked, index.members_total, index.size_bytes)
        };
        assert_eq!(unused_indexes(members).indexes.into_iter().map(show).collect::<Vec<_>>(), expected);
    }

    #[test]
    fn an_index_that_one_standby_reads_is_used() {
        let primary = table(&[("dead", 0, 10), ("read-there", 0, 99), ("read-here", 7, 50), ("key!", 0, 40), ("pg_own", 0, 90)]);
        let standby = table(&[("dead", 0, 12), ("read-there", 3, 99), ("read-here", 0, 50), ("key!", 0, 40)]);
        let of = |indexes| MemberIndexes { indexes: Some(indexes), facts: None };
        check(&[of(&primary), of(&standby)], &["dead 2/2 12 ?"]);
    }

    #[test]
    fn a_member_that_could_not_be_asked_leaves_it_unjudged() {
        let (primary, partly) = (table(&[("dead", 0, 10), ("new", 0, 5)]), table(&[("dead", 0, 10), ("new", -1, 5)]));
        let of = |indexes| MemberIndexes { indexes: Some(indexes), facts: None };
        check(&[of(&primary), MemberIndexes::default()], &["dead 1/2 10 ?", "new 1/2 5 ?"]);
        check(&[of(&primary), of(&partly)], &["dead 2/2 10 ?", "new 1/2 5 ?"]);
        assert!(!unused_indexes(&[of(&primary), MemberIndexes::default()]).indexes[0].is_judged());
        check(&[MemberIndexes::default()], &[]);
    }

    #[test]
    fn an_index_that_a_member_does_not_list_was_used_there_unless_its_list_is_full() {
        let primary = table(&[("dead", 0, 10), ("read-there", 0, 5)]);
        let standby = table(&[("dead", 0, 10)]);
        let of = |indexes| MemberIndexes { indexes: Some(indexes), facts: None };
        check(&[of(&primary), of(&standby)], &["dead 2/2 10 ?"]);
        let names: Vec<String> = (0..CANDIDATES_MAX).map(|index| format!("dead{index}!")).collect();
        let full = table(&names.iter().map(|name| (name.as_str(), 0, 1)).collect::<Vec<_>>());
        check(&[of(&primary), of(&full)], &["dead 1/2 10 ?", "read-there 1/2 5 ?"]);
        check(&[of(&primary), of(&table(&[]))], &["dead 1/2 10 ?", "read-there 1/2 5 ?"]);
    }

    #[test]
    fn the_shortest_time_of_counting_is_listed_and_guarded_indexes_are_left_out() {
        let indexes = table(&[("dead", 0, 10)]);
        let (long, short) = (facts(&[("dead", 9_000.0)]), facts(&[("dead", 6_000.0)]));
        let of = |facts| MemberIndexes { indexes: Some(&indexes), facts };
        check(&[of(Some(&long)), of(Some(&short))], &["dead 2/2 10 6000"]);
        check(&[of(Some(&long)), of(None)], &["dead 2/2 10 9000"]);
        let guarded = facts(&[("dead!", 6_000.0)]);
        check(&[of(Some(&guarded)), of(None)], &[]);
    }

    #[test]
    fn statistics_that_were_reset_make_no_index_used_and_judge_none() {
        let indexes = table(&[("dead", 0, 10)]);
        let (long, reset) = (facts(&[("dead", 9_000.0)]), facts(&[("dead!", 60.0)]));
        let of = |facts| MemberIndexes { indexes: Some(&indexes), facts: Some(facts) };
        let members = [of(&long), of(&reset)];
        check(&members, &["dead 2/2 10 60 too young"]);
        assert!(!unused_indexes(&members).indexes[0].is_judged());
    }

    #[test]
    fn indexes_beyond_the_limit_are_counted() {
        let names: Vec<String> = (0..ROWS_MAX + 2).map(|index| format!("dead{index}")).collect();
        let indexes = table(&names.iter().map(|name| (name.as_str(), 0, 7)).collect::<Vec<_>>());
        let unused = unused_indexes(&[MemberIndexes { indexes: Some(&indexes), facts: None }]);
        assert_eq!((unused.indexes.len(), unused.left_out, unused.left_out_bytes), (ROWS_MAX, 2, 7));
    }
}
