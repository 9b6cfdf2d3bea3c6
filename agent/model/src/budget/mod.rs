//! The cost limit of the agent on one server, and which collectors slow down beyond it.
//!
//! The cost of a run comes from the server's own counters of the collector's statements (`pg_stat_statements`), where they exist. The
//! agent's clock is worse: a busy machine answers late without working more. Without counters, the median of the latest runs by the
//! agent's clock counts, so that one slow moment slows no collector down.
//!
//! Each collector's share of one core is its cost per run divided by its interval. While the sum of the shares is within the budget, no
//! collector slows down. Beyond it, shares are cut to one height so that their sum is the budget (water filling). Expensive collectors run
//! less often, and cheap ones are unchanged. Collectors that show trouble first are essential. Even on a server that is slow in everything
//! they run at least half as often, at any cost.

mod account;
mod costs;
mod meter;

use std::collections::BTreeMap;
use std::time::Duration;

use self::account::Account;
pub use self::costs::{CollectorCosts, ServerCosts};
pub use self::meter::{Cost, Meter};

/// Largest factor by which a collector's interval is extended.
const FACTOR_MAX: f64 = 60.0;
/// Largest factor for an essential collector: half as often is the least that still shows trouble in time.
const ESSENTIAL_FACTOR_MAX: f64 = 2.0;
/// Smallest part of the whole budget that is left for collectors that are not essential.
const OTHERS_MIN: f64 = 0.1;

/// The collectors of one server and their cost.
#[derive(Debug)]
pub struct Budget {
    /// Limit, as a share of one core.
    ratio: f64,
    accounts: BTreeMap<&'static str, Account>,
    now: Duration,
}

/// Run of a collector, with its cost.
#[derive(Debug, Clone, Copy)]
pub struct Charge {
    /// Name of the collector.
    pub collector: &'static str,
    /// True if the collector shows trouble first, so that it is hardly slowed.
    pub is_essential: bool,
    /// Seconds of the server's work, on the agent's clock.
    pub seconds: f64,
    /// Interval without a budget.
    pub interval: Duration,
}

impl Budget {
    /// Creates a budget with this share of one core.
    pub fn new(ratio: f64) -> Self {
        Self { ratio, accounts: BTreeMap::new(), now: Duration::ZERO }
    }

    /// Limit, as a share of one core.
    pub fn ratio(&self) -> f64 {
        self.ratio
    }

    /// Charges one run of a collector; `now` never falls. Returns each collector that began or ceased to be slowed, with true for slowed.
    pub fn charge(&mut self, charge: Charge, now: Duration) -> Vec<(&'static str, bool)> {
        self.now = self.now.max(now);
        let Charge { collector, is_essential, seconds, interval } = charge;
        let account = self.accounts.entry(collector).or_insert_with(|| Account::new(interval, is_essential));
        account.record_run(seconds.max(0.0), interval, self.now);
        let heights = self.heights();
        let mut changed = Vec::new();
        for (name, account) in &mut self.accounts {
            let factor = heights.factor(account.share(self.now), account.is_essential);
            changed.extend(account.judge(factor, self.now).map(|slowed| (*name, slowed)));
        }
        changed
    }

    /// Records the server's counter, in seconds, for a collector's statements. Ignored before the collector's first run.
    pub fn record_counter(&mut self, collector: &str, total_seconds: f64, now: Duration) {
        self.now = self.now.max(now);
        if let Some(account) = self.accounts.get_mut(collector) {
            account.record_counter(total_seconds, self.now);
        }
    }

    /// Factor by which this collector's interval is extended now; 1 within the budget.
    pub fn factor(&self, collector: &str) -> f64 {
        self.accounts.get(collector).map_or(1.0, |account| self.heights().factor(account.share(self.now), account.is_essential))
    }

    /// Configured interval of a collector; `None` before its first run.
    pub fn configured(&self, collector: &str) -> Option<Duration> {
        self.accounts.get(collector).map(Account::interval)
    }

    /// Returns true while the collector is reported as slowed.
    pub fn is_slowed(&self, collector: &str) -> bool {
        self.accounts.get(collector).is_some_and(|account| account.slowed)
    }

    /// Share of one core that all collectors take at their present intervals.
    pub fn used(&self) -> f64 {
        let heights = self.heights();
        let share = |account: &Account| {
            let share = account.share(self.now);
            share / heights.factor(share, account.is_essential)
        };
        self.accounts.values().map(share).sum()
    }

    fn heights(&self) -> Heights {
        let shares = |essential: Option<bool>| -> Vec<f64> {
            let wanted = |account: &&Account| essential.is_none_or(|wanted| account.is_essential == wanted);
            self.accounts.values().filter(wanted).map(|account| account.share(self.now)).collect()
        };
        let mut heights = Heights { essential: height(shares(None), self.ratio), others: f64::INFINITY };
        let taken: f64 = shares(Some(true)).into_iter().map(|share| share / heights.factor(share, true)).sum();
        heights.others = height(shares(Some(false)), (self.ratio - taken).max(self.ratio * OTHERS_MIN));
        heights
    }
}

