//! Sessions in text lines, with remedies as text.
//!
//! `11<-10 active wants relation AccessShareLock` waits for 10; `10 idle holds relation AccessShareLock` waits for none. `idle` is idle in
//! transaction; `av` and `wraparound` are autovacuum. `gid NAME` is the prepared transaction that the session waits for, and `since` is
//! the session's start.

use expect_test::{Expect, expect};

use super::*;
use crate::postgres::lock_tree::Waiting;

fn lock(words: &[&str], word: &str) -> Option<Lock> {
    let at = words.iter().position(|known| *known == word)?;
    Some(Lock { kind: words[at + 1].to_owned(), mode: words[at + 2].to_owned() })
}

fn check(lines: &str, expected: Expect) {
    let mut waiting = Vec::new();
    let mut sessions = HashMap::new();
    for line in lines.trim().lines() {
        let words: Vec<&str> = line.split_whitespace().collect();
        let (pid, blocked_by) = words[0].split_once("<-").unwrap_or((words[0], ""));
        let pid = pid.parse().unwrap();
        let has = |word: &str| words.contains(&word);
        let session = LockSession {
            backend: match (has("av"), has("wraparound")) {
                (false, false) => Backend::Client,
                (_, prevents_wraparound) => Backend::Autovacuum { prevents_wraparound },
            },
            state: Some(if has("idle") { "idle in transaction" } else { "active" }.to_owned()),
            wants: lock(&words, "wants"),
            holds: lock(&words, "holds"),
            prepared: words.iter().position(|word| *word == "gid").map(|at| words[at + 1].to_owned()),
            started_at: has("since").then(|| "2026-01-01 00:00:00.5+00".to_owned()),
        };
        sessions.insert(pid, session);
        if !blocked_by.is_empty() {
            let blocked_by = blocked_by.split(',').map(|pid| pid.parse().unwrap()).collect();
            waiting.push(Waiting { pid, leader_pid: None, blocked_by });
        }
    }
    let forest = LockForest::new(waiting);
    let remedies = |waiter: &Waiter| {
        let remedy = remedy(&forest, waiter, &sessions).unwrap();
        format!("{}: {}: {}\n", waiter.pid, remedy.kind.name(), remedy.text)
    };
    expected.assert_eq(&forest.waiters.iter().map(remedies).collect::<String>());
}

