//! No bad config starts an agent, and no error hides another one. No secret is printed, and no listener off loopback opens without a token.
//!
//! The config file: its complete example, and the errors of wrong files.

mod servers;

use std::collections::BTreeSet;
use std::path::Path;

use expect_test::{Expect, expect};
use pharos::config::problem::Located;
use pharos::config::secret::Secret;
use pharos::config::shape::{Key, Shape};
use pharos::config::{Config, LoadError, SHAPE, load, parse};
use proptest::prelude::*;
use toml::{Table, Value};

const EXAMPLE: &str = include_str!("../../config/pharos.toml");

/// Every error of the text, `line:col: message`.
#[track_caller]
pub fn check(text: &str, expected: Expect) {
    let said = match parse(text, Path::new("")) {
        Ok(_) => "ok\n".to_owned(),
        Err(problems) => lines(&problems),
    };
    expected.assert_eq(&said);
}

fn lines(problems: &[Located]) -> String {
    problems.iter().map(|problem| format!("{problem}\n")).collect()
}

/// The example with every `#key = value` uncommented.
fn whole_example() -> String {
    let is_toml = |rest: &str| rest.starts_with(|char: char| char.is_ascii_lowercase() || char == '[');
    let line = |line: &'static str| line.strip_prefix('#').filter(|rest| is_toml(rest)).unwrap_or(line);
    EXAMPLE.lines().map(line).collect::<Vec<_>>().join("\n")
}

#[test]
fn the_example_holds_the_defaults() {
    let example = parse(EXAMPLE, Path::new("")).unwrap_or_else(|problems| panic!("{}", lines(&problems)));
    assert_eq!(example, parse("", Path::new("")).unwrap());
    assert_eq!(example, Config::default());
}

#[test]
fn every_default_is_written_in_the_example() {
    let example: Table = EXAMPLE.parse().unwrap();
    let said: BTreeSet<String> =
        ["agent", "log", "http", "collect", "plugins", "alerts"].into_iter().flat_map(|name| paths(name, &example[name])).collect();
    // No default: left out of the sections above.
    let mut missing: BTreeSet<String> = SECTIONS_WITH_DEFAULTS.iter().flat_map(|(name, shape)| leaves(name, shape)).collect();
    missing.remove("agent.external_url");
    missing.retain(|path| !path.starts_with("collect.deadlines."));
    missing.retain(|path| !said.contains(path));
    assert!(missing.is_empty(), "{missing:?}");
}

const SECTIONS_WITH_DEFAULTS: [(&str, Shape); 6] = [
    ("agent", Shape::Table(pharos::config::agent::AGENT_KEYS)),
    ("log", Shape::Table(pharos::config::agent::LOG_KEYS)),
    ("http", Shape::Table(pharos::config::http::HTTP_KEYS)),
    ("collect", Shape::Table(pharos::config::collect::COLLECT_KEYS)),
    ("plugins", Shape::Table(pharos::config::plugins::PLUGINS_KEYS)),
    ("alerts", Shape::Table(pharos::config::alerts::ALERTS_KEYS)),
];

fn leaves(path: &str, shape: &Shape) -> Vec<String> {
    match shape {
        Shape::Table(keys) => keys.iter().flat_map(|key| leaves(&format!("{path}.{}", key.name), &key.shape)).collect(),
        _ => vec![path.to_owned()],
    }
}

fn paths(path: &str, value: &Value) -> Vec<String> {
    match value {
        Value::Table(table) => table.iter().flat_map(|(name, value)| paths(&format!("{path}.{name}"), value)).collect(),
        _ => vec![path.to_owned()],
    }
}

#[test]
fn every_key_is_in_the_example_and_its_comments_can_be_uncommented() {
    let whole = whole_example();
    parse(&whole, Path::new("")).unwrap_or_else(|problems| panic!("{}", lines(&problems)));
    let mut missing = Vec::new();
    unmentioned("", &SHAPE, &[&Value::Table(whole.parse().unwrap())], &mut missing);
    assert!(missing.is_empty(), "{missing:?}");
}

/// Keys of the shape that none of the values has.
fn unmentioned(path: &str, shape: &Shape, values: &[&Value], missing: &mut Vec<String>) {
    let tables = values.iter().filter_map(|value| value.as_table());
    match shape {
        Shape::Table(keys) | Shape::OneKey(keys) => {
            for Key { name, shape, .. } in *keys {
                let path = format!("{path}.{name}");
                let found: Vec<&Value> = tables.clone().filter_map(|table| table.get(*name)).collect();
                if found.is_empty() {
                    missing.push(path);
                } else {
                    unmentioned(&path, shape, &found, missing);
                }
            }
        }
        Shape::Map(inner) => unmentioned(path, inner, &tables.flat_map(|table| table.values()).collect::<Vec<_>>(), missing),
        Shape::List(inner) => {
            let items: Vec<&Value> = values.iter().filter_map(|value| value.as_array()).flatten().collect();
            unmentioned(path, inner, &items, missing);
        }
        _ => {}
    }
}

