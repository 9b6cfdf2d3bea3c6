//! `pharos alerts`: what is wrong, which receivers were notified, and why others were not.

mod command;
mod explain;
mod line;
mod show;
mod verdict;

pub(super) use self::command::{AlertsCommand, run};
