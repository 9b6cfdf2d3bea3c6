//! The statements worth a series of their own, chosen so that the choice rarely changes, and `other` for the rest.
//!
//! A time series database sees increases, so each increment goes to exactly one series that is exported before and
//! after it: `other` until a statement is chosen, its own from then on, starting at 0, and `other` again from the
//! moment it is replaced. What a series that ends had counted was seen already, so no other series takes it over.

use std::{
    cmp::Ordering,
    collections::{BTreeMap, BTreeSet, HashMap},
    mem,
};

use serde::Serialize;

use super::{DetailSet, StatementCounters, StatementDelta, StatementKey};

/// Statements of one server with a series of their own.
pub const SERIES_MAX: usize = 200;
/// What a score keeps from one read to the next: half of it after 23, or 11 minutes at the default interval.
const SCORE_KEPT: f64 = 0.97;
/// A newcomer must be this much better than the member it replaces.
const CLEARLY_BETTER: f64 = 1.2;
/// Seconds of execution time; a statement that scores less is no candidate.
const SCORE_MIN: f64 = 1e-6;
/// A member that is gone from the view for more reads than this ends.
const ABSENT_READS_MAX: u32 = 20;
/// Candidates remembered. More than that many statements do not come near the top together.
const CANDIDATES_MAX: usize = 10_000;

/// One exported set of counters.
#[derive(Debug, Clone, Copy, PartialEq, Serialize)]
pub struct StatementSeries<'a> {
    /// None for `other`.
    pub key: Option<&'a StatementKey>,
    pub counters: StatementCounters,
    /// The details that have a series.
    pub shown: DetailSet,
}

#[derive(Debug)]
pub(super) struct TopSeries {
    members_max: usize,
    members: BTreeMap<StatementKey, Member>,
    /// Decayed execution time of statements that are not members.
    candidates: HashMap<StatementKey, f64>,
    other: StatementCounters,
    retired: StatementCounters,
    total: StatementCounters,
}

#[derive(Debug, Default)]
struct Member {
    counters: StatementCounters,
    /// Details that counted something since it was chosen. As with members, what a detail counts first goes to `other`.
    shown: DetailSet,
    /// Decayed execution time, in seconds.
    score: f64,
    absent_reads: u32,
}

impl TopSeries {
    pub fn new(members_max: usize) -> Self {
        Self {
            members_max,
            members: BTreeMap::new(),
            candidates: HashMap::new(),
            other: StatementCounters::default(),
            retired: StatementCounters::default(),
            total: StatementCounters::default(),
        }
    }

    pub fn record(&mut self, deltas: &[StatementDelta], present: impl Fn(&StatementKey) -> bool) {
        self.score(deltas);
        self.end_absent(&present);
        let chosen = self.choose(&present);
        self.forget();
        for StatementDelta { key, counters, .. } in deltas {
            self.total += *counters;
            match self.members.get_mut(key).filter(|_| !chosen.contains(key)) {
                Some(member) => self.other += member.add(*counters),
                None => self.other += *counters,
            }
        }
    }

    pub fn iter(&self) -> impl Iterator<Item = StatementSeries<'_>> {
        let member = |(key, member): (_, &Member)| StatementSeries { key: Some(key), counters: member.counters, shown: member.shown };
        let other = StatementSeries { key: None, counters: self.other, shown: DetailSet::ALL };
        self.members.iter().map(member).chain([other])
    }

    pub fn total(&self) -> StatementCounters {
        self.total
    }

    pub fn retired(&self) -> StatementCounters {
        self.retired
    }

    fn score(&mut self, deltas: &[StatementDelta]) {
        for score in self.candidates.values_mut().chain(self.members.values_mut().map(|member| &mut member.score)) {
            *score *= SCORE_KEPT;
        }
        for StatementDelta { key, counters, .. } in deltas {
            match self.members.get_mut(key) {
                Some(member) => member.score += counters.seconds,
                None => *self.candidates.entry(key.clone()).or_default() += counters.seconds,
            }
        }
    }

    fn end_absent(&mut self, present: &impl Fn(&StatementKey) -> bool) {
        let mut absent = Vec::new();
        for (key, member) in &mut self.members {
            member.absent_reads = if present(key) { 0 } else { member.absent_reads + 1 };
            if member.absent_reads > ABSENT_READS_MAX {
                absent.push(key.clone());
            }
        }
        for key in absent {
            if let Some(member) = self.members.remove(&key) {
                self.retired += member.counters;
            }
        }
    }

    /// The best candidates fill free places, then replace the worst members that they clearly beat. Returns the new members.
    fn choose(&mut self, present: &impl Fn(&StatementKey) -> bool) -> BTreeSet<StatementKey> {
        let fit = |(key, score): &(&StatementKey, &f64)| **score >= SCORE_MIN && present(key);
        let mut best: Vec<(StatementKey, f64)> = self.candidates.iter().filter(fit).map(|(key, score)| (key.clone(), *score)).collect();
        best.sort_by(by_score);
        let mut members: Vec<(StatementKey, f64)> = self.members.iter().map(|(key, member)| (key.clone(), member.score)).collect();
        members.sort_by(by_score);
        let mut chosen = BTreeSet::new();
        for (key, score) in best {
            if self.members.len() >= self.members_max {
                match members.pop() {
                    Some((worst, beaten)) if score > CLEARLY_BETTER * beaten => self.replace(&worst),
                    _ => break,
                }
            }
            self.candidates.remove(&key);
            self.members.insert(key.clone(), Member { score, ..Member::default() });
            chosen.insert(key);
        }
        chosen
    }

    /// The loser may become a member again, and then starts at 0.
    fn replace(&mut self, loser: &StatementKey) {
        if let Some(member) = self.members.remove(loser) {
            self.retired += member.counters;
            self.candidates.insert(loser.clone(), member.score);
        }
    }

    fn forget(&mut self) {
        self.candidates.retain(|_, score| *score >= SCORE_MIN);
        if self.candidates.len() > CANDIDATES_MAX {
            let mut candidates: Vec<(StatementKey, f64)> = mem::take(&mut self.candidates).into_iter().collect();
            candidates.sort_by(by_score);
            candidates.truncate(CANDIDATES_MAX);
            self.candidates = candidates.into_iter().collect();
        }
    }
}

impl Member {
    /// Adds what has a series and gives back what has none yet.
    fn add(&mut self, counters: StatementCounters) -> StatementCounters {
        let (own, rest) = counters.details.split(self.shown);
        self.counters += StatementCounters { details: own, ..counters };
        self.shown.join(rest.counting());
        StatementCounters { details: rest, ..StatementCounters::default() }
    }
}

/// The best first; ties in the order of keys, so that the choice does not depend on chance.
fn by_score(a: &(StatementKey, f64), b: &(StatementKey, f64)) -> Ordering {
    b.1.total_cmp(&a.1).then_with(|| a.0.cmp(&b.0))
}
