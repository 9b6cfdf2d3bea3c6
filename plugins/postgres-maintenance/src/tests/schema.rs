//! Tests of the checks of indexes, schemas, sequences and visits.

use expect_test::expect;
use pharos_plugin::testing::{Facts, render};

use super::{check, check_texts, finding_text, judge};

const FACTS: &str = "
    visits present
    pharos_postgres_datname_visited{datname=\"app\"} 1
    pharos_postgres_datname_visited{datname=\"secret\"} 0
    table visits
    | collector text | datname text | state text | why text |
    | indexes | secret | failed | permission denied for database |
    | tables | secret | failed | permission denied for database |
    indexes present
    pharos_postgres_indexes{datname=\"app\"} 9
    table index_facts
    | datname text | schema text | relation text | index text | fact text | other text | size_bytes integer | scans integer | evidence text | guard text |
    | app | public | orders | orders_bad | invalid | - | 90000000 | 0 | indisvalid is false | - |
    | app | public | orders | orders_a2 | duplicate | orders_a | 90000000 | 5 | the same columns (a) | - |
    | app | public | orders | orders_a3 | duplicate | orders_a | 90000 | 5 | the same columns (a) | - |
    | app | public | orders | orders_a | redundant | orders_a_b | 90000000 | 7 | (a) begins (a, b) | - |
    | app | public | orders | orders_u | redundant | orders_u_v | 90000000 | 7 | (u) begins (u, v) | it is unique |
    table schema_facts
    | datname text | schema text | relation text | fact text | name text | columns text | column_list text | size_bytes integer | rows float | evidence text | free_column text |
    | app | public | orders | foreign-key-without-index | orders_user_fkey | user_id, Region | user_id, \"Region\" | 90000000 | 100000 | no index begins with (user_id, Region) | - |
    | app | public | tags | foreign-key-without-index | tags_fkey | tag | tag | 9000 | 10 | no index begins with (tag) | - |
    | app | public | log | no-primary-key | - | - | - | 90000000 | 100000 | no primary key | id |
    | app | public | events | sequential-scans | - | - | - | 9000000000 | 9000000 | 900 of 910 scans | - |
";

#[test]
fn an_index_that_failed_to_build_is_a_warning() {
    check(
        "index-invalid",
        FACTS,
        expect![[r#"
        index-invalid{datname=app,schema=public,relation=orders,index=orders_bad}: raise warning: index orders_bad of app is invalid
        index-invalid{datname=secret}: skipped: indexes of secret could not be read: permission denied for database
    "#]],
    );
    check_texts(
        "index-invalid",
        FACTS,
        expect![[r#"
            index orders_bad of app is invalid
            No query may use index orders_bad on orders of app, while writes may keep it up to date.
            > `CREATE INDEX CONCURRENTLY` or `REINDEX CONCURRENTLY` failed or was cancelled and left it behind.
            > In app: `REINDEX INDEX CONCURRENTLY "public"."orders_bad";` if it is wanted, else `DROP INDEX CONCURRENTLY "public"."orders_bad";`.
            - why: indisvalid is false
            - size: 85.8 MiB
            - scans: 0
            - primary: db1:5432
        "#]],
    );
}

#[test]
fn the_index_of_a_partitioned_table_is_as_large_as_those_of_its_partitions() {
    let facts = "indexes present
        pharos_postgres_indexes{datname=\"app\"} 9
        table index_facts
        | datname text | schema text | relation text | index text | fact text | other text | size_bytes integer | partitions_size_bytes integer | scans integer | evidence text | guard text |
        | app | public | parts | parts_a2 | duplicate | parts_a | - | 90000000 | - | the same columns (a) | - |
        | app | public | parts | parts_small | duplicate | parts_a | - | 9000 | - | the same columns (a) | - |";
    check(
        "index-duplicate",
        facts,
        expect![[r#"
        index-duplicate{datname=app,schema=public,relation=parts,index=parts_a2}: raise info: index parts_a2 of app is the same as parts_a
    "#]],
    );
    check_texts(
        "index-duplicate",
        facts,
        expect![[r#"
        index parts_a2 of app is the same as parts_a
        Index parts_a2 on parts has the same columns, order and condition as parts_a. Every write pays for both.
        > It was created twice, or once by hand and once by a constraint.
        > In app, where all partitions may be locked for a moment: `SET lock_timeout = '2s'; DROP INDEX "public"."parts_a2";`.
        - why: the same columns (a)
        - size in all partitions: 85.8 MiB
        - primary: db1:5432
    "#]],
    );
}

#[test]
fn an_index_that_a_session_drops_is_reported_and_an_index_in_creation_is_skipped() {
    let facts = |waits: &str| {
        format!(
            "indexes present
            pharos_postgres_indexes{{datname=\"app\"}} 9
            table index_facts
            | datname text | schema text | relation text | index text | fact text | dropper_pid integer | dropper_user text | dropper_waits boolean |
            | app | public | orders | orders_bad | invalid | 4711 | alice | {waits} |
            table unjudged_indexes
            | list text | respect text | datname text | schema text | relation text | index text | greatest float | why text |
            | index_facts | invalid | app | public | orders | orders_new | - | a session is making the index now |"
        )
    };
    check(
        "index-invalid",
        &facts("true"),
        expect![[r#"
            index-invalid{datname=app,schema=public,relation=orders,index=orders_bad}: raise warning: index orders_bad of app is invalid
            index-invalid{datname=app,schema=public,relation=orders,index=orders_new}: skipped: a session is making the index now
        "#]],
    );
    check_texts(
        "index-invalid",
        &facts("true"),
        expect![[r#"
        index orders_bad of app is invalid
        No query may use index orders_bad on orders of app, while writes may keep it up to date.
        > Process 4711 (alice) drops or changes the index, and waits: DROP INDEX CONCURRENTLY waits for every older transaction that may still use the index.
        > In app: `BEGIN; SET LOCAL search_path = pg_catalog; SELECT pid, usename, state, xact_start FROM pg_stat_activity WHERE pid = ANY (pg_blocking_pids(4711)); COMMIT;` names who it waits for. Let them finish, or end who does nothing: `SELECT pg_catalog.pg_terminate_backend(<pid>);`.
        - primary: db1:5432
    "#]],
    );
    check_texts(
        "index-invalid",
        &facts("false"),
        expect![[r#"
        index orders_bad of app is invalid
        No query may use index orders_bad on orders of app, while writes may keep it up to date.
        > Process 4711 (alice) drops or changes the index in a transaction that stays open.
        > In app: let it finish. If it waits, `BEGIN; SET LOCAL search_path = pg_catalog; SELECT pid, usename, state, xact_start FROM pg_stat_activity WHERE pid = ANY (pg_blocking_pids(4711)); COMMIT;` names who it waits for. Let them finish, or end who does nothing: `SELECT pg_catalog.pg_terminate_backend(<pid>);`. If it does nothing: `BEGIN; SET LOCAL search_path = pg_catalog; SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE pid = 4711; COMMIT;`.
        - primary: db1:5432
    "#]],
    );
}

#[test]
fn statistics_that_are_too_young_after_a_reset_are_skipped() {
    let facts = "indexes present
        pharos_postgres_indexes{datname=\"app\"} 9
        table schema_facts
        | datname text | schema text | relation text | fact text |
        table unjudged_indexes
        | list text | respect text | datname text | schema text | relation text | index text | greatest float | why text |
        | schema_facts | sequential-scans | app | public | events | - | - | it was scanned too little |
        | schema_facts | foreign-key-without-index | app | - | - | - | 900 | 3 more |
        | schema_facts | foreign-key-without-index | shop | - | - | - | 90000000 | 3 more |";
    check(
        "sequential-scans",
        facts,
        expect![[r#"
            sequential-scans{datname=app,schema=public,relation=events}: skipped: it was scanned too little
        "#]],
    );
    check(
        "foreign-key-without-index",
        facts,
        expect![[r#"
            foreign-key-without-index{datname=shop}: skipped: 3 more
        "#]],
    );
}

#[test]
fn replaceable_indexes_are_reported_unless_they_are_guarded() {
    check(
        "index-duplicate",
        FACTS,
        expect![[r#"
        index-duplicate{datname=app,schema=public,relation=orders,index=orders_a2}: raise info: index orders_a2 of app is the same as orders_a
        index-duplicate{datname=secret}: skipped: indexes of secret could not be read: permission denied for database
    "#]],
    );
    check_texts(
        "index-duplicate",
        FACTS,
        expect![[r#"
            index orders_a2 of app is the same as orders_a
            Index orders_a2 on orders has the same columns, order and condition as orders_a. Every write pays for both.
            > It was created twice, or once by hand and once by a constraint.
            > In app: `DROP INDEX CONCURRENTLY "public"."orders_a2";`.
            - why: the same columns (a)
            - size: 85.8 MiB
            - scans: 5
            - primary: db1:5432
        "#]],
    );
    check(
        "index-redundant",
        FACTS,
        expect![[r#"
        index-redundant{datname=app,schema=public,relation=orders,index=orders_a}: raise info: index orders_a of app is covered by orders_a_b
        index-redundant{datname=secret}: skipped: indexes of secret could not be read: permission denied for database
    "#]],
    );
    check_texts(
        "index-redundant",
        FACTS,
        expect![[r#"
            index orders_a of app is covered by orders_a_b
            Index orders_a_b on orders begins with all columns of orders_a, so it answers the same queries. orders_a is smaller, and costs every write.
            > An index with more columns was added later and the shorter one stayed.
            > In app: `DROP INDEX CONCURRENTLY "public"."orders_a";`, unless queries that must be fast read orders_a alone.
            - why: (a) begins (a, b)
            - size: 85.8 MiB
            - scans: 7
            - primary: db1:5432
        "#]],
    );
}

#[test]
fn an_index_is_unused_when_every_server_was_asked_for_long_enough() {
    let facts = Facts::database(
        "
        indexes present
        pharos_database_unused_indexes 4
        table unused_indexes
        | datname text | schema text | relation text | index text | size_bytes integer | scans integer | members_asked integer | members_total integer | stats_age_seconds float | is_too_young boolean |
        | app | public | orders | orders_note | 90000000 | 0 | 2 | 2 | 9000 | false |
        | app | public | orders | orders_tiny | 9000 | 0 | 2 | 2 | 900000 | false |
        | shop | public | orders | orders_note | 90000000 | 0 | 1 | 2 | 900000 | false |
        | new | public | orders | orders_note | 90000000 | 0 | 2 | 2 | 900000 | true |
        | ages | public | orders | orders_note | 90000000 | 0 | 2 | 2 | - | false |",
        &[("db1:5432", ""), ("db2:5432", "")],
    );
    let report = judge("index-unused", &facts);
    expect![[r#"
        index-unused{datname=app,schema=public,relation=orders,index=orders_note}: raise info: index orders_note of app is not used by any server
        index-unused{datname=shop,schema=public,relation=orders,index=orders_note}: skipped: not every server could be read
        index-unused{datname=new,schema=public,relation=orders,index=orders_note}: skipped: its scans are counted for less than collect.unused_after, or the start of the count is unknown
        index-unused{datname=ages,schema=public,relation=orders,index=orders_note}: skipped: its scans are counted for less than collect.unused_after, or the start of the count is unknown
    "#]].assert_eq(&render(&report));
    expect![[r#"
        index orders_note of app is not used by any server
        Index orders_note on orders of app takes 85.8 MiB and was not scanned on any server since its statistics began. Every write pays for it.
        > The query that needed it is gone, or never used it.
        > Keep its definition: in app, `SELECT pg_catalog.pg_get_indexdef('"public"."orders_note"'::pg_catalog.regclass);`. In app: `DROP INDEX CONCURRENTLY "public"."orders_note";`, if no yearly report needs it.
        - scans: 0
        - servers asked: 2
        - statistics since: 2 h 30 min ago
    "#]].assert_eq(&finding_text(&report.findings[0]));
}

#[test]
fn a_missing_key_or_index_is_an_info() {
    check(
        "foreign-key-without-index",
        FACTS,
        expect![[r#"
        foreign-key-without-index{datname=app,schema=public,relation=orders,name=orders_user_fkey}: raise info: foreign key orders_user_fkey of public.orders has no index
        foreign-key-without-index{datname=secret}: skipped: indexes of secret could not be read: permission denied for database
    "#]],
    );
    check_texts(
        "foreign-key-without-index",
        FACTS,
        expect![[r#"
            foreign key orders_user_fkey of public.orders has no index
            No index of public.orders of app begins with the columns of foreign key orders_user_fkey. Each delete or change of a key in the table it refers to reads all of public.orders, with locks held.
            > PostgreSQL makes an index for a primary key, but not for a foreign key.
            > In app: `CREATE INDEX CONCURRENTLY ON "public"."orders" (user_id, "Region");`.
            - why: no index begins with (user_id, Region)
            - size: 85.8 MiB
            - rows: 100 k
            - primary: db1:5432
        "#]],
    );
    check(
        "no-primary-key",
        FACTS,
        expect![[r#"
        no-primary-key{datname=app,schema=public,relation=log}: raise info: public.log of app has no primary key
        no-primary-key{datname=secret}: skipped: indexes of secret could not be read: permission denied for database
    "#]],
    );
    check_texts(
        "no-primary-key",
        FACTS,
        expect![[r#"
            public.log of app has no primary key
            Rows of public.log cannot be distinguished: logical replication cannot copy their updates and deletes, and tools that rewrite a table in use cannot process it.
            > The table was created without a primary key.
            > In app, if no column will do: `ALTER TABLE "public"."log" ADD COLUMN "id" bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY;`, which rewrites the table under a lock.
            - why: no primary key
            - size: 85.8 MiB
            - rows: 100 k
            - primary: db1:5432
        "#]],
    );
    check(
        "sequential-scans",
        FACTS,
        expect![[r#"
        sequential-scans{datname=app,schema=public,relation=events}: raise info: public.events of app is mostly read as a whole
        sequential-scans{datname=secret}: skipped: indexes of secret could not be read: permission denied for database
    "#]],
    );
    check_texts(
        "sequential-scans",
        FACTS,
        expect![[r#"
            public.events of app is mostly read as a whole
            Most reads of public.events of app read all of its rows, and the table is large. This alert ends once most reads of the last hour use an index, or no read goes over the whole table.
            > An index on the columns that its queries filter by is missing, or they cannot use it: a function around the column, another type.
            > See which statements of app read it, in `/api/database/slow-queries?threshold=10ms` or pg_stat_statements, then `EXPLAIN` those on public.events, as the role that runs them and never as superuser, since EXPLAIN runs functions of their authors; index what they filter by.
            - why: 900 of 910 scans
            - size: 8.38 GiB
            - rows: 9 M
            - primary: db1:5432
        "#]],
    );
}

const SEQUENCES: &str = "
    sequences present
    pharos_postgres_sequences{datname=\"app\"} 6
    table sequences
    | datname text | schema text | sequence text | relation text | column text | column_type text | last_value integer | max_value integer | used_ratio float | cycles boolean | state text |
    | app | public | orders_id_seq | orders | id | int4 | 2080374784 | 2147483647 | 0.97 | false | known |
    | app | public | tickets | - | - | - | 85 | 100 | 0.85 | false | known |
    | app | public | ring | - | - | - | 99 | 100 | 0.99 | true | known |
    | app | public | unused | - | - | - | - | 100 | - | false | never-used |
    | app | public | passing | - | - | - | - | 100 | - | false | unlogged |
    | app | public | hidden | - | - | - | - | 100 | - | false | no-privilege |
    | app | public | waiting | - | - | - | - | 100 | - | false | not-asked |
    | app | public | changing | - | - | - | - | 100 | - | false | locked |
";

#[test]
fn a_sequence_is_judged_by_the_remaining_numbers_of_it_or_of_its_column() {
    check(
        "sequence-exhausted",
        SEQUENCES,
        expect![[r#"
            sequence-exhausted{datname=app,schema=public,sequence=orders_id_seq}: raise critical: sequence orders_id_seq of app has used 97 %
            sequence-exhausted{datname=app,schema=public,sequence=tickets}: raise warning: sequence tickets of app has used 85 %
            sequence-exhausted{datname=app,schema=public,sequence=hidden}: skipped: its value is hidden from the role: in app, GRANT SELECT ON SEQUENCE "public"."hidden" TO <role>
            sequence-exhausted{datname=app,schema=public,sequence=waiting}: skipped: there are so many sequences that it was not read yet
            sequence-exhausted{datname=app,schema=public,sequence=changing}: skipped: a session is changing it, so its value was not read
        "#]],
    );
    check_texts(
        "sequence-exhausted",
        SEQUENCES,
        expect![[r#"
            sequence orders_id_seq of app has used 97 %
            97 % of the numbers that sequence orders_id_seq of app can give orders.id are used. After the last one every insert fails.
            > Its own limit is low, or numbers are drawn and not stored: rolled back inserts, `ON CONFLICT`, caches.
            > In app: `ALTER SEQUENCE "public"."orders_id_seq" AS bigint NO MAXVALUE;`.
            - last value: 2080374784
            - last possible: 2147483647
            - primary: db1:5432
        "#]],
    );
}

#[test]
fn unread_datnames_and_unreadable_sequences_are_reported() {
    check(
        "datname-not-visited",
        FACTS,
        expect![[r#"
        datname-not-visited{datname=secret}: raise info: tables and indexes of secret are not watched
    "#]],
    );
    check_texts(
        "datname-not-visited",
        FACTS,
        expect![[r#"
            tables and indexes of secret are not watched
            Pharos could not read database secret. The state of its tables, indexes, sequences and extensions is unknown.
            > A read in this database fails; the evidence has the server's error message.
            > `pharos doctor` says what is missing; if this is intended, `except = { datname = ["secret"] }` of this check.
            - db1:5432, indexes: permission denied for database
        "#]],
    );
    let locked = "
        tables present
        pharos_postgres_tables{datname=\"app\"} 4
        table locked_relations
        | datname text | schema text | relation text | mode text | state text |
        | app | public | orders | AccessExclusiveLock | held |
        | app | public | orders | AccessExclusiveLock | waiting |";
    check(
        "relation-locked",
        locked,
        expect![[r#"
        relation-locked{datname=app,schema=public,relation=orders}: raise info: public.orders of app is locked
    "#]],
    );
    check_texts(
        "relation-locked",
        locked,
        expect![[r#"
            public.orders of app is locked
            An AccessExclusiveLock on public.orders of app was held or waited for at each visit, so no client can use the table, and its exact size is not read.
            > A schema change, `VACUUM FULL`, `CLUSTER` or `TRUNCATE` in a transaction that stays open, or one that waits behind a long query.
            > In app: `BEGIN; SET LOCAL search_path = pg_catalog; SELECT pid, mode, granted, pg_blocking_pids(pid) FROM pg_locks WHERE relation = '"public"."orders"'::regclass; COMMIT;`, then `SELECT pg_catalog.pg_terminate_backend(<pid>);` of the session that holds it. Give schema changes `SET lock_timeout = '2s';`.
            - AccessExclusiveLock: held
            - AccessExclusiveLock: waiting
            - primary: db1:5432
        "#]],
    );
}

/// Facts about a database with the datname `broken`, which the primary could not read for this reason.
fn unvisited(reason: &str, why: &str) -> Facts {
    let server = |visited: u8, role: u8| {
        let failed = format!("| tables | broken | unsupported | {reason} | {why} |\n| indexes | broken | unsupported | {reason} | {why} |");
        format!(
            "server present
            pharos_postgres_in_recovery {role}
            visits present
            pharos_postgres_datname_visited{{datname=\"broken\"}} {visited}
            pharos_postgres_datname_visited{{datname=\"app\"}} 1
            table visits
            | collector text | datname text | state text | reason text | why text |
            | tables | app | ok | - | - |
            {}",
            if visited == 0 { failed.as_str() } else { "" }
        )
    };
    let topology = "topology present\npharos_database_members 2";
    Facts::database(topology, &[("db2:5432", &server(1, 1)), ("db1:5432", &server(0, 0))])
}

#[test]
fn an_unread_datname_is_reported_once_with_the_reason_of_its_server() {
    let alert_text = |reason: &str, why: &str| finding_text(&judge("datname-not-visited", &unvisited(reason, why)).findings[0]);
    expect![[r#"
        tables and indexes of broken are not watched
        Pharos could not read database broken. The state of its tables, indexes, sequences and extensions is unknown.
        > An interrupted DROP DATABASE left it behind. Its data is lost, and no client can connect to it.
        > On the primary: `DROP DATABASE "broken";`.
        - db1:5432, tables: an interrupted DROP DATABASE left it behind
    "#]]
    .assert_eq(&alert_text("datname-invalid", "an interrupted DROP DATABASE left it behind"));
    expect![[r#"
        tables and indexes of broken are not watched
        Pharos could not read database broken. The state of its tables, indexes, sequences and extensions is unknown.
        > pg_hba.conf has no line that admits the role of Pharos to this database, or a line that rejects it.
        > See `BEGIN; SET LOCAL search_path = pg_catalog; SELECT * FROM pg_hba_file_rules ORDER BY line_number; COMMIT;`: the first matching line counts. Put a line for "broken" and the role of Pharos before it, then `SELECT pg_catalog.pg_reload_conf();`; if this is intended, `except = { datname = ["broken"] }` of this check.
        - db1:5432, tables: pg_hba.conf rejects connection
    "#]].assert_eq(&alert_text("pg-hba", "pg_hba.conf rejects connection"));
    expect![[r#"
        tables and indexes of broken are not watched
        Pharos could not read database broken. The state of its tables, indexes, sequences and extensions is unknown.
        > The database has reached its CONNECTION LIMIT. A limit of 0 admits only superusers.
        > To monitor it, allow two more sessions: `ALTER DATABASE "broken" CONNECTION LIMIT <more>;`; if this is intended, `except = { datname = ["broken"] }` of this check.
        - db1:5432, tables: its CONNECTION LIMIT is 0
    "#]].assert_eq(&alert_text("datname-limit", "its CONNECTION LIMIT is 0"));
    expect![[r#"
        tables and indexes of broken are not watched
        Pharos could not read database broken. The state of its tables, indexes, sequences and extensions is unknown.
        > The role of Pharos has no privilege to connect to it.
        > As superuser: `GRANT CONNECT ON DATABASE "broken" TO <role>;`; if this is intended, `except = { datname = ["broken"] }` of this check.
        - db1:5432, tables: may not connect
    "#]].assert_eq(&alert_text("privilege", "may not connect"));
    expect![[r#"
        tables and indexes of broken are not watched
        Pharos could not read database broken. The state of its tables, indexes, sequences and extensions is unknown.
        > The role of Pharos has reached its own CONNECTION LIMIT; other clients of the server can connect.
        > Pharos needs two sessions: `ALTER ROLE <role> CONNECTION LIMIT <more>;`.
        - db1:5432, tables: too many connections for role
    "#]]
    .assert_eq(&alert_text("role-limit", "too many connections for role"));
    expect![[r#"
        tables and indexes of broken are not watched
        Pharos could not read database broken. The state of its tables, indexes, sequences and extensions is unknown.
        > A name in the database is not in the encoding that the server declares, so the server cannot return it.
        > Rename it in a session whose `client_encoding` is SQL_ASCII; if this is intended, `except = { datname = ["broken"] }` of this check.
        - db1:5432, tables: invalid byte sequence
    "#]]
    .assert_eq(&alert_text("encoding", "invalid byte sequence"));
    // The owner closed the datname on purpose.
    assert_eq!(judge("datname-not-visited", &unvisited("datname-closed", "it takes no sessions")).findings, []);
}
