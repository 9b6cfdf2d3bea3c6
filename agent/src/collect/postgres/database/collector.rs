//! The collector of the counters of each datname.

use std::collections::HashMap;
use std::time::Duration;

use futures_util::FutureExt;
use futures_util::future::BoxFuture;
use pharos_model::alert::Now;
use pharos_model::cluster::Cluster;
use pharos_model::postgres::resets::{Count, ResetTime, Resets};
use pharos_model::snapshot::{FamiliesBuilder, Family};
use pharos_model::snapshot::{PartId, Unlisted};
use pharos_model::top::{Candidate, Fold, Top};

use super::counters::{COUNTERS, FAILURES};
use super::failures::Failures;
use crate::collect::postgres::row::{Fields, other, query_planned};
use crate::collect::{CollectError, Collector, Facts, Notebook};
use crate::postgres::monitor::{Row, Session};

const PART: PartId = PartId::Database;

/// Most datnames with series of their own. The rest is summed up as `other`.
const SERIES_MAX: usize = 100;
/// Share of a score that remains at the next reading. Half of it remains after 23 readings, or 4 minutes at the default interval.
const SCORE_KEPT: f64 = 0.97;

const SESSION_BEGUN_AGE: &str = "pharos_postgres_session_begun_age_seconds";

const GAUGES: [(&str, &str, Fold); 4] = [
    ("pharos_postgres_backends", "backends", Fold::Sum),
    ("pharos_postgres_xid_age_transactions", "xid_age", Fold::Greatest),
    ("pharos_postgres_multixact_age_transactions", "multixact_age", Fold::Greatest),
    ("pharos_postgres_stats_reset_timestamp_seconds", "stats_reset", Fold::None),
];

/// Reads the counters of each datname, and its distance from wraparound.
pub(crate) struct DatnameCounters {
    interval: Duration,
    resets: Resets,
    top: Top<{ COUNTERS.len() }, { GAUGES.len() }>,
    /// Number of transactions of each datname, and a score of the latest ones.
    scores: HashMap<u64, (f64, f64)>,
    last_session: LastSession,
    failures: Failures,
    notebook: Notebook,
}

/// When a session last began on the server, as the agent observed it.
#[derive(Debug, Default)]
struct LastSession {
    /// Number of sessions so far, and since when it has not grown.
    last: Option<(f64, Duration)>,
}

impl LastSession {
    /// Seconds since a session began, as far as the agent observed it. A counter that started anew counts as a new session.
    fn age(&mut self, sessions: Option<f64>, now: Duration) -> Option<f64> {
        let Some(sessions) = sessions else {
            self.last = None;
            return None;
        };
        let since = self.last.filter(|(before, _)| sessions == *before).map_or(now, |(_, since)| since);
        self.last = Some((sessions, since));
        Some(now.saturating_sub(since).as_secs_f64())
    }
}

impl DatnameCounters {
    pub(crate) fn new(interval: Duration, notebook: Notebook) -> Self {
        Self {
            interval,
            notebook,
            failures: Failures::default(),
            resets: Resets::default(),
            top: Top::new(SERIES_MAX, GAUGES.map(|(_, _, fold)| fold)),
            scores: HashMap::new(),
            last_session: LastSession::default(),
        }
    }

    async fn read(&mut self, session: &Session, now: Now) -> Result<Facts, CollectError> {
        let rows = query_planned(session, PART, include_str!("../sql/database.sql")).await?;
        let read = rows.iter().map(Datname::read).collect::<Result<Vec<_>, _>>()?;
        let resets = read.iter().map(|datname| (datname.name.to_owned(), datname.gauges[STATS_RESET]));
        // Before PostgreSQL 15 a datname has no time of its reset until something is counted in it: that is no reset.
        let meaning = if session.major() > 14 { ResetTime::OfReset } else { ResetTime::OfBeginning };
        let epoch = self.resets.epoch(session.epoch(), resets.filter(|(_, at)| meaning == ResetTime::OfReset || at.is_some()));
        let counts: Vec<(&str, Count)> = read.iter().map(Datname::failures).collect();
        self.failures.observe(&counts, meaning, &Cluster::new(session.system_identifier()), &self.notebook, now).await;
        let Series { mut families, folded, unlisted } = self.series(&read);
        families.extend(
            rows.first()
                .map(|row| Fields::new(PART, row).scalars(&[("pharos_postgres_checksums_enabled", "checksums")]))
                .transpose()?
                .unwrap_or_default(),
        );
        let sessions = read.iter().filter_map(|datname| datname.counters[SESSIONS]).reduce(|sum, sessions| sum + sessions);
        families.extend(self.last_session.age(sessions, now.monotonic).map(|age| Family::scalar(SESSION_BEGUN_AGE, age)));
        Ok(Facts { epoch, families, tables: vec![self.failures.table()], folded, unlisted, ..Facts::default() })
    }

