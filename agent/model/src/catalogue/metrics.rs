//! The metric catalogue: `config/metrics.toml`, read once.
//!
//! A metric that is not in the catalogue cannot be collected; `tests/tidy.rs` compares it with the code both ways.

use std::collections::BTreeMap;
use std::sync::LazyLock;

use serde::Deserialize;

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
    /// The snapshot's part that carries the metric; none for metrics of the agent itself, which its own snapshot carries in [`AGENT`].
    pub part: Option<String>,
    /// Label names after the subject's own.
    pub labels: Vec<String>,
    /// Whether a low value is the bad one. Of two values of one series the worse is shown.
    #[serde(default)]
    pub low_is_bad: bool,
    pub help: String,
}

/// The kind of the subject that the agent itself is, and the part of its snapshots.
pub const AGENT: &str = "agent";

/// The kind of the subject that a `[[database]]` is, with its servers as members.
pub const DATABASE: &str = "database";

/// Kinds of subjects that are observed.
pub const KINDS: [&str; 4] = [AGENT, DATABASE, "postgres", "redis"];

/// Tables that snapshots may carry, each with the kind of its subject. `tests/tidy.rs` compares the names with the code.
pub const TABLES: &[(&str, &str)] = &[
    (AGENT, "damaged_stores"),
    (AGENT, "failing_collectors"),
    (AGENT, "hidden_facts"),
    (AGENT, "parts"),
    (AGENT, "plugins"),
    (AGENT, "receivers"),
    (DATABASE, "members"),
    (DATABASE, "unjudged_indexes"),
    (DATABASE, "unused_indexes"),
    ("postgres", "activity_waits"),
    ("postgres", "archiver"),
    ("postgres", "autovacuum_workers"),
    ("postgres", "extensions"),
    ("postgres", "hidden_facts"),
    ("postgres", "horizon"),
    ("postgres", "identity"),
    ("postgres", "restarts"),
    ("postgres", "last_role"),
    ("postgres", "lost_counters"),
    ("postgres", "index_facts"),
    ("postgres", "indexes"),
    ("postgres", "lock_waits"),
    ("postgres", "locked_relations"),
    ("postgres", "oldest_relations"),
    ("postgres", "own_statements"),
    ("postgres", "own_role"),
    ("postgres", "progress"),
    ("postgres", "receiver"),
    ("postgres", "refusal"),
    ("postgres", "schema_facts"),
    ("postgres", "sequences"),
    ("postgres", "sessions"),
    ("postgres", "setting_changes"),
    ("postgres", "settings"),
    ("postgres", "slots"),
    ("postgres", "standbys"),
    ("postgres", "statements"),
    ("postgres", "subscriptions"),
    ("postgres", "tables"),
    ("postgres", "tls_sessions"),
    ("postgres", "unjudged_indexes"),
    ("postgres", "unjudged_sequences"),
    ("postgres", "unjudged_tables"),
    ("postgres", "visits"),
    ("redis", "numbers_left_out"),
    ("redis", "restarts"),
    ("redis", "unreachable"),
];

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

    /// The part that carries a metric in snapshots of subjects of this kind; none where nobody collects it.
    pub fn part_of(&self, metric: &str, kind: &str) -> Option<&str> {
        match &self.spec(metric)?.part {
            None => (kind == AGENT).then_some(AGENT),
            Some(part) => {
                let engine = metric.strip_prefix("pharos_")?.split('_').next()?;
                (engine == kind).then_some(part.as_str())
            }
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
        let part = |metric, kind| Catalogue::shipped().part_of(metric, kind);
        assert_eq!(part("pharos_redis_keys", "redis"), Some("info"));
        assert_eq!(part("pharos_redis_keys", "postgres"), None);
        assert_eq!(part("pharos_notifications_pending", AGENT), Some(AGENT));
        assert_eq!(part("process_open_fds", AGENT), Some(AGENT));
        assert_eq!(part("process_open_fds", "postgres"), None);
        assert_eq!(part("pharos_redis_up", AGENT), None);
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
