//! No full disk ends the agent, or loses an alert.
//!
//! A disk that becomes full: alerts are still stored and sent, less important data waits, and all works as before when there is space
//! again.

use std::os::unix::fs::PermissionsExt;

use pharos::store::{Entry, Expected, PluginStateLimits, Store, StoreError, StoreReader};

use crate::durability::{Stage, complaints};
use crate::fixture::disk::SmallDisk;
use crate::fixture::saved::{alert, audit_entry, begins, event, recovered};
use crate::fixture::wait::{fitting, until};
use crate::fixture::{get, item, set_keys};

const BALLAST_BYTES: u64 = 4 << 20;

fn ballast_bytes(disk: &SmallDisk) -> u64 {
    std::fs::metadata(disk.path().join("ballast")).map_or(0, |found| found.len())
}

async fn put(store: &Store) -> Result<(), StoreError> {
    let entry = Entry { key: "k".to_owned(), expected: Expected::Anything, value: b"x".to_vec(), expires_at_ms: None, now_ms: 1 };
    store.put_plugin_state("a", entry, PluginStateLimits { keys: 9, bytes: 99 }).await.map(drop)
}

/// Incidents of all alerts that the store has in its file.
async fn stored(directory: &std::path::Path) -> Vec<u64> {
    let store = Store::open(directory).unwrap();
    let mut incidents: Vec<u64> = store.alerts().await.unwrap().alerts.iter().map(|alert| alert.incident).collect();
    incidents.sort_unstable();
    incidents
}

#[tokio::test]
async fn space_is_reserved_for_alerts_and_used_when_there_is_no_other() {
    let disk = SmallDisk::mount("12m");
    let store = Store::open(disk.path()).unwrap();
    let mode = std::fs::metadata(disk.path().join("ballast")).unwrap().permissions().mode() & 0o777;
    assert_eq!((ballast_bytes(&disk), mode), (BALLAST_BYTES, 0o600));
    put(&store).await.unwrap();
    disk.fill();

    let mut number = 0;
    while store.condition().trouble.is_none() {
        number += 1;
        store.save_alerts(begins(number)).await.unwrap();
        assert!(number < 10_000, "the disk is not full");
    }
    assert!(ballast_bytes(&disk) < BALLAST_BYTES);
    let trouble = store.condition().trouble.unwrap();
    assert!(trouble.contains("alerts are stored in space reserved for them") && trouble.contains("free some space"), "{trouble}");
    for refused in [store.record_event(event(0)).await.unwrap_err(), put(&store).await.unwrap_err()] {
        assert!(matches!(&refused, StoreError::Degraded { cause } if cause.contains("free some space")), "{refused}");
    }
    for _ in 0..100 {
        number += 1;
        store.save_alerts(begins(number)).await.unwrap();
    }
    assert_eq!(StoreReader::open(disk.path()).unwrap().audit(None, 1).unwrap()[0].entry, audit_entry(number), "they are in the file");
    store.maintain().await.unwrap();
    assert!(store.condition().trouble.is_some(), "the disk is as full as before");

    disk.free();
    store.maintain().await.unwrap();
    assert_eq!((store.condition().trouble, ballast_bytes(&disk)), (None, BALLAST_BYTES));
    put(&store).await.unwrap();
    store.record_event(event(0)).await.unwrap();
    drop(store);
    assert_eq!(stored(disk.path()).await, (1..=number).collect::<Vec<_>>());
}

#[tokio::test]
async fn alerts_survive_in_memory_while_a_disk_accepts_no_write() {
    let disk = SmallDisk::mount("12m");
    let store = Store::open(disk.path()).unwrap();
    let mut number = 0;
    let in_memory = |store: &Store| store.condition().trouble.is_some_and(|trouble| trouble.contains("in memory only"));
    while !in_memory(&store) {
        // Another program always uses the free space first.
        disk.fill();
        number += 1;
        store.save_alerts(begins(number)).await.unwrap();
        assert!(number < 10_000, "the disk is not full");
    }
    assert_eq!(ballast_bytes(&disk), 0);
    for _ in 0..10 {
        number += 1;
        store.save_alerts(begins(number)).await.unwrap();
    }
    assert_eq!(store.alerts().await.unwrap().alerts.len() as u64, number, "all alerts are in memory");
    disk.free();
    recovered(&store).await;
    let verdict = StoreReader::open(disk.path()).unwrap().verify_audit().unwrap();
    assert_eq!((verdict.broken, verdict.rows), (None, number), "each once, in an unbroken chain");
    assert_eq!(store.outbox(None, None, None, u32::MAX).await.unwrap().len() as u64, number);
    drop(store);
    assert_eq!(stored(disk.path()).await, (1..=number).collect::<Vec<_>>());
}

#[tokio::test]
async fn a_start_on_a_full_disk_works_with_and_without_what_was_before() {
    // Nothing was before, and there is no space for anything.
    let disk = SmallDisk::mount("6m");
    disk.fill();
    let store = Store::open(disk.path()).unwrap();
    store.save_alerts(begins(1)).await.unwrap();
    let trouble = store.condition().trouble.unwrap();
    assert!(trouble.contains("in memory only"), "{trouble}");
    disk.free();
    recovered(&store).await;
    drop(store);
    assert_eq!(stored(disk.path()).await, [1]);

    // There was a store, and the space that it reserved is used up too.
    std::fs::remove_file(disk.path().join("ballast")).unwrap();
    disk.fill();
    let store = Store::open(disk.path()).unwrap();
    let known = store.alerts().await.unwrap();
    assert_eq!((known.alerts, known.next_incident), (vec![alert(1)], 2));
    assert_eq!(store.open_outbox().await.unwrap().rows.len(), 1);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_agent_on_a_full_disk_sends_and_stores_alerts_is_killed_starts_and_recovers() {
    // Compiled plugins need their space too.
    let disk = SmallDisk::mount("64m");
    let mut stage = Stage::set_in(disk.path()).await;
    let port = stage.victim.port;
    let degraded = async |expected: &str| {
        until(format_args!("pharos_store_degraded is {expected}"), async || {
            if tokio::net::TcpStream::connect(("127.0.0.1", port)).await.is_err() {
                return Err("no process listens".to_owned());
            }
            let (_, metrics) = get(port, "/metrics", &[]).await;
            fitting(metrics, |metrics| metrics.lines().any(|line| line == format!("pharos_store_degraded {expected}")))
        })
        .await
    };
    degraded("0").await;
    disk.fill();
    stage.raise(4).await;
    let metrics = degraded("1").await;
    assert!(metrics.contains("pharos_store_errors_total{kind=\"full\"} "), "{metrics}");
    let status = serde_json::from_str(&get(port, "/api/services/status", &[]).await.1).unwrap();
    let store = item(&status, "name", "store").unwrap();
    assert!(store["state"] == "degraded" && store["cause"].as_str().unwrap().contains("free some space"), "{store}");

    stage.raise(6).await;
    stage.victim.kill().await;
    stage.victim.start();
    stage.victim.wait_at_work().await;
    degraded("1").await;
    stage.raise(8).await;
    disk.free();
    degraded("0").await;
    stage.raise(10).await;
    set_keys(&mut stage.keys, 0).await;
    stage.victim.wait_calm().await;
    stage.victim.kill().await;
    let complaints = complaints(disk.path(), &stage.receiver);
    assert!(complaints.is_empty(), "{complaints:#?}\n{}", stage.victim.log());
    let verdict = StoreReader::open(disk.path()).unwrap().verify_audit().unwrap();
    assert_eq!(verdict.broken, None);
}
