//! No settings schema of a plugin uses up the time, the memory or the stack of the agent.
//!
//! Settings schemas that would take for ever, all memory or all stack: refused at once, and the agent lives on.

use pharos::plugin::settings::problems;
use serde_json::{Value, json};

use crate::fixture::guests::{Build, guest_of};
use crate::fixture::zoo::{Zoo, named};

/// Each level refers to the next one twice.
fn doubling(levels: usize, keyword: &str) -> Value {
    let next = |level: usize| json!({ "$ref": format!("#/$defs/d{}", level + 1) });
    let mut defs: serde_json::Map<String, Value> =
        (0..levels).map(|level| (format!("d{level}"), json!({ keyword: [next(level), next(level)] }))).collect();
    defs.insert(format!("d{levels}"), json!({ "type": "object" }));
    json!({ "$defs": defs, "$ref": "#/$defs/d0" })
}

/// Each level refers to the next one.
fn chain(levels: usize) -> Value {
    let mut defs: serde_json::Map<String, Value> =
        (0..levels).map(|level| (format!("d{level}"), json!({ "$ref": format!("#/$defs/d{}", level + 1) }))).collect();
    defs.insert(format!("d{levels}"), json!({ "type": "object" }));
    json!({ "$defs": defs, "$ref": "#/$defs/d0" })
}

/// A schema that every level of the settings visits twice.
fn doubling_inside() -> Value {
    let inner = json!({ "properties": { "a": { "$ref": "#" } } });
    json!({ "allOf": [inner, inner] })
}

fn nested(levels: usize) -> Value {
    (0..levels).fold(json!({}), |inner, _| json!({ "a": inner }))
}

#[track_caller]
fn refused(schema: &str, settings: &Value, expected: &str) {
    let err = problems(schema, settings).expect_err(expected).to_string();
    assert!(err.contains(expected), "expected `{expected}`, got `{err}`");
    assert!(err.len() < 1_000 && !err.contains(char::is_control), "{err:?}");
}

#[test]
fn a_schema_without_measure_is_refused_before_anything_compiles_it() {
    for keyword in ["allOf", "anyOf", "oneOf"] {
        refused(&doubling(25, keyword).to_string(), &json!({}), "unfolds to more than 100000 schemas");
    }
    refused(&doubling(60, "allOf").to_string(), &json!({}), "deeper than 64 schemas");
    refused(&doubling(14, "oneOf").to_string(), &json!({}), "more than 1000000 steps");
    refused(&chain(2_000).to_string(), &json!({}), "deeper than 64 schemas");
    refused(&format!("{}{{}}{}", "{\"not\":".repeat(100), "}".repeat(100)), &json!({}), "deeper than 64 schemas");
    refused(&format!("{}{{}}{}", "{\"not\":".repeat(100_000), "}".repeat(100_000)), &json!({}), "has 800002 bytes");
    refused(&format!("{}{{}}{}", "{\"not\":".repeat(20_000), "}".repeat(20_000)), &json!({}), "recursion limit exceeded");
    refused(&doubling_inside().to_string(), &nested(18), "more than 1000000 steps");
    let circle = json!({ "$defs": { "a": { "allOf": [{ "$ref": "#/$defs/b" }] }, "b": { "$ref": "#/$defs/a" } }, "$ref": "#/$defs/a" });
    refused(&circle.to_string(), &json!({}), "leads back to itself");
    let unevaluated = (0..24).fold(json!({}), |inner, _| json!({ "allOf": [inner], "unevaluatedProperties": false }));
    refused(&unevaluated.to_string(), &json!({}), "more than 1000000 steps");
    let unique = json!({ "properties": { "list": { "uniqueItems": true } } });
    refused(&unique.to_string(), &json!({ "list": (0..2_000).collect::<Vec<_>>() }), "more than 1000000 steps");
}

#[test]
fn a_regular_expression_of_a_schema_takes_bounded_time_and_memory() {
    let pattern = |pattern: &str| json!({ "properties": { "a": { "pattern": pattern } } }).to_string();
    let text = json!({ "a": format!("{}!", "a".repeat(50_000)) });
    // It would backtrack for ever; in an automaton it is one pass.
    assert_eq!(problems(&pattern("^(a+)+$"), &text).unwrap().len(), 1);
    assert!(problems(&pattern("^(a|a)*!$"), &text).unwrap().is_empty());
    refused(&pattern(r"^(a+)\1$"), &text, "is not a JSON Schema");
    refused(&pattern(r"^(?:\pL{60}){1,60}$"), &text, "is not a JSON Schema");
    let many: serde_json::Map<String, Value> =
        (0..65).map(|number| (format!("p{number}"), json!({ "pattern": format!("^a{number}$") }))).collect();
    refused(&json!({ "properties": many }).to_string(), &json!({}), "more than 64 regular expressions");
}

