//! `pharos doctor`: what the agent's role can and cannot read on each server, and the grants that are missing.
//!
//! The command connects to the servers itself, so it can run before an agent is started and beside a running agent.

mod command;
mod examine;
mod print;
mod report;

pub(super) use self::command::{DoctorArguments, run};
