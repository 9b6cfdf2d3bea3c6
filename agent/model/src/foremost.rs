//! Which of many rows a table of the snapshot lists.

use std::collections::BTreeSet;

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
}
