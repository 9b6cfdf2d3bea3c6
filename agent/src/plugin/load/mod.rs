//! Loading plugins: from a file's bytes to a generation that was tried, and what can be wrong with its settings.

pub mod blocking;
mod canary;
pub mod compile;
mod compile_cache;
pub mod compile_helper;
mod demand;
pub mod examine;
pub mod folder;
mod grants;
pub mod linkers;
pub mod load_error;
pub mod loader;
mod references;
mod schema;
pub mod settings;
mod settings_problem;
pub mod steps;
mod trial;
mod unmet_needs;
pub mod validate;
