//! The metric catalogue: `config/metrics.toml`, read once.
//!
//! A metric that is not in the catalogue cannot be collected; `tests/tidy.rs` compares it with the code both ways.

use std::collections::BTreeMap;
use std::sync::LazyLock;

use serde::Deserialize;

use crate::subject::SubjectKind;

/// How the values of a metric behave over time.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Kind {
    /// Goes up and down.
    Gauge,
    /// Only grows, except when its source restarts.
    Counter,
}

/// One entry of the catalogue.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct MetricSpec {
    pub kind: Kind,
    /// The snapshot's part that carries the metric; none for metrics of the agent itself, which its own snapshot carries in [`AGENT_PART`].
    pub part: Option<String>,
    /// Label names after the subject's own.
    pub labels: Vec<String>,
    /// Whether a low value is the bad one. Of two values of one series the worse is shown.
    #[serde(default)]
    pub low_is_bad: bool,
    pub help: String,
}

/// The one part of a snapshot of the agent.
pub const AGENT_PART: &str = "agent";

/// Every metric by its name.
#[derive(Debug)]
pub struct Catalogue(BTreeMap<String, MetricSpec>);

static CATALOGUE: LazyLock<Catalogue> = LazyLock::new(|| {
    let metrics = toml::from_str(include_str!("../../../../config/metrics.toml"));
    Catalogue(metrics.expect("config/metrics.toml is a valid catalogue"))
});

impl Catalogue {
    /// The catalogue that this build was made with.
    pub fn shipped() -> &'static Self {
        &CATALOGUE
    }

    pub fn spec(&self, metric: &str) -> Option<&MetricSpec> {
        self.0.get(metric)
    }

    /// The part that carries a metric in snapshots of subjects of this kind. None where no collector reads it.
    pub fn part_of(&self, metric: &str, kind: &SubjectKind) -> Option<&str> {
        match &self.spec(metric)?.part {
            None => (*kind == SubjectKind::Agent).then_some(AGENT_PART),
            Some(part) => kind.owns_metric(metric).then_some(part.as_str()),
        }
    }

    /// The worse of two values of one metric: the greater, which for a lag or an age is the worse, unless the catalogue says otherwise.
    pub fn worse(&self, metric: &str, one: f64, other: f64) -> f64 {
        if self.spec(metric).is_some_and(|spec| spec.low_is_bad) { one.min(other) } else { one.max(other) }
    }

    /// All metrics, in the order of their names.
    pub fn iter(&self) -> impl Iterator<Item = (&str, &MetricSpec)> {
        self.0.iter().map(|(name, spec)| (name.as_str(), spec))
    }

    pub fn is_counter(&self, metric: &str) -> bool {
        self.spec(metric).is_some_and(|spec| spec.kind == Kind::Counter)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn counters_end_in_total_and_gauges_do_not() {
        for (name, spec) in Catalogue::shipped().iter() {
            assert_eq!(spec.kind == Kind::Counter, name.ends_with("_total"), "{name}");
        }
    }

    #[test]
    fn a_metric_is_carried_by_one_part_of_one_kind_of_subject() {
        let part = |metric, kind: &str| Catalogue::shipped().part_of(metric, &kind.into());
        assert_eq!(part("pharos_redis_keys", "redis"), Some("info"));
        assert_eq!(part("pharos_redis_keys", "postgres"), None);
        assert_eq!(part("pharos_notifications_pending", "agent"), Some(AGENT_PART));
        assert_eq!(part("process_open_fds", "agent"), Some(AGENT_PART));
        assert_eq!(part("process_open_fds", "postgres"), None);
        assert_eq!(part("pharos_redis_up", "agent"), None);
        assert_eq!(part("pharos_rediss_up", "rediss"), None);
    }

    #[test]
    fn a_gauge_that_says_that_something_is_up_is_bad_when_it_is_low() {
        for (name, spec) in Catalogue::shipped().iter() {
            let is_fine_at_one = ["_up", "_ok", "_enabled", "_active", "_streaming"].iter().any(|end| name.ends_with(end));
            assert!(spec.part.is_none() || !is_fine_at_one || spec.low_is_bad, "{name}");
        }
    }

    #[test]
    fn help_is_a_sentence() {
        for (name, spec) in Catalogue::shipped().iter() {
            assert!(spec.help.ends_with('.'), "{name}: {}", spec.help);
        }
    }

    #[test]
    fn names_are_ours_or_the_process_metrics_that_every_prometheus_client_shares() {
        for (name, _) in Catalogue::shipped().iter() {
            assert!(name.starts_with("pharos_") || name.starts_with("process_"), "{name}");
        }
    }
}
