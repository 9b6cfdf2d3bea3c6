//! Selects the rows that a table of a snapshot lists, and reports how bad the omitted rows may be.

use std::collections::{BTreeMap, BTreeSet};

/// A measure by which a row may be worth listing: its name, and the function that computes it. Values up to zero do not count.
pub type Respect<T> = (&'static str, fn(&T) -> f64);

/// Rows of one group that a table omits although they matter by this measure.
#[derive(Debug, Clone, PartialEq)]
pub struct LeftOut<'a> {
    /// Name of the group.
    pub group: &'a str,
    /// Name of the measure.
    pub respect: &'static str,
    /// Number of omitted rows.
    pub rows: usize,
    /// Greatest value among the omitted rows.
    pub greatest: f64,
}

/// Omitted rows of a table that lists the rows `listed`, by group and measure. The alert of an omitted row must not resolve.
pub fn left_out<'a, T>(rows: &'a [T], listed: &[usize], group: impl Fn(&'a T) -> &'a str, respects: &[Respect<T>]) -> Vec<LeftOut<'a>> {
    let listed: BTreeSet<usize> = listed.iter().copied().collect();
    let mut left: BTreeMap<(&'static str, &'a str), LeftOut<'a>> = BTreeMap::new();
    for (_, row) in rows.iter().enumerate().filter(|(place, _)| !listed.contains(place)) {
        for (respect, value) in respects {
            let (value, group) = (value(row), group(row));
            if value > 0.0 {
                let left = left.entry((respect, group)).or_insert(LeftOut { group, respect, rows: 0, greatest: value });
                (left.rows, left.greatest) = (left.rows + 1, left.greatest.max(value));
            }
        }
    }
    left.into_values().collect()
}

/// Orders rows of many groups in turn: the first row of each group, then the second of each. So the owner of one datname cannot crowd out
/// problems of another.
pub fn interleaved<T, G: Ord>(rows: impl IntoIterator<Item = T>, group: impl Fn(&T) -> G) -> Vec<T> {
    let mut turns: BTreeMap<G, usize> = BTreeMap::new();
    let mut numbered: Vec<(usize, T)> = rows
        .into_iter()
        .map(|row| {
            let turn = turns.entry(group(&row)).or_default();
            *turn += 1;
            (*turn, row)
        })
        .collect();
    numbered.sort_by_key(|(turn, _)| *turn);
    numbered.into_iter().map(|(_, row)| row).collect()
}

/// Indices of the rows among the first `each_max` by any measure, in their order. Values up to zero do not count.
pub fn worst_rows<T>(rows: &[T], each_max: usize, respects: &[fn(&T) -> f64]) -> Vec<usize> {
    let mut chosen = BTreeSet::new();
    for respect in respects {
        let mut ranked: Vec<(f64, usize)> = rows.iter().map(respect).zip(0..).filter(|(value, _)| *value > 0.0).collect();
        ranked.sort_unstable_by(|a, b| b.0.total_cmp(&a.0).then(a.1.cmp(&b.1)));
        chosen.extend(ranked.into_iter().take(each_max).map(|(_, index)| index));
    }
    chosen.into_iter().collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_row_that_is_first_in_any_respect_is_listed_once() {
        let rows = [(9.0, 0.0), (8.0, 0.0), (1.0, 5.0), (0.0, 0.0), (9.5, 6.0)];
        assert_eq!(worst_rows(&rows, 2, &[|row| row.0, |row| row.1]), [0, 2, 4]);
        assert_eq!(worst_rows(&rows, 0, &[|row| row.0]), Vec::<usize>::new());
    }

    #[test]
    fn omitted_rows_are_counted_by_group_with_the_worst_value() {
        let rows = [("app", 9.0), ("app", 3.0), ("app", 4.0), ("shop", 0.0), ("shop", 2.0)];
        let left = left_out(&rows, &[0], |row| row.0, &[("pressure", |row| row.1), ("age", |_| 0.0)]);
        let of = |group, rows, greatest| LeftOut { group, respect: "pressure", rows, greatest };
        assert_eq!(left, [of("app", 2, 4.0), of("shop", 1, 2.0)]);
        assert_eq!(left_out(&rows, &[0, 1, 2, 4], |row| row.0, &[("pressure", |row| row.1)]), []);
    }

    #[test]
    fn each_group_has_its_turn() {
        let rows = [("app", 1), ("app", 2), ("app", 3), ("shop", 4), ("shop", 5)];
        let order: Vec<i32> = interleaved(rows, |row| row.0).into_iter().map(|row| row.1).collect();
        assert_eq!(order, [1, 4, 2, 5, 3]);
    }
}
