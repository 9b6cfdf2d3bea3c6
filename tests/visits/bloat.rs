//! No bloat that cannot be estimated is reported as none.
//!
//! Estimates against what pgstattuple counts page by page.

use std::fmt::Write as _;

use pharos::demo::postgres::{PostgresOptions, PostgresServer};
use pharos::demo::session::Session;

use super::{session, wait_row};
use crate::fixture::{TestAgent, postgres_with, runtime_tasks};

/// What lets the role estimate: facts about values, no values.
const CURE: &str =
    "GRANT SELECT (starelid, staattnum, stainherit, stanullfrac, stawidth, stadistinct) ON pg_catalog.pg_statistic TO \"pharos\"";

/// Points of a hundred by which an estimate may be off.
const OFF_MAX: f64 = 15.0;

const TABLES: [(&str, &str); 8] = [
    ("fresh", "CREATE TABLE fresh AS SELECT g AS id, md5(g::text) AS note FROM generate_series(1, 50000) g"),
    (
        "deleted",
        "CREATE TABLE deleted AS SELECT g AS id, md5(g::text) AS note FROM generate_series(1, 50000) g;
         DELETE FROM deleted WHERE id % 5 <> 0",
    ),
    (
        "not_vacuumed",
        "CREATE TABLE not_vacuumed AS SELECT g AS id, md5(g::text) AS note FROM generate_series(1, 50000) g;
         ANALYZE not_vacuumed; DELETE FROM not_vacuumed WHERE id % 2 = 0",
    ),
    (
        "wide",
        "CREATE TABLE wide AS SELECT g AS id, repeat(md5(g::text), 25) AS note FROM generate_series(1, 20000) g;
         DELETE FROM wide WHERE id % 2 = 0",
    ),
    (
        "sparse",
        "CREATE TABLE sparse AS SELECT g AS id, CASE WHEN g % 10 = 0 THEN md5(g::text) END AS a, NULL::int AS b, (g % 1000)::int2 AS c, \
         CASE WHEN g % 2 = 0 THEN g::int8 END AS d, true AS e FROM generate_series(1, 50000) g",
    ),
    (
        "toasted",
        "CREATE TABLE toasted (id int, note text); ALTER TABLE toasted ALTER note SET STORAGE EXTERNAL;
         INSERT INTO toasted SELECT g, repeat(md5(g::text), 100) FROM generate_series(1, 5000) g; DELETE FROM toasted WHERE id % 4 <> 0",
    ),
    (
        "loose",
        "CREATE TABLE loose (id int, note text) WITH (fillfactor = 50);
         INSERT INTO loose SELECT g, md5(g::text) FROM generate_series(1, 50000) g",
    ),
    (
        "mixed",
        "CREATE TABLE mixed AS SELECT (g % 1000)::int2 AS a, md5(g::text) AS b, g::int8 AS c, now() AS d, (g % 3)::text AS e, g / 7.0 AS f, \
         g % 2 = 0 AS g FROM generate_series(1, 50000) g; UPDATE mixed SET b = b || 'x'",
    ),
];

const INDEXES: [(&str, &str, &str); 6] = [
    ("fresh_id", "fresh", "(id)"),
    ("fresh_note", "fresh", "(note)"),
    ("deleted_id", "deleted", "(id)"),
    ("wide_lower", "wide", "(upper(left(note, 50)))"),
    ("mixed_few", "mixed", "(e)"),
    ("sparse_two", "sparse", "(a, c)"),
];

/// A table's share that is neither a live row nor meant to be free.
async fn table_truth(session: &Session, table: &str) -> f64 {
    let sql = format!(
        "SELECT (100 * (s.free_space + s.dead_tuple_len - CASE WHEN '{table}' = 'loose' THEN 0.5 * s.table_len ELSE 0 END) / s.table_len)::float8
         FROM pgstattuple('{table}') s"
    );
    session.query_value::<f64>(&sql).await.unwrap().max(0.0)
}

