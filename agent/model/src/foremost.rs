//! Which of many rows a table of the snapshot lists, and how bad the rows may be that it does not list.

use std::collections::{BTreeMap, BTreeSet};

/// A way in which a row may matter, by name. A value that is not above zero does not matter.
pub type Respect<T> = (&'static str, fn(&T) -> f64);

/// Rows of one group that a table has no room for, although they matter in this respect.
#[derive(Debug, Clone, PartialEq)]
pub struct LeftOut<'a> {
    pub group: &'a str,
    pub respect: &'static str,
    pub rows: usize,
    /// The greatest value among them: no row that is left out is worse.
    pub greatest: f64,
}

/// What a table leaves out that has the rows `listed`, by group and respect. An alert of such a row is not over because the row is not there.
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

/// Rows of many groups in an order in which each group has its turn: the first row of each group, then the second of each. So the owner
/// of one datname cannot crowd out what is wrong in another.
pub fn in_turn<T, G: Ord>(rows: impl IntoIterator<Item = T>, group: impl Fn(&T) -> G) -> Vec<T> {
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

/// Those that are among the first `each_max` in any respect, in their order. A value that is not above zero is no reason to be listed.
pub fn foremost<T>(rows: &[T], each_max: usize, respects: &[fn(&T) -> f64]) -> Vec<usize> {
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
    fn whoever_is_first_in_any_respect_is_listed_once() {
        let rows = [(9.0, 0.0), (8.0, 0.0), (1.0, 5.0), (0.0, 0.0), (9.5, 6.0)];
        assert_eq!(foremost(&rows, 2, &[|row| row.0, |row| row.1]), [0, 2, 4]);
        assert_eq!(foremost(&rows, 0, &[|row| row.0]), Vec::<usize>::new());
    }

    #[test]
    fn what_is_left_out_is_counted_with_the_worst_of_it_by_group() {
        let rows = [("app", 9.0), ("app", 3.0), ("app", 4.0), ("shop", 0.0), ("shop", 2.0)];
        let left = left_out(&rows, &[0], |row| row.0, &[("pressure", |row| row.1), ("age", |_| 0.0)]);
        let of = |group, rows, greatest| LeftOut { group, respect: "pressure", rows, greatest };
        assert_eq!(left, [of("app", 2, 4.0), of("shop", 1, 2.0)]);
        assert_eq!(left_out(&rows, &[0, 1, 2, 4], |row| row.0, &[("pressure", |row| row.1)]), []);
    }

    #[test]
    fn each_group_has_its_turn() {
        let rows = [("app", 1), ("app", 2), ("app", 3), ("shop", 4), ("shop", 5)];
        let order: Vec<i32> = in_turn(rows, |row| row.0).into_iter().map(|row| row.1).collect();
        assert_eq!(order, [1, 4, 2, 5, 3]);
    }
}
