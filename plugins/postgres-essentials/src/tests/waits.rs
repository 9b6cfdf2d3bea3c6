//! Tests of the checks of waits.

use expect_test::expect;

use super::{check, check_texts};

const WAITS: &str = r#"
    activity present
    pharos_postgres_active_sessions{wait_event_type="IO"} 9
    pharos_postgres_active_sessions{wait_event_type="CPU"} 3
    pharos_postgres_active_sessions{wait_event_type="Lock"} 2
    pharos_postgres_wait_seconds_total{wait_event_type="IO",wait_event="WALSync"} 900 rate 8
    pharos_postgres_wait_seconds_total{wait_event_type="IO",wait_event="DataFileRead"} 900 rate 1
    pharos_postgres_wait_seconds_total{wait_event_type="Lock",wait_event="relation"} 900 rate 2
    table activity_waits
    | datname text | user text | query_id integer | wait_event_type text | wait_event text | seconds float |
    | app | etl | -8123456789012345678 | IO | WALSync | 60 |
    | app | web | 42 | IO | WALSync | 20 |
"#;

#[test]
fn a_wait_that_takes_half_of_all_active_time_is_reported_with_its_statements() {
    check(
        "wait-dominates",
        WAITS,
        expect![[r#"
        wait-dominates{wait_event_type=IO,wait_event=WALSync}: raise warning: 8 sessions wait for IO:WALSync
    "#]],
    );
    check_texts(
        "wait-dominates",
        WAITS,
        expect![[r#"
            8 sessions wait for IO:WALSync
            On average 8 sessions wait for WALSync (IO), at least half of all the time that sessions are active.
            > Commits wait until the disk has their WAL.
            > Put more changes into one transaction, give pg_wal a faster disk, or, where the latest commits may be lost in a crash, `ALTER ROLE <role> SET synchronous_commit = off;`. The waiting sessions: `BEGIN; SET LOCAL search_path = pg_catalog; SELECT pid, usename, query_start, query FROM pg_stat_activity WHERE wait_event = 'WALSync'; COMMIT;`.
            - statement -8123456789012345678: 1 min waited, by etl in app
            - statement 42: 20 s waited, by web in app
        "#]],
    );
}

#[test]
fn waits_among_much_other_work_are_no_alert() {
    check("wait-dominates", &WAITS.replace(r#""CPU"} 3"#, r#""CPU"} 30"#), expect![[""]]);
    check("wait-dominates", &WAITS.replace("rate 8", "rate 0.5").replace(r#""IO"} 9"#, r#""IO"} 1"#), expect![[""]]);
}
