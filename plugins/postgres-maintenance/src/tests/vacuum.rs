//! Tests of the checks of vacuum and of the horizon.

use expect_test::expect;

use super::{check, check_texts};

const TABLES: &str = "
    visits present
    table visits
    | collector text | datname text | state text | why text |
    | tables | app | ok | - |
    | tables | secret | failed | permission denied for database \"secret\" |
    tables present
    pharos_postgres_tables{datname=\"app\"} 4
    table tables
    | datname text | schema text | relation text | size_bytes integer | live_rows integer | dead_rows integer | dead_bytes integer | vacuum_pressure float | analyze_pressure float | vacuum_enabled boolean | seconds_since_vacuum float | seconds_since_analyze float |
    | app | public | orders | 4294967296 | 9000000 | 5000000 | 1073741824 | 6 | 0.5 | true | 7200 | 300 |
    | app | public | queue | 1048576 | 100 | 900 | 90000 | 40 | 9 | true | 60 | 60 |
    | app | public | events | 4294967296 | 9000000 | 2000000 | 805306368 | 1.8 | 3 | true | 7200 | - |
    | app | public | archive | 8589934592 | 9000000 | 0 | 0 | 0 | 0 | false | - | - |
";

const AUTOVACUUM: &str = "
    autovacuum present
    pharos_postgres_autovacuum_enabled 1
    pharos_postgres_track_counts 1
    pharos_postgres_autovacuum_workers 3
    pharos_postgres_autovacuum_workers_max 3
    pharos_postgres_autovacuum_cost_delay_seconds 0.002
    pharos_postgres_autovacuum_cost_limit 200
    table autovacuum_workers
    | pid integer | datname text | relation text | seconds float | is_wraparound boolean |
    | 11 | app | WORKED_ON | 900 | false |
";

const HORIZON: &str = "
    horizon present
    pharos_postgres_horizon_age_transactions{holder=\"backend\"} 20000000
    pharos_postgres_horizon_age_transactions{holder=\"prepared\"} 0
    table horizon
    | holder text | name text | pid integer | datname text | user text | application text | state text | age_transactions integer | seconds float |
    | backend | - | 4711 | app | etl | nightly | idle in transaction | 20000000 | 9000 |
";

#[test]
fn pressure_counts_where_dead_rows_take_space_and_what_was_not_visited_is_skipped() {
    check(
        "vacuum-pressure",
        TABLES,
        expect![[r#"
        vacuum-pressure{datname=app,schema=public,relation=orders}: raise critical: public.orders of app is 6 times past its vacuum trigger
        vacuum-pressure{datname=app,schema=public,relation=events}: hold warning: public.events of app is 1.8 times past its vacuum trigger
        vacuum-pressure{datname=secret}: skipped: tables of secret could not be read: permission denied for database "secret"
    "#]],
    );
    check(
        "vacuum-pressure",
        "tables failed statement timeout\npharos_postgres_tables\ntable tables\n| datname text |",
        expect![[r#"
        vacuum-pressure: skipped: part `tables` failed: statement timeout
    "#]],
    );
    check(
        "vacuum-pressure",
        "tables present\npharos_postgres_tables{datname=\"app\"} 4",
        expect![[r#"
        vacuum-pressure: skipped: there is no table `tables`
    "#]],
    );
}

#[test]
fn tables_with_too_few_facts_or_beyond_the_limit_are_skipped() {
    let facts = format!(
        "{TABLES}
        table unjudged_tables
        | list text | respect text | datname text | schema text | relation text | index text | greatest float | why text |
        | tables | vacuum_pressure | app | public | reset | - | - | its dead rows were never counted |
        | tables | vacuum_pressure | calm | - | - | - | 1.2 | 30 more of calm than are listed |
        | tables | vacuum_pressure | shop | - | - | - | 1.7 | 30 more of shop than are listed |"
    );
    check(
        "vacuum-pressure",
        &facts,
        expect![[r#"
            vacuum-pressure{datname=app,schema=public,relation=orders}: raise critical: public.orders of app is 6 times past its vacuum trigger
            vacuum-pressure{datname=app,schema=public,relation=events}: hold warning: public.events of app is 1.8 times past its vacuum trigger
            vacuum-pressure{datname=secret}: skipped: tables of secret could not be read: permission denied for database "secret"
            vacuum-pressure{datname=app,schema=public,relation=reset}: skipped: its dead rows were never counted
            vacuum-pressure{datname=shop}: skipped: 30 more of shop than are listed
        "#]],
    );
}

#[test]
fn the_cause_of_pressure_is_decided_in_order() {
    let decided = |facts: &str| {
        let report = super::judge("vacuum-pressure", &pharos_plugin::testing::Facts::postgres(facts));
        report.findings[0].evidence[0].value.clone()
    };
    let idle = AUTOVACUUM.replace("workers 3", "workers 0").replace("| 11 | app | WORKED_ON | 900 | false |", "");
    let at_it = AUTOVACUUM.replace("WORKED_ON", "orders");
    let busy = AUTOVACUUM.replace("WORKED_ON", "other");
    assert_eq!(decided(&format!("{TABLES}{HORIZON}{}", at_it.replace("enabled 1", "enabled 0"))), "autovacuum is off");
    assert_eq!(
        decided(&format!("{}{HORIZON}{at_it}", TABLES.replace("6 | 0.5 | true", "6 | 0.5 | false"))),
        "autovacuum is off for the table"
    );
    assert_eq!(decided(&format!("{TABLES}{HORIZON}{at_it}")), "horizon held");
    // A young snapshot matters only right after a vacuum that could not remove rows.
    let young = HORIZON.replace("20000000", "500000");
    assert_eq!(decided(&format!("{}{young}{at_it}", TABLES.replace("true | 7200 | 300", "true | 100 | 300"))), "horizon held");
    assert_eq!(decided(&format!("{TABLES}{young}{busy}")), "workers saturated");
    assert_eq!(decided(&format!("{TABLES}{}{busy}", HORIZON.replace("| app |", "| elsewhere |"))), "workers saturated");
    assert_eq!(decided(&format!("{TABLES}{at_it}")), "throttled by cost");
    assert_eq!(decided(&format!("{TABLES}{}", at_it.replace("seconds 0.002", "seconds 0"))), "running, but slow");
    assert_eq!(decided(&format!("{TABLES}{idle}")), "no worker vacuums the table");
    assert_eq!(decided(TABLES), "no worker vacuums the table");
}

#[test]
fn each_cause_comes_with_its_own_fix() {
    let at_it = AUTOVACUUM.replace("WORKED_ON", "public.orders");
    check_texts(
        "vacuum-pressure",
        &format!("{TABLES}{HORIZON}{at_it}"),
        expect![[r#"
            public.orders of app is 6 times past its vacuum trigger
            Table public.orders of app has 6 times as many dead rows as autovacuum should allow. Scans read them, and the table grows.
            > Vacuum may not remove the rows: process 4711 (etl) may still see them, from 20 M transactions ago. A transaction left open, or a very long query.
            > `BEGIN; SET LOCAL search_path = pg_catalog; SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE pid = 4711; COMMIT;`. To prevent a repetition: `ALTER ROLE "etl" SET idle_in_transaction_session_timeout = '5min';`.
            - decided: horizon held
            - process 4711 (etl): 20 M transactions, for 2 h 30 min, idle in transaction, application nightly, in app
            - dead: 1 GiB
            - dead rows: 5 M
            - last vacuum: 2 h ago
            - primary: db1:5432
        "#]],
    );
    check_texts(
        "vacuum-pressure",
        &format!("{TABLES}{at_it}"),
        expect![[r#"
            public.orders of app is 6 times past its vacuum trigger
            Table public.orders of app has 6 times as many dead rows as autovacuum should allow. Scans read them, and the table grows.
            > A worker has vacuumed the table for 15 min, slowed down by autovacuum_vacuum_cost_limit, which all workers share.
            > `ALTER SYSTEM SET autovacuum_vacuum_cost_limit = 1000; SELECT pg_catalog.pg_reload_conf();`.
            - decided: throttled by cost
            - allowed to write: about 13 MiB/s a worker
            - dead: 1 GiB
            - dead rows: 5 M
            - last vacuum: 2 h ago
            - primary: db1:5432
        "#]],
    );
    check_texts(
        "vacuum-pressure",
        &format!("{TABLES}{}", AUTOVACUUM.replace("WORKED_ON", "other")),
        expect![[r#"
            public.orders of app is 6 times past its vacuum trigger
            Table public.orders of app has 6 times as many dead rows as autovacuum should allow. Scans read them, and the table grows.
            > All 3 workers are busy with other tables.
            > First make the workers faster: `ALTER SYSTEM SET autovacuum_vacuum_cost_limit = 1000; SELECT pg_catalog.pg_reload_conf();`. Then add workers: `ALTER SYSTEM SET autovacuum_max_workers = 6;`, which needs a restart before PostgreSQL 18.
            - decided: workers saturated
            - dead: 1 GiB
            - dead rows: 5 M
            - last vacuum: 2 h ago
            - primary: db1:5432
        "#]],
    );
}

#[test]
fn old_statistics_matter_in_tables_with_many_rows() {
    check(
        "statistics-stale",
        TABLES,
        expect![[r#"
        statistics-stale{datname=app,schema=public,relation=events}: raise warning: statistics of public.events of app are old
        statistics-stale{datname=secret}: skipped: tables of secret could not be read: permission denied for database "secret"
    "#]],
    );
    check_texts(
        "statistics-stale",
        TABLES,
        expect![[r#"
            statistics of public.events of app are old
            3 times as many rows of public.events changed since it was last analysed as autovacuum should allow. The planner works with old numbers.
            > Autovacuum is off or has no worker left, the table was just loaded, or it is locked whenever its turn comes.
            > In app: `ANALYZE "public"."events";`.
            - rows: 9 M
            - primary: db1:5432
        "#]],
    );
}

#[test]
fn workers_that_are_all_busy_are_named_with_what_they_do() {
    check_texts(
        "autovacuum-saturated",
        &AUTOVACUUM.replace("WORKED_ON", "orders"),
        expect![[r#"
            all autovacuum workers are busy
            All 3 autovacuum workers have been busy for long, so tables wait for their turn while they bloat.
            > Few workers for many tables, workers throttled by autovacuum_vacuum_cost_limit, or one very large table each.
            > First make the workers faster: `ALTER SYSTEM SET autovacuum_vacuum_cost_limit = 1000; SELECT pg_catalog.pg_reload_conf();`. Then add workers: `ALTER SYSTEM SET autovacuum_max_workers = 6;`, which needs a restart before PostgreSQL 18.
            - orders of app: for 15 min
        "#]],
    );
    check("autovacuum-saturated", &AUTOVACUUM.replace("workers 3", "workers 2"), expect![[""]]);
}

#[test]
fn a_large_table_without_autovacuum_is_an_info() {
    check(
        "autovacuum-disabled",
        TABLES,
        expect![[r#"
        autovacuum-disabled{datname=app,schema=public,relation=archive}: raise info: autovacuum is off for public.archive of app
        autovacuum-disabled{datname=secret}: skipped: tables of secret could not be read: permission denied for database "secret"
    "#]],
    );
    check_texts(
        "autovacuum-disabled",
        TABLES,
        expect![[r#"
            autovacuum is off for public.archive of app
            Table public.archive of app is neither vacuumed nor analysed, except to prevent wraparound, and then all at once.
            > It was turned off for a load of data, or because it disturbed other work, and not turned on again.
            > In app: `ALTER TABLE "public"."archive" RESET (autovacuum_enabled);`.
            - size: 8 GiB
            - dead: 0 B
            - primary: db1:5432
        "#]],
    );
}

#[test]
fn each_holder_of_the_horizon_is_named_with_its_own_fix() {
    check_texts(
        "vacuum-held-back",
        HORIZON,
        expect![[r#"
            process 4711 (etl) holds vacuum back by 20 M transactions
            Rows that process 4711 (etl) may still see are from 20 M transactions ago. Rows deleted since then stay, so tables and indexes bloat, and transaction ids cannot be frozen.
            > A transaction left open, or a very long query.
            > `BEGIN; SET LOCAL search_path = pg_catalog; SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE pid = 4711; COMMIT;`. To prevent a repetition: `ALTER ROLE "etl" SET idle_in_transaction_session_timeout = '5min';`.
            - process 4711 (etl): 20 M transactions, for 2 h 30 min, idle in transaction, application nightly, in app
        "#]],
    );
    let facts = |holder: &str, row: &str| {
        format!(
            "
            horizon present
            pharos_postgres_horizon_age_transactions{{holder=\"{holder}\"}} 200000000
            table horizon
            | holder text | name text | pid integer | datname text | user text | age_transactions integer | seconds float |
            {row}"
        )
    };
    check_texts(
        "vacuum-held-back",
        &facts("slot", "| slot | old'slot | - | - | - | 200000000 | - |"),
        expect![[r#"
            replication slot old'slot holds vacuum back by 200 M transactions
            Rows that replication slot old'slot may still see are from 200 M transactions ago. Rows deleted since then stay, so tables and indexes bloat, and transaction ids cannot be frozen.
            > The consumer of the slot holds an old snapshot, or is gone and left its slot behind.
            > Start the consumer or let it catch up; if it is gone for good: `SELECT pg_catalog.pg_drop_replication_slot('old''slot');`.
            - replication slot old'slot: 200 M transactions
        "#]],
    );
    check_texts(
        "vacuum-held-back",
        &facts("prepared", "| prepared | tx1 | - | shop | app | 200000000 | 9000 |"),
        expect![[r#"
        prepared transaction tx1 holds vacuum back by 200 M transactions
        Rows that prepared transaction tx1 may still see are from 200 M transactions ago. Rows deleted since then stay, so tables and indexes bloat, and transaction ids cannot be frozen.
        > The transaction manager that prepared it no longer runs or has lost it.
        > Ask the transaction manager how it ended; if it has no record of it: in shop, `ROLLBACK PREPARED 'tx1';`.
        - prepared transaction tx1: 200 M transactions, for 2 h 30 min, in shop
    "#]],
    );
    check_texts(
        "vacuum-held-back",
        &facts("standby", "| standby | db2 | 99 | - | repl | 200000000 | 5 |"),
        expect![[r#"
            standby db2 holds vacuum back by 200 M transactions
            Rows that standby db2 may still see are from 200 M transactions ago. Rows deleted since then stay, so tables and indexes bloat, and transaction ids cannot be frozen.
            > A long query on a standby with hot_standby_feedback.
            > On the standby: `BEGIN; SET LOCAL search_path = pg_catalog; SELECT pid, usename, state, age(backend_xmin) FROM pg_stat_activity WHERE backend_xmin IS NOT NULL ORDER BY 4 DESC LIMIT 5; COMMIT;` and end the first with `SELECT pg_catalog.pg_terminate_backend(<pid>);`. If reports there may be cancelled instead: `ALTER SYSTEM SET hot_standby_feedback = off; SELECT pg_catalog.pg_reload_conf();`.
            - standby db2: 200 M transactions, for 5 s
        "#]],
    );
    check_texts(
        "vacuum-held-back",
        &facts("backend", "| backend | autovacuum worker | 99 | app | - | 200000000 | 5 |"),
        expect![[r#"
            process 99 (autovacuum worker) holds vacuum back by 200 M transactions
            Rows that process 99 (autovacuum worker) may still see are from 200 M transactions ago. Rows deleted since then stay, so tables and indexes bloat, and transaction ids cannot be frozen.
            > A transaction left open, or a very long query.
            > Let it finish; if it hangs, `BEGIN; SET LOCAL search_path = pg_catalog; SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE pid = 99; COMMIT;`.
            - process 99 (autovacuum worker): 200 M transactions, for 5 s, in app
        "#]],
    );
    check(
        "vacuum-held-back",
        &facts("slot_catalog", "| backend | - | 99 | app | app | 200 | 5 |"),
        expect![[r#"
        vacuum-held-back{holder=slot_catalog}: raise critical: a replication slot holds vacuum back by 200 M transactions
    "#]],
    );
    check(
        "vacuum-held-back",
        &HORIZON.replace("20000000", "6000000"),
        expect![[r#"
        vacuum-held-back{holder=backend}: hold warning: process 4711 (etl) holds vacuum back by 6 M transactions
    "#]],
    );
}
