//! No row of the audit log is edited, removed, moved or inserted without being noticed.
//!
//! The audit log: a row for each transition, a chain that shows what was done to it, and a bound.

use std::path::Path;

use pharos::store::{AlertChanges, AuditVerdict, Store, StoreError, StoreReader};
use pharos_model::alert::Fingerprint;
use proptest::prelude::*;
use rusqlite::Connection;

use crate::fixture::program::output;
use crate::fixture::saved::{audit_entry, begins, closed};
use crate::fixture::{TestAgent, redis, redis_config, runtime_tasks};

fn entries(numbers: std::ops::RangeInclusive<u64>) -> AlertChanges {
    let mut changes = AlertChanges::new(&[], [] as [Fingerprint; 0], 1);
    changes.audit = numbers.map(audit_entry).collect();
    changes
}

fn database(folder: &Path) -> Connection {
    Connection::open(folder.join("pharos.db")).unwrap()
}

fn verdict(folder: &Path) -> AuditVerdict {
    StoreReader::open(folder).unwrap().verify_audit().unwrap()
}

#[tokio::test]
async fn rows_are_written_with_their_transition_and_form_a_chain() {
    let folder = tempfile::tempdir().unwrap();
    let store = Store::open(folder.path()).unwrap();
    for number in 1..=3 {
        store.save_alerts(begins(number)).await.unwrap();
    }
    let rows = store.audit(None, 10).await.unwrap();
    assert_eq!(rows.iter().map(|row| row.seq).collect::<Vec<_>>(), [3, 2, 1]);
    assert_eq!(rows[2].entry, audit_entry(1));
    assert_eq!((rows[0].previous.as_str(), rows[2].previous.as_str()), (rows[1].hash.as_str(), "0".repeat(64).as_str()));
    assert_eq!(store.audit(Some(3), 1).await.unwrap(), rows[1..2]);
    // Beside the agent that has it open, as the command line does it.
    let expected = AuditVerdict { rows: 3, removed: 0, head: rows[0].hash.clone(), broken: None };
    assert_eq!((store.verify_audit().await.unwrap(), verdict(folder.path())), (expected.clone(), expected));
}

/// Changes that a program with access to the file may make.
#[derive(Debug, Clone)]
enum Tampering {
    Edit { seq: u64, column: usize },
    Delete { first: u64, last: u64 },
    DeleteAndRenumber { seq: u64 },
    Swap { one: u64, other: u64 },
    Insert { after: u64 },
    CutHead { through: u64 },
    CutTail { after: u64 },
    MoveStart { to: u64 },
}

const ROWS: u64 = 12;
const COLUMNS: [&str; 7] = ["at_ms", "actor", "action", "subject", "detail", "previous", "hash"];

fn tampering() -> impl Strategy<Value = Tampering> {
    let seq = || 1..=ROWS;
    prop_oneof![
        (seq(), 0..COLUMNS.len()).prop_map(|(seq, column)| Tampering::Edit { seq, column }),
        (seq(), seq()).prop_map(|(one, other)| Tampering::Delete { first: one.min(other), last: one.max(other) }),
        seq().prop_map(|seq| Tampering::DeleteAndRenumber { seq }),
        (1..ROWS).prop_flat_map(move |one| (Just(one), one + 1..=ROWS)).prop_map(|(one, other)| Tampering::Swap { one, other }),
        (0..=ROWS).prop_map(|after| Tampering::Insert { after }),
        (1..=ROWS).prop_map(|through| Tampering::CutHead { through }),
        (0..ROWS).prop_map(|after| Tampering::CutTail { after }),
        (1..=ROWS).prop_map(|to| Tampering::MoveStart { to }),
    ]
}

impl Tampering {
    fn commit(&self, database: &Connection) {
        let run = |sql: String| database.execute_batch(&sql).unwrap_or_else(|err| panic!("{sql}: {err}"));
        // Numbers are unique, so rows move by way of negative ones.
        let renumber = |from: u64, by: i64| {
            run(format!("UPDATE audit SET seq = -(seq + {by}) WHERE seq >= {from}; UPDATE audit SET seq = -seq WHERE seq < 0"));
        };
        match *self {
            Self::Edit { seq, column } => {
                let column = COLUMNS[column];
                let value = match column {
                    "at_ms" => "at_ms + 1".to_owned(),
                    "previous" | "hash" => "randomblob(32)".to_owned(),
                    text => format!("{text} || ' '"),
                };
                run(format!("UPDATE audit SET {column} = {value} WHERE seq = {seq}"));
            }
            Self::Delete { first, last } => run(format!("DELETE FROM audit WHERE seq BETWEEN {first} AND {last}")),
            Self::DeleteAndRenumber { seq } => {
                run(format!("DELETE FROM audit WHERE seq = {seq}"));
                renumber(seq + 1, -1);
            }
            Self::Swap { one, other } => run(format!(
                "UPDATE audit SET seq = -seq WHERE seq IN ({one}, {other});
                 UPDATE audit SET seq = CASE seq WHEN -{one} THEN {other} ELSE {one} END WHERE seq < 0"
            )),
            Self::Insert { after } => {
                renumber(after + 1, 1);
                let copied = after.clamp(1, ROWS) + u64::from(after == 0);
                run(format!(
                    "INSERT INTO audit SELECT {}, at_ms, actor, action, subject, detail, previous, hash FROM audit WHERE seq = {copied}",
                    after + 1
                ));
            }
            // The removal is done as the agent does it, but no row records it.
            Self::CutHead { through } => run(format!(
                "INSERT OR REPLACE INTO audit_ends SELECT 'start', seq, hash FROM audit WHERE seq = {through};
                 DELETE FROM audit WHERE seq <= {through}"
            )),
            Self::CutTail { after } => run(format!("DELETE FROM audit WHERE seq > {after}")),
            Self::MoveStart { to } => run(format!("INSERT OR REPLACE INTO audit_ends VALUES ('start', {to}, zeroblob(32))")),
        }
    }
}

