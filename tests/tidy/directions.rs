//! Directions: which room may name which.

use std::collections::BTreeSet;
use std::fs;

use super::source::{first_word, is_word, none, sources};
use crate::fixture::project;

/// Modules of `agent/src`, from the top. Each may name those further down, and no others.
const LAYERS: [&[&str]; 8] = [
    &["main", "cli"],
    &["agent"],
    &["http"],
    &["pipeline"],
    &["collect", "plugin", "notify", "demo"],
    &["postgres", "redis", "board", "store"],
    &["lifecycle", "clock", "request", "telemetry", "tls", "dial", "bounded"],
    &["config", "api"],
];

/// What a section of the config may use of the others.
const CONFIG_GROUND: [&str; 4] = ["file", "problem", "secret", "shape"];

/// What speaks of the file as a whole.
const CONFIG_WHOLE: [&str; 5] = ["files", "labels", "links", "load", "root"];

/// What the model is built from, its tests aside.
const MODEL_DEPENDENCIES: [&str; 9] =
    ["encoding_rs", "regex", "regex-automata", "regex-syntax", "serde", "serde_json", "sha2", "thiserror", "toml"];

/// What would make a judgement depend on more than its arguments.
const IMPURE: [&str; 8] = ["std::env", "std::fs", "std::io", "std::net", "std::process", "std::thread", "Instant", "SystemTime"];

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
        // In a file of a section's folder, `super::` is the section itself.
        let named = named_after(&source.code(), if module.len() > 2 { "crate::config::" } else { "super::" });
        let strangers = named.iter().filter(|name| !CONFIG_GROUND.contains(&name.as_str()) && **name != module[1]);
        broken.extend(strangers.map(|name| format!("{}: names `{name}`", source.path)));
    }
    none(&broken, "a section of the config uses no other section");
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
