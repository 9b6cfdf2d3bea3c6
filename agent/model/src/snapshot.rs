//! One subject at one instant, in parts that fail on their own.
//!
//! Facts are stored in columns with dictionary-coded text, because that is the shape in which plugins pull them: a call crosses the
//! sandbox once for a thousand series.

use std::borrow::Cow;
use std::collections::{BTreeMap, HashMap};
use std::hash::{DefaultHasher, Hasher};
use std::sync::Arc;
use std::time::Duration;

use serde::{Deserialize, Serialize};

use crate::delta::Change;
use crate::subject::Subject;

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

/// A text as the value of a label: what is too long is cut, and a hash of the whole keeps it apart from others that begin alike.
fn label_value(text: &str) -> Cow<'_, str> {
    if text.len() <= LABEL_BYTES_MAX {
        return Cow::Borrowed(text);
    }
    let mut hasher = DefaultHasher::new();
    hasher.write(text.as_bytes());
    let cut = (0..=LABEL_BYTES_MAX).rev().find(|end| text.is_char_boundary(*end)).unwrap_or(0);
    Cow::Owned(format!("{}…{:016x}", &text[..cut], hasher.finish()))
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

/// Rows that are facts rather than series: waiting backends, statements, slots.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Table {
    pub name: String,
    pub row_count: u32,
    pub columns: Vec<Column>,
}

#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Column {
    pub name: String,
    pub unit: Option<String>,
    pub values: ColumnValues,
}

#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum ColumnValues {
    Float(Vec<Option<f64>>),
    Integer(Vec<Option<i64>>),
    Text(TextColumn),
    Boolean(Vec<Option<bool>>),
}

impl Column {
    pub fn float(name: &str, unit: &str, values: impl IntoIterator<Item = Option<f64>>) -> Self {
        Self { name: name.to_owned(), unit: Some(unit.to_owned()), values: ColumnValues::Float(values.into_iter().collect()) }
    }

    pub fn integer(name: &str, values: impl IntoIterator<Item = Option<i64>>) -> Self {
        Self { name: name.to_owned(), unit: None, values: ColumnValues::Integer(values.into_iter().collect()) }
    }

    pub fn boolean(name: &str, values: impl IntoIterator<Item = Option<bool>>) -> Self {
        Self { name: name.to_owned(), unit: None, values: ColumnValues::Boolean(values.into_iter().collect()) }
    }

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
    pub fn new(name: &str, columns: Vec<Column>) -> Self {
        let rows = columns.first().map_or(0, Column::len);
        debug_assert!(columns.iter().all(|column| column.len() == rows), "columns of {name} differ in length");
        Self { name: name.to_owned(), row_count: u32::try_from(rows).unwrap_or(u32::MAX), columns }
    }

    pub fn column(&self, name: &str) -> Option<&Column> {
        self.columns.iter().find(|column| column.name == name)
    }

    /// One cell of a column of numbers.
    pub fn number(&self, column: &str, row: usize) -> Option<f64> {
        match &self.column(column)?.values {
            ColumnValues::Float(values) => values.get(row).copied().flatten(),
            ColumnValues::Integer(values) => values.get(row).copied().flatten().map(|value| value as f64),
            ColumnValues::Text(_) | ColumnValues::Boolean(_) => None,
        }
    }

    /// One cell of a column of integers.
    pub fn integer(&self, column: &str, row: usize) -> Option<i64> {
        match &self.column(column)?.values {
            ColumnValues::Integer(values) => values.get(row).copied().flatten(),
            _ => None,
        }
    }

    /// One cell of a column of truths.
    pub fn boolean(&self, column: &str, row: usize) -> Option<bool> {
        match &self.column(column)?.values {
            ColumnValues::Boolean(values) => values.get(row).copied().flatten(),
            _ => None,
        }
    }

    /// One cell of a column of texts.
    pub fn text(&self, column: &str, row: usize) -> Option<&str> {
        match &self.column(column)?.values {
            ColumnValues::Text(texts) => texts.text(row),
            _ => None,
        }
    }
}

/// What one run of one collector read.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub struct Reading {
    /// When it was read, on the agent's monotonic clock.
    pub at: Duration,
    /// From then on it is stale: its collector should have run again by then.
    pub fresh_until: Duration,
    /// Changes when the server restarts or its statistics are reset as a whole; rates never span two epochs.
    pub epoch: u64,
    pub families: Vec<Family>,
    pub tables: Vec<Table>,
}

/// Whether a part can be judged.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase", tag = "state", content = "why")]
pub enum PartState {
    Present,
    Failed(String),
    Unsupported(String),
    /// Time since the last good read.
    Stale(Duration),
}

/// One collector's share of a snapshot. `reading` is there exactly while the part is present.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Part {
    pub state: PartState,
    #[serde(with = "shared")]
    pub reading: Option<Arc<Reading>>,
    /// When it was last read, on the agent's monotonic clock, whatever happened since.
    pub last_read: Option<Duration>,
}

/// A recorded snapshot spells out what a live one shares.
mod shared {
    use std::sync::Arc;

    use serde::{Deserialize, Deserializer, Serialize, Serializer};

    use super::Reading;

