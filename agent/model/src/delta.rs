//! Rates from two snapshots of one subject.
//!
//! Each part is compared with its own last good reading, since parts are read at different intervals. A counter that fell, a new series
//! and a restarted server have no rate. A guess would be wrong.

use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;
use std::time::Duration;

use crate::catalogue::metrics::Metrics;
use crate::snapshot::{Change, Family, Reading, Snapshot};
use crate::subject::SubjectKey;

/// Last good reading of every part of every subject.
#[derive(Debug, Default)]
pub struct Deltas {
    previous: HashMap<SubjectKey, BTreeMap<String, Previous>>,
}

#[derive(Debug)]
struct Previous {
    reading: Arc<Reading>,
    /// Time between this reading and the one before; `None` for the first.
    elapsed: Option<Duration>,
    rates: Vec<(String, Vec<Option<f64>>)>,
}

impl Deltas {
    /// Compares a snapshot with the last one of its subject, and stores it for the next comparison.
    pub fn push(&mut self, snapshot: Snapshot) -> Change {
        let key = snapshot.subject.key();
        let previous = self.previous.entry(key).or_default();
        let mut rates = BTreeMap::new();
        let mut spans = Vec::new();
        for (name, part) in &snapshot.parts {
            let Some(reading) = &part.reading else { continue };
            let current = match previous.remove(name) {
                Some(same) if same.reading.at == reading.at => same,
                Some(older) => Previous {
                    reading: Arc::clone(reading),
                    elapsed: Some(reading.at.saturating_sub(older.reading.at)),
                    rates: rates_between(&older.reading, reading),
                },
                None => Previous { reading: Arc::clone(reading), elapsed: None, rates: Vec::new() },
            };
            rates.extend(current.rates.iter().cloned());
            spans.extend(current.elapsed.map(|elapsed| (name.clone(), elapsed)));
            previous.insert(name.clone(), current);
        }
        Change::new(snapshot, rates, &spans)
    }
}

fn rates_between(older: &Reading, newer: &Reading) -> Vec<(String, Vec<Option<f64>>)> {
    let elapsed = newer.at.saturating_sub(older.at);
    if older.epoch != newer.epoch || elapsed.is_zero() {
        return Vec::new();
    }
    let counters = newer.families.iter().filter(|family| Metrics::shipped().is_counter(&family.metric));
    counters
        .filter_map(|family| {
            let before = older.families.iter().find(|before| before.metric == family.metric)?;
            Some((family.metric.clone(), family_rates(before, family, elapsed)))
        })
        .collect()
}

fn family_rates(before: &Family, after: &Family, elapsed: Duration) -> Vec<Option<f64>> {
    let rate = |old: f64, new: f64| (new >= old).then(|| (new - old) / elapsed.as_secs_f64());
    if before.labels == after.labels && before.values.len() == after.values.len() {
        return before.values.iter().zip(&after.values).map(|(old, new)| rate(*old, *new)).collect();
    }
    let old: HashMap<Vec<&str>, f64> =
        before.values.iter().enumerate().map(|(row, value)| (before.label_texts(row).collect(), *value)).collect();
    let rate_of = |(row, new): (usize, &f64)| {
        let labels: Vec<&str> = after.label_texts(row).collect();
        old.get(&labels).and_then(|old| rate(*old, *new))
    };
    after.values.iter().enumerate().map(rate_of).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::snapshot::{FamiliesBuilder, Part, Quantity, READINGS};
    use crate::subject::{Label, Subject};

    const COMMITS: &str = "pharos_postgres_commits_total";
    const NONE: [f64; 0] = [];

    fn snapshot(at_seconds: u64, epoch: u64, commits: &[(&str, f64)]) -> Snapshot {
        let mut rows = FamiliesBuilder::new(&["datname"], &[COMMITS]);
        for (datname, value) in commits {
            rows.push(&[datname], &[Some(*value)]);
        }
        let at = Duration::from_secs(at_seconds);
        let reading = Reading { at, fresh_until: Duration::MAX, epoch, families: rows.finish(), ..Reading::default() };
        let mut snapshot = Snapshot::empty("postgres");
        snapshot.subject = Subject {
            kind: "postgres".into(),
            id: "db1:5432".into(),
            version: "17.2".into(),
            labels: vec![Label { name: "server".into(), value: "db1:5432".into() }],
        };
        snapshot.parts.insert("database".into(), Part::present(Arc::new(reading)));
        snapshot
    }

    fn rates(change: &Change) -> Vec<f64> {
        change.samples(COMMITS, &[], Quantity::Rate).values
    }

    #[test]
    fn a_rate_needs_two_readings() {
        let mut deltas = Deltas::default();
        assert_eq!(rates(&deltas.push(snapshot(0, 1, &[("app", 10.0)]))), NONE);
        assert_eq!(rates(&deltas.push(snapshot(10, 1, &[("app", 30.0)]))), [2.0]);
    }

    #[test]
    fn a_part_that_was_not_read_again_keeps_its_rate() {
        let mut deltas = Deltas::default();
        deltas.push(snapshot(0, 1, &[("app", 10.0)]));
        deltas.push(snapshot(10, 1, &[("app", 30.0)]));
        assert_eq!(rates(&deltas.push(snapshot(10, 1, &[("app", 30.0)]))), [2.0]);
    }

    #[test]
    fn the_time_span_of_rates_is_listed_for_each_part() {
        let mut deltas = Deltas::default();
        let span = |change: &Change| {
            let table = change.table(READINGS)?;
            Some((table.text("part", 0)?.to_owned(), table.number("seconds", 0)?))
        };
        let database = |seconds: f64| Some(("database".to_owned(), seconds));
        assert_eq!(span(&deltas.push(snapshot(0, 1, &[("app", 10.0)]))), None);
        assert_eq!(span(&deltas.push(snapshot(10, 1, &[("app", 30.0)]))), database(10.0));
        assert_eq!(span(&deltas.push(snapshot(10, 1, &[("app", 30.0)]))), database(10.0), "not read again");
        let mut failed = snapshot(20, 1, &[]);
        failed.parts.insert("database".into(), Part::failed("connection refused"));
        assert_eq!(span(&deltas.push(failed)), None);
        assert_eq!(span(&deltas.push(snapshot(30, 1, &[("app", 50.0)]))), database(20.0), "over the gap");
    }

    #[test]
    fn a_reset_a_restart_and_a_new_series_have_no_rate() {
        let mut deltas = Deltas::default();
        deltas.push(snapshot(0, 1, &[("app", 10.0)]));
        assert_eq!(rates(&deltas.push(snapshot(10, 1, &[("app", 3.0)]))), NONE, "reset");
        assert_eq!(rates(&deltas.push(snapshot(20, 2, &[("app", 30.0)]))), NONE, "restart");
        assert_eq!(rates(&deltas.push(snapshot(30, 2, &[("app", 40.0), ("shop", 7.0)]))), [1.0], "new series");
    }

    #[test]
    fn a_failed_part_leaves_a_gap_that_the_next_rate_spans() {
        let mut deltas = Deltas::default();
        deltas.push(snapshot(0, 1, &[("app", 10.0)]));
        let mut failed = snapshot(10, 1, &[]);
        failed.parts.insert("database".into(), Part::failed("connection refused"));
        assert_eq!(rates(&deltas.push(failed)), NONE);
        assert_eq!(rates(&deltas.push(snapshot(20, 1, &[("app", 50.0)]))), [2.0]);
    }
}
