//! Tests of the checks of lag: each lag raises a single alert, and an ordered delay raises none.

use expect_test::{Expect, expect};
use pharos_plugin::testing::{Facts, render};

use super::{finding_text, judge};

/// Facts about a primary and a standby. `known` has the series of the database, `sent_to` the standbys of the primary, `standby` the facts
/// of the standby.
fn database(known: &str, sent_to: &[&str], standby: &str) -> Facts {
    database_of("present", known, sent_to, standby)
}

/// Facts like those of [`database`], with a state of the primary's part `replication`.
fn database_of(state: &str, known: &str, sent_to: &[&str], standby: &str) -> Facts {
    let topology = format!(
        "topology present
        pharos_database_members 2
        {known}
        table members
        | member text | role text | up boolean | shipping_lag_seconds float | shipping_lag_bytes integer |
        | db1:5432 | primary | true | - | - |
        | db2.example.com:5432 | standby | true | 1 | 1024 |"
    );
    let rows: String = sent_to.iter().map(|standby| format!("| {standby} | streaming | false | 0 |\n")).collect();
    let series: String = sent_to
        .iter()
        .map(|standby| {
            format!(
                "pharos_postgres_replication_lag_seconds{{standby=\"{standby}\",client=\"10.0.0.2\"}} 45
                pharos_postgres_replication_lag_bytes{{standby=\"{standby}\",client=\"10.0.0.2\"}} 2147483648\n"
            )
        })
        .collect();
    let primary = format!(
        "replication {state}
        pharos_postgres_replication_lag_seconds
        pharos_postgres_replication_lag_bytes
        {series}
        pharos_postgres_standby_replay_lag_seconds
        table standbys
        | standby text | state text | logical boolean | lag_bytes integer |
        {rows}"
    );
    let standby = format!(
        "replication present
        pharos_postgres_replication_lag_seconds
        pharos_postgres_replication_lag_bytes
        {standby}
        table standbys
        | standby text | state text | logical boolean | lag_bytes integer |"
    );
    Facts::database(&topology, &[("db1:5432", &primary), ("db2.example.com:5432", &standby)])
}

const KNOWN: &str = r#"pharos_database_member_lag_seconds{member="db2.example.com:5432"} 400
    pharos_database_member_lag_bytes{member="db2.example.com:5432"} 2147483648"#;
const UNKNOWN: &str = "pharos_database_member_lag_seconds\npharos_database_member_lag_bytes";
const STREAMS: &str = "pharos_postgres_standby_receiver_up 1
    pharos_postgres_standby_replay_lag_seconds 390
    pharos_postgres_standby_replay_lag_bytes 1073741824";

/// Compares the reports of the three checks of lag together.
#[track_caller]
fn check(facts: &Facts, expected: Expect) {
    let all: String = ["member-lag", "replication-lag", "replication-lag-bytes"].into_iter().map(|id| render(&judge(id, facts))).collect();
    expected.assert_eq(&all);
}

#[test]
fn a_lag_that_three_servers_see_is_reported_once_in_each_unit() {
    let facts = database(KNOWN, &["walreceiver"], STREAMS);
    check(
        &facts,
        expect![[r#"
        member-lag{member=db2.example.com:5432}: raise critical: db2.example.com:5432 is 6 min 40 s behind its primary
        replication-lag-bytes{server=db2.example.com:5432}: raise critical: db2.example.com:5432 is 2 GiB behind
    "#]],
    );
    expect![[r#"
        db2.example.com:5432 is 6 min 40 s behind its primary
        Changes of 6 min 40 s are not yet replayed by db2.example.com:5432. Reads from it are that old, and a failover to it loses these changes or waits.
        > More writes than the network or the standby's disk can handle, a replay that waits for a query, or a standby that receives nothing.
        > On the primary: `BEGIN; SET LOCAL search_path = pg_catalog; SELECT application_name, client_addr, state, sent_lsn, write_lsn, flush_lsn, replay_lsn FROM pg_stat_replication; COMMIT;`: if it is not there, read the standby's log. On the standby: `SELECT pg_catalog.pg_get_wal_replay_pause_state();` and `BEGIN; SET LOCAL search_path = pg_catalog; SELECT pid, query_start FROM pg_stat_activity WHERE backend_xmin IS NOT NULL ORDER BY query_start LIMIT 5; COMMIT;`.
        - lag in WAL: 2 GiB
    "#]].assert_eq(&finding_text(&judge("member-lag", &facts).findings[0]));
}

#[test]
fn a_standby_outside_the_configuration_is_judged_by_its_sender() {
    let facts = database(KNOWN, &["db2", "walreceiver"], STREAMS);
    check(
        &facts,
        expect![[r#"
        member-lag{member=db2.example.com:5432}: raise critical: db2.example.com:5432 is 6 min 40 s behind its primary
        replication-lag{server=db1:5432,standby=walreceiver,client=10.0.0.2}: raise warning: standby walreceiver (10.0.0.2) of db1:5432 is 45 s behind
        replication-lag-bytes{server=db2.example.com:5432}: raise critical: db2.example.com:5432 is 2 GiB behind
        replication-lag-bytes{server=db1:5432,standby=walreceiver,client=10.0.0.2}: raise critical: standby walreceiver (10.0.0.2) of db1:5432 is 2 GiB behind
    "#]],
    );
    expect![[r#"
        standby walreceiver (10.0.0.2) of db1:5432 is 45 s behind
        Changes of 45 s wait to be replayed by standby walreceiver (10.0.0.2) of db1:5432. Reads from it are that old, and a failover to it loses these changes or waits.
        > More writes than the network or the standby's disk can handle, a replay paused by a long query on the standby, or a standby that was unreachable, or one with a configured delay: recovery_min_apply_delay.
        > On the sender: `BEGIN; SET LOCAL search_path = pg_catalog; SELECT application_name, state, sent_lsn, write_lsn, flush_lsn, replay_lsn FROM pg_stat_replication; COMMIT;` the first that lags is the bottleneck. If only replay lags: `SELECT pg_catalog.pg_get_wal_replay_pause_state();` and queries older than max_standby_streaming_delay on the standby.
        - lag in time: 45 s
        - lag in WAL: 2 GiB
    "#]].assert_eq(&finding_text(&judge("replication-lag", &facts).findings[0]));
}

#[test]
fn a_standby_with_an_unknown_primary_is_judged_by_its_own_facts() {
    check(
        &database(UNKNOWN, &[], STREAMS),
        expect![[r#"
        replication-lag{server=db2.example.com:5432}: raise critical: db2.example.com:5432 is 6 min 30 s behind
        replication-lag-bytes{server=db2.example.com:5432}: raise critical: db2.example.com:5432 is 1 GiB behind
    "#]],
    );
}

#[test]
fn while_the_primary_is_unreadable_the_lag_of_a_standby_is_unknown() {
    check(
        &database_of("failed the password cannot be read", UNKNOWN, &[], STREAMS),
        expect![[r#"
        member-lag{member=db2.example.com:5432}: skipped: part `replication` failed: the password cannot be read
        replication-lag{server=db1:5432}: skipped: part `replication` failed: the password cannot be read
        replication-lag{server=db2.example.com:5432}: skipped: part `replication` failed: the password cannot be read
        replication-lag-bytes{server=db1:5432}: skipped: part `replication` failed: the password cannot be read
        replication-lag-bytes{server=db2.example.com:5432}: skipped: part `replication` failed: the password cannot be read
    "#]],
    );
}

#[test]
fn an_ordered_delay_is_no_lag_but_wal_that_has_not_arrived_is() {
    let delayed = |seconds: u32| database(KNOWN, &["db2"], &format!("{STREAMS}\npharos_postgres_standby_apply_delay_seconds {seconds}"));
    check(&delayed(3_600), expect![[""]]);
    check(
        &delayed(360),
        expect![[r#"
        member-lag{member=db2.example.com:5432}: raise warning: db2.example.com:5432 is 40 s behind its primary, beyond its delay of 6 min
    "#]],
    );
    expect![[r#"
        db2.example.com:5432 is 40 s behind its primary, beyond its delay of 6 min
        Changes of 40 s are not yet replayed by db2.example.com:5432, beyond its delay of 6 min. Reads from it are that old, and a failover to it loses these changes or waits.
        > More writes than the network or the standby's disk can handle, a replay that waits for a query, or a standby that receives nothing.
        > On the primary: `BEGIN; SET LOCAL search_path = pg_catalog; SELECT application_name, client_addr, state, sent_lsn, write_lsn, flush_lsn, replay_lsn FROM pg_stat_replication; COMMIT;`: if it is not there, read the standby's log. On the standby: `SELECT pg_catalog.pg_get_wal_replay_pause_state();` and `BEGIN; SET LOCAL search_path = pg_catalog; SELECT pid, query_start FROM pg_stat_activity WHERE backend_xmin IS NOT NULL ORDER BY query_start LIMIT 5; COMMIT;`.
        - lag in WAL: 2 GiB
        - recovery_min_apply_delay: 6 min
    "#]].assert_eq(&finding_text(&judge("member-lag", &delayed(360)).findings[0]));
    let unknown = database(UNKNOWN, &[], &format!("{STREAMS}\npharos_postgres_standby_apply_delay_seconds 3600"));
    check(&unknown, expect![[""]]);
}

#[test]
fn a_replay_that_is_paused_has_an_alert_of_its_own() {
    check(&database(KNOWN, &["db2"], &format!("{STREAMS}\npharos_postgres_standby_replay_paused 1")), expect![[""]]);
}
