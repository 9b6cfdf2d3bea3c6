//! The agent's own metrics. Names, labels and help are in `config/metrics.toml`.

use std::collections::BTreeMap;

use parking_lot::Mutex;
use pharos_model::catalogue::metrics::Metrics;
use pharos_model::snapshot::{FamiliesBuilder, Family};

/// Series of one metric. More would be a leak, so further ones are ignored.
const SERIES_MAX: usize = 2_000;

/// Counters and gauges by metric and label values, in the order of the catalogue's labels.
#[derive(Debug, Default)]
pub struct SelfMetrics {
    values: Mutex<BTreeMap<&'static str, BTreeMap<Vec<String>, f64>>>,
}

impl SelfMetrics {
    /// Adds to a counter.
    pub fn add(&self, metric: &'static str, labels: &[&str], delta: f64) {
        self.update(metric, labels, |value| *value += delta);
    }

    /// Sets a gauge.
    pub fn set(&self, metric: &'static str, labels: &[&str], value: f64) {
        self.update(metric, labels, |current| *current = value);
    }

    fn update(&self, metric: &'static str, labels: &[&str], change: impl FnOnce(&mut f64)) {
        let mut values = self.lock();
        let series = values.entry(metric).or_default();
        let labels: Vec<String> = labels.iter().map(|label| (*label).to_owned()).collect();
        if series.len() < SERIES_MAX || series.contains_key(&labels) {
            change(series.entry(labels).or_default());
        }
    }

    /// Removes every series of a metric whose labels start with these.
    pub fn remove(&self, metric: &'static str, labels: &[&str]) {
        if let Some(series) = self.lock().get_mut(metric) {
            series.retain(|known, _| !known.iter().zip(labels).all(|(known, label)| known == label));
        }
    }

    /// All series as families, for `/metrics`.
    pub fn families(&self) -> Vec<Family> {
        let values = self.lock();
        values.iter().flat_map(|(metric, series)| family(metric, series)).collect()
    }

    /// The value of one series, if it was ever written.
    pub fn value(&self, metric: &str, labels: &[&str]) -> Option<f64> {
        let labels: Vec<String> = labels.iter().map(|label| (*label).to_owned()).collect();
        self.lock().get(metric).and_then(|series| series.get(&labels)).copied()
    }

    fn lock(&self) -> parking_lot::MutexGuard<'_, BTreeMap<&'static str, BTreeMap<Vec<String>, f64>>> {
        self.values.lock()
    }
}

fn family(metric: &'static str, series: &BTreeMap<Vec<String>, f64>) -> Vec<Family> {
    let Some(spec) = Metrics::shipped().spec(metric) else { return Vec::new() };
    let labels: Vec<&str> = spec.labels.iter().map(String::as_str).collect();
    let mut rows = FamiliesBuilder::new(&labels, &[metric]);
    for (texts, value) in series {
        let texts: Vec<&str> = texts.iter().map(String::as_str).collect();
        rows.push(&texts, &[Some(*value)]);
    }
    rows.finish()
}
