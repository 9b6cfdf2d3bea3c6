//! Threshold rules that an operator writes in TOML. Each rule compares a metric with a limit, with hysteresis.

mod rule;
mod settings;
mod summary;

use std::collections::BTreeSet;

use pharos_plugin::settings::Ignored;
use pharos_plugin::{AlertRule, Description, Failure, Plugin, Report, Rule, Snapshot, export_alert_rule};

use crate::rule::ThresholdRule;
use crate::settings::Settings;

pub struct Threshold {
    rules: Vec<ThresholdRule>,
    ignored: Vec<Ignored>,
}

export_alert_rule!(Threshold);

impl Plugin for Threshold {
    type Settings = Settings;

    const DESCRIPTION: Description = Description {
        id: env!("CARGO_PKG_NAME"),
        version: env!("CARGO_PKG_VERSION"),
        summary: "alerts on any metric against a threshold, with hysteresis",
        settings_schema: include_str!("../schema.json"),
        wants: &[],
    };

    fn new(settings: Settings) -> Result<Self, Failure> {
        let Settings { rules: wanted, mut ignored } = settings;
        let mut ids = BTreeSet::new();
        let mut rules = Vec::new();
        for (place, rule) in wanted {
            let id = rule.id.clone();
            let made = match ids.contains(&id) {
                false => ThresholdRule::new(rule),
                true => Err(rule.refuse("id", "another rule has this id; rename one of them")),
            };
            match made {
                Ok(rule) => {
                    ids.insert(id);
                    rules.push(rule);
                }
                Err(refusal) => ignored.push(Ignored::new(format!("{place}.{}", refusal.key), refusal.why)),
            }
        }
        ignored.iter().for_each(Ignored::report);
        Ok(Self { rules, ignored })
    }
}

impl Threshold {
    /// The settings that were left out, each with its reason.
    pub fn ignored(&self) -> &[Ignored] {
        &self.ignored
    }
}

impl AlertRule for Threshold {
    fn rules(&self) -> Vec<Rule> {
        self.rules.iter().map(ThresholdRule::declare).collect()
    }

    fn evaluate(&self, snapshot: &Snapshot) -> Result<Report, Failure> {
        let mut report = Report::empty();
        for rule in &self.rules {
            rule.judge(snapshot, &mut report);
        }
        Ok(report)
    }
}

#[cfg(test)]
mod tests;
