//! Series in columns: one row per series, texts as a dictionary.

use std::borrow::Cow;
use std::collections::HashMap;

use serde::{Deserialize, Serialize};

use crate::text::digest;

/// The code of a text that is null.
pub const NULL_CODE: u32 = u32::MAX;

/// Text as a dictionary: `codes[row]` indexes `words`.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct TextColumn {
    pub words: Vec<String>,
    pub codes: Vec<u32>,
}

impl TextColumn {
    /// The text of a row; none where it is null.
    pub fn text(&self, row: usize) -> Option<&str> {
        self.codes.get(row).and_then(|code| self.words.get(*code as usize)).map(String::as_str)
    }
}

/// Collects texts into a [`TextColumn`].
#[derive(Debug, Default)]
pub struct TextColumnBuilder {
    column: TextColumn,
    code_of: HashMap<String, u32>,
}

impl TextColumnBuilder {
    pub fn push(&mut self, text: Option<&str>) {
        let code = match text {
            None => NULL_CODE,
            Some(text) => self.code(text),
        };
        self.column.codes.push(code);
    }

    fn code(&mut self, text: &str) -> u32 {
        if let Some(code) = self.code_of.get(text) {
            return *code;
        }
        let code = u32::try_from(self.column.words.len()).unwrap_or(NULL_CODE);
        self.column.words.push(text.to_owned());
        self.code_of.insert(text.to_owned(), code);
        code
    }

    pub fn finish(self) -> TextColumn {
        self.column
    }
}

/// All series of one metric: one row per series, one column per label.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Family {
    pub metric: String,
    pub labels: Vec<LabelColumn>,
    pub values: Vec<f64>,
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct LabelColumn {
    pub name: String,
    pub values: TextColumn,
}

impl Family {
    /// A family without labels, thus with one series.
    pub fn scalar(metric: &str, value: f64) -> Self {
        Self { metric: metric.to_owned(), labels: Vec::new(), values: vec![value] }
    }

    /// The texts of a row's labels, in the order of the columns.
    pub fn label_texts(&self, row: usize) -> impl Iterator<Item = &str> {
        self.labels.iter().map(move |label| label.values.text(row).unwrap_or_default())
    }
}

/// Bytes of a label's value; names of PostgreSQL have 63.
const LABEL_BYTES_MAX: usize = 200;

/// A text as the value of a label: what is too long is cut, and a digest of the whole keeps it apart from others that begin alike.
fn label_value(text: &str) -> Cow<'_, str> {
    if text.len() <= LABEL_BYTES_MAX {
        return Cow::Borrowed(text);
    }
    let cut = text.floor_char_boundary(LABEL_BYTES_MAX);
    Cow::Owned(format!("{}…{}", &text[..cut], digest(text)))
}

/// Collects rows into families that share their labels: each row gives one value (or none) per metric.
#[derive(Debug)]
pub struct FamiliesBuilder {
    metrics: Vec<(&'static str, FamilyRows)>,
    labels: Vec<String>,
}

#[derive(Debug, Default)]
struct FamilyRows {
    labels: Vec<TextColumnBuilder>,
    values: Vec<f64>,
}

impl FamiliesBuilder {
    pub fn new(labels: &[&str], metrics: &[&'static str]) -> Self {
        let rows = || FamilyRows { labels: labels.iter().map(|_| TextColumnBuilder::default()).collect(), values: Vec::new() };
        Self {
            metrics: metrics.iter().map(|metric| (*metric, rows())).collect(),
            labels: labels.iter().map(|label| (*label).to_owned()).collect(),
        }
    }

    /// Adds a row; a metric whose value is none has no series for these labels.
    pub fn push(&mut self, labels: &[&str], values: &[Option<f64>]) {
        debug_assert_eq!(labels.len(), self.labels.len());
        debug_assert_eq!(values.len(), self.metrics.len());
        for ((_, rows), value) in self.metrics.iter_mut().zip(values) {
            let Some(value) = value else { continue };
            rows.values.push(*value);
            for (column, text) in rows.labels.iter_mut().zip(labels) {
                column.push(Some(&label_value(text)));
            }
        }
    }

    pub fn finish(self) -> Vec<Family> {
        let Self { metrics, labels } = self;
        metrics
            .into_iter()
            .map(|(metric, rows)| Family {
                metric: metric.to_owned(),
                labels: labels
                    .iter()
                    .zip(rows.labels)
                    .map(|(name, values)| LabelColumn { name: name.clone(), values: values.finish() })
                    .collect(),
                values: rows.values,
            })
            .collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_missing_value_leaves_out_the_series_and_its_labels() {
        let mut rows = FamiliesBuilder::new(&["datname"], &["a", "b"]);
        rows.push(&["app"], &[Some(1.0), None]);
        rows.push(&["shop"], &[Some(2.0), Some(3.0)]);
        let families = rows.finish();
        assert_eq!(families[0].values, [1.0, 2.0]);
        assert_eq!(families[1].values, [3.0]);
        assert_eq!(families[1].label_texts(0).collect::<Vec<_>>(), ["shop"]);
    }

    #[test]
    fn a_label_is_cut_and_stays_apart_from_others_that_begin_alike() {
        let mut rows = FamiliesBuilder::new(&["application"], &["a"]);
        for end in ["ä", "ö"] {
            rows.push(&[&("x".repeat(LABEL_BYTES_MAX - 1) + end)], &[Some(1.0)]);
        }
        let families = rows.finish();
        let labels: Vec<&str> = (0..2).flat_map(|row| families[0].label_texts(row)).collect();
        assert!(labels[0] != labels[1] && labels.iter().all(|label| label.len() <= LABEL_BYTES_MAX + 20), "{labels:?}");
    }
}