#[test]
fn readers_behind_ddl_are_freed_by_cancelling_the_ddl_and_the_ddl_by_the_idle_transaction() {
    check(
        "10 idle since holds relation AccessShareLock\n11<-10 since wants relation AccessExclusiveLock\n12<-11 wants relation AccessShareLock\n\
         13<-12 wants transactionid ShareLock",
        expect![[r#"
            11: idle-in-transaction: session 10 holds AccessShareLock and does nothing: its application should commit; `BEGIN; SET LOCAL search_path = pg_catalog; SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE pid = 10 AND backend_start = '2026-01-01 00:00:00.5+00'; COMMIT;` ends it, as idle_in_transaction_session_timeout would
            12: ddl-queue: session 11 waits for a strong lock, and every session behind it queues: `BEGIN; SET LOCAL search_path = pg_catalog; SELECT pg_cancel_backend(pid) FROM pg_stat_activity WHERE pid = 11 AND backend_start = '2026-01-01 00:00:00.5+00'; COMMIT;` lets these sessions continue, and the cancelled statement should be tried again with lock_timeout set; it waits itself for session 10
            13: ddl-queue: session 11 waits for a strong lock, and every session behind it queues: `BEGIN; SET LOCAL search_path = pg_catalog; SELECT pg_cancel_backend(pid) FROM pg_stat_activity WHERE pid = 11 AND backend_start = '2026-01-01 00:00:00.5+00'; COMMIT;` lets these sessions continue, and the cancelled statement should be tried again with lock_timeout set; it waits itself for session 10
        "#]],
    );
}

#[test]
fn the_lock_mode_at_the_root_decides_the_kind() {
    check(
        "10 holds relation AccessExclusiveLock\n11<-10 wants relation AccessShareLock\n\
         20 holds relation ShareLock\n21<-20 wants relation RowExclusiveLock\n\
         30 holds transactionid ExclusiveLock\n31<-30 wants transactionid ShareLock\n32<-31 wants tuple ExclusiveLock\n\
         40 holds advisory ExclusiveLock\n41<-40 wants advisory ExclusiveLock",
        expect![[r#"
            11: ddl: session 10 holds AccessExclusiveLock, which shuts out every other session: let its DDL finish, or `BEGIN; SET LOCAL search_path = pg_catalog; SELECT pg_cancel_backend(pid) FROM pg_stat_activity WHERE pid = 10; COMMIT;` and look for a way that locks less
            21: relation-lock: session 20 holds ShareLock on the relation until its transaction ends: wait for that, or `BEGIN; SET LOCAL search_path = pg_catalog; SELECT pg_cancel_backend(pid) FROM pg_stat_activity WHERE pid = 20; COMMIT;`; LOCK TABLE and CREATE INDEX without CONCURRENTLY are the usual causes
            31: row-lock: session 30 changed the same rows and has not committed: wait for that, or `BEGIN; SET LOCAL search_path = pg_catalog; SELECT pg_cancel_backend(pid) FROM pg_stat_activity WHERE pid = 30; COMMIT;` if it is stuck; short transactions that lock rows in one order do not pile up
            32: row-lock: session 30 changed the same rows and has not committed: wait for that, or `BEGIN; SET LOCAL search_path = pg_catalog; SELECT pg_cancel_backend(pid) FROM pg_stat_activity WHERE pid = 30; COMMIT;` if it is stuck; short transactions that lock rows in one order do not pile up
            41: advisory-lock: session 40 holds an advisory lock of the application: it should unlock it; `BEGIN; SET LOCAL search_path = pg_catalog; SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE pid = 40; COMMIT;` releases it
        "#]],
    );
}

#[test]
fn the_session_at_the_root_counts_more_than_the_mode() {
    check(
        "11<-0 wants transactionid ShareLock gid transfer-7\n12<-11 wants tuple ExclusiveLock\n\
         20 av holds relation ShareUpdateExclusiveLock\n21<-20 wants relation ShareUpdateExclusiveLock\n\
         30 wraparound holds relation ShareUpdateExclusiveLock\n31<-30 wants relation AccessExclusiveLock\n\
         40 active\n41<-40 wants virtualxid ShareLock\n\
         50 active\n51<-50 wants extend ExclusiveLock\n\
         60<-61 wants transactionid ShareLock\n61<-60 wants transactionid ShareLock",
        expect![[r#"
            11: prepared-transaction: prepared transaction transfer-7 holds the lock and no session will end it: decide with its transaction manager, then COMMIT PREPARED or ROLLBACK PREPARED in its database
            12: prepared-transaction: prepared transaction transfer-7 holds the lock and no session will end it: decide with its transaction manager, then COMMIT PREPARED or ROLLBACK PREPARED in its database
            21: autovacuum: autovacuum 20 gives way by itself after deadlock_timeout; if it does not, `BEGIN; SET LOCAL search_path = pg_catalog; SELECT pg_cancel_backend(pid) FROM pg_stat_activity WHERE pid = 20; COMMIT;`, and it starts again later
            31: autovacuum-wraparound: autovacuum 30 prevents transaction id wraparound: let it finish, since it begins again when it is cancelled, and try the waiting statement again later with lock_timeout set
            41: old-transaction: the waiting statement needs all older transactions to end, as CREATE INDEX CONCURRENTLY does, and the transaction of session 40 is open: wait for its end, or `BEGIN; SET LOCAL search_path = pg_catalog; SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE pid = 40; COMMIT;`
            51: relation-extension: many sessions make one relation longer at once: ending a session does not help, but bulk loads in fewer sessions are faster
            60: deadlock: the sessions 60, 61 wait for each other; the server ends one of them after deadlock_timeout, and the application should lock in one order
            61: deadlock: the sessions 60, 61 wait for each other; the server ends one of them after deadlock_timeout, and the application should lock in one order
        "#]],
    );
}

#[test]
fn a_root_that_is_gone_already_is_named_all_the_same() {
    check(
        "11<-10 wants object AccessShareLock",
        expect![[r#"
            11: other: session 10 is in the way: `BEGIN; SET LOCAL search_path = pg_catalog; SELECT state, query FROM pg_stat_activity WHERE pid = 10; COMMIT;` shows what it does, and `BEGIN; SET LOCAL search_path = pg_catalog; SELECT pg_cancel_backend(pid) FROM pg_stat_activity WHERE pid = 10; COMMIT;` ends that
        "#]],
    );
}
