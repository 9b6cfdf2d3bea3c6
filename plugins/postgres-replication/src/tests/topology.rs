//! Tests of the checks of topology.

use expect_test::{Expect, expect};
use pharos_plugin::testing::{Facts, render};

use super::{finding_text, judge};

/// The facts of a server: its senders, and whether it receives.
fn server(receiver_up: &str, senders: &[&str]) -> String {
    let receiver = if receiver_up == "-" { String::new() } else { format!(" {receiver_up}") };
    let senders: String = senders.iter().map(|sender| format!("| standby | {sender} |\n")).collect();
    format!(
        "replication present
        pharos_postgres_replication_lag_bytes
        pharos_postgres_standby_receiver_up{receiver}
        table standbys
        | standby text | pid integer | state text | logical boolean | lag_bytes integer |
        {senders}"
    )
}

/// Facts about a primary and its standby. `changes` replaces parts of the text.
fn database(changes: &[(&str, &str)]) -> Facts {
    let mut text = r#"
        topology present
        pharos_database_members 2
        pharos_database_primaries 1
        pharos_database_split_brain 0
        pharos_database_clusters 1
        pharos_database_primary_changes_total 1 rate 0
        pharos_database_member_lag_seconds{member="db2:5432"} 2
        pharos_database_member_lag_bytes{member="db2:5432"} 1048576
        table members
        | member text | role text | up boolean | timeline integer | system_identifier text |
        | db1:5432 | primary | true | 3 | 7300000000000000001 |
        | db2:5432 | standby | true | 3 | 7300000000000000001 |
    "#
    .to_owned();
    for (from, to) in changes {
        assert!(text.contains(from), "{from}");
        text = text.replace(from, to);
    }
    let sender = r#"
        replication present
        pharos_postgres_replication_lag_bytes{standby="db2",client="10.0.0.2"} 0
        table standbys
        | standby text | pid integer | state text | logical boolean | lag_bytes integer |
        | db2 | 101 | streaming | false | 0 |
    "#;
    let none = "replication present\npharos_postgres_replication_lag_bytes\ntable standbys\n| standby text |";
    Facts::database(&text, &[("db1:5432", sender), ("db2:5432", none), ("db3:5432", none)])
}

#[track_caller]
fn check(id: &str, changes: &[(&str, &str)], expected: Expect) {
    expected.assert_eq(&render(&judge(id, &database(changes))));
}

#[track_caller]
fn check_texts(id: &str, changes: &[(&str, &str)], expected: Expect) {
    expected.assert_eq(&finding_text(&judge(id, &database(changes)).findings[0]));
}

#[test]
fn a_database_as_it_should_be_is_no_alert() {
    for check in super::Family::all(&super::FAMILIES[..1]) {
        assert_eq!(render(&judge(check.id, &database(&[]))), "", "{}", check.id);
    }
}