proptest! {
    #[test]
    fn no_row_is_edited_removed_moved_or_slipped_in_unseen(tampering in tampering()) {
        static STORE: std::sync::OnceLock<tempfile::TempDir> = std::sync::OnceLock::new();
        let sound = STORE.get_or_init(|| {
            let folder = tempfile::tempdir().unwrap();
            let runtime = tokio::runtime::Builder::new_current_thread().enable_time().build().unwrap();
            runtime.block_on(async { Store::open(folder.path()).unwrap().save_alerts(entries(1..=ROWS)).await.unwrap() });
            closed(folder.path());
            folder
        });
        let folder = tempfile::tempdir().unwrap();
        std::fs::copy(sound.path().join("pharos.db"), folder.path().join("pharos.db")).unwrap();
        prop_assert_eq!(verdict(folder.path()).broken, None);
        tampering.commit(&database(folder.path()));
        let broken = verdict(folder.path()).broken;
        prop_assert!(broken.is_some(), "{:?} was not seen", tampering);
    }
}

#[tokio::test]
async fn the_oldest_rows_beyond_a_bound_are_removed_and_the_chain_records_it() {
    const AT_ONCE: u64 = 10_000;
    let folder = tempfile::tempdir().unwrap();
    let store = Store::open(folder.path()).unwrap();
    for first in (1..=210_000).step_by(AT_ONCE as usize) {
        store.save_alerts(entries(first..=first + AT_ONCE - 1)).await.unwrap();
    }
    let verdict = verdict(folder.path());
    assert_eq!(verdict.broken, None);
    assert!((200_000..=201_000).contains(&verdict.rows), "{} rows", verdict.rows);
    assert!(verdict.removed >= 9_000, "{} removed", verdict.removed);
    // The same removal, but by another program than the agent.
    drop(store);
    let through = verdict.removed + 50;
    database(folder.path())
        .execute_batch(&format!(
            "INSERT OR REPLACE INTO audit_ends SELECT 'start', seq, hash FROM audit WHERE seq = {through};
             DELETE FROM audit WHERE seq <= {through}"
        ))
        .unwrap();
    let broken = StoreReader::open(folder.path()).unwrap().verify_audit().unwrap().broken.unwrap();
    assert!(broken.seq == through + 1 && broken.why.contains("no row of the chain records that the agent removed them"), "{broken:?}");
}

#[tokio::test]
async fn the_command_line_reads_the_log_of_an_agent_that_runs_and_of_one_that_is_stopped() {
    let (tasks, _stop) = runtime_tasks();
    let redis = redis(&tasks).await;
    let rule = "[[plugin.threshold.settings.rules]]\nid = \"any\"\nmetric = \"pharos_redis_up\"\nabove = 0\nseverity = \"warning\"\n";
    let agent = TestAgent::start(&format!("{}{rule}", redis_config("cache", &[&redis]))).await;
    let log = agent.wait_json("/api/audit", |log| log["items"][0]["action"] == "alert.firing").await;
    assert_eq!((&log["items"][0]["actor"], &log["items"][0]["detail"]["to"]), (&"agent".into(), &"firing".into()), "{log}");
    assert_eq!(agent.request("/api/audit?limit=0", &[("authorization", &agent.operator())]).await.0, 400);
    assert_eq!(agent.request("/api/audit", &[]).await.0, 403, "it is for operators");
    let config = agent.folder().join("pharos.toml").display().to_string();
    let (code, stdout, stderr) = output(&["audit", "verify", "--config", &config]).await;
    assert!(code == Some(0) && stdout.starts_with("ok: "), "{stdout}{stderr}");

    let folder = agent.stop().await;
    let (code, stdout, stderr) = output(&["audit", "list", "--limit", "1", "--config", &config]).await;
    assert!(code == Some(0) && stdout.lines().count() == 1 && stdout.contains(" agent alert."), "{stdout}{stderr}");
    database(&folder.path().join("data")).execute("UPDATE audit SET actor = 'nobody' WHERE seq = 1", []).unwrap();
    let (code, stdout, _) = output(&["audit", "verify", "--config", &config]).await;
    assert_eq!(
        (code, stdout.as_str()),
        (Some(1), "broken at row 1: it is not what it was when it was written; the 0 rows before it fit\n")
    );
}

#[test]
fn a_missing_store_is_reported() {
    let folder = tempfile::tempdir().unwrap();
    let error = StoreReader::open(folder.path()).unwrap_err();
    assert!(matches!(error, StoreError::Missing { .. }) && error.to_string().contains("name the agent's agent.data_dir"), "{error}");
    assert_eq!(std::fs::read_dir(folder.path()).unwrap().count(), 0, "a reader makes nothing");
}
