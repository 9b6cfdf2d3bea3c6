//! What is known of a server: a part per collector, with what is said where one changes.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Duration;

use pharos_model::snapshot::{Part, Reading, unite_twins};
use tracing::{info, warn};

use crate::clock::Clock;
use crate::collect::{CollectError, Facts};
use crate::dial::Trouble;
use crate::telemetry::metrics::SelfMetrics;

pub struct Parts {
    server: String,
    by_name: BTreeMap<String, Part>,
    failing: BTreeSet<&'static str>,
    /// Those whose latest reading had a series twice.
    with_twins: BTreeSet<String>,
    /// How long a reading outlives its interval before it is stale.
    grace: Duration,
    clock: Clock,
    metrics: Arc<SelfMetrics>,
}

impl Parts {
    pub fn new(server: &str, grace: Duration, clock: Clock, metrics: Arc<SelfMetrics>) -> Self {
        Self {
            server: server.to_owned(),
            by_name: BTreeMap::new(),
            failing: BTreeSet::new(),
            with_twins: BTreeSet::new(),
            grace,
            clock,
            metrics,
        }
    }

    /// All of them, for a snapshot.
    pub fn all(&self) -> BTreeMap<String, Part> {
        self.by_name.clone()
    }

    /// A collector read this and will again after this interval.
    pub fn read(&mut self, collector: &'static str, facts: Facts, interval: Duration) {
        let server = &self.server;
        if self.failing.remove(collector) {
            info!(server, collector, "`{collector}` of `{server}` works again");
        }
        self.metrics.set("pharos_collect_series_folded", &[server, collector], facts.folded as f64);
        self.mark(collector, 1.0);
        self.metrics.forget("pharos_collect_failing", &[server, collector]);
        self.show(collector, facts, interval);
    }

    /// A collector could not read.
    pub fn failed(&mut self, collector: &'static str, err: &CollectError) {
        let server = &self.server;
        if self.failing.insert(collector) {
            warn!(server, collector, reason = err.reason(), error = err.text(), "skipping `{collector}` of `{server}`");
        }
        let part = match err {
            CollectError::Unsupported(missing) | CollectError::Privilege(missing) => Part::unsupported(missing.to_string()),
            _ => Part::failed(err.text()),
        };
        self.note_failure(collector, err.reason());
        if let Some(trouble) = err.trouble() {
            self.count_trouble(trouble);
        }
        self.mark(collector, 0.0);
        self.insert(collector, part.cured_by(err.cure()).for_reason(err.reason()));
    }

    /// Counts what kept the agent from asking, where that is not the server.
    pub fn count_trouble(&self, trouble: Trouble) {
        let part = match trouble {
            Trouble::OfServer => return,
            Trouble::OfMachine => "collect",
            Trouble::OfFiles => "files",
        };
        self.metrics.add("pharos_own_limit_total", &[part], 1.0);
    }

    /// Nobody could ask, for want of a session.
    pub fn unreachable(&mut self, collector: &str, reason: &str, why: &str) {
        self.note_failure(collector, reason);
        self.mark(collector, 0.0);
        self.insert(collector, Part::failed(format!("cannot reach the server: {why}")).for_reason(reason));
    }

    /// A part that no collector fills, and of which nothing is known now.
    pub fn unknown(&mut self, name: &str, why: &str) {
        self.insert(name, Part::failed(why));
    }

    /// A part that no collector fills.
    pub fn show(&mut self, name: &str, facts: Facts, interval: Duration) {
        let at = self.clock.monotonic();
        let Facts { epoch, mut families, tables, unlisted, urgent: _, folded: _, hidden: _ } = facts;
        self.report_twins(name, &unite_twins(&mut families));
        let fresh_until = at + interval * 2 + self.grace;
        self.insert(name, Part::present(Arc::new(Reading { at, fresh_until, epoch, families, tables, unlisted })));
    }

    /// Says so in the log where it began.
    fn report_twins(&mut self, name: &str, twins: &[String]) {
        let server = &self.server;
        let Some(first) = twins.first() else {
            self.with_twins.remove(name);
            return;
        };
        self.metrics.add("pharos_collect_series_united_total", &[server, name], twins.len() as f64);
        if self.with_twins.insert(name.to_owned()) {
            warn!(server, collector = name, series = first, "`{name}` of `{server}` has a series twice; the worse value is shown");
        }
    }

    pub fn count_failure(&self, collector: &str, reason: &str) {
        self.metrics.add("pharos_collect_failures_total", &[&self.server, collector, reason], 1.0);
    }

    /// The latest run failed, for this reason and no other.
    fn note_failure(&self, collector: &str, reason: &str) {
        self.count_failure(collector, reason);
        self.metrics.forget("pharos_collect_failing", &[&self.server, collector]);
        self.metrics.set("pharos_collect_failing", &[&self.server, collector, reason], 1.0);
    }

    fn mark(&self, collector: &str, up: f64) {
        self.metrics.set("pharos_collect_up", &[&self.server, collector], up);
    }

    fn insert(&mut self, name: &str, part: Part) {
        let part = part.after(self.by_name.get(name));
        self.by_name.insert(name.to_owned(), part);
    }
}
