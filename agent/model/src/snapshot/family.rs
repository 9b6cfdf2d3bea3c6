//! Series in columns: one row per series, with a dictionary for texts.

use std::borrow::Cow;
use std::collections::{BTreeMap, HashMap};

use serde::{Deserialize, Serialize};

use crate::catalogue::metrics::Metrics;
use crate::text::digest;

/// Code of a null text.
pub const NULL_CODE: u32 = u32::MAX;

/// Texts as a dictionary: `codes[row]` is an index into `words`, or [`NULL_CODE`].
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct TextColumn {
    /// Different texts of the column.
    pub words: Vec<String>,
    /// Code of each row's text.
    pub codes: Vec<u32>,
}

impl TextColumn {
    /// Text of a row; `None` for null.
    pub fn text(&self, row: usize) -> Option<&str> {
        self.codes.get(row).and_then(|code| self.words.get(*code as usize)).map(String::as_str)
    }
}

/// Builds a [`TextColumn`] row by row.
#[derive(Debug, Default)]
pub struct TextColumnBuilder {
    column: TextColumn,
    code_of: HashMap<String, u32>,
}

impl TextColumnBuilder {
    /// Adds a row; `None` for null.
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

    /// Returns the finished column.
    pub fn finish(self) -> TextColumn {
        self.column
    }
}

impl From<TextColumn> for TextColumnBuilder {
    fn from(column: TextColumn) -> Self {
        let code_of = (0..).zip(&column.words).map(|(code, word)| (word.clone(), code)).collect();
        Self { column, code_of }
    }
}

/// All series of one metric: one row per series, one column per label.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Family {
    /// Name of the metric.
    pub metric: String,
    /// Columns of labels, each with one text per series.
    pub labels: Vec<LabelColumn>,
    /// Values, one per series.
    pub values: Vec<f64>,
}

/// Column of one label.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct LabelColumn {
    /// Name of the label.
    pub name: String,
    /// Texts, one per series.
    pub values: TextColumn,
}

impl Family {
    /// Creates a family without labels, which has one series.
    pub fn scalar(metric: &str, value: f64) -> Self {
        Self { metric: metric.to_owned(), labels: Vec::new(), values: vec![value] }
    }

    /// The texts of a row's labels, in the order of the columns.
    pub fn label_texts(&self, row: usize) -> impl Iterator<Item = &str> {
        self.labels.iter().map(move |label| label.values.text(row).unwrap_or_default())
    }

    /// The series in Prometheus notation: `metric{label="value"}`.
    fn series_name(&self, row: usize) -> String {
        let pairs: Vec<String> =
            self.labels.iter().zip(self.label_texts(row)).map(|(label, value)| format!("{}={value:?}", label.name)).collect();
        format!("{}{{{}}}", self.metric, pairs.join(","))
    }
}

/// Most bytes of a label's value. Names in PostgreSQL have at most 63.
const LABEL_BYTES_MAX: usize = 200;

/// A text as a label's value. A long text is cut and gets a digest of the whole, so that texts with equal beginnings stay different.
pub(crate) fn label_value(text: &str) -> Cow<'_, str> {
    if text.len() <= LABEL_BYTES_MAX {
        return Cow::Borrowed(text);
    }
    let cut = text.floor_char_boundary(LABEL_BYTES_MAX);
    Cow::Owned(format!("{}…{}", &text[..cut], digest(text)))
}

/// Removes series with the same metric and labels: both cannot be true, and a scraper would choose one by chance. The worse value stays,
/// as defined by the metric's entry in the catalogue. Returns the names of the repeated series.
pub fn merge_repeated_series(families: &mut Vec<Family>) -> Vec<String> {
    let mut repeated = Vec::new();
    join_families(families);
    for family in families {
        let mut first: HashMap<Vec<u32>, usize> = HashMap::with_capacity(family.values.len());
        let mut later = Vec::new();
        for row in 0..family.values.len() {
            let codes = family.labels.iter().map(|label| label.values.codes.get(row).copied().unwrap_or(NULL_CODE)).collect();
            let place = *first.entry(codes).or_insert(row);
            if place != row {
                repeated.push(family.series_name(row));
                family.values[place] = Metrics::shipped().worse(&family.metric, family.values[place], family.values[row]);
                later.push(row);
            }
        }
        for row in later.into_iter().rev() {
            family.values.remove(row);
            for label in &mut family.labels {
                label.values.codes.remove(row);
            }
        }
    }
    repeated
}

