//! No upgrade that is interrupted loses anything, and no store of an earlier version loses its contents.
//!
//! Stores of earlier versions: what they hold is there after the upgrade, whatever happens during it.

use std::path::{Path, PathBuf};
use std::time::Duration;

use pharos::store::Store;
use pharos_model::event::Event;
use rusqlite::Connection;
use serde_json::json;
use tokio::time::{Instant, sleep};

use crate::fixture::disk::FailingDisk;
use crate::fixture::program::{Running, command};
use crate::fixture::saved::{alert, fingerprint, row};
use crate::fixture::{project, rounds, seeded};

/// Alerts, and where the schema has a place for them notifications.
const ROWS: u64 = 5;
/// Events that make the file large, so that reading through it takes some time.
const EVENTS: u64 = 9_000;

/// A store as the version with this schema wrote it.
fn write(path: &Path, schema: u32) {
    let mut database = Connection::open(path).unwrap();
    database.execute_batch("PRAGMA journal_mode = WAL").unwrap();
    let transaction = database.transaction().unwrap();
    for step in 1..=schema {
        let sql = std::fs::read_to_string(project().join(format!("agent/src/store/schema/{step}.sql"))).unwrap();
        transaction.execute_batch(&sql).unwrap();
    }
    transaction.pragma_update(None, "user_version", schema).unwrap();
    transaction.execute("INSERT INTO numbers VALUES ('next_incident', ?1)", [(ROWS + 1).cast_signed()]).unwrap();
    for number in 1..=ROWS {
        let alert = serde_json::to_string(&alert(number)).unwrap();
        transaction.execute("INSERT INTO alerts VALUES (?1, ?2)", (fingerprint(number).to_string(), alert)).unwrap();
        if schema >= 2 {
            insert_row(&transaction, number);
        }
    }
    let mut insert = transaction.prepare("INSERT INTO events (at_ms, kind, subject, detail) VALUES (?1, ?2, ?3, ?4)").unwrap();
    for number in 1..=EVENTS {
        let event = big_event(number);
        insert.execute((event.at_ms.cast_signed(), event.kind(), &event.subject, event.stored_detail().to_string())).unwrap();
    }
    drop(insert);
    transaction.commit().unwrap();
}

fn big_event(number: u64) -> Event {
    let detail = json!({ "text": "a".repeat(1_000) }).to_string();
    Event::from_stored(number, "alert".to_owned(), fingerprint(number).to_string(), detail)
}

fn insert_row(database: &Connection, number: u64) {
    let made = row(number);
    database
        .execute(
            "INSERT INTO outbox (seq, id, receiver, group_key, group_labels, fingerprint, incident, tells, alert, state, created_at_ms,
                                 due_at_ms, attempts, waited_ms, message)
             VALUES (?1, ?2, ?3, ?4, '[]', ?5, ?6, 'begin', ?7, ?8, 1000, 2000, 3, 4000, 'the message')",
            (
                number.cast_signed(),
                &made.id,
                &made.receiver,
                &made.group_key,
                made.fingerprint.to_string(),
                made.incident.cast_signed(),
                serde_json::to_string(&made.alert).unwrap(),
                if number == 1 { "sending" } else { "waiting" },
            ),
        )
        .unwrap();
}

/// That everything is there which `write` wrote.
async fn assert_whole(folder: &Path, schema: u32) {
    let store = Store::open(folder).unwrap();
    assert_eq!(store.damaged(), None);
    let mut known = store.alerts().await.unwrap();
    known.alerts.sort_by_key(|alert| alert.incident);
    assert_eq!(known.next_incident, ROWS + 1);
    assert_eq!(known.alerts, (1..=ROWS).map(alert).collect::<Vec<_>>());
    let open = store.open_outbox().await.unwrap();
    let expected: Vec<_> = if schema < 2 { Vec::new() } else { (1..=ROWS).map(row).collect() };
    assert_eq!(open.rows.iter().map(|row| row.made.clone()).collect::<Vec<_>>(), expected);
    let details: Vec<_> = open.rows.iter().map(|row| (row.attempts, row.waited_ms, row.message.as_deref(), row.due_at_ms)).collect();
    assert!(details.iter().all(|details| *details == (3, 4_000, Some("the message"), 2_000)), "{details:?}");
    let mut events = store.events(100_000).await.unwrap();
    events.retain(|event| event.kind() == "alert");
    assert_eq!((events.len() as u64, &events[0]), (EVENTS, &big_event(EVENTS)));
    assert_eq!(store.verify_audit().await.unwrap().broken, None);
}

