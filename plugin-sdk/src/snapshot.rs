//! A snapshot: the state of one subject (a server, a database or the agent) at one instant.
//!
//! A missing sample means "none" only while the part that carries the metric is present. If the part is not present, the readers here
//! return `SkipReason`. A rule passes that on with `?`, and its alerts stay as they are.

use std::cell::RefCell;
use std::collections::BTreeMap;
use std::rc::Rc;

use crate::bindings::plugin::pharos::plugin::snapshots as host;
use crate::{Label, SkipReason, Subject, Table};

pub(crate) use host::{Column, FloatColumn, IntegerColumn, LabelColumn, TextColumn};
pub use host::{Matcher, Part, PartState, Pattern, Reading, Samples};

/// The source of a snapshot's facts: the host in a component, [`crate::testing::Facts`] in a test.
pub trait Source {
    /// The server, database or agent that the facts describe.
    fn subject(&self) -> Subject;
    /// The time of the snapshot, in milliseconds since 1970.
    fn taken_at_ms(&self) -> u64;
    /// The time since the previous snapshot of the subject, in milliseconds.
    fn interval_ms(&self) -> u64;
    /// The parts of the snapshot, each with its state.
    fn parts(&self) -> Vec<Part>;
    /// The part that carries a metric. None if no collector reads the metric for this kind of subject.
    fn part_of(&self, metric: &str) -> Option<Part>;
    /// The series of a metric that fit all matchers. A series without a rate is absent from a reading of rates.
    fn samples(&self, metric: &str, matching: &[Matcher], reading: Reading) -> Samples;
    /// A table by its name. None if the snapshot has no such table.
    fn table(&self, name: &str) -> Option<Box<dyn Columns>>;
    /// The servers of a database. Empty for other kinds of subjects.
    fn members(&self) -> Vec<Subject>;
    /// The facts of one server of the database, by the id of the server. None if it is not a member or has no snapshot.
    fn member(&self, id: &str) -> Option<Box<dyn Source>>;
}

/// The columns of a table, for reading page by page. A page may be shorter than its `limit`.
pub trait Columns {
    /// The number of rows.
    fn row_count(&self) -> u32;
    /// The names and kinds of the columns. Their order gives the index of each column.
    fn columns(&self) -> Vec<Column>;
    /// A page of a column of floats, from row `offset` on.
    fn floats(&self, column: u32, offset: u32, limit: u32) -> FloatColumn;
    /// A page of a column of integers or booleans (0 and 1), from row `offset` on.
    fn integers(&self, column: u32, offset: u32, limit: u32) -> IntegerColumn;
    /// A page of a column of texts, from row `offset` on. Each code is an index into the dictionary of the whole column.
    fn texts(&self, column: u32, offset: u32, limit: u32) -> TextColumn;
}

/// The state of one subject at one instant.
pub struct Snapshot {
    source: Box<dyn Source>,
    subject: Subject,
    /// Tables that a rule has read. Several rules may read the same table, and the table crosses the sandbox only once.
    tables: RefCell<BTreeMap<String, Option<Rc<Table>>>>,
    /// Members that a rule has opened. Their tables, too, cross the sandbox only once.
    opened: RefCell<BTreeMap<String, Option<Rc<Snapshot>>>>,
}

impl Snapshot {
    /// A snapshot that reads from a source.
    pub fn new(source: impl Source + 'static) -> Self {
        Self::from_box(Box::new(source))
    }

    fn from_box(source: Box<dyn Source>) -> Self {
        let subject = source.subject();
        Self { source, subject, tables: RefCell::default(), opened: RefCell::default() }
    }

    /// The server, database or agent that the snapshot describes.
    pub fn subject(&self) -> &Subject {
        &self.subject
    }

    /// The time of the snapshot, in milliseconds since 1970. A rule must use no other clock, or a replay gives other findings.
    pub fn taken_at_ms(&self) -> u64 {
        self.source.taken_at_ms()
    }

    /// The time since the previous snapshot of this subject, in seconds.
    pub fn interval_seconds(&self) -> f64 {
        self.source.interval_ms() as f64 / 1_000.0
    }

    /// The time between the two readings behind the rates of a metric, in seconds. A part may be read less often than its subject is
    /// judged. A rate stays the same until the next reading. Source: the table `readings`, or else [`Snapshot::interval_seconds`].
    pub fn reading_seconds(&self, metric: &str) -> f64 {
        let seconds_of_part = || {
            let (readings, part) = (self.table("readings")?, self.part_of(metric)?);
            let row = (0..readings.row_count()).find(|row| readings.has("part", *row, &part.name))?;
            readings.number("seconds", row)
        };
        seconds_of_part().unwrap_or_else(|| self.interval_seconds())
    }

    /// The parts of the snapshot, each with its state.
    pub fn parts(&self) -> Vec<Part> {
        self.source.parts()
    }

    /// The part that carries a metric. None if no collector reads the metric for this kind of subject.
    pub fn part_of(&self, metric: &str) -> Option<Part> {
        self.source.part_of(metric)
    }

    /// Checks that a metric can be judged now. The error is the reason why not.
    pub fn readable(&self, metric: &str) -> Result<(), SkipReason> {
        let Some(part) = self.part_of(metric) else {
            let kind = &self.subject.kind;
            return Err(SkipReason::Unsupported(format!("no collector reads `{metric}` for a subject of kind `{kind}`")));
        };
        let name = part.name;
        match part.state {
            PartState::Present => Ok(()),
            PartState::Failed(why) => Err(SkipReason::PartFailed(format!("part `{name}` failed: {why}"))),
            PartState::Unsupported(why) => Err(SkipReason::Unsupported(format!("part `{name}` is unsupported: {why}"))),
            PartState::Stale(age_ms) => Err(SkipReason::PartFailed(format!(
                "part `{name}` is stale: last read {} ago",
                crate::text::duration(age_ms as f64 / 1_000.0)
            ))),
        }
    }

