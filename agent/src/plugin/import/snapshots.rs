//! The `snapshots` import: a plugin pulls what it needs of the snapshot that is judged.

use std::sync::Arc;

use pharos_model::catalogue::metrics::Metrics;
use pharos_model::duration::milliseconds;
use pharos_model::snapshot::{self, ColumnValues, PartState, Snapshot};
use pharos_model::snapshot::{Pattern, Quantity, SeriesFilter};
use wasmtime::component::Resource;

use super::imports::Imports;
use crate::plugin::contract::bindings::alert_rule::pharos::plugin::snapshots as wit;
use crate::plugin::contract::bindings::alert_rule::pharos::plugin::types;
use crate::plugin::contract::convert;
use crate::plugin::contract::handle::{SnapshotHandle, TableHandle};

impl wit::Host for Imports {}

impl wit::HostSnapshot for Imports {
    fn subject(&mut self, this: Resource<SnapshotHandle>) -> wasmtime::Result<types::Subject> {
        Ok(convert::subject(&self.handles.change(&this)?.snapshot.subject))
    }

    fn taken_at_ms(&mut self, this: Resource<SnapshotHandle>) -> wasmtime::Result<u64> {
        Ok(self.handles.change(&this)?.snapshot.taken_at_ms)
    }

    fn interval_ms(&mut self, this: Resource<SnapshotHandle>) -> wasmtime::Result<u64> {
        Ok(milliseconds(self.handles.change(&this)?.snapshot.interval))
    }

    fn parts(&mut self, this: Resource<SnapshotHandle>) -> wasmtime::Result<Vec<wit::Part>> {
        let snapshot = &self.handles.change(&this)?.snapshot;
        Ok(snapshot.parts.iter().map(|(name, part)| wit_part(name, &part.state)).collect())
    }

    fn source(&mut self, this: Resource<SnapshotHandle>, metric: String) -> wasmtime::Result<Option<wit::Part>> {
        let snapshot = &self.handles.change(&this)?.snapshot;
        Ok(source(snapshot, &metric))
    }

    fn samples(
        &mut self,
        this: Resource<SnapshotHandle>,
        metric: String,
        matching: Vec<wit::Matcher>,
        reading: wit::Reading,
    ) -> wasmtime::Result<wit::Samples> {
        let matching: Vec<SeriesFilter> = matching.into_iter().map(filter).collect();
        let quantity = match reading {
            wit::Reading::Value => Quantity::Value,
            wit::Reading::Rate => Quantity::Rate,
        };
        let samples = self.handles.change(&this)?.samples(&metric, &matching, quantity);
        let column = |column: snapshot::LabelColumn| wit::LabelColumn { name: column.name, values: text_column(column.values) };
        Ok(wit::Samples { labels: samples.labels.into_iter().map(column).collect(), values: samples.values })
    }

    fn table(&mut self, this: Resource<SnapshotHandle>, name: String) -> wasmtime::Result<Option<Resource<TableHandle>>> {
        let change = Arc::clone(self.handles.change(&this)?);
        self.handles.push_table(change, name)
    }

    fn members(&mut self, this: Resource<SnapshotHandle>) -> wasmtime::Result<Vec<types::Subject>> {
        let snapshot = &self.handles.change(&this)?.snapshot;
        Ok(snapshot.members.iter().map(|member| convert::subject(&member.snapshot.subject)).collect())
    }

    fn member(&mut self, this: Resource<SnapshotHandle>, id: String) -> wasmtime::Result<Option<Resource<SnapshotHandle>>> {
        let snapshot = &self.handles.change(&this)?.snapshot;
        let Some(member) = snapshot.members.iter().find(|member| member.snapshot.subject.id == id).cloned() else { return Ok(None) };
        Ok(Some(self.handles.push_snapshot(member)?))
    }

    fn drop(&mut self, this: Resource<SnapshotHandle>) -> wasmtime::Result<()> {
        self.handles.remove(this.rep());
        Ok(())
    }
}

impl wit::HostTable for Imports {
    fn row_count(&mut self, this: Resource<TableHandle>) -> wasmtime::Result<u32> {
        Ok(self.handles.table(&this)?.table()?.row_count)
    }

    fn columns(&mut self, this: Resource<TableHandle>) -> wasmtime::Result<Vec<wit::Column>> {
        let table = self.handles.table(&this)?.table()?;
        let column = |column: &snapshot::Column| wit::Column {
            name: column.name.clone(),
            kind: column_kind(&column.values),
            unit: column.unit.clone(),
        };
        Ok(table.columns.iter().map(column).collect())
    }

