//! The smallest alert rule in Rust. Copy the folder and begin here.

use pharos_plugin::{
    AlertRule, Description, Failure, Finding, Plugin, Report, Rule, Severity, SkipReason, Snapshot, export_alert_rule, text,
};
use serde::Deserialize;

const RULE: &str = "query-too-long";
const METRIC: &str = "pharos_postgres_query_age_max_seconds";

/// The settings under `[plugin.rust-rule.settings]` in the configuration.
#[derive(Deserialize)]
#[serde(deny_unknown_fields, default)]
struct Settings {
    seconds: f64,
}

impl Default for Settings {
    fn default() -> Self {
        Self { seconds: 60.0 }
    }
}

struct RustRule {
    settings: Settings,
}

export_alert_rule!(RustRule);

impl Plugin for RustRule {
    type Settings = Settings;

    const DESCRIPTION: Description = Description {
        id: env!("CARGO_PKG_NAME"),
        version: env!("CARGO_PKG_VERSION"),
        summary: "statements that run for long, as an example in Rust",
        settings_schema: include_str!("../schema.json"),
        wants: &[],
    };

    fn new(settings: Settings) -> Result<Self, Failure> {
        Ok(Self { settings })
    }
}

impl AlertRule for RustRule {
    fn rules(&self) -> Vec<Rule> {
        vec![Rule {
            id: RULE.to_owned(),
            summary: "a statement runs for long".to_owned(),
            category: "performance".to_owned(),
            subject_kind: "postgres".to_owned(),
            needs: vec![METRIC.to_owned()],
            for_ms: 0,
            keep_firing_ms: 0,
            runbook: None,
        }]
    }

    fn evaluate(&self, snapshot: &Snapshot) -> Result<Report, Failure> {
        let mut report = Report::empty();
        if snapshot.subject().kind == "postgres" {
            report.judged(RULE, self.judge(snapshot));
        }
        Ok(report)
    }
}

impl RustRule {
    /// Returns the findings. The `?` skips the rule if the metric cannot be read, so that its alert does not resolve.
    fn judge(&self, snapshot: &Snapshot) -> Result<Vec<Finding>, SkipReason> {
        let age = snapshot.value(METRIC)?.filter(|age| *age > self.settings.seconds);
        let finding = |age| {
            Finding::new(RULE, Severity::Warning, format!("statement has run for {}", text::duration(age)))
                .value(age)
                .thresholds(self.settings.seconds, self.settings.seconds)
                .fix("`SELECT pid, query FROM pg_catalog.pg_stat_activity ORDER BY query_start LIMIT 1;`, then `SELECT pg_catalog.pg_cancel_backend(<pid>);`")
        };
        Ok(age.map(finding).into_iter().collect())
    }
}

#[cfg(test)]
mod tests {
    use pharos_plugin::testing::{Facts, render};

    use super::*;

    #[test]
    fn a_statement_past_its_time_is_found() {
        let facts = Facts::postgres("activity present\npharos_postgres_query_age_max_seconds 90");
        let plugin = RustRule::new(Settings::default()).expect("the defaults are right");
        let report = plugin.evaluate(&facts.snapshot()).expect("judging cannot fail");
        assert_eq!(render(&report), "query-too-long: raise warning: statement has run for 1 min 30 s\n");
    }
}
