//! One subject at one instant, as rules read it.
//!
//! A missing sample means "none" only while its part is present, so the readers here answer `SkipReason` when it is not; with `?` a rule
//! that cannot look is skipped honestly.

use std::cell::RefCell;
use std::collections::BTreeMap;
use std::rc::Rc;

use crate::bindings::plugin::pharos::plugin::snapshots as host;
use crate::{Label, SkipReason, Subject, Table};

pub use host::{Column, FloatColumn, IntegerColumn, LabelColumn, Matcher, Part, PartState, Pattern, Reading, Samples, TextColumn};

/// Where facts come from: the host in a component, [`crate::testing::Facts`] in a test.
pub trait Source {
    fn subject(&self) -> Subject;
    fn taken_at_ms(&self) -> u64;
    fn interval_ms(&self) -> u64;
    fn parts(&self) -> Vec<Part>;
    fn part_of(&self, metric: &str) -> Option<Part>;
    fn samples(&self, metric: &str, matching: &[Matcher], reading: Reading) -> Samples;
    fn table(&self, name: &str) -> Option<Box<dyn Columns>>;
    fn members(&self) -> Vec<Subject>;
    fn member(&self, id: &str) -> Option<Box<dyn Source>>;
}

/// The columns of a table, read page by page.
pub trait Columns {
    fn row_count(&self) -> u32;
    fn columns(&self) -> Vec<Column>;
    fn floats(&self, column: u32, offset: u32, limit: u32) -> FloatColumn;
    fn integers(&self, column: u32, offset: u32, limit: u32) -> IntegerColumn;
    fn texts(&self, column: u32, offset: u32, limit: u32) -> TextColumn;
}

pub struct Snapshot {
    source: Box<dyn Source>,
    subject: Subject,
    /// Those that were asked for: several rules read one table, which crosses the sandbox once.
    tables: RefCell<BTreeMap<String, Option<Rc<Table>>>>,
    /// Likewise, so that their tables cross once as well.
    opened: RefCell<BTreeMap<String, Option<Rc<Snapshot>>>>,
}

impl Snapshot {
    pub fn new(source: impl Source + 'static) -> Self {
        Self::from_box(Box::new(source))
    }

    fn from_box(source: Box<dyn Source>) -> Self {
        let subject = source.subject();
        Self { source, subject, tables: RefCell::default(), opened: RefCell::default() }
    }

    pub fn subject(&self) -> &Subject {
        &self.subject
    }

    /// The only clock of a judgement, so that a replay is exact.
    pub fn taken_at_ms(&self) -> u64 {
        self.source.taken_at_ms()
    }

    /// Time since the previous snapshot of this subject.
    pub fn interval_seconds(&self) -> f64 {
        self.source.interval_ms() as f64 / 1_000.0
    }

    /// Time between the two readings that a metric's rates come from. Parts are read less often than their subject is judged, and a rate
    /// stands until its part is read again. An agent that does not say so is taken at its interval.
    pub fn reading_seconds(&self, metric: &str) -> f64 {
        let of_part = || {
            let (readings, part) = (self.table("readings")?, self.part_of(metric)?);
            let row = (0..readings.row_count()).find(|row| readings.has("part", *row, &part.name))?;
            readings.number("seconds", row)
        };
        of_part().unwrap_or_else(|| self.interval_seconds())
    }

    pub fn parts(&self) -> Vec<Part> {
        self.source.parts()
    }

    /// The part that carries a metric; none where nobody collects it for this kind of subject.
    pub fn part_of(&self, metric: &str) -> Option<Part> {
        self.source.part_of(metric)
    }

    /// Whether a metric can be judged now, or why not.
    pub fn readable(&self, metric: &str) -> Result<(), SkipReason> {
        let Some(part) = self.part_of(metric) else {
            let kind = &self.subject.kind;
            return Err(SkipReason::Unsupported(format!("nobody collects `{metric}` for a subject of kind `{kind}`")));
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

    /// The raw read, with matching done by the host: cheap where few of many series are wanted.
    pub fn samples(&self, metric: &str, matching: &[Matcher], reading: Reading) -> Samples {
        self.source.samples(metric, matching, reading)
    }

    /// Every series of a metric that exists now.
    pub fn values(&self, metric: &str) -> Result<Samples, SkipReason> {
        self.readable(metric)?;
        Ok(self.samples(metric, &[], Reading::Value))
    }

    /// Per second since the previous tick. There are none on the first tick or after a restart, which is no sign of calm.
    pub fn rates(&self, metric: &str) -> Result<Samples, SkipReason> {
        self.readable(metric)?;
        let rates = self.samples(metric, &[], Reading::Rate);
        if rates.values.is_empty() && !self.samples(metric, &[], Reading::Value).values.is_empty() {
            return Err(SkipReason::NoData);
        }
        Ok(rates)
    }

    /// A metric that has one series, or none.
    pub fn value(&self, metric: &str) -> Result<Option<f64>, SkipReason> {
        Ok(self.values(metric)?.values.first().copied())
    }

    pub fn table(&self, name: &str) -> Option<Rc<Table>> {
        if let Some(known) = self.tables.borrow().get(name) {
            return known.clone();
        }
        let table = self.source.table(name).map(|columns| Rc::new(Table::new(columns)));
        self.tables.borrow_mut().insert(name.to_owned(), table.clone());
        table
    }

    /// The servers of a database; empty for other kinds.
    pub fn members(&self) -> Vec<Subject> {
        self.source.members()
    }

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
    pub fn rows(&self) -> impl Iterator<Item = Row<'_>> {
        (0..self.values.len()).map(|index| Row { samples: self, index })
    }
}

/// One series: its labels and its value.
#[derive(Clone, Copy)]
pub struct Row<'a> {
    samples: &'a Samples,
    index: usize,
}

impl<'a> Row<'a> {
    pub fn value(self) -> f64 {
        self.samples.values[self.index]
    }

    pub fn label(self, name: &str) -> Option<&'a str> {
        let column = self.samples.labels.iter().find(|column| column.name == name)?;
        self.word(column)
    }

    /// The labels that tell this series from others of the same subject, which is what identifies a finding.
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
