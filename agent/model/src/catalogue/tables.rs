//! The table catalogue: `config/tables.toml`, read once.
//!
//! A table of a snapshot has an entry here as a metric has one in [`metrics`](super::metrics). `tests/tidy/catalogue.rs` compares the
//! entries with the code both ways, `tests/catalogue/tables.rs` with snapshots of real servers, and `plugins/TABLES.md` is made from them.

use std::sync::LazyLock;

use serde::Deserialize;

use crate::subject::SubjectKind;

/// The kind of the values of a column. Mirrors the WIT enum `column-kind`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum ColumnKind {
    /// Text.
    Text,
    /// Whole number of 64 bits, with a sign.
    Integer,
    /// Finite number.
    Float,
    /// True or false.
    Boolean,
}

impl ColumnKind {
    /// Names of all kinds, in the order in which errors list them.
    pub const NAMES: [&'static str; 4] = [Self::Integer.as_str(), Self::Float.as_str(), Self::Text.as_str(), Self::Boolean.as_str()];

    /// The kind's name in the catalogue and in test cases of rules.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Text => "text",
            Self::Integer => "integer",
            Self::Float => "float",
            Self::Boolean => "boolean",
        }
    }
}

/// One column of a table.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ColumnSpec {
    /// The name by which plugins read the column.
    pub name: String,
    /// The kind of all values that are not null.
    pub kind: ColumnKind,
    /// Base unit of the values, such as `seconds`. `None` for texts, booleans, ids and plain counts.
    pub unit: Option<String>,
    /// Meaning of the value, and when it is null: sentences for authors of plugins.
    pub help: String,
}

/// One table of the snapshots of one kind of subject.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct TableSpec {
    /// The kind of subject whose snapshots have the table. `None` for a table that every subject has.
    pub subject: Option<SubjectKind>,
    /// The snapshot's part that carries the table. `None` for a table that belongs to no part.
    pub part: Option<String>,
    /// The name by which plugins open the table. Two kinds of subjects may each have a table of one name.
    pub name: String,
    /// Meaning of one row, and when the table is missing: sentences for authors of plugins.
    pub help: String,
    /// Which rows come first. `None` if there is only one row, or if the order has no meaning.
    pub order: Option<String>,
    /// Most rows that the table may have. `None` if the number follows from something that `help` names.
    pub rows_max: Option<u32>,
    /// The columns, in the order in which snapshots have them.
    pub columns: Vec<ColumnSpec>,
}

impl TableSpec {
    /// The column with this name.
    pub fn column(&self, name: &str) -> Option<&ColumnSpec> {
        self.columns.iter().find(|column| column.name == name)
    }

    /// Whether snapshots of this kind of subject may have the table.
    pub fn is_of(&self, kind: &SubjectKind) -> bool {
        self.subject.as_ref().is_none_or(|subject| subject == kind)
    }
}

/// Every table that a snapshot may carry, in the order of the file.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Tables {
    table: Vec<TableSpec>,
}

static TABLES: LazyLock<Tables> = LazyLock::new(|| {
    let tables = toml::from_str(include_str!("../../../../config/tables.toml"));
    tables.expect("config/tables.toml is a valid catalogue")
});

