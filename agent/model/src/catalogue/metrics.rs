//! The metric catalogue: `config/metrics.toml`, read once.
//!
//! A metric without an entry here cannot be collected. `tests/tidy/catalogue.rs` compares the entries with the code both ways.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::LazyLock;

use serde::Deserialize;

use crate::subject::SubjectKind;

/// How the values of a metric behave over time.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum MetricKind {
    /// Values go up and down.
    Gauge,
    /// Values only grow, except when their source restarts. Plugins may ask for rates of such a metric.
    Counter,
}

/// One metric of the catalogue: its type, its labels and its meaning.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct MetricSpec {
    /// Whether the metric is a gauge or a counter. The names of counters, and only theirs, end in `_total`.
    pub kind: MetricKind,
    /// The snapshot's part that carries the metric. `None` for a metric of the agent itself, whose snapshot has one part: [`AGENT_PART`].
    pub part: Option<String>,
    /// Names of the metric's own labels, in the order in which series have them. The labels of the subject come before these.
    pub labels: Vec<String>,
    /// True if a low value is bad, as for a gauge that is 1 while all is well. If two values have the labels of one series, the worse is
    /// shown.
    #[serde(default)]
    pub low_is_bad: bool,
    /// Meaning of the value, as a sentence. `/metrics` serves the sentence as the metric's help.
    pub help: String,
}

/// The part of a server's snapshot that says whether the server was reached. The part is present even while the server is down.
pub const UP_PART: &str = "up";

/// The one part of a snapshot of the agent, which carries all its metrics and tables.
pub const AGENT_PART: &str = "agent";

/// Every metric that can be collected, by name.
#[derive(Debug)]
pub struct Metrics(BTreeMap<String, MetricSpec>);

static METRICS: LazyLock<Metrics> = LazyLock::new(|| {
    let metrics = toml::from_str(include_str!("../../../../config/metrics.toml"));
    Metrics(metrics.expect("config/metrics.toml is a valid catalogue"))
});

impl Metrics {
    /// The catalogue that this build was made with.
    pub fn shipped() -> &'static Self {
        &METRICS
    }

    /// The entry of a metric. `None` if the metric cannot be collected.
    pub fn spec(&self, metric: &str) -> Option<&MetricSpec> {
        self.0.get(metric)
    }

    /// The part that carries a metric in snapshots of subjects of this kind. `None` if the metric is not collected for such a subject.
    pub fn part_of(&self, metric: &str, kind: &SubjectKind) -> Option<&str> {
        match &self.spec(metric)?.part {
            None => (*kind == SubjectKind::Agent).then_some(AGENT_PART),
            Some(part) => kind.owns_metric(metric).then_some(part.as_str()),
        }
    }

    /// Names of all parts that snapshots of subjects of this kind may have.
    pub fn parts_of(&self, kind: &SubjectKind) -> BTreeSet<&str> {
        self.0.keys().filter_map(|metric| self.part_of(metric, kind)).collect()
    }

    /// The worse of two values of one metric. The greater value is worse, as for a lag or an age, unless the catalogue says that low is
    /// bad.
    pub fn worse(&self, metric: &str, one: f64, other: f64) -> f64 {
        if self.spec(metric).is_some_and(|spec| spec.low_is_bad) { one.min(other) } else { one.max(other) }
    }

    /// All metrics, sorted by name.
    pub fn iter(&self) -> impl Iterator<Item = (&str, &MetricSpec)> {
        self.0.iter().map(|(name, spec)| (name.as_str(), spec))
    }

    /// Whether a metric is a counter, so that it has rates. False for a metric that is not in the catalogue.
    pub fn is_counter(&self, metric: &str) -> bool {
        self.spec(metric).is_some_and(|spec| spec.kind == MetricKind::Counter)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn counters_end_in_total_and_gauges_do_not() {
        for (name, spec) in Metrics::shipped().iter() {
            assert_eq!(spec.kind == MetricKind::Counter, name.ends_with("_total"), "{name}");
        }
    }

    #[test]
    fn a_metric_is_carried_by_one_part_of_one_kind_of_subject() {
        let part = |metric, kind: &str| Metrics::shipped().part_of(metric, &kind.into());
        assert_eq!(part("pharos_redis_keys", "redis"), Some("info"));
        assert_eq!(part("pharos_redis_keys", "postgres"), None);
        assert_eq!(part("pharos_notifications_pending", "agent"), Some(AGENT_PART));
        assert_eq!(part("process_open_fds", "agent"), Some(AGENT_PART));
        assert_eq!(part("process_open_fds", "postgres"), None);
        assert_eq!(part("pharos_redis_up", "agent"), None);
        assert_eq!(part("pharos_rediss_up", "rediss"), None);
    }

    #[test]
    fn a_gauge_for_a_good_state_is_bad_when_it_is_low() {
        for (name, spec) in Metrics::shipped().iter() {
            let is_fine_at_one = ["_up", "_ok", "_enabled", "_active", "_streaming"].iter().any(|end| name.ends_with(end));
            assert!(spec.part.is_none() || !is_fine_at_one || spec.low_is_bad, "{name}");
        }
    }

    #[test]
    fn help_is_a_sentence() {
        for (name, spec) in Metrics::shipped().iter() {
            assert!(spec.help.ends_with('.'), "{name}: {}", spec.help);
        }
    }

    #[test]
    fn names_are_ours_or_the_process_metrics_that_every_prometheus_client_shares() {
        for (name, _) in Metrics::shipped().iter() {
            assert!(name.starts_with("pharos_") || name.starts_with("process_"), "{name}");
        }
    }
}
