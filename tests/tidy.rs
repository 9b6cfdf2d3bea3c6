//! Rules of the source tree: who may import whom, and that nothing is forgotten, misnamed or unused.
//!
//! The layers are those of `ARCHITECTURE.md`. A rule that fails is either broken by mistake or deserves a better rule; it is not worked
//! around.

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};

use pharos_model::catalogue::metrics::Catalogue;
use pharos_model::catalogue::tables::{TableSpec, Tables};
use pharos_model::snapshot::READINGS;

use crate::fixture::project;

/// Modules of `agent/src`, from the top. Each may name those further down, and no others.
const LAYERS: [&[&str]; 8] = [
    &["main", "cli"],
    &["agent"],
    &["http"],
    &["pipeline"],
    &["collect", "plugin", "notify", "demo"],
    &["postgres", "redis", "cache", "board", "store"],
    &["lifecycle", "clock", "telemetry", "tls", "dial", "bounded"],
    &["config", "api"],
];

/// What a section of the config may use of the others.
const CONFIG_GROUND: [&str; 4] = ["file", "problem", "secret", "shape"];

/// What speaks of the file as a whole.
const CONFIG_WHOLE: [&str; 4] = ["files", "labels", "links", "load"];

/// What the model is built from, its tests aside.
const MODEL_DEPENDENCIES: [&str; 9] =
    ["encoding_rs", "regex", "regex-automata", "regex-syntax", "serde", "serde_json", "sha2", "thiserror", "toml"];

/// What would make a judgement depend on more than its arguments.
const IMPURE: [&str; 8] = ["std::env", "std::fs", "std::io", "std::net", "std::process", "std::thread", "Instant", "SystemTime"];

/// Names that say nothing of what is inside.
const EMPTY_NAMES: [&str; 5] = ["common", "helpers", "misc", "util", "utils"];

const LINES_MAX: usize = 500;

/// A Rust file.
struct Source {
    /// From the project's folder.
    path: String,
    text: String,
}

impl Source {
    /// Its text without comments. What this cuts off a URL is no code either.
    fn code(&self) -> String {
        self.text.lines().map(|line| line.split("//").next().unwrap_or_default()).collect::<Vec<_>>().join("\n")
    }

    /// Folders and name below `agent/src`: `http/api/alerts.rs` is http, api, alerts.
    fn module(&self) -> Vec<&str> {
        let path = self.path.trim_start_matches("agent/src/").trim_end_matches(".rs").trim_end_matches("/mod");
        path.split('/').collect()
    }
}

/// Every file of the project with this ending, built and foreign ones aside.
fn files(ending: &str) -> Vec<PathBuf> {
    const FOREIGN: [&str; 3] = ["target", ".git", "node_modules"];
    let mut found = Vec::new();
    let mut folders = vec![project()];
    while let Some(folder) = folders.pop() {
        for entry in fs::read_dir(&folder).unwrap() {
            let path = entry.unwrap().path();
            let name = path.file_name().and_then(|name| name.to_str()).unwrap();
            if path.is_dir() && !FOREIGN.contains(&name) {
                folders.push(path);
            } else if path.is_file() && name.ends_with(ending) {
                found.push(path);
            }
        }
    }
    found.sort();
    found
}

fn relative(path: &Path) -> String {
    path.strip_prefix(project()).unwrap().to_str().unwrap().to_owned()
}

fn sources(under: &str) -> Vec<Source> {
    let read = |path: PathBuf| Source { path: relative(&path), text: fs::read_to_string(&path).unwrap() };
    files(".rs").into_iter().map(read).filter(|source| source.path.starts_with(under)).collect()
}

#[track_caller]
fn none(broken: &[String], rule: &str) {
    assert!(broken.is_empty(), "{rule}:\n{}", broken.join("\n"));
}

fn is_word(char: char) -> bool {
    char.is_ascii_alphanumeric() || char == '_'
}

fn first_word(text: &str) -> String {
    text.trim_start().chars().take_while(|char| is_word(*char)).collect()
}

