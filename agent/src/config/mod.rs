//! The TOML file: one section per file, each with its struct, defaults and checks.
//!
//! Each part of the agent takes its own section by value, and reads no other one.

pub mod agent;
pub mod alerts;
pub mod collect;
pub mod database;
pub mod file;
pub mod files;
pub mod http;
pub mod labels;
mod links;
pub mod load;
pub mod notify;
pub mod plugins;
pub mod problem;
pub mod relay;
mod root;
pub mod secret;
pub mod shape;

pub use self::load::{Mistake, Source, find, load, open, parse, read_with_problems};
pub use self::problem::LoadError;
pub use self::root::{Config, SHAPE};