    /// Reads the series that fit the matchers, whatever the state of the part. The host does the matching: a few of many series are cheap.
    pub fn samples(&self, metric: &str, matching: &[Matcher], reading: Reading) -> Samples {
        self.source.samples(metric, matching, reading)
    }

    /// Reads all present series of a metric. The error is the reason why the metric cannot be judged.
    pub fn values(&self, metric: &str) -> Result<Samples, SkipReason> {
        self.readable(metric)?;
        Ok(self.samples(metric, &[], Reading::Value))
    }

    /// Reads the rates of a counter's series, per second. A series has no rate at its first reading or after a reset. Fails with `NoData`
    /// if there are series but no rates: that must not count as fine.
    pub fn rates(&self, metric: &str) -> Result<Samples, SkipReason> {
        self.readable(metric)?;
        let rates = self.samples(metric, &[], Reading::Rate);
        if rates.values.is_empty() && !self.samples(metric, &[], Reading::Value).values.is_empty() {
            return Err(SkipReason::NoData);
        }
        Ok(rates)
    }

    /// Reads a metric that has at most one series. None if it has no series.
    pub fn value(&self, metric: &str) -> Result<Option<f64>, SkipReason> {
        Ok(self.values(metric)?.values.first().copied())
    }

    /// A table by its name. None if the snapshot has no such table.
    pub fn table(&self, name: &str) -> Option<Rc<Table>> {
        if let Some(known) = self.tables.borrow().get(name) {
            return known.clone();
        }
        let table = self.source.table(name).map(|columns| Rc::new(Table::new(columns)));
        self.tables.borrow_mut().insert(name.to_owned(), table.clone());
        table
    }

    /// The servers of a database. Empty for other kinds of subjects.
    pub fn members(&self) -> Vec<Subject> {
        self.source.members()
    }

    /// The snapshot of one server of the database, by the id of the server. None if it is not a member or has no snapshot.
    pub fn member(&self, id: &str) -> Option<Rc<Self>> {
        if let Some(known) = self.opened.borrow().get(id) {
            return known.clone();
        }
        let member = self.source.member(id).map(|source| Rc::new(Self::from_box(source)));
        self.opened.borrow_mut().insert(id.to_owned(), member.clone());
        member
    }
}

impl Samples {
    /// Iterates over the series.
    pub fn rows(&self) -> impl Iterator<Item = Row<'_>> {
        (0..self.values.len()).map(|index| Row { samples: self, index })
    }
}

/// A series of a metric: its labels and its value.
#[derive(Clone, Copy)]
pub struct Row<'a> {
    samples: &'a Samples,
    index: usize,
}

impl<'a> Row<'a> {
    /// The value, or the rate if rates were read.
    pub fn value(self) -> f64 {
        self.samples.values[self.index]
    }

    /// The value of a label. None if the series has no such label.
    pub fn label(self, name: &str) -> Option<&'a str> {
        let column = self.samples.labels.iter().find(|column| column.name == name)?;
        self.word(column)
    }

    /// The labels that distinguish this series from others of the same subject. They identify a finding.
    pub fn labels_beyond(self, subject: &Subject) -> Vec<Label> {
        self.samples
            .labels
            .iter()
            .filter(|column| !subject.labels.iter().any(|label| label.name == column.name))
            .filter_map(|column| Some(Label { name: column.name.clone(), value: self.word(column)?.to_owned() }))
            .collect()
    }

    fn word(self, column: &'a LabelColumn) -> Option<&'a str> {
        let code = *column.values.codes.get(self.index)?;
        column.values.words.get(usize::try_from(code).ok()?).map(String::as_str)
    }
}

impl Source for host::Snapshot {
    fn subject(&self) -> Subject {
        self.subject()
    }

    fn taken_at_ms(&self) -> u64 {
        self.taken_at_ms()
    }

    fn interval_ms(&self) -> u64 {
        self.interval_ms()
    }

    fn parts(&self) -> Vec<Part> {
        self.parts()
    }

    fn part_of(&self, metric: &str) -> Option<Part> {
        self.source(metric)
    }

    fn samples(&self, metric: &str, matching: &[Matcher], reading: Reading) -> Samples {
        self.samples(metric, matching, reading)
    }

    fn table(&self, name: &str) -> Option<Box<dyn Columns>> {
        self.table(name).map(|table| Box::new(table) as Box<dyn Columns>)
    }

    fn members(&self) -> Vec<Subject> {
        self.members()
    }

    fn member(&self, id: &str) -> Option<Box<dyn Source>> {
        self.member(id).map(|member| Box::new(member) as Box<dyn Source>)
    }
}

impl Columns for host::Table {
    fn row_count(&self) -> u32 {
        self.row_count()
    }

    fn columns(&self) -> Vec<Column> {
        self.columns()
    }

    fn floats(&self, column: u32, offset: u32, limit: u32) -> FloatColumn {
        self.floats(column, offset, limit)
    }

    fn integers(&self, column: u32, offset: u32, limit: u32) -> IntegerColumn {
        self.integers(column, offset, limit)
    }

    fn texts(&self, column: u32, offset: u32, limit: u32) -> TextColumn {
        self.texts(column, offset, limit)
    }
}
