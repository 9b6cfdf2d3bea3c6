//! `pharos doctor`: what the agent sees of each server with the role it has, what it does not see, and the grants that mend it.
//!
//! The command asks the servers itself, so it can be run before an agent and beside one.

mod command;
mod examine;
mod print;
mod report;

pub use self::command::{DoctorArguments, run};
