//! What the agent may cost a server, and who must slow down when it costs more.
//!
//! Each collector's share of one core is its mean cost per run over its interval. While all shares together are within the budget nobody
//! waits. Past it, shares are cut to one height so that their sum is the budget (water filling): the expensive ones run less often, and
//! the cheap ones never notice. Those that tell of trouble first are essential: on a server that is slow in all it does they run half as
//! often at least, whatever that costs.

use std::collections::BTreeMap;
use std::time::Duration;

/// Weight of the latest run in the mean cost of a run.
const LATEST_WEIGHT: f64 = 0.3;
/// From this factor on a collector is said to be slowed, until it is below the other: so that nobody reads of chance.
const SLOWED_FROM: f64 = 1.25;
const SLOWED_UNTIL: f64 = 1.05;
/// However expensive, a collector runs this many times less often at most, and an essential one this many.
const FACTOR_MAX: f64 = 60.0;
const ESSENTIAL_FACTOR_MAX: f64 = 2.0;
/// What is left for the others at least, of the whole budget.
const OTHERS_MIN: f64 = 0.1;

/// What statements cost the server that answered them.
#[derive(Debug, Clone, Copy, Default, PartialEq)]
pub struct Cost {
    /// Time it worked for us.
    pub seconds: f64,
    pub statements: u64,
    pub rows: u64,
}

impl std::ops::AddAssign for Cost {
    fn add_assign(&mut self, more: Self) {
        self.seconds += more.seconds;
        self.statements += more.statements;
        self.rows += more.rows;
    }
}

/// Measures from outside what statements cost. The time on the way there and back is not the server's: the shortest round trip seen
/// stands for it.
#[derive(Debug)]
pub struct Meter {
    cost: Cost,
    shortest: Duration,
}

impl Meter {
    /// `shortest` is the round trip of a statement that is next to no work.
    pub fn new(shortest: Duration) -> Self {
        Self { cost: Cost::default(), shortest }
    }

    pub fn add(&mut self, took: Duration, rows: usize) {
        self.shortest = self.shortest.min(took);
        let worked = took.saturating_sub(self.shortest);
        self.cost += Cost { seconds: worked.as_secs_f64(), statements: 1, rows: rows as u64 };
    }

    /// A statement that only waited.
    pub fn count(&mut self) {
        self.cost.statements += 1;
    }

    /// What was added since this was called last.
    pub fn take(&mut self) -> Cost {
        std::mem::take(&mut self.cost)
    }
}

/// The collectors of one server and what they cost it.
#[derive(Debug)]
pub struct Budget {
    /// Share of one core.
    ratio: f64,
    essential: &'static [&'static str],
    accounts: BTreeMap<&'static str, Account>,
}

#[derive(Debug)]
struct Account {
    /// Mean over the latest runs but the very first one: a session that is new to the server reads its catalogue once, at many times
    /// the cost of every run after it.
    seconds_per_run: Option<f64>,
    interval: Duration,
    slowed: bool,
}

impl Account {
    fn share(&self) -> f64 {
        self.seconds_per_run.unwrap_or(0.0) / self.interval.as_secs_f64().max(f64::MIN_POSITIVE)
    }
}

impl Budget {
    /// A budget of this share of one core. The essential collectors are hardly slowed.
    pub fn new(ratio: f64, essential: &'static [&'static str]) -> Self {
        Self { ratio, essential, accounts: BTreeMap::new() }
    }

    pub fn ratio(&self) -> f64 {
        self.ratio
    }

    /// One run of a collector cost this much; `interval` is what it would have without a budget. Says whether it is slowed, if that
    /// changed for any collector.
    pub fn charge(&mut self, collector: &'static str, seconds: f64, interval: Duration) -> Vec<(&'static str, bool)> {
        let seconds = seconds.max(0.0);
        let Some(account) = self.accounts.get_mut(collector) else {
            self.accounts.insert(collector, Account { seconds_per_run: None, interval, slowed: false });
            return Vec::new();
        };
        account.interval = interval;
        let mean = account.seconds_per_run.unwrap_or(seconds);
        account.seconds_per_run = Some(mean + LATEST_WEIGHT * (seconds - mean));
        let heights = self.heights();
        let mut changed = Vec::new();
        for (name, account) in &mut self.accounts {
            let factor = heights.factor(account.share(), self.essential.contains(name));
            let slowed = if account.slowed { factor > SLOWED_UNTIL } else { factor >= SLOWED_FROM };
            if std::mem::replace(&mut account.slowed, slowed) != slowed {
                changed.push((*name, slowed));
            }
        }
        changed
    }

    /// How many times longer this collector's interval is for now: 1 while all is within the budget.
    pub fn factor(&self, collector: &str) -> f64 {
        let essential = self.essential.contains(&collector);
        self.accounts.get(collector).map_or(1.0, |account| self.heights().factor(account.share(), essential))
    }

    pub fn is_slowed(&self, collector: &str) -> bool {
        self.accounts.get(collector).is_some_and(|account| account.slowed)
    }

    /// Share of one core that all collectors take at the intervals in force.
    pub fn used(&self) -> f64 {
        let heights = self.heights();
        let share =
            |(name, account): (&&'static str, &Account)| account.share() / heights.factor(account.share(), self.essential.contains(name));
        self.accounts.iter().map(share).sum()
    }

    fn heights(&self) -> Heights {
        let shares = |essential: Option<bool>| -> Vec<f64> {
            let wanted = |name: &&'static str| essential.is_none_or(|wanted| self.essential.contains(name) == wanted);
            self.accounts.iter().filter(|(name, _)| wanted(name)).map(|(_, account)| account.share()).collect()
        };
        let mut heights = Heights { essential: height(shares(None), self.ratio), others: f64::INFINITY };
        let taken: f64 = shares(Some(true)).into_iter().map(|share| share / heights.factor(share, true)).sum();
        heights.others = height(shares(Some(false)), (self.ratio - taken).max(self.ratio * OTHERS_MIN));
        heights
    }
}

