//! No plugin hangs, crashes, fills or spies on the agent, or delays another plugin.
//!
//! The sandbox: what plugins may not do to the agent, to each other, or to notifications.

use std::sync::Arc;

use pharos::board::{Board, PartHealth};
use pharos::clock::Clock;
use pharos::lifecycle::Lifecycle;
use pharos::plugin::{PluginHost, Ticker, engine};
use pharos::store::Store;
use pharos_model::agent_part::AgentPart;
use pharos_model::event::{EventDetail, PluginChange, PluginEventKind};
use serde_json::Value;
use tokio_util::sync::CancellationToken;

use crate::fixture::guests::guest;
use crate::fixture::wait::until;
use crate::fixture::zoo::{Zoo, named, state, strict};
use crate::fixture::zoo_program::ZooProgram;
use crate::fixture::{TestAgent, item, shipped};

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn shipped_plugins_serve_and_are_shown_as_documented() {
    // What eight plugins at once take on a busy machine is no offence.
    let ids = shipped().into_iter().map(|(id, _)| id);
    let patient: String = ids.map(|id| format!("[plugin.{id}.limits]\nwall = \"20s\"\ncpu = \"5s\"\n")).collect();
    let agent = TestAgent::start(&patient).await;
    let settled = |list: &Value| list["items"].as_array().is_some_and(|items| items.iter().all(|plugin| plugin["state"] == "serving"));
    let list = agent.wait_json("/api/plugins", settled).await;
    let ids: Vec<&str> = list["items"].as_array().unwrap().iter().filter_map(|plugin| plugin["id"].as_str()).collect();
    let shipped = [
        "agent-essentials",
        "email",
        "postgres-essentials",
        "postgres-maintenance",
        "postgres-replication",
        "redis-essentials",
        "threshold",
        "webhook",
    ];
    assert_eq!(ids, shipped);
    for plugin in list["items"].as_array().unwrap() {
        let keys: Vec<&str> = plugin.as_object().unwrap().keys().map(String::as_str).collect();
        let documented = [
            "calls",
            "cpu_seconds",
            "digest",
            "enabled",
            "generation",
            "granted",
            "id",
            "ignored_settings",
            "last_error",
            "memory_bytes_max",
            "source",
            "state",
            "traps",
            "version",
            "wants",
            "warnings",
            "world",
        ];
        assert_eq!(keys, documented, "{plugin}");
        assert_eq!((&plugin["source"], &plugin["enabled"]), (&"embedded".into(), &true.into()), "{plugin}");
        assert_eq!((&plugin["generation"], &plugin["traps"]), (&1.into(), &0.into()), "{plugin}");
        assert_eq!((&plugin["last_error"], plugin["digest"].as_str().map(str::len)), (&Value::Null, Some(64)), "{plugin}");
    }
    assert_eq!(item(&list, "id", "webhook").unwrap()["world"], "notifier-plugin");
    assert_eq!(item(&list, "id", "webhook").unwrap()["wants"], serde_json::json!(["egress"]));
    assert_eq!(item(&list, "id", "threshold").unwrap()["world"], "alert-rule-plugin");
    let metrics = agent.text("/metrics").await;
    for id in ids {
        assert!(metrics.contains(&format!("pharos_plugin_info{{plugin=\"{id}\"")), "{metrics}");
        assert!(metrics.contains(&format!("pharos_plugin_state{{plugin=\"{id}\",state=\"serving\"}} 1")), "{metrics}");
    }
    agent.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_plugin_clock_that_stands_still_is_a_failed_part_of_the_agent() {
    let (clock, stop) = (Clock::start(), CancellationToken::new());
    let engine = engine::running(false).unwrap();
    let ticker = Ticker::start(&engine, clock).unwrap();
    let (events, _) = tokio::sync::mpsc::channel(1);
    let host = PluginHost::new(ticker, clock, Arc::default(), events, std::time::Duration::ZERO);
    let board = Arc::new(Board::new(clock));
    let (lifecycle, shown) = (Lifecycle::default(), Arc::clone(&board));
    lifecycle.tasks().spawn(host.follow(shown, stop.clone()));
    let wait = async |state| {
        until(format_args!("the plugin clock is {state:?}"), async || {
            let parts = board.parts();
            let part = parts.iter().find(|part| part.part == AgentPart::PluginClock && part.state == state);
            part.cloned().ok_or_else(|| format!("{parts:?}"))
        })
        .await
    };
    wait(PartHealth::Ok).await;
    drop(engine); // its clock ends with it
    assert_eq!(wait(PartHealth::Failed).await.cause.as_deref(), Some("it stands still, so no plugin is called"));
    stop.cancel();
}

/// Id, order, possible reasons of the metric, a part of the message.
const OFFENDERS: [(&str, &str, &[&str], &str); 13] = [
    ("trapper", "armed=trap", &["trap"], "trapped"),
    ("looper", "armed=loop", &["cpu"], "used more than 50ms of CPU time"),
    ("caller", "armed=calls", &["cpu", "timeout"], ""),
    ("sleeper", "armed=sleep:600000", &["timeout"], "took longer than 500ms"),
    ("grower", "armed=grow", &["memory"], "may hold 64.0 MiB"),
    ("swamper", "armed=many:1000000", &["memory"], "may hold 64.0 MiB"),
    ("flooder", "armed=many:30000", &["trap", "cpu", "timeout"], ""),
    ("recurser", "armed=recurse", &["trap"], "stack"),
    ("exiter", "armed=exit", &["trap"], "exit"),
    ("holder", "armed=handles", &["trap", "cpu"], ""),
    ("shouter", "armed=shout:5", &["trap", "cpu"], ""),
    ("gambler", "armed=random:1", &["trap"], ""),
    ("failer", "armed=fail", &["failed"], "ordered to fail"),
];

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_plugin_that_misbehaves_is_quarantined_alone_retains_its_alerts_and_may_return() {
    let mut files: Vec<_> = OFFENDERS.iter().map(|(id, order, ..)| named(id, order)).collect();
    files.push(named("steady", "armed=remember"));
    // On a busy machine the looper could be ended by another of its limits than the one it is here for.
    let config = strict(&["caller", "sleeper", "flooder", "holder", "shouter", "looper"]) + "wall = \"20s\"\n";
    let zoo = Zoo::start(&config, files, Vec::new()).await;
    for (id, ..) in OFFENDERS {
        zoo.wait_alert(id, "always", "firing").await;
    }
    zoo.wait_alert("steady", "always", "firing").await;

    zoo.arm().await;
    for (id, _, reasons, fragment) in OFFENDERS {
        let quarantined = zoo.agent.wait_plugin(id, |plugin| plugin["state"] == "quarantined").await;
        let error = &quarantined["last_error"];
        assert_eq!(error["stage"], "call", "{quarantined}");
        assert!(error["message"].as_str().unwrap().contains(fragment), "{quarantined}");
        assert!(quarantined["traps"].as_u64() >= Some(3), "{quarantined}");
        assert!(quarantined["memory_bytes_max"].as_u64() <= Some(64 << 20), "{quarantined}");
        let metrics = zoo.agent.text("/metrics").await;
        let counted = |reason: &&str| metrics.contains(&format!("pharos_plugin_failures_total{{plugin=\"{id}\",reason=\"{reason}\"}}"));
        assert!(reasons.iter().any(counted), "{id}: {metrics}");
    }
    zoo.wait_calls("steady", 5).await;
    let looper = zoo.agent.plugin("looper").await;
    assert!(looper["cpu_seconds"].as_f64() >= Some(0.15), "three calls of 50 ms each: {looper}");
    let grower = zoo.agent.plugin("grower").await;
    assert!(grower["memory_bytes_max"].as_u64() >= Some(60 << 20), "{grower}");

    // Whether the findings still hold is unknown, so the alerts freeze instead of resolving.
    let alerts = zoo.agent.json("/api/database/alerts").await;
    for (id, ..) in OFFENDERS {
        let alert = item(&alerts, "plugin", id).unwrap_or_else(|| panic!("the alert of {id} is gone: {alerts:#}"));
        assert_eq!(alert["state"], "firing", "{alert}");
        assert!(alert["frozen"].is_string(), "{alert}");
    }
    assert!(item(&alerts, "plugin", "steady").unwrap()["frozen"].is_null(), "{alerts:#}");

    zoo.disarm().await;
    for (id, ..) in OFFENDERS {
        zoo.agent.wait_plugin(id, |plugin| plugin["state"] == "serving").await;
    }
    let judged = |list: &Value| list["items"].as_array().is_some_and(|items| items.iter().all(|alert| alert["frozen"].is_null()));
    zoo.agent.wait_json("/api/database/alerts", judged).await;
    let metrics = zoo.agent.text("/metrics").await;
    assert!(!metrics.contains("pharos_alert_transitions_total{to=\"resolved\"}"), "{metrics}");
    assert_eq!(zoo.agent.plugin("steady").await["traps"], 0);
    zoo.agent.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_plugin_that_goes_on_failing_is_called_less_and_less_often() {
    let zoo = Zoo::start("", vec![named("trapper", "armed=trap")], Vec::new()).await;
    zoo.wait_alert("trapper", "always", "firing").await;
    zoo.arm().await;
    // Three offences, then one by each probe.
    zoo.agent.wait_plugin("trapper", |plugin| plugin["traps"].as_u64() >= Some(5)).await;
    let folder = zoo.agent.stop().await;
    let events = Store::open(&folder.path().join("data")).unwrap().events(1_000).await.unwrap();
    let mut quarantines: Vec<(u64, f64)> = Vec::new();
    for event in events.iter().rev() {
        let EventDetail::Plugin(PluginChange { what: PluginEventKind::Quarantined, text }) = &event.detail else { continue };
        let pause = text.strip_prefix("`trapper` is not called for ").and_then(|rest| rest.split(' ').next()).unwrap();
        quarantines.push((event.at_ms, pause.parse().unwrap()));
    }
    // The pauses of `health`, with a jitter of up to a quarter. The times show that they were observed.
    for ((_, pause), least) in quarantines.iter().zip([1.0, 2.0, 4.0]) {
        assert!((least..=least * 1.26).contains(pause), "{quarantines:?}");
    }
    assert!(quarantines.len() >= 3, "{quarantines:?}");
    for (first, next) in quarantines.iter().zip(&quarantines[1..]) {
        assert!((next.0 - first.0) as f64 >= first.1 * 1_000.0 - 100.0, "{quarantines:?}");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_slow_plugin_does_not_prevent_others_from_judging() {
    let sleeper = named("sleeper", "armed=sleep:600000");
    let config = "[plugin.sleeper.limits]\nwall = \"10m\"\n";
    let zoo = Zoo::start(config, vec![sleeper, named("steady", "armed=remember")], Vec::new()).await;
    zoo.wait_alert("sleeper", "always", "firing").await;
    zoo.arm().await;
    zoo.agent.wait_metrics(|metrics| metrics.contains("name=\"remembered\"")).await;
    let before = zoo.calls("sleeper").await;
    // Its call hangs for ten minutes. The others see one snapshot after the other.
    zoo.wait_calls("steady", 5).await;
    assert_eq!(zoo.calls("sleeper").await, before);
    drop(zoo);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_slow_plugin_with_many_subjects_waits_behind_itself_alone() {
    const SUBJECTS: u8 = 60;
    let quiet = "[collect]\n[collect.interval]\ninfo = \"1s\"\n";
    let config = format!("{quiet}[plugin.sleeper.limits]\nwall = \"10m\"\n");
    let files = vec![named("sleeper", "armed=sleep:600000"), named("steady", "armed=remember")];
    let zoo = Zoo::start_wide(&config, files, SUBJECTS).await;
    let of = |list: &Value, id: &str, fits: &dyn Fn(&Value) -> bool| {
        list["items"].as_array().unwrap().iter().filter(|alert| alert["plugin"] == id && fits(alert)).count()
    };
    let all_fire = |list: &Value| of(list, "sleeper", &|alert| alert["state"] == "firing") == usize::from(SUBJECTS);
    zoo.agent.wait_json("/api/database/alerts", all_fire).await;

    // As many calls as there are turns hang for ten minutes. The other plugin goes on, round after round.
    zoo.arm().await;
    zoo.agent.wait_metrics(|metrics| metrics.contains("name=\"remembered\"")).await;
    zoo.wait_calls("steady", 4 * u64::from(SUBJECTS)).await;

    // Subjects without a turn wait for one and give up: their alerts freeze.
    let gave_up = |alert: &Value| alert["frozen"].as_str().is_some_and(|why| why.contains("for its turn behind its own calls"));
    zoo.agent.wait_json("/api/database/alerts", |list| of(list, "sleeper", &gave_up) >= 50).await;
    let alerts = zoo.agent.json("/api/database/alerts").await;
    let steady = of(&alerts, "steady", &|alert| alert["state"] == "firing" && alert["frozen"].is_null());
    assert_eq!(steady, usize::from(SUBJECTS), "{alerts:#}");
    assert!(all_fire(&alerts), "{alerts:#}");
    let sleeper = zoo.agent.plugin("sleeper").await;
    assert_eq!((sleeper["state"].as_str(), sleeper["traps"].as_u64()), (Some("serving"), Some(0)), "waiting is no offence: {sleeper}");
    let waited = zoo.agent.series("pharos_plugin_failures_total{plugin=\"sleeper\",reason=\"busy\"}").await;
    assert!(waited >= Some(50.0), "{waited:?}");
    drop(zoo);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn usage_of_an_instance_before_its_first_call_is_counted() {
    // Each trap costs an instance, and each new one is busy at its start and in its `init`. The other plugin is like the first and idle
    // there, so whatever a call costs on this machine, what the first one uses beyond that is what its instances are busy with.
    let files = vec![named("busy", "start=burn:100;init=burn:100;armed=trap"), named("idle", "armed=trap")];
    let zoo = Zoo::start("", files, Vec::new()).await;
    let cpu = async |id: &str, traps: u64| {
        let plugin = zoo.agent.wait_plugin(id, |plugin| plugin["traps"].as_u64() >= Some(traps)).await;
        plugin["cpu_seconds"].as_f64().unwrap()
    };
    for id in ["busy", "idle"] {
        zoo.wait_alert(id, "always", "firing").await;
        assert_eq!(zoo.agent.plugin(id).await["traps"], 0, "nothing is an offence but the traps that are ordered");
    }
    let before = (cpu("busy", 0).await, cpu("idle", 0).await);
    zoo.arm().await;
    let after = (cpu("busy", 4).await, cpu("idle", 4).await);
    // Three instances, each with 200 million rounds: no machine does them in a tenth of a second.
    let (busy, idle) = (after.0 - before.0, after.1 - before.1);
    assert!(busy >= idle + 0.1, "three instances were made: {busy} s, and {idle} s of the idle one");
    zoo.agent.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn texts_of_an_unruly_plugin_are_bounded_and_made_clean() {
    let unruly = [
        ("garbage", "armed=garbage"),
        ("many", "armed=many:3000"),
        ("chatter", "armed=chatter:2000"),
        ("namer", "armed=name:1000"),
        ("hoarder", "armed=hoard:300"),
        ("printer", "armed=print"),
        ("forgetful", "armed=forget"),
    ];
    let files = unruly.iter().map(|(id, order)| named(id, order)).collect();
    let zoo = Zoo::start("", files, Vec::new()).await;
    for (id, _) in unruly {
        zoo.wait_alert(id, "always", "firing").await;
    }
    zoo.arm().await;
    zoo.wait_alert("garbage", "third", "firing").await;
    for (id, _) in unruly {
        zoo.wait_calls(id, 4).await;
        let plugin = zoo.agent.plugin(id).await;
        assert_eq!((plugin["state"].as_str(), plugin["traps"].as_u64()), (Some("serving"), Some(0)), "{plugin}");
    }

    let alerts = zoo.agent.json("/api/database/alerts").await;
    let of = |id: &str| alerts["items"].as_array().unwrap().iter().filter(|alert| alert["plugin"] == id).cloned().collect::<Vec<_>>();
    let garbage = of("garbage");
    assert_eq!(garbage.len(), 2, "only declared rules: {garbage:#?}");
    let third = garbage.iter().find(|alert| alert["rule"] == "third").unwrap();
    assert!(third["value"].is_null() && third["raise_at"].is_null(), "{third}");
    let text = third.to_string();
    let controls = ["\\u00", "\\n", "\\r", "\u{202e}"];
    assert!(!controls.iter().any(|control| text.contains(control)), "{text}");
    assert!(text.len() < 10_000, "{text}");
    let many = of("many");
    assert_eq!(many.len(), 1_002, "the rule's share, one alert for the rest, and `always`");
    let rest = many.iter().find(|alert| alert["labels"]["overflow"] == "true").unwrap();
    assert_eq!((&rest["state"], &rest["value"]), (&"firing".into(), &2_000.0.into()), "{rest:#}");

    let metrics = zoo.agent.text("/metrics").await;
    let suppressed = zoo.agent.series("pharos_plugin_log_suppressed_total{plugin=\"chatter\"}").await;
    assert!(suppressed > Some(5_000.0), "{suppressed:?}");
    let names = metrics.lines().filter(|line| line.starts_with("pharos_plugin_user_counter_total{plugin=\"namer\"")).count();
    assert_eq!(names, 200);
    let hoarded = zoo.agent.series("pharos_plugin_user_gauge{plugin=\"hoarder\",name=\"hoarded\"}").await;
    assert_eq!(hoarded, Some(3.0), "a MiB holds three values of 300 KiB");
    zoo.agent.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_plugin_that_is_turned_off_is_shown_and_not_called() {
    let config = "[plugin.threshold]\nenabled = false\n[plugin.off]\nenabled = false\n";
    let zoo = Zoo::start(config, vec![named("off", ""), named("steady", "")], shipped()).await;
    zoo.wait_alert("steady", "always", "firing").await;
    let list = zoo.agent.wait_json("/api/plugins", |list| state(list, "steady") == "serving").await;
    for id in ["threshold", "off"] {
        let plugin = item(&list, "id", id).unwrap();
        assert_eq!((&plugin["state"], &plugin["enabled"]), (&"disabled".into(), &false.into()), "{plugin}");
        assert_eq!(plugin["calls"], 0, "{plugin}");
    }
    zoo.put("off", &guest("id=off;version=2.0.0"));
    zoo.put("steady", &guest("id=steady;version=2.0.0"));
    zoo.wait_version("steady", "2.0.0").await;
    assert_eq!(zoo.agent.plugin("off").await["state"], "disabled");
    zoo.agent.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn whatever_plugins_ask_for_the_program_stays_small() {
    let greedy =
        [("swamper", "many:1000000"), ("flooder", "many:30000"), ("many", "many:3000"), ("grower", "grow"), ("shouter", "shout:5")];
    let strict = strict(&greedy.map(|(id, _)| id));
    let program = ZooProgram::start(&strict, greedy.iter().map(|(id, deed)| named(id, &format!("armed={deed}"))).collect()).await;
    // Only then, past the canaries.
    let serving = |list: &Value| list["items"].as_array().unwrap().iter().all(|plugin| plugin["state"] == "serving");
    program.wait_json("/api/plugins", |list| item(list, "id", "many").is_some() && serving(list)).await;
    program.arm().await;
    let greeds = ["swamper", "flooder", "grower", "shouter"];
    let punished = |list: &Value, id: &str| item(list, "id", id).is_some_and(|plugin| plugin["traps"].as_u64() >= Some(4));
    program.wait_json("/api/plugins", |list| greeds.iter().all(|id| punished(list, id))).await;
    // Now, and at its peak, all of them at once.
    let status = std::fs::read_to_string(program.proc().join("status")).unwrap();
    let mib = |name: &str| {
        let line = status.lines().find(|line| line.starts_with(name)).unwrap();
        line.split_whitespace().nth(1).unwrap().parse::<u64>().unwrap() >> 10
    };
    assert!(mib("VmRSS:") < 256 && mib("VmHWM:") < 512, "{status}");
    program.kill().await;
}
