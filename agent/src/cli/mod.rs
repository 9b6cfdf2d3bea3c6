//! The command line: the only room that prints.

mod alerts;
mod arguments;
mod audit;
mod check;
mod demo;
mod doctor;
mod exit;
mod notify;
mod outbox;
mod plugin;
mod program;
mod reach;
mod rules;
mod run;
mod shipped;
mod silence;
mod snapshot;
mod terminal;
mod workbench;

pub use self::program::main;
