//! The TOML file: one section per file, each with its struct, defaults and checks.
//!
//! Parts take their own section by value; nobody reads a stranger's setting.

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

pub use self::load::{Mistake, Source, find, load, look, open, parse};
pub use self::problem::LoadError;
pub use self::root::{Config, SHAPE};
