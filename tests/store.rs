//! No store of a newer version is touched, no broken store ends the agent, and no store that the agent may not read is taken for a damaged
//! one. No two agents write one state, and the mode of a folder that others use stays as it is.
//!
//! The state store on its own: what it keeps, what it bounds, whom it refuses.

use std::os::unix::fs::{MetadataExt, PermissionsExt, chown, symlink};

use pharos::store::{Entry, Expected, NoteKey, OutboxTurn, PluginStateLimits, RowFilter, Store, StoreError, Written};
use pharos_model::event::{Event, EventDetail, PluginChange, PluginEventKind, SettingUpdate};
use pharos_model::notification::UndeliveredReason;
use pharos_model::outbox::{IncidentPart, NewRow, OutboxState, Settlement};

use crate::fixture::program::{Running, command, output};
use crate::fixture::saved::{begins, closed};

const LIMITS: PluginStateLimits = PluginStateLimits { keys: 2, bytes: 20 };

fn entry(key: &str, value: &str, expires_at_ms: Option<u64>) -> Entry {
    Entry { key: key.to_owned(), expected: Expected::Anything, value: value.into(), expires_at_ms, now_ms: 1_000 }
}

async fn put(store: &Store, plugin: &str, entry: Entry) -> Written {
    store.put_plugin_state(plugin, entry, LIMITS).await.unwrap()
}

async fn get(store: &Store, plugin: &str, key: &str, now_ms: u64) -> Option<Vec<u8>> {
    store.plugin_state(plugin, key.to_owned(), now_ms).await.unwrap()
}

fn plugin_event(at_ms: u64, plugin: &str) -> Event {
    let change = PluginChange { what: PluginEventKind::Loaded, text: format!("generation {at_ms}") };
    Event { at_ms, subject: plugin.to_owned(), detail: EventDetail::Plugin(change) }
}

#[tokio::test]
async fn plugin_state_is_each_plugins_own_expires_and_has_a_quota() {
    let folder = tempfile::tempdir().unwrap();
    let store = Store::open(folder.path()).unwrap();
    assert_eq!(put(&store, "a", entry("k", "one", None)).await, Written::Done);
    assert_eq!(put(&store, "b", entry("k", "two", Some(2_000))).await, Written::Done);
    assert_eq!(get(&store, "a", "k", 1_000).await.as_deref(), Some(&b"one"[..]));
    assert_eq!(get(&store, "b", "k", 1_999).await.as_deref(), Some(&b"two"[..]));
    assert_eq!(get(&store, "b", "k", 2_000).await, None, "its time is over");
    assert_eq!(get(&store, "c", "k", 1_000).await, None);

    assert_eq!(put(&store, "a", entry("k2", "0123456789abcdef", None)).await, Written::QuotaExceeded(20));
    assert_eq!(put(&store, "a", entry("k2", "x", None)).await, Written::Done);
    assert_eq!(put(&store, "a", entry("k3", "x", None)).await, Written::QuotaExceeded(20), "two keys are all");
    assert_eq!(put(&store, "a", entry("k2", "y", None)).await, Written::Done, "its own place is free for itself");
    store.delete_plugin_state("a", "k".to_owned()).await.unwrap();
    assert_eq!(put(&store, "a", entry("k3", "x", None)).await, Written::Done);
}

#[tokio::test]
async fn a_swap_happens_only_over_the_expected_value() {
    let folder = tempfile::tempdir().unwrap();
    let store = Store::open(folder.path()).unwrap();
    let swap = async |expected: Option<&str>, value: &str| {
        let expected = expected.map_or(Expected::Nothing, |text| Expected::Value(text.into()));
        put(&store, "a", Entry { expected, ..entry("k", value, None) }).await
    };
    assert_eq!(swap(Some("x"), "y").await, Written::Differs);
    assert_eq!(swap(None, "x").await, Written::Done);
    assert_eq!(swap(None, "y").await, Written::Differs);
    assert_eq!(swap(Some("x"), "y").await, Written::Done);
    assert_eq!(get(&store, "a", "k", 0).await.as_deref(), Some(&b"y"[..]));
}