/// What follows `prefix` in every path of the code that begins with it: `use crate::{clock::Clock, store}` names clock and store.
fn named_after(code: &str, prefix: &str) -> Vec<String> {
    let mut names = Vec::new();
    for (at, _) in code.match_indices(prefix) {
        if code[..at].ends_with(|char| is_word(char) || char == ':') {
            continue;
        }
        match code[at + prefix.len()..].strip_prefix('{') {
            Some(group) => names.extend(group_members(group)),
            None => names.push(first_word(&code[at + prefix.len()..])),
        }
    }
    names.retain(|name| !name.is_empty());
    names
}

/// The first word of each member of a `{...}` whose opening brace is before `group`.
fn group_members(group: &str) -> Vec<String> {
    let mut depth = 0;
    let mut members = vec![String::new()];
    for char in group.chars() {
        match char {
            '{' => depth += 1,
            '}' if depth == 0 => break,
            '}' => depth -= 1,
            ',' if depth == 0 => members.push(String::new()),
            _ => {}
        }
        members.last_mut().unwrap().push(char);
    }
    members.iter().map(|member| first_word(member.trim_start_matches(','))).collect()
}

fn layer(module: &str) -> Option<usize> {
    LAYERS.iter().position(|modules| modules.contains(&module))
}

#[test]
fn imports_point_downwards_and_siblings_do_not_name_each_other() {
    let mut broken = Vec::new();
    for source in sources("agent/src/").iter().filter(|source| source.path != "agent/src/lib.rs") {
        let module = source.module();
        let Some(own) = layer(module[0]) else {
            broken.push(format!("{}: `{}` is in no layer", source.path, module[0]));
            continue;
        };
        let code = source.code();
        for name in named_after(&code, "crate::").iter().filter(|name| *name != module[0]) {
            match layer(name) {
                Some(other) if other > own => {}
                Some(_) => broken.push(format!("{}: `{}` may not name `{name}`", source.path, module[0])),
                None => broken.push(format!("{}: `{name}` is in no layer", source.path)),
            }
        }
        // The other way out of a module.
        let to_the_root = format!("{}::", vec!["super"; module.len()].join("::"));
        if code.contains(&to_the_root) {
            broken.push(format!("{}: reaches the crate's root by `super`; write `crate::`", source.path));
        }
    }
    none(&broken, "directions");
}

#[test]
fn imports_are_read_in_every_form() {
    let code = "use crate::clock::{Clock, rfc3339};\nuse crate::{\n    config,\n    store::{Store, Event},\n};\nlet x = crate::board::X; mycrate::no::X";
    assert_eq!(named_after(code, "crate::"), ["clock", "config", "store", "board"]);
}

#[test]
fn sections_of_the_config_stand_alone() {
    let mut broken = Vec::new();
    for source in sources("agent/src/config/") {
        let module = source.module();
        if module.len() == 1 || CONFIG_WHOLE.contains(&module[1]) || CONFIG_GROUND.contains(&module[1]) {
            continue;
        }
        let named = named_after(&source.code(), "super::");
        let strangers = named.iter().filter(|name| !CONFIG_GROUND.contains(&name.as_str()));
        broken.extend(strangers.map(|name| format!("{}: names `{name}`", source.path)));
    }
    none(&broken, "a section of the config knows no other");
}

#[test]
fn the_model_touches_nothing() {
    let mut broken = Vec::new();
    let manifest: toml::Table = fs::read_to_string(project().join("agent/model/Cargo.toml")).unwrap().parse().unwrap();
    let dependencies = manifest["dependencies"].as_table().unwrap().keys();
    broken.extend(dependencies.filter(|name| !MODEL_DEPENDENCIES.contains(&name.as_str())).map(|name| format!("depends on {name}")));
    for source in sources("agent/model/src/") {
        let code = source.code();
        let words: BTreeSet<&str> = code.split(|char| !is_word(char) && char != ':').collect();
        let impure = IMPURE.iter().filter(|impure| words.iter().any(|word| word.starts_with(**impure)));
        broken.extend(impure.map(|impure| format!("{}: {impure}", source.path)));
    }
    none(&broken, "the model reads no clock, file, environment or network");
}

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

/// Names in the code that look like a metric's, whole literals only.
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
    let in_catalogue: BTreeSet<String> = Catalogue::shipped().iter().map(|(name, _)| name.to_owned()).collect();
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

