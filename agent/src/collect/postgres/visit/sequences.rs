//! How much of each sequence is used, up to its own limit or that of the column it fills.

use std::time::Duration;

use futures_util::FutureExt;
use futures_util::future::BoxFuture;
use pharos_model::alert::Now;
use pharos_model::snapshot::{Column, FamiliesBuilder, Table};
use tokio_postgres::Row;
use tokio_postgres::types::Type;

use super::{Round, SERIES_MAX, Visit};
use crate::collect::postgres::row::{Fields, query_with};
use crate::collect::{CollectError, Facts};
use crate::postgres::Session;

pub const NAME: &str = "sequences";

/// Sequences that are read of one datname, the fullest first.
const READ_MAX: i64 = 500;
/// Sequences that are listed, and those with a series, of all datnames together.
const LISTED_MAX: usize = 500;
/// A sequence that is used less has no series: there are thousands of them, and it will be long before anybody cares.
const SERIES_FROM: f64 = 0.5;

pub struct Sequences {
    interval: Duration,
    /// Of the round that is under way.
    datnames: Vec<(String, i64)>,
    read: Vec<Sequence>,
}

#[derive(Debug)]
struct Sequence {
    datname: String,
    schema: String,
    sequence: String,
    relation: Option<String>,
    column: Option<String>,
    column_type: Option<String>,
    last_value: Option<i64>,
    last_possible: i64,
    used_ratio: Option<f64>,
    cycles: bool,
    /// `known`, `never-used`, `no-privilege` or `locked`.
    state: String,
}

impl Sequences {
    pub fn new(interval: Duration) -> Self {
        Self { interval, datnames: Vec::new(), read: Vec::new() }
    }

    async fn visit(&mut self, session: &Session) -> Result<(), CollectError> {
        let rows = query_with(session, NAME, include_str!("../sql/sequences.sql"), &[(&READ_MAX, Type::INT8)]).await?;
        let Some(first) = rows.first().map(|row| Fields::new(NAME, row)) else {
            return Err(CollectError::Unsupported("the datname was dropped or renamed meanwhile".to_owned()));
        };
        let datname = first.text("datname")?.to_owned();
        let total: i64 = first.field("total")?;
        // A datname without sequences has one row without a name.
        let sequences = rows.iter().filter(|_| total > 0).map(|row| Sequence::read(row, &datname)).collect::<Result<Vec<_>, _>>()?;
        self.read.extend(sequences);
        self.datnames.push((datname, total));
        Ok(())
    }
}

impl Sequence {
    fn read(row: &Row, datname: &str) -> Result<Self, CollectError> {
        let row = Fields::new(NAME, row);
        Ok(Self {
            datname: datname.to_owned(),
            schema: row.text("schema")?.to_owned(),
            sequence: row.text("sequence")?.to_owned(),
            relation: row.field("relation")?,
            column: row.field("column_name")?,
            column_type: row.field("column_type")?,
            last_value: row.field("last_value")?,
            last_possible: row.field("last_possible")?,
            used_ratio: row.number("used_ratio")?,
            cycles: row.field("cycles")?,
            state: row.text("state")?.to_owned(),
        })
    }
}

impl Visit for Sequences {
    fn name(&self) -> &'static str {
        NAME
    }

    fn interval(&self) -> Duration {
        self.interval
    }

    fn visit<'a>(&'a mut self, session: &'a mut Session, _: Now) -> BoxFuture<'a, Result<(), CollectError>> {
        self.visit(session).boxed()
    }

    fn finish(&mut self, round: &Round, _: Now) -> Facts {
        let mut read = std::mem::take(&mut self.read);
        let used = |sequence: &Sequence| sequence.used_ratio.unwrap_or(0.0);
        read.sort_by(|a, b| used(b).total_cmp(&used(a)));
        let datnames = std::mem::take(&mut self.datnames);
        let total: i64 = datnames.iter().map(|(_, total)| total).sum();
        read.truncate(LISTED_MAX);
        let mut counts = FamiliesBuilder::new(&["datname"], &["pharos_postgres_sequences"]);
        for (datname, total) in datnames.iter().take(SERIES_MAX) {
            counts.push(&[datname], &[Some(*total as f64)]);
        }
        let mut series = FamiliesBuilder::new(&["datname", "schema", "sequence"], &["pharos_postgres_sequence_used_ratio"]);
        let full: Vec<&Sequence> = read.iter().filter(|sequence| used(sequence) >= SERIES_FROM).collect();
        for sequence in &full {
            series.push(&[&sequence.datname, &sequence.schema, &sequence.sequence], &[sequence.used_ratio]);
        }
        let mut families = counts.finish();
        families.extend(series.finish());
        let folded = u64::try_from(total).unwrap_or(0).saturating_sub(full.len() as u64);
        Facts { epoch: round.epoch, families, tables: vec![table(&read)], folded, ..Facts::default() }
    }
}

fn table(rows: &[Sequence]) -> Table {
    let texts = |value: fn(&Sequence) -> Option<&str>| rows.iter().map(value);
    Table::new(
        "sequences",
        vec![
            Column::text("datname", texts(|row| Some(&row.datname))),
            Column::text("schema", texts(|row| Some(&row.schema))),
            Column::text("sequence", texts(|row| Some(&row.sequence))),
            Column::text("relation", texts(|row| row.relation.as_deref())),
            Column::text("column", texts(|row| row.column.as_deref())),
            Column::text("column_type", texts(|row| row.column_type.as_deref())),
            Column::integer("last_value", rows.iter().map(|row| row.last_value)),
            Column::integer("max_value", rows.iter().map(|row| Some(row.last_possible))),
            Column::float("used_ratio", "ratio", rows.iter().map(|row| row.used_ratio)),
            Column::boolean("cycles", rows.iter().map(|row| Some(row.cycles))),
            Column::text("state", texts(|row| Some(&row.state))),
        ],
    )
}
