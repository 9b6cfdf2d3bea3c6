//! `plugins/TABLES.md`: the table catalogue as a page for authors of plugins.

use std::fmt::Write;

use super::tables::{ColumnSpec, TableSpec, Tables};
use crate::subject::SubjectKind;

const BEGINNING: &str = "# Tables

Snapshots carry *tables* beside metrics: facts with names and texts, such as who waits for whom, as rows. A rule opens a table by its name
and reads it column by column; `wit/` says how, and in Rust it is `pharos_plugin::Table`. This page lists every table with its columns.

- A table belongs to a *part* of the snapshot, the collector that filled it. Ask for the part's state before you conclude anything from a
  table that is not there: a part that failed has no tables.
- Any cell may be null. The last column of each list says when.
- An object may be missing only because a table has a limited number of rows. The tables `unjudged_*` list what was left out, so that a rule
  skips these objects instead of counting them as fine.
- Times by a clock are seconds since 1970, unless the name ends in `_ms`. A ratio of 1 is all of it.
- A *datname* is a database inside a PostgreSQL server.

`pharos snapshot` records a snapshot with its tables. A case of `pharos rules test` writes one as rows, and this page is what it is checked
against. The page is made from `config/tables.toml`.
";

/// Kinds of subjects in the order of the page, each with its heading. `None` stands for tables that every subject has.
const SECTIONS: [(Option<SubjectKind>, &str); 5] = [
    (Some(SubjectKind::Postgres), "PostgreSQL servers (`postgres`)"),
    (Some(SubjectKind::Database), "Databases (`database`)"),
    (Some(SubjectKind::Redis), "Redis servers (`redis`)"),
    (Some(SubjectKind::Agent), "The agent (`agent`)"),
    (None, "Every subject"),
];

fn page() -> String {
    let mut text = BEGINNING.to_owned();
    for (kind, heading) in &SECTIONS {
        let tables: Vec<&TableSpec> = Tables::shipped().iter().filter(|spec| spec.subject == *kind).collect();
        write!(text, "\n## {heading}\n\n").expect("a string takes all");
        if kind == &Some(SubjectKind::Database) {
            text.push_str("A rule about a database reads the tables of its servers as well, member by member.\n\n");
        }
        contents(&mut text, &tables);
        tables.iter().for_each(|spec| section(&mut text, spec));
    }
    text
}

/// The list of tables of one kind of subject.
fn contents(text: &mut String, tables: &[&TableSpec]) {
    text.push_str("| table | part | rows |\n|---|---|---|\n");
    for spec in tables {
        let part = spec.part.as_ref().map_or_else(|| "beside the parts".to_owned(), |part| format!("`{part}`"));
        let first = spec.help.split_inclusive('.').next().unwrap_or_default().trim_end_matches('.');
        writeln!(text, "| [`{}`](#{}) | {part} | {first} |", spec.name, anchor(spec)).expect("a string takes all");
    }
}

fn section(text: &mut String, spec: &TableSpec) {
    let TableSpec { name, part, help, order, rows_max, columns, .. } = spec;
    let part = part.as_ref().map(|part| format!("Part `{part}`. "));
    let order = order.as_ref().map(|order| format!(" {order}"));
    let rows_max = match rows_max {
        Some(1) => " At most one row.".to_owned(),
        Some(rows) => format!(" At most {rows} rows."),
        None => String::new(),
    };
    let (part, order) = (part.unwrap_or_default(), order.unwrap_or_default());
    write!(text, "\n<a id=\"{}\"></a>\n\n### {name}\n\n{part}{help}{order}{rows_max}\n\n", anchor(spec)).expect("a string takes all");
    text.push_str("| column | kind | unit | meaning |\n|---|---|---|---|\n");
    for ColumnSpec { name, kind, unit, help } in columns {
        let unit = unit.as_deref().unwrap_or_default();
        writeln!(text, "| `{name}` | {} | {unit} | {help} |", kind.as_str()).expect("a string takes all");
    }
}

/// The HTML anchor of a table. Two kinds of subjects may have tables with one name, so the name alone is not unique.
fn anchor(spec: &TableSpec) -> String {
    spec.subject.as_ref().map_or_else(|| spec.name.clone(), |kind| format!("{kind}-{}", spec.name))
}

#[test]
fn the_page_for_authors_agrees_with_the_catalogue() {
    expect_test::expect_file!["../../../../plugins/TABLES.md"].assert_eq(&page());
    let kinds: Vec<SubjectKind> = SECTIONS.iter().filter_map(|(kind, _)| kind.clone()).collect();
    assert!(SubjectKind::observed().all(|kind| kinds.contains(&kind)), "a kind of subject has no section: {kinds:?}");
}
