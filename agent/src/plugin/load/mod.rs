//! Loading plugins: from a file's bytes to a generation that was tried, and what can be wrong with its settings.

pub(crate) mod blocking;
mod canary;
pub mod compile;
mod compile_cache;
pub(crate) mod compile_helper;
mod demand;
pub(crate) mod examine;
pub(crate) mod folder;
mod grants;
pub(crate) mod linkers;
pub(crate) mod load_error;
pub(crate) mod loader;
mod references;
mod schema;
pub mod settings;
mod settings_problem;
pub(crate) mod steps;
mod trial;
mod unmet_needs;
pub mod validate;
