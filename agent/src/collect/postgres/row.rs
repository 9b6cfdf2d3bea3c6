//! Reads the columns of a row by name. A column with an unexpected type is a bug of ours, and the error names it.

use pharos_model::error_chain::chain;
use pharos_model::postgres::privilege::membership;
use pharos_model::snapshot::{Column, FailureReason, Family, PartId};
use tokio_postgres::types::{ToSql, Type};

use crate::collect::{CollectError, Missing};
use crate::postgres::monitor::{QueryError, Row, Session, Value};

/// A row of one collector's query.
pub(super) struct Fields<'a> {
    collector: PartId,
    row: &'a Row,
}

impl<'a> Fields<'a> {
    pub(super) fn new(collector: PartId, row: &'a Row) -> Self {
        Self { collector, row }
    }

    /// Reads a column. A column of another type is an error that names it.
    pub(super) fn field<T: Value<'a>>(&self, column: &str) -> Result<T, CollectError> {
        self.row.get(column).map_err(|source| CollectError::Row { collector: self.collector, source })
    }

    /// Reads a text. Null becomes an empty text.
    pub(super) fn text(&self, column: &str) -> Result<&'a str, CollectError> {
        Ok(self.field::<Option<&str>>(column)?.unwrap_or_default())
    }

    /// Whether the text in this column was escaped. SQL with an escaped name would not find the object.
    pub(super) fn is_escaped(&self, column: &str) -> bool {
        self.row.is_escaped(column)
    }

    /// Reads a number as the value of a metric. Null, infinity and NaN have no value.
    pub(super) fn number(&self, column: &str) -> Result<Option<f64>, CollectError> {
        Ok(self.field::<Option<f64>>(column)?.filter(|value| value.is_finite()))
    }

    /// Makes metrics without labels, each from its column. A column that is null has no series.
    pub(super) fn scalars(&self, columns: &[(&str, &str)]) -> Result<Vec<Family>, CollectError> {
        let scalar = |(metric, column): &(&str, &str)| Ok(self.number(column)?.map(|value| Family::scalar(metric, value)));
        columns.iter().map(scalar).filter_map(Result::transpose).collect()
    }
}

/// The rows of one collector's query as the columns of a table.
pub(super) struct Columns<'a> {
    collector: PartId,
    rows: Vec<&'a Row>,
}

impl<'a> Columns<'a> {
    pub(super) fn new(collector: PartId, rows: impl IntoIterator<Item = &'a Row>) -> Self {
        Self { collector, rows: rows.into_iter().collect() }
    }

    pub(super) fn text(&self, column: &str) -> Result<Column, CollectError> {
        Ok(Column::text(column, self.texts(column)?))
    }

    pub(super) fn texts(&self, column: &str) -> Result<Vec<Option<&'a str>>, CollectError> {
        self.fields(column)
    }

    pub(super) fn integer(&self, column: &str) -> Result<Column, CollectError> {
        Ok(Column::integer(column, self.fields::<Option<i64>>(column)?))
    }

    pub(super) fn float(&self, column: &str, unit: &str) -> Result<Column, CollectError> {
        Ok(Column::float(column, unit, self.numbers(column)?))
    }

    pub(super) fn numbers(&self, column: &str) -> Result<Vec<Option<f64>>, CollectError> {
        self.rows.iter().map(|row| Fields::new(self.collector, row).number(column)).collect()
    }

    fn fields<T: Value<'a>>(&self, column: &str) -> Result<Vec<T>, CollectError> {
        self.rows.iter().map(|row| Fields::new(self.collector, row).field(column)).collect()
    }
}

/// Returns the label for the rest of named objects: `other`, or `(other)` if an object is named `other`.
pub(super) fn other<'a>(mut names: impl Iterator<Item = &'a str>) -> &'static str {
    if names.any(|name| name == "other") { "(other)" } else { "other" }
}

/// Runs a collector's query without parameters.
pub(super) async fn query(session: &Session, collector: PartId, sql: &str) -> Result<Vec<Row>, CollectError> {
    query_with(session, collector, sql, &[]).await
}

/// Runs a collector's query with parameters, each with its type.
pub(super) async fn query_with(
    session: &Session,
    collector: PartId,
    sql: &str,
    parameters: &[(&(dyn ToSql + Sync), Type)],
) -> Result<Vec<Row>, CollectError> {
    session.query(sql, parameters).await.map_err(|source| failure(session, collector, source))
}

/// Runs a collector's query with a prepared plan in each session, since it runs often.
pub(super) async fn query_planned(session: &Session, collector: PartId, sql: &str) -> Result<Vec<Row>, CollectError> {
    session.query_planned(sql).await.map_err(|source| failure(session, collector, source))
}

/// Makes the error of a query. A missing privilege is no fault of the server: pg_monitor has all that collectors need.
fn failure(session: &Session, collector: PartId, source: QueryError) -> CollectError {
    if source.reason() != FailureReason::Privilege {
        return CollectError::Query { collector, source };
    }
    let role = session.role();
    let grant = membership(role, session.major(), true).join("; ");
    CollectError::Privilege(Missing::new(format!("role `{role}` may not read {collector} ({})", chain(&source))).cured_by(grant))
}
