//! Rows whose texts are read one by one. A text that is not UTF-8 is shown escaped and does not affect the others.
//!
//! Sessions use SQL_ASCII, so that the server neither converts nor checks texts. With UTF8 it would refuse a whole answer for one name in
//! another encoding, and the library would refuse the row.

use std::error::Error;

use pharos_model::postgres::server_text::{Encoding, Use, shown};
use tokio_postgres::types::{FromSql, Kind, Type};

use super::odd_names::OddNames;

/// Columns with texts for people. They do not identify an object.
const READING: [&str; 2] = ["query", "value"];
/// Columns with names of the whole server. Each has the encoding of the datname in which it was made, which can be any.
const OF_SERVER: [&str; 9] = ["datname", "user", "owner", "role", "application", "prepared", "subscription", "tablespace", "publication"];
/// Columns with names from the datname of the session, in answers about the whole server.
const OF_DATNAME: [&str; 4] = ["schema", "relation", "index", "statements_schema"];

/// Where the texts of an answer were made, unless their column decides it.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(super) enum Origin {
    #[default]
    Server,
    /// The datname of the session, whose encoding the texts have. Visits read only such texts.
    Datname,
}

impl Origin {
    fn is_datname(self, column: &str) -> bool {
        match self {
            Self::Server => OF_DATNAME.contains(&column),
            Self::Datname => !OF_SERVER.contains(&column),
        }
    }
}

/// A row of an answer, read by the names of its columns.
#[derive(Debug)]
pub struct Row {
    row: tokio_postgres::Row,
    /// Texts that are shown in another form than the server sent, by the index of their column. The list is nearly always empty.
    shown: Vec<(usize, Texts)>,
}

/// The text of a column, or the texts of an array.
#[derive(Debug)]
enum Texts {
    One { text: String, is_escaped: bool },
    Many(Vec<Option<String>>),
}

impl Row {
    pub(super) fn new(row: tokio_postgres::Row, encoding: Option<Encoding>, origin: Origin, odd: &OddNames) -> Self {
        let mut changed = Vec::new();
        for (place, column) in row.columns().iter().enumerate() {
            let name = column.name();
            let used = match name {
                "datname" => Use::Datname,
                _ if READING.contains(&name) => Use::Reading,
                _ => Use::Name,
            };
            let encoding = encoding.filter(|_| used != Use::Reading && origin.is_datname(name));
            if is_text(column.type_()) {
                let Ok(Some(Bytes(bytes))) = row.try_get::<_, Option<Bytes<'_>>>(place) else { continue };
                changed.extend(
                    changed_text(bytes, encoding, used, name, odd).map(|(text, is_escaped)| (place, Texts::One { text, is_escaped })),
                );
            } else if let Kind::Array(member) = column.type_().kind()
                && is_text(member)
            {
                let Ok(Some(texts)) = row.try_get::<_, Option<Vec<Option<Bytes<'_>>>>>(place) else { continue };
                let each = |bytes: &Bytes<'_>| shown(bytes.0, encoding, used).text.into_owned();
                if texts.iter().flatten().any(|bytes| changed_text(bytes.0, encoding, used, name, odd).is_some()) {
                    changed.push((place, Texts::Many(texts.iter().map(|bytes| bytes.as_ref().map(each)).collect())));
                }
            }
        }
        Self { row, shown: changed }
    }

    /// Reads a column by its name.
    pub fn get<'a, T: Value<'a>>(&'a self, column: &str) -> Result<T, tokio_postgres::Error> {
        T::read(self, column)
    }

    /// Whether the text in this column was escaped. SQL with an escaped name would not find the object.
    pub fn is_escaped(&self, column: &str) -> bool {
        matches!(self.shown(column), Some(Texts::One { is_escaped: true, .. }))
    }

    fn shown(&self, column: &str) -> Option<&Texts> {
        if self.shown.is_empty() {
            return None;
        }
        let place = self.row.columns().iter().position(|known| known.name() == column)?;
        self.shown.iter().find(|(at, _)| *at == place).map(|(_, texts)| texts)
    }

    fn text(&self, column: &str) -> Option<&str> {
        match self.shown(column)? {
            Texts::One { text, .. } => Some(text),
            Texts::Many(_) => None,
        }
    }
}

/// Returns the text to show if it differs from the bytes as UTF-8, and whether it is escaped.
fn changed_text(bytes: &[u8], encoding: Option<Encoding>, used: Use, column: &str, odd: &OddNames) -> Option<(String, bool)> {
    let shown = shown(bytes, encoding, used);
    if shown.is_escaped {
        odd.log(column, &shown.text, used);
    }
    (shown.text.as_bytes() != bytes).then(|| (shown.text.into_owned(), shown.is_escaped))
}

fn is_text(of: &Type) -> bool {
    [Type::TEXT, Type::NAME, Type::VARCHAR, Type::BPCHAR, Type::UNKNOWN].contains(of)
}

/// The unchecked bytes of a text.
struct Bytes<'a>(&'a [u8]);

impl<'a> FromSql<'a> for Bytes<'a> {
    fn from_sql(_: &Type, raw: &'a [u8]) -> Result<Self, Box<dyn Error + Sync + Send>> {
        Ok(Self(raw))
    }

    fn accepts(of: &Type) -> bool {
        is_text(of)
    }
}

/// A type that a column can be read as.
pub trait Value<'a>: Sized {
    fn read(row: &'a Row, column: &str) -> Result<Self, tokio_postgres::Error>;
}

macro_rules! no_texts {
    ($($type:ty),*) => {$(
        impl<'a> Value<'a> for $type {
            fn read(row: &'a Row, column: &str) -> Result<Self, tokio_postgres::Error> {
                row.row.try_get(column)
            }
        }
    )*};
}

no_texts!(bool, i32, i64, u32, f64, Option<bool>, Option<i32>, Option<i64>, Option<u32>, Option<f64>);
no_texts!(Vec<i16>, Vec<i32>, Vec<u32>, Vec<Option<i32>>, Vec<Option<f64>>);

impl<'a> Value<'a> for Option<&'a str> {
    fn read(row: &'a Row, column: &str) -> Result<Self, tokio_postgres::Error> {
        row.text(column).map_or_else(|| row.row.try_get(column), |text| Ok(Some(text)))
    }
}

impl<'a> Value<'a> for &'a str {
    fn read(row: &'a Row, column: &str) -> Result<Self, tokio_postgres::Error> {
        row.text(column).map_or_else(|| row.row.try_get(column), Ok)
    }
}

impl Value<'_> for String {
    fn read(row: &Row, column: &str) -> Result<Self, tokio_postgres::Error> {
        <&str>::read(row, column).map(ToOwned::to_owned)
    }
}

impl Value<'_> for Option<String> {
    fn read(row: &Row, column: &str) -> Result<Self, tokio_postgres::Error> {
        <Option<&str>>::read(row, column).map(|text| text.map(ToOwned::to_owned))
    }
}

impl<'a> Value<'a> for Option<Vec<&'a str>> {
    fn read(row: &'a Row, column: &str) -> Result<Self, tokio_postgres::Error> {
        match row.shown(column) {
            Some(Texts::Many(texts)) => Ok(Some(texts.iter().flatten().map(String::as_str).collect())),
            _ => row.row.try_get(column),
        }
    }
}
