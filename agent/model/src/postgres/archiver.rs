//! Duration for which a server has failed to archive its WAL.

/// State of the archiver. All times are seconds since 1970 on the server's clock.
#[derive(Debug, Default)]
pub struct Archive {
    /// First observed failure since the last success; `None` without one.
    failing_since: Option<f64>,
}

impl Archive {
    /// Seconds since the first observed failure; `None` if the latest attempt did not fail. The last success is no start, because without
    /// writes there was nothing to archive. Failures before the first reading are unknown: `pg_stat_archiver` has only the latest.
    pub fn failing_seconds(&mut self, last_success: Option<f64>, last_failure: Option<f64>, now: f64) -> Option<f64> {
        // Without a success, every failure counts. A failure before the latest success does not.
        let last_failure = last_failure.filter(|failure| last_success.is_none_or(|success| *failure > success));
        let goes_on = self.failing_since.filter(|since| last_success.is_none_or(|success| *since > success));
        self.failing_since = last_failure.map(|failure| goes_on.unwrap_or(failure));
        self.failing_since.map(|since| (now - since).max(0.0))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_failure_after_a_quiet_night_is_as_old_as_itself() {
        let mut archive = Archive::default();
        assert_eq!(archive.failing_seconds(Some(1_000.0), None, 50_000.0), None);
        assert_eq!(archive.failing_seconds(Some(1_000.0), Some(50_005.0), 50_010.0), Some(5.0));
        assert_eq!(archive.failing_seconds(Some(1_000.0), Some(50_065.0), 50_070.0), Some(65.0));
    }

    #[test]
    fn a_success_between_two_readings_ends_the_failure() {
        let mut archive = Archive::default();
        assert_eq!(archive.failing_seconds(None, Some(100.0), 110.0), Some(10.0));
        assert_eq!(archive.failing_seconds(Some(150.0), Some(155.0), 160.0), Some(5.0));
        assert_eq!(archive.failing_seconds(Some(170.0), Some(155.0), 180.0), None);
        assert_eq!(archive.failing_seconds(Some(170.0), Some(200.0), 190.0), Some(0.0), "a clock that went back");
    }

    #[test]
    fn reset_statistics_show_no_failure() {
        let mut archive = Archive::default();
        archive.failing_seconds(None, Some(100.0), 110.0);
        assert_eq!(archive.failing_seconds(None, None, 120.0), None);
    }
}
