//! No bad plugin file, and none that fails in service, changes what serves. No change of generations is lost.
//!
//! Live reload: whatever happens to a file, a good version serves and no alert is sent twice.

use std::collections::{BTreeMap, BTreeSet};
use std::io::Write;
use std::sync::Arc;
use std::time::Duration;

use pharos::board::Board;
use pharos::config::plugins::PluginsConfig;
use pharos::demo::receiver::{Count, Receiver};
use pharos::plugin::{PluginHost, PluginState, Reloader, Ticker};
use pharos::store::Store;
use pharos_model::event::PluginEventKind;
use serde_json::Value;
use tokio::sync::mpsc;
use tokio::time::{sleep, timeout};

use crate::fixture::guests::guest;
use crate::fixture::wait::{fitting, until};
use crate::fixture::zoo::{Zoo, folder_of, named};
use crate::fixture::{PATIENCE, TestAgent, loader, receiver_config, rounds, runtime_tasks, seeded};

fn webhook() -> Vec<(String, Vec<u8>)> {
    crate::fixture::shipped().into_iter().filter(|(id, _)| id == "webhook").collect()
}

async fn wait_count(receiver: &Receiver, rule: &str, firing: usize, resolved: usize) {
    let wanted = Count { firing, resolved };
    let came = receiver.wait_until(PATIENCE, |received| received.count(rule) == wanted).await;
    assert!(came, "{rule}: {:?}", receiver.received(|received| received.count(rule)));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn another_build_changes_findings_and_no_alert_is_sent_twice() {
    let (tasks, stop) = runtime_tasks();
    let receiver = Receiver::start(None, &tasks, &stop).await.unwrap();
    let zoo = Zoo::start(&receiver_config(&receiver.url()), Vec::new(), webhook()).await;
    zoo.agent.wait_plugin("webhook", |plugin| plugin["state"] == "serving").await;

    zoo.put("judge", &guest("id=judge;version=1.0.0;finds=always"));
    let first = zoo.wait_version("judge", "1.0.0").await;
    assert_eq!((&first["source"], &first["generation"]), (&"file".into(), &1.into()), "{first}");
    wait_count(&receiver, "always", 1, 0).await;

    zoo.put("judge", &guest("id=judge;version=2.0.0;finds=always,other"));
    wait_count(&receiver, "other", 1, 0).await;
    assert_eq!(zoo.wait_version("judge", "2.0.0").await["generation"], 2);

    zoo.put("judge", &guest("id=judge;version=3.0.0;finds=other"));
    wait_count(&receiver, "always", 1, 1).await;
    zoo.wait_calls("judge", 3).await;
    wait_count(&receiver, "other", 1, 0).await;

    // Garbage changes nothing but `last_error`.
    zoo.put("judge", b"garbage");
    let refused = zoo.agent.wait_plugin("judge", |plugin| !plugin["last_error"].is_null()).await;
    assert_eq!(
        (&refused["version"], &refused["generation"], &refused["state"]),
        (&"3.0.0".into(), &3.into(), &"serving".into()),
        "{refused}"
    );
    assert_eq!(refused["last_error"]["stage"], "validate", "{refused}");

    // The good file again is no new version, and there is nothing wrong with it.
    zoo.put("judge", &guest("id=judge;version=3.0.0;finds=other"));
    let mended = zoo.agent.wait_plugin("judge", |plugin| plugin["last_error"].is_null()).await;
    assert_eq!(mended["generation"], 3, "{mended}");

    std::fs::remove_file(zoo.file("judge")).unwrap();
    zoo.agent.wait_json("/api/plugins", |list| crate::fixture::item(list, "id", "judge").is_none()).await;
    let stands_still = |alert: &Value| alert["state"] == "firing" && alert["frozen"].as_str().is_some_and(|why| why.contains("removed"));
    zoo.agent.wait_json("/api/database/alerts", |alerts| crate::fixture::item(alerts, "rule", "other").is_some_and(stands_still)).await;
    wait_count(&receiver, "other", 1, 0).await;
    zoo.agent.stop().await;
    stop.cancel();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_file_is_read_whole_however_it_is_written() {
    let zoo = Zoo::start("", vec![named("judge", "version=1.0.0")], Vec::new()).await;
    zoo.wait_version("judge", "1.0.0").await;
    // Truncated in place, then written in pieces.
    let bytes = guest("id=judge;version=2.0.0");
    let mut file = std::fs::File::create(zoo.file("judge")).unwrap();
    for piece in bytes.chunks(bytes.len() / 20) {
        file.write_all(piece).unwrap();
        sleep(Duration::from_millis(20)).await;
    }
    drop(file);
    let loaded = zoo.wait_version("judge", "2.0.0").await;
    assert!(loaded["last_error"].is_null(), "{loaded}");

    // Touched, and written again with the same content: no new version.
    std::fs::File::options().write(true).open(zoo.file("judge")).unwrap().set_modified(std::time::SystemTime::UNIX_EPOCH).unwrap();
    zoo.put("judge", &bytes);
    zoo.put("other", &guest("id=other"));
    zoo.agent.wait_plugin("other", |plugin| plugin["state"] == "serving").await;
    assert_eq!(zoo.agent.plugin("judge").await["generation"], loaded["generation"]);
    for ignored in [".judge.wasm", "judge.wasm.tmp", "judge.wasm~", "Judge.wasm"] {
        std::fs::write(zoo.agent.plugins_dir().join(ignored), b"garbage").unwrap();
    }
    zoo.put("judge", &guest("id=judge;version=3.0.0"));
    zoo.wait_version("judge", "3.0.0").await;
    let list = zoo.agent.json("/api/plugins").await;
    assert_eq!(list["items"].as_array().unwrap().len(), 2, "{list:#}");
    zoo.agent.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_file_replaces_the_embedded_plugin_until_it_is_removed() {
    let embedded = || vec![named("judge", "version=1.0.0")];
    let zoo = Zoo::start("", Vec::new(), embedded()).await;
    assert_eq!(zoo.wait_version("judge", "1.0.0").await["source"], "embedded");
    zoo.put("judge", &guest("id=judge;version=2.0.0"));
    assert_eq!(zoo.wait_version("judge", "2.0.0").await["source"], "file");
    std::fs::remove_file(zoo.file("judge")).unwrap();
    let back = zoo.wait_version("judge", "1.0.0").await;
    assert_eq!((&back["source"], &back["generation"]), (&"embedded".into(), &3.into()), "{back}");

    // Garbage over the embedded one leaves it serving; without the garbage nothing is wrong.
    zoo.put("judge", b"garbage");
    let refused = zoo.agent.wait_plugin("judge", |plugin| !plugin["last_error"].is_null()).await;
    assert_eq!((&refused["version"], &refused["source"]), (&"1.0.0".into(), &"embedded".into()), "{refused}");
    let folder = zoo.agent.stop().await;

    // Also at a start, where the embedded one did not serve yet.
    let zoo = Zoo::start_in(folder, "", embedded()).await;
    let refused = zoo.agent.wait_plugin("judge", |plugin| plugin["state"] == "serving" && !plugin["last_error"].is_null()).await;
    assert_eq!((&refused["version"], &refused["source"]), (&"1.0.0".into(), &"embedded".into()), "{refused}");
    std::fs::remove_file(zoo.file("judge")).unwrap();
    zoo.agent.wait_plugin("judge", |plugin| plugin["state"] == "serving" && plugin["last_error"].is_null()).await;
    zoo.agent.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_version_that_fails_on_probation_is_taken_back_and_not_loaded_again() {
    let zoo = Zoo::start("", vec![named("judge", "version=1.0.0")], Vec::new()).await;
    zoo.wait_alert("judge", "always", "firing").await;
    let bad = guest("id=judge;version=2.0.0;armed=trap");
    zoo.put("judge", &bad);
    zoo.wait_version("judge", "2.0.0").await;
    zoo.arm().await;
    let back = zoo.wait_version("judge", "1.0.0").await;
    assert_eq!(back["last_error"]["stage"], "probation", "{back}");
    assert!(back["last_error"]["message"].as_str().unwrap().contains("trapped"), "{back}");
    let metrics = zoo.agent.text("/metrics").await;
    assert!(metrics.contains("pharos_plugin_loads_total{plugin=\"judge\",result=\"rolled-back\"} 1"), "{metrics}");

    // This content is recorded as bad, even though nothing would trap now.
    zoo.disarm().await;
    zoo.put("judge", &bad);
    zoo.put("marker", &guest("id=marker"));
    zoo.agent.wait_plugin("marker", |plugin| plugin["state"] == "serving").await;
    assert_eq!(zoo.agent.plugin("judge").await["version"], "1.0.0");

    // While there is data on which it fails, the canary refuses a version before it serves.
    zoo.arm().await;
    zoo.wait_calls("judge", 5).await;
    zoo.put("judge", &guest("id=judge;version=3.0.0;armed=trap"));
    let refused = zoo.agent.wait_plugin("judge", |plugin| plugin["last_error"]["stage"] == "canary").await;
    assert_eq!((&refused["version"], &refused["state"]), (&"1.0.0".into(), &"serving".into()), "{refused}");
    zoo.put("judge", &guest("id=judge;version=4.0.0"));
    zoo.wait_version("judge", "4.0.0").await;
    let metrics = zoo.agent.text("/metrics").await;
    assert!(!metrics.contains("pharos_alert_transitions_total{to=\"resolved\"}"), "{metrics}");
    zoo.agent.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn random_edits_end_with_the_last_good_version_and_one_alert() {
    let (tasks, stop) = runtime_tasks();
    let receiver = Receiver::start(None, &tasks, &stop).await.unwrap();
    let zoo = Zoo::start(&receiver_config(&receiver.url()), vec![named("judge", "version=1.0.0")], webhook()).await;
    wait_count(&receiver, "always", 1, 0).await;
    let versions: Vec<Vec<u8>> =
        (0..4).map(|number| guest(&format!("id=judge;version=1.0.{number};evaluate=sleep:{}", number * 50))).collect();
    let mut random = seeded();
    for _ in 0..rounds(50) {
        let version = random.choice(&versions).unwrap();
        match random.u8(..6) {
            0 => zoo.put("judge", b"garbage"),
            1 => zoo.put("judge", &version[..random.usize(..version.len())]),
            2 => drop(std::fs::remove_file(zoo.file("judge"))),
            3 => std::fs::write(zoo.file("judge"), version).unwrap(),
            _ => zoo.put("judge", version),
        }
        sleep(Duration::from_millis(random.u64(..400))).await;
    }
    zoo.put("judge", &guest("id=judge;version=2.0.0"));
    let last = zoo.wait_version("judge", "2.0.0").await;
    assert!(last["last_error"].is_null(), "{last}");
    assert_eq!(last["traps"], 0, "{last}");
    zoo.wait_calls("judge", 3).await;
    wait_count(&receiver, "always", 1, 0).await;
    zoo.agent.stop().await;
    stop.cancel();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_plugin_folder_may_come_late_go_and_come_back() {
    // The rescan is too rare to help: the watch alone must see it.
    let config = "[plugins]\ndir = \"later/plugins\"\ndebounce = \"50ms\"\nrescan = \"10m\"\n";
    let zoo = Zoo::start(config, Vec::new(), Vec::new()).await;
    let dir = zoo.agent.folder().join("later/plugins");
    let appear = async |id: &str| {
        // The agent makes the folder itself. If the test made it first, the agent finds it, and the other way round.
        std::fs::create_dir_all(&dir).unwrap();
        std::fs::write(dir.join(format!("{id}.wasm")), guest(&format!("id={id}"))).unwrap();
        zoo.agent.wait_plugin(id, |plugin| plugin["state"] == "serving").await;
    };
    appear("first").await;
    for round in ["second", "third"] {
        std::fs::remove_dir_all(&dir).unwrap();
        zoo.agent.wait_json("/api/plugins", |list| list["items"] == Value::Array(Vec::new())).await;
        appear(round).await;
    }
    zoo.agent.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_state_of_a_plugin_survives_reload_and_restart() {
    let gauge = "pharos_plugin_user_gauge{plugin=\"judge\",name=\"remembered\"}";
    let zoo = Zoo::start("", vec![named("judge", "version=1.0.0;armed=remember")], Vec::new()).await;
    zoo.arm().await;
    zoo.agent.wait_metrics(|metrics| metrics.contains(gauge)).await;
    zoo.wait_calls("judge", 5).await;
    let before = zoo.agent.series(gauge).await;
    assert!(before >= Some(5.0), "{before:?}");
    zoo.put("judge", &guest("id=judge;version=2.0.0;armed=remember"));
    zoo.wait_version("judge", "2.0.0").await;
    zoo.wait_calls("judge", 2).await;
    assert!(zoo.agent.series(gauge).await > before);

    let before = zoo.agent.series(gauge).await;
    let folder = zoo.agent.stop().await;
    let zoo = Zoo::start_in(folder, "", Vec::new()).await;
    zoo.arm().await;
    zoo.agent.wait_metrics(|metrics| metrics.contains(gauge)).await;
    assert!(zoo.agent.series(gauge).await > before);
    zoo.agent.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn changes_of_plugins_are_recorded() {
    let files = vec![named("judge", "version=1.0.0"), named("trapper", "armed=trap")];
    let zoo = Zoo::start("", files, Vec::new()).await;
    zoo.wait_alert("judge", "always", "firing").await;
    zoo.wait_alert("trapper", "always", "firing").await;
    zoo.put("judge", b"garbage");
    zoo.agent.wait_plugin("judge", |plugin| plugin["last_error"]["stage"] == "validate").await;
    zoo.put("judge", &guest("id=judge;version=2.0.0;armed=trap"));
    zoo.wait_version("judge", "2.0.0").await;
    zoo.arm().await;
    zoo.wait_version("judge", "1.0.0").await;
    zoo.agent.wait_plugin("trapper", |plugin| plugin["state"] == "quarantined").await;
    zoo.disarm().await;
    zoo.agent.wait_plugin("trapper", |plugin| plugin["state"] == "serving").await;
    std::fs::remove_file(zoo.file("judge")).unwrap();
    zoo.agent.wait_json("/api/plugins", |list| crate::fixture::item(list, "id", "judge").is_none()).await;
    let folder = zoo.agent.stop().await;

    let store = Store::open(&folder.path().join("data")).unwrap();
    let mut events = store.events(1_000).await.unwrap();
    events.retain(|event| event.kind() == "plugin");
    events.reverse();
    let of = |plugin: &str| {
        let mut happened: Vec<(String, String)> = Vec::new();
        for event in events.iter().filter(|event| event.subject == plugin) {
            let text = |key: &str| event.stored_detail()[key].as_str().unwrap().to_owned();
            happened.push((text("what"), text("text")));
        }
        // A quarantine is prolonged by each probe that fails.
        happened.dedup_by(|next, last| next.0 == last.0);
        happened
    };
    let expected: [(&str, &[(&str, &str)]); 2] = [
        (
            "judge",
            &[
                ("loaded", "`judge` 1.0.0 serves as generation 1"),
                ("refused", "`judge` refused at validate: the file is not WebAssembly"),
                ("loaded", "`judge` 2.0.0 serves as generation 2"),
                ("rolled-back", "failed on probation (trapped"),
                ("removed", "`judge` was removed; its alerts stay as they are"),
            ],
        ),
        (
            "trapper",
            &[
                ("loaded", "`trapper` 1.0.0 serves as generation 1"),
                ("quarantined", "`trapper` is not called for"),
                ("recovered", "`trapper` works again"),
            ],
        ),
    ];
    for (plugin, expected) in expected {
        let happened = of(plugin);
        let fits = |(what, text): &(String, String), (kind, fragment): &(&str, &str)| what == kind && text.contains(fragment);
        let all = happened.len() == expected.len() && happened.iter().zip(expected).all(|(event, expected)| fits(event, expected));
        assert!(all, "{happened:#?}");
    }
    assert!(events.is_sorted_by_key(|event| event.at_ms) && events.iter().all(|event| event.at_ms > 0), "{events:#?}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_link_that_leads_nowhere_is_reported_and_delays_no_other_plugin() {
    let folder = tempfile::tempdir().unwrap();
    std::fs::create_dir(folder.path().join("plugins")).unwrap();
    let link = folder.path().join("plugins/judge.wasm");
    std::os::unix::fs::symlink("nowhere", &link).unwrap();
    let agent = TestAgent::start_in(folder, "", Vec::new()).await;
    let failed = agent.wait_plugin("judge", |plugin| plugin["state"] == "failed").await;
    assert_eq!(failed["last_error"]["stage"], "read", "{failed}");
    agent.wait_json("/readyz", |ready| ready["ready"] == true).await;
    std::fs::write(agent.plugins_dir().join("nowhere"), guest("id=judge")).unwrap();
    agent.wait_plugin("judge", |plugin| plugin["state"] == "serving").await;
    agent.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn no_event_is_lost_while_nothing_receives_events() {
    let ids = ["one", "two", "three", "four"];
    let mut files: Vec<_> = ids.iter().map(|id| named(id, "")).collect();
    files.push(("bad".to_owned(), b"garbage".to_vec()));
    let folder = folder_of(files);
    let (tasks, stop) = runtime_tasks();
    let config = PluginsConfig { dir: folder.path().join("plugins"), ..PluginsConfig::default() };
    let loader = loader(folder.path(), &config, &tasks);
    // Room for one: the others come while it is taken.
    let (events, mut taken) = mpsc::channel(1);
    let ticker = Ticker::start(&loader.engine, loader.clock).unwrap();
    let host = PluginHost::new(ticker, loader.clock, Arc::clone(&loader.metrics), events, Duration::ZERO);
    let board = Arc::new(Board::new(loader.clock));
    tasks.spawn(Reloader::new(loader, host.clone(), config, Vec::new(), board).run(stop.clone()));
    let tried = |host: &PluginHost| host.status(&BTreeMap::new()).iter().filter(|plugin| plugin.state != PluginState::Loading).count();
    until("two plugins are tried", async || fitting(tried(&host), |tried| *tried >= 2)).await;
    let mut told = BTreeSet::new();
    while told.len() < ids.len() + 1 {
        let event = timeout(PATIENCE, taken.recv()).await;
        let event = event.unwrap_or_else(|_| panic!("only {told:?}")).unwrap();
        let loaded = event.kind == PluginEventKind::Loaded;
        assert_eq!(loaded, event.plugin != "bad", "{event:?}");
        told.insert(event.plugin);
    }
    stop.cancel();
}
