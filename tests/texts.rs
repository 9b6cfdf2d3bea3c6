//! No text of a plugin forges a line of the log, moves the cursor of a terminal or is without a bound.
//!
//! Texts of plugins that fail: they forge no line, move no cursor and fill nothing, wherever they end up.

use pharos::store::StoreReader;
use serde_json::Value;

use crate::fixture::guests::{Build, guest, guest_of};
use crate::fixture::item;
use crate::fixture::program::output;
use crate::fixture::zoo::named;
use crate::fixture::zoo_program::{ZooProgram, without_shipped};

/// Characters that none of these texts may hold, a final newline aside.
fn is_hostile(char: char) -> bool {
    char.is_control() || matches!(char, '\u{200b}' | '\u{2028}'..='\u{202e}' | '\u{2066}'..='\u{2069}')
}

#[track_caller]
fn harmless(text: &str, of: &str) {
    for line in text.lines() {
        assert!(!line.contains(is_hostile), "{of}: {:?}", &line[..line.len().min(2_000)]);
        assert!(!line.starts_with("2026-01-01T00:00:00Z"), "{of}: a forged line");
        assert!(line.len() < 20_000, "{of}: a line of {} bytes", line.len());
    }
}

fn strings(value: &Value, of: &str) {
    match value {
        Value::String(text) => {
            assert!(!text.contains(is_hostile), "{of}: {text:?}");
            assert!(text.len() < 5_000, "{of}: a text of {} bytes", text.len());
        }
        Value::Array(items) => items.iter().for_each(|item| strings(item, of)),
        Value::Object(fields) => fields.values().for_each(|field| strings(field, of)),
        _ => {}
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn texts_of_failing_plugins_are_bounded_and_clean_in_log_answers_and_store() {
    let mut files = vec![
        named("failer", "armed=rant:5000"),
        named("unready", "init=rant:5000"),
        named("wanter", "wants=rant:5000"),
        named("talker", "summary=rant:5000;armed=rant:1"),
        named("schemer", "schema=\u{1b}[31m\nforged"),
        ("liar".to_owned(), guest("id=rant:5000")),
        named("steady", ""),
    ];
    let mut config = without_shipped();
    // Each with an outcome of its own.
    for (outcome, rants) in [("retries", 2_000), ("rejects", 2_000), ("refuses", 1), ("gone", 2_000)] {
        files.push((outcome.to_owned(), guest_of(Build::Notifier, &format!("id={outcome};{outcome}=rant:{rants}"))));
        config += &format!("[[receiver]]\nname = \"{outcome}\"\nplugin = \"{outcome}\"\n");
        config += &format!("[[route]]\nreceiver = \"{outcome}\"\ncontinue = true\ngroup_wait = \"0s\"\n");
    }
    let program = ZooProgram::start(&config, files).await;
    let failed = |list: &Value, id: &str| item(list, "id", id).is_some_and(|plugin| plugin["state"] == "failed");
    program.wait_json("/api/plugins", |list| ["unready", "liar", "schemer"].iter().all(|id| failed(list, id))).await;
    program.wait_json("/api/database/alerts", |list| item(list, "plugin", "failer").is_some()).await;
    program.arm().await;
    let quarantined = |list: &Value, id: &str| item(list, "id", id).is_some_and(|plugin| plugin["state"] == "quarantined");
    let plugins = program.wait_json("/api/plugins", |list| quarantined(list, "failer") && quarantined(list, "talker")).await;
    program.wait_log("was not reached, trying again").await;
    for receiver in ["rejects", "gone"] {
        program.wait_log(&format!("giving up a notification to `{receiver}`")).await;
    }
    program.wait_log("accepted a notification, but not for all").await;

    strings(&plugins, "/api/plugins");
    let failer = item(&plugins, "id", "failer").unwrap();
    assert!(failer["last_error"]["message"].as_str().unwrap().contains("ERROR forged line"), "the words themselves are shown: {failer}");
    for path in ["/api/services/status", "/api/database/alerts", "/api/receivers"] {
        strings(&program.json(path).await, path);
    }
    harmless(&program.log(), "the log");
    let data = program.data_dir();
    let _folder = program.kill().await;
    let store = StoreReader::open(&data).unwrap();
    let rows = store.outbox(None, None, 1_000).unwrap();
    let texts: Vec<_> = rows.iter().map(|row| (&row.message, &row.reason, &row.why)).collect();
    assert!(!texts.is_empty());
    strings(&serde_json::to_value(&texts).unwrap(), "the outbox");
}

#[tokio::test]
async fn a_description_of_a_plugin_moves_no_cursor() {
    let folder = tempfile::tempdir().unwrap();
    let cases = [
        ("talker", guest("id=talker;summary=rant:3;wants=rant:30")),
        ("liar", guest("id=rant:300")),
        ("unready", guest("id=unready;init=rant:300")),
    ];
    for (id, bytes) in cases {
        let file = folder.path().join(format!("{id}.wasm"));
        std::fs::write(&file, bytes).unwrap();
        let (_, stdout, stderr) = output(&["plugin", "inspect", file.to_str().unwrap()]).await;
        harmless(&stdout, id);
        harmless(&stderr, id);
        assert!((stdout + &stderr).contains("forged line"), "{id}: the words themselves are shown");
    }
}
