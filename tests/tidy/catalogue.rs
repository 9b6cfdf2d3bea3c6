//! The catalogue: metrics, tables and SQL files are listed and used, both ways.

use std::collections::BTreeSet;

use pharos_model::catalogue::metrics::Metrics;
use pharos_model::catalogue::tables::{TableSpec, Tables};
use pharos_model::snapshot::READINGS;

use super::source::{Source, files, is_word, none, relative, sources};
use crate::fixture::project;

#[test]
fn every_sql_file_is_included() {
    let mut included = BTreeSet::new();
    for source in sources("agent/") {
        let folder = project().join(&source.path).parent().unwrap().to_owned();
        let names = source.text.split("include_str!(\"").skip(1).filter_map(|rest| rest.split('"').next());
        included.extend(names.filter_map(|name| folder.join(name).canonicalize().ok()));
    }
    let forgotten = files(".sql").into_iter().filter(|path| path.starts_with(project().join("agent")));
    let forgotten: Vec<String> =
        forgotten.filter(|path| !included.contains(&path.canonicalize().unwrap())).map(|path| relative(&path)).collect();
    none(&forgotten, "no code includes these");
}

/// Names in the code that look like the name of a metric. Only whole literals count.
fn metrics_in_code() -> BTreeSet<String> {
    let mut names = BTreeSet::new();
    for source in sources("agent/src/") {
        let code = source.code();
        let literals = code.split('"').filter(|text| text.starts_with("pharos_") || text.starts_with("process_"));
        names.extend(literals.filter(|text| text.chars().all(is_word) && !text.ends_with('_')).map(ToOwned::to_owned));
    }
    names
}

#[test]
fn the_metric_catalogue_and_the_code_agree() {
    let in_code = metrics_in_code();
    let in_catalogue: BTreeSet<String> = Metrics::shipped().iter().map(|(name, _)| name.to_owned()).collect();
    let unknown: Vec<String> = in_code.difference(&in_catalogue).cloned().collect();
    none(&unknown, "missing in config/metrics.toml");
    let unused: Vec<String> = in_catalogue.difference(&in_code).cloned().collect();
    none(&unused, "in config/metrics.toml, but no code fills them");
}

/// Files of the model that make columns of collectors' tables.
const COLUMNS_OF_THE_MODEL: [&str; 3] =
    ["agent/model/src/postgres/unused_indexes.rs", "agent/model/src/snapshot/change.rs", "agent/model/src/unjudged.rs"];

/// Every file that makes tables or columns of them, without its tests.
fn table_makers() -> Vec<(Source, String)> {
    let makers = sources("agent/src/collect/").into_iter().chain(COLUMNS_OF_THE_MODEL.into_iter().flat_map(sources));
    let code = |source: Source| {
        let code = source.code();
        let code = code.split("#[cfg(test)]").next().unwrap_or_default().to_owned();
        (source, code)
    };
    makers.map(code).filter(|(_, code)| code.contains("Table::new(") || code.contains("Column::")).collect()
}

#[test]
fn the_table_catalogue_and_the_code_agree() {
    let mut made = BTreeSet::new();
    for (source, code) in table_makers().iter().filter(|(source, _)| source.path.starts_with("agent/src/collect/")) {
        for after in code.split("Table::new(").skip(1) {
            let name = after.split('"').nth(1).unwrap();
            made.insert((source.module()[1].to_owned(), name.to_owned()));
        }
    }
    let of_one_kind = Tables::shipped().iter().filter_map(|spec| Some((spec.subject.as_ref()?.to_string(), spec.name.clone())));
    assert_eq!(made, of_one_kind.collect(), "tables that collectors make, and those in config/tables.toml");
    let of_all_kinds: Vec<&str> = Tables::shipped().iter().filter(|spec| spec.subject.is_none()).map(|spec| spec.name.as_str()).collect();
    assert_eq!(of_all_kinds, [READINGS], "tables of every subject");
}

#[test]
fn the_columns_of_the_table_catalogue_and_those_in_the_code_agree() {
    let known: BTreeSet<&str> = Tables::shipped().iter().flat_map(|spec| &spec.columns).map(|column| column.name.as_str()).collect();
    let makers = table_makers();
    let literals: BTreeSet<&str> = makers.iter().flat_map(|(_, code)| code.split('"').skip(1).step_by(2)).collect();
    let unmade: Vec<String> = known.iter().filter(|name| !literals.contains(**name)).map(|name| (*name).to_owned()).collect();
    none(&unmade, "columns in config/tables.toml that no code makes");
    let mut unknown = Vec::new();
    for (source, code) in &makers {
        for after in code.split("Column::").skip(1) {
            let Some((_, after)) = after.split_once('(') else { continue };
            let name = after.trim_start().strip_prefix('"').and_then(|rest| rest.split('"').next());
            unknown.extend(name.filter(|name| !known.contains(name)).map(|name| format!("{}: `{name}`", source.path)));
        }
    }
    none(&unknown, "columns that are missing in config/tables.toml");
}

#[test]
fn tables_that_are_read_by_name_are_in_the_catalogue() {
    let mut unknown = Vec::new();
    let mut read = 0;
    for source in ["agent/src/", "plugin-sdk/src/", "plugins/"].into_iter().flat_map(sources) {
        for after in source.code().split(".table(\"").skip(1) {
            let name = after.split('"').next().unwrap_or_default().to_owned();
            read += 1;
            // The reader of the config file has a method of the same name, which begins with the empty path.
            let is_known = name.is_empty() || Tables::shipped().iter().any(|spec| spec.name == name);
            unknown.extend((!is_known).then(|| format!("{}: `{name}`", source.path)));
        }
    }
    none(&unknown, "tables that no collector makes");
    assert!(read > 40, "only {read} readers of tables were found: the code reads them in another way");
}

/// A table as the tests of plugins write it: `table NAME`, then a line of columns such as `| pid integer | mode text |`.
struct WrittenTable<'a> {
    name: &'a str,
    /// Name and kind.
    columns: Vec<(&'a str, &'a str)>,
}

impl<'a> WrittenTable<'a> {
    /// The table that begins here, if one does. Lines end in the source, or in `\n` within a literal.
    fn read(text: &'a str) -> Option<Self> {
        let (name, rest) = text.split_once('|')?;
        let name = name.trim_end().trim_end_matches("\\n").trim_end();
        let line = rest.lines().next()?.split("\\n").next()?;
        let columns = line.split('|').filter_map(|column| column.trim().split_once(' '));
        let columns = columns.filter(|(name, _)| name.chars().all(is_word)).collect();
        (!name.is_empty() && name.chars().all(is_word)).then_some(Self { name, columns })
    }

    fn is_catalogued(&self) -> bool {
        let has = |spec: &TableSpec, (name, kind): &(&str, &str)| spec.column(name).is_some_and(|column| column.kind.as_str() == *kind);
        Tables::shipped().iter().any(|spec| spec.name == self.name && self.columns.iter().all(|column| has(spec, column)))
    }
}

#[test]
fn the_tables_in_tests_of_plugins_are_those_of_the_catalogue() {
    let mut unknown = Vec::new();
    let mut written = 0;
    for source in sources("plugins/") {
        for table in source.text.split("table ").skip(1).filter_map(WrittenTable::read) {
            written += 1;
            unknown.extend((!table.is_catalogued()).then(|| format!("{}: {} with {:?}", source.path, table.name, table.columns)));
        }
    }
    none(&unknown, "tables that no collector makes so");
    assert!(written > 40, "only {written} tables were found: the tests write them in another way");
}
