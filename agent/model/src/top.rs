//! Selection of the things that get series of their own, with one series `other` for the rest. The selection rarely changes.
//!
//! Counters are exported with the server's own values, which people know from its views. `other` grows by the increments of things without
//! a series of their own. In the reading in which a thing is chosen or dropped, its increment goes to `other`. So the sum of all rates is
//! right for every choice. Gauges of the remaining things are summed, or their greatest value is used.

use std::collections::{BTreeMap, BTreeSet, HashMap};

use crate::snapshot::Unlisted;
use crate::snapshot::{FamiliesBuilder, Family};

/// Factor by which a newcomer's score must exceed that of the member that it replaces.
const CLEARLY_BETTER: f64 = 1.2;
/// Readings that a member may miss before its series ends.
const ABSENT_READINGS_MAX: u32 = 2;

/// Score of things that always belong to `other`, even if there is room for more series.
pub const NEVER_LISTED: f64 = f64::NEG_INFINITY;

/// A thing in one reading, which may get series of its own.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Candidate<const C: usize, const G: usize> {
    /// Unique id that stays the same between readings.
    pub id: u64,
    /// Importance of the thing: size, traffic, time, or [`NEVER_LISTED`]. The things with the highest scores get series of their own.
    pub score: f64,
    /// Counters of the thing, as the server counts them.
    pub counters: [f64; C],
    /// Gauges of the thing; `None` for unknown ones.
    pub gauges: [Option<f64>; G],
}

/// How the gauges of many things are combined.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Fold {
    /// The values are added.
    Sum,
    /// The greatest value counts.
    Greatest,
    /// No combination, because the result would mean nothing.
    None,
}

/// Members, which have series of their own, and the sums of the others.
#[derive(Debug)]
pub struct Top<const C: usize, const G: usize> {
    members_max: usize,
    folds: [Fold; G],
    /// Members, each with the number of readings since it was last read.
    members: BTreeMap<u64, u32>,
    previous: HashMap<u64, [f64; C]>,
    other: [f64; C],
}

/// Result of one reading.
#[derive(Debug, Clone, PartialEq)]
pub struct Ranked<const C: usize, const G: usize> {
    /// Indices of the members in the reading.
    pub members: Vec<usize>,
    /// Counters of `other`, which only grow.
    pub other: [f64; C],
    /// Combined gauges of `other`.
    pub other_gauges: [Option<f64>; G],
    /// Number of things in `other`.
    pub folded: usize,
    /// Indices of things in `other` that would have series of their own if there were more room.
    pub crowded_out: Vec<usize>,
}

impl<const C: usize, const G: usize> Ranked<C, G> {
    /// Series of the members and of `other`, in the order of `metrics`: counters first, then gauges. `label_values` returns the labels of
    /// one of `candidates`. The labels of `other` are empty but for the last.
    pub fn families<'a>(
        &self,
        labels: &[&str],
        metrics: &[&'static str],
        candidates: &[Candidate<C, G>],
        label_values: impl Fn(usize) -> Vec<&'a str>,
    ) -> Vec<Family> {
        let mut families = FamiliesBuilder::new(labels, metrics);
        let values = |counters: [f64; C], gauges: [Option<f64>; G]| counters.into_iter().map(Some).chain(gauges).collect::<Vec<_>>();
        for index in &self.members {
            families.push(&label_values(*index), &values(candidates[*index].counters, candidates[*index].gauges));
        }
        let mut other = vec![""; labels.len()];
        if let Some(last) = other.last_mut() {
            *last = "other";
        }
        families.push(&other, &values(self.other, self.other_gauges));
        families.finish()
    }
}

impl<const C: usize, const G: usize> Ranked<C, G> {
    /// Things that were crowded out, by the labels that their series would have.
    pub fn unlisted<'a>(&self, labels: &'a [&'a str], label_values: impl Fn(usize) -> Vec<&'a str>) -> Unlisted {
        Unlisted::of(self.crowded_out.iter().map(|index| labels.iter().copied().zip(label_values(*index))))
    }
}

impl<const C: usize, const G: usize> Top<C, G> {
    /// Creates a choice of at most `members_max` things, with one fold for each gauge.
    pub fn new(members_max: usize, folds: [Fold; G]) -> Self {
        Self { members_max, folds, members: BTreeMap::new(), previous: HashMap::new(), other: [0.0; C] }
    }

