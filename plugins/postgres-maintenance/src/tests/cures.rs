//! Tests of fixes that depend on existing keys, indexes and types.

use expect_test::expect;
use pharos_plugin::testing::Facts;

use super::{check, judge};

/// Compares the fixes of all findings of a check.
#[track_caller]
fn check_fixes(check: &str, facts: &str, expected: expect_test::Expect) {
    let report = judge(check, &Facts::postgres(facts));
    let line = |finding: &pharos_plugin::Finding| format!("{}\n", finding.fix.as_deref().unwrap_or("nothing"));
    expected.assert_eq(&report.findings.iter().map(line).collect::<String>());
}

#[test]
fn the_kind_of_an_invalid_index_decides_its_fix() {
    check_fixes(
        "index-invalid",
        "
        indexes present
        pharos_postgres_indexes{datname=\"app\"} 9
        table index_facts
        | datname text | schema text | relation text | index text | index_schema text | fact text | other text | size_bytes integer | guard text | key_columns text | duplicates_where text | is_exclusion boolean |
        | app | public | docs | pg_toast_1_index_ccold | pg_toast | invalid | pg_toast_1_index | 9 | - | chunk_id, chunk_seq | ROW(chunk_id, chunk_seq) IS NOT NULL | false |
        | app | public | users | users_mail | public | invalid | - | 9 | - | lower(mail) | (NOT gone) AND ROW(lower(mail)) IS NOT NULL | false |
        | app | public | rooms | rooms_excl | public | invalid | - | 9 | the constraint rooms_excl needs it | - | - | true |
        | app | public | parts_1 | parts_1_a | public | invalid | - | 9 | it belongs to the index of a partitioned table | - | - | false |
        | app | public | plain | plain_a | public | invalid | - | 9 | - | - | - | false |",
        expect![[r#"
            In app: `DROP INDEX CONCURRENTLY "pg_toast"."pg_toast_1_index_ccold";`. pg_toast_1_index itself stays.
            In app, as the owner of the table, see which keys occur more than once: `BEGIN; SET LOCAL search_path = pg_catalog; SELECT lower(mail), count(*) FROM "public"."users" WHERE (NOT gone) AND ROW(lower(mail)) IS NOT NULL GROUP BY lower(mail) HAVING count(*) > 1 LIMIT 20; COMMIT;`. Once there is none: `REINDEX INDEX CONCURRENTLY "public"."users_mail";`. If the index is not needed: `DROP INDEX CONCURRENTLY "public"."users_mail";`.
            In app: `REINDEX INDEX "public"."rooms_excl";`. It cannot be dropped: the constraint rooms_excl needs it.
            In app: `REINDEX INDEX CONCURRENTLY "public"."parts_1_a";`. It cannot be dropped: it belongs to the index of a partitioned table.
            In app: `REINDEX INDEX CONCURRENTLY "public"."plain_a";` if it is wanted, else `DROP INDEX CONCURRENTLY "public"."plain_a";`.
        "#]],
    );
}

#[test]
fn a_primary_key_uses_existing_columns_and_indexes() {
    check_fixes(
        "no-primary-key",
        "
        indexes present
        pharos_postgres_indexes{datname=\"app\"} 9
        table schema_facts
        | datname text | schema text | relation text | fact text | size_bytes integer | kind text | column_list text | is_nullable boolean | unique_index text | partition_key text | free_column text | obstacle text |
        | app | public | plain | no-primary-key | 9 | table | - | - | - | - | row_id | - |
        | app | public | uniq | no-primary-key | 9 | table | a, \"B\" | false | Uniq | - | row_id | - |
        | app | public | uniq_null | no-primary-key | 9 | table | a | true | uniq_a | - | row_id | - |
        | app | public | uniq_key | no-primary-key | 9 | table | a | false | - | - | row_id | - |
        | app | public | parts | no-primary-key | 9 | partitioned | - | - | - | day | id | - |
        | app | public | heirs | no-primary-key | 9 | parent | - | - | - | - | id | - |
        | app | public | hashed | no-primary-key | 9 | partitioned | - | - | - | - | id | its partitions are divided by an expression, which a key cannot hold |",
        expect![[r#"
            In app, if no column will do: `ALTER TABLE "public"."plain" ADD COLUMN "row_id" bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY;`, which rewrites the table under a lock.
            In app, a, "B" are unique already: `ALTER TABLE "public"."uniq" ADD PRIMARY KEY USING INDEX "Uniq";`.
            In app, as the owner of the table: a are unique and may be null: if `BEGIN; SET LOCAL search_path = pg_catalog; SELECT count(*) FROM "public"."uniq_null" WHERE NOT ROW(a) IS NOT NULL; COMMIT;` is 0, `ALTER TABLE "public"."uniq_null" ADD PRIMARY KEY USING INDEX "uniq_a";`. Else `ALTER TABLE "public"."uniq_null" ADD COLUMN "row_id" bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY;`, which rewrites the table under a lock.
            In app, a are unique already: `ALTER TABLE "public"."uniq_key" ADD PRIMARY KEY (a);`, which builds its index while the table is locked.
            In app, if no column will do: `ALTER TABLE "public"."parts" ADD COLUMN "id" bigserial;`, which rewrites all partitions under a lock, and `ALTER TABLE "public"."parts" ADD PRIMARY KEY ("id", day);`: a primary key must contain the partition key.
            In app, if no column will do: `ALTER TABLE "public"."heirs" ADD COLUMN "id" bigserial PRIMARY KEY;`, which rewrites it and its child tables under a lock; each child table needs a key of its own.
            In app, "public"."hashed" can have no primary key as it is: its partitions are divided by an expression, which a key cannot hold. If this is intended, leave the table out: `except` of this check.
        "#]],
    );
}

#[test]
fn a_sequence_gets_a_fix_for_the_limit_that_it_reaches_first() {
    check_fixes(
        "sequence-exhausted",
        "
        sequences present
        pharos_postgres_sequences{datname=\"app\"} 6
        table sequences
        | datname text | schema text | sequence text | relation_schema text | relation text | column text | column_type text | last_value integer | max_value integer | column_max integer | rises boolean | used_ratio float | cycles boolean | state text |
        | app | public | falling | - | - | - | - | -950 | -1000 | - | false | 0.95 | false | known |
        | app | public | tickets | sales | tickets | id | int2 | 32000 | 32767 | 32767 | true | 0.98 | false | known |
        | app | public | sinking | public | sinking | id | int4 | -2100000000 | -2147483648 | 2147483647 | false | 0.98 | false | known |
        | app | public | few | public | capped | id | int4 | 99 | 100 | 2147483647 | true | 0.99 | false | known |",
        expect![[r#"
            In app, if the column that stores its numbers is large enough: `ALTER SEQUENCE "public"."falling" AS bigint NO MINVALUE;`.
            In app, as the owner of the table, at a time when it may be locked while it is rewritten: `ALTER TABLE "sales"."tickets" ALTER COLUMN "id" TYPE bigint;` and `ALTER SEQUENCE "public"."tickets" AS bigint NO MAXVALUE;`. Columns that refer to it end as early and need the same; views that read it have to be dropped before and created again. If it may not be locked that long: a new bigint column, filled in batches by a trigger, then swapped.
            In app, as the owner of the table, at a time when it may be locked while it is rewritten: `ALTER TABLE "public"."sinking" ALTER COLUMN "id" TYPE bigint;` and `ALTER SEQUENCE "public"."sinking" AS bigint NO MINVALUE;`. Columns that refer to it end as early and need the same; views that read it have to be dropped before and created again. If it may not be locked that long: a new bigint column, filled in batches by a trigger, then swapped.
            In app: `ALTER SEQUENCE "public"."few" AS bigint NO MAXVALUE;`.
        "#]],
    );
}

#[test]
fn a_lock_is_freed_by_a_statement_that_suits_its_holder() {
    check_fixes(
        "relation-locked",
        "
        tables present
        pharos_postgres_tables{datname=\"app\"} 4
        table locked_relations
        | datname text | schema text | relation text | mode text | state text | pid integer | user text | session_state text | backend_start float | prepared text |
        | app | public | idle | AccessExclusiveLock | waiting | 9 | web | active | 1700000000.5 | - |
        | app | public | idle | AccessExclusiveLock | held | 11 | web | idle in transaction (aborted) | 1700000000.5 | - |
        | app | public | busy | AccessExclusiveLock | held | 12 | web | active | 1700000000.5 | - |
        | app | public | prepared | AccessExclusiveLock | held | - | - | - | - | it's mine |",
        expect![[r#"
            End the idle session that holds it: `BEGIN; SET LOCAL search_path = pg_catalog; SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE pid = 11 AND backend_start = '2023-11-14 22:13:20.500000+00'; COMMIT;`. Give schema changes `SET lock_timeout = '2s';`.
            Let it finish, or cancel it: `BEGIN; SET LOCAL search_path = pg_catalog; SELECT pg_cancel_backend(pid) FROM pg_stat_activity WHERE pid = 12 AND backend_start = '2023-11-14 22:13:20.500000+00'; COMMIT;`. If it is idle in transaction by now: `BEGIN; SET LOCAL search_path = pg_catalog; SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE pid = 12 AND backend_start = '2023-11-14 22:13:20.500000+00'; COMMIT;`. Give schema changes `SET lock_timeout = '2s';`.
            Ask the transaction manager how it's mine ended; if it has no record of it: in app, `ROLLBACK PREPARED 'it''s mine';`. Give schema changes `SET lock_timeout = '2s';`.
        "#]],
    );
}

const OVERDUE: &str = "
    database present
    pharos_postgres_xid_age_transactions{datname=\"app\"} 230000000
    pharos_postgres_multixact_age_transactions{datname=\"app\"} 3
    autovacuum present
    pharos_postgres_autovacuum_freeze_max_age_transactions 200000000
    pharos_postgres_autovacuum_multixact_freeze_max_age_transactions 400000000
    tables present";

#[test]
fn the_obstacle_to_freezing_is_named_and_younger_ones_are_not() {
    let oldest = |kind: &str| {
        format!(
            "{OVERDUE}
        table tables
        | datname text | schema text | relation text | xid_age integer | multixact_age integer |
        | app | pg_catalog | pg_proc | 1000 | 1 |
        table oldest_relations
        | datname text | schema text | relation text | kind text | xid_age integer | multixact_age integer | is_orphaned boolean | pid integer | user text | backend_start float |
        {kind}
        | shop | public | orders | table | 230000000 | 1 | false | - | - | - |"
        )
    };
    for (row, expected) in [
        (
            "| app | pg_temp_3 | basket | temporary | 230000000 | 1 | false | 11 | web | 1700000000.5 |",
            expect![[r#"
                Let its application drop "pg_temp_3"."basket", or end the session: `BEGIN; SET LOCAL search_path = pg_catalog; SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE pid = 11 AND backend_start = '2023-11-14 22:13:20.500000+00'; COMMIT;`. The next vacuum in app shows the new age.
            "#]],
        ),
        (
            "| app | pg_temp_3 | basket | temporary | 230000000 | 1 | false | - | - | - |",
            expect![[r#"
                Close the session that created "pg_temp_3"."basket"; it is one of the oldest: `BEGIN; SET LOCAL search_path = pg_catalog; SELECT pid, usename, application_name, backend_start FROM pg_stat_activity WHERE datname = 'app' ORDER BY backend_start; COMMIT;`. The next vacuum in app shows the new age.
            "#]],
        ),
        (
            "| app | pg_temp_3 | basket | temporary | 230000000 | 1 | true | - | - | - |",
            expect![[r#"
            As superuser, in app: `DROP TABLE "pg_temp_3"."basket";`. The next vacuum there shows the new age.
        "#]],
        ),
        (
            "| app | pg_catalog | pg_authid | shared | 230000000 | 1 | false | - | - | - |",
            expect![[r#"
            In app, beginning with the oldest table: `VACUUM (FREEZE, VERBOSE) "pg_catalog"."pg_authid";`.
        "#]],
        ),
        (
            "",
            expect![[r#"
                In app: `BEGIN; SET LOCAL search_path = pg_catalog; SELECT oid::regclass, relkind, age(relfrozenxid) FROM pg_class WHERE relkind IN ('r', 'm', 't') ORDER BY 3 DESC LIMIT 10; COMMIT;` shows the oldest tables. Only its session can drop a table of pg_temp; for the others run `VACUUM (FREEZE, VERBOSE) <table>;`.
            "#]],
        ),
    ] {
        check_fixes("freeze-overdue", &oldest(row), expected);
    }
    let holder = |age: u64| {
        format!(
            "{}
        horizon present
        table horizon
        | holder text | name text | pid integer | datname text | user text | state text | age_transactions integer | seconds float | backend_start float |
        | backend | - | 12 | app | report | active | {age} | 9000 | 1700000000.5 |",
            oldest("| app | public | orders | table | 230000000 | 1 | false | - | - | - |")
        )
    };
    check_fixes(
        "freeze-overdue",
        &holder(2_000_000),
        expect![[r#"
        In app, beginning with the oldest table: `VACUUM (FREEZE, VERBOSE) "public"."orders";`.
    "#]],
    );
    check_fixes(
        "freeze-overdue",
        &holder(229_000_000),
        expect![[r#"
            First: `BEGIN; SET LOCAL search_path = pg_catalog; SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE pid = 12 AND backend_start = '2023-11-14 22:13:20.500000+00'; COMMIT;`. To prevent a repetition: `ALTER ROLE "report" SET idle_in_transaction_session_timeout = '5min';`. In app, beginning with the oldest table: `VACUUM (FREEZE, VERBOSE) "public"."orders";`.
        "#]],
    );
    check(
        "freeze-overdue",
        OVERDUE,
        expect![[r#"
            freeze-overdue{datname=app,counter=xid}: raise warning: freezing transaction ids of app is overdue
        "#]],
    );
}
