//! Tests of the checks of statements.

use expect_test::expect;

use super::{check, check_texts};

#[test]
fn only_statements_with_calls_enough_are_slow() {
    let facts = r#"
        statements present
        pharos_postgres_statement_mean_time_seconds{datname="app",user="web",fingerprint="1a2b",toplevel="true"} 0.75
        pharos_postgres_statement_mean_time_seconds{datname="app",user="web",fingerprint="rare",toplevel="true"} 9
        pharos_postgres_statement_mean_time_seconds{datname="app",user="web",fingerprint="nested",toplevel="false"} 9
        pharos_postgres_statement_mean_time_seconds{datname="app",user="web",fingerprint="other",toplevel="true"} 9
        pharos_postgres_statement_calls_total{datname="app",user="web",fingerprint="1a2b",toplevel="true"} 9 rate 5
        pharos_postgres_statement_calls_total{datname="app",user="web",fingerprint="rare",toplevel="true"} 9 rate 0.03
        pharos_postgres_statement_calls_total{datname="app",user="web",fingerprint="nested",toplevel="false"} 9 rate 5
        pharos_postgres_statement_calls_total{datname="app",user="web",fingerprint="other",toplevel="true"} 9 rate 5
        pharos_postgres_statement_time_p95_estimate_seconds{datname="app",user="web",fingerprint="1a2b",toplevel="true"} 2
    "#;
    check(
        "statement-slow",
        facts,
        expect![[r#"
        statement-slow{datname=app,user=web,fingerprint=1a2b,toplevel=true}: raise warning: statement 1a2b takes 750 ms on average
    "#]],
    );
    check_texts(
        "statement-slow",
        facts,
        expect![[r#"
            statement 1a2b takes 750 ms on average
            Statement 1a2b, run by web in app, took 750 ms on average since the previous collection.
            > A missing index, a plan that changed after statistics did, more rows than it was written for, or a wait for locks or disk.
            > Its text is in `GET /api/database/slow-queries` under this fingerprint. Log in as web, and never as superuser: its author wrote the text, and even EXPLAIN runs the functions in it. Run `EXPLAIN (ANALYZE, BUFFERS)` of the text and `ANALYZE` of its tables; then index the columns that it filters and joins by.
            - 95th percentile (estimated): 2 s
        "#]],
    );
}

#[test]
fn dropped_statements_are_reported() {
    let facts = "statements present
        pharos_postgres_statements_evictions_total 40 rate 0.2
        pharos_postgres_statements_tracked 4980
        pharos_postgres_statements_max 5000";
    check(
        "statement-evictions",
        facts,
        expect![[r#"
        statement-evictions: raise info: pg_stat_statements drops statements
    "#]],
    );
    check_texts(
        "statement-evictions",
        facts,
        expect![[r#"
            pg_stat_statements drops statements
            It dropped its least used entries 2 times in the last 10 s, so rates and sums of statements are too low.
            > More different statements than it can hold, often because values are written into the text: lists of varying length, or temporary tables with names of their own.
            > Pass values as parameters (`= ANY($1)` instead of a list), or `ALTER SYSTEM SET pg_stat_statements.max = 10000;`, which needs a restart.
            - statements tracked: 4980
            - pg_stat_statements.max: 5000
        "#]],
    );
}
