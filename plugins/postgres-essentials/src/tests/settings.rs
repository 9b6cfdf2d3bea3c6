//! Tests of the checks of settings and extensions.

use expect_test::expect;

use super::{check, check_texts};

#[test]
fn settings_that_put_data_at_risk_are_reported() {
    let facts = r#"
        settings present
        pharos_postgres_setting{setting="fsync"} 0
        pharos_postgres_setting{setting="full_page_writes"} 1
        autovacuum present
        pharos_postgres_autovacuum_enabled 0
        pharos_postgres_track_counts 0
    "#;
    check(
        "fsync-off",
        facts,
        expect![[r#"
        fsync-off: raise critical: fsync is off
    "#]],
    );
    check("full-page-writes-off", facts, expect![[""]]);
    check(
        "full-page-writes-off",
        "settings present\npharos_postgres_setting{setting=\"full_page_writes\"} 0",
        expect![[r#"
        full-page-writes-off: raise warning: full_page_writes is off
    "#]],
    );
    check(
        "fsync-off",
        "settings present\npharos_postgres_setting{setting=\"max_wal_size\"} 1",
        expect![[r#"
        fsync-off: skipped: no data
    "#]],
    );
    check(
        "autovacuum-off",
        facts,
        expect![[r#"
        autovacuum-off: raise critical: autovacuum is off
    "#]],
    );
    check(
        "track-counts-off",
        facts,
        expect![[r#"
        track-counts-off: raise critical: track_counts is off
    "#]],
    );
}

const CHANGED: &str = r#"
    settings present
    pharos_postgres_settings_pending_restart 1
    pharos_postgres_setting_changes_total 5 rate 0.2
    table settings
    | setting text | value text | pending_restart boolean |
    | shared_buffers | 1GB | true |
    | work_mem | 64MB | false |
    table setting_changes
    | setting text | before text | after text | seen_at_ms integer |
    | work_mem | 4MB | 64MB | 1700000000000 |
    | jit | on | off | 1700000010000 |
"#;

#[test]
fn changed_settings_and_those_that_wait_are_named() {
    check(
        "settings-pending-restart",
        CHANGED,
        expect![[r#"
        settings-pending-restart: raise info: 1 setting waits for a restart
    "#]],
    );
    check_texts(
        "settings-pending-restart",
        CHANGED,
        expect![[r#"
            1 setting waits for a restart
            1 setting waits for a restart of the server: the values in the files are not yet in force.
            > A setting that the server reads only at its start was changed.
            > `BEGIN; SET LOCAL search_path = pg_catalog; SELECT name, setting FROM pg_settings WHERE pending_restart; COMMIT;`, then restart at a quiet hour, or undo the change.
            - shared_buffers: in force: 1GB
        "#]],
    );
    check_texts(
        "settings-changed",
        CHANGED,
        expect![[r#"
            changed: jit, work_mem
            Since the previous collection 2 settings have another value.
            > `ALTER SYSTEM` or an edit of postgresql.conf, then a reload or a restart.
            > If the change was not planned: `BEGIN; SET LOCAL search_path = pg_catalog; SELECT name, setting, sourcefile, sourceline FROM pg_settings WHERE source = 'configuration file' ORDER BY name; COMMIT;` shows where each value comes from; `ALTER SYSTEM RESET` removes a value that `ALTER SYSTEM` set.
            - jit: on → off, seen 2023-11-14 22:13:30 UTC
            - work_mem: 4MB → 64MB, seen 2023-11-14 22:13:20 UTC
        "#]],
    );
    check("settings-changed", &CHANGED.replace("rate 0.2", "rate 0"), expect![[""]]);
}

#[test]
fn outdated_extensions_come_with_their_statements_and_an_unread_datname_is_skipped() {
    let facts = r#"
        visits present
        table visits
        | collector text | datname text | state text | why text |
        | extensions | app | ok | - |
        | extensions | old | failed | permission denied for database |
        extensions present
        pharos_postgres_extensions_outdated{datname="app"} 1
        pharos_postgres_extensions_outdated{datname="shop"} 0
        table extensions
        | datname text | extension text | installed text | available text |
        | app | pg_stat_statements | 1.9 | 1.11 |
        | app | hstore | 1.8 | 1.8 |
    "#;
    check(
        "extensions-outdated",
        facts,
        expect![[r#"
        extensions-outdated{datname=app}: raise info: 1 extension of app can be updated
        extensions-outdated{datname=old}: skipped: extensions of old could not be read: permission denied for database
    "#]],
    );
    check_texts(
        "extensions-outdated",
        facts,
        expect![[r#"
            1 extension of app can be updated
            The server has newer files of 1 extension than app uses, so its functions and views are the old ones.
            > Packages or the server were upgraded, which does not update the extensions in the databases.
            > In app, after reading its release notes: `ALTER EXTENSION "pg_stat_statements" UPDATE;`.
            - pg_stat_statements: 1.9 → 1.11
            - primary: db1:5432
        "#]],
    );
}
