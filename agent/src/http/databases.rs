//! Names of the configured databases and Redis deployments that a request can use.

use std::sync::Arc;

use super::error::ApiError;

/// All configured names.
#[derive(Debug, Clone)]
pub(crate) struct Databases(Arc<[String]>);

impl Databases {
    pub(crate) fn new(names: Vec<String>) -> Self {
        Self(names.into())
    }

    /// Checks that the name is configured. Without the check, a misspelt name would look like a database without facts.
    pub(crate) fn known<'a>(&self, name: Option<&'a str>) -> Result<Option<&'a str>, ApiError> {
        match name {
            Some(name) if !self.0.iter().any(|known| known == name) => {
                let known = self.0.join(", ");
                Err(ApiError::not_found(format!("no database is named \"{name}\"")).hint(format!("configured are: {known}")))
            }
            name => Ok(name),
        }
    }
}
