//! Facts in typed columns, whose cells may be null.

use serde::{Deserialize, Serialize};

use super::family::{TextColumn, TextColumnBuilder};
use crate::catalogue::tables::ColumnKind;

/// Table of facts that are no series: waiting backends, statements, slots.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Table {
    /// Name of the table.
    pub name: String,
    /// Number of rows in each column.
    pub row_count: u32,
    /// Columns, all of equal length.
    pub columns: Vec<Column>,
}

/// Column of a table.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Column {
    /// Name of the column.
    pub name: String,
    /// Unit of the values; `None` without one.
    pub unit: Option<String>,
    /// Values, one per row.
    pub values: ColumnValues,
}

/// Values of one type, with `None` for null.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum ColumnValues {
    /// Numbers with a fraction.
    Float(Vec<Option<f64>>),
    /// Whole numbers.
    Integer(Vec<Option<i64>>),
    /// Texts.
    Text(TextColumn),
    /// True or false.
    Boolean(Vec<Option<bool>>),
}

impl ColumnValues {
    /// The kind of the values.
    pub fn kind(&self) -> ColumnKind {
        match self {
            Self::Float(_) => ColumnKind::Float,
            Self::Integer(_) => ColumnKind::Integer,
            Self::Text(_) => ColumnKind::Text,
            Self::Boolean(_) => ColumnKind::Boolean,
        }
    }
}

impl Column {
    /// Creates a column of floats with this unit.
    pub fn float(name: &str, unit: &str, values: impl IntoIterator<Item = Option<f64>>) -> Self {
        Self { name: name.to_owned(), unit: Some(unit.to_owned()), values: ColumnValues::Float(values.into_iter().collect()) }
    }

    /// Creates a column of integers.
    pub fn integer(name: &str, values: impl IntoIterator<Item = Option<i64>>) -> Self {
        Self { name: name.to_owned(), unit: None, values: ColumnValues::Integer(values.into_iter().collect()) }
    }

    /// Creates a column of booleans.
    pub fn boolean(name: &str, values: impl IntoIterator<Item = Option<bool>>) -> Self {
        Self { name: name.to_owned(), unit: None, values: ColumnValues::Boolean(values.into_iter().collect()) }
    }

    /// Creates a column of texts.
    pub fn text<'a>(name: &str, values: impl IntoIterator<Item = Option<&'a str>>) -> Self {
        let mut column = TextColumnBuilder::default();
        values.into_iter().for_each(|text| column.push(text));
        Self { name: name.to_owned(), unit: None, values: ColumnValues::Text(column.finish()) }
    }

    fn len(&self) -> usize {
        match &self.values {
            ColumnValues::Float(values) => values.len(),
            ColumnValues::Integer(values) => values.len(),
            ColumnValues::Text(values) => values.codes.len(),
            ColumnValues::Boolean(values) => values.len(),
        }
    }
}

impl Table {
    /// Creates a table from columns of equal length.
    pub fn new(name: &str, columns: Vec<Column>) -> Self {
        let rows = columns.first().map_or(0, Column::len);
        debug_assert!(columns.iter().all(|column| column.len() == rows), "columns of {name} differ in length");
        Self { name: name.to_owned(), row_count: u32::try_from(rows).unwrap_or(u32::MAX), columns }
    }

    /// Column with this name; `None` if there is none.
    pub fn column(&self, name: &str) -> Option<&Column> {
        self.columns.iter().find(|column| column.name == name)
    }

    /// Cell of a float or integer column as a float; `None` for null, other kinds and missing cells.
    pub fn number(&self, column: &str, row: usize) -> Option<f64> {
        match &self.column(column)?.values {
            ColumnValues::Float(values) => values.get(row).copied().flatten(),
            ColumnValues::Integer(values) => values.get(row).copied().flatten().map(|value| value as f64),
            ColumnValues::Text(_) | ColumnValues::Boolean(_) => None,
        }
    }

    /// Cell of an integer column; `None` for null, other kinds and missing cells.
    pub fn integer(&self, column: &str, row: usize) -> Option<i64> {
        match &self.column(column)?.values {
            ColumnValues::Integer(values) => values.get(row).copied().flatten(),
            _ => None,
        }
    }

    /// Cell of a boolean column; `None` for null, other kinds and missing cells.
    pub fn boolean(&self, column: &str, row: usize) -> Option<bool> {
        match &self.column(column)?.values {
            ColumnValues::Boolean(values) => values.get(row).copied().flatten(),
            _ => None,
        }
    }

    /// Cell of a text column; `None` for null, other kinds and missing cells.
    pub fn text(&self, column: &str, row: usize) -> Option<&str> {
        match &self.column(column)?.values {
            ColumnValues::Text(texts) => texts.text(row),
            _ => None,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::super::NULL_CODE;
    use super::*;

    #[test]
    fn equal_texts_share_a_word_and_null_has_none() {
        let column = Column::text("user", [Some("ann"), None, Some("ann")]);
        let ColumnValues::Text(texts) = column.values else { panic!("a text column") };
        assert_eq!(texts.words, ["ann"]);
        assert_eq!(texts.codes, [0, NULL_CODE, 0]);
        assert_eq!(texts.text(1), None);
    }
}
