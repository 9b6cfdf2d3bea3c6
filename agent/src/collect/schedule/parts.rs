//! The parts of a server's snapshot, one per collector. A part that fails or works again is logged once.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Duration;

use pharos_model::snapshot::{FailureReason, Part, PartId, Reading, merge_repeated_series};
use tracing::{info, warn};

use crate::clock::Clock;
use crate::collect::collect_error::CollectError;
use crate::collect::collector::Facts;
use crate::dial::Trouble;
use crate::telemetry::metrics::SelfMetrics;

/// The latest state of each part, with the metrics about failures.
pub(super) struct Parts {
    server: String,
    by_id: BTreeMap<PartId, Part>,
    failing: BTreeSet<PartId>,
    /// Parts whose latest reading had the same series twice.
    with_twins: BTreeSet<PartId>,
    /// Time after its interval at which a reading becomes stale.
    grace: Duration,
    clock: Clock,
    metrics: Arc<SelfMetrics>,
}

impl Parts {
    pub(super) fn new(server: &str, grace: Duration, clock: Clock, metrics: Arc<SelfMetrics>) -> Self {
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

    /// Copies every part into a snapshot.
    pub(super) fn all(&self) -> BTreeMap<String, Part> {
        self.by_id.iter().map(|(id, part)| (id.as_str().to_owned(), part.clone())).collect()
    }

    /// Records the facts of a run; the next run comes after this interval.
    pub(super) fn record_facts(&mut self, id: PartId, facts: Facts, interval: Duration) {
        let server = &self.server;
        if self.failing.remove(&id) {
            info!(server, collector = id.as_str(), "`{id}` of `{server}` works again");
        }
        self.metrics.set("pharos_collect_series_folded", &[server, id.as_str()], facts.folded as f64);
        self.set_up(id, 1.0);
        self.metrics.remove("pharos_collect_failing", &[server, id.as_str()]);
        self.insert_facts(id, facts, interval);
    }

    /// Records why a run failed.
    pub(super) fn record_failure(&mut self, id: PartId, err: &CollectError) {
        let server = &self.server;
        if self.failing.insert(id) {
            warn!(server, collector = id.as_str(), reason = err.reason().as_str(), error = err.text(), "skipping `{id}` of `{server}`");
        }
        let part = match err {
            CollectError::Unsupported(missing) | CollectError::Privilege(missing) => Part::unsupported(missing.to_string()),
            _ => Part::failed(err.text()),
        };
        self.set_failing(id, err.reason());
        if let Some(trouble) = err.trouble() {
            self.count_trouble(trouble);
        }
        self.set_up(id, 0.0);
        self.insert(id, part.cured_by(err.cure()).for_reason(err.reason()));
    }

    /// Counts trouble on the side of the agent, because of which the server was not asked.
    pub(super) fn count_trouble(&self, trouble: Trouble) {
        let part = match trouble {
            Trouble::Server => return,
            Trouble::Machine => "collect",
            Trouble::Files => "files",
        };
        self.metrics.add("pharos_own_limit_total", &[part], 1.0);
    }

    /// Records that a part was not read, since there is no session.
    pub(super) fn record_unreachable(&mut self, id: PartId, reason: FailureReason, why: &str) {
        self.set_failing(id, reason);
        self.set_up(id, 0.0);
        self.insert(id, Part::failed(format!("cannot reach the server: {why}")).for_reason(reason));
    }

    /// Records a part that no collector fills as unknown.
    pub(super) fn record_unknown(&mut self, id: PartId, why: &str) {
        self.insert(id, Part::failed(why));
    }

    /// Records the facts of a part without its failure counts, since a part may have no collector.
    pub(super) fn insert_facts(&mut self, id: PartId, facts: Facts, interval: Duration) {
        let at = self.clock.monotonic();
        let Facts { epoch, mut families, tables, unlisted, urgent: _, folded: _, hidden: _ } = facts;
        self.report_twins(id, &merge_repeated_series(&mut families));
        let fresh_until = at + interval * 2 + self.grace;
        self.insert(id, Part::present(Arc::new(Reading { at, fresh_until, epoch, families, tables, unlisted })));
    }

    /// Logs that a part has the same series twice, once until it no longer has.
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

    pub(super) fn count_failure(&self, id: PartId, reason: FailureReason) {
        self.metrics.add("pharos_collect_failures_total", &[&self.server, id.as_str(), reason.as_str()], 1.0);
    }

    /// Counts a failed run, and shows its reason as the only one of the part.
    fn set_failing(&self, id: PartId, reason: FailureReason) {
        self.count_failure(id, reason);
        self.metrics.remove("pharos_collect_failing", &[&self.server, id.as_str()]);
        self.metrics.set("pharos_collect_failing", &[&self.server, id.as_str(), reason.as_str()], 1.0);
    }

    fn set_up(&self, id: PartId, up: f64) {
        self.metrics.set("pharos_collect_up", &[&self.server, id.as_str()], up);
    }

    fn insert(&mut self, id: PartId, part: Part) {
        let part = part.after(self.by_id.get(&id));
        self.by_id.insert(id, part);
    }
}