    /// Adds a complete reading. A missing thing does not exist any more, or could not be read.
    pub fn rank(&mut self, candidates: &[Candidate<C, G>]) -> Ranked<C, G> {
        let before: BTreeSet<u64> = self.members.keys().copied().collect();
        self.choose(candidates);
        for row in candidates {
            let stays = before.contains(&row.id) && self.members.contains_key(&row.id);
            // A new thing may have counted for years, so its first value is no increment.
            let counted = self.previous.insert(row.id, row.counters);
            let Some(counted) = counted.filter(|_| !stays) else { continue };
            for ((other, new), old) in self.other.iter_mut().zip(row.counters).zip(counted) {
                // A counter that fell was reset, and has counted from zero since.
                *other += if new >= old { new - old } else { new };
            }
        }
        self.remove_absent(candidates);
        let (members, rest): (Vec<usize>, Vec<usize>) =
            (0..candidates.len()).partition(|index| self.members.contains_key(&candidates[*index].id));
        let other_gauges =
            std::array::from_fn(|gauge| fold(self.folds[gauge], rest.iter().filter_map(|row| candidates[*row].gauges[gauge])));
        let crowded_out = rest.iter().copied().filter(|row| candidates[*row].score > NEVER_LISTED).collect();
        Ranked { members, other: self.other, other_gauges, folded: rest.len(), crowded_out }
    }

    fn choose(&mut self, candidates: &[Candidate<C, G>]) {
        let scores: HashMap<u64, f64> = candidates.iter().map(|row| (row.id, row.score)).collect();
        self.members.retain(|id, absent| {
            let score = scores.get(id);
            *absent = if score.is_some() { 0 } else { *absent + 1 };
            *absent <= ABSENT_READINGS_MAX && score != Some(&NEVER_LISTED)
        });
        let mut candidates: Vec<(f64, u64)> = candidates
            .iter()
            .filter(|row| !self.members.contains_key(&row.id) && row.score > NEVER_LISTED)
            .map(|row| (row.score, row.id))
            .collect();
        candidates.sort_by(|a, b| b.0.total_cmp(&a.0).then(a.1.cmp(&b.1)));
        let mut weakest: Vec<(f64, u64)> = self.members.keys().map(|id| (scores.get(id).copied().unwrap_or(0.0), *id)).collect();
        weakest.sort_by(|a, b| a.0.total_cmp(&b.0).then(b.1.cmp(&a.1)));
        let mut weakest = weakest.into_iter();
        for (score, id) in candidates {
            if self.members.len() >= self.members_max {
                let Some((weak, replaced)) = weakest.next() else { break };
                if score <= weak * CLEARLY_BETTER {
                    break;
                }
                self.members.remove(&replaced);
            }
            self.members.insert(id, 0);
        }
    }

    /// Removes the state of things that do not exist any more. A thing that only could not be read counts as new later.
    fn remove_absent(&mut self, candidates: &[Candidate<C, G>]) {
        if self.previous.len() > candidates.len() * 2 {
            let present: BTreeSet<u64> = candidates.iter().map(|row| row.id).collect();
            self.previous.retain(|id, _| present.contains(id));
        }
    }
}

