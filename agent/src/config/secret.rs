//! Values that must not be seen: they come from a file or the environment and cannot be printed.

use std::fmt;
use std::path::{Path, PathBuf};

use serde::Deserialize;

use super::shape::{Key, Shape, key};

/// A secret value. `Debug` and `Display` print `***`.
#[derive(Clone, PartialEq, Eq)]
pub struct Secret(String);

impl Secret {
    pub fn new(value: impl Into<String>) -> Self {
        Self(value.into())
    }

    /// The value itself, for the wire and nothing else.
    pub fn expose(&self) -> &str {
        &self.0
    }
}

impl fmt::Debug for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("***")
    }
}

impl fmt::Display for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("***")
    }
}

/// Where a secret comes from. It is read at each use, so that a rotated file counts from the next connection on.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum SecretSource {
    File(PathBuf),
    Env(String),
}

pub const SOURCE_KEYS: &[Key] = &[key("file", Shape::Text), key("env", Shape::Text)];

#[derive(Debug, thiserror::Error)]
pub enum SecretError {
    #[error("reading the secret file {}", path.display())]
    File { path: PathBuf, source: std::io::Error },
    #[error("the environment variable {0} is not set or not UTF-8")]
    Env(String),
}

impl SecretSource {
    /// The source that a `*_file` and a `*_env` key name together; both at once is checked by the section.
    pub fn from_keys(file: Option<&PathBuf>, env: Option<&String>) -> Option<Self> {
        file.cloned().map(Self::File).or_else(|| env.cloned().map(Self::Env))
    }

    /// Reads the value; one line ending after it does not count.
    pub fn read(&self) -> Result<Secret, SecretError> {
        match self {
            Self::File(path) => std::fs::read_to_string(path)
                .map(|text| Secret::new(text.strip_suffix('\n').unwrap_or(&text).trim_end_matches('\r')))
                .map_err(|source| SecretError::File { path: path.clone(), source }),
            Self::Env(name) => std::env::var(name).map(Secret::new).map_err(|_| SecretError::Env(name.clone())),
        }
    }

    pub fn resolve_path(&mut self, base: &Path) {
        if let Self::File(path) = self {
            *path = base.join(&path);
        }
    }
}