impl Tables {
    /// The catalogue that this build was made with.
    pub fn shipped() -> &'static Self {
        &TABLES
    }

    /// The entry of a table in snapshots of subjects of this kind. `None` if no collector fills such a table.
    pub fn spec(&self, kind: &SubjectKind, table: &str) -> Option<&TableSpec> {
        self.of_kind(kind).find(|spec| spec.name == table)
    }

    /// All tables that snapshots of this kind of subject may have, in the order of the file.
    pub fn of_kind(&self, kind: &SubjectKind) -> impl Iterator<Item = &TableSpec> {
        self.iter().filter(move |spec| spec.is_of(kind))
    }

    /// All tables, in the order of the file.
    pub fn iter(&self) -> impl Iterator<Item = &TableSpec> {
        self.table.iter()
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;
    use crate::catalogue::metrics::Metrics;

    #[test]
    fn a_table_has_one_entry_for_each_kind_of_subject_that_has_it() {
        for kind in SubjectKind::observed() {
            let names: Vec<&str> = Tables::shipped().of_kind(&kind).map(|spec| spec.name.as_str()).collect();
            let distinct: BTreeSet<&str> = names.iter().copied().collect();
            assert_eq!(names.len(), distinct.len(), "{kind}: {names:?}");
        }
        for spec in Tables::shipped().iter() {
            assert!(spec.subject.as_ref().is_none_or(SubjectKind::is_observed), "{}", spec.name);
            let columns: BTreeSet<&str> = spec.columns.iter().map(|column| column.name.as_str()).collect();
            assert_eq!(columns.len(), spec.columns.len(), "{} has two columns of one name", spec.name);
        }
    }

    #[test]
    fn the_entries_of_two_kinds_of_subjects_are_two() {
        let servers_column = |kind: &str| Tables::shipped().spec(&kind.into(), "hidden_facts").unwrap().column("server").is_some();
        assert_eq!([servers_column("agent"), servers_column("postgres")], [true, false]);
        assert!(Tables::shipped().spec(&SubjectKind::Redis, "hidden_facts").is_none());
        assert!(SubjectKind::observed().all(|kind| Tables::shipped().spec(&kind, crate::snapshot::READINGS).is_some()));
    }

    /// A test case of a rule lets all parts fail together with their server, and takes the list of parts from the metrics.
    #[test]
    fn the_part_of_a_table_carries_metrics_as_well() {
        for spec in Tables::shipped().iter() {
            let (Some(kind), Some(part)) = (&spec.subject, &spec.part) else {
                assert_eq!(spec.name, crate::snapshot::READINGS);
                continue;
            };
            let mut metrics = Metrics::shipped().iter().filter(|(metric, _)| Metrics::shipped().part_of(metric, kind) == Some(part));
            assert!(metrics.next().is_some(), "{} of {kind}: no metric has part {part}", spec.name);
        }
    }

    #[test]
    fn units_are_base_units_and_agree_with_the_endings_of_names() {
        const UNITS: [&str; 10] =
            ["blocks", "bytes", "calls", "milliseconds", "multixacts", "ratio", "rows", "seconds", "sessions", "transactions"];
        let endings = [("_bytes", "bytes"), ("_seconds", "seconds"), ("_ms", "milliseconds"), ("_ratio", "ratio"), ("_rows", "rows")];
        for spec in Tables::shipped().iter() {
            for ColumnSpec { name, kind, unit, .. } in &spec.columns {
                let column = format!("{}.{name}", spec.name);
                let is_number = matches!(kind, ColumnKind::Integer | ColumnKind::Float);
                assert!(unit.as_ref().is_none_or(|unit| is_number && UNITS.contains(&unit.as_str())), "{column}: {unit:?}");
                let ending = endings.iter().find(|(ending, _)| is_number && name.ends_with(ending));
                assert!(ending.is_none_or(|(_, expected)| unit.as_deref() == Some(*expected)), "{column}: {unit:?}");
            }
        }
    }

    #[test]
    fn help_and_order_are_sentences() {
        for spec in Tables::shipped().iter() {
            let columns = spec.columns.iter().map(|column| (column.name.as_str(), &column.help));
            let own = [&spec.help].into_iter().chain(&spec.order).map(|text| (spec.name.as_str(), text));
            for (name, text) in own.chain(columns) {
                let is_sentence =
                    text.ends_with('.') && text.starts_with(|first: char| first.is_uppercase() || "`0123456789".contains(first));
                assert!(is_sentence || text.starts_with("application_name "), "{}, {name}: {text}", spec.name);
                assert!(!text.contains('\n') && !text.contains("  "), "{}, {name}: {text}", spec.name);
            }
        }
    }
}
