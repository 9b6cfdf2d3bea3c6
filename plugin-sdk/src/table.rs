//! Tables of a snapshot: facts that do not fit into a metric, such as the sessions that wait for locks.

use std::cell::RefCell;
use std::collections::BTreeMap;
use std::rc::Rc;

use crate::bindings::plugin::pharos::plugin::snapshots::{Column, ColumnKind, TextColumn};
use crate::{Columns, Label};

/// A table of a snapshot: rows of facts with names and texts. `plugins/TABLES.md` lists every table with its columns, kinds and units.
///
/// A column that the table does not have reads as nulls. Single cells come from columns that cross the sandbox once and are then stored.
pub struct Table {
    source: Box<dyn Columns>,
    columns: Vec<Column>,
    numbers: RefCell<BTreeMap<String, Rc<[Option<f64>]>>>,
    words: RefCell<BTreeMap<String, Rc<TextColumn>>>,
}

impl Table {
    pub(crate) fn new(source: Box<dyn Columns>) -> Self {
        let columns = source.columns();
        Self { source, columns, numbers: RefCell::default(), words: RefCell::default() }
    }

    /// The number of rows. The host limits it, so a table may be shorter than the list on the server.
    pub fn row_count(&self) -> usize {
        self.source.row_count() as usize
    }

    /// The values of a column of integers or booleans (0 and 1), row by row. All are none if the table has no such column.
    pub fn integers(&self, name: &str) -> Vec<Option<i64>> {
        self.read(name, &[ColumnKind::Integer, ColumnKind::Boolean], |column, offset, limit| {
            let page = self.source.integers(column, offset, limit);
            with_nulls(page.values, page.present)
        })
    }

    /// The values of a column of floats, row by row. All are none if the table has no such column.
    pub fn floats(&self, name: &str) -> Vec<Option<f64>> {
        self.read(name, &[ColumnKind::Float], |column, offset, limit| {
            let page = self.source.floats(column, offset, limit);
            with_nulls(page.values, page.present)
        })
    }

    /// The values of a column of texts, row by row. All are none if the table has no such column.
    pub fn texts(&self, name: &str) -> Vec<Option<String>> {
        (0..self.row_count()).map(|row| self.text(name, row)).collect()
    }

    /// A cell of a column of integers, floats or booleans. None if the cell is null, or the column or the row does not exist.
    pub fn number(&self, column: &str, row: usize) -> Option<f64> {
        self.numbers(column).get(row).copied().flatten()
    }

    /// Whether a cell of a column of booleans is true. A null cell is not true.
    pub fn is(&self, column: &str, row: usize) -> bool {
        self.number(column, row).is_some_and(|value| value != 0.0)
    }

    /// A cell of a column of texts. None if the cell is null, or the column or the row does not exist.
    pub fn text(&self, column: &str, row: usize) -> Option<String> {
        word(&self.words(column), row).map(str::to_owned)
    }

    /// Whether a cell of a column of texts equals this text.
    pub fn has(&self, column: &str, row: usize, text: &str) -> bool {
        word(&self.words(column), row) == Some(text)
    }

    /// The cells of these columns as labels. A null cell becomes the empty text, like a missing label of a series.
    pub fn labels(&self, columns: &[&str], row: usize) -> Vec<Label> {
        let label = |column: &&str| Label { name: (*column).to_owned(), value: self.text(column, row).unwrap_or_default() };
        columns.iter().map(label).collect()
    }

    /// The first row whose cells equal these labels. Labels without a column of that name are ignored.
    pub fn find(&self, labels: &[Label]) -> Option<usize> {
        let wanted: Vec<_> = labels
            .iter()
            .filter(|label| self.columns.iter().any(|column| column.name == label.name))
            .map(|label| (self.words(&label.name), label.value.as_str()))
            .collect();
        (0..self.row_count()).find(|row| wanted.iter().all(|(column, value)| word(column, *row).unwrap_or_default() == *value))
    }

    fn numbers(&self, name: &str) -> Rc<[Option<f64>]> {
        if let Some(known) = self.numbers.borrow().get(name) {
            return Rc::clone(known);
        }
        let is_float = self.columns.iter().any(|column| column.name == name && column.kind == ColumnKind::Float);
        let read: Rc<[Option<f64>]> = if is_float {
            self.floats(name).into()
        } else {
            self.integers(name).into_iter().map(|value| value.map(|value| value as f64)).collect()
        };
        self.numbers.borrow_mut().insert(name.to_owned(), Rc::clone(&read));
        read
    }

    fn words(&self, name: &str) -> Rc<TextColumn> {
        if let Some(known) = self.words.borrow().get(name) {
            return Rc::clone(known);
        }
        let mut whole = TextColumn { words: Vec::new(), codes: Vec::new() };
        whole.codes = self.read(name, &[ColumnKind::Text], |column, offset, limit| {
            let TextColumn { words, codes } = self.source.texts(column, offset, limit);
            // The dictionary belongs to the column, so every page has the same one.
            whole.words = words;
            codes
        });
        let whole = Rc::new(whole);
        self.words.borrow_mut().insert(name.to_owned(), Rc::clone(&whole));
        whole
    }

    fn read<T: Null>(&self, name: &str, kinds: &[ColumnKind], mut page: impl FnMut(u32, u32, u32) -> Vec<T>) -> Vec<T> {
        let rows = self.source.row_count();
        let mut values = Vec::new();
        if let Some(column) = self.columns.iter().position(|column| column.name == name && kinds.contains(&column.kind)) {
            while values.len() < rows as usize {
                // Both numbers fit: a table has at most `u32::MAX` rows and far fewer columns.
                let offset = values.len() as u32;
                let next = page(column as u32, offset, rows - offset);
                if next.is_empty() {
                    break;
                }
                values.extend(next);
            }
        }
        values.resize_with(rows as usize, T::null);
        values
    }
}

/// The value of a cell that the table does not have.
trait Null {
    fn null() -> Self;
}

impl<T> Null for Option<T> {
    fn null() -> Self {
        None
    }
}

/// A text cell is a code: an index into the dictionary of its column. The code of a null lies beyond every dictionary.
impl Null for u32 {
    fn null() -> Self {
        Self::MAX
    }
}

fn word(column: &TextColumn, row: usize) -> Option<&str> {
    let code = *column.codes.get(row)?;
    column.words.get(usize::try_from(code).ok()?).map(String::as_str)
}

fn with_nulls<T>(values: Vec<T>, present: Option<Vec<bool>>) -> Vec<Option<T>> {
    match present {
        None => values.into_iter().map(Some).collect(),
        Some(present) => values.into_iter().zip(present).map(|(value, present)| present.then_some(value)).collect(),
    }
}
