//! Ten thousand alerts at once are not sent late or in one piece, and do not use all memory.
//!
//! Everything at once: as many alerts as one plugin may have about one subject, from none to all and back.

use std::collections::BTreeSet;

use pharos::demo::receiver::{Count, Received, Receiver};

use crate::durability::print_line;
use crate::fixture::zoo::named;
use crate::fixture::zoo_program::ZooProgram;
use crate::fixture::{PATIENCE, receiver_config, runtime_tasks, shipped};

const ALERTS: usize = 10_000;
/// Alerts in one message.
const TOGETHER_MAX: usize = 200;
/// The memory of the whole program, a debug build with all its plugins.
const RESIDENT_BYTES_MAX: u64 = 700 << 20;

/// Whether all alerts together arrived this often.
fn have_arrived(received: &Received, expected: Count) -> bool {
    let all: Vec<Count> = (0..10).map(|rule| received.count(&format!("rule-{rule}"))).collect();
    all.iter().map(|count| count.firing).sum::<usize>() == expected.firing
        && all.iter().map(|count| count.resolved).sum::<usize>() == expected.resolved
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn ten_thousand_alerts_at_once_are_delivered_and_resolve() {
    let (tasks, stop) = runtime_tasks();
    let receiver = Receiver::start(None, &tasks, &stop).await.unwrap();
    // A debug build of the agent needs some time for ten thousand findings.
    let limits = "[plugin.crowd.limits]\nwall = \"20s\"\ncpu = \"10s\"\n";
    let config = format!("{limits}{}", receiver_config(&receiver.url()));
    let webhook = shipped().into_iter().find(|(id, _)| id == "webhook").unwrap();
    let crowd = named("crowd", &format!("rules=many:10; finds=; armed=spread:{ALERTS}"));
    let program = ZooProgram::start(&config, vec![crowd, webhook]).await;
    program.wait_ready().await;
    let wait_counts = async |expected: Count| {
        let arrived = tokio::select! {
            arrived = receiver.wait_until(PATIENCE, |received| have_arrived(received, expected)) => arrived,
            () = program.stays_ready() => false,
        };
        assert!(arrived, "{expected:?}, but {:?}\n{}", receiver.received(|received| received.counts().clone()), program.log());
    };
    program.arm().await;
    wait_counts(Count { firing: ALERTS, resolved: 0 }).await;
    program.disarm().await;
    wait_counts(Count { firing: ALERTS, resolved: ALERTS }).await;
    program.wait_json("/api/alerts", |alerts| alerts["items"].as_array().unwrap().is_empty()).await;

    receiver.received(|received| {
        let sizes: Vec<usize> = received.deliveries().map(|delivery| delivery.alerts.len()).collect();
        assert!(sizes.iter().all(|size| *size <= TOGETHER_MAX), "{sizes:?}");
        let alerts: BTreeSet<&str> =
            received.deliveries().flat_map(|delivery| &delivery.alerts).map(|alert| alert.fingerprint.as_str()).collect();
        assert_eq!(alerts.len(), ALERTS, "each by itself");
    });
    let resident = program.resident_peak_bytes();
    assert!(resident < RESIDENT_BYTES_MAX, "it took {} MiB", resident >> 20);
    print_line(&format!("{ALERTS} alerts at once: at most {} MiB of memory", resident >> 20));
    program.kill().await;
    stop.cancel();
}
