//! The parts of the agent itself, as its status names them.

use std::fmt;

use serde::{Serialize, Serializer};

use crate::subject::SubjectKey;

/// A part of the agent that works or does not: a row of `/api/services/status` and of the table `parts`.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub enum AgentPart {
    /// The task that takes snapshots of the agent itself.
    Agent,
    /// The task that takes snapshots of databases with their servers.
    Databases,
    /// The HTTP server.
    Http,
    /// The task that turns snapshots into alerts and notifications.
    Pipeline,
    /// The clock that limits the time of calls into plugins.
    PluginClock,
    /// The task that loads plugins again when their files change.
    PluginReload,
    /// All plugins together.
    Plugins,
    /// The store.
    Store,
    /// The monitoring of one server.
    Server(SubjectKey),
    /// The delivery to one receiver, by its configured name.
    Receiver(String),
}

/// Prints the name that people and the API read, such as `http`, `postgres db1:5432` or `receiver ops`.
impl fmt::Display for AgentPart {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Agent => f.write_str("agent"),
            Self::Databases => f.write_str("databases"),
            Self::Http => f.write_str("http"),
            Self::Pipeline => f.write_str("pipeline"),
            Self::PluginClock => f.write_str("plugin clock"),
            Self::PluginReload => f.write_str("plugin reload"),
            Self::Plugins => f.write_str("plugins"),
            Self::Store => f.write_str("store"),
            Self::Server(server) => server.fmt(f),
            Self::Receiver(name) => write!(f, "receiver {name}"),
        }
    }
}

impl Serialize for AgentPart {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::subject::Subject;

    #[test]
    fn names_of_parts_stay_the_served_ones() {
        let own = [
            AgentPart::Agent,
            AgentPart::Databases,
            AgentPart::Http,
            AgentPart::Pipeline,
            AgentPart::PluginClock,
            AgentPart::PluginReload,
            AgentPart::Plugins,
            AgentPart::Store,
            AgentPart::Server(Subject::new("postgres", "db1:5432").key()),
            AgentPart::Receiver("ops".to_owned()),
        ];
        let names = "agent, databases, http, pipeline, plugin clock, plugin reload, plugins, store, postgres db1:5432, receiver ops";
        assert_eq!(own.map(|part| part.to_string()).join(", "), names);
    }
}