#[test]
fn an_empty_file_is_all_defaults() {
    check(
        "",
        expect![[r#"
        ok
    "#]],
    );
    check(
        "# only a comment",
        expect![[r#"
        ok
    "#]],
    );
}

#[test]
fn an_unknown_key_is_reported_with_a_similar_key() {
    check(
        "[agent]\nnmae = \"a\"\n[colect]\n",
        expect![[r#"
        2:1: unknown key `nmae` in `agent`; did you mean `name`?
        3:2: unknown key `colect` in the file; did you mean `collect`?
    "#]],
    );
    check(
        "[collect.interval]\nstatments = \"5s\"\nfoo = 1",
        expect![[r#"
        2:1: unknown key `statments` in `collect.interval`; did you mean `statements`?
        3:1: unknown key `foo` in `collect.interval`
    "#]],
    );
    check(
        "[log]\nlevel = \"warning\"",
        expect![[r#"
        2:9: `log.level` is "warning" but must be one of "error", "warn", "info", "debug", "trace"; did you mean `warn`?
    "#]],
    );
}

#[test]
fn a_wrong_type_is_reported_with_the_right_one() {
    check(
        "[http]\nlisten = 9465\n[plugins]\npooling = \"yes\"\ndir = [\"a\"]\n[database]\nname = \"a\"",
        expect![[r#"
        2:10: `http.listen` is an integer but must be a text
        4:11: `plugins.pooling` is a text but must be true or false
        5:7: `plugins.dir` is a list but must be a text
        6:1: `database` is a table but must be a list of tables, written [[...]]
    "#]],
    );
}

#[test]
fn half_written_files_are_reported_at_their_end() {
    check(
        "[agent]\nname = \"pha",
        expect![[r#"
        2:12: invalid basic string, expected `"`
    "#]],
    );
    check(
        "[agent\nname = 1\n[[database]]\nname =",
        expect![[r#"
        1:7: unclosed table, expected `]`
        4:7: string values must be quoted, expected literal string
    "#]],
    );
}

#[test]
fn a_missing_key_is_named_at_its_table() {
    check(
        "[[database]]\nname = \"a\"\n\n[[receiver]]\n",
        expect![[r#"
        1:1: `database[0]` needs a key `primary`
        4:1: `receiver[0]` needs a key `name`
        4:1: `receiver[0]` needs a key `plugin`
    "#]],
    );
}

#[test]
fn a_password_in_a_url_names_the_key_for_it_and_is_not_repeated() {
    let text = r#"
[[database]]
name = "a"
primary = "postgresql://pharos:hunter2@db/app"
replicas = ["postgresql://pharos@db2/app?password=hunter2", "postgresql://pharos:hunter2@db3:hunter2/app", "db4:hunter2"]
[[redis]]
name = "r"
nodes = ["redis://:hunter2@cache:6379", "redis://:hunter2@cache:hunter2"]
"#;
    check(
        text,
        expect![[r#"
        4:11: `database[0].primary`: holds a password; move it to a file and name that with password_file
        5:13: `database[0].replicas[0]`: holds a password; move it to a file and name that with password_file
        5:61: `database[0].replicas[1]`: is not a PostgreSQL URL: invalid connection string: invalid value for option `port`
        5:108: `database[0].replicas[2]`: must look like postgresql://user@host:5432/datname
        8:10: `redis[0].nodes[0]`: holds a password; move it to a file and name that with password_file
        8:41: `redis[0].nodes[1]`: is not a Redis URL: invalid port number
    "#]],
    );
    assert!(!lines(&parse(text, Path::new("")).unwrap_err()).contains("hunter2"));
}

#[test]
fn a_listener_off_loopback_needs_a_token() {
    check(
        "[http]\nlisten = \"0.0.0.0:9465\"",
        expect![[r#"
        2:10: `http.listen`: `0.0.0.0:9465` is reachable from other machines but no token protects it; listen on 127.0.0.1 or add [[access.token]]
    "#]],
    );
    check(
        "[http]\nlisten = \"[::]:0\"",
        expect![[r#"
        2:10: `http.listen`: `[::]:0` is reachable from other machines but no token protects it; listen on 127.0.0.1 or add [[access.token]]
    "#]],
    );
    check(
        "[http]\nlisten = \"[::1]:0\"",
        expect![[r#"
        ok
    "#]],
    );
    check(
        "[http]\nlisten = \"localhost\"",
        expect![[r#"
        2:10: `http.listen`: `localhost` is not an address and port like "127.0.0.1:9465"
    "#]],
    );
    let token = "[[access.token]]\nname = \"a\"\nrole = \"viewer\"\nsha256 = ";
    check(
        &format!("[http]\nlisten = \"0.0.0.0:0\"\n{token}\"{}\"", "0a".repeat(32)),
        expect![[r#"
        ok
    "#]],
    );
    check(
        &format!("{token}\"secret\""),
        expect![[r#"
        4:10: `access.token[0].sha256`: must be the 64 hex digits of the token's SHA-256, as `printf %s TOKEN | sha256sum` prints them
    "#]],
    );
}

#[test]
fn names_are_used_once_and_lead_somewhere() {
    let text = r#"
[[database]]
name = "a"
primary = "postgresql://pharos@db1/app"
replicas = ["postgresql://pharos@db1:5432/other"]
[[database]]
name = "a"
primary = "postgresql://pharos@db2/app"
[[redis]]
name = "r"
nodes = ["redis://cache", "redis://cache:6379"]
[[receiver]]
name = "ops"
plugin = "webhook"
[[route]]
receiver = "opps"
"#;
    check(
        text,
        expect![[r#"
        5:13: `database[0].replicas[0]`: the server db1:5432 is listed twice
        7:8: `database[1].name`: another [[database]] is named "a" already
        11:27: `redis[0].nodes[1]`: the server cache:6379 is listed twice
        16:12: `route[0].receiver`: no [[receiver]] is named "opps"; did you mean `ops`?
    "#]],
    );
}

#[test]
fn durations_and_sizes_are_human_and_bounded() {
    let text = r#"
[plugins]
compile_memory_max = "2 gigs"
rescan = "5"
[collect]
deadline = 4
connect_timeout = "900y"
[collect.interval]
locks = "-1s"
"#;
    check(
        text,
        expect![[r#"
        3:22: `plugins.compile_memory_max` is not a size like "64MiB": couldn't parse "gigs" into a known SI unit, Failed to parse unit "gig..."
        4:10: `plugins.rescan` is not a duration like "500ms" or "5m": time unit needed, for example 5sec or 5ms
        6:12: `collect.deadline` is an integer but must be a duration like "500ms"
        7:19: `collect.connect_timeout` is "900y" but must be at most a year
        9:9: `collect.interval.locks` is not a duration like "500ms" or "5m": expected number at 0
    "#]],
    );
    check(
        "[plugins]\nrescan = \"0s\"\n[collect]\nconnect_timeout = \"0s\"\n[collect.interval]\nlocks = \"1ms\"",
        expect![[r#"
        2:10: `plugins.rescan`: must not be 0
        4:19: `collect.connect_timeout`: must not be 0
        6:9: `collect.interval.locks`: 1ms is below the minimum of 100ms
    "#]],
    );
}

#[test]
fn timeouts_must_rise() {
    check(
        "[collect]\nstatement_timeout = \"5s\"",
        expect![[r#"
        1:1: `collect`: timeouts must rise: lock_timeout (200ms) < statement_timeout (5s) < deadline (4s), none of them 0
    "#]],
    );
    check(
        "[collect.deadlines]\nlocks = \"1200ms\"\naccept = \"9s\"",
        expect![[r#"
            2:9: `collect.deadlines.locks`: 1.2s leaves the server 200ms for a statement, and lock_timeout is 200ms; must be longer than 1.2s
            3:1: unknown key `accept` in `collect.deadlines`
        "#]],
    );
}

#[test]
fn a_secret_comes_from_one_place() {
    check(
        "[secret]\na = { file = \"x\", env = \"Y\" }\nb = {}\nc = \"hunter2\"",
        expect![[r#"
            2:5: `secret.a` must have one key, either of "file", "env"
            3:5: `secret.b` must have one key, either of "file", "env"
            4:5: `secret.c` is a text but must be a table
        "#]],
    );
    check(
        "[[redis]]\nname = \"a\"\nnodes = [\"redis://b\"]\npassword_file = \"x\"\npassword_env = \"Y\"",
        expect![[r#"
        5:16: `redis[0].password_env`: password_file and password_env are both set; keep one
    "#]],
    );
}

#[test]
fn all_errors_of_a_file_are_reported_at_once_in_its_order() {
    let text = "[agent]\nnmae = \"é\"\n[http]\nlisten = \"0.0.0.0:1\"\n[[route]]\nmatch = { \"sevérité\" = \"x\", b = [] }\nreceiver = \"nobody\"\n[collect.interval]\nlocks = \"1ms\"";
    check(
        text,
        expect![[r#"
            2:1: unknown key `nmae` in `agent`; did you mean `name`?
            4:10: `http.listen`: `0.0.0.0:1` is reachable from other machines but no token protects it; listen on 127.0.0.1 or add [[access.token]]
            6:9: `route[0].match`: `b`: an empty list of values matches nothing; name a value, or remove the line
            7:12: `route[0].receiver`: no [[receiver]] is named "nobody"
            9:9: `collect.interval.locks`: 1ms is below the minimum of 100ms
        "#]],
    );
}

#[test]
fn files_that_cannot_be_read_are_reported_with_the_reason() {
    let folder = tempfile::tempdir().unwrap();
    let said = |name: &str, bytes: Option<&[u8]>| {
        let path = folder.path().join(name);
        if let Some(bytes) = bytes {
            std::fs::write(&path, bytes).unwrap();
        }
        load(&path).unwrap_err().to_string().replace(&folder.path().display().to_string(), "DIR")
    };
    let large = std::fs::File::create(folder.path().join("large.toml")).unwrap();
    large.set_len(100 << 20).unwrap();
    let all = [
        said("missing.toml", None),
        said("", None),
        said("latin1.toml", Some(b"[agent]\nname = \"caf\xe9\"")),
        said("large.toml", None),
        load(Path::new("/dev/zero")).unwrap_err().to_string(),
    ];
    expect![[r#"
        DIR/missing.toml: No such file or directory (os error 2)
        DIR/: Is a directory (os error 21)
        DIR/latin1.toml:2:12: the file is not UTF-8 from here on; save it as UTF-8
        DIR/large.toml: is longer than 1048576 bytes, which no config file needs
        /dev/zero: is longer than 1048576 bytes, which no config file needs"#]]
    .assert_eq(&all.join("\n"));
}

#[test]
fn relative_paths_count_from_the_files_folder() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("pharos.toml");
    let text = "[agent]\ndata_dir = \"data\"\n[secret]\na = { file = \"/run/a\" }\n[[redis]]\nname = \"r\"\nnodes = [\"redis://h\"]\npassword_file = \"p\"";
    std::fs::write(&path, text).unwrap();
    let config = load(&path).unwrap();
    assert_eq!(config.agent.data_dir, folder.path().join("data"));
    assert_eq!(config.plugins.dir, folder.path().join("plugins"));
    assert_eq!(config.redis[0].password_file.as_deref(), Some(folder.path().join("p").as_path()));
    assert_eq!(format!("{:?}", config.secret["a"]), "File(\"/run/a\")");
}

#[test]
fn a_secret_cannot_be_printed() {
    let secret = Secret::new("hunter2");
    assert_eq!(format!("{secret} {secret:?} {:#?}", Some(&secret)), "*** *** Some(\n    ***,\n)");
}

#[test]
fn a_problem_in_a_file_begins_with_its_name() {
    let problems = parse("x = 1", Path::new("")).unwrap_err();
    let error = LoadError::Invalid { path: "a.toml".into(), problems };
    expect!["a.toml:1:1: unknown key `x` in the file"].assert_eq(&error.to_string());
}

proptest! {
    #[test]
    fn no_text_panics(bytes in prop::collection::vec(any::<u8>(), 0..200)) {
        let _ = parse(&String::from_utf8_lossy(&bytes), Path::new(""));
    }

    #[test]
    fn no_edit_of_the_example_panics(edits in prop::collection::vec((any::<prop::sample::Index>(), 0..12_usize, "[\\[\\]=\"'{}.,#\n a-z0-9é]{0,6}"), 1..6)) {
        let mut text: Vec<char> = whole_example().chars().collect();
        for (at, removed, inserted) in edits {
            let start = at.index(text.len());
            let end = (start + removed).min(text.len());
            text.splice(start..end, inserted.chars());
        }
        let text: String = text.into_iter().collect();
        if let Err(problems) = parse(&text, Path::new("")) {
            let lines = text.lines().count().max(1);
            prop_assert!(!problems.is_empty());
            prop_assert!(problems.iter().all(|problem| problem.line <= lines + 1 && problem.column >= 1), "{problems:?}");
        }
    }
}