/// Largest shares that a collector may have.
struct Heights {
    essential: f64,
    others: f64,
}

impl Heights {
    fn factor(&self, share: f64, essential: bool) -> f64 {
        if essential { (share / self.essential).clamp(1.0, ESSENTIAL_FACTOR_MAX) } else { (share / self.others).clamp(1.0, FACTOR_MAX) }
    }
}

/// Largest share with which the sum of all shares stays within the ratio; infinite if the sum is within it anyway.
fn height(mut shares: Vec<f64>, ratio: f64) -> f64 {
    if shares.iter().sum::<f64>() <= ratio {
        return f64::INFINITY;
    }
    shares.sort_by(f64::total_cmp);
    let mut left = ratio;
    for (index, share) in shares.iter().enumerate() {
        let each = left / (shares.len() - index) as f64;
        if *share > each {
            return each;
        }
        left -= share;
    }
    f64::INFINITY
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const TEN_SECONDS: Duration = Duration::from_secs(10);

    /// A run of a collector, of which `locks` alone is essential.
    fn charge(collector: &'static str, seconds: f64, interval: Duration) -> Charge {
        Charge { collector, is_essential: collector == "locks", seconds, interval }
    }

    /// Charges enough runs for the median to be the cost of a run.
    fn charged(ratio: f64, costs: &[(&'static str, f64, Duration)]) -> Budget {
        let mut budget = Budget::new(ratio);
        for _ in 0..50 {
            for (name, seconds, interval) in costs {
                budget.charge(charge(name, *seconds, *interval), Duration::from_mins(1));
            }
        }
        budget
    }

    #[test]
    fn no_collector_is_slowed_within_the_budget() {
        let budget = charged(0.005, &[("server", 0.001, TEN_SECONDS), ("tables", 0.040, TEN_SECONDS)]);
        assert_eq!(budget.factor("tables"), 1.0);
        assert!(!budget.is_slowed("tables"));
        assert!((budget.used() - 0.0041).abs() < 1e-9);
    }

    #[test]
    fn expensive_collectors_are_slowed_and_cheap_ones_are_not() {
        let budget = charged(0.005, &[("server", 0.001, TEN_SECONDS), ("tables", 0.490, TEN_SECONDS)]);
        assert_eq!(budget.factor("server"), 1.0);
        assert!((budget.factor("tables") - 10.0).abs() < 1e-9, "0.049 of a core has 0.0049 left");
        assert!(budget.is_slowed("tables") && !budget.is_slowed("server"));
    }

    #[test]
    fn essential_collectors_still_run_on_a_server_that_is_slow_in_everything() {
        let budget = charged(0.005, &[("locks", 0.2, TEN_SECONDS), ("settings", 0.2, TEN_SECONDS), ("tables", 0.4, TEN_SECONDS)]);
        assert_eq!(budget.factor("locks"), ESSENTIAL_FACTOR_MAX);
        assert_eq!(budget.factor("tables"), FACTOR_MAX);
    }

    /// Charges one collector every ten seconds; returns the reports with their times.
    fn reports(budget: &mut Budget, at: &mut Duration, costs: impl IntoIterator<Item = f64>) -> Vec<(u64, bool)> {
        let run = |seconds| {
            *at += TEN_SECONDS;
            let changed = budget.charge(charge("tables", seconds, TEN_SECONDS), *at);
            changed.into_iter().map(|(_, slowed)| (at.as_secs(), slowed)).collect::<Vec<_>>()
        };
        costs.into_iter().flat_map(run).collect()
    }

    #[test]
    fn slowing_down_and_its_end_are_reported_once() {
        let (mut budget, mut at) = (Budget::new(0.005), Duration::ZERO);
        assert_eq!(reports(&mut budget, &mut at, [9.0]), [], "the first run is not measured");
        assert_eq!(reports(&mut budget, &mut at, [0.5; 10]), [(40, true)], "two runs after the first half minute");
        assert_eq!(
            reports(&mut budget, &mut at, [0.001; 60]),
            [(440, false)],
            "three runs until the median falls, five minutes until the report"
        );
    }

    #[test]
    fn a_slow_start_slows_no_collector_down() {
        let (mut budget, mut at) = (Budget::new(0.005), Duration::ZERO);
        for seconds in [9.0, 0.5, 0.5, 0.001, 0.001, 0.001] {
            assert_eq!(reports(&mut budget, &mut at, [seconds]), []);
            assert_eq!(budget.factor("tables"), 1.0, "{at:?}");
        }
    }

    #[test]
    fn a_cost_that_comes_and_goes_is_reported_once() {
        let (mut budget, mut at) = (Budget::new(0.005), Duration::ZERO);
        let costs = (0..400).map(|run| if run / 10 % 2 == 0 { 0.5 } else { 0.001 });
        assert_eq!(reports(&mut budget, &mut at, costs), [(40, true)]);
    }

    #[test]
    fn a_slow_moment_slows_no_collector_down() {
        let (mut budget, mut at) = (Budget::new(0.005), Duration::ZERO);
        let costs = (0..100).map(|run| if run % 5 < 2 { 3.0 } else { 0.001 });
        assert_eq!(reports(&mut budget, &mut at, [0.001; 5]), []);
        assert_eq!(reports(&mut budget, &mut at, costs), []);
        assert_eq!(budget.factor("tables"), 1.0);
    }

    #[test]
    fn the_servers_counters_count_more_than_the_clock_of_a_busy_machine() {
        let (mut budget, mut at) = (Budget::new(0.005), Duration::ZERO);
        reports(&mut budget, &mut at, [0.001]);
        budget.record_counter("tables", 70.0, at);
        for run in 1..10_u32 {
            reports(&mut budget, &mut at, [0.001, 0.001]);
            budget.record_counter("tables", 70.0 + 0.004 * f64::from(run), at);
        }
        assert_eq!(
            reports(&mut budget, &mut at, [2.0; 20]),
            [],
            "each run is 2 ms by the counter, however long the agent's clock measures"
        );
        budget.record_counter("tables", 70.0 + 0.036 + 20.0 * 0.5, at);
        assert_eq!(reports(&mut budget, &mut at, [0.001]), [(400, true)], "half a second when the counter says so");
        assert!(budget.factor("tables") > 9.0);
    }

    #[test]
    fn a_counter_that_is_reset_or_stops_adds_no_cost() {
        let (mut budget, mut at) = (Budget::new(0.005), Duration::ZERO);
        reports(&mut budget, &mut at, [0.001; 5]);
        budget.record_counter("tables", 70.0, at);
        reports(&mut budget, &mut at, [0.001; 5]);
        budget.record_counter("tables", 0.1, at);
        assert_eq!(budget.factor("tables"), 1.0, "the counter was reset");
        reports(&mut budget, &mut at, [0.001; 5]);
        budget.record_counter("tables", 0.11, at);
        assert!((budget.used() - 0.0002).abs() < 1e-9, "{}", budget.used());
        // The server does not count any more. After half an hour the agent's clock is used again.
        reports(&mut budget, &mut at, [0.5; 190]);
        assert!(budget.factor("tables") > 9.0);
    }

    #[test]
    fn a_counter_that_stops_while_the_collector_runs_does_not_mean_a_cost_of_zero() {
        let (mut budget, mut at) = (Budget::new(0.005), Duration::ZERO);
        reports(&mut budget, &mut at, [0.5]);
        let mut changed = Vec::new();
        for _ in 0..5 {
            budget.record_counter("tables", 70.0, at);
            changed.extend(reports(&mut budget, &mut at, [0.5, 0.5]));
        }
        assert_eq!(changed, [(40, true)], "half a second by the agent's clock");
        assert!(budget.factor("tables") > 9.0);
        budget.record_counter("tables", 70.004, at);
        assert_eq!(budget.factor("tables"), 1.0, "it counts again: 2 ms each");
        reports(&mut budget, &mut at, [0.5, 0.5]);
        budget.record_counter("tables", 70.004, at);
        assert!(budget.factor("tables") > 9.0, "and stopped once more");
    }

    #[test]
    fn a_collector_without_a_charge_runs_as_configured() {
        assert_eq!(Budget::new(0.005).factor("tables"), 1.0);
    }

    #[test]
    fn the_factor_of_a_collector_has_a_limit() {
        let budget = charged(0.001, &[("tables", 1e6, Duration::from_mins(1))]);
        assert_eq!(budget.factor("tables"), FACTOR_MAX);
    }

    proptest! {
        #[test]
        fn all_collectors_together_stay_within_the_budget_and_in_the_order_of_shares(costs in prop::collection::vec(0.0..0.2f64, 1..8)) {
            const NAMES: [&str; 8] = ["a", "b", "c", "d", "e", "f", "g", "h"];
            let costs: Vec<_> = NAMES.into_iter().zip(costs).map(|(name, cost)| (name, cost, TEN_SECONDS)).collect();
            let budget = charged(0.01, &costs);
            let within = costs.iter().all(|(name, ..)| budget.factor(name) == 1.0);
            if within {
                prop_assert!(budget.used() <= 0.01 + 1e-9);
            } else {
                prop_assert!((budget.used() - 0.01).abs() < 1e-6, "all of it is used: {}", budget.used());
            }
            for (a, cost_a, _) in &costs {
                for (b, cost_b, _) in &costs {
                    prop_assert!(cost_a > cost_b || budget.factor(a) <= budget.factor(b) + 1e-9);
                }
            }
        }
    }
}
