//! No alert is lost when the store is damaged, deleted or refused by its disk while the agent runs.
//!
//! A store that is damaged, removed or refused by its disk while the agent runs: the agent continues, and writes its state again.

use std::path::Path;

use pharos::store::{Store, StoreError, StoreReader};

use crate::durability::{Stage, complaints};
use crate::fixture::disk::{FailingDisk, SmallDisk};
use crate::fixture::saved::{alert, audit_entry, begins, closed, recovered};
use crate::fixture::set_keys;
use crate::fixture::wait::{holds, until};

/// What another agent would find: incidents of alerts, numbers of notifications.
async fn found(directory: &Path) -> (Vec<u64>, Vec<u64>) {
    let store = Store::open(directory).unwrap();
    let mut incidents: Vec<u64> = store.alerts().await.unwrap().alerts.iter().map(|alert| alert.incident).collect();
    incidents.sort_unstable();
    (incidents, store.open_outbox().await.unwrap().rows.iter().map(|row| row.seq).collect())
}

async fn with_alerts(directory: &Path, count: u64) -> Store {
    let store = Store::open(directory).unwrap();
    for number in 1..=count {
        store.save_alerts(begins(number)).await.unwrap();
    }
    store
}

#[tokio::test]
async fn a_store_that_is_deleted_under_the_agent_is_put_back_whole() {
    for taken in ["pharos.db", "pharos.db-wal", "the directory"] {
        let folder = tempfile::tempdir().unwrap();
        let directory = folder.path().join("data");
        let store = with_alerts(&directory, 3).await;
        match taken {
            "the directory" => std::fs::remove_dir_all(&directory).unwrap(),
            file => std::fs::remove_file(directory.join(file)).unwrap(),
        }
        store.save_alerts(begins(4)).await.unwrap();
        assert_eq!(store.condition().trouble, None, "{taken}");
        assert!(store.condition().cause().unwrap().contains("was removed while the agent ran"), "{taken}");
        let Err(StoreError::Locked { .. }) = Store::open(&directory) else { panic!("{taken}: the directory is still ours") };
        assert_eq!(store.events(10).await.unwrap().len(), 4, "{taken}: what is no longer needed is there as well");
        drop(store);
        assert_eq!(found(&directory).await, (vec![1, 2, 3, 4], vec![1, 2, 3, 4]), "{taken}");
        let verdict = StoreReader::open(&directory).unwrap().verify_audit().unwrap();
        assert_eq!((verdict.broken, verdict.rows), (None, 4), "{taken}");
    }
}

#[tokio::test]
async fn a_store_that_is_damaged_under_the_agent_is_replaced_with_the_contents_of_memory() {
    let folder = tempfile::tempdir().unwrap();
    let store = with_alerts(folder.path(), 300).await;
    let delivered = pharos_model::outbox::Settlement::Delivered { seqs: (1..=200).collect(), note: None };
    store.outbox_turn(pharos::store::OutboxTurn { settled: vec![delivered], claims: Vec::new(), now_ms: 1 }).await.unwrap();
    // More than SQLite caches in memory, so that it has to read the file.
    for number in 0..3_000 {
        let mut event = crate::fixture::saved::event(number);
        event.subject = "a".repeat(2_000);
        store.record_event(event).await.unwrap();
    }
    let path = folder.path().join("pharos.db");
    for suffix in ["", "-wal"] {
        let path = folder.path().join(format!("pharos.db{suffix}"));
        let length = std::fs::metadata(&path).unwrap().len();
        // In place: the agent has it open.
        std::os::unix::fs::FileExt::write_all_at(
            &std::fs::OpenOptions::new().write(true).open(&path).unwrap(),
            &vec![0xa5; length.saturating_sub(100) as usize],
            100,
        )
        .unwrap();
    }
    store.events(10_000).await.unwrap();
    store.save_alerts(begins(301)).await.unwrap();
    let condition = store.condition();
    assert_eq!(condition.trouble, None);
    let aside = condition.damaged.clone().unwrap();
    assert!(aside.exists() && path.exists() && condition.failures["damaged"] > 0, "{condition:?}");
    let audit = store.audit(None, 10).await.unwrap();
    assert_eq!((audit[0].entry.clone(), audit[1].entry.action.name().as_str()), (audit_entry(301), "store.replace"));
    assert_eq!((audit[0].seq, store.verify_audit().await.unwrap().broken), (302, None), "the chain goes on");
    drop(store);
    let (incidents, left) = found(folder.path()).await;
    assert_eq!((incidents, left), ((1..=301).collect(), (201..=301).collect()));
}

#[tokio::test]
async fn a_read_only_store_is_read_and_alerts_live_in_memory_until_it_can_be_written() {
    let disk = SmallDisk::mount("16m");
    drop(with_alerts(disk.path(), 3).await);
    closed(disk.path());
    disk.make_read_only(true);
    let store = Store::open(disk.path()).unwrap();
    let mut known = store.alerts().await.unwrap().alerts;
    known.sort_by_key(|alert| alert.incident);
    assert_eq!(known, [alert(1), alert(2), alert(3)]);
    assert_eq!(store.open_outbox().await.unwrap().next_seq, 4);
    store.save_alerts(begins(4)).await.unwrap();
    let trouble = store.condition().trouble.unwrap();
    assert!(trouble.contains("in memory only") && trouble.contains("may be mounted read-only"), "{trouble}");

    disk.make_read_only(false);
    recovered(&store).await;
    drop(store);
    assert_eq!(found(disk.path()).await, (vec![1, 2, 3, 4], vec![1, 2, 3, 4]));
}

#[tokio::test]
async fn a_read_only_directory_without_a_lock_file_is_refused() {
    let disk = SmallDisk::mount("16m");
    disk.make_read_only(true);
    let error = Store::open(disk.path()).unwrap_err();
    assert!(matches!(&error, StoreError::Directory { path, .. } if path == disk.path()), "{error}");
}

/// Makes the disk under a running agent fail while there are alerts, then lets it work again.
async fn through_a_failing_disk(order: &str, said: &str) {
    let disk = FailingDisk::build();
    let data = tempfile::tempdir().unwrap();
    let mut stage = Stage::set_on(data.path(), &disk).await;
    stage.raise(3).await;
    disk.set_fault(order);
    for alerts in [6, 9, 12] {
        stage.raise(alerts).await;
    }
    let status = crate::fixture::get(stage.victim.port, "/api/services/status", &[]).await.1;
    assert!(status.contains(said), "{status}");
    disk.set_fault("nothing");
    set_keys(&mut stage.keys, 0).await;
    stage.victim.wait_calm().await;
    until("the store is well", async || {
        let (_, metrics) = crate::fixture::get(stage.victim.port, "/metrics", &[]).await;
        holds(metrics.contains("\npharos_store_degraded 0\n"), || stage.victim.log())
    })
    .await;
    stage.victim.kill().await;
    let complaints = complaints(data.path(), &stage.receiver);
    assert!(complaints.is_empty(), "{complaints:#?}\n{}", stage.victim.log());
    assert_eq!(StoreReader::open(data.path()).unwrap().verify_audit().unwrap().broken, None);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_disk_that_confirms_no_write_costs_no_alert() {
    through_a_failing_disk("sync", "check the disk").await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_disk_that_becomes_read_only_under_the_agent_costs_no_alert() {
    through_a_failing_disk("write", "in memory only").await;
}
