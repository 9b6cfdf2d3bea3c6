//! Rooms: no circles of imports between the files of a folder, and one form for what every file may do.

use std::collections::{BTreeMap, BTreeSet};

use super::source::{Source, is_word, none, sources};

/// Crates whose rooms are checked.
const CRATES: [&str; 2] = ["agent/src/", "agent/model/src/"];

/// A module by its path from the root of its crate: `http/api/alerts.rs` is http, api, alerts.
type Module = Vec<String>;

/// The modules of a crate that are no tests, each with its code before its own tests.
fn modules(crate_root: &str) -> BTreeMap<Module, String> {
    let is_test = |module: &Module| module.iter().any(|part| ["tests", "stories", "properties"].contains(&part.as_str()));
    let read = |source: &Source| {
        let path = source.path.trim_start_matches(crate_root).trim_end_matches(".rs").trim_end_matches("/mod");
        let module: Module = path.split('/').map(str::to_owned).collect();
        let code = source.code();
        let code = code.split("#[cfg(test)]\nmod tests {").next().unwrap_or_default().to_owned();
        (module, code)
    };
    let all = sources(crate_root);
    let modules = all.iter().filter(|source| !source.path.ends_with("/lib.rs") && !source.path.ends_with("/main.rs")).map(read);
    modules.filter(|(module, _)| !is_test(module)).collect()
}

/// Every path in the code of a module that begins with `crate`, `super` or `self`, from the root of its crate.
fn paths(module: &Module, code: &str) -> Vec<Module> {
    let mut paths = Vec::new();
    for (at, word) in ["crate::", "super::", "self::"].iter().flat_map(|word| code.match_indices(word)) {
        if code[..at].ends_with(|char| is_word(char) || char == ':') {
            continue;
        }
        let mut from: Module = if word == "crate::" { Vec::new() } else { module.clone() };
        let mut rest = &code[at + word.len()..];
        // An import that is indented stands in a module within the file, whose parent is the file itself.
        let is_indented = code[..at].rsplit('\n').next().is_some_and(|before| before.trim_start() == "use " && before.starts_with(' '));
        if word == "super::" && !is_indented {
            from.pop();
            while let Some(further) = rest.strip_prefix("super::") {
                from.pop();
                rest = further;
            }
        }
        branches(&mut rest.trim_start(), &from, &mut paths);
    }
    paths
}

/// Follows one `a::{b, c::d}` and adds each of its ends.
fn branches(rest: &mut &str, from: &Module, ends: &mut Vec<Module>) {
    if let Some(group) = rest.strip_prefix('{') {
        *rest = group.trim_start();
        while !rest.is_empty() && !rest.starts_with('}') {
            let before = rest.len();
            branches(rest, from, ends);
            *rest = rest.trim_start_matches(|char: char| char != ',' && char != '}');
            *rest = rest.strip_prefix(',').unwrap_or(rest).trim_start();
            if rest.len() == before {
                return;
            }
        }
        *rest = rest.strip_prefix('}').unwrap_or(rest);
        return;
    }
    let end = rest.find(|char| !is_word(char)).unwrap_or(rest.len());
    let mut path = from.clone();
    path.push(rest[..end].to_owned());
    *rest = &rest[end..];
    match rest.strip_prefix("::") {
        Some(further) if !further.starts_with('<') => {
            *rest = further.trim_start();
            branches(rest, &path, ends);
        }
        _ => ends.push(path),
    }
}

/// Which room names which. A room is a file in a folder, or a folder in one: deeper files count as their room.
fn arrows(crate_root: &str) -> BTreeMap<Module, BTreeSet<Module>> {
    const DEPTH: usize = 2;
    let modules = modules(crate_root);
    let room = |module: &[String]| module[..module.len().min(DEPTH)].to_vec();
    let mut arrows: BTreeMap<Module, BTreeSet<Module>> = BTreeMap::new();
    for (module, code) in &modules {
        let named = paths(module, code);
        let known =
            named.iter().filter_map(|path| (1..=path.len()).rev().map(|length| &path[..length]).find(|start| modules.contains_key(*start)));
        let targets = known.map(room).filter(|target| *target != room(module));
        arrows.entry(room(module)).or_default().extend(targets);
    }
    arrows
}

/// A way from a room back to itself, if there is one.
fn circle(arrows: &BTreeMap<Module, BTreeSet<Module>>, start: &Module) -> Option<Vec<Module>> {
    let mut came_from: BTreeMap<&Module, &Module> = BTreeMap::new();
    let mut reached = vec![start];
    while let Some(room) = reached.pop() {
        for next in arrows.get(room).into_iter().flatten() {
            if next == start {
                let mut way = vec![start.clone(), room.clone()];
                while let Some(before) = came_from.get(way.last().unwrap()) {
                    way.push((*before).clone());
                }
                way.reverse();
                return Some(way);
            }
            if !came_from.contains_key(next) {
                came_from.insert(next, room);
                reached.push(next);
            }
        }
    }
    None
}

#[test]
fn no_room_imports_itself_by_way_of_others() {
    let mut broken = BTreeSet::new();
    for crate_root in CRATES {
        let arrows = arrows(crate_root);
        // The shortest form of a circle begins with its first room.
        let circles = arrows.keys().filter_map(|room| circle(&arrows, room).filter(|way| way.iter().min() == Some(room)));
        broken
            .extend(circles.map(|way| format!("{crate_root}: {}", way.iter().map(|room| room.join("/")).collect::<Vec<_>>().join(" -> "))));
    }
    none(&broken.into_iter().collect::<Vec<_>>(), "circles of imports");
}

#[test]
fn paths_are_read_in_every_form() {
    let module = vec!["http".to_owned(), "api".to_owned()];
    let code = "use crate::{\n    board::Board,\n    store::{self, Store},\n};\nuse super::access;\n    use super::Own;\nlet x = self::alerts::list(super::super::clock::now());";
    let mut found: Vec<String> = paths(&module, code).iter().map(|path| path.join("/")).collect();
    found.sort();
    assert_eq!(found, ["board/Board", "clock/now", "http/access", "http/api/Own", "http/api/alerts/list", "store/Store", "store/self"]);
}

#[test]
fn a_module_names_its_neighbours_by_super_and_all_others_by_crate() {
    let mut broken = Vec::new();
    for crate_root in CRATES {
        for (module, code) in modules(crate_root) {
            let lines = code.lines().filter(|line| line.contains("super::super::"));
            broken.extend(lines.map(|line| format!("{crate_root}{}: {}", module.join("/"), line.trim())));
        }
    }
    none(&broken, "`super::super::`");
}

/// Bounds must have a reason, since the number alone does not show why it is not another one.
#[test]
fn every_bound_has_a_doc_comment() {
    let mut broken = Vec::new();
    for source in sources("agent/").iter().chain(&sources("plugin")) {
        let lines: Vec<&str> = source.text.lines().collect();
        for (at, line) in lines.iter().enumerate() {
            let declared = line.trim_start().trim_start_matches("pub(crate) ").trim_start_matches("pub(super) ").trim_start_matches("pub ");
            let name = declared.strip_prefix("const ").and_then(|rest| rest.split_once(':'));
            let is_bound = name.is_some_and(|(name, kind)| name.ends_with("_MAX") && !kind.trim_start().starts_with("&str"));
            let above = lines[..at].iter().rev().find(|line| !line.trim_start().starts_with("#["));
            if is_bound && !above.is_some_and(|line| line.trim_start().starts_with("///")) {
                broken.push(format!("{}:{}: {}", source.path, at + 1, line.trim()));
            }
        }
    }
    none(&broken, "bounds without a reason");
}