#[test]
fn files_say_what_they_hold() {
    let mut broken = Vec::new();
    for source in sources("") {
        let lines = source.text.lines().count();
        if !source.text.starts_with("//! ") {
            broken.push(format!("{}: does not begin with `//!`", source.path));
        }
        if lines > LINES_MAX {
            broken.push(format!("{}: {lines} lines, {LINES_MAX} are plenty", source.path));
        }
        let names = source.path.trim_end_matches(".rs").split('/');
        broken.extend(names.filter(|name| EMPTY_NAMES.contains(name)).map(|name| format!("{}: `{name}` says nothing", source.path)));
    }
    none(&broken, "files");
}

/// Functions, views and types of PostgreSQL that a printed text leaves to the `search_path` of who pastes it.
fn left_to_the_search_path(code: &str) -> Vec<&str> {
    const BEFORE: [&str; 3] = ["FROM pg_", "JOIN pg_", "::reg"];
    let is_call = |text: &str, start: usize| {
        let name = text[start..].find(|char| !is_word(char)).map_or("", |end| &text[start + end..]);
        name.starts_with('(') && !text[..start].ends_with(is_word) && !text[..start].ends_with("pg_catalog.")
    };
    let is_left = |text: &&str| {
        BEFORE.iter().any(|before| text.replace("FROM pg_catalog.", "").contains(before))
            || text.match_indices("pg_").any(|(start, _)| is_call(text, start))
    };
    let is_pinned = |text: &&str| text.contains("SET LOCAL search_path = pg_catalog;");
    code.split(['`', '"']).filter(|text| is_left(text) && !is_pinned(text)).collect()
}

#[test]
fn printed_sql_means_the_servers_own_functions_whatever_the_search_path_is() {
    assert_eq!(left_to_the_search_path("`SELECT pg_promote();`"), ["SELECT pg_promote();"]);
    assert_eq!(left_to_the_search_path("`SELECT a FROM pg_class;`, pg_stat_user(x)"), ["SELECT a FROM pg_class;", ", pg_stat_user(x)"]);
    assert!(
        left_to_the_search_path(
            "`SELECT pg_catalog.pg_promote();` `BEGIN; SET LOCAL search_path = pg_catalog; SELECT a FROM pg_class; COMMIT;`"
        )
        .is_empty()
    );
    let mut broken = Vec::new();
    for source in
        ["agent/model/src/", "plugins/", "plugin-sdk/src/"].into_iter().flat_map(sources).filter(|source| !source.path.contains("/tests"))
    {
        // The script of doctor sets the path itself, after each \\connect.
        if source.path.ends_with("privilege/script.rs") {
            continue;
        }
        let code = source.code();
        let code = code.split("#[cfg(test)]").next().unwrap_or_default();
        // A long string goes on in the next line.
        let joined: String = code.split("\\\n").map(str::trim_start).collect();
        broken.extend(left_to_the_search_path(&joined).into_iter().map(|text| format!("{}: {text}", source.path)));
    }
    none(&broken, "printed SQL is pinned to pg_catalog");
}

#[test]
fn every_plugin_has_a_readme_and_a_settings_schema() {
    let mut broken = Vec::new();
    for parent in ["plugins", "plugins/examples"] {
        for entry in fs::read_dir(project().join(parent)).unwrap() {
            let folder = entry.unwrap().path();
            if !folder.is_dir() || folder.ends_with("examples") {
                continue;
            }
            let has = |names: &[&str]| names.iter().any(|name| folder.join(name).is_file());
            if !has(&["README.md"]) || !has(&["schema.json", "schema.js", "schema.py"]) {
                broken.push(relative(&folder));
            }
        }
    }
    none(&broken, "without README.md or schema");
}

#[test]
fn the_readme_knows_how_many_checks_a_plugin_has() {
    let readme = fs::read_to_string(project().join("README.md")).unwrap();
    let mut broken = Vec::new();
    for line in readme.lines().filter(|line| line.contains(" checks") && line.starts_with("| [")) {
        let plugin = line.split(['[', ']']).nth(1).unwrap();
        let schema = fs::read_to_string(project().join(format!("plugins/{plugin}/schema.json"))).unwrap();
        let schema: serde_json::Value = serde_json::from_str(&schema).unwrap();
        let checks = schema["properties"]["checks"]["properties"].as_object().unwrap().len();
        if !line.contains(&format!(" {checks} checks")) {
            broken.push(format!("{plugin} has {checks}"));
        }
    }
    none(&broken, "counted wrongly in README.md");
}
