//! The TOML file: one section per file, each with its struct, defaults and checks.
//!
//! Each part of the agent takes its own section by value, and reads no other one.

pub mod agent;
pub mod alerts;
pub mod collect;
pub mod database;
pub mod file;
pub(crate) mod files;
pub mod http;
pub mod labels;
mod links;
pub(crate) mod load;
pub(crate) mod notify;
pub mod plugins;
pub mod problem;
pub(crate) mod relay;
mod root;
pub mod secret;
pub mod shape;

pub(crate) use self::load::{Mistake, find, open, read_with_problems};
pub use self::load::{load, parse};
pub use self::problem::LoadError;
pub use self::root::{Config, SHAPE};
