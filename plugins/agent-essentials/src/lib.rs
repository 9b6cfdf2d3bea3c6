//! Checks of the agent itself. Each family of checks is a table in a file of its own: a new check is a new entry.

mod collectors;
mod load;
mod plugins;
mod receivers;
mod rights;
mod store;

use pharos_plugin::checks::{Family, Settings, Suite};
use pharos_plugin::{AlertRule, Description, Failure, Plugin, Report, Rule, Snapshot, export_alert_rule};

static FAMILIES: [Family; 6] = [
    Family::new("agent", receivers::CHECKS),
    Family::new("agent", store::CHECKS),
    Family::new("agent", plugins::CHECKS),
    Family::new("agent", collectors::CHECKS),
    Family::new("agent", rights::CHECKS),
    Family::new("agent", load::CHECKS),
];

pub struct AgentEssentials {
    suite: Suite,
}

export_alert_rule!(AgentEssentials);

impl Plugin for AgentEssentials {
    type Settings = Settings;

    const DESCRIPTION: Description = Description {
        id: env!("CARGO_PKG_NAME"),
        version: env!("CARGO_PKG_VERSION"),
        summary: "what the agent should monitor about itself",
        settings_schema: include_str!("../schema.json"),
        wants: &[],
    };

    fn new(settings: Settings) -> Result<Self, Failure> {
        Ok(Self { suite: Suite::new(&FAMILIES, &settings)? })
    }
}

impl AlertRule for AgentEssentials {
    fn rules(&self) -> Vec<Rule> {
        self.suite.rules()
    }

    fn evaluate(&self, snapshot: &Snapshot) -> Result<Report, Failure> {
        Ok(self.suite.evaluate(snapshot))
    }
}

/// A list with a single label.
fn label(name: &str, value: &str) -> Vec<pharos_plugin::Label> {
    vec![pharos_plugin::Label { name: name.to_owned(), value: value.to_owned() }]
}

#[cfg(test)]
mod tests;
