//! Checks of replication: the primary of a database, its standbys, slots and subscriptions. Each family of checks is a table in a file of
//! its own: a new check is a new entry.

mod conflicts;
mod lag;
mod slots;
mod standbys;
mod subscriptions;
mod topology;

use pharos_plugin::checks::{Family, Settings, Suite};
use pharos_plugin::{AlertRule, Description, Failure, Plugin, Report, Rule, Snapshot, export_alert_rule};

static FAMILIES: [Family; 6] = [
    Family::new("database", topology::CHECKS),
    Family::new("database", lag::CHECKS),
    Family::new("postgres", standbys::CHECKS),
    Family::new("postgres", conflicts::CHECKS),
    Family::new("postgres", slots::CHECKS),
    Family::new("postgres", subscriptions::CHECKS),
];

pub struct PostgresReplication {
    suite: Suite,
}

export_alert_rule!(PostgresReplication);

impl Plugin for PostgresReplication {
    type Settings = Settings;

    const DESCRIPTION: Description = Description {
        id: env!("CARGO_PKG_NAME"),
        version: env!("CARGO_PKG_VERSION"),
        summary: "whether a database has one primary, and whether its copies are what they should be",
        settings_schema: include_str!("../schema.json"),
        wants: &[],
    };

    fn new(settings: Settings) -> Result<Self, Failure> {
        Ok(Self { suite: Suite::new(&FAMILIES, &settings)? })
    }
}

impl AlertRule for PostgresReplication {
    fn rules(&self) -> Vec<Rule> {
        self.suite.rules()
    }

    fn evaluate(&self, snapshot: &Snapshot) -> Result<Report, Failure> {
        Ok(self.suite.evaluate(snapshot))
    }
}

#[cfg(test)]
mod tests;