/// Moves the rows of families of one metric into the first family whose labels have the same names.
fn join_families(families: &mut Vec<Family>) {
    let mut first: BTreeMap<String, usize> = BTreeMap::new();
    let mut joined: Vec<Family> = Vec::with_capacity(families.len());
    for family in families.drain(..) {
        let place = first.get(&family.metric).copied();
        let Some(place) =
            place.filter(|place| joined[*place].labels.iter().map(|label| &label.name).eq(family.labels.iter().map(|label| &label.name)))
        else {
            first.entry(family.metric.clone()).or_insert(joined.len());
            joined.push(family);
            continue;
        };
        let into = &mut joined[place];
        into.values.extend(&family.values);
        for (label, other) in into.labels.iter_mut().zip(family.labels) {
            let mut column = TextColumnBuilder::from(std::mem::take(&mut label.values));
            (0..other.values.codes.len()).for_each(|row| column.push(other.values.text(row)));
            label.values = column.finish();
        }
    }
    *families = joined;
}

/// Builds families that share their labels: each row has at most one value per metric.
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
    /// Creates a builder for these metrics, which all have these labels.
    pub fn new(labels: &[&str], metrics: &[&'static str]) -> Self {
        let rows = || FamilyRows { labels: labels.iter().map(|_| TextColumnBuilder::default()).collect(), values: Vec::new() };
        Self {
            metrics: metrics.iter().map(|metric| (*metric, rows())).collect(),
            labels: labels.iter().map(|label| (*label).to_owned()).collect(),
        }
    }

    /// Adds a row. A metric whose value is `None` gets no series for these labels.
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

    /// Returns the finished families; metrics without a value are left out.
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
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn repeated_series_become_one_with_the_greater_value_and_are_named() {
        let mut rows = FamiliesBuilder::new(&["replica"], &["lag"]);
        rows.push(&["10.0.0.9"], &[Some(0.0)]);
        rows.push(&["10.0.0.8"], &[Some(1.0)]);
        rows.push(&["10.0.0.9"], &[Some(24.0)]);
        let mut families = rows.finish();
        families.extend([Family::scalar("age", 1.0), Family::scalar("age", 0.0)]);
        assert_eq!(merge_repeated_series(&mut families), ["lag{replica=\"10.0.0.9\"}", "age{}"]);
        assert_eq!((&families[0].values, &families[1].values, families.len()), (&vec![24.0, 1.0], &vec![1.0], 2));
        assert_eq!((0..2).flat_map(|row| families[0].label_texts(row)).collect::<Vec<_>>(), ["10.0.0.9", "10.0.0.8"]);
    }

    #[test]
    fn the_series_that_reports_down_stays_where_lower_values_are_worse() {
        for metric in ["pharos_postgres_standby_receiver_up", "pharos_postgres_slot_safe_bytes", "pharos_redis_rdb_last_save_ok"] {
            let mut families = vec![Family::scalar(metric, 0.0), Family::scalar(metric, 1.0)];
            assert_eq!(merge_repeated_series(&mut families), [format!("{metric}{{}}")]);
            assert_eq!(families[0].values, [0.0], "{metric}");
        }
    }

    proptest! {
        #[test]
        fn each_series_exists_once_with_its_greatest_value(
            pushed in prop::collection::vec((0usize..3, "[ab]{0,2}", "[ab]{0,2}", 0u8..20), 0..40),
        ) {
            const METRICS: [&str; 2] = ["a", "b"];
            let mut expected: BTreeMap<(&str, String, String), f64> = BTreeMap::new();
            let mut families = Vec::new();
            for (metric, one, other, value) in &pushed {
                // Each row has a builder of its own, because the series of a metric may come from several builders.
                let mut rows = FamiliesBuilder::new(&["one", "other"], &METRICS);
                let values = std::array::from_fn::<_, 2, _>(|place| (place == *metric % 2).then_some(f64::from(*value)));
                rows.push(&[one, other], &values);
                families.extend(rows.finish());
                let greatest = expected.entry((METRICS[metric % 2], one.clone(), other.clone())).or_insert(0.0);
                *greatest = greatest.max(f64::from(*value));
            }
            let repeated = merge_repeated_series(&mut families);
            prop_assert_eq!(repeated.len(), pushed.len() - expected.len());
            let mut found = BTreeMap::new();
            for family in &families {
                for row in 0..family.values.len() {
                    let texts: Vec<&str> = family.label_texts(row).collect();
                    let before = found.insert((family.metric.as_str(), texts[0].to_owned(), texts[1].to_owned()), family.values[row]);
                    prop_assert_eq!(before, None);
                }
            }
            prop_assert_eq!(found, expected);
            prop_assert!(merge_repeated_series(&mut families).is_empty());
        }
    }

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
