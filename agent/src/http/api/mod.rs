//! One file per resource: its types and its handler.

pub mod alerts;
pub mod audit;
pub mod facts;
pub mod plugins;
pub mod slow_queries;

use serde::Deserialize;

use super::Api;
use super::error::ApiError;

/// `?database=NAME`, everywhere under `/api/database`.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ByDatabase {
    database: Option<String>,
}

impl ByDatabase {
    /// The name, if it is one that is configured.
    fn checked<'a>(&'a self, api: &Api) -> Result<Option<&'a str>, ApiError> {
        match &self.database {
            Some(name) if !api.databases.contains(name) => {
                let known = api.databases.join(", ");
                Err(ApiError::not_found(format!("no database is named \"{name}\"")).hint(format!("configured are: {known}")))
            }
            name => Ok(name.as_deref()),
        }
    }
}