/// The shares that nobody may exceed.
struct Heights {
    essential: f64,
    others: f64,
}

impl Heights {
    fn factor(&self, share: f64, essential: bool) -> f64 {
        if essential { (share / self.essential).clamp(1.0, ESSENTIAL_FACTOR_MAX) } else { (share / self.others).clamp(1.0, FACTOR_MAX) }
    }
}

/// The share that nobody may exceed, so that all together keep to the ratio; infinite while they do.
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

    /// Enough runs for the mean to be what each run costs.
    fn charged(ratio: f64, costs: &[(&'static str, f64, Duration)]) -> Budget {
        let mut budget = Budget::new(ratio, &["locks"]);
        for _ in 0..50 {
            for (name, seconds, interval) in costs {
                budget.charge(name, *seconds, *interval);
            }
        }
        budget
    }

    #[test]
    fn nobody_waits_within_the_budget() {
        let budget = charged(0.005, &[("server", 0.001, TEN_SECONDS), ("tables", 0.040, TEN_SECONDS)]);
        assert_eq!(budget.factor("tables"), 1.0);
        assert!(!budget.is_slowed("tables"));
        assert!((budget.used() - 0.0041).abs() < 1e-9);
    }

    #[test]
    fn the_expensive_wait_and_the_cheap_never_notice() {
        let budget = charged(0.005, &[("server", 0.001, TEN_SECONDS), ("tables", 0.490, TEN_SECONDS)]);
        assert_eq!(budget.factor("server"), 1.0);
        assert!((budget.factor("tables") - 10.0).abs() < 1e-9, "0.049 of a core has 0.0049 left");
        assert!(budget.is_slowed("tables") && !budget.is_slowed("server"));
    }

    #[test]
    fn on_a_server_that_is_slow_in_all_it_does_the_essential_still_run() {
        let budget = charged(0.005, &[("locks", 0.2, TEN_SECONDS), ("settings", 0.2, TEN_SECONDS), ("tables", 0.4, TEN_SECONDS)]);
        assert_eq!(budget.factor("locks"), ESSENTIAL_FACTOR_MAX);
        assert_eq!(budget.factor("tables"), FACTOR_MAX);
    }

    #[test]
    fn slowing_down_and_its_end_are_said_once() {
        let mut budget = Budget::new(0.005, &[]);
        assert_eq!(budget.charge("tables", 9.0, TEN_SECONDS), [], "the first run says nothing");
        assert_eq!(budget.charge("tables", 0.5, TEN_SECONDS), [("tables", true)]);
        assert_eq!(budget.charge("tables", 0.5, TEN_SECONDS), []);
        let said: Vec<_> = (0..20).flat_map(|_| budget.charge("tables", 0.001, TEN_SECONDS)).collect();
        assert_eq!(said, [("tables", false)]);
    }

    #[test]
    fn the_way_to_the_server_is_not_the_servers_work() {
        let mut meter = Meter::new(Duration::from_millis(20));
        meter.add(Duration::from_millis(25), 3);
        meter.add(Duration::from_millis(10), 1);
        meter.add(Duration::from_millis(11), 1);
        let cost = meter.take();
        assert_eq!((cost.statements, cost.rows), (3, 5));
        assert!((cost.seconds - 0.006).abs() < 1e-9, "{cost:?}");
    }

    #[test]
    fn whoever_is_not_charged_yet_runs_as_configured() {
        assert_eq!(Budget::new(0.005, &[]).factor("tables"), 1.0);
    }

    #[test]
    fn one_collector_waits_an_hour_rather_than_for_ever() {
        let budget = charged(0.001, &[("tables", 1e6, Duration::from_mins(1))]);
        assert_eq!(budget.factor("tables"), FACTOR_MAX);
    }

    proptest! {
        #[test]
        fn all_together_keep_to_the_budget_and_the_order_of_shares(costs in prop::collection::vec(0.0..0.2f64, 1..8)) {
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
