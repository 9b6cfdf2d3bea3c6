//! No silences that strangers send fill the memory, or prevent the agent from starting again.
//!
//! Silences that are meant to hurt: they cost what they may, and the agent starts again whatever the store holds.

use serde_json::{Value, json};

use crate::fixture::{TestAgent, send};

/// Fifteen characters that once took a megabyte, fifty times in each silence.
const BOMB: &str = r"rule=~(\pL|\pN){3}";

async fn add(agent: &TestAgent, matchers: &Value) -> (u16, String) {
    let body = json!({ "matchers": matchers, "duration": "1h", "comment": "x" }).to_string();
    let operator = agent.operator();
    let headers = [("content-type", "application/json"), ("authorization", operator.as_str())];
    send(agent.agent.address().port(), "POST", "/api/silences", &headers, &body).await
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn silences_take_bounded_memory_and_the_agent_starts_again() {
    let agent = TestAgent::start_with("", Vec::new()).await;
    let (status, why) = add(&agent, &json!(vec![BOMB; 50])).await;
    assert!(status == 400 && why.contains("the matchers take more than 1024 KiB together"), "{status} {why}");
    let (status, why) = add(&agent, &json!(vec!["rule=x"; 51])).await;
    assert!(status == 400 && why.contains("more than 50 matchers"), "{status} {why}");
    let (status, silence) = add(&agent, &json!(["rule=~l.g", "severity!=info"])).await;
    assert_eq!(status, 201, "{silence}");
    let id = serde_json::from_str::<Value>(&silence).unwrap()["id"].as_str().unwrap().to_owned();
    let folder = agent.stop().await;

    // An earlier agent accepted them.
    let store = rusqlite::Connection::open(folder.path().join("data/pharos.db")).unwrap();
    let stored: String = store.query_row("SELECT silence FROM silences WHERE id = ?1", [&id], |row| row.get(0)).unwrap();
    for number in 0..100 {
        let mut silence: Value = serde_json::from_str(&stored).unwrap();
        silence["id"] = json!(format!("0-{number:04}"));
        silence["matchers"] = json!(vec![BOMB; 50]);
        store.execute("INSERT INTO silences (id, silence) VALUES (?1, ?2)", [format!("0-{number:04}"), silence.to_string()]).unwrap();
    }
    drop(store);
    let agent = TestAgent::start_in(folder, "", Vec::new()).await;
    let listed = agent.json("/api/silences").await;
    let silences = listed["items"].as_array().unwrap();
    assert_eq!(silences.len(), 101, "all silences are stored");
    let in_force: Vec<&Value> = silences.iter().filter(|silence| silence["problem"].is_null()).map(|silence| &silence["id"]).collect();
    assert_eq!(in_force, [&json!(id)], "silences without room hide nothing, and report that");
    agent.stop().await;
}
