//! Checks that every Redis server needs. Each family of checks is a table in a file of its own: a new check is a new entry.

mod availability;
mod memory;
mod persistence;
mod server;

use pharos_plugin::checks::{Family, Settings, Suite};
use pharos_plugin::{AlertRule, Description, Failure, Plugin, Report, Rule, Snapshot, export_alert_rule};

static FAMILIES: [Family; 3] =
    [Family::new("redis", availability::CHECKS), Family::new("redis", memory::CHECKS), Family::new("redis", persistence::CHECKS)];

pub struct RedisEssentials {
    suite: Suite,
}

export_alert_rule!(RedisEssentials);

impl Plugin for RedisEssentials {
    type Settings = Settings;

    const DESCRIPTION: Description = Description {
        id: env!("CARGO_PKG_NAME"),
        version: env!("CARGO_PKG_VERSION"),
        summary: "what every Redis server should be watched for",
        settings_schema: include_str!("../schema.json"),
        wants: &[],
    };

    fn new(settings: Settings) -> Result<Self, Failure> {
        Ok(Self { suite: Suite::new(&FAMILIES, &settings)? })
    }
}

impl AlertRule for RedisEssentials {
    fn rules(&self) -> Vec<Rule> {
        self.suite.rules()
    }

    fn evaluate(&self, snapshot: &Snapshot) -> Result<Report, Failure> {
        Ok(self.suite.evaluate(snapshot))
    }
}

#[cfg(test)]
mod tests;
