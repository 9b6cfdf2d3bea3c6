//! The costs of a server's collectors, and the intervals that the budget allows for them.

use std::sync::Arc;
use std::time::Duration;

use parking_lot::{Mutex, MutexGuard};
use pharos_model::budget::{Budget, Charge, Cost};
use pharos_model::snapshot::PartId;
use tokio::time::Instant;
use tracing::{info, warn};

use crate::board::CostAccount;
use crate::telemetry::metrics::SelfMetrics;

/// Longest interval that the budget leads to, however expensive the collector is.
const STRETCHED_MAX: Duration = Duration::from_hours(1);

/// The cost of one run of a collector.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Expense {
    pub part: PartId,
    /// Whether the budget hardly slows the collector.
    pub is_essential: bool,
    pub cost: Cost,
    /// The interval that the collector would have without a budget.
    pub interval: Duration,
}

/// The costs of one server's collectors, which all of them share.
#[derive(Clone)]
pub(crate) struct Spending {
    server: String,
    budget: Arc<Mutex<Budget>>,
    began_at: Instant,
    metrics: Arc<SelfMetrics>,
    /// The costs for the board. The metrics show the same numbers.
    account: CostAccount,
}

impl Spending {
    /// Opens the account of a server. `ratio` is the share of one core that monitoring may cost it.
    pub(crate) fn new(server: &str, ratio: f64, metrics: Arc<SelfMetrics>) -> Self {
        metrics.set("pharos_collect_budget_ratio", &[server], ratio);
        Self {
            server: server.to_owned(),
            budget: Arc::new(Mutex::new(Budget::new(ratio))),
            began_at: Instant::now(),
            metrics,
            account: CostAccount::default(),
        }
    }

    /// Charges one run of a collector, with all samples since the run before.
    pub(crate) fn charge(&self, expense: Expense) {
        let Expense { part, is_essential, cost, interval } = expense;
        let collector = part.as_str();
        // The cost of Redis is not measured: its only collector sends one command.
        if cost.statements == 0 {
            return;
        }
        let labels = [self.server.as_str(), collector];
        self.metrics.add("pharos_collect_cost_seconds_total", &labels, cost.seconds);
        self.metrics.add("pharos_collect_cost_statements_total", &labels, cost.statements as f64);
        self.metrics.add("pharos_collect_cost_rows_total", &labels, cost.rows as f64);
        let mut budget = self.budget();
        for (name, slowed) in budget.charge(Charge { collector, is_essential, seconds: cost.seconds, interval }, self.began_at.elapsed()) {
            self.report(&budget, name, slowed);
        }
        self.metrics.set("pharos_collect_cost_ratio", &[&self.server], budget.used());
        self.account.update(|costs| {
            (costs.ratio, costs.budget_ratio) = (budget.used(), budget.ratio());
            let of_collector = costs.collectors.entry(collector.to_owned()).or_default();
            of_collector.seconds += cost.seconds;
            of_collector.statements += cost.statements as f64;
            of_collector.rows += cost.rows as f64;
        });
        self.show_interval(&budget, collector, interval);
    }

    /// Returns the interval of a collector, which is longer than the configured one while all collectors together cost too much.
    pub(crate) fn interval(&self, part: PartId, configured: Duration) -> Duration {
        stretched(&self.budget(), part.as_str(), configured)
    }

    /// Records the totals that the server itself counted for a collector's statements.
    pub(crate) fn record_server_cost(&self, collector: &str, seconds: f64, blocks: f64, temp_bytes: f64) {
        self.budget().record_counter(collector, seconds, self.began_at.elapsed());
        let labels = [self.server.as_str(), collector];
        self.metrics.set("pharos_collect_cost_execution_seconds_total", &labels, seconds);
        self.metrics.set("pharos_collect_cost_blocks_total", &labels, blocks);
        self.metrics.set("pharos_collect_cost_temp_bytes_total", &labels, temp_bytes);
        let budget_ratio = self.budget().ratio();
        self.account.update(|costs| {
            costs.budget_ratio = budget_ratio;
            let of_collector = costs.collectors.entry(collector.to_owned()).or_default();
            (of_collector.execution_seconds, of_collector.blocks, of_collector.temp_bytes) =
                (Some(seconds), Some(blocks), Some(temp_bytes));
        });
    }

    fn report(&self, budget: &Budget, collector: &str, slowed: bool) {
        let (server, factor, percent) = (&self.server, budget.factor(collector), budget.ratio() * 100.0);
        if slowed {
            warn!(
                server,
                collector,
                factor,
                "`{collector}` of `{server}` runs {factor:.1} times less often: together our statements would cost more than {percent} % of \
                 one core (collect.budget)"
            );
        } else {
            info!(server, collector, "`{collector}` of `{server}` runs as often as configured again");
        }
        // The collector may not run again soon, so its interval is shown at once.
        if let Some(configured) = budget.configured(collector) {
            self.show_interval(budget, collector, configured);
        }
    }

    /// Shows the interval of a collector, and whether the budget made it longer.
    fn show_interval(&self, budget: &Budget, collector: &str, configured: Duration) {
        let (labels, is_slowed) = ([self.server.as_str(), collector], budget.is_slowed(collector));
        let seconds = stretched(budget, collector, configured).as_secs_f64();
        self.metrics.set("pharos_collect_slowed", &labels, f64::from(u8::from(is_slowed)));
        self.metrics.set("pharos_collect_interval_seconds", &labels, seconds);
        self.account.update(|costs| {
            let of_collector = costs.collectors.entry(collector.to_owned()).or_default();
            (of_collector.slowed, of_collector.interval_seconds) = (is_slowed, seconds);
        });
    }

    /// Returns the costs of the server for the board.
    pub(crate) fn account(&self) -> CostAccount {
        self.account.clone()
    }

    fn budget(&self) -> MutexGuard<'_, Budget> {
        self.budget.lock()
    }
}

fn stretched(budget: &Budget, collector: &str, configured: Duration) -> Duration {
    configured.mul_f64(budget.factor(collector)).min(STRETCHED_MAX.max(configured))
}
