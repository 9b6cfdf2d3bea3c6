//! Tests of the checks of bloat.

use expect_test::expect;
use pharos_plugin::testing::Facts;

use super::{check, check_texts, judge};

const TABLES: &str = "
    visits present
    table visits
    | collector text | datname text | state text | why text |
    | tables | old | unsupported | no connections are allowed |
    tables present
    pharos_postgres_tables{datname=\"app\"} 4
    table tables
    | datname text | schema text | relation text | size_bytes integer | bloat_bytes integer | bloat_ratio float | bloat_state text | bloat_cure text |
    | app | public | orders | 20000000000 | 12000000000 | 0.6 | estimated | - |
    | app | public | events | 3000000000 | 1800000000 | 0.6 | estimated | - |
    | app | public | small | 900000 | 800000 | 0.9 | estimated | - |
    | app | public | fine | 90000000000 | 9000000000 | 0.1 | estimated | - |
    | app | public | loaded | 90000000000 | - | - | no-statistics | - |
    | shop | public | orders | 90000000000 | - | - | not-estimable | GRANT SELECT ON pg_catalog.pg_statistic TO pharos |
    | shop | public | users | 90000000000 | - | - | not-estimable | GRANT SELECT ON pg_catalog.pg_statistic TO pharos |
";

#[test]
fn a_table_is_bloated_by_share_and_by_size_and_a_missing_estimate_is_skipped() {
    check(
        "table-bloat",
        TABLES,
        expect![[r#"
        table-bloat{datname=app,schema=public,relation=orders}: raise critical: 60 % of public.orders of app is empty
        table-bloat{datname=app,schema=public,relation=events}: raise warning: 60 % of public.events of app is empty
        table-bloat{datname=old}: skipped: tables of old could not be read: no connections are allowed
        table-bloat{datname=shop}: skipped: bloat in shop cannot be estimated: the role may not read statistics; as superuser, GRANT SELECT ON pg_catalog.pg_statistic TO pharos
        table-bloat{datname=app,schema=public,relation=loaded}: skipped: it was never analysed, so its bloat cannot be estimated
    "#]],
    );
    check_texts(
        "table-bloat",
        TABLES,
        expect![[r#"
            60 % of public.orders of app is empty
            About 60 % of table public.orders of app holds no rows, by an estimate from statistics. The empty space is still read and cached.
            > Rows were deleted or updated faster than vacuum removed them, or while something held vacuum back. Vacuum frees the space for new rows, but does not return it to the disk.
            > If the table will not fill the empty space: at a time when the table is not in use, in app: `VACUUM (FULL, ANALYZE) "public"."orders";`. Let vacuum start sooner: `ALTER TABLE "public"."orders" SET (autovacuum_vacuum_scale_factor = 0.02);`. The extension pg_repack does it while the table is in use, but runs functions of the owner's indexes with the rights of its caller: do not call it as superuser if the owner is not trusted.
            - empty: 11.2 GiB
            - size: 18.6 GiB
            - primary: db1:5432
        "#]],
    );
}

/// A fix names exactly the table that was read, in its statements and in its text.
#[test]
fn a_name_with_hidden_characters_is_not_printed_as_another_name() {
    let facts = TABLES.replace("| app | public | orders |", "| sh\u{61c}op | public | or\u{61c}ders |");
    let fix = judge("table-bloat", &Facts::postgres(&facts)).findings[0].fix.clone().unwrap_or_default();
    assert!(fix.contains(r#"VACUUM (FULL, ANALYZE) "public".U&"or\061Cders";"#), "{fix}");
    assert!(fix.contains("in sh<U+061C>op") && !fix.contains('\u{61c}'), "{fix}");
}

#[test]
fn an_index_is_bloated_by_share_and_by_size() {
    let facts = "
        indexes present
        pharos_postgres_indexes{datname=\"app\"} 3
        table indexes
        | datname text | schema text | relation text | index text | size_bytes integer | bloat_bytes integer | bloat_ratio float | bloat_state text |
        | app | public | orders | orders_pkey | 800000000 | 500000000 | 0.62 | estimated |
        | app | public | orders | orders_note | 800000000 | 360000000 | 0.45 | estimated |
        | app | public | users | users_pkey | 80000 | 70000 | 0.9 | estimated |
    ";
    check(
        "index-bloat",
        facts,
        expect![[r#"
        index-bloat{datname=app,schema=public,relation=orders,index=orders_pkey}: raise warning: 62 % of index orders_pkey of app is empty
        index-bloat{datname=app,schema=public,relation=orders,index=orders_note}: hold warning: 45 % of index orders_note of app is empty
    "#]],
    );
    check_texts(
        "index-bloat",
        facts,
        expect![[r#"
            62 % of index orders_pkey of app is empty
            About 62 % of index orders_pkey on orders of app holds no entries, by an estimate from statistics.
            > Many entries were removed, or keys were changed, in random order. Pages that are not completely empty are not freed.
            > In app: `REINDEX INDEX CONCURRENTLY "public"."orders_pkey";`, which needs its size on disk once more.
            - empty: 477 MiB
            - size: 763 MiB
            - primary: db1:5432
        "#]],
    );
}