/// What leaves would not need if they were filled as CREATE INDEX fills them, with pages that are empty or deleted.
async fn index_truth(session: &Session, index: &str) -> f64 {
    let sql = format!(
        "SELECT 100 * (1 - (s.leaf_pages * least(s.avg_leaf_density, 90) / 90 + s.internal_pages + 1) * 8192 / s.index_size)::float8
         FROM pgstatindex('{index}') s"
    );
    session.query_value::<f64>(&sql).await.unwrap().max(0.0)
}

async fn make(server: &PostgresServer) -> Session {
    let setup = session(server, "postgres").await;
    setup.run("CREATE EXTENSION pgstattuple").await.unwrap();
    for (_, sql) in TABLES {
        setup.run(sql).await.unwrap();
    }
    for (name, table, columns) in INDEXES {
        setup.run(&format!("CREATE INDEX {name} ON {table} {columns}")).await.unwrap();
    }
    setup
        .run("INSERT INTO deleted SELECT g, 'x' FROM generate_series(100000, 180000) g; DELETE FROM deleted WHERE id > 100000")
        .await
        .unwrap();
    for (name, _) in TABLES.iter().filter(|(name, _)| *name != "not_vacuumed") {
        setup.run(&format!("VACUUM ANALYZE {name}")).await.unwrap();
    }
    setup.run("SELECT pg_stat_force_next_flush()").await.unwrap();
    setup
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn estimates_are_near_the_counts_of_pgstattuple_and_distinguished_from_unknown_values() {
    let (tasks, _stop) = runtime_tasks();
    let settings = vec![("autovacuum".to_owned(), "off".to_owned())];
    let server = postgres_with(PostgresOptions { settings, ..PostgresOptions::default() }, &tasks).await;
    let setup = make(&server).await;
    setup.run("CREATE TABLE unknown AS SELECT g AS id, md5(g::text) AS note FROM generate_series(1, 50000) g").await.unwrap();
    setup.run("VACUUM unknown").await.unwrap();

    // pg_stats would be empty for this role, not refused.
    let agent = TestAgent::watch(&server).await;
    for (table, wanted) in [("tables", ("relation", "fresh")), ("indexes", ("index", "fresh_id"))] {
        let row = wait_row(&agent, &server, table, &[wanted], |row| row["bloat_state"] == "not-estimable").await;
        assert!(row["bloat_bytes"].is_null() && row["bloat_ratio"].is_null(), "{row:#}");
        assert!(row["bloat_cure"].as_str().unwrap().contains(CURE), "{row:#}");
    }
    let answer = agent.wait_json("/api/database/indexes?fact=bloated", |answer| answer["not_judged"][0].is_object()).await;
    assert!(answer["not_judged"][0]["why"].as_str().unwrap().contains("pharos doctor"), "{answer:#}");
    agent.stop().await;

    setup.run(CURE).await.unwrap();
    let agent = TestAgent::watch(&server).await;
    let estimate = |row: &serde_json::Value| row["bloat_ratio"].as_f64().map_or(f64::NAN, |ratio| ratio * 100.0);
    let mut report = String::new();
    let mut worst = 0.0_f64;
    for (name, _) in TABLES {
        let row = wait_row(&agent, &server, "tables", &[("relation", name)], |row| row["bloat_state"] == "estimated").await;
        let (estimate, truth) = (estimate(&row), table_truth(&setup, name).await);
        let _ = writeln!(report, "{name:<14} estimated {estimate:5.1} %, counted {truth:5.1} %");
        worst = worst.max((estimate - truth).abs());
    }
    for (name, ..) in INDEXES {
        let row = wait_row(&agent, &server, "indexes", &[("index", name)], |row| row["bloat_state"] == "estimated").await;
        let (estimate, truth) = (estimate(&row), index_truth(&setup, name).await);
        let _ = writeln!(report, "{name:<14} estimated {estimate:5.1} %, counted {truth:5.1} %");
        worst = worst.max((estimate - truth).abs());
    }
    use std::io::Write as _;
    std::io::stderr().write_all(report.as_bytes()).unwrap();
    assert!(worst <= OFF_MAX, "{report}");
    let unknown = wait_row(&agent, &server, "tables", &[("relation", "unknown")], |_| true).await;
    assert!(unknown["bloat_state"] == "no-statistics" && unknown["bloat_bytes"].is_null(), "{unknown:#}");
}