    fn floats(&mut self, this: Resource<TableHandle>, column: u32, offset: u32, limit: u32) -> wasmtime::Result<wit::FloatColumn> {
        let column = self.handles.table(&this)?.column(column)?;
        let ColumnValues::Float(values) = &column.values else { return Err(wrong_kind(column, "floats")) };
        let (values, present) = dense(window(values, offset, limit), 0.0);
        Ok(wit::FloatColumn { values, present })
    }

    fn integers(&mut self, this: Resource<TableHandle>, column: u32, offset: u32, limit: u32) -> wasmtime::Result<wit::IntegerColumn> {
        let column = self.handles.table(&this)?.column(column)?;
        let (values, present) = match &column.values {
            ColumnValues::Integer(values) => dense(window(values, offset, limit), 0),
            ColumnValues::Boolean(values) => {
                let (values, present) = dense(window(values, offset, limit), false);
                (values.into_iter().map(i64::from).collect(), present)
            }
            ColumnValues::Float(_) | ColumnValues::Text(_) => return Err(wrong_kind(column, "integers")),
        };
        Ok(wit::IntegerColumn { values, present })
    }

    fn texts(&mut self, this: Resource<TableHandle>, column: u32, offset: u32, limit: u32) -> wasmtime::Result<wit::TextColumn> {
        let column = self.handles.table(&this)?.column(column)?;
        let ColumnValues::Text(texts) = &column.values else { return Err(wrong_kind(column, "texts")) };
        let codes = window(&texts.codes, offset, limit).to_vec();
        Ok(wit::TextColumn { words: texts.words.clone(), codes })
    }

    fn drop(&mut self, this: Resource<TableHandle>) -> wasmtime::Result<()> {
        self.handles.remove(this.rep());
        Ok(())
    }
}

/// The part that carries a metric, if this kind of subject has it.
fn source(snapshot: &Snapshot, metric: &str) -> Option<wit::Part> {
    let name = Metrics::shipped().part_of(metric, &snapshot.subject.kind)?;
    match snapshot.parts.get(name) {
        Some(part) => Some(wit_part(name, &part.state)),
        None => Some(wit::Part { name: name.to_owned(), state: wit::PartState::Failed("not collected yet".to_owned()) }),
    }
}

fn wit_part(name: &str, state: &PartState) -> wit::Part {
    let state = match state {
        PartState::Present => wit::PartState::Present,
        PartState::Failed(why) => wit::PartState::Failed(why.clone()),
        PartState::Unsupported(why) => wit::PartState::Unsupported(why.clone()),
        PartState::Stale(age) => wit::PartState::Stale(milliseconds(*age)),
    };
    wit::Part { name: name.to_owned(), state }
}

fn filter(matcher: wit::Matcher) -> SeriesFilter {
    let pattern = match matcher.pattern {
        wit::Pattern::Equals(text) => Pattern::Equals(text),
        wit::Pattern::OneOf(texts) => Pattern::OneOf(texts),
        wit::Pattern::Prefix(text) => Pattern::Prefix(text),
    };
    SeriesFilter { label: matcher.label, pattern }
}

fn text_column(column: snapshot::TextColumn) -> wit::TextColumn {
    wit::TextColumn { words: column.words, codes: column.codes }
}

fn column_kind(values: &ColumnValues) -> wit::ColumnKind {
    match values {
        ColumnValues::Float(_) => wit::ColumnKind::Float,
        ColumnValues::Integer(_) => wit::ColumnKind::Integer,
        ColumnValues::Text(_) => wit::ColumnKind::Text,
        ColumnValues::Boolean(_) => wit::ColumnKind::Boolean,
    }
}

fn wrong_kind(column: &snapshot::Column, asked: &str) -> wasmtime::Error {
    wasmtime::Error::msg(format!("column `{}` holds no {asked}", column.name))
}

/// The rows from `offset`, at most `limit`; beyond the end there are none.
fn window<T>(values: &[T], offset: u32, limit: u32) -> &[T] {
    let start = (offset as usize).min(values.len());
    let end = start.saturating_add(limit as usize).min(values.len());
    &values[start..end]
}

/// Values without gaps, and where the gaps were if there were any.
fn dense<T: Copy>(values: &[Option<T>], gap: T) -> (Vec<T>, Option<Vec<bool>>) {
    let present = values.iter().any(Option::is_none).then(|| values.iter().map(Option::is_some).collect());
    (values.iter().map(|value| value.unwrap_or(gap)).collect(), present)
}
