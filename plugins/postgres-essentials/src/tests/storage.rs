//! Tests of the checks of storage.

use expect_test::expect;

use super::{check, check_texts};

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
fn a_crash_that_deletes_the_count_of_failures_resolves_no_alert() {
    let facts = r#"
        database present
        pharos_postgres_checksum_failures_total{datname="app"} 0
        pharos_postgres_checksum_failures_total{datname="shop"} 1
        table lost_counters
        | metric text | datname text | counted float |
        | pharos_postgres_checksum_failures_total | app | 3 |
        | pharos_postgres_checksum_failures_total | shop | 7 |
        | pharos_postgres_checksum_failures_total | folded | 2 |
    "#;
    check(
        "checksum-failure",
        facts,
        expect![[r#"
            checksum-failure{datname=app}: raise critical: data pages of app are corrupt
            checksum-failure{datname=shop}: raise critical: data pages of shop are corrupt
            checksum-failure{datname=folded}: raise critical: data pages of folded are corrupt
        "#]],
    );
    check_texts(
        "checksum-failure",
        facts,
        expect![[r#"
            data pages of app are corrupt
            Checksum failures in app before a crash deleted its statistics, which repairs no page: 3. What is on disk is not what was written.
            > A failing disk, controller or memory, or storage that confirms an fsync before the data is on disk.
            > Fail over to a standby with healthy disks, keep the broken data directory, and restore lost data from a backup. The server's log names file and block; `BEGIN; SET LOCAL search_path = pg_catalog; SELECT * FROM pg_stat_database; COMMIT;` the time of the last failure. After the repair, `SELECT pg_catalog.pg_stat_reset();` in the database ends this alert.
        "#]],
    );
}

#[test]
fn a_count_of_no_failures_is_skipped_while_the_earlier_count_is_unknown() {
    check(
        "checksum-failure",
        r#"
        database present
        pharos_postgres_checksum_failures_total{datname="app"} 0
        pharos_postgres_checksum_failures_total{datname="shop"} 1
        table lost_counters
        | metric text | datname text | counted float |
        | pharos_postgres_checksum_failures_total | - | - |
    "#,
        expect![[r#"
            checksum-failure{datname=shop}: raise critical: data pages of shop are corrupt
            checksum-failure: skipped: the count from before the start of the agent is not loaded yet: its store has not answered
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
    check_texts(
        "temp-file-spill",
        facts,
        expect![[r#"
            app spills 20 MiB/s to temporary files
            Sorts, hashes and the like in app do not fit into work_mem and write 20 MiB a second to disk.
            > work_mem is too small for what the statements sort or hash, or an index that would avoid the sort is missing.
            > Let the server log the statements: `ALTER SYSTEM SET log_temp_files = '10MB'; SELECT pg_catalog.pg_reload_conf();`. Then raise work_mem where it is needed, not for all roles: `ALTER ROLE <role> SET work_mem = '256MB';`.
            - app, web, 1a2b: 2560 blocks/s
        "#]],
    );
}

#[test]
fn temporary_files_raise_an_alert_before_they_fill_the_disk() {
    check(
        "temporary-files-large",
        "sizes present\npharos_postgres_temporary_files_size_bytes 32212254720",
        expect![[r#"
        temporary-files-large: raise warning: temporary files take 30 GiB
    "#]],
    );
    check("temporary-files-large", "sizes present\npharos_postgres_temporary_files_size_bytes 1048576", expect![[""]]);
}

#[test]
fn a_cluster_without_checksums_is_an_info() {
    check(
        "checksums-off",
        "database present\npharos_postgres_checksums_enabled 0",
        expect![[r#"
        checksums-off: raise info: data pages have no checksums
    "#]],
    );
    check("checksums-off", "database present\npharos_postgres_checksums_enabled 1", expect![[""]]);
}
