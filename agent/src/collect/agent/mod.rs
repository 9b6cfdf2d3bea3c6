//! The agent as a subject of its own: what it knows of itself, as a snapshot like that of any server.
//!
//! So whoever writes rules can write them about the agent. Nothing is asked over a network and nothing fails, so there is one part, with
//! every metric that `/metrics` shows of the agent itself and tables of its parts, receivers and plugins.

mod families;
mod plugin_facts;
mod tables;
mod task;

pub use self::families::families;
pub use self::plugin_facts::{PluginFact, PluginFacts};
pub use self::task::{AgentTask, subject};
