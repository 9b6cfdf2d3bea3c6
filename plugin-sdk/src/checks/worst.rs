//! Limit of findings per check: of too many bad rows, the worst become findings.

use std::collections::{BTreeMap, BTreeSet};

use super::Observation;
use super::grade::Grade;
use crate::{Report, SkipReason};

/// Bad rows of a check that become findings. More rows do not help a person, and each costs an explanation.
const ROWS_MAX: usize = 100;

/// Returns all bad observations, or at most [`ROWS_MAX`] rows if there are more. The datnames take turns, each with its worst row. No owner
/// of a datname can therefore crowd out the rows of another. The rows left out are skipped, so their alerts stay as they are.
pub(super) fn worst(bad: Vec<(Grade, Observation)>, check: &str, report: &mut Report) -> Vec<(Grade, Observation)> {
    let mut rows: Vec<usize> = (0..bad.len()).filter(|place| bad[*place].1.row.is_some()).collect();
    if rows.len() <= ROWS_MAX {
        return bad;
    }
    let gravity = |place: usize| (bad[place].0.score, bad[place].1.value);
    rows.sort_by(|one, other| {
        let ((one, one_value), (other, other_value)) = (gravity(*one), gravity(*other));
        other.total_cmp(&one).then(other_value.total_cmp(&one_value))
    });
    let mut turns: BTreeMap<Option<&str>, usize> = BTreeMap::new();
    let mut in_turn: Vec<(usize, usize)> = Vec::new();
    for place in rows {
        let datname = bad[place].1.labels.iter().find(|label| label.name == "datname").map(|label| label.value.as_str());
        let turn = turns.entry(datname).or_default();
        *turn += 1;
        in_turn.push((*turn, place));
    }
    in_turn.sort_by_key(|(turn, _)| *turn);
    let left_out: BTreeSet<usize> = in_turn.into_iter().skip(ROWS_MAX).map(|(_, place)| place).collect();
    let why = format!("{} more are bad than the {ROWS_MAX} that are reported", left_out.len());
    let mut chosen = Vec::new();
    for (place, (grade, observation)) in bad.into_iter().enumerate() {
        if left_out.contains(&place) {
            report.skip(check, observation.labels, SkipReason::PartFailed(why.clone()));
        } else {
            chosen.push((grade, observation));
        }
    }
    chosen
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::checks::{Grading, label};

    const PRESSURE: Grading = Grading::rising(2.0, 5.0, 1.5);

    fn rows(datname: &str, values: impl IntoIterator<Item = f64>) -> Vec<(Grade, Observation)> {
        let labels = |row: usize| vec![label("datname", datname), label("relation", format!("t{row}"))];
        let bad = |(row, value): (usize, f64)| Some((PRESSURE.grade(value)?, Observation::new(labels(row), value).with_row(row)));
        values.into_iter().enumerate().filter_map(bad).collect()
    }

    fn reported(bad: Vec<(Grade, Observation)>) -> (Vec<f64>, Report) {
        let mut report = Report::empty();
        let chosen = worst(bad, "pressure", &mut report);
        (chosen.into_iter().map(|(_, observation)| observation.value).collect(), report)
    }

    #[test]
    fn the_worst_of_too_many_rows_are_reported_and_the_others_are_skipped() {
        let (reported, report) = reported(rows("app", (2..132).map(f64::from)));
        assert_eq!((reported.len(), reported[0], reported[99]), (100, 32.0, 131.0));
        let skipped: Vec<&str> = report.skipped.iter().map(|skip| skip.labels[1].value.as_str()).collect();
        assert_eq!((skipped.len(), skipped[0], skipped[29]), (30, "t0", "t29"));
        assert_eq!(report.skipped[0].reason, SkipReason::PartFailed("30 more are bad than the 100 that are reported".to_owned()));
    }

    #[test]
    fn a_datname_cannot_crowd_out_another() {
        let tenant = rows("tenant", (0..1_000).map(|_| 9.0));
        let (reported, _) = reported([tenant, rows("app", [3.0])].concat());
        assert_eq!((reported.len(), reported[99]), (100, 3.0));
    }

    #[test]
    fn fine_rows_do_not_count_towards_the_limit() {
        let (reported, report) = reported(rows("app", (0..1_000).map(|row| if row < 90 { 3.0 } else { 0.0 })));
        assert_eq!((reported.len(), report.skipped.len()), (90, 0));
    }
}
