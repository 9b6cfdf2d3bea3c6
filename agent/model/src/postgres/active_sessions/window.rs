//! Sums of the samples between two reports.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::time::Duration;

use super::{ActiveSession, Identity, Sample, Slice, Wait, Work};

/// Most different rows of one window.
const ROWS_MAX: usize = 5_000;

/// Time of the sessions with the same work and the same wait.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct WaitRow {
    /// Sum of the sessions' times, in seconds.
    pub seconds: f64,
    /// Most sessions in one sample. A parallel query is one session.
    pub sessions_max: f64,
    /// Longest time of one session, as far as it was observed.
    pub longest_seconds: f64,
}

/// Sums between two reports. Averages are over the samples that were taken.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct ActivityWindow {
    /// Number of samples.
    pub samples: u64,
    /// Average number of client sessions, by the class of their wait.
    pub average_by_class: BTreeMap<String, f64>,
    /// Average number of sessions, by the kind of backend.
    pub average_by_slice: BTreeMap<Slice, f64>,
    /// Rows of clients and their parallel workers, longest time first.
    pub waits: Vec<(Work, Wait, WaitRow)>,
    /// Seconds of rows that exceeded the limit.
    pub other_seconds: f64,
}

#[derive(Debug, Default)]
pub(super) struct WindowSums {
    samples: u64,
    by_class: BTreeMap<String, f64>,
    by_slice: BTreeMap<Slice, f64>,
    rows: BTreeMap<(Work, Wait), WaitRow>,
    other_seconds: f64,
}

impl WindowSums {
    /// Adds a sample that counts for `seconds`. `scale` is the number of all sessions divided by those read.
    pub(super) fn add(&mut self, sample: &Sample, seconds: f64, scale: f64, lasted: impl Fn(&Identity) -> Duration) {
        self.samples += 1;
        let by_pid: HashMap<i32, &ActiveSession> = sample.sessions.iter().map(|session| (session.identity.pid, session)).collect();
        let mut at_once: BTreeMap<(Work, Wait), BTreeSet<i32>> = BTreeMap::new();
        for session in &sample.sessions {
            *self.by_slice.entry(session.slice).or_default() += scale;
            match session.slice {
                Slice::Client => *self.by_class.entry(session.wait.class.clone()).or_default() += scale,
                Slice::ParallelWorker => {}
                Slice::Autovacuum | Slice::WalSender | Slice::Other => continue,
            }
            let leader = session.leader_pid.unwrap_or(session.identity.pid);
            let work = by_pid.get(&leader).map_or(&session.work, |leader| &leader.work);
            let key = (work.clone(), session.wait.clone());
            if !self.rows.contains_key(&key) && self.rows.len() >= ROWS_MAX {
                self.other_seconds += seconds * scale;
                continue;
            }
            let row = self.rows.entry(key.clone()).or_default();
            row.seconds += seconds * scale;
            row.longest_seconds = row.longest_seconds.max(lasted(&session.identity).as_secs_f64());
            at_once.entry(key).or_default().insert(leader);
        }
        for (key, sessions) in at_once {
            let row = self.rows.entry(key).or_default();
            row.sessions_max = row.sessions_max.max(sessions.len() as f64 * scale);
        }
    }

    /// Turns the sums into averages and sorted rows.
    pub(super) fn finish(self) -> ActivityWindow {
        let Self { samples, by_class, by_slice, rows, other_seconds } = self;
        let taken = samples.max(1) as f64;
        let mut waits: Vec<(Work, Wait, WaitRow)> = rows.into_iter().map(|((work, wait), row)| (work, wait, row)).collect();
        waits.sort_by(|a, b| b.2.seconds.total_cmp(&a.2.seconds));
        ActivityWindow {
            samples,
            average_by_class: by_class.into_iter().map(|(class, sum)| (class, sum / taken)).collect(),
            average_by_slice: by_slice.into_iter().map(|(slice, sum)| (slice, sum / taken)).collect(),
            waits,
            other_seconds,
        }
    }
}

impl ActivityWindow {
    /// Keeps the rows with the longest times, and adds the others to `other_seconds`.
    pub fn truncate(&mut self, rows_max: usize) {
        let rest = self.waits.drain(rows_max.min(self.waits.len())..);
        self.other_seconds += rest.map(|(_, _, row)| row.seconds).sum::<f64>();
    }
}