    fn series(&mut self, read: &[Datname<'_>]) -> Series {
        let candidates: Vec<_> = read.iter().map(|datname| datname.candidate(self.score(datname))).collect();
        self.scores.retain(|oid, _| read.iter().any(|datname| datname.oid == *oid));
        let ranked = self.top.rank(&candidates);
        let metrics: Vec<&'static str> =
            COUNTERS.iter().map(|(metric, _)| *metric).chain(GAUGES.iter().map(|(metric, _, _)| *metric)).collect();
        let mut families = FamiliesBuilder::new(&["datname"], &metrics);
        let unlisted = ranked.unlisted(&["datname"], |index| vec![read[index].name]);
        for index in ranked.members {
            let datname = &read[index];
            families.push(&[datname.name], &[&datname.counters[..], &datname.gauges[..]].concat());
        }
        if ranked.folded > 0 {
            // A counter that no datname has, such as failures of checksums that are off, has no sum, not even 0.
            let counted = |index: usize| read.iter().any(|datname| datname.counters[index].is_some());
            let counters: Vec<Option<f64>> = (0..COUNTERS.len()).map(|index| counted(index).then_some(ranked.other[index])).collect();
            families.push(&[other(read.iter().map(|datname| datname.name))], &[&counters[..], &ranked.other_gauges[..]].concat());
        }
        Series { families: families.finish(), folded: ranked.folded as u64, unlisted }
    }

    /// Returns the score of the latest transactions of a datname.
    fn score(&mut self, datname: &Datname<'_>) -> f64 {
        let total = datname.counters[COMMITS].unwrap_or(0.0) + datname.counters[ROLLBACKS].unwrap_or(0.0);
        let (before, score) = self.scores.entry(datname.oid).or_insert((total, 0.0));
        *score = *score * SCORE_KEPT + (total - *before).max(0.0);
        *before = total;
        *score
    }
}

/// The series of datnames, and what is known of the rest.
struct Series {
    families: Vec<Family>,
    folded: u64,
    unlisted: Unlisted,
}

const COMMITS: usize = 0;
const ROLLBACKS: usize = 1;
const SESSIONS: usize = 18;
const STATS_RESET: usize = 3;

/// The counters of a datname in one reading.
struct Datname<'a> {
    oid: u64,
    name: &'a str,
    counters: [Option<f64>; COUNTERS.len()],
    gauges: [Option<f64>; GAUGES.len()],
    /// Since when the server has statistics.
    all_since: Option<f64>,
}

impl<'a> Datname<'a> {
    fn read(row: &'a Row) -> Result<Self, CollectError> {
        let row = Fields::new(PART, row);
        let mut datname = Self {
            oid: u64::from(row.field::<u32>("oid")?),
            name: row.text("datname")?,
            counters: [None; COUNTERS.len()],
            gauges: [None; GAUGES.len()],
            all_since: row.number("all_since")?,
        };
        // While track_counts is off the counters stand still, so they are left out: they would look as if nothing happened.
        if row.field("tracks_counts")? {
            for (value, (_, column)) in datname.counters.iter_mut().zip(COUNTERS) {
                *value = row.number(column)?;
            }
        }
        for (value, (_, column, _)) in datname.gauges.iter_mut().zip(GAUGES) {
            *value = row.number(column)?;
        }
        Ok(datname)
    }

    /// Returns the number of checksum failures.
    fn failures(&self) -> (&str, Count) {
        (self.name, Count { count: self.counters[FAILURES], reset_at: self.gauges[STATS_RESET], all_since: self.all_since })
    }

    fn candidate(&self, score: f64) -> Candidate<{ COUNTERS.len() }, { GAUGES.len() }> {
        Candidate { id: self.oid, score, counters: self.counters.map(|value| value.unwrap_or(0.0)), gauges: self.gauges }
    }
}

impl Collector<Session> for DatnameCounters {
    fn part(&self) -> PartId {
        PART
    }

    fn interval(&self) -> Duration {
        self.interval
    }

    fn collect<'a>(&'a mut self, session: &'a mut Session, now: Now) -> BoxFuture<'a, Result<Facts, CollectError>> {
        self.read(session, now).boxed()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_time_since_a_session_began_is_that_since_the_counter_grew() {
        assert_eq!((COUNTERS[SESSIONS].1, COUNTERS[FAILURES].1), ("sessions", "checksum_failures"));
        let mut last_session = LastSession::default();
        let mut age = |sessions: Option<f64>, seconds| last_session.age(sessions, Duration::from_secs(seconds));
        assert_eq!([age(Some(900.0), 100), age(Some(900.0), 110)], [Some(0.0), Some(10.0)]);
        assert_eq!([age(Some(901.0), 120), age(Some(901.0), 500)], [Some(0.0), Some(380.0)]);
        assert_eq!([age(Some(3.0), 510), age(Some(3.0), 520)], [Some(0.0), Some(10.0)], "the counter started anew");
        assert_eq!([age(None, 530), age(Some(4.0), 540)], [None, Some(0.0)], "nothing is counted");
    }
}
