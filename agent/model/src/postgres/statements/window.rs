//! Mean, deviation and an estimated 95th percentile of the calls between two reads.
//!
//! PostgreSQL has mean and deviation of *all* calls of an entry. An exact formula joins two groups of calls (Chan, Golub, LeVeque 1979).
//! Reversed, it removes the earlier calls from all calls and leaves those between the reads.

use serde::{Deserialize, Serialize};

use super::StatementRow;

/// 95th percentile of the standard normal distribution.
const Z95: f64 = 1.644_853_626_951_472_2;

/// Execution times of the calls between two reads, in seconds.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub struct Window {
    /// Mean execution time, in seconds.
    pub mean_seconds: f64,
    /// Standard deviation of the execution time, in seconds.
    pub stddev_seconds: f64,
    /// Estimate for log-normal times with this mean and deviation. Real times are roughly log-normal.
    pub p95_seconds: f64,
}

/// Count, mean, and sum of squared differences from the mean.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) struct Moments {
    /// Number of calls.
    pub count: f64,
    /// Mean execution time, in seconds.
    pub mean: f64,
    /// Sum of squared differences from the mean.
    pub squares: f64,
}

impl From<&StatementRow> for Moments {
    fn from(row: &StatementRow) -> Self {
        let count = row.counters.calls as f64;
        Self { count, mean: row.mean_seconds, squares: row.stddev_seconds * row.stddev_seconds * count }
    }
}

impl Moments {
    /// Population standard deviation.
    pub(super) fn stddev(self) -> f64 {
        if self.count > 0.0 { (self.squares / self.count).sqrt() } else { 0.0 }
    }
}

/// Removes `earlier` calls from `all`. A variance below zero is a rounding error and counts as zero.
pub(super) fn take_out(all: Moments, earlier: Moments) -> Moments {
    let count = all.count - earlier.count;
    let mean = ((all.mean * all.count - earlier.mean * earlier.count) / count).max(0.0);
    let apart = mean - earlier.mean;
    let squares = all.squares - earlier.squares - apart * apart * earlier.count * count / all.count;
    Moments { count, mean, squares: squares.max(0.0) }
}

impl Window {
    /// Window over all calls of an entry; `None` without calls.
    pub(super) fn of(row: &StatementRow) -> Option<Self> {
        Self::from_moments(row.into())
    }

    /// Window over the calls since an earlier read of the same entry; `None` without calls.
    pub(super) fn between(earlier: &StatementRow, now: &StatementRow) -> Option<Self> {
        if earlier.counters.calls == 0 {
            return Self::of(now);
        }
        (now.counters.calls > earlier.counters.calls).then(|| take_out(now.into(), earlier.into())).and_then(Self::from_moments)
    }

    fn from_moments(moments: Moments) -> Option<Self> {
        let stddev = moments.stddev();
        let sane = moments.count > 0.0 && moments.mean >= 0.0 && moments.mean.is_finite() && stddev.is_finite();
        sane.then(|| Self {
            mean_seconds: moments.mean,
            stddev_seconds: stddev,
            // No call took longer than all calls together.
            p95_seconds: log_normal_p95(moments.mean, stddev).min(moments.mean * moments.count),
        })
    }
}

fn log_normal_p95(mean: f64, stddev: f64) -> f64 {
    if mean <= 0.0 {
        return 0.0;
    }
    let ratio = stddev / mean;
    let sigma_squared = (ratio * ratio).ln_1p();
    mean * (Z95 * sigma_squared.sqrt() - sigma_squared / 2.0).exp()
}

#[cfg(test)]
mod tests {
    use proptest::collection::vec;
    use proptest::prelude::*;

    use super::*;

    /// Joins two groups of calls.
    fn join(a: Moments, b: Moments) -> Moments {
        let count = a.count + b.count;
        if count == 0.0 {
            return a;
        }
        let apart = b.mean - a.mean;
        Moments {
            count,
            mean: a.mean + apart * b.count / count,
            squares: a.squares + b.squares + apart * apart * a.count * b.count / count,
        }
    }

    fn moments(times: &[f64]) -> Moments {
        let count = times.len() as f64;
        let mean = times.iter().sum::<f64>() / count;
        Moments { count, mean, squares: times.iter().map(|time| (time - mean).powi(2)).sum() }
    }

    proptest! {
        #[test]
        fn taking_out_the_earlier_calls_leaves_the_later_ones(
            earlier in vec(0.001..10.0_f64, 1..50),
            later in vec(0.001..10.0_f64, 1..50),
        ) {
            let all = join(moments(&earlier), moments(&later));
            let (found, true_) = (take_out(all, moments(&earlier)), moments(&later));
            prop_assert!((found.mean - true_.mean).abs() < 1e-9, "{found:?} {true_:?}");
            prop_assert!((found.stddev() - true_.stddev()).abs() < 1e-5, "{found:?} {true_:?}");
        }
    }

    #[test]
    fn the_percentile_is_that_of_a_log_normal_distribution() {
        // Mean exp(mu + sigma²/2) and deviation for mu = -3, sigma = 0.8. The 95th percentile is exp(mu + 1.645 sigma).
        let (mu, sigma) = (-3.0_f64, 0.8_f64);
        let mean = (mu + sigma * sigma / 2.0).exp();
        let stddev = mean * (sigma * sigma).exp_m1().sqrt();
        assert!((log_normal_p95(mean, stddev) - (mu + Z95 * sigma).exp()).abs() < 1e-12);
    }

    #[test]
    fn equal_times_have_no_spread_and_no_time_has_no_percentile() {
        assert_eq!(log_normal_p95(0.25, 0.0), 0.25);
        assert_eq!(log_normal_p95(0.0, 0.0), 0.0);
    }

    #[test]
    fn nonsense_from_a_server_makes_no_window() {
        assert_eq!(Window::from_moments(Moments { count: 3.0, mean: f64::NAN, squares: 0.0 }), None);
        assert_eq!(Window::from_moments(Moments { count: 0.0, mean: 0.0, squares: 0.0 }), None);
    }
}
