//! Transaction ids, checksums, caches, temporary files.

use expect_test::expect;

use super::{check, check_words};

#[test]
fn both_id_counters_are_watched_for_wraparound() {
    let facts = r#"
        database present
        pharos_postgres_xid_age_transactions{datname="app"} 1200000000
        pharos_postgres_xid_age_transactions{datname="shop"} 190000000
        pharos_postgres_multixact_age_transactions{datname="app"} 600000000
    "#;
    check(
        "wraparound-risk",
        facts,
        expect![[r#"
        wraparound-risk{datname=app,counter=xid}: raise critical: oldest transaction id in app is 1.2 G old
        wraparound-risk{datname=app,counter=multixact}: raise warning: oldest multixact id in app is 600 M old
    "#]],
    );
    check_words(
        "wraparound-risk",
        facts,
        expect![[r#"
        oldest transaction id in app is 1.2 G old
        Database app has not frozen its oldest transaction id for 1.2 G transactions, 55.9 % of what there is. Shortly before the end PostgreSQL refuses all writes.
        - used of the id space: 55.9 %
    "#]],
    );
}

#[test]
fn a_low_hit_ratio_counts_only_with_traffic() {
    let facts = r#"
        database present
        pharos_postgres_blocks_hit_total{datname="app"} 9 rate 9000
        pharos_postgres_blocks_hit_total{datname="idle"} 9 rate 10
        pharos_postgres_blocks_read_total{datname="app"} 9 rate 1000
        pharos_postgres_blocks_read_total{datname="idle"} 9 rate 90
    "#;
    check(
        "cache-hit-low",
        facts,
        expect![[r#"
        cache-hit-low{datname=app}: raise warning: cache hit ratio of app is 90 %
    "#]],
    );
}

#[test]
fn a_checksum_failure_is_critical_from_the_first() {
    let facts = r#"
        database present
        pharos_postgres_checksum_failures_total{datname="app"} 1
        pharos_postgres_checksum_failures_total{datname="shop"} 0
    "#;
    check(
        "checksum-failure",
        facts,
        expect![[r#"
            checksum-failure{datname=app}: raise critical: data pages of app are corrupt
        "#]],
    );
}

#[test]
fn temporary_files_are_graded_by_bytes_a_second() {
    let facts = r#"
        database present
        pharos_postgres_temp_bytes_total{datname="app"} 9 rate 20971520
        statements present
        pharos_postgres_statement_temp_blocks_written_total{datname="app",user="web",fingerprint="1a2b"} 9 rate 2560
    "#;
    check(
        "temp-file-spill",
        facts,
        expect![[r#"
        temp-file-spill{datname=app}: raise warning: app spills 20 MiB/s to temporary files
    "#]],
    );
    check_words(
        "temp-file-spill",
        facts,
        expect![[r#"
        app spills 20 MiB/s to temporary files
        Sorts, hashes and the like in app do not fit into work_mem and write 20 MiB a second to disk.
        - app, web, 1a2b: 2560 blocks/s
    "#]],
    );
}
