//! Reads a row's columns by name; a column that is not what its SQL says is an error of ours, told by name.

use tokio_postgres::Row;
use tokio_postgres::types::FromSql;

use crate::collect::CollectError;
use crate::postgres::{QueryError, Session};
use crate::telemetry::logs::chain;

/// A row of one collector's query.
pub struct Fields<'a> {
    collector: &'static str,
    row: &'a Row,
}

impl<'a> Fields<'a> {
    pub fn new(collector: &'static str, row: &'a Row) -> Self {
        Self { collector, row }
    }

    pub fn field<T: FromSql<'a>>(&self, column: &str) -> Result<T, CollectError> {
        self.row.try_get(column).map_err(|source| CollectError::Row { collector: self.collector, source })
    }

    pub fn text(&self, column: &str) -> Result<&'a str, CollectError> {
        Ok(self.field::<Option<&str>>(column)?.unwrap_or_default())
    }

    /// A number as a metric's value; none where it is null or not a number.
    pub fn number(&self, column: &str) -> Result<Option<f64>, CollectError> {
        Ok(self.field::<Option<f64>>(column)?.filter(|value| value.is_finite()))
    }
}

/// Runs a collector's query without parameters.
pub async fn query(session: &Session, collector: &'static str, sql: &str) -> Result<Vec<Row>, CollectError> {
    session.query(sql, &[]).await.map_err(|source| failure(session, collector, source))
}

/// The same for what is asked so often that it is worth a plan of its own in each session.
pub async fn query_planned(session: &Session, collector: &'static str, sql: &'static str) -> Result<Vec<Row>, CollectError> {
    session.query_planned(sql).await.map_err(|source| failure(session, collector, source))
}

/// A privilege that is missing is the server's answer, not a fault: pg_monitor holds all that collectors need.
fn failure(session: &Session, collector: &'static str, source: QueryError) -> CollectError {
    if source.reason() != "privilege" {
        return CollectError::Query { collector, source };
    }
    let role = session.role();
    CollectError::Unsupported(format!("role `{role}` may not read {collector} ({}); run: GRANT pg_monitor TO \"{role}\"", chain(&source)))
}