#[test]
fn two_primaries_are_both_named_and_the_old_one_is_to_be_stopped() {
    let split = [("split_brain 0", "split_brain 1"), ("db2:5432 | standby | true | 3", "db2:5432 | primary | true | 4")];
    check(
        "split-brain",
        &split,
        expect![[r#"
        split-brain: raise critical: split brain: db1:5432 and db2:5432 are primaries
    "#]],
    );
    check_texts(
        "split-brain",
        &split,
        expect![[r#"
            split brain: db1:5432 and db2:5432 are primaries
            db1:5432 and db2:5432 are primaries of one cluster and both take writes. The writes of one of them are lost when it becomes a standby.
            > A standby was promoted while the old primary still ran or came back: its start was not prevented.
            > At once, on db1:5432: stop it, `pg_ctl stop -m fast -D <data_directory>`, and prevent another start. Save the data that only it has, then `pg_rewind --target-pgdata=<data_directory> --source-server='host=db2 port=5432 user=postgres dbname=postgres'` and start it as a standby.
            - db1:5432: primary, timeline 3
            - db2:5432: primary, timeline 4
        "#]],
    );
}

#[test]
fn a_primary_that_could_not_be_asked_is_neither_there_nor_away() {
    const ASKED: [(&str, &str); 3] =
        [("up boolean |", "up boolean | is_asked boolean |"), ("| true | 3", "| true | false | 3"), ("| primary |", "| primary |")];
    check(
        "no-primary",
        &ASKED,
        expect![[r#"
            no-primary: skipped: Pharos could not query db1:5432, which may be the primary
        "#]],
    );
    // A single reachable primary is enough.
    let one = [
        ("up boolean |", "up boolean | is_asked boolean |"),
        ("primary | true", "primary | true | true"),
        ("standby | true", "standby | true | false"),
    ];
    check("no-primary", &one, expect![""]);
}

#[test]
fn a_database_without_a_reachable_primary_is_critical() {
    check(
        "no-primary",
        &[("primary | true", "primary | false")],
        expect![[r#"
        no-primary: raise critical: no server takes writes
    "#]],
    );
    check_texts(
        "no-primary",
        &[("primary | true", "primary | false")],
        expect![[r#"
            no server takes writes
            None of the 2 servers is a primary that can be reached, so every write fails. db1:5432, the primary so far, does not answer.
            > The primary is down or cut off and no standby was promoted, or it was demoted by mistake.
            > Bring the primary back; or, once it is certain that it stays down, on db2:5432: `SELECT pg_catalog.pg_promote();`.
            - db1:5432: primary, timeline 3, down
            - db2:5432: standby, timeline 3
        "#]],
    );
    check(
        "no-primary",
        &[("primary | true", "standby | true")],
        expect![[r#"
        no-primary: raise critical: no server takes writes
    "#]],
    );
    check(
        "no-primary",
        &[("primary | true", "unknown | true")],
        expect![[r#"
        no-primary: skipped: db1:5432 has not reported yet whether it is the primary
    "#]],
    );
}

#[test]
fn servers_of_different_clusters_are_an_alert() {
    let differ = [("clusters 1", "clusters 2"), ("standby | true | 3 | 7300000000000000001", "standby | true | 3 | 7300000000000000002")];
    check(
        "clusters-differ",
        &differ,
        expect![[r#"
        clusters-differ: raise critical: servers of 2 different clusters
    "#]],
    );
    check_texts(
        "clusters-differ",
        &differ,
        expect![[r#"
            servers of 2 different clusters
            Servers that the configuration calls one database were created by different runs of initdb. They do not replicate each other, so none can take over for another.
            > A wrong address in the configuration, or a new server at the address of an old one.
            > `BEGIN; SET LOCAL search_path = pg_catalog; SELECT system_identifier FROM pg_control_system(); COMMIT;` on each. Correct `replicas` of `[[database]]`, or rebuild the wrong server with pg_basebackup from the primary.
            - db1:5432: system identifier 7300000000000000001
            - db2:5432: system identifier 7300000000000000002
        "#]],
    );
}

#[test]
fn a_change_of_the_primary_is_an_info() {
    check_texts(
        "primary-changed",
        &[("total 1 rate 0", "total 2 rate 0.1")],
        expect![[r#"
            db1:5432 is the primary now
            Another server than before takes writes. What the old primary had not sent is lost.
            > A failover or switchover, by hand or by a manager such as Patroni.
            > If the change was not planned, look for the reason in the failover manager. Make the old primary a standby: `pg_rewind`, then start it with standby.signal. After an unplanned change, `BEGIN; SET LOCAL search_path = pg_catalog; SELECT count(*) FROM pg_replication_slots; COMMIT;`: slots do not move along before PostgreSQL 17.
            - db1:5432: primary, timeline 3
            - db2:5432: standby, timeline 3
        "#]],
    );
}

#[test]
fn a_standby_is_behind_whether_it_is_connected_or_not() {
    check(
        "member-lag",
        &[("} 2", "} 60")],
        expect![[r#"
        member-lag{member=db2:5432}: raise warning: db2:5432 is 1 min behind its primary
    "#]],
    );
    check_texts(
        "member-lag",
        &[("} 2", "} 600")],
        expect![[r#"
            db2:5432 is 10 min behind its primary
            Changes of 10 min are not yet replayed by db2:5432. Reads from it are that old, and a failover to it loses these changes or waits.
            > More writes than the network or the standby's disk can handle, a replay that waits for a query, or a standby that receives nothing.
            > On the primary: `BEGIN; SET LOCAL search_path = pg_catalog; SELECT application_name, client_addr, state, sent_lsn, write_lsn, flush_lsn, replay_lsn FROM pg_stat_replication; COMMIT;`: if it is not there, read the standby's log. On the standby: `SELECT pg_catalog.pg_get_wal_replay_pause_state();` and `BEGIN; SET LOCAL search_path = pg_catalog; SELECT pid, query_start FROM pg_stat_activity WHERE backend_xmin IS NOT NULL ORDER BY query_start LIMIT 5; COMMIT;`.
            - lag in WAL: 1 MiB
        "#]],
    );
}

#[test]
fn standbys_without_a_sender_are_counted_over_all_servers() {
    let third = [("| db2:5432 | standby", "| db3:5432 | standby | true | 3 | 7300000000000000001 |\n| db2:5432 | standby")];
    check(
        "standby-not-connected",
        &third,
        expect![[r#"
        standby-not-connected: raise warning: 1 standby is without a sender
    "#]],
    );
    check_texts(
        "standby-not-connected",
        &third,
        expect![[r#"
            1 standby is without a sender
            1 standby is up without a report of a missing sender, but the servers of the database send WAL to fewer: reads from it grow older, and it cannot take over.
            > The connection between them is broken and neither end has noticed, or its primary_conninfo leads to a server that is not in `[[database]]`.
            > On each standby: `BEGIN; SET LOCAL search_path = pg_catalog; SELECT status, sender_host, sender_port FROM pg_stat_wal_receiver; COMMIT;`; where there is no row, its log says why. If it is fed by a server that is not listed, add that to `replicas`, or: `standby-not-connected = { enabled = false }`.
            - db1:5432: primary, timeline 3
            - db3:5432: standby, timeline 3
            - db2:5432: standby, timeline 3
        "#]],
    );
    let facts = Facts::database(
        "topology present\npharos_database_members 2\ntable members\n| member text | role text | up boolean |\n| db2:5432 | standby | true |",
        &[("db2:5432", "replication failed permission denied\npharos_postgres_replication_lag_bytes")],
    );
    expect![[r#"
        standby-not-connected: skipped: part `replication` failed: permission denied
    "#]]
    .assert_eq(&render(&judge("standby-not-connected", &facts)));
}

#[test]
fn a_server_under_two_names_is_one() {
    let facts = Facts::database(
        "topology present
        pharos_database_members 3
        pharos_database_primaries 1
        table members
        | member text | role text | up boolean | same_as text |
        | db1:5432 | primary | true | - |
        | db2:5432 | standby | true | - |
        | reads:5432 | standby | true | db2:5432 |",
        &[("db1:5432", &server("-", &["101 | streaming | false | 0"])), ("db2:5432", &server("1", &[]))],
    );
    expect![[""]].assert_eq(&render(&judge("standby-not-connected", &facts)));
}

/// Facts about a database with two standbys and no primary. `was_primary` gives the former role of a standby.
fn standbys_alone(was_primary: bool, first: &str, second: &str) -> Facts {
    let text = format!(
        "topology present
        pharos_database_members 2
        pharos_database_primaries 0
        table members
        | member text | role text | up boolean | was_primary boolean |
        | db1:5432 | standby | true | {was_primary} |
        | db2:5432 | standby | true | false |"
    );
    Facts::database(&text, &[("db1:5432", first), ("db2:5432", second)])
}

#[test]
fn a_site_of_standbys_alone_needs_no_primary_while_it_is_fed_from_elsewhere() {
    let cascade = ["101 | streaming | false | 0"];
    let fed = standbys_alone(false, &server("1", &cascade), &server("1", &[]));
    expect![[""]].assert_eq(&render(&judge("no-primary", &fed)));
    let fed_each = standbys_alone(false, &server("1", &[]), &server("1", &[]));
    expect![[""]].assert_eq(&render(&judge("no-primary", &fed_each)));
    expect![[""]].assert_eq(&render(&judge("standby-not-connected", &fed_each)));

    // The second standby receives only from the first.
    let cut_off = standbys_alone(false, &server("0", &cascade), &server("1", &[]));
    expect![[r#"
        no server takes writes
        None of the 2 servers is a primary that can be reached, so every write fails.
        > The primary is down or cut off and no standby was promoted, or it was demoted by mistake.
        > Bring the primary back; or, once it is certain that it stays down, on db1:5432: `SELECT pg_catalog.pg_promote();`.
        - db1:5432: standby
        - db2:5432: standby
    "#]]
    .assert_eq(&finding_text(&judge("no-primary", &cut_off).findings[0]));
    let demoted = standbys_alone(true, &server("1", &[]), &server("1", &[]));
    expect![[r#"
        no server takes writes
        None of the 2 servers is a primary that can be reached, so every write fails.
        > The primary is down or cut off and no standby was promoted, or it was demoted by mistake.
        > Promote nothing: db1:5432 still receives WAL, so a primary exists. `BEGIN; SET LOCAL search_path = pg_catalog; SELECT sender_host, sender_port FROM pg_stat_wal_receiver; COMMIT;` on it names the server: let the agent reach it, or list it in `replicas` of `[[database]]`.
        - db1:5432: standby
        - db2:5432: standby
    "#]].assert_eq(&finding_text(&judge("no-primary", &demoted).findings[0]));
}

#[test]
fn only_those_that_send_to_standbys_count_each_for_itself() {
    let connected =
        |senders: &[&str]| render(&judge("standby-not-connected", &standbys_alone(true, &server("1", senders), &server("1", &[]))));
    let standby = "101 | streaming | false | 0";
    expect![[""]].assert_eq(&connected(&[standby, "102 | catchup | false | 5000"]));
    expect![[r#"
        standby-not-connected: raise warning: 1 standby is without a sender
    "#]]
    .assert_eq(&connected(&[standby, "102 | streaming | true | 0"]));
    expect![[r#"
        standby-not-connected: raise warning: 1 standby is without a sender
    "#]]
    .assert_eq(&connected(&[standby, "102 | startup | false | 0", "103 | backup | false | -", "104 | streaming | false | -"]));
}