fn fold(fold: Fold, values: impl Iterator<Item = f64>) -> Option<f64> {
    match fold {
        Fold::Sum => values.reduce(|sum, value| sum + value),
        Fold::Greatest => values.reduce(f64::max),
        Fold::None => None,
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::subject::Label;

    fn candidate(id: u64, score: f64, count: f64) -> Candidate<1, 1> {
        Candidate { id, score, counters: [count], gauges: [Some(score)] }
    }

    fn top(members_max: usize) -> Top<1, 1> {
        Top::new(members_max, [Fold::Sum])
    }

    fn ids(candidates: &[Candidate<1, 1>], ranked: &Ranked<1, 1>) -> Vec<u64> {
        ranked.members.iter().map(|index| candidates[*index].id).collect()
    }

    #[test]
    fn the_best_have_series_of_their_own_and_the_rest_is_other() {
        let rows = [candidate(1, 10.0, 100.0), candidate(2, 5.0, 50.0), candidate(3, 1.0, 7.0)];
        let ranked = top(2).rank(&rows);
        assert_eq!(ids(&rows, &ranked), [1, 2]);
        assert_eq!((ranked.other, ranked.other_gauges, ranked.folded), ([0.0], [Some(1.0)], 1));
    }

    #[test]
    fn crowded_out_things_are_named_and_things_that_never_have_series_are_not() {
        let rows = [candidate(1, 10.0, 100.0), candidate(2, 5.0, 50.0), candidate(3, NEVER_LISTED, 7.0)];
        let names = ["orders", "users", "pg_class"];
        let unlisted = top(1).rank(&rows).unlisted(&["relation"], |index| vec![names[index]]);
        assert_eq!(names.map(|name| unlisted.may_have(&[Label::new("relation", name)])), [false, true, false]);
    }

    #[test]
    fn the_series_of_the_rest_are_named_by_their_last_label() {
        let rows = [candidate(1, 10.0, 100.0), candidate(2, 5.0, 50.0)];
        let families = top(1).rank(&rows).families(&["schema", "table"], &["scans", "size"], &rows, |_| vec!["public", "orders"]);
        let labels = |row| families[1].label_texts(row).collect::<Vec<_>>();
        assert_eq!((labels(0), labels(1)), (vec!["public", "orders"], vec!["", "other"]));
        assert_eq!((&families[0].values, &families[1].values), (&vec![100.0, 0.0], &vec![10.0, 5.0]));
    }

    #[test]
    fn things_that_never_have_series_are_in_the_rest_despite_free_places() {
        let mut top = top(5);
        let rows = [candidate(1, 10.0, 100.0), candidate(2, 5.0, 50.0)];
        assert_eq!(ids(&rows, &top.rank(&rows)), [1, 2]);
        let rows = [candidate(1, 10.0, 110.0), Candidate { gauges: [Some(5.0)], ..candidate(2, NEVER_LISTED, 53.0) }];
        let ranked = top.rank(&rows);
        assert_eq!((ids(&rows, &ranked), ranked.other, ranked.other_gauges), (vec![1], [3.0], [Some(5.0)]));
    }

    #[test]
    fn a_newcomer_must_be_clearly_better() {
        let mut top = top(1);
        top.rank(&[candidate(1, 10.0, 0.0), candidate(2, 1.0, 0.0)]);
        let rows = [candidate(1, 10.0, 0.0), candidate(2, 11.0, 0.0)];
        assert_eq!(ids(&rows, &top.rank(&rows)), [1]);
        let rows = [candidate(1, 10.0, 0.0), candidate(2, 13.0, 0.0)];
        assert_eq!(ids(&rows, &top.rank(&rows)), [2]);
    }

    #[test]
    fn counts_from_before_the_first_reading_are_in_no_series() {
        let mut top = top(0);
        top.rank(&[candidate(1, 1.0, 5.0)]);
        assert_eq!(top.rank(&[candidate(1, 1.0, 6.0), candidate(2, 1.0, 1e9)]).other, [1.0]);
    }

    #[test]
    fn a_reset_begins_at_zero() {
        let mut top = top(0);
        top.rank(&[candidate(1, 1.0, 500.0)]);
        assert_eq!(top.rank(&[candidate(1, 1.0, 3.0)]).other, [3.0]);
    }

    #[test]
    fn a_member_that_cannot_be_read_for_a_moment_stays_one() {
        let mut top = top(1);
        top.rank(&[candidate(1, 10.0, 0.0)]);
        top.rank(&[]);
        let rows = [candidate(1, 10.0, 0.0), candidate(2, 11.0, 0.0)];
        assert_eq!(ids(&rows, &top.rank(&rows)), [1]);
    }

    proptest! {
        /// Each row has the score of a thing, and its increment in each reading.
        #[test]
        fn increments_add_up_for_every_choice(readings in prop::collection::vec(prop::collection::vec((0.0..100.0f64, 0u32..100), 6), 2..20)) {
            let mut top = top(2);
            let mut counts = [0.0; 6];
            // View of a database: increases of each series between two readings that have it.
            let (mut total, mut reported, mut before) = (0.0, 0.0, None::<(BTreeMap<u64, f64>, f64)>);
            for reading in readings {
                let rows: Vec<Candidate<1, 1>> = reading.iter().zip(&mut counts).enumerate().map(|(id, ((score, more), count))| {
                    *count += f64::from(*more);
                    candidate(id as u64, *score, *count)
                }).collect();
                let ranked = top.rank(&rows);
                prop_assert!(ranked.members.len() <= 2);
                let series: BTreeMap<u64, f64> = ranked.members.iter().map(|index| (rows[*index].id, rows[*index].counters[0])).collect();
                if let Some((series_before, other_before)) = before {
                    total += reading.iter().map(|(_, more)| f64::from(*more)).sum::<f64>();
                    reported += ranked.other[0] - other_before;
                    reported += series.iter().filter_map(|(id, count)| Some(count - series_before.get(id)?)).sum::<f64>();
                }
                prop_assert!((total - reported).abs() < 1e-6, "{total} counted, {reported} reported");
                before = Some((series, ranked.other[0]));
            }
        }
    }
}
