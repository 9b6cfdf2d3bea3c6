//! No module of these tests lacks its promise, and the index of all promises is up to date.
//!
//! The index is `tests/README.md`, made from the first paragraph of each module. `UPDATE_EXPECT=1` writes it again.

use std::fmt::Write as _;
use std::fs;
use std::path::Path;

use expect_test::expect_file;

use crate::fixture::project;

/// Folders below `tests/` without tests of this binary.
const OTHERS: [&str; 3] = ["fixture", "plugins", "contract/0.1.0"];

/// Promises that unit tests hold, since no server is needed for them.
const UNIT_TESTS: [(&str, &str); 28] = [
    ("agent/model/src/alert", "No alert resolves because it could not be judged, or because nothing was left to judge."),
    (
        "agent/model/src/alert/room",
        "No plugin whose labels change at each evaluation delays alerts of others, prunes the history or fills the memory.",
    ),
    ("agent/model/src/dispatch", "No incident is withheld from a receiver without a reason, and no alert waits behind milder alerts."),
    ("agent/model/src/dispatch/stories/held.rs", "No stored silence without room hides an alert, and silences take bounded memory."),
    (
        "agent/model/src/dispatch/stories/unreachable.rs",
        "No restart ends the muting by a server that is down, and no reminder goes out before a judgement.",
    ),
    ("agent/model/src/outbox", "No notification is sent twice, out of order, or not at all while its receiver is away."),
    ("agent/model/src/event.rs", "No stored event is changed or lost by reading it."),
    ("agent/model/src/audit.rs", "No stored audit entry is shown otherwise than it is stored."),
    ("agent/model/src/unjudged.rs", "No alert resolves because its object was counted again or is being dropped."),
    ("agent/model/src/snapshot/unlisted.rs", "No alert resolves because its object left a list of the worst."),
    ("agent/model/src/restarts.rs", "No restart or crash between two readings is missed."),
    ("agent/model/src/budget", "No server pays more for monitoring than its budget."),
    ("agent/model/src/top.rs", "No series is chosen or dropped so that sums are no longer true."),
    ("agent/model/src/text.rs", "No text to copy hides a character that other texts leave out."),
    ("agent/model/src/snapshot/family.rs", "No series is in an answer twice."),
    ("agent/model/src/redis/key_history.rs", "No keys that expired or were deleted are taken for a loss, and no loss is missed."),
    (
        "agent/model/src/postgres/intake.rs",
        "No server that sends without end fills the memory, and no password is answered to a weaker demand.",
    ),
    ("agent/model/src/postgres/active_sessions", "No time of a session is lost, counted twice or assigned to another one."),
    ("agent/model/src/postgres/lock_tree", "No reading of locks makes a pile-up worse."),
    ("agent/model/src/postgres/lsn_history.rs", "No lag is made by two clocks or by an idle primary."),
    ("agent/model/src/postgres/resets.rs", "No crash is taken for a reset of what the server had counted."),
    ("agent/model/src/postgres/statements", "No call is counted twice, and no sum of series is untrue."),
    (
        "agent/model/src/postgres/topology",
        "No two servers that write are one primary, and no lag is known while one of two servers cannot be asked.",
    ),
    ("agent/model/src/postgres/index_facts", "No reader who drops every index that is reported loses one that is needed."),
    ("agent/model/src/postgres/privilege", "No script grants more than is read, and no name in it becomes a command."),
    ("agent/model/src/postgres/server_text.rs", "No text in another encoding affects others, or is shown as another name."),
    ("agent/src/dial.rs", "No address that fails for the agent's own reasons hides that a server is down."),
    ("plugin-sdk/src/checks", "No fix names another thing because a character of the name is not shown, and no check lacks its scope."),
];

/// A module and the first paragraph of its head.
struct Promise {
    module: String,
    text: String,
}

/// Reads the promise of every module, sorted by name.
fn promises(folder: &Path, prefix: &str) -> Vec<Promise> {
    let mut found = Vec::new();
    for entry in fs::read_dir(folder).expect("the tests are there").map(|entry| entry.expect("it can be listed")) {
        let name = entry.file_name().into_string().expect("a name in UTF-8");
        let path = format!("{prefix}{name}");
        if entry.path().is_dir() {
            if !OTHERS.contains(&path.as_str()) {
                found.extend(promises(&entry.path(), &format!("{path}/")));
            }
        } else if let Some(module) = path.strip_suffix(".rs").filter(|module| *module != "main") {
            let module = module.strip_suffix("/mod").unwrap_or(module).replace('/', "::");
            found.push(Promise { text: first_paragraph(&fs::read_to_string(entry.path()).expect("it can be read")), module });
        }
    }
    found.sort_by(|one, other| one.module.cmp(&other.module));
    found
}

fn first_paragraph(source: &str) -> String {
    let lines = source.lines().map_while(|line| line.strip_prefix("//!").map(str::trim)).take_while(|line| !line.is_empty());
    lines.collect::<Vec<_>>().join(" ")
}

#[test]
fn every_module_says_what_must_never_happen_and_the_index_has_it() {
    let mut index = String::from(
        "# What must never happen\n\nEvery module of the end-to-end tests begins with the promises that it holds. This index is made from them: \
         `UPDATE_EXPECT=1 cargo test --test e2e promises`.\n\n| module | promise |\n|---|---|\n",
    );
    let promises = promises(&project().join("tests"), "");
    let broken: Vec<&str> = promises.iter().filter(|promise| !promise.text.ends_with('.')).map(|promise| promise.module.as_str()).collect();
    assert!(broken.is_empty(), "modules that begin with no promise: {broken:?}");
    for Promise { module, text } in &promises {
        let _ = writeln!(index, "| `{module}` | {text} |");
    }
    index.push_str("\nUnit tests hold what needs no server:\n\n| where | promise |\n|---|---|\n");
    for (path, text) in UNIT_TESTS {
        assert!(project().join(path).exists(), "{path} is gone: say where its promise is held now");
        let _ = writeln!(index, "| `{path}` | {text} |");
    }
    expect_file![project().join("tests/README.md")].assert_eq(&index);
}
