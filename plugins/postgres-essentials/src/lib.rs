//! Checks that every PostgreSQL server needs. Each family of checks is a table in a file of its own: a new check is a new entry.

mod connections;
mod limits;
mod locks;
mod refusal;
mod restarts;
mod settings;
mod statements;
mod storage;
mod waits;
mod wal;

use pharos_plugin::checks::{Family, Settings, Suite};
use pharos_plugin::{AlertRule, Description, Failure, Plugin, Report, Rule, Snapshot, export_alert_rule};

static FAMILIES: [Family; 9] = [
    Family::new("postgres", connections::CHECKS),
    Family::new("postgres", restarts::CHECKS),
    Family::new("postgres", limits::CHECKS),
    Family::new("postgres", locks::CHECKS),
    Family::new("postgres", waits::CHECKS),
    Family::new("postgres", statements::CHECKS),
    Family::new("postgres", storage::CHECKS),
    Family::new("postgres", wal::CHECKS),
    Family::new("postgres", settings::CHECKS),
];

pub struct PostgresEssentials {
    suite: Suite,
}

export_alert_rule!(PostgresEssentials);

impl Plugin for PostgresEssentials {
    type Settings = Settings;

    const DESCRIPTION: Description = Description {
        id: env!("CARGO_PKG_NAME"),
        version: env!("CARGO_PKG_VERSION"),
        summary: "what every PostgreSQL server should be watched for",
        settings_schema: include_str!("../schema.json"),
        wants: &[],
    };

    fn new(settings: Settings) -> Result<Self, Failure> {
        Ok(Self { suite: Suite::new(&FAMILIES, &settings)? })
    }
}

impl AlertRule for PostgresEssentials {
    fn rules(&self) -> Vec<Rule> {
        self.suite.rules()
    }

    fn evaluate(&self, snapshot: &Snapshot) -> Result<Report, Failure> {
        Ok(self.suite.evaluate(snapshot))
    }
}

#[cfg(test)]
mod tests;
