//! Errors of loading a plugin file.

use pharos_model::error_chain::chain;

use super::compile::CompileError;
use super::settings::SettingsError;
use super::validate::ValidateError;
use crate::plugin::run::call_error::CallError;
use crate::plugin::stage::Stage;

/// Bytes of a plugin's version. A version is a label of a metric.
pub(crate) const VERSION_BYTES_MAX: usize = 64;

/// Reason why a file was refused.
#[derive(Debug, thiserror::Error)]
pub enum LoadError {
    #[error("the file {0}")]
    Validate(#[from] ValidateError),
    #[error("compiling")]
    Compile(#[from] CompileError),
    #[error("linking: {0}")]
    Link(String),
    #[error("reading its description: it {0}")]
    Describe(CallError),
    #[error("its id is \"{id}\", but its file is named \"{file}\"; the two must be equal")]
    OtherId { id: String, file: String },
    #[error("its version is not 1 to {VERSION_BYTES_MAX} printable characters")]
    Version,
    #[error(transparent)]
    Settings(#[from] SettingsError),
    #[error("its start with the present settings: {0}")]
    Init(CallError),
    #[error("the trial run on the latest snapshot {0}")]
    Canary(CallError),
}

impl LoadError {
    /// Stage at which the file was refused.
    pub fn stage(&self) -> Stage {
        match self {
            Self::Validate(_) => Stage::Validate,
            Self::Compile(_) => Stage::Compile,
            Self::Link(_) => Stage::Link,
            Self::Describe(_) | Self::OtherId { .. } | Self::Version => Stage::Describe,
            Self::Settings(_) => Stage::Settings,
            Self::Init(_) => Stage::Init,
            Self::Canary(_) => Stage::Canary,
        }
    }

    /// The error with all its causes.
    pub fn text(&self) -> String {
        chain(self)
    }

    /// Text of several lines that the plugin wrote to standard error before it was stopped.
    pub fn last_words(&self) -> Option<&str> {
        match self {
            Self::Describe(err) | Self::Init(err) | Self::Canary(err) => err.last_words(),
            _ => None,
        }
    }
}
