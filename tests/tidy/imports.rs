//! No import needs a second reading: each `use` names one module, and a module of the same file is named by `self`.

use std::collections::BTreeSet;

use super::source::{Source, none, sources};

/// Folders with code of this project.
const FOLDERS: [&str; 4] = ["agent/", "plugin-sdk/", "plugins/", "tests/"];

/// Every Rust file but the sources of released plugins, which stay as they are.
fn code() -> impl Iterator<Item = (Source, String)> {
    let all = FOLDERS.into_iter().flat_map(sources).filter(|source| !source.path.starts_with("tests/contract/0"));
    all.map(|source| {
        let code = source.code();
        (source, code)
    })
}

/// The paths of all `use` declarations, on one line each. Text in string literals looks alike but does not begin a line.
fn uses(code: &str) -> Vec<String> {
    let begins = |line: &str| {
        let line = line.trim_start();
        let visibility =
            line.split_once("use ").filter(|(before, _)| before.is_empty() || before.starts_with("pub") && before.ends_with(' '));
        visibility.map(|(_, path)| path.to_owned())
    };
    let mut found = Vec::new();
    let mut lines = code.lines();
    while let Some(line) = lines.next() {
        let Some(mut path) = begins(line) else { continue };
        while !path.contains(';') {
            let Some(next) = lines.next() else { break };
            path.push_str(next.trim());
        }
        found.push(path.split(';').next().unwrap_or_default().to_owned());
    }
    found
}

#[test]
fn a_use_names_one_module() {
    let mut broken = Vec::new();
    for (source, code) in code() {
        let nested = uses(&code).into_iter().filter(|path| path.split_once('{').is_some_and(|(_, names)| names.contains("::")));
        broken.extend(nested.map(|path| format!("{}: use {path}", source.path)));
    }
    none(&broken, "these name several modules: write one `use` for each");
}

#[test]
fn a_module_of_the_same_file_is_named_by_self() {
    let mut broken = Vec::new();
    for (source, code) in code() {
        let module = |line: &str| Some(line.strip_suffix(';')?.rsplit_once("mod ")?.1.to_owned());
        let own: BTreeSet<String> = code.lines().filter_map(module).collect();
        let bare = uses(&code).into_iter().filter(|path| own.contains(path.split("::").next().unwrap_or_default()));
        broken.extend(bare.map(|path| format!("{}: use {path}", source.path)));
    }
    none(&broken, "these are modules of the same file: write `self::` before");
}

#[test]
fn imports_are_read_in_every_form() {
    let code = "use a::{\n    B,\n    c::D,\n};\npub(crate) use e::F;\n    use g;\nlet x = \"use h;\";\nreuse i;";
    assert_eq!(uses(code), ["a::{B,c::D,}", "e::F", "g"]);
}
