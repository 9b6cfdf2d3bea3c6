//! Two snapshots of one subject turned into rates.
//!
//! Each part is compared with its own last good reading, since parts are read at different intervals. A counter that went down, a series
//! that was not there before and a server that restarted have no rate: a guess would be a lie.

use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;
use std::time::Duration;

use serde::{Deserialize, Serialize};

use crate::catalogue::metrics::Catalogue;
use crate::snapshot::{Column, Family, LabelColumn, NULL_CODE, Reading, Snapshot, Table, TextColumn};
use crate::subject::SubjectKey;

/// The table of every change that says what its rates span: `part`, and the `seconds` between its last two good readings.
pub const READINGS: &str = "readings";

/// A snapshot with what changed since the one before it.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Change {
    pub snapshot: Snapshot,
    /// By metric: one rate per series of the family, in its order.
    rates: BTreeMap<String, Vec<Option<f64>>>,
    /// [`READINGS`]; none before the second reading, nor in what was recorded before the table was kept.
    #[serde(default)]
    readings: Option<Table>,
}

/// How to read a metric.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Quantity {
    Value,
    /// Per second since the part's previous reading.
    Rate,
}

/// Which series of a metric: those whose label fits the pattern.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Matcher {
    pub label: String,
    pub pattern: Pattern,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Pattern {
    Equals(String),
    OneOf(Vec<String>),
    Prefix(String),
}

impl Pattern {
    fn fits(&self, text: &str) -> bool {
        match self {
            Self::Equals(wanted) => text == wanted,
            Self::OneOf(wanted) => wanted.iter().any(|wanted| text == wanted),
            Self::Prefix(prefix) => text.starts_with(prefix.as_str()),
        }
    }
}

/// Series as a plugin sees them: the subject's labels first, then the metric's own; columns of equal length.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Samples {
    pub labels: Vec<LabelColumn>,
    pub values: Vec<f64>,
}

impl Change {
    /// A snapshot with nothing to compare it to.
    pub fn first(snapshot: Snapshot) -> Self {
        Self { snapshot, rates: BTreeMap::new(), readings: None }
    }

    pub fn table(&self, name: &str) -> Option<&Table> {
        if name == READINGS { self.readings.as_ref() } else { self.snapshot.table(name) }
    }

    /// The series of a metric that fit every matcher. A label that a series does not have is the empty text.
    pub fn samples(&self, metric: &str, matching: &[Matcher], quantity: Quantity) -> Samples {
        let Some(family) = self.snapshot.family(metric) else { return Samples::default() };
        let rates = self.rates.get(metric);
        let value = |row: usize| match quantity {
            Quantity::Value => Some(family.values[row]),
            Quantity::Rate => rates.and_then(|rates| rates.get(row).copied().flatten()),
        };
        let Some(wanted) = self.rows(family, matching) else { return Samples::default() };
        let rows: Vec<(usize, f64)> = match wanted {
            Rows::All => (0..family.values.len()).filter_map(|row| Some((row, value(row)?))).collect(),
            Rows::Some(rows) => rows.into_iter().filter_map(|row| Some((row, value(row)?))).collect(),
        };
        let whole = rows.len() == family.values.len();
        let subject = self.snapshot.subject.labels.iter().map(|label| LabelColumn {
            name: label.name.clone(),
            values: TextColumn { words: vec![label.value.clone()], codes: vec![0; rows.len()] },
        });
        let own = family.labels.iter().map(|label| LabelColumn {
            name: label.name.clone(),
            values: if whole { label.values.clone() } else { pick(&label.values, &rows) },
        });
        Samples { labels: subject.chain(own).collect(), values: rows.iter().map(|(_, value)| *value).collect() }
    }

    /// The rows that fit every matcher; none when no row can.
    fn rows(&self, family: &Family, matching: &[Matcher]) -> Option<Rows> {
        let mut columns = Vec::new();
        for matcher in matching {
            if let Some(column) = family.labels.iter().find(|column| column.name == matcher.label) {
                // One comparison per word, not per row.
                let fits: Vec<bool> = column.values.words.iter().map(|word| matcher.pattern.fits(word)).collect();
                columns.push((&column.values.codes, fits));
                continue;
            }
            let subject = self.snapshot.subject.labels.iter().find(|label| label.name == matcher.label);
            if !matcher.pattern.fits(subject.map_or("", |label| label.value.as_str())) {
                return None;
            }
        }
        if columns.is_empty() {
            return Some(Rows::All);
        }
        let fits = |row: usize| columns.iter().all(|(codes, fits)| fits.get(codes[row] as usize).copied().unwrap_or(false));
        Some(Rows::Some((0..family.values.len()).filter(|row| fits(*row)).collect()))
    }
}