#[test]
fn a_schema_leads_nowhere_outside_of_itself() {
    for reference in ["https://127.0.0.1:9/schema.json", "file:///etc/passwd", "other.json", "#anchor", "#/$defs/missing", "#/type"] {
        refused(&json!({ "type": "object", "$ref": reference }).to_string(), &json!({}), reference);
    }
    refused(&json!({ "$schema": "https://127.0.0.1:9/meta" }).to_string(), &json!({}), "write it in JSON Schema 2020-12");
    refused(&json!({ "properties": { "a": { "$id": "https://127.0.0.1:9/a" } } }).to_string(), &json!({}), "`$id` below its root");
    refused(&json!({ "$dynamicRef": "#meta" }).to_string(), &json!({}), "`$dynamicRef`");
    refused("[]", &json!({}), "is not a JSON Schema");
    refused("\u{1b}[31m\n", &json!({}), "is not a JSON Schema");
}

#[test]
fn schemas_that_plugins_need_are_far_below_the_bounds() {
    let tree = json!({
        "$schema": "https://json-schema.org/draft/2020-12/schema",
        "$id": "https://example.com/tree",
        "$defs": { "node/~": { "type": "object", "properties": { "left": { "$ref": "#/$defs/node~1~0" }, "$id": { "type": "string" } }, "additionalProperties": false } },
        "anyOf": [{ "$ref": "#/%24defs/node~1~0" }, { "type": "string", "pattern": "^[a-z][a-z0-9-]{0,62}$" }]
    });
    let deep = (0..20).fold(json!({}), |inner, _| json!({ "left": inner }));
    assert!(problems(&tree.to_string(), &deep).unwrap().is_empty());
    assert_eq!(problems(&tree.to_string(), &json!({ "right": 1 })).unwrap().len(), 1);

    // A thousand rules of twenty settings each.
    let limit: serde_json::Map<String, Value> = (0..20).map(|number| (format!("s{number}"), json!({ "type": "number" }))).collect();
    let rule: serde_json::Map<String, Value> = (0..20).map(|number| (format!("s{number}"), json!(number))).collect();
    let schema = json!({ "properties": { "rules": { "type": "array", "items": { "properties": limit, "additionalProperties": false } } } });
    assert!(problems(&schema.to_string(), &json!({ "rules": vec![rule; 1_000] })).unwrap().is_empty());

    let unknown = problems(&schema.to_string(), &json!({ "rules": [{ "s1": 1, "s99": 2 }] })).unwrap();
    assert_eq!((unknown[0].pointer.as_str(), unknown[0].unknown_key.as_deref()), ("/rules/0", Some("s99")), "{unknown:?}");
    let wrong = problems(&schema.to_string(), &json!({ "rules": [{ "s1": "\u{1b}[31m\n".repeat(1_000) }] })).unwrap();
    assert!(wrong[0].text.len() <= 300 && !wrong[0].text.contains(char::is_control), "{wrong:?}");
}

#[test]
fn a_schema_without_references_to_it_costs_no_stack_either() {
    let deep = format!("{}{{}}{}", "{\"not\":".repeat(120), "}".repeat(120));
    let schema = format!("{{\"$defs\":{{\"unused\":{deep}}}}}");
    let small = std::thread::Builder::new().stack_size(2 << 20).spawn(move || drop(problems(&schema, &json!({})))).unwrap();
    small.join().unwrap();
    let required: Vec<String> = (0..20_000).map(|key| format!("k{key}")).collect();
    assert_eq!(problems(&json!({ "required": required }).to_string(), &json!({})).unwrap().len(), 20);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_plugin_whose_schema_would_never_end_is_refused_and_the_agent_lives() {
    let files = vec![named("endless", "schema=doubling:60"), named("chained", "schema=chain:2000"), named("steady", "")];
    let notifier = ("teller".to_owned(), guest_of(Build::Notifier, "id=teller;schema=doubling:60"));
    let config = "[[receiver]]\nname = \"ops\"\nplugin = \"teller\"\n[[route]]\nreceiver = \"ops\"\n";
    let zoo = Zoo::start(config, [files, vec![notifier]].concat(), Vec::new()).await;
    zoo.wait_alert("steady", "always", "firing").await;
    for (id, expected) in [("endless", "nested deeper than"), ("chained", "nested deeper than"), ("teller", "nested deeper than")] {
        let plugin = zoo.agent.wait_plugin(id, |plugin| plugin["state"] == "failed").await;
        assert_eq!(plugin["last_error"]["stage"], "settings", "{plugin:#}");
        assert!(plugin["last_error"]["message"].as_str().unwrap().contains(expected), "{plugin:#}");
    }
    assert_eq!(zoo.agent.request("/healthz", &[]).await.0, 200);
    // Again at the next start, where the files still lie.
    let folder = zoo.agent.stop().await;
    let zoo = Zoo::start_in(folder, config, Vec::new()).await;
    zoo.agent.wait_plugin("endless", |plugin| plugin["state"] == "failed").await;
    zoo.agent.wait_plugin("steady", |plugin| plugin["state"] == "serving").await;
    zoo.agent.stop().await;
}
