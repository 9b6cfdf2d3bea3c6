//! `pharos rules test`: facts written as text go through a plugin and an alert book, and what becomes of them is compared with what the
//! author expects. Plugin host, rates and alerts are those of the agent; only the clock is the case's.

mod check;
mod command;
mod file;
mod play;
mod player;
mod print;
mod suite;
mod tables;
mod timeline;

pub use self::command::{RulesCommand, run};