enum Rows {
    All,
    Some(Vec<usize>),
}

/// The rows' texts with only their own words. Codes are translated by their number: to hash every word would cost more than the read.
fn pick(column: &TextColumn, rows: &[(usize, f64)]) -> TextColumn {
    let mut picked = TextColumn::default();
    let mut code_of = vec![NULL_CODE; column.words.len()];
    for (row, _) in rows {
        let old = column.codes[*row] as usize;
        // A null's code is beyond every dictionary, and stays what it is.
        let code = match code_of.get_mut(old) {
            None => NULL_CODE,
            Some(code) => {
                if *code == NULL_CODE {
                    // Fewer words than codes that fit.
                    *code = picked.words.len() as u32;
                    picked.words.push(column.words[old].clone());
                }
                *code
            }
        };
        picked.codes.push(code);
    }
    picked
}

/// The last good reading of every part of every subject.
#[derive(Debug, Default)]
pub struct Deltas {
    previous: HashMap<SubjectKey, BTreeMap<String, Previous>>,
}

#[derive(Debug)]
struct Previous {
    reading: Arc<Reading>,
    /// Since the reading before it.
    elapsed: Option<Duration>,
    rates: Vec<(String, Vec<Option<f64>>)>,
}

impl Deltas {
    /// Compares a snapshot with the last one of its subject and remembers it.
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
        Change { snapshot, rates, readings: readings_table(&spans) }
    }
}

fn readings_table(spans: &[(String, Duration)]) -> Option<Table> {
    let part = Column::text("part", spans.iter().map(|(part, _)| Some(part.as_str())));
    let seconds = Column::float("seconds", "seconds", spans.iter().map(|(_, elapsed)| Some(elapsed.as_secs_f64())));
    (!spans.is_empty()).then(|| Table::new(READINGS, vec![part, seconds]))
}

fn rates_between(older: &Reading, newer: &Reading) -> Vec<(String, Vec<Option<f64>>)> {
    let elapsed = newer.at.saturating_sub(older.at);
    if older.epoch != newer.epoch || elapsed.is_zero() {
        return Vec::new();
    }
    let counters = newer.families.iter().filter(|family| Catalogue::shipped().is_counter(&family.metric));
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
    use crate::snapshot::{FamiliesBuilder, Part};
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
    fn how_long_a_rate_spans_is_told_of_each_part_and_kept_with_it() {
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

    #[test]
    fn matchers_see_the_labels_of_the_metric_and_of_the_subject() {
        let change = Change::first(snapshot(0, 1, &[("app", 1.0), ("shop", 2.0), ("apple", 3.0)]));
        let matching = |label: &str, pattern| change.samples(COMMITS, &[Matcher { label: label.into(), pattern }], Quantity::Value).values;
        assert_eq!(matching("datname", Pattern::Equals("app".into())), [1.0]);
        assert_eq!(matching("datname", Pattern::Prefix("app".into())), [1.0, 3.0]);
        assert_eq!(matching("datname", Pattern::OneOf(vec!["shop".into(), "none".into()])), [2.0]);
        assert_eq!(matching("server", Pattern::Equals("db1:5432".into())), [1.0, 2.0, 3.0]);
        assert_eq!(matching("server", Pattern::Equals("db2:5432".into())), NONE);
    }

    #[test]
    fn picked_samples_carry_only_their_own_words() {
        let change = Change::first(snapshot(0, 1, &[("app", 1.0), ("shop", 2.0)]));
        let matcher = Matcher { label: "datname".into(), pattern: Pattern::Equals("shop".into()) };
        let samples = change.samples(COMMITS, &[matcher], Quantity::Value);
        assert_eq!(samples.labels[0].name, "server");
        assert_eq!(samples.labels[1].values.words, ["shop"]);
        assert_eq!(samples.labels[1].values.codes, [0]);
    }
}
