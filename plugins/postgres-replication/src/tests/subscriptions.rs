//! Tests of the checks of subscriptions.

use expect_test::expect;

use super::{check, check_texts};

const SUBSCRIPTIONS: &str = r#"
    subscriptions present
    pharos_postgres_subscription_up{datname="app",subscription="from_shop"} 0
    pharos_postgres_subscription_up{datname="app",subscription="off"} 0
    pharos_postgres_subscription_up{datname="app",subscription="good"} 1
    pharos_postgres_subscription_enabled{datname="app",subscription="from_shop"} 1
    pharos_postgres_subscription_enabled{datname="app",subscription="off"} 0
    pharos_postgres_subscription_enabled{datname="app",subscription="good"} 1
    pharos_postgres_subscription_message_age_seconds{datname="app",subscription="good"} 200
    pharos_postgres_subscription_apply_errors_total{datname="app",subscription="from_shop"} 9 rate 0.2
    pharos_postgres_subscription_apply_errors_total{datname="app",subscription="good"} 0 rate 0
    pharos_postgres_subscription_sync_errors_total{datname="app",subscription="from_shop"} 9 rate 0.1
    pharos_postgres_subscription_tables_not_ready{datname="app",subscription="from_shop"} 3
    pharos_postgres_subscription_tables_not_ready{datname="app",subscription="good"} 0
"#;

#[test]
fn a_subscription_is_down_or_disabled_but_not_both() {
    check(
        "subscription-down",
        SUBSCRIPTIONS,
        expect![[r#"
        subscription-down{datname=app,subscription=from_shop}: raise critical: subscription from_shop of app is down
    "#]],
    );
    check_texts(
        "subscription-down",
        SUBSCRIPTIONS,
        expect![[r#"
            subscription from_shop of app is down
            Subscription from_shop of app is enabled and no worker runs for it. Its tables are not updated, and its slot on the publisher keeps WAL there.
            > The publisher is unreachable or refuses it, a change cannot be applied, or all of max_logical_replication_workers are in use.
            > The server's log says why. In app: `BEGIN; SET LOCAL search_path = pg_catalog; SELECT subname, pid, received_lsn, latest_end_time FROM pg_stat_subscription WHERE subname = 'from_shop'; COMMIT;`. If all workers are in use: `ALTER SYSTEM SET max_logical_replication_workers = <more>;`, which needs a restart.
            - primary: db1:5432
        "#]],
    );
    check(
        "subscription-disabled",
        SUBSCRIPTIONS,
        expect![[r#"
        subscription-disabled{datname=app,subscription=off}: raise warning: subscription off of app is disabled
    "#]],
    );
    check_texts(
        "subscription-disabled",
        SUBSCRIPTIONS,
        expect![[r#"
            subscription off of app is disabled
            Subscription off of app receives nothing, while its slot on the publisher keeps WAL until the disk there is full.
            > It was disabled by hand, or by an error because disable_on_error is set.
            > In app: `ALTER SUBSCRIPTION "off" ENABLE;`, after reading the server's log; if it is no longer wanted, `DROP SUBSCRIPTION "off";`, which drops its slot as well.
            - primary: db1:5432
        "#]],
    );
}

#[test]
fn a_subscription_is_silent_fails_or_is_not_ready() {
    check_texts(
        "subscription-silent",
        SUBSCRIPTIONS,
        expect![[r#"
            subscription good of app has received nothing for 3 min 20 s
            The publisher last sent something to subscription good of app 3 min 20 s ago. A healthy publisher sends at least a keepalive message more often than that.
            > The network between them loses packets, the publisher hangs, or the worker waits for a lock.
            > In app: `BEGIN; SET LOCAL search_path = pg_catalog; SELECT pid, wait_event_type, wait_event FROM pg_stat_activity WHERE backend_type = 'logical replication worker'; COMMIT;` shows a lock; otherwise reconnect it: `ALTER SUBSCRIPTION "good" DISABLE;` and `ALTER SUBSCRIPTION "good" ENABLE;`.
            - primary: db1:5432
        "#]],
    );
    check(
        "subscription-silent",
        SUBSCRIPTIONS,
        expect![[r#"
        subscription-silent{datname=app,subscription=good}: raise warning: subscription good of app has received nothing for 3 min 20 s
    "#]],
    );
    check(
        "subscription-errors",
        SUBSCRIPTIONS,
        expect![[r#"
        subscription-errors{datname=app,subscription=from_shop}: raise warning: subscription from_shop of app fails
    "#]],
    );
    check_texts(
        "subscription-errors",
        SUBSCRIPTIONS,
        expect![[r#"
            subscription from_shop of app fails
            Subscription from_shop of app had 3 errors since the previous collection and makes no progress.
            > A change does not fit: a row that is already there, a column or table that is missing, a constraint of the subscriber.
            > The server's log names the change and its last LSN. Correct the row or the table; to skip the change, from PostgreSQL 15 on, in app: `ALTER SUBSCRIPTION "from_shop" SKIP (lsn = <lsn>);` with the LSN of the log.
            - errors while applying: 9
        "#]],
    );
    check(
        "subscription-not-ready",
        SUBSCRIPTIONS,
        expect![[r#"
        subscription-not-ready{datname=app,subscription=from_shop}: raise warning: 3 tables of subscription from_shop not copied
    "#]],
    );
    check_texts(
        "subscription-not-ready",
        SUBSCRIPTIONS,
        expect![[r#"
            3 tables of subscription from_shop not copied
            3 tables of subscription from_shop of app are not copied yet, so changes of them are not applied.
            > The copy is large, fails and starts again, or has no worker: max_sync_workers_per_subscription.
            > In app: `BEGIN; SET LOCAL search_path = pg_catalog; SELECT srrelid::regclass, srsubstate FROM pg_subscription_rel WHERE srsubstate <> 'r'; COMMIT;`, and the server's log. A table that was added later needs `ALTER SUBSCRIPTION "from_shop" REFRESH PUBLICATION;`.
            - primary: db1:5432
        "#]],
    );
}