#[tokio::test]
async fn a_store_of_any_earlier_schema_is_upgraded_with_all_it_holds() {
    for schema in 1..=2 {
        let folder = tempfile::tempdir().unwrap();
        write(&folder.path().join("pharos.db"), schema);
        assert_whole(folder.path(), schema).await;
        assert_whole(folder.path(), schema).await;
    }
}

/// An agent's folder with a store of schema 2.
struct Upgrade {
    original: tempfile::TempDir,
    /// The log of the latest start.
    folder: tempfile::TempDir,
    newest: u32,
}

impl Upgrade {
    fn new() -> Self {
        let (original, folder) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
        write(&original.path().join("pharos.db"), 2);
        drop(Store::open(folder.path()).unwrap());
        let newest = version(&folder.path().join("pharos.db"));
        Self { original, folder, newest }
    }

    fn data(&self) -> PathBuf {
        self.folder.path().join("data")
    }

    /// Starts the upgrade of a fresh copy.
    fn start(&mut self, environment: impl IntoIterator<Item = (&'static str, PathBuf)>) -> Running {
        self.folder = tempfile::tempdir().unwrap();
        std::fs::create_dir(self.data()).unwrap();
        std::fs::copy(self.original.path().join("pharos.db"), self.data().join("pharos.db")).unwrap();
        let path = self.folder.path().join("pharos.toml");
        // The subjects of the alerts are still monitored, although no server answers there.
        let config = "[agent]\ndata_dir = \"data\"\n[http]\nlisten = \"127.0.0.1:0\"\n\
                      [[redis]]\nname = \"cache\"\nnodes = [\"redis://127.0.0.1:1\"]\n";
        std::fs::write(&path, config).unwrap();
        let mut command = command(&["run", "--config", path.to_str().unwrap()]);
        command.envs(environment);
        Running::logging(command)
    }

    /// The schema that is found after a kill; it is the old or the new one, and all is there.
    async fn assert_whole(&self) -> u32 {
        let found = version(&self.data().join("pharos.db"));
        assert!((2..=self.newest).contains(&found), "schema {found}");
        assert_whole(&self.data(), 2).await;
        found
    }
}

fn version(path: &Path) -> u32 {
    Connection::open(path).unwrap().query_row("PRAGMA user_version", [], |row| row.get(0)).unwrap()
}

#[tokio::test]
async fn random_kills_during_an_upgrade_leave_the_old_schema_or_the_new_one_and_everything_in_it() {
    let mut upgrade = Upgrade::new();
    let started = Instant::now();
    let mut agent = upgrade.start([]);
    agent.port().await;
    let longest = started.elapsed();
    agent.signal(rustix::process::Signal::KILL);
    agent.end().await;
    let mut chance = seeded();
    let rounds = rounds(20);
    let mut old = 0;
    for _ in 0..rounds {
        let agent = upgrade.start([]);
        sleep(Duration::from_micros(chance.u64(0..longest.as_micros() as u64))).await;
        agent.signal(rustix::process::Signal::KILL);
        agent.end().await;
        old += u32::from(upgrade.assert_whole().await == 2);
    }
    let _ = std::io::Write::write_all(&mut std::io::stderr(), format!("{rounds} kills: {old} before the upgrade was done\n").as_bytes());
}

#[tokio::test]
async fn an_upgrade_that_dies_at_any_of_its_writes_loses_nothing() {
    let mut upgrade = Upgrade::new();
    let disk = FailingDisk::build();
    let mut found = Vec::new();
    loop {
        disk.set_fault(&format!("kill {}", found.len() + 1));
        let agent = upgrade.start(disk.environment());
        let (_, log) = agent.end_or("listening on http://").await;
        let survived = log.iter().any(|line| line.contains("listening on http://"));
        found.push(upgrade.assert_whole().await);
        if survived {
            break;
        }
        assert!(found.len() < 500, "it always dies: {log:#?}");
    }
    assert!(found[0] == 2 && found.last() == Some(&upgrade.newest), "{found:?}");
    assert!(found.is_sorted(), "what was done stays done: {found:?}");
    let _ =
        std::io::Write::write_all(&mut std::io::stderr(), format!("died at each of {} writes: {found:?}\n", found.len() - 1).as_bytes());
}
