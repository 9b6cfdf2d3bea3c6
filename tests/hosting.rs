//! What plugins stand on: memory with and without a pool.

use serde_json::Value;

use crate::fixture::item;
use crate::fixture::program::Program;
use crate::fixture::zoo::{Zoo, named};

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn plugins_serve_without_a_pool() {
    // Memory that grows in pieces may cost more than 50 ms on a busy machine; its size is what is tested.
    let limits = "[plugin.grower.limits]\ncpu = \"5s\"\nwall = \"20s\"\n";
    let config = &format!("[plugins]\ndir = \"plugins\"\ndebounce = \"50ms\"\npooling = false\n{limits}");
    let files = vec![named("steady", "armed=remember"), named("grower", "armed=grow")];
    let zoo = Zoo::start(config, files, Vec::new()).await;
    zoo.wait_alert("grower", "always", "firing").await;
    zoo.arm().await;
    zoo.wait_calls("steady", 5).await;
    // Its memory is made as it grows, and the limit is the same.
    let grower = zoo.agent.wait_plugin("grower", |plugin| plugin["state"] == "quarantined").await;
    assert!(grower["last_error"]["message"].as_str().unwrap().contains("may hold 64.0 MiB"), "{grower}");
    assert!(grower["memory_bytes_max"].as_u64() >= Some(60 << 20), "{grower}");
    assert_eq!(zoo.agent.plugin("steady").await["traps"], 0);
    zoo.agent.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn plugins_serve_where_there_is_no_address_space_for_a_pool() {
    const ADDRESS_SPACE_KIB: u64 = 1_500_000;
    let limit = format!("ulimit -v {ADDRESS_SPACE_KIB}");
    let program = Program::start_under(&limit, "", vec![named("steady", "armed=remember")]).await;
    let serving = |list: &Value| list["items"].as_array().unwrap().iter().all(|plugin| plugin["state"] == "serving");
    program.wait_json("/api/plugins", |list| item(list, "id", "steady").is_some() && serving(list)).await;
    program.arm().await;
    let called = |list: &Value| item(list, "id", "steady").is_some_and(|plugin| plugin["calls"].as_u64() >= Some(10));
    let list = program.wait_json("/api/plugins", called).await;
    assert_eq!(item(&list, "id", "steady").unwrap()["traps"], 0, "{list:#}");
    program.wait_json("/api/database/alerts", |list| item(list, "plugin", "steady").is_some()).await;
    let said = program.log().matches("no address space for a pool of plugin instances").count();
    assert_eq!(said, 1, "{}", program.log());
    let limits = std::fs::read_to_string(program.proc().join("limits")).unwrap();
    assert!(limits.contains(&format!("{}", ADDRESS_SPACE_KIB << 10)), "{limits}");
    program.kill().await;
}
