//! The tables of a case: rows as they are written, with column types from the catalogue of tables.
//!
//! A case may write only tables that the agent makes. A case with any other table would pass although no rule can read that table.

use std::time::Duration;

use pharos_model::catalogue::tables::{ColumnKind, ColumnSpec, TableSpec, Tables};
use pharos_model::rule_case::TableSteps;
use pharos_model::snapshot::{Column, READINGS, Table};
use pharos_model::subject::SubjectKind;

use super::check::Check;
use super::file::FactsTable;
use crate::config::shape::did_you_mean;

/// The tables of a case, or of one of its members, over time.
pub(super) fn tables(check: &mut Check<'_>, path: &str, written: &[FactsTable], kind: &SubjectKind, interval: Duration) -> Vec<TableSteps> {
    let mut all = Vec::new();
    for (index, table) in written.iter().enumerate() {
        let path = format!("{path}.table[{index}]");
        let from = check.tick(&format!("{path}.from"), table.from, interval);
        let to = table.to.map_or(u32::MAX, |to| check.tick(&format!("{path}.to"), to, interval));
        if to <= from {
            check.report(&format!("{path}.to"), "must be after `from`");
        }
        match entry(&table.name, kind) {
            Ok(Entry { spec, part }) => {
                if table.part.as_ref().is_some_and(|written| written != part) {
                    check.report(&format!("{path}.part"), format_args!("`{}` is in part `{part}`", spec.name));
                }
                let columns = columns(check, &path, table, spec);
                all.push(TableSteps { part: part.to_owned(), from, to, table: Table::new(&spec.name, columns) });
            }
            Err(why) => check.report(&format!("{path}.name"), why),
        }
    }
    all
}

/// A table that a case can write.
struct Entry {
    spec: &'static TableSpec,
    part: &'static str,
}

/// The catalogue's entry of a table. An error says why a case about such a subject cannot have it.
fn entry(table: &str, kind: &SubjectKind) -> Result<Entry, String> {
    let catalogue = Tables::shipped();
    match catalogue.spec(kind, table) {
        Some(spec @ TableSpec { part: Some(part), .. }) => Ok(Entry { spec, part }),
        Some(TableSpec { part: None, .. }) => Err(format!("`{READINGS}` follows from the ticks of the case; leave it out")),
        None if catalogue.iter().any(|spec| spec.name == table) => {
            Err(format!("`{table}` is not of {}, which the case is about", kind.described()))
        }
        None => {
            let known = || catalogue.of_kind(kind).map(|spec| spec.name.as_str()).filter(|name| *name != READINGS);
            let hint = match did_you_mean(table, known()) {
                hint if hint.is_empty() => format!("; {} has {}", kind.described(), known().collect::<Vec<_>>().join(", ")),
                hint => hint,
            };
            Err(format!("there is no table `{table}`{hint}"))
        }
    }
}

/// The columns of the table: all that the catalogue has, unless the case names fewer. A cell that a row leaves out is null.
fn columns(check: &mut Check<'_>, path: &str, table: &FactsTable, spec: &TableSpec) -> Vec<Column> {
    check_declared(check, path, table, spec);
    for (index, row) in table.rows.iter().enumerate() {
        for (name, value) in row {
            let at = format!("{path}.rows[{index}].{name}");
            match spec.column(name) {
                None => check.report(&at, no_column(name, spec)),
                Some(_) if !table.has(name) => check.report(&at, format_args!("`columns` leaves `{name}` out")),
                Some(column) if holds(column.kind, value) => {}
                Some(column) => {
                    check.report(&at, format_args!("is {}, but the column is {}", value.type_str(), column.kind.as_str()));
                }
            }
        }
    }
    spec.columns.iter().filter(|column| table.has(&column.name)).map(|spec| column(spec, &table.rows)).collect()
}

/// Checks that the columns that a case declares agree with the catalogue.
fn check_declared(check: &mut Check<'_>, path: &str, table: &FactsTable, spec: &TableSpec) {
    let Some(declared) = &table.columns else { return };
    if declared.is_empty() {
        check.report(&format!("{path}.columns"), "there is none; leave the key out, and the table has all its columns");
    }
    for (name, kind) in declared {
        let at = format!("{path}.columns.{name}");
        match spec.column(name) {
            None => check.report(&at, no_column(name, spec)),
            Some(column) if column.kind == *kind => {}
            Some(column) => check.report(&at, format_args!("is {}, but the column is {}", kind.as_str(), column.kind.as_str())),
        }
    }
}

fn no_column(name: &str, spec: &TableSpec) -> String {
    let known = || spec.columns.iter().map(|column| column.name.as_str());
    let hint = match did_you_mean(name, known()) {
        hint if hint.is_empty() => format!("; it has {}", known().collect::<Vec<_>>().join(", ")),
        hint => hint,
    };
    format!("`{}` has no column `{name}`{hint}", spec.name)
}

/// Whether a column of this kind can hold the value. Floats may be written as integers.
fn holds(kind: ColumnKind, value: &toml::Value) -> bool {
    match kind {
        ColumnKind::Integer => value.is_integer(),
        ColumnKind::Float => value.is_float() || value.is_integer(),
        ColumnKind::Boolean => value.is_bool(),
        ColumnKind::Text => value.is_str(),
    }
}

/// The column as a collector would make it: only columns of floats have a unit.
fn column(spec: &ColumnSpec, rows: &[toml::Table]) -> Column {
    let name = &spec.name;
    let cells = rows.iter().map(|row| row.get(name));
    let float = |value: &toml::Value| value.as_float().or(value.as_integer().map(|integer| integer as f64));
    match spec.kind {
        ColumnKind::Text => Column::text(name, cells.map(|cell| cell?.as_str())),
        ColumnKind::Integer => Column::integer(name, cells.map(|cell| cell?.as_integer())),
        ColumnKind::Boolean => Column::boolean(name, cells.map(|cell| cell?.as_bool())),
        ColumnKind::Float => Column::float(name, spec.unit.as_deref().unwrap_or_default(), cells.map(|cell| float(cell?))),
    }
}
