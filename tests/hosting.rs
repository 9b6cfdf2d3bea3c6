//! No plugin is called while it could not be interrupted, and no plugin that is too large for the engine is compiled first.
//!
//! Covers memory with and without a pool, the clock that interrupts plugins, and the threads that they run on.

use std::path::Path;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, mpsc};
use std::thread::JoinHandle;

use bytes::Bytes;
use pharos::config::plugins::PluginsConfig;
use pharos::plugin::{CallError, LoadedPlugin, Ticker, digest, engine, validate};
use pharos_model::notification::Delivery;
use pharos_model::snapshot::{Change, Snapshot};
use pharos_model::subject::SubjectKind;
use serde_json::Value;

use crate::fixture::delivery::message;
use crate::fixture::guests::{Build, guest, guest_of, with_instances, with_memories};
use crate::fixture::wait::{fitting, until};
use crate::fixture::zoo::{Zoo, named, state};
use crate::fixture::zoo_program::{ZooProgram, without_shipped};
use crate::fixture::{PATIENCE, item, loader, runtime_tasks};

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn plugins_serve_without_a_pool() {
    let config = "[plugins]\ndir = \"plugins\"\ndebounce = \"50ms\"\npooling = false\n";
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
    let program = ZooProgram::start_under(&limit, &without_shipped(), vec![named("steady", "armed=remember")]).await;
    program.wait_json("/api/plugins", |list| state(list, "steady") == "serving").await;
    program.arm().await;
    let called = |list: &Value| item(list, "id", "steady").is_some_and(|plugin| plugin["calls"].as_u64() >= Some(10));
    let list = program.wait_json("/api/plugins", called).await;
    assert_eq!(item(&list, "id", "steady").unwrap()["traps"], 0, "{list:#}");
    program.wait_json("/api/database/alerts", |list| item(list, "plugin", "steady").is_some()).await;
    let log = program.wait_in_log("no address space for a pool of plugin instances", 1).await;
    assert_eq!(log.matches("no address space for a pool of plugin instances").count(), 1, "{log}");
    let limits = std::fs::read_to_string(program.proc().join("limits")).unwrap();
    assert!(limits.contains(&format!("{}", ADDRESS_SPACE_KIB << 10)), "{limits}");
    program.kill().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn memory_is_limited_over_all_memories_of_a_plugin() {
    // Pages in units of 128, which are 8 MiB. The guest's own memory needs one MiB more.
    let several = |id: &str, modules: &[&[u8]]| {
        let (id, bytes) = named(id, "");
        (id, with_memories(&bytes, modules))
    };
    let files = vec![
        several("one-below", &[&[4]]),
        several("two-below", &[&[2, 2]]),
        several("two-above", &[&[4, 4]]),
        several("modules-below", &[&[2], &[2]]),
        several("modules-above", &[&[4], &[4]]),
    ];
    for pooling in ["true", "false"] {
        let config = format!("[plugins]\ndir = \"plugins\"\ndebounce = \"50ms\"\npooling = {pooling}\n");
        let zoo = Zoo::start(&config, files.clone(), Vec::new()).await;
        for id in ["one-below", "two-below", "modules-below"] {
            zoo.wait_alert(id, "always", "firing").await;
            let plugin = zoo.agent.wait_plugin(id, |plugin| plugin["calls"].as_u64() >= Some(1)).await;
            let held = plugin["memory_bytes_max"].as_u64().unwrap();
            assert!((33 << 20..36 << 20).contains(&held), "{plugin}");
        }
        for id in ["two-above", "modules-above"] {
            let plugin = zoo.agent.wait_plugin(id, |plugin| plugin["state"] == "failed").await;
            let error = &plugin["last_error"];
            assert_eq!(error["stage"], "describe", "{plugin}");
            assert!(error["message"].as_str().unwrap().ends_with("of memory in all but may hold 64.0 MiB"), "{plugin}");
        }
        zoo.agent.stop().await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_plugin_of_as_many_modules_as_it_may_have_serves() {
    let (id, plain) = named("large", "");
    let own = validate::inspect(&plain).unwrap().demand.core_instances;
    let left = u8::try_from(engine::CORE_INSTANCES_MAX).unwrap() - u8::try_from(own).unwrap();
    let large = with_instances(&plain, &[left]);
    assert_eq!(validate::inspect(&large).unwrap().demand.core_instances, u64::from(engine::CORE_INSTANCES_MAX));
    for pooling in ["true", "false"] {
        let config = format!("[plugins]\ndir = \"plugins\"\ndebounce = \"50ms\"\npooling = {pooling}\n");
        let zoo = Zoo::start(&config, vec![(id.clone(), large.clone())], Vec::new()).await;
        zoo.wait_alert(&id, "always", "firing").await;
        zoo.agent.stop().await;
    }
}

#[test]
fn instances_in_components_inside_components_are_counted_as_often_as_they_are_made() {
    let plain = named("plain", "").1;
    let counted = |levels: &[u8]| validate::Demand::count(&with_instances(&plain, levels)).unwrap().core_instances;
    let own = validate::Demand::count(&plain).unwrap().core_instances;
    assert_eq!(counted(&[7]), own + 7);
    assert_eq!(counted(&[3, 4, 5]), own + 60);
    assert_eq!(counted(&[100; 20]), u64::MAX, "more than there are numbers for");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn while_the_plugin_clock_stands_still_no_plugin_is_called_and_alerts_freeze() {
    let program = ZooProgram::start(&without_shipped(), vec![named("steady", "")]).await;
    let alert = |list: &Value, fits: &dyn Fn(&Value) -> bool| item(list, "plugin", "steady").is_some_and(fits);
    program.wait_json("/api/database/alerts", |list| alert(list, &|alert| alert["state"] == "firing")).await;

    let held = HeldThread::hold(&program.proc(), "plugin-clock");
    let frozen = |alert: &Value| alert["frozen"].as_str().is_some_and(|why| why.contains("the plugin clock stands still"));
    let alerts = program.wait_json("/api/database/alerts", |list| alert(list, &frozen)).await;
    assert_eq!(item(&alerts, "plugin", "steady").unwrap()["state"], "firing", "{alerts:#}");
    let calls = |list: &Value| item(list, "id", "steady").and_then(|plugin| plugin["calls"].as_u64()).unwrap();
    let before = program.json("/api/plugins").await;
    assert_eq!(item(&before, "id", "steady").unwrap()["state"], "serving", "it is not the plugin's fault: {before:#}");
    let seen = program.collections().await;
    until("five collections more", async || fitting(program.collections().await, |count| *count >= seen + 5.0)).await;
    let after = program.json("/api/plugins").await;
    assert_eq!(calls(&after), calls(&before), "snapshots came, and no plugin was called");
    let log = program.wait_in_log("the plugin clock stands still, calling no plugin", 1).await;
    assert_eq!(log.matches("the plugin clock stands still, calling no plugin").count(), 1, "{log}");

    held.release();
    program.wait_json("/api/database/alerts", |list| alert(list, &|alert| alert["frozen"].is_null())).await;
    let again = program.wait_json("/api/plugins", |list| calls(list) >= calls(&after) + 3).await;
    assert_eq!(item(&again, "id", "steady").unwrap()["traps"], 0, "{again:#}");
    let log = program.wait_in_log("the plugin clock ticks again, calling plugins", 1).await;
    assert_eq!(log.matches("the plugin clock ticks again, calling plugins").count(), 1, "{log}");
    program.kill().await;
}

#[tokio::test]
async fn others_run_while_a_file_is_looked_at() {
    let (tasks, _) = runtime_tasks();
    let folder = tempfile::tempdir().unwrap();
    let loader = loader(folder.path(), &PluginsConfig::default(), &tasks);
    let whole = Bytes::from(guest("id=cut"));
    let cut = whole.slice(..whole.len() - 1);
    let named = digest(b"whatever");
    // The plugins have one thread, so none of them gets a turn unless the check runs elsewhere.
    let turns = AtomicU64::new(0);
    let others = async {
        loop {
            tokio::task::yield_now().await;
            turns.fetch_add(1, Ordering::Relaxed);
        }
    };
    let loaded = tokio::select! { biased; loaded = loader.load("cut", &cut, named, &[]) => loaded, () = others => unreachable!() };
    assert_eq!(loaded.err().map(|err| err.stage().as_str()), Some("validate"));
    assert!(turns.load(Ordering::Relaxed) > 0, "no other task got a turn");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_call_of_another_world_is_an_error_and_no_trap() {
    let (tasks, _) = runtime_tasks();
    let folder = tempfile::tempdir().unwrap();
    let loader = loader(folder.path(), &PluginsConfig::default(), &tasks);
    let ticker = Ticker::start(&loader.engine, loader.clock).unwrap();
    let load = async |build, id| {
        let bytes = Bytes::from(guest_of(build, &format!("id={id}")));
        LoadedPlugin::new(loader.load(id, &bytes, digest(&bytes), &[]).await.unwrap(), ticker.clone())
    };
    let change = Arc::new(Change::first(Snapshot::empty(SubjectKind::Agent)));
    let (usage, judged) = load(Build::Notifier, "bell").await.evaluate(change).await;
    let err = judged.unwrap_err();
    assert_eq!((&err, err.reason(), err.is_offence()), (&CallError::OtherWorld, "other-world", false));
    assert!(usage.wall < PATIENCE, "only the start of an instance: {usage:?}");
    let (_, delivery) = load(Build::Rule, "judge").await.deliver(&Value::Null, &message("one")).await;
    assert_eq!(delivery, Delivery::Unavailable("exports another world".to_owned()), "nothing can have been sent");
}

/// A thread of a child process, stopped as a debugger stops it while the others run. It goes on when this is dropped.
struct HeldThread {
    release: mpsc::Sender<()>,
    tracer: JoinHandle<()>,
}

impl HeldThread {
    fn hold(process: &Path, name: &str) -> Self {
        let tasks = std::fs::read_dir(process.join("task")).unwrap().map(|entry| entry.unwrap().path());
        let is_named = |task: &std::path::PathBuf| std::fs::read_to_string(task.join("comm")).is_ok_and(|comm| comm.trim() == name);
        let task = tasks.into_iter().find(is_named).unwrap();
        let thread: libc::pid_t = task.file_name().unwrap().to_str().unwrap().parse().unwrap();
        let (release, released) = mpsc::channel();
        let (holding, held) = mpsc::channel();
        // The kernel ties a tracer to one of our threads, and lets go of what it held when that ends.
        let tracer = std::thread::spawn(move || {
            holding.send(interrupt(thread)).unwrap();
            let _ = released.recv();
        });
        held.recv().unwrap().unwrap();
        Self { release, tracer }
    }

    fn release(self) {
        drop(self.release);
        self.tracer.join().unwrap();
    }
}

fn interrupt(thread: libc::pid_t) -> std::io::Result<()> {
    let none = std::ptr::null_mut::<libc::c_void>();
    for request in [libc::PTRACE_SEIZE, libc::PTRACE_INTERRUPT] {
        // SAFETY: neither request reads or writes memory through its last two arguments.
        if unsafe { libc::ptrace(request, thread, none, none) } != 0 {
            return Err(std::io::Error::last_os_error());
        }
    }
    Ok(())
}
