//! Texts: what files say about themselves, what is printed for people, and what READMEs promise.

use std::fs;

use super::source::{is_word, none, relative, sources};
use crate::fixture::project;

/// Names that say nothing about the content.
const EMPTY_NAMES: [&str; 5] = ["common", "helpers", "misc", "util", "utils"];

const LINES_MAX: usize = 500;

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
fn the_readme_has_the_right_number_of_checks_of_each_plugin() {
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
