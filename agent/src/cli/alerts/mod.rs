//! `pharos alerts`: what is wrong, who was notified of it, and why not.

mod command;
mod explain;
mod line;
mod show;
mod verdict;

pub use self::command::{AlertsCommand, run};