#[tokio::test]
async fn events_are_bounded_and_the_newest_stay() {
    let folder = tempfile::tempdir().unwrap();
    let store = Store::open(folder.path()).unwrap();
    let event = |at_ms| plugin_event(at_ms, "a");
    store.record_event(event(0)).await.unwrap();
    drop(store);
    // As if the agent had recorded many before.
    let database = rusqlite::Connection::open(folder.path().join("pharos.db")).unwrap();
    let fill = "WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < 9999) \
                INSERT INTO events (at_ms, kind, subject, detail) SELECT i, 'plugin', 'a', '{}' FROM n";
    database.execute_batch(fill).unwrap();
    drop(database);
    let store = Store::open(folder.path()).unwrap();
    store.record_event(event(10_000)).await.unwrap();
    let events = store.events(20_000).await.unwrap();
    assert_eq!(events.len(), 10_000);
    assert_eq!((&events[0], events[9_999].at_ms), (&event(10_000), 1), "newest first, and the very first is gone");
}

#[tokio::test]
async fn notes_are_bounded_and_what_happened_is_stored_with_the_note() {
    let folder = tempfile::tempdir().unwrap();
    drop(Store::open(folder.path()).unwrap());
    // As if the agent had watched very many.
    let database = rusqlite::Connection::open(folder.path().join("pharos.db")).unwrap();
    let fill = "WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < 5000) \
                INSERT INTO notes (server, collector, topic, written_at_ms, note) SELECT 'a', 'indexes', i, i, 'old' FROM n";
    database.execute_batch(fill).unwrap();
    drop(database);
    let store = Store::open(folder.path()).unwrap();
    let key = |collector, topic: &str| NoteKey { server: "a".to_owned(), collector, topic: topic.to_owned() };
    let update = SettingUpdate { setting: "jit".to_owned(), before: Some("on".to_owned()), after: Some("off".to_owned()) };
    let happened = Event { at_ms: 9_000, subject: "a".to_owned(), detail: EventDetail::Setting(update) };
    store.put_note(key("indexes", "1"), "new".to_owned(), Vec::new(), 8_000).await.unwrap();
    store.put_note(key("settings", ""), "all".to_owned(), vec![happened.clone()], 9_000).await.unwrap();
    let note = async |collector, topic| store.note(key(collector, topic)).await.unwrap();
    assert_eq!(note("settings", "").await.as_deref(), Some("all"));
    assert_eq!(note("indexes", "1").await.as_deref(), Some("new"), "it took the place of the older one");
    assert_eq!((note("indexes", "2").await, note("indexes", "3").await.as_deref()), (None, Some("old")), "the oldest one goes");
    assert_eq!(store.events(10).await.unwrap(), [happened]);
}

#[tokio::test]
async fn settled_notifications_are_bounded_and_those_under_way_never_go() {
    let folder = tempfile::tempdir().unwrap();
    let store = Store::open(folder.path()).unwrap();
    store.save_alerts(begins(1)).await.unwrap();
    drop(store);
    // As if many had been made since.
    let database = rusqlite::Connection::open(folder.path().join("pharos.db")).unwrap();
    let columns = "receiver, group_key, group_labels, fingerprint, incident, tells, alert, state, created_at_ms, due_at_ms";
    database
        .execute_batch(&format!(
            "WITH RECURSIVE n(i) AS (SELECT 2 UNION ALL SELECT i + 1 FROM n WHERE i < 120000)
             INSERT INTO outbox (seq, id, {columns})
             SELECT i, 'id-' || i, 'ops', '{{}}', '[]', fingerprint, incident, tells, alert, iif(i % 2, 'delivered', 'dead'), 1, 1
             FROM n, outbox WHERE seq = 1"
        ))
        .unwrap();
    drop(database);
    let store = Store::open(folder.path()).unwrap();
    let mut changes = begins(2);
    changes.notifications[0].0 = 120_001;
    store.save_alerts(changes).await.unwrap();
    let settled = vec![Settlement::Delivered { seqs: vec![120_001], note: None }];
    store.outbox_turn(OutboxTurn { settled, claims: Vec::new(), now_ms: 2 }).await.unwrap();
    let database = rusqlite::Connection::open(folder.path().join("pharos.db")).unwrap();
    let oldest = OutboxState::ALL.map(|state| -> Option<i64> {
        database.query_row("SELECT min(seq) FROM outbox WHERE state = ?1", [state.as_str()], |row| row.get(0)).unwrap()
    });
    assert_eq!(oldest, [Some(1), None, Some(100_003), Some(20_002)]);
    let fingerprint = begins(1).notifications[0].1.fingerprint.to_string();
    let about: Vec<u64> = store.outbox_of(fingerprint, 3).await.unwrap().iter().map(|row| row.seq).collect();
    assert_eq!(about, [119_998, 119_999, 120_000], "the youngest about one alert, oldest first");
}

