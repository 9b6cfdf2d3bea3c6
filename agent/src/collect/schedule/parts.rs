//! What is known of a server: a part per collector, with what is said where one changes.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Duration;

use pharos_model::snapshot::{FailureReason, Part, PartId, Reading, unite_twins};
use tracing::{info, warn};

use crate::clock::Clock;
use crate::collect::{CollectError, Facts};
use crate::dial::Trouble;
use crate::telemetry::metrics::SelfMetrics;

pub struct Parts {
    server: String,
    by_id: BTreeMap<PartId, Part>,
    failing: BTreeSet<PartId>,
    /// Those whose latest reading had a series twice.
    with_twins: BTreeSet<PartId>,
    /// How long a reading outlives its interval before it is stale.
    grace: Duration,
    clock: Clock,
    metrics: Arc<SelfMetrics>,
}

impl Parts {
    pub fn new(server: &str, grace: Duration, clock: Clock, metrics: Arc<SelfMetrics>) -> Self {
        Self {
            server: server.to_owned(),
            by_id: BTreeMap::new(),
            failing: BTreeSet::new(),
            with_twins: BTreeSet::new(),
            grace,
            clock,
            metrics,
        }
    }

    /// All of them, for a snapshot.
    pub fn all(&self) -> BTreeMap<String, Part> {
        self.by_id.iter().map(|(id, part)| (id.as_str().to_owned(), part.clone())).collect()
    }

    /// A collector read this and will again after this interval.
    pub fn read(&mut self, id: PartId, facts: Facts, interval: Duration) {
        let server = &self.server;
        if self.failing.remove(&id) {
            info!(server, collector = id.as_str(), "`{id}` of `{server}` works again");
        }
        self.metrics.set("pharos_collect_series_folded", &[server, id.as_str()], facts.folded as f64);
        self.mark(id, 1.0);
        self.metrics.forget("pharos_collect_failing", &[server, id.as_str()]);
        self.show(id, facts, interval);
    }

    /// A collector could not read.
    pub fn failed(&mut self, id: PartId, err: &CollectError) {
        let server = &self.server;
        if self.failing.insert(id) {
            warn!(server, collector = id.as_str(), reason = err.reason().as_str(), error = err.text(), "skipping `{id}` of `{server}`");
        }
        let part = match err {
            CollectError::Unsupported(missing) | CollectError::Privilege(missing) => Part::unsupported(missing.to_string()),
            _ => Part::failed(err.text()),
        };
        self.note_failure(id, err.reason());
        if let Some(trouble) = err.trouble() {
            self.count_trouble(trouble);
        }
        self.mark(id, 0.0);
        self.insert(id, part.cured_by(err.cure()).for_reason(err.reason()));
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
    pub fn unreachable(&mut self, id: PartId, reason: FailureReason, why: &str) {
        self.note_failure(id, reason);
        self.mark(id, 0.0);
        self.insert(id, Part::failed(format!("cannot reach the server: {why}")).for_reason(reason));
    }

    /// A part that no collector fills, and of which nothing is known now.
    pub fn unknown(&mut self, id: PartId, why: &str) {
        self.insert(id, Part::failed(why));
    }

    /// A part that no collector fills.
    pub fn show(&mut self, id: PartId, facts: Facts, interval: Duration) {
        let at = self.clock.monotonic();
        let Facts { epoch, mut families, tables, unlisted, urgent: _, folded: _, hidden: _ } = facts;
        self.report_twins(id, &unite_twins(&mut families));
        let fresh_until = at + interval * 2 + self.grace;
        self.insert(id, Part::present(Arc::new(Reading { at, fresh_until, epoch, families, tables, unlisted })));
    }

    /// Says so in the log where it began.
    fn report_twins(&mut self, id: PartId, twins: &[String]) {
        let server = &self.server;
        let Some(first) = twins.first() else {
            self.with_twins.remove(&id);
            return;
        };
        self.metrics.add("pharos_collect_series_united_total", &[server, id.as_str()], twins.len() as f64);
        if self.with_twins.insert(id) {
            warn!(server, collector = id.as_str(), series = first, "`{id}` of `{server}` has a series twice; the worse value is shown");
        }
    }

    pub fn count_failure(&self, id: PartId, reason: FailureReason) {
        self.metrics.add("pharos_collect_failures_total", &[&self.server, id.as_str(), reason.as_str()], 1.0);
    }

    /// The latest run failed, for this reason and no other.
    fn note_failure(&self, id: PartId, reason: FailureReason) {
        self.count_failure(id, reason);
        self.metrics.forget("pharos_collect_failing", &[&self.server, id.as_str()]);
        self.metrics.set("pharos_collect_failing", &[&self.server, id.as_str(), reason.as_str()], 1.0);
    }

    fn mark(&self, id: PartId, up: f64) {
        self.metrics.set("pharos_collect_up", &[&self.server, id.as_str()], up);
    }

    fn insert(&mut self, id: PartId, part: Part) {
        let part = part.after(self.by_id.get(&id));
        self.by_id.insert(id, part);
    }
}
