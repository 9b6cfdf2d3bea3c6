//! What statements cost, measured from outside.

use std::time::Duration;

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