#[tokio::test]
async fn a_notification_that_a_newer_delivery_contradicts_is_not_retried() {
    let folder = tempfile::tempdir().unwrap();
    let store = Store::open(folder.path()).unwrap();
    let mut changes = begins(1);
    let (_, begin) = changes.notifications[0].clone();
    let row = |number: u64, part| (number, NewRow { id: format!("{}-{number}", begin.id), part, ..begin.clone() });
    let other = (4, NewRow { id: "other".to_owned(), incident: 2, ..begin.clone() });
    changes.notifications.extend([row(2, IncidentPart::Change), row(3, IncidentPart::End), other]);
    store.save_alerts(changes).await.unwrap();
    let dead = |seqs| Settlement::Dead { seqs, reason: UndeliveredReason::Rejected, why: "status 400".to_owned() };
    let settled = vec![dead(vec![1, 3, 4]), Settlement::Delivered { seqs: vec![2], note: None }];
    store.outbox_turn(OutboxTurn { settled, claims: Vec::new(), now_ms: 2 }).await.unwrap();
    let revived = store.revive_outbox(RowFilter::default(), vec!["ops".to_owned()]).await.unwrap();
    assert_eq!(revived.iter().map(|row| row.seq).collect::<Vec<_>>(), [3, 4], "the receiver got the beginning with the change");
}

#[tokio::test]
async fn the_store_is_its_owners_alone() {
    let folder = tempfile::tempdir().unwrap();
    let directory = folder.path().join("new/data");
    let store = Store::open(&directory).unwrap();
    let mode = |path: &std::path::Path| std::fs::metadata(path).unwrap().permissions().mode() & 0o777;
    assert_eq!(mode(&directory), 0o700);
    assert_eq!(mode(&directory.join("pharos.db")), 0o600);
    let Err(StoreError::Locked { pid, .. }) = Store::open(&directory) else { panic!("two agents in one folder") };
    assert_eq!(pid, Some(std::process::id()));
    drop(store);
    Store::open(&directory).unwrap();
}

#[test]
fn a_store_of_a_newer_version_is_left_alone() {
    let folder = tempfile::tempdir().unwrap();
    drop(Store::open(folder.path()).unwrap());
    let path = folder.path().join("pharos.db");
    let database = rusqlite::Connection::open(&path).unwrap();
    database.pragma_update(None, "user_version", 99).unwrap();
    drop(database);
    let error = Store::open(folder.path()).unwrap_err().to_string();
    assert!(error.contains("was written by a newer Pharos (schema 99, this one knows "), "{error}");
    assert_eq!(std::fs::read_dir(folder.path()).unwrap().filter(|file| is_damaged(file.as_ref().unwrap())).count(), 0);
}

fn is_damaged(file: &std::fs::DirEntry) -> bool {
    let name = file.file_name().into_string().unwrap();
    name.contains("damaged") && !name.ends_with("-wal") && !name.ends_with("-shm")
}

/// Fills some pages and closes.
async fn fill(folder: &std::path::Path) {
    let store = Store::open(folder).unwrap();
    for at_ms in 0..200 {
        store.record_event(plugin_event(at_ms, &"a".repeat(200))).await.unwrap();
    }
    drop(store);
    closed(folder);
}

