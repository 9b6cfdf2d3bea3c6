//! Which tables' indexes are read with one query, within the limits of an answer and of a datname.
//!
//! All indexes of a table come in one answer. Indexes grow and are rebuilt while the agent reads, so an order by size changes between two
//! statements. An index that moves over the border of two answers would be in neither. A foreign key would look as if it had no index.

use std::collections::HashSet;

use pharos_model::snapshot::PartId;
use tokio_postgres::types::Type;

use crate::collect::CollectError;
use crate::collect::postgres::row::{Fields, query_with};
use crate::postgres::monitor::Session;

/// Limits for the number of indexes that are read.
#[derive(Debug, Clone, Copy)]
pub(super) struct Bounds {
    pub in_datname: i64,
    pub in_answer: i64,
}

/// Tables with indexes in batches, and the tables that are not read.
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct Batches {
    /// The tables of one answer each.
    pub batches: Vec<Vec<u32>>,
    listed: HashSet<u32>,
    left_out: HashSet<u32>,
    /// Whether all tables with indexes are listed.
    is_whole: bool,
}

impl Batches {
    /// Lists the tables with indexes, and divides them into batches.
    pub(super) async fn list(session: &Session, collector: PartId, bounds: Bounds) -> Result<Self, CollectError> {
        // Each table has one index at least, so no more of them are read.
        let tables_max = bounds.in_datname + 1;
        let rows = query_with(session, collector, include_str!("../../sql/indexed_tables.sql"), &[(&tables_max, Type::INT8)]).await?;
        let table = |row| {
            let row = Fields::new(collector, row);
            Ok((row.field("table_oid")?, row.field("indexes")?))
        };
        let tables: Vec<(u32, i64)> = rows.iter().map(table).collect::<Result<_, CollectError>>()?;
        Ok(Self::of(&tables, bounds))
    }

    /// Adds tables in their order, as long as all indexes of a table are within the limits.
    fn of(tables: &[(u32, i64)], bounds: Bounds) -> Self {
        let mut made = Self { is_whole: tables.len() as i64 <= bounds.in_datname, ..Self::default() };
        let (mut in_datname, mut in_answer) = (0, bounds.in_answer);
        for (table, indexes) in tables {
            made.listed.insert(*table);
            if *indexes > bounds.in_answer || in_datname + indexes > bounds.in_datname {
                made.left_out.insert(*table);
                continue;
            }
            in_datname += indexes;
            if in_answer + indexes > bounds.in_answer {
                made.batches.push(Vec::new());
                in_answer = 0;
            }
            in_answer += indexes;
            made.batches.last_mut().expect("a batch was begun when the answer was full").push(*table);
        }
        made
    }

    /// Records that these tables were not read: they got more indexes meanwhile, so their answer was not complete.
    pub(super) fn leave_out(&mut self, tables: &[u32]) {
        self.left_out.extend(tables);
    }

    /// Returns the tables whose indexes are not read.
    pub(super) fn left_out(&self) -> Vec<u32> {
        self.left_out.iter().copied().collect()
    }

    /// Whether all tables with indexes are listed.
    pub(super) fn is_whole(&self) -> bool {
        self.is_whole
    }

    /// Whether all indexes of the table are read. That is also true for a table that has none.
    pub(super) fn is_complete_for(&self, table: u32) -> bool {
        !self.left_out.contains(&table) && (self.is_whole || self.listed.contains(&table))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const BOUNDS: Bounds = Bounds { in_datname: 10, in_answer: 4 };

    #[test]
    fn all_indexes_of_a_table_are_in_one_answer() {
        let made = Batches::of(&[(1, 3), (2, 2), (3, 2), (4, 1)], BOUNDS);
        assert_eq!(made.batches, [vec![1], vec![2, 3], vec![4]]);
        assert!((1..=5).all(|table| made.is_complete_for(table)), "a table without indexes is known to have none");
    }

    #[test]
    fn a_table_beyond_the_limits_is_not_read() {
        let made = Batches::of(&[(1, 5), (2, 4), (3, 4), (4, 3), (5, 2)], BOUNDS);
        assert_eq!(made.batches, [vec![2], vec![3], vec![5]]);
        assert_eq!([1, 2, 3, 4, 5, 6].map(|table| made.is_complete_for(table)), [false, true, true, false, true, true]);
        assert_eq!(made.left_out().len(), 2);
    }

    #[test]
    fn where_not_all_tables_are_listed_the_others_may_have_indexes() {
        let tables: Vec<(u32, i64)> = (1..=11).map(|table| (table, 1)).collect();
        let mut made = Batches::of(&tables, BOUNDS);
        assert_eq!([1, 10, 11, 12].map(|table| made.is_complete_for(table)), [true, true, false, false]);
        made.leave_out(&[1, 2]);
        assert!(!made.is_complete_for(1) && made.is_complete_for(3));
    }
}
