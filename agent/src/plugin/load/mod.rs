//! How a plugin is loaded: from a file's bytes to a generation that was tried.

pub mod compile;
mod compile_cache;
pub mod compile_helper;
mod demand;
pub mod examine;
pub mod folder;
pub mod loader;
mod references;
mod schema;
pub mod settings;
mod settings_problem;
pub mod trial;
pub mod validate;
