//! Standbys and slots.

use expect_test::expect;

use super::{check, check_words};

const SENDER: &str = r#"
    replication present
    pharos_postgres_replication_lag_seconds{standby="db2",client="10.0.0.2"} 45
    pharos_postgres_replication_lag_bytes{standby="db2",client="10.0.0.2"} 2147483648
    pharos_postgres_standby_replay_lag_seconds
    pharos_postgres_standby_replay_lag_bytes
"#;

#[test]
fn a_sender_tells_which_standby_lags() {
    check(
        "replication-lag",
        SENDER,
        expect![[r#"
        replication-lag{standby=db2,client=10.0.0.2}: raise warning: standby db2 (10.0.0.2) is 45 s behind
    "#]],
    );
    check(
        "replication-lag-bytes",
        SENDER,
        expect![[r#"
        replication-lag-bytes{standby=db2,client=10.0.0.2}: raise critical: standby db2 (10.0.0.2) is 2 GiB behind
    "#]],
    );
    check_words(
        "replication-lag",
        SENDER,
        expect![[r#"
            standby db2 (10.0.0.2) is 45 s behind
            Changes of 45 s wait to be replayed by standby db2 (10.0.0.2). Reads from it are that old, and a failover to it loses as much or waits.
            - lag in time: 45 s
            - lag in WAL: 2 GiB
        "#]],
    );
}

#[test]
fn a_standby_tells_its_own_lag() {
    let facts = "
        replication present
        pharos_postgres_replication_lag_seconds
        pharos_postgres_standby_replay_lag_seconds 600
        pharos_postgres_standby_receiver_up 0
    ";
    check(
        "replication-lag",
        facts,
        expect![[r#"
        replication-lag: raise critical: this standby is 10 min behind
    "#]],
    );
    check(
        "standby-receiver-down",
        facts,
        expect![[r#"
        standby-receiver-down: raise warning: standby receives no WAL
    "#]],
    );
}

#[test]
fn slots_are_watched_for_consumers_and_loss() {
    let facts = r#"
        replication present
        pharos_postgres_slot_active{slot="s1",slot_type="physical"} 0
        pharos_postgres_slot_active{slot="s2",slot_type="logical"} 1
        pharos_postgres_slot_retained_bytes{slot="s1",slot_type="physical"} 5368709120
        pharos_postgres_slot_safe_bytes{slot="s2",slot_type="logical"} 1048576
        pharos_postgres_slot_wal_lost{slot="s1",slot_type="physical"} 1
        pharos_postgres_slot_wal_lost{slot="s2",slot_type="logical"} 0.5
    "#;
    check_words(
        "slot-inactive",
        facts,
        expect![[r#"
        slot s1 has no consumer
        Nobody consumes replication slot s1, which keeps 5 GiB of WAL on disk, more with every write until the disk is full.
        - WAL kept: 5 GiB
    "#]],
    );
    check(
        "slot-losing-wal",
        facts,
        expect![[r#"
        slot-losing-wal{slot=s1,slot_type=physical}: raise critical: slot s1 has lost WAL
        slot-losing-wal{slot=s2,slot_type=logical}: raise warning: slot s2 is about to lose WAL
    "#]],
    );
}
