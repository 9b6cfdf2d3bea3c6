//! Selection of the statements that have series of their own, with `other` for the rest. The selection rarely changes.
//!
//! A time series database computes increases. So each increment goes to exactly one series that is exported before and after it. Before a
//! statement is chosen, its increments go to `other`; then to its own series, which starts at 0. After it is replaced, they go to `other`
//! again. No other series takes over the counts of a series that ends, because they were exported already.

use std::cmp::Ordering;
use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::mem;

use serde::Serialize;

use super::{DetailSet, StatementCounters, StatementDelta, StatementKey};

/// Most statements of one server with a series of their own.
pub const SERIES_MAX: usize = 200;
/// Share of a score that remains at the next read. A half remains after 23 reads, or 11 minutes at the default interval.
const SCORE_KEPT: f64 = 0.97;
/// Factor by which a newcomer's score must exceed that of the member that it replaces.
const CLEARLY_BETTER: f64 = 1.2;
/// Least score of a candidate, in seconds of execution time.
const SCORE_MIN: f64 = 1e-6;
/// Reads that a member may miss in the view before its series ends.
const ABSENT_READS_MAX: u32 = 20;
/// Most stored candidates. More statements than that never come near the top together.
const CANDIDATES_MAX: usize = 10_000;

/// Exported set of counters.
#[derive(Debug, Clone, Copy, PartialEq, Serialize)]
pub struct StatementSeries<'a> {
    /// The statement; `None` for `other`.
    pub key: Option<&'a StatementKey>,
    /// Counters since the series began.
    pub counters: StatementCounters,
    /// Details that have a series.
    pub shown: DetailSet,
}

#[derive(Debug)]
pub(super) struct TopSeries {
    members_max: usize,
    members: BTreeMap<StatementKey, Member>,
    /// Decayed execution time in seconds of statements that are not members.
    candidates: HashMap<StatementKey, f64>,
    other: StatementCounters,
    retired: StatementCounters,
    total: StatementCounters,
}

#[derive(Debug, Default)]
struct Member {
    counters: StatementCounters,
    /// Details that counted something since the statement was chosen. The first count of each detail goes to `other`.
    shown: DetailSet,
    /// Decayed execution time in seconds.
    score: f64,
    absent_reads: u32,
}

impl TopSeries {
    /// Creates a choice of at most `members_max` statements.
    pub(super) fn new(members_max: usize) -> Self {
        Self {
            members_max,
            members: BTreeMap::new(),
            candidates: HashMap::new(),
            other: StatementCounters::default(),
            retired: StatementCounters::default(),
            total: StatementCounters::default(),
        }
    }

    /// Adds the work of one read, and chooses anew. `present` returns true for entries that the view still has.
    pub(super) fn record(&mut self, deltas: &[StatementDelta], present: impl Fn(&StatementKey) -> bool) {
        self.score(deltas);
        self.end_absent(&present);
        let chosen = self.choose(&present);
        self.drop_weak_candidates();
        for StatementDelta { key, counters, .. } in deltas {
            self.total += *counters;
            match self.members.get_mut(key).filter(|_| !chosen.contains(key)) {
                Some(member) => self.other += member.add(*counters),
                None => self.other += *counters,
            }
        }
    }

    /// All series, with `other` last.
    pub(super) fn iter(&self) -> impl Iterator<Item = StatementSeries<'_>> {
        let member = |(key, member): (_, &Member)| StatementSeries { key: Some(key), counters: member.counters, shown: member.shown };
        let other = StatementSeries { key: None, counters: self.other, shown: DetailSet::ALL };
        self.members.iter().map(member).chain([other])
    }

    /// Sum of all increments since the start.
    pub(super) fn total(&self) -> StatementCounters {
        self.total
    }

    /// Counts of series that ended.
    pub(super) fn retired(&self) -> StatementCounters {
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

    /// Fills free places with the best candidates, then replaces the worst members that a candidate clearly exceeds. Returns the new
    /// members.
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

    /// Removes a member. It may become a member again later, and then starts at 0.
    fn replace(&mut self, loser: &StatementKey) {
        if let Some(member) = self.members.remove(loser) {
            self.retired += member.counters;
            self.candidates.insert(loser.clone(), member.score);
        }
    }

    fn drop_weak_candidates(&mut self) {
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
    /// Adds the counters that have a series, and returns those that have none yet.
    fn add(&mut self, counters: StatementCounters) -> StatementCounters {
        let (own, rest) = counters.details.split(self.shown);
        self.counters += StatementCounters { details: own, ..counters };
        self.shown.join(rest.counting());
        StatementCounters { details: rest, ..StatementCounters::default() }
    }
}

/// Orders by score, best first, then by key, so that the choice is deterministic.
fn by_score(a: &(StatementKey, f64), b: &(StatementKey, f64)) -> Ordering {
    b.1.total_cmp(&a.1).then_with(|| a.0.cmp(&b.0))
}
