//! Cost of statements, measured on the agent's side.

use std::time::Duration;

/// Cost of statements for the server that answered them.
#[derive(Debug, Clone, Copy, Default, PartialEq)]
pub struct Cost {
    /// Seconds of the server's work.
    pub seconds: f64,
    /// Number of statements.
    pub statements: u64,
    /// Number of rows that the server returned.
    pub rows: u64,
}

impl std::ops::AddAssign for Cost {
    fn add_assign(&mut self, more: Self) {
        self.seconds += more.seconds;
        self.statements += more.statements;
        self.rows += more.rows;
    }
}

/// Measures the cost of statements on the agent's side. The network is not the server's work, so the shortest round trip is subtracted.
#[derive(Debug)]
pub struct Meter {
    cost: Cost,
    shortest: Duration,
}

impl Meter {
    /// `shortest` is the round trip of a statement with almost no work.
    pub fn new(shortest: Duration) -> Self {
        Self { cost: Cost::default(), shortest }
    }

    /// Adds a statement that took this long and returned this many rows.
    pub fn add(&mut self, took: Duration, rows: usize) {
        self.shortest = self.shortest.min(took);
        let worked = took.saturating_sub(self.shortest);
        self.cost += Cost { seconds: worked.as_secs_f64(), statements: 1, rows: rows as u64 };
    }

    /// Counts a statement that only waited and cost no work.
    pub fn count(&mut self) {
        self.cost.statements += 1;
    }

    /// Returns the cost since the last call.
    pub fn take(&mut self) -> Cost {
        std::mem::take(&mut self.cost)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

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
}
