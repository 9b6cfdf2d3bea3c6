//! Tests of the checks of restarts.

use expect_test::expect;

use super::{check, check_texts};

const HEAD: &str = "
    server present
    pharos_postgres_start_timestamp_seconds 1700000000
    table restarts
    | kind text | at float | seconds_ago float |
";

#[test]
fn a_restart_is_an_info_with_its_time() {
    let facts = format!("{HEAD}| restart | 1700000000 | 185 |");
    check(
        "server-restarted",
        &facts,
        expect![[r#"
        server-restarted: raise info: the server restarted
    "#]],
    );
    check_texts(
        "server-restarted",
        &facts,
        expect![[r#"
        the server restarted
        The server started 3 min 5 s ago, at 2023-11-14 22:13:20 UTC by the server's clock. All sessions and open transactions ended. This alert ends by itself 15 minutes after the restart.
        > An operator, an update, or the service manager restarted it; or a failover.
        > If the restart was planned, there is nothing to do. The server's log at that time has the reason: `SELECT pg_catalog.pg_current_logfile();` returns the log file if the server writes its own. Otherwise read the log of the service manager: `journalctl -u 'postgresql*'`.
    "#]],
    );
}

#[test]
fn a_crash_is_a_warning_also_when_a_restart_followed() {
    let facts = format!("{HEAD}| process-crash | 1700000000 | 185 |\n| restart | 1700000090 | 95 |");
    check(
        "server-restarted",
        &facts,
        expect![[r#"
        server-restarted: raise warning: a process of the server crashed
    "#]],
    );
    check_texts(
        "server-restarted",
        &facts,
        expect![[r#"
        a process of the server crashed
        A process of the server crashed, and the server ended all sessions and recovered 3 min 5 s ago, at 2023-11-14 22:13:20 UTC by the server's clock. It was one of 2 restarts in 15 minutes. All sessions and open transactions ended. This alert ends by itself 15 minutes after the restart.
        > The kernel killed the process because memory ran out (signal 9), a person killed it, or PostgreSQL or an extension has a fault (signal 6 or 11).
        > The server's log at that time has the reason: `SELECT pg_catalog.pg_current_logfile();` returns the log file if the server writes its own. Otherwise read the log of the service manager: `journalctl -u 'postgresql*'`. The line `was terminated by signal` has the process and the signal, the line `Failed process was running` its statement. `journalctl -k | grep -i -E 'out of memory|oom|segfault'`, or `dmesg -T`, on the host shows whether the kernel killed it: then set `work_mem` and the number of sessions lower, or give the host more memory.
    "#]],
    );
}

#[test]
fn a_start_without_statistics_is_a_warning() {
    let facts = format!("{HEAD}| unclean | 1700000000 | 4 |");
    check(
        "server-restarted",
        &facts,
        expect![[r#"
        server-restarted: raise warning: the server started after an unclean end
    "#]],
    );
    check_texts(
        "server-restarted",
        &facts,
        expect![[r#"
        the server started after an unclean end
        The server started without the statistics of the previous run, as after a crash, 4 s ago, at 2023-11-14 22:13:20 UTC by the server's clock. All sessions and open transactions ended. This alert ends by itself 15 minutes after the restart.
        > The host or the container went down, the server was killed or stopped with `immediate`, or it was restored from a backup.
        > The server's log at that time has the reason: `SELECT pg_catalog.pg_current_logfile();` returns the log file if the server writes its own. Otherwise read the log of the service manager: `journalctl -u 'postgresql*'`. The line `database system was interrupted` there, and the end of the previous run's log, show a crash. `journalctl -k | grep -i -E 'out of memory|oom|segfault'`, or `dmesg -T`, on the host shows whether the kernel killed it. Autovacuum has lost its counts of dead rows: run `ANALYZE;` in each database.
    "#]],
    );
}

#[test]
fn no_restart_is_fine_and_an_unreadable_part_is_skipped() {
    check("server-restarted", HEAD, expect![""]);
    let unknown = "server present\n pharos_postgres_start_timestamp_seconds 1700000000";
    check(
        "server-restarted",
        unknown,
        expect![[r#"
        server-restarted: skipped: there is no table `restarts`
    "#]],
    );
}
