//! Tests of the checks of wraparound.

use expect_test::expect;

use super::{check, check_texts};

const AGES: &str = r#"
    database present
    pharos_postgres_xid_age_transactions{datname="app"} 1200000000
    pharos_postgres_xid_age_transactions{datname="shop"} 230000000
    pharos_postgres_xid_age_transactions{datname="new"} 190000000
    pharos_postgres_multixact_age_transactions{datname="app"} 600000000
    pharos_postgres_multixact_age_transactions{datname="shop"} 5
    pharos_postgres_multixact_age_transactions{datname="new"} 5
    autovacuum present
    pharos_postgres_autovacuum_freeze_max_age_transactions 200000000
    pharos_postgres_autovacuum_multixact_freeze_max_age_transactions 400000000
    pharos_postgres_vacuum_failsafe_age_transactions 1600000000
"#;

const OLD_TABLES: &str = "
    tables present
    pharos_postgres_tables{datname=\"app\"} 3
    table tables
    | datname text | schema text | relation text | xid_age integer | multixact_age integer |
    | app | public | orders | 1200000000 | 1000 |
    | app | public | Users | 600000000 | 1000 |
    | app | public | new | 1000 | 1000 |
";

const HOLDER: &str = "
    horizon present
    pharos_postgres_horizon_age_transactions{holder=\"slot\"} 900000000
    table horizon
    | holder text | name text | pid integer | datname text | user text | age_transactions integer | seconds float |
    | backend | - | 4711 | shop | etl | 1000 | 60 |
    | slot | standby2 | - | - | - | 900000000 | - |
";

#[test]
fn both_id_counters_are_watched_for_wraparound() {
    check(
        "wraparound-risk",
        AGES,
        expect![[r#"
        wraparound-risk{datname=app,counter=xid}: raise critical: oldest transaction id in app is 1.2 G old
        wraparound-risk{datname=app,counter=multixact}: raise warning: oldest multixact id in app is 600 M old
    "#]],
    );
    check_texts(
        "wraparound-risk",
        &format!("{AGES}{OLD_TABLES}{HOLDER}"),
        expect![[r#"
            oldest transaction id in app is 1.2 G old
            Database app has not frozen its oldest transaction id for 1.2 G transactions, 55.9 % of the id space. Shortly before its end PostgreSQL refuses all writes.
            > Vacuum cannot freeze rows that replication slot standby2 may still see, from 900 M transactions ago. The consumer of the slot holds an old snapshot, or is gone and left its slot behind.
            > First: Start the consumer or let it catch up; if it is gone for good: `SELECT pg_catalog.pg_drop_replication_slot('standby2');`. In app, beginning with the oldest table: `VACUUM (FREEZE, VERBOSE) "public"."orders";`.
            - used of the id space: 55.9 %
            - public.orders: 1.2 G
            - public.Users: 600 M
            - primary: db1:5432
        "#]],
    );
    check_texts(
        "wraparound-risk",
        &AGES.replace("1200000000", "1700000000"),
        expect![[r#"
            oldest transaction id in app is 1.7 G old
            Database app has not frozen its oldest transaction id for 1.7 G transactions, 79.2 % of the id space. Shortly before its end PostgreSQL refuses all writes. Vacuum is past its failsafe age: it skips indexes and all throttling, and may still be too late.
            > Autovacuum cannot finish freezing: it is too slow for the writes, or is cancelled again and again by statements that lock the table.
            > In app: `BEGIN; SET LOCAL search_path = pg_catalog; SELECT oid::regclass, relkind, age(relfrozenxid) FROM pg_class WHERE relkind IN ('r', 'm', 't') ORDER BY 3 DESC LIMIT 10; COMMIT;` shows the oldest tables. Only its session can drop a table of pg_temp; for the others run `VACUUM (FREEZE, VERBOSE) <table>;`.
            - used of the id space: 79.2 %
            - primary: db1:5432
        "#]],
    );
}

#[test]
fn an_age_up_to_freezing_is_normal_whatever_the_server_is_set_to() {
    check(
        "wraparound-risk",
        &AGES.replace("max_age_transactions 200000000", "max_age_transactions 1500000000"),
        expect![[r#"
        wraparound-risk{datname=app,counter=multixact}: raise warning: oldest multixact id in app is 600 M old
    "#]],
    );
}

#[test]
fn freezing_is_overdue_past_its_age_unless_a_worker_is_at_it() {
    check(
        "freeze-overdue",
        AGES,
        expect![[r#"
        freeze-overdue{datname=app,counter=xid}: raise warning: freezing transaction ids of app is overdue
        freeze-overdue{datname=shop,counter=xid}: raise warning: freezing transaction ids of shop is overdue
        freeze-overdue{datname=app,counter=multixact}: raise warning: freezing multixact ids of app is overdue
    "#]],
    );
    let at_work = "
        table autovacuum_workers
        | pid integer | datname text | relation text | seconds float | is_wraparound boolean |
        | 11 | shop | orders | 400 | true |
        | 12 | app | orders | 400 | true |";
    check(
        "freeze-overdue",
        &format!("{AGES}{at_work}"),
        expect![[r#"
        freeze-overdue{datname=app,counter=xid}: raise warning: freezing transaction ids of app is overdue
        freeze-overdue{datname=app,counter=multixact}: raise warning: freezing multixact ids of app is overdue
    "#]],
    );
    check("freeze-overdue", &format!("{AGES}server present\npharos_postgres_in_recovery 1"), expect![[""]]);
}

#[test]
fn tables_that_are_not_frozen_in_time_have_alerts_of_their_own() {
    check(
        "table-wraparound-risk",
        OLD_TABLES,
        expect![[r#"
        table-wraparound-risk{datname=app,schema=public,relation=orders,counter=xid}: raise critical: oldest transaction id in public.orders of app is 1.2 G old
        table-wraparound-risk{datname=app,schema=public,relation=Users,counter=xid}: raise warning: oldest transaction id in public.Users of app is 600 M old
    "#]],
    );
    check_texts(
        "table-wraparound-risk",
        &format!("{OLD_TABLES}{HOLDER}"),
        expect![[r#"
            oldest transaction id in public.orders of app is 1.2 G old
            Table public.orders of app has not been frozen for 1.2 G transactions. Shortly before 2.15 G PostgreSQL refuses all writes.
            > Vacuum cannot freeze rows that replication slot standby2 may still see, from 900 M transactions ago. The consumer of the slot holds an old snapshot, or is gone and left its slot behind.
            > First: Start the consumer or let it catch up; if it is gone for good: `SELECT pg_catalog.pg_drop_replication_slot('standby2');`. In app: `VACUUM (FREEZE, VERBOSE) "public"."orders";`.
            - used of the id space: 55.9 %
            - primary: db1:5432
        "#]],
    );
}

#[test]
fn the_oldest_of_many_old_tables_have_alerts_of_their_own() {
    let rows: String = (0..40).map(|table| format!("| app | public | t{table} | {} | 1 |\n", 600_000_000 + table)).collect();
    let facts = format!(
        "tables present\npharos_postgres_tables{{datname=\"app\"}} 40\ntable tables\n\
         | datname text | schema text | relation text | xid_age integer | multixact_age integer |\n{rows}"
    );
    let report = super::judge("table-wraparound-risk", &pharos_plugin::testing::Facts::postgres(&facts));
    assert_eq!((report.findings.len(), report.findings[0].value), (20, Some(600_000_039.0)));
    let others: Vec<&str> = report.skipped.iter().map(|skip| skip.labels[2].value.as_str()).collect();
    assert_eq!((others.len(), others[0], others[19]), (20, "t19", "t0"), "the others stand still");
}
