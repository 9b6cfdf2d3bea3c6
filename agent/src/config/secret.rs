//! Secrets: values from a file or the environment that cannot be printed.

use std::fmt;
use std::path::{Path, PathBuf};

use serde::Deserialize;

use super::file::{self, FileError, SECRET_BYTES_MAX};
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

/// The source of a secret. Each use reads it again, so that a rotated file takes effect with the next connection.
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
    File { path: PathBuf, source: FileError },
    #[error("the environment variable {0} is not set or not UTF-8")]
    Env(String),
}

impl SecretError {
    /// The error of the file, if the secret is in a file.
    pub fn of_file(&self) -> Option<&FileError> {
        match self {
            Self::File { source, .. } => Some(source),
            Self::Env(_) => None,
        }
    }

    /// The cause without the path or variable, for plugins: `: permission denied`. Empty if the error has no cause.
    pub fn cause_for_plugin(&self) -> String {
        self.of_file().map(|cause| format!(": {cause}")).unwrap_or_default()
    }
}

impl SecretSource {
    /// The source that the keys `*_file` and `*_env` name. The section itself refuses both keys together.
    pub fn from_keys(file: Option<&PathBuf>, env: Option<&String>) -> Option<Self> {
        file.cloned().map(Self::File).or_else(|| env.cloned().map(Self::Env))
    }

    /// Reads the value without the line ending after it.
    pub async fn read(&self) -> Result<Secret, SecretError> {
        match self {
            Self::File(path) => of_file(path, file::read_on_own_thread(path, SECRET_BYTES_MAX).await),
            Self::Env(name) => of_environment(name),
        }
    }

    /// Reads the value and blocks the thread. Commands use this, where nothing else waits.
    pub fn read_now(&self) -> Result<Secret, SecretError> {
        match self {
            Self::File(path) => of_file(path, file::read(path, SECRET_BYTES_MAX)),
            Self::Env(name) => of_environment(name),
        }
    }

    /// Reads the secret in a file of the command line, which may be a pipe.
    pub fn read_once(path: &Path) -> Result<Secret, SecretError> {
        of_file(path, file::read_once(path, SECRET_BYTES_MAX))
    }

    pub fn resolve_path(&mut self, base: &Path) {
        if let Self::File(path) = self {
            *path = base.join(&path);
        }
    }
}

fn of_file(path: &Path, read: Result<Vec<u8>, FileError>) -> Result<Secret, SecretError> {
    let text = read.and_then(|bytes| String::from_utf8(bytes).map_err(|_| FileError::NotUtf8));
    text.map(|text| Secret::new(text.strip_suffix('\n').unwrap_or(&text).trim_end_matches('\r')))
        .map_err(|source| SecretError::File { path: path.to_owned(), source })
}

fn of_environment(name: &str) -> Result<Secret, SecretError> {
    std::env::var(name).map(Secret::new).map_err(|_| SecretError::Env(name.to_owned()))
}
