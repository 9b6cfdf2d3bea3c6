//! Tests of the checks of WAL.

use expect_test::expect;

use super::{check, check_texts};

#[test]
fn requested_checkpoints_are_judged_when_one_was_requested() {
    let facts = |rate: f64| {
        format!(
            r#"
            wal present
            pharos_postgres_checkpoints_total{{kind="timed"}} 30 rate 0
            pharos_postgres_checkpoints_total{{kind="requested"}} 10 rate {rate}
        "#
        )
    };
    check(
        "checkpoints-requested",
        &facts(0.1),
        expect![[r#"
        checkpoints-requested: raise warning: 25 % of checkpoints are requested
    "#]],
    );
    check("checkpoints-requested", &facts(0.0), expect![[""]]);
    let few = facts(0.1).replace("} 30", "} 3").replace("} 10", "} 2");
    check(
        "checkpoints-requested",
        &few,
        expect![[r#"
        checkpoints-requested: skipped: 5 checkpoints since the statistics were reset are too few
    "#]],
    );
}

#[test]
fn a_checkpoint_is_overdue_only_where_there_is_something_to_write() {
    let facts = |rate: f64| {
        format!(
            "
            wal present
            pharos_postgres_checkpoint_age_seconds 1000
            pharos_postgres_checkpoint_timeout_seconds 300
            pharos_postgres_wal_bytes_total 5 rate {rate}"
        )
    };
    check(
        "checkpoint-overdue",
        &facts(1e6),
        expect![[r#"
        checkpoint-overdue: raise critical: the last checkpoint was 16 min 40 s ago
    "#]],
    );
    check_texts(
        "checkpoint-overdue",
        &facts(1e6),
        expect![[r#"
            the last checkpoint was 16 min 40 s ago
            The last checkpoint ended 16 min 40 s ago, 3.33 times checkpoint_timeout. After a crash all WAL since then is replayed before clients can connect. None of this WAL is removed before the next checkpoint.
            > The disk cannot take the changed pages as fast as they come, or the checkpointer is stuck in a slow fsync.
            > `BEGIN; SET LOCAL search_path = pg_catalog; SELECT pid, wait_event_type, wait_event FROM pg_stat_activity WHERE backend_type = 'checkpointer'; COMMIT;` shows what it waits for: an event of type IO means the disk. Then let it write less at once: `ALTER SYSTEM SET checkpoint_completion_target = 0.9; SELECT pg_catalog.pg_reload_conf();`.
            - checkpoint_timeout: 5 min
        "#]],
    );
    check("checkpoint-overdue", &facts(0.0), expect![[""]]);
}

#[test]
fn an_archive_that_fails_is_graded_by_how_long_nothing_was_archived() {
    let facts = |seconds: &str| {
        format!(
            "
            wal present
            pharos_postgres_archive_failing 1
            pharos_postgres_archive_failures_total 12
            pharos_postgres_archive_failing_seconds {seconds}
            table archiver
            | last_archived text | last_failed text |
            | 000000010000000000000005 | 000000010000000000000006 |"
        )
    };
    check_texts(
        "archive-failing",
        &facts("600"),
        expect![[r#"
            no WAL was archived for 10 min
            Attempts to archive WAL have failed for 10 min. A restore ends where the archive does, and WAL stays on disk until it is archived.
            > The archive is full, unreachable or refuses the server, or archive_command is wrong.
            > The server's log has the output of the command: `SHOW archive_command;`, and run it by hand as the server's user. `BEGIN; SET LOCAL search_path = pg_catalog; SELECT last_failed_wal, last_failed_time, last_archived_time FROM pg_stat_archiver; COMMIT;` shows when archiving works again.
            - last failed: 000000010000000000000006
            - failed attempts: 12
        "#]],
    );
    check(
        "archive-failing",
        &facts("10000"),
        expect![[r#"
        archive-failing: raise critical: no WAL was archived for 2 h 46 min
    "#]],
    );
    check("archive-failing", "wal present\npharos_postgres_archive_failing 0\npharos_postgres_archive_failing_seconds 0", expect![[""]]);
}

#[test]
fn lost_statistics_skip_the_checks_of_archive_and_checkpoints() {
    let facts = |attempts: u32, enabled: u8| {
        format!(
            "wal present
            pharos_postgres_archive_failing 0
            pharos_postgres_archive_failing_seconds 0
            pharos_postgres_archive_enabled {enabled}
            table archiver
            | last_archived text | last_failed text | attempts integer |
            | - | - | {attempts} |"
        )
    };
    check(
        "archive-failing",
        &facts(0, 1),
        expect![[r#"
            archive-failing: skipped: no attempt to archive is known since the statistics began
        "#]],
    );
    check("archive-failing", &facts(1, 1), expect![[""]]);
    check("archive-failing", &facts(0, 0), expect![[""]]);
    check(
        "checkpoints-requested",
        "wal present
        pharos_postgres_checkpoints_total{kind=\"timed\"} 3 rate 0
        pharos_postgres_checkpoints_total{kind=\"requested\"} 1 rate 0.1",
        expect![[r#"
            checkpoints-requested: skipped: 4 checkpoints since the statistics were reset are too few
        "#]],
    );
}

#[test]
fn wal_on_disk_is_compared_with_what_the_settings_plan_for() {
    let facts = |more: &str| {
        format!(
            r#"
            sizes present
            pharos_postgres_wal_directory_size_bytes 21474836480
            settings present
            pharos_postgres_setting{{setting="max_wal_size"}} 1073741824
            pharos_postgres_setting{{setting="wal_keep_size"}} 1073741824
            wal present
            pharos_postgres_archive_failing 0
            {more}
        "#
        )
    };
    check_texts(
        "wal-directory-large",
        &facts("replication present\npharos_postgres_slot_retained_bytes{slot=\"s1\",slot_type=\"physical\"} 19327352832"),
        expect![[r#"
            WAL takes 20 GiB on disk
            pg_wal holds 20 GiB, 10 times what max_wal_size and wal_keep_size plan for.
            > A replication slot keeps WAL for a consumer that does not read it: 18 GiB.
            > `BEGIN; SET LOCAL search_path = pg_catalog; SELECT slot_name, active, wal_status, pg_size_pretty(pg_wal_lsn_diff(CASE WHEN pg_is_in_recovery() THEN pg_last_wal_receive_lsn() ELSE pg_current_wal_lsn() END, restart_lsn)) FROM pg_replication_slots ORDER BY restart_lsn; COMMIT;` and `BEGIN; SET LOCAL search_path = pg_catalog; SELECT last_failed_wal, last_failed_time FROM pg_stat_archiver; COMMIT;`. Never remove files of pg_wal by hand. Limit the WAL that slots keep; a slot that keeps more at that moment becomes unusable: `ALTER SYSTEM SET max_slot_wal_keep_size = '<size>'; SELECT pg_catalog.pg_reload_conf();`.
            - kept by a slot: 18 GiB
        "#]],
    );
    check("wal-directory-large", &facts("").replace("21474836480", "2147483648"), expect![[""]]);
}
