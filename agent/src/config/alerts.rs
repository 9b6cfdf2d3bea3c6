//! `[alerts]`: how the agent judges its rules.

use std::time::Duration;

use serde::Deserialize;

use super::shape::{Key, Shape, key};

#[derive(Debug, Clone, PartialEq, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct AlertsConfig {
    /// The time without a matching series after which a rule is reported as one that matches nothing.
    #[serde(with = "humantime_serde")]
    pub never_matched_after: Duration,
}

pub const ALERTS_KEYS: &[Key] = &[key("never_matched_after", Shape::Duration)];

impl Default for AlertsConfig {
    fn default() -> Self {
        Self { never_matched_after: Duration::from_secs(3 * 24 * 3_600) }
    }
}

impl AlertsConfig {
    pub fn validate(&self, mut report: impl FnMut(String, String)) {
        if self.never_matched_after.is_zero() {
            report("alerts.never_matched_after".to_owned(), "must not be 0: a rule needs some time to match".to_owned());
        }
    }
}