#[tokio::test]
async fn a_damaged_store_is_set_aside_and_a_new_one_begins() {
    type Harm = fn(&std::path::Path);
    let harms: [(&str, Harm); 4] = [
        ("no database", |path| std::fs::write(path, "this is no database, and long enough to be looked at as one".repeat(200)).unwrap()),
        ("truncated", |path| std::fs::OpenOptions::new().write(true).open(path).unwrap().set_len(10_000).unwrap()),
        ("overwritten in the middle", |path| {
            let mut bytes = std::fs::read(path).unwrap();
            let middle = bytes.len() / 2;
            bytes[middle - 6_000..middle + 6_000].fill(0xa5);
            std::fs::write(path, bytes).unwrap();
        }),
        ("without its head", |path| {
            let bytes = std::fs::read(path).unwrap();
            std::fs::write(path, &bytes[5_000..]).unwrap();
        }),
    ];
    for (name, harm) in harms {
        let folder = tempfile::tempdir().unwrap();
        for round in 1..=4_usize {
            fill(folder.path()).await;
            harm(&folder.path().join("pharos.db"));
            let store = Store::open(folder.path()).unwrap_or_else(|err| panic!("{name}: {err:?}"));
            let aside = store.damaged().unwrap_or_else(|| panic!("{name} in round {round}: nothing was wrong")).to_owned();
            assert!(aside.exists(), "{name}: {}", aside.display());
            assert_eq!(store.events(10).await.unwrap(), [], "{name}: a new one");
            let kept = std::fs::read_dir(folder.path()).unwrap().filter(|file| is_damaged(file.as_ref().unwrap())).count();
            assert_eq!(kept, round.min(3), "{name}");
        }
        fill(folder.path()).await;
        assert_eq!(Store::open(folder.path()).unwrap().damaged(), None, "{name}: a sound one is left alone");
    }
}

#[tokio::test]
async fn a_store_that_was_deleted_is_created_again() {
    let folder = tempfile::tempdir().unwrap();
    fill(folder.path()).await;
    std::fs::remove_file(folder.path().join("pharos.db")).unwrap();
    assert_eq!(Store::open(folder.path()).unwrap().damaged(), None);
}

#[tokio::test]
async fn a_directory_that_others_may_write_loses_that_permission_and_one_of_another_user_is_refused() {
    const NOBODY: u32 = 65_534;
    assert!(rustix::process::geteuid().is_root(), "this test gives files away, which only root may: run the tests as root");
    let folder = tempfile::tempdir().unwrap();
    let directory = folder.path().join("data");
    std::fs::create_dir(&directory).unwrap();
    for mode in [0o777, 0o775, 0o2770, 0o1777] {
        std::fs::set_permissions(&directory, std::fs::Permissions::from_mode(mode)).unwrap();
        drop(Store::open(&directory).unwrap());
        let left = std::fs::metadata(&directory).unwrap().permissions().mode() & 0o7777;
        assert_eq!(left, mode & !0o022, "{mode:o}");
    }
    std::fs::set_permissions(&directory, std::fs::Permissions::from_mode(0o755)).unwrap();
    let refused = |path: &std::path::Path| {
        let err = Store::open(&directory).expect_err("the directory belongs to another user");
        let StoreError::Owner(err) = &err else { panic!("{err:?}") };
        let expected = format!("{} belongs to user 65534, not to user 0 who runs this agent", path.display());
        assert!(err.to_string().starts_with(&expected) && err.to_string().contains("chown -R 0"), "{err}");
    };
    chown(&directory, Some(NOBODY), None).unwrap();
    refused(&directory);
    chown(&directory, Some(0), None).unwrap();
    for name in ["pharos.db", "lock"] {
        let file = directory.join(name);
        chown(&file, Some(NOBODY), None).unwrap();
        refused(&file);
        // A link that another user made would have the agent write wherever that user likes.
        let elsewhere = folder.path().join(name);
        std::fs::rename(&file, &elsewhere).unwrap();
        symlink(&elsewhere, &file).unwrap();
        std::os::unix::fs::lchown(&file, Some(NOBODY), None).unwrap();
        refused(&file);
        std::fs::remove_file(&file).unwrap();
        chown(&elsewhere, Some(0), None).unwrap();
        std::fs::rename(&elsewhere, &file).unwrap();
    }
    drop(Store::open(&directory).unwrap());
    // The program reports it and ends, as for every mistake in its configuration.
    chown(&directory, Some(NOBODY), None).unwrap();
    let config = folder.path().join("pharos.toml");
    std::fs::write(&config, "[agent]\ndata_dir = \"data\"\n[http]\nlisten = \"127.0.0.1:0\"\n").unwrap();
    let (code, _, stderr) = output(&["run", "--config", config.to_str().unwrap()]).await;
    assert!(code == Some(78) && stderr.contains("data belongs to user 65534, not to user 0"), "{code:?}: {stderr}");
}

