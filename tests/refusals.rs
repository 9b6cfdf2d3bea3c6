//! No file that is not a plugin changes what serves, or takes the agent's time or memory.
//!
//! Files that are no plugin for this agent: each is refused with its reason, and nothing else happens.

use std::path::PathBuf;

use crate::fixture::guests::{guest, patched, with_instances, with_memories};
use crate::fixture::zoo::{Zoo, named, state};
use crate::fixture::{TestAgent, item, rounds, seeded, shipped};
use pharos::plugin::validate;

fn shipped_bytes(id: &str) -> Vec<u8> {
    shipped().into_iter().find(|(shipped, _)| shipped == id).expect("it is shipped").1
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn files_that_are_no_plugins_are_refused_with_the_reason() {
    let whole = shipped_bytes("threshold");
    let plain = guest("id=other-world");
    let cases: Vec<(&str, Vec<u8>, &str, &[&str])> = vec![
        ("cut", whole[..whole.len() / 2].to_vec(), "validate", &["is damaged or cut off"]),
        ("empty", Vec::new(), "validate", &["is not WebAssembly"]),
        ("text", b"no plugin at all".to_vec(), "validate", &["is not WebAssembly"]),
        ("header", b"\0asm".to_vec(), "validate", &["damaged"]),
        ("core", b"\0asm\x01\0\0\0".to_vec(), "validate", &["core module", "wasm32-wasip2", "wasm-tools component new"]),
        (
            "other-world",
            patched(&plain, "pharos:plugin/alert-rule", "pharos:plugin/alert-rank"),
            "validate",
            &["exports no world of Pharos"],
        ),
        ("other-version", patched(&plain, "@0.1.0", "@0.2.0"), "validate", &["@0.2.0", "version 0.1 of the contract"]),
        (
            "other-import",
            patched(&plain, "wasi:cli/environment", "wasi:http/requesting"),
            "validate",
            &["imports wasi:http/requesting@0.2.", "which no alert-rule-plugin may have", "`egress`"],
        ),
        (
            "other-wasi",
            patched(&plain, "wasi:cli/environment@0.2.", "wasi:cli/environment@0.3."),
            "validate",
            &["imports wasi:cli/environment@0.3."],
        ),
        // Found before the compiler sees it: each would cost it seconds, or all the memory it may have.
        ("many-instances", with_instances(&plain, &[80]), "validate", &["core module instances, but a plugin may have 64"]),
        ("endless-instances", with_instances(&plain, &[10; 12]), "validate", &["core module instances, but a plugin may have 64"]),
        ("many-memories", with_memories(&plain, &[&[1, 1], &[1, 1]]), "validate", &["has 5 memories, but a plugin may have 4"]),
    ];
    let files = cases.iter().map(|(id, bytes, ..)| ((*id).to_owned(), bytes.clone())).collect();
    refused(files, "", cases.iter().map(|(id, _, stage, fragments)| (*id, *stage, *fragments)).collect()).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn plugins_that_do_not_start_well_are_refused_at_the_stage_where_they_failed() {
    let config = "[plugin.unfit.settings.limits]\nabove = \"high\"\n";
    let schema = r#"{"type":"object","properties":{"limits":{"properties":{"above":{"type":"number"}}}}}"#;
    let cases: Vec<(&str, String, &str, &[&str])> = vec![
        ("misnamed", String::new(), "describe", &["\"somebody-else\"", "\"misnamed\""]),
        ("unfit", format!("schema={schema}"), "settings", &["plugin.unfit.settings.limits.above", "number"]),
        ("no-schema", "schema=no JSON".to_owned(), "settings", &["is not a JSON Schema"]),
        ("never-starts", "start=loop".to_owned(), "describe", &["1s of CPU time|longer than 5s"]),
        ("traps-early", "describe=trap".to_owned(), "describe", &["trapped"]),
        ("loops-early", "describe=loop".to_owned(), "describe", &["1s of CPU time|longer than 5s"]),
        ("sleeps-early", "init=sleep:600000".to_owned(), "init", &["longer than 5s"]),
        ("grows-early", "init=grow".to_owned(), "init", &["64.0 MiB"]),
        ("many-rules", "rules=many:600".to_owned(), "init", &["more than 500"]),
        ("traps-always", "evaluate=trap".to_owned(), "canary", &["trapped"]),
        ("long-version", format!("version={}", "v".repeat(300)), "describe", &["version"]),
        ("odd-version", "version=1.0\n2".to_owned(), "describe", &["version"]),
    ];
    let file = |(id, orders, ..): &(&str, String, &str, &[&str])| match *id {
        "misnamed" => ((*id).to_owned(), guest("id=somebody-else")),
        _ => named(id, orders),
    };
    let files = cases.iter().map(file).collect();
    refused(files, config, cases.iter().map(|(id, _, stage, fragments)| (*id, *stage, *fragments)).collect()).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_schema_that_leads_back_to_itself_ends() {
    let config = "[plugin.endless.settings.limits.limits]\nabove = 1\n";
    let schema = r##"{"$ref":"#/$defs/a","$defs":{"a":{"allOf":[{"$ref":"#/$defs/b"}],"properties":{"limits":{"$ref":"#"}}},"b":{"$ref":"#/$defs/a"}}}"##;
    let zoo = Zoo::start(config, vec![named("endless", &format!("schema={schema}"))], Vec::new()).await;
    zoo.agent.wait_plugin("endless", |plugin| plugin["state"] != "loading").await;
    assert_eq!(zoo.agent.request("/healthz", &[]).await.0, 200);
    zoo.agent.stop().await;
}

/// Starts an agent with these files beside a good one, which must serve. Of fragments with `|` between them one is enough: on a busy
/// machine the wall time may be over first.
async fn refused(mut files: Vec<(String, Vec<u8>)>, config: &str, expected: Vec<(&str, &str, &[&str])>) {
    files.push(named("steady", ""));
    let zoo = Zoo::start(config, files, Vec::new()).await;
    zoo.wait_alert("steady", "always", "firing").await;
    for (id, stage, fragments) in expected {
        let plugin = zoo.agent.wait_plugin(id, |plugin| plugin["state"] == "failed").await;
        let error = &plugin["last_error"];
        assert_eq!(error["stage"], stage, "{plugin:#}");
        for fragment in fragments {
            let message = error["message"].as_str().expect("the error has a message");
            assert!(fragment.split('|').any(|fragment| message.contains(fragment)), "`{fragment}` is missing: {plugin:#}");
        }
        assert_eq!((&plugin["generation"], plugin["enabled"].as_bool()), (&0.into(), Some(true)), "{plugin:#}");
    }
    let metrics = zoo.agent.text("/metrics").await;
    assert!(metrics.contains("result=\"refused\"}"), "{metrics}");
    assert_eq!(state(&zoo.agent.json("/api/plugins").await, "steady"), "serving");
    zoo.agent.stop().await;
}

#[test]
fn a_plugin_with_random_bits_flipped_is_never_a_panic() {
    let whole = shipped_bytes("webhook");
    let mut random = seeded();
    let (mut refused, mut passed) = (0, 0);
    for _ in 0..rounds(300) {
        let mut bytes = whole.clone();
        for _ in 0..random.usize(1..4) {
            let at = random.usize(..bytes.len());
            bytes[at] ^= 1 << random.u8(..8);
        }
        if random.u8(..4) == 0 {
            bytes.truncate(random.usize(..bytes.len()));
        }
        match validate::inspect(&bytes) {
            Ok(_) => passed += 1,
            Err(err) => {
                refused += 1;
                assert!(!err.to_string().is_empty());
            }
        }
    }
    assert!(refused > 50 && passed > 10, "{refused} refused, {passed} passed");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn random_flips_that_validate_still_end_in_service_or_in_an_error_with_its_stage() {
    let mut random = seeded();
    let flipped = |id: &str, random: &mut fastrand::Rng| loop {
        let mut bytes = guest(&format!("id={id}"));
        let at = random.usize(..bytes.len());
        bytes[at] ^= 1 << random.u8(..8);
        if validate::inspect(&bytes).is_ok() {
            return (id.to_owned(), bytes);
        }
    };
    let ids: Vec<String> = (0..8).map(|number| format!("flipped-{number}")).collect();
    let mut files: Vec<_> = ids.iter().map(|id| flipped(id, &mut random)).collect();
    files.push(named("steady", ""));
    let zoo = Zoo::start("", files, Vec::new()).await;
    for id in &ids {
        let plugin = zoo.agent.wait_plugin(id, |plugin| plugin["state"] != "loading").await;
        let stages = ["validate", "compile", "link", "describe", "settings", "init", "canary", "call"];
        let failed = plugin["last_error"]["stage"].as_str();
        assert!(failed.is_none_or(|stage| stages.contains(&stage)), "{plugin:#}");
        assert!(failed.is_some() || plugin["state"] == "serving", "{plugin:#}");
    }
    zoo.wait_alert("steady", "always", "firing").await;
    zoo.agent.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_compile_helper_past_its_limits_is_a_clear_refusal_and_the_agent_lives() {
    for (limit, fragment) in
        [("compile_memory_max = \"30MiB\"", "plugins.compile_memory_max"), ("compile_timeout = \"1ms\"", "plugins.compile_timeout")]
    {
        let config = format!("[plugins]\ndir = \"plugins\"\n{limit}\n");
        let zoo = Zoo::start(&config, vec![named("steady", "")], Vec::new()).await;
        let plugin = zoo.agent.wait_plugin("steady", |plugin| plugin["state"] == "failed").await;
        assert_eq!(plugin["last_error"]["stage"], "compile", "{plugin:#}");
        assert!(plugin["last_error"]["message"].as_str().unwrap().contains(fragment), "{plugin:#}");
        assert_eq!(zoo.agent.request("/healthz", &[]).await.0, 200);
        zoo.agent.stop().await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_cached_plugin_needs_no_helper_at_the_next_start() {
    let missing = PathBuf::from("/nonexistent/pharos");
    let (id, bytes) = named("steady", "");
    let folder = tempfile::tempdir().unwrap();
    let agent = TestAgent::start_helped(folder, "", vec![(id.clone(), bytes.clone())], missing.clone()).await;
    let refused = agent.wait_plugin(&id, |plugin| plugin["state"] == "failed").await;
    assert!(refused["last_error"]["message"].as_str().unwrap().contains("/nonexistent/pharos"), "{refused:#}");
    let folder = agent.stop().await;

    let agent = TestAgent::start_in(folder, "", vec![(id.clone(), bytes.clone())]).await;
    agent.wait_plugin(&id, |plugin| plugin["state"] == "serving").await;
    let folder = agent.stop().await;

    let agent = TestAgent::start_helped(folder, "", vec![(id.clone(), bytes)], missing).await;
    let list = agent.wait_json("/api/plugins", |list| state(list, &id) == "serving").await;
    assert!(item(&list, "id", &id).unwrap()["last_error"].is_null(), "{list:#}");
    agent.stop().await;
}
