//! No later text of the contract removes or changes an item of a released one.
//!
//! The text of WIT, item by item, and what a later text breaks of an earlier one.

use std::collections::BTreeMap;

/// What holds other items; these may gain some.
const CONTAINERS: [&str; 3] = ["interface ", "world ", "resource "];

/// Every type, function, import and export by its path, without comments: `interface state get` is `get: func(...) -> ...`.
pub fn items(text: &str) -> BTreeMap<String, String> {
    let code: Vec<&str> = text.lines().map(|line| line.split("//").next().unwrap_or_default()).collect();
    let code = code.join(" ").split_whitespace().collect::<Vec<_>>().join(" ");
    let mut items = BTreeMap::new();
    read("", &code, &mut items);
    items
}

fn read(path: &str, mut code: &str, items: &mut BTreeMap<String, String>) {
    while !code.trim().is_empty() {
        let (item, rest) = first_item(code.trim_start());
        code = rest;
        // `@since(version = 0.1.0)` says when, which is what the folder says.
        let item = item.strip_prefix('@').and_then(|rest| rest.split_once(')')).map_or(item, |(_, item)| item).trim();
        let (head, body) = item.split_once('{').map_or((item, None), |(head, body)| (head.trim(), Some(body)));
        match body {
            Some(body) if CONTAINERS.iter().any(|container| head.starts_with(container)) => {
                read(&format!("{path}{head} "), body.trim_end_matches('}'), items);
            }
            Some(names) if head.starts_with("use ") => {
                let names = names.trim_end_matches(';').trim().trim_end_matches('}');
                for name in names.split(',').map(str::trim).filter(|name| !name.is_empty()) {
                    items.insert(format!("{path}{head}{name}"), name.to_owned());
                }
            }
            _ if head.starts_with("package ") => {}
            Some(body) => {
                let body = body.trim_end_matches('}').trim().trim_end_matches(',');
                items.insert(format!("{path}{head}"), body.to_owned());
            }
            None => {
                let item = head.trim_end_matches(';');
                let name = item.split(':').next().unwrap_or_default();
                items.insert(format!("{path}{name}"), item.to_owned());
            }
        }
    }
}

/// Up to the `;` or the closing brace of the first item. Braces of a `use` are followed by `;`.
fn first_item(code: &str) -> (&str, &str) {
    let mut depth = 0;
    for (at, char) in code.char_indices() {
        match char {
            '{' => depth += 1,
            '}' => depth -= 1,
            _ => {}
        }
        let is_use = code.starts_with("use ");
        if depth == 0 && (char == ';' || char == '}' && !is_use) {
            return code.split_at(at + 1);
        }
    }
    (code, "")
}

/// What the present text lacks, has otherwise, or asks in addition of plugins that are already built.
pub fn broken(released: &BTreeMap<String, String>, present: &BTreeMap<String, String>) -> Vec<String> {
    let changed = released.iter().filter_map(|(path, text)| match present.get(path) {
        Some(now) if now == text => None,
        Some(now) => Some(format!("`{path}` was `{text}` and is `{now}`")),
        None => Some(format!("`{path}` is gone; it was `{text}`")),
    });
    let worlds: Vec<&str> = released.keys().filter_map(|path| path.split_once(" export ").map(|(world, _)| world)).collect();
    let asked = present
        .keys()
        .filter(|path| !released.contains_key(*path))
        .filter(|path| path.split_once(" export ").is_some_and(|(world, _)| worlds.contains(&world)));
    changed.chain(asked.map(|path| format!("`{path}` is new, and no plugin that is already built has it"))).collect()
}

const RELEASED: &str = "
    package a:b@0.1.0;
    /// Said.
    @since(version = 0.1.0)
    interface state {
      use types.{failure, label};
      enum level { low, high }
      record pair { name: string, value: list<u8>, }
      get: func(key: string) -> option<list<u8>>;
      resource table { rows: func() -> u32; }
    }
    world plugin { import state; export plugin; }
";

#[track_caller]
fn check(from: &str, to: &str, expected: &[&str]) {
    assert!(RELEASED.contains(from), "{from}");
    assert_eq!(broken(&items(RELEASED), &items(&RELEASED.replace(from, to))), expected);
}

#[test]
fn a_later_text_may_say_more() {
    check("/// Said.", "/// Said better; with {braces}.", &[]);
    check("value: list<u8>, }", "value: list<u8> }", &[]);
    check("use types.{failure, label};", "use types.{failure, label, subject};", &[]);
    check("enum level {", "put: func(key: string); variant other { a(string), b } enum level {", &[]);
    check("rows: func() -> u32;", "rows: func() -> u32; columns: func() -> u32;", &[]);
    check("import state;", "import state; import clock;", &[]);
    check("world plugin {", "@since(version = 0.2.0) interface clock { now: func() -> u64; } world plugin {", &[]);
}

#[test]
fn a_later_text_may_not_change_or_drop_what_was_released() {
    check(
        "value: list<u8>, }",
        "value: list<u8>, more: u8 }",
        &["`interface state record pair` was `name: string, value: list<u8>` and is `name: string, value: list<u8>, more: u8`"],
    );
    check("low, high", "low, high, highest", &["`interface state enum level` was `low, high` and is `low, high, highest`"]);
    check(
        "get: func(key: string) -> option<list<u8>>;",
        "get: func(key: u32) -> option<list<u8>>;",
        &["`interface state get` was `get: func(key: string) -> option<list<u8>>` and is `get: func(key: u32) -> option<list<u8>>`"],
    );
    check("rows: func() -> u32;", "", &["`interface state resource table rows` is gone; it was `rows: func() -> u32`"]);
    check("failure, label", "failure", &["`interface state use types.label` is gone; it was `label`"]);
    check("import state;", "", &["`world plugin import state` is gone; it was `import state`"]);
    check(
        "export plugin;",
        "export plugin; export extra;",
        &["`world plugin export extra` is new, and no plugin that is already built has it"],
    );
}