    pub fn serialize<S: Serializer>(reading: &Option<Arc<Reading>>, serializer: S) -> Result<S::Ok, S::Error> {
        reading.as_deref().serialize(serializer)
    }

    pub fn deserialize<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Option<Arc<Reading>>, D::Error> {
        Ok(Option::<Reading>::deserialize(deserializer)?.map(Arc::new))
    }
}

/// As above, for the members of a database.
mod members {
    use std::sync::Arc;

    use serde::{Deserialize, Deserializer, Serializer};

    use crate::delta::Change;

    pub fn serialize<S: Serializer>(members: &[Arc<Change>], serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_seq(members.iter().map(Arc::as_ref))
    }

    pub fn deserialize<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Vec<Arc<Change>>, D::Error> {
        Ok(Vec::<Change>::deserialize(deserializer)?.into_iter().map(Arc::new).collect())
    }
}

impl Part {
    pub fn present(reading: Arc<Reading>) -> Self {
        Self { state: PartState::Present, last_read: Some(reading.at), reading: Some(reading) }
    }

    pub fn failed(why: impl Into<String>) -> Self {
        Self { state: PartState::Failed(why.into()), reading: None, last_read: None }
    }

    pub fn unsupported(why: impl Into<String>) -> Self {
        Self { state: PartState::Unsupported(why.into()), reading: None, last_read: None }
    }

    /// The part as it follows another one: what fails now may have been read before.
    pub fn after(mut self, earlier: Option<&Self>) -> Self {
        self.last_read = self.last_read.or(earlier.and_then(|earlier| earlier.last_read));
        self
    }
}

/// One subject at one instant.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Snapshot {
    pub subject: Subject,
    /// Wall time, milliseconds since 1970.
    pub taken_at_ms: u64,
    /// The same instant on the agent's monotonic clock.
    pub taken_at: Duration,
    /// Planned time between two snapshots of the subject.
    pub interval: Duration,
    /// By collector.
    pub parts: BTreeMap<String, Part>,
    /// The servers of a database, with their rates; empty for other kinds.
    #[serde(with = "members")]
    pub members: Vec<Arc<Change>>,
}

impl Snapshot {
    /// A snapshot without facts, for a first look at a plugin before anything was collected.
    pub fn empty(kind: &str) -> Self {
        Self {
            subject: Subject { kind: kind.to_owned(), id: "none".to_owned(), version: String::new(), labels: Vec::new() },
            taken_at_ms: 0,
            taken_at: Duration::ZERO,
            interval: Duration::ZERO,
            parts: BTreeMap::new(),
            members: Vec::new(),
        }
    }

    /// Turns what is too old at `now` into stale parts, so that nobody judges the past.
    pub fn expire(&mut self, now: Duration) {
        for part in self.parts.values_mut() {
            if let Some(reading) = part.reading.take_if(|reading| reading.fresh_until < now) {
                part.state = PartState::Stale(now.saturating_sub(reading.at));
            }
        }
        for member in self.members.iter_mut().filter(|member| member.snapshot.is_stale(now)) {
            Arc::make_mut(member).snapshot.expire(now);
        }
    }

    fn is_stale(&self, now: Duration) -> bool {
        self.readings().any(|reading| reading.fresh_until < now)
    }

    fn readings(&self) -> impl Iterator<Item = &Arc<Reading>> {
        self.parts.values().filter_map(|part| part.reading.as_ref())
    }

    pub fn family(&self, metric: &str) -> Option<&Family> {
        self.readings().flat_map(|reading| &reading.families).find(|family| family.metric == metric)
    }

    pub fn table(&self, name: &str) -> Option<&Table> {
        self.readings().flat_map(|reading| &reading.tables).find(|table| table.name == name)
    }

    /// The value of a metric without labels.
    pub fn scalar(&self, metric: &str) -> Option<f64> {
        self.family(metric).and_then(|family| family.values.first().copied())
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

    #[test]
    fn a_database_is_recorded_with_its_members_and_what_is_stale_of_them_is_not_judged() {
        let reading = Reading { fresh_until: Duration::from_secs(20), ..Reading::default() };
        let mut member = Snapshot::empty("postgres");
        member.parts.insert("server".into(), Part::present(Arc::new(reading)));
        let mut database = Snapshot { members: vec![Arc::new(Change::first(member))], ..Snapshot::empty("database") };
        let recorded: Snapshot = serde_json::from_str(&serde_json::to_string(&database).unwrap()).unwrap();
        assert_eq!(recorded, database);
        let shown_elsewhere = Arc::clone(&database.members[0]);
        database.expire(Duration::from_secs(20));
        assert_eq!(database, recorded);
        database.expire(Duration::from_secs(21));
        assert_eq!(database.members[0].snapshot.parts["server"].state, PartState::Stale(Duration::from_secs(21)));
        assert_eq!(shown_elsewhere, recorded.members[0], "what others hold stays as it is");
    }

    #[test]
    fn equal_texts_share_a_word_and_null_has_none() {
        let column = Column::text("user", [Some("ann"), None, Some("ann")]);
        let ColumnValues::Text(texts) = column.values else { panic!("a text column") };
        assert_eq!(texts.words, ["ann"]);
        assert_eq!(texts.codes, [0, NULL_CODE, 0]);
        assert_eq!(texts.text(1), None);
    }
}
