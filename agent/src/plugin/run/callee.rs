//! The plugin that a call is for.

use std::sync::Arc;

use super::generation::Generation;

/// A plugin that is called, and what the call is about.
#[derive(Clone, Copy)]
pub(crate) struct Callee<'a> {
    pub plugin: &'a str,
    /// The server or receiver that the call is about. Failures are counted for each one.
    pub about: &'a str,
    pub generation: &'a Arc<Generation>,
}
