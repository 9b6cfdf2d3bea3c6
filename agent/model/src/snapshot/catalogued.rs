//! Compares the tables of a snapshot with the catalogue that authors of plugins rely on.

use super::change::Change;
use super::table::{Column, Table};
use crate::catalogue::tables::{ColumnKind, ColumnSpec, Tables};
use crate::subject::SubjectKind;

impl Change {
    /// Differences between the tables of this change and the catalogue, each as a sentence. Members are left out, because each is a change
    /// of its own.
    ///
    /// A difference is a mistake of a collector or of the catalogue. Plugins that trust the catalogue would read nulls.
    pub fn uncatalogued(&self) -> Vec<String> {
        let kind = &self.snapshot.subject.kind;
        let parts =
            self.snapshot.parts.iter().filter_map(|(name, part)| Some((Some(name.as_str()), part.reading.as_ref()?.tables.as_slice())));
        let tables = parts.chain([(None, self.readings().as_slice())]);
        tables.flat_map(|(part, tables)| tables.iter().flat_map(move |table| differences(kind, part, table))).collect()
    }
}

fn differences(kind: &SubjectKind, part: Option<&str>, table: &Table) -> Vec<String> {
    let name = &table.name;
    let Some(spec) = Tables::shipped().spec(kind, name) else {
        return vec![format!("the catalogue has no table `{name}` of {}", kind.described())];
    };
    let mut found = Vec::new();
    if spec.part.as_deref() != part {
        found.push(format!("table `{name}` is in part {part:?}, not {:?}", spec.part));
    }
    if let Some(rows_max) = spec.rows_max.filter(|rows_max| table.row_count > *rows_max) {
        found.push(format!("table `{name}` has {} rows, more than {rows_max}", table.row_count));
    }
    let [has, expected] = [table.columns.iter().map(shape).collect(), spec.columns.iter().map(promised).collect::<Vec<_>>()];
    if has != expected {
        found.push(format!("table `{name}` has the columns\n  {}\nand the catalogue\n  {}", has.join(", "), expected.join(", ")));
    }
    found
}

/// Name, kind and unit of a column. Only float columns have a unit.
fn shape(column: &Column) -> String {
    let unit = column.unit.as_deref().unwrap_or_default();
    format!("{} {} {unit}", column.name, column.values.kind().as_str())
}

fn promised(spec: &ColumnSpec) -> String {
    let unit = spec.unit.as_deref().filter(|_| spec.kind == ColumnKind::Float).unwrap_or_default();
    format!("{} {} {unit}", spec.name, spec.kind.as_str())
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use super::*;
    use crate::snapshot::{Part, Reading, Snapshot};

    /// Differences for this table in the part `info` of a Redis server.
    fn found(table: Table) -> Vec<String> {
        let mut snapshot = Snapshot::empty("redis");
        snapshot.parts.insert("info".to_owned(), Part::present(Arc::new(Reading { tables: vec![table], ..Reading::default() })));
        Change::first(snapshot).uncatalogued()
    }

    fn restarts(rows: usize) -> Vec<Column> {
        let seconds = |name| Column::float(name, "seconds", (0..rows).map(|_| Some(1.0)));
        vec![Column::text("kind", (0..rows).map(|_| Some("restart"))), seconds("at"), seconds("seconds_ago")]
    }

    #[test]
    fn a_table_equals_its_catalogue_entry_or_the_difference_is_named() {
        assert_eq!(found(Table::new("restarts", restarts(20))), Vec::<String>::new());
        assert_eq!(found(Table::new("restarts", restarts(21))), ["table `restarts` has 21 rows, more than 20"]);
        assert_eq!(found(Table::new("restart", restarts(1))), ["the catalogue has no table `restart` of a redis server"]);
        assert_eq!(found(Table::new("members", restarts(1))), ["the catalogue has no table `members` of a redis server"]);
        let unreachable = ["reason", "why"].map(|name| Column::text(name, [Some("")])).into();
        assert_eq!(found(Table::new("unreachable", unreachable)), ["table `unreachable` is in part Some(\"info\"), not Some(\"up\")"]);
    }

    #[test]
    fn columns_are_those_in_that_order_with_those_kinds_and_units() {
        let expected = "and the catalogue\n  kind text , at float seconds, seconds_ago float seconds";
        let mut swapped = restarts(1);
        swapped.swap(1, 2);
        let mut other_unit = restarts(1);
        other_unit[1] = Column::float("at", "ms", [None]);
        let mut other_kind = restarts(1);
        other_kind[1] = Column::integer("at", [None]);
        for columns in [swapped, other_unit, other_kind, restarts(1).split_off(1)] {
            let found = found(Table::new("restarts", columns));
            assert!(found.len() == 1 && found[0].ends_with(expected), "{found:?}");
        }
    }
}
