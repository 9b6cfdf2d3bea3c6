//! `pharos rules test`: gives facts written as text to a plugin and an alert book, and compares the alerts with those that the author
//! expects. Plugin host, rates and alerts are those of the agent; only the clock is simulated.

mod check;
mod command;
mod file;
mod play;
mod player;
mod print;
mod suite;
mod tables;
mod timeline;

pub(super) use self::command::{RulesCommand, run};
