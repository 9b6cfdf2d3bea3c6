//! Values in the columns of the store: numbers without a sign, JSON, and texts of types.

use std::error::Error;
use std::str::FromStr;

use rusqlite::types::Type;
use rusqlite::{Row, RowIndex};
use serde::Serialize;
use serde::de::DeserializeOwned;

/// Converts a number for SQLite, whose integers have a sign. Larger numbers than it can store become the largest.
pub(super) fn signed(number: u64) -> i64 {
    i64::try_from(number).unwrap_or(i64::MAX)
}

/// Converts a number that [`signed`] made.
pub(super) fn unsigned(number: i64) -> u64 {
    number.unsigned_abs()
}

/// Writes a value as JSON.
pub(super) fn json(value: &impl Serialize) -> rusqlite::Result<String> {
    serde_json::to_string(value).map_err(|err| rusqlite::Error::ToSqlConversionFailure(err.into()))
}

/// Reads a number that is never negative.
pub(super) fn number(row: &Row<'_>, column: &str) -> rusqlite::Result<u64> {
    row.get(column).map(unsigned)
}

/// Reads a value that [`json`] wrote.
pub(super) fn from_json<T: DeserializeOwned>(row: &Row<'_>, column: &str) -> rusqlite::Result<T> {
    convert(row, column, |text| serde_json::from_str(text))
}

/// Reads a value that was written as its text.
pub(super) fn parsed<T: FromStr<Err: Error + Send + Sync + 'static>>(row: &Row<'_>, column: &str) -> rusqlite::Result<T> {
    convert(row, column, str::parse)
}

fn convert<T, E: Error + Send + Sync + 'static>(row: &Row<'_>, column: &str, read: impl Fn(&str) -> Result<T, E>) -> rusqlite::Result<T> {
    let text: String = row.get(column)?;
    read(&text).map_err(|err| {
        let index = column.idx(row.as_ref()).unwrap_or_default();
        rusqlite::Error::FromSqlConversionFailure(index, Type::Text, err.into())
    })
}
