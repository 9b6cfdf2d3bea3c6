//! Checks of maintenance: vacuum, wraparound, bloat, indexes, schemas and sequences. Each family of checks is a table in a file of its own:
//! a new check is a new entry.

mod bloat;
mod cause;
mod freezing;
mod horizon;
mod indexes;
mod schema;
mod sequences;
mod vacuum;
mod visits;
mod wraparound;

use pharos_plugin::checks::{Family, Settings, Suite};
use pharos_plugin::{AlertRule, Description, Failure, Plugin, Report, Rule, Snapshot, export_alert_rule};

static FAMILIES: [Family; 10] = [
    Family::new("postgres", wraparound::CHECKS),
    Family::new("postgres", vacuum::CHECKS),
    Family::new("postgres", horizon::CHECKS),
    Family::new("postgres", bloat::CHECKS),
    Family::new("postgres", indexes::CHECKS),
    Family::new("database", indexes::CHECKS_OF_ALL_MEMBERS),
    Family::new("postgres", schema::CHECKS),
    Family::new("postgres", sequences::CHECKS),
    Family::new("database", visits::CHECKS_OF_ALL_MEMBERS),
    Family::new("postgres", visits::CHECKS),
];

pub struct PostgresMaintenance {
    suite: Suite,
}

export_alert_rule!(PostgresMaintenance);

impl Plugin for PostgresMaintenance {
    type Settings = Settings;

    const DESCRIPTION: Description = Description {
        id: env!("CARGO_PKG_NAME"),
        version: env!("CARGO_PKG_VERSION"),
        summary: "whether PostgreSQL cleans up after itself, and what of its schema costs more than it gives",
        settings_schema: include_str!("../schema.json"),
        wants: &[],
    };

    fn new(settings: Settings) -> Result<Self, Failure> {
        Ok(Self { suite: Suite::new(&FAMILIES, &settings)? })
    }
}

impl AlertRule for PostgresMaintenance {
    fn rules(&self) -> Vec<Rule> {
        self.suite.rules()
    }

    fn evaluate(&self, snapshot: &Snapshot) -> Result<Report, Failure> {
        Ok(self.suite.evaluate(snapshot))
    }
}

#[cfg(test)]
mod tests;