/// As after one start as root by mistake. A store that is set aside as damaged would take its silences and waiting notifications with it.
#[tokio::test]
async fn a_store_that_the_agent_may_not_read_is_refused_and_stays_where_it_is() {
    const NOBODY: u32 = 65_534;
    let folder = tempfile::tempdir().unwrap();
    std::fs::set_permissions(folder.path(), std::fs::Permissions::from_mode(0o755)).unwrap();
    let (directory, config) = (folder.path().join("data"), folder.path().join("pharos.toml"));
    fill(&directory).await;
    for path in [&directory, &directory.join("lock")] {
        chown(path, Some(NOBODY), None).unwrap();
    }
    std::fs::write(&config, "[agent]\ndata_dir = \"data\"\n[http]\nlisten = \"127.0.0.1:0\"\n").unwrap();
    let before: Vec<_> = std::fs::read_dir(&directory).unwrap().map(|entry| entry.unwrap().file_name()).collect();
    let mut run = command(&["run", "--config", config.to_str().unwrap()]);
    let ended = run.uid(NOBODY).gid(NOBODY).output().await.unwrap();
    let stderr = String::from_utf8(ended.stderr).unwrap();
    assert!(ended.status.code() == Some(78) && stderr.contains("pharos.db belongs to user 0 and cannot be read by user 65534"), "{stderr}");
    let after: Vec<_> = std::fs::read_dir(&directory).unwrap().map(|entry| entry.unwrap().file_name()).collect();
    assert_eq!(before, after);
}

/// A folder of this mode is refused and not changed.
#[track_caller]
fn stays_as_it_is(directory: &std::path::Path, mode: u32) {
    std::fs::set_permissions(directory, std::fs::Permissions::from_mode(mode)).unwrap();
    let err = Store::open(directory).expect_err("others write there");
    let StoreError::Owner(err) = &err else { panic!("{err:?}") };
    let expected = format!("{} can be written by other users; run `chmod go-w", directory.display());
    assert!(err.to_string().starts_with(&expected), "{err}");
    assert_eq!(std::fs::metadata(directory).unwrap().permissions().mode() & 0o7777, mode, "it is not the agent's to change");
}

#[test]
fn a_folder_that_others_use_is_refused_and_stays_as_it_is() {
    let folder = tempfile::tempdir().unwrap();
    let directory = folder.path().join("shared");
    std::fs::create_dir(&directory).unwrap();
    std::fs::write(directory.join("somebody's"), "").unwrap();
    for mode in [0o777, 0o2775, 0o1777] {
        stays_as_it_is(&directory, mode);
    }
    assert!(!directory.join("pharos.db").exists());
}

/// A folder as Kubernetes gives a volume to a container that does not run as root (`fsGroup`).
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_volume_of_root_and_our_group_is_used_and_one_of_another_group_or_of_everybody_is_not() {
    const NOBODY: u32 = 65_534;
    const GROUP: u32 = 4_711;
    let folder = tempfile::tempdir().unwrap();
    std::fs::set_permissions(folder.path(), std::fs::Permissions::from_mode(0o755)).unwrap();
    let data = folder.path().join("data");
    std::fs::create_dir(&data).unwrap();
    let config = folder.path().join("pharos.toml");
    std::fs::write(&config, "[agent]\ndata_dir = \"data\"\n[http]\nlisten = \"127.0.0.1:0\"\n").unwrap();
    let start = || {
        let mut command = command(&["run", "--config", config.to_str().unwrap()]);
        command.uid(NOBODY).gid(GROUP);
        Running::logging(command)
    };
    for (group, mode) in [(GROUP, 0o2777), (GROUP + 1, 0o2770), (GROUP + 1, 0o2775)] {
        chown(&data, Some(0), Some(group)).unwrap();
        std::fs::set_permissions(&data, std::fs::Permissions::from_mode(mode)).unwrap();
        let (code, log) = start().end().await;
        assert_eq!(code, Some(78), "{mode:o} {log:#?}");
    }
    chown(&data, Some(0), Some(GROUP)).unwrap();
    std::fs::set_permissions(&data, std::fs::Permissions::from_mode(0o2775)).unwrap();
    let mut agent = start();
    agent.line("can be written by group 4711").await;
    agent.port().await;
    agent.signal(rustix::process::Signal::TERM);
    assert_eq!(agent.end().await.0, Some(0));
    let found = std::fs::metadata(data.join("pharos.db")).unwrap();
    assert_eq!((found.uid(), found.permissions().mode() & 0o777), (NOBODY, 0o600), "only the agent may read its files");
}
