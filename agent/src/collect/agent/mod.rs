//! The agent as a subject of its own, with a snapshot like that of a server.
//!
//! This allows rules about the agent. Nothing is read over a network and nothing fails, so the snapshot has one part. The part has every
//! metric of the agent that `/metrics` shows, and tables of its parts, receivers and plugins.

mod families;
mod plugin_facts;
mod tables;
mod task;

pub(crate) use self::families::families;
pub(crate) use self::plugin_facts::{PluginFact, PluginFacts};
pub(crate) use self::task::{AgentTask, subject};
