//! No old counter leaves an alert open whose cause is gone, and no restart loses since when an index is unused.
//!
//! Facts against indexes and tables, sequences and extensions.

use serde_json::Value;

use super::{find, session, wait_row, wait_rows};
use crate::fixture::{TestAgent, eventually, postgres, postgres_config, runtime_tasks, server_id};

/// Everything as in other tests, but an index is unused at once.
const AT_ONCE: &str = r#"
[collect]
budget = 1.0
unused_after = "1ms"
[collect.interval]
tables = "1s"
indexes = "1s"
sequences = "1s"
extensions = "1s"
"#;

const SCHEMA: &str = "
    CREATE TABLE parent (id int PRIMARY KEY, code text UNIQUE);
    CREATE TABLE child (id int PRIMARY KEY, parent_id int REFERENCES parent, other_id int REFERENCES parent (id), code text, mail text);
    CREATE INDEX child_code ON child (code);
    CREATE INDEX child_code_again ON child (code);
    CREATE INDEX child_code_desc ON child (code DESC);
    CREATE INDEX child_code_pattern ON child (code text_pattern_ops);
    CREATE INDEX child_code_mail ON child (code, mail);
    CREATE INDEX child_lower ON child (lower(mail));
    CREATE INDEX child_lower_again ON child (lower(mail), id);
    CREATE INDEX child_part ON child (mail) WHERE code IS NOT NULL;
    CREATE INDEX child_part_again ON child (mail) WHERE code IS NOT NULL;
    CREATE INDEX child_id_plain ON child (id);
    CREATE INDEX child_parent ON child (parent_id) WHERE parent_id IS NOT NULL;
    CREATE TABLE keyless (note text);
    CREATE TABLE keyless_uncounted (note text) WITH (autovacuum_enabled = off);
    INSERT INTO keyless_uncounted SELECT repeat('x', 100) FROM generate_series(1, 1000);
    CREATE TABLE parts (id int, day date) PARTITION BY RANGE (day);
    CREATE TABLE parts_1 PARTITION OF parts FOR VALUES FROM ('2024-01-01') TO ('2025-01-01');
    CREATE TABLE parts_2 PARTITION OF parts FOR VALUES FROM ('2025-01-01') TO ('2026-01-01') PARTITION BY RANGE (day);
    CREATE TABLE parts_2_1 PARTITION OF parts_2 FOR VALUES FROM ('2025-01-01') TO ('2025-07-01');
    INSERT INTO parts SELECT g, '2024-01-01'::date + g % 500 FROM generate_series(1, 1000) g;
    CREATE TABLE parts_to (parent_id int REFERENCES parent, day date) PARTITION BY RANGE (day);
    CREATE TABLE parts_to_1 PARTITION OF parts_to FOR VALUES FROM ('2024-01-01') TO ('2026-01-01');
    INSERT INTO parts_to SELECT NULL, '2024-01-01'::date + g % 500 FROM generate_series(1, 1000) g;
    ANALYZE parts_1, parts_2_1, parts_to_1;
    CREATE INDEX parts_id ON parts (id);
    CREATE INDEX parts_id_again ON parts (id);
    CREATE TABLE twice (id int); INSERT INTO twice VALUES (1), (1)";

fn of<'a>(facts: &'a [Value], fact: &str) -> Vec<&'a str> {
    let mut names: Vec<&str> = facts.iter().filter(|row| row["fact"] == fact).map(|row| row["index"].as_str().unwrap()).collect();
    names.sort_unstable();
    names
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn problems_of_indexes_and_tables_are_reported_with_their_evidence() {
    let (tasks, _stop) = runtime_tasks();
    let server = postgres(&tasks).await;
    let setup = session(&server, "postgres").await;
    setup.run(SCHEMA).await.unwrap();
    setup.run("CREATE UNIQUE INDEX CONCURRENTLY twice_id ON twice (id)").await.unwrap_err();
    let agent = TestAgent::watch(&server).await;
    let facts = wait_rows(&agent, &server, "index_facts", |rows| !rows.is_empty()).await;
    // Pattern operators, descending order and a partial condition make an index a different one. Two equal indexes that are both
    // superfluous are both reported, the second one as a duplicate.
    assert_eq!(of(&facts, "duplicate"), ["child_code_again", "child_part_again", "parts_id_again"], "{facts:#?}");
    assert_eq!(of(&facts, "redundant"), ["child_code", "child_id_plain", "child_lower"], "{facts:#?}");
    assert_eq!(of(&facts, "invalid"), ["twice_id"], "{facts:#?}");
    let unused = of(&facts, "unused");
    assert!(unused.contains(&"child_part") && !unused.contains(&"child_pkey") && !unused.contains(&"parent_code_key"), "{unused:?}");
    assert!(!unused.iter().any(|name| name.starts_with("parts")), "{unused:?}");
    let young = find(&facts, &[("fact", "unused"), ("index", "child_part_again")]).unwrap();
    assert!(young["guard"].as_str().unwrap().starts_with("statistics too young"), "{young:#}");
    // The index of a partitioned table has no size of its own, so those of all partitions count.
    let partitioned = find(&facts, &[("fact", "duplicate"), ("index", "parts_id_again")]).unwrap();
    assert!(partitioned["size_bytes"].is_null() && partitioned["partitions_size_bytes"].as_i64().unwrap() >= 4 * 8_192, "{partitioned:#}");
    let lower = find(&facts, &[("fact", "redundant"), ("index", "child_lower")]).unwrap();
    assert_eq!(lower["other"], "child_lower_again");

    let schema = wait_rows(&agent, &server, "schema_facts", |rows| !rows.is_empty()).await;
    let key = find(&schema, &[("fact", "foreign-key-without-index"), ("relation", "child")]).unwrap();
    assert_eq!((&key["name"], &key["columns"]), (&"child_other_id_fkey".into(), &"other_id".into()), "{schema:#?}");
    assert_eq!(schema.iter().filter(|row| row["fact"] == "foreign-key-without-index").count(), 2, "{schema:#?}");
    // A partitioned table has the rows of its partitions, over all levels.
    for (relation, fact) in [("parts", "no-primary-key"), ("parts_to", "no-primary-key"), ("parts_to", "foreign-key-without-index")] {
        let partitioned = find(&schema, &[("fact", fact), ("relation", relation)]).unwrap();
        assert_eq!(partitioned["rows"], 1000.0, "{partitioned:#}");
        assert!(partitioned["size_bytes"].as_i64().unwrap() > 0, "{partitioned:#}");
    }
    let uncounted = find(&schema, &[("fact", "no-primary-key"), ("relation", "keyless_uncounted")]).unwrap();
    assert!(uncounted["rows"].is_null() && uncounted["size_bytes"].as_i64() > Some(100_000), "{uncounted:#}");
    let keyless: Vec<&str> =
        schema.iter().filter(|row| row["fact"] == "no-primary-key").filter_map(|row| row["relation"].as_str()).collect();
    assert!(
        keyless.contains(&"keyless")
            && keyless.contains(&"parts")
            && !keyless.iter().any(|name| name.starts_with("parts_1") || name.starts_with("parts_2")),
        "{keyless:?}"
    );

    // A dropped index is not reported any more, and a new one is reported at once.
    setup
        .run("DROP INDEX child_code_again; CREATE INDEX keyless_note ON keyless (note); CREATE INDEX keyless_same ON keyless (note)")
        .await
        .unwrap();
    wait_rows(&agent, &server, "index_facts", |rows| of(rows, "duplicate") == ["child_part_again", "keyless_same", "parts_id_again"]).await;
    let fresh = wait_row(&agent, &server, "index_facts", &[("fact", "unused"), ("index", "keyless_note")], |_| true).await;
    assert!(fresh["guard"].is_string(), "{fresh:#}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn conditions_of_any_length_end_no_visit_of_indexes() {
    let (tasks, _stop) = runtime_tasks();
    let server = postgres(&tasks).await;
    let setup = session(&server, "postgres").await;
    // Each long tree has some seventy kilobytes, so all of them together are more than one answer may have.
    setup
        .run(
            "CREATE TABLE busy (id int, code text);
             DO $$ DECLARE
                 long text := (SELECT string_agg('id <> ' || g, ' AND ') FROM generate_series(1001, 1200) g);
                 short text := (SELECT string_agg('id <> ' || g, ' AND ') FROM generate_series(1001, 1015) g);
             BEGIN
                 FOR i IN 1..700 LOOP EXECUTE format('CREATE INDEX long_%s ON busy (id) WHERE id <> 1 AND %s', i, long); END LOOP;
                 EXECUTE format('CREATE INDEX part_one ON busy (id) WHERE (id <> 1) AND %s', short);
                 EXECUTE format('CREATE INDEX part_same ON busy (id) WHERE id <> 1 AND %s', short);
                 EXECUTE format('CREATE INDEX part_other ON busy (id) WHERE id <> 2 AND %s', short);
                 EXECUTE format('CREATE INDEX term_one ON busy ((id <> 1 AND %s), code, (id + 1))', short);
                 EXECUTE format('CREATE INDEX term_same ON busy ((id <> 1 AND %s), code, (id + 1))', short);
                 EXECUTE format('CREATE INDEX term_other ON busy ((id <> 1 AND %s), code, (id + 2))', short);
             END $$",
        )
        .await
        .unwrap();
    let bytes: i64 = setup.query_value("SELECT sum(length(indpred::text)) FROM pg_index WHERE indpred IS NOT NULL").await.unwrap();
    assert!(bytes > 40 << 20, "{bytes}");
    let agent = TestAgent::watch(&server).await;
    let facts = wait_rows(&agent, &server, "index_facts", |rows| of(rows, "duplicate").len() > 1).await;
    assert_eq!(of(&facts, "duplicate"), ["part_same", "term_same"], "{facts:#?}");
    agent.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_table_that_is_read_as_a_whole_is_reported_until_its_index_is_used_and_a_mostly_empty_index_is_reported() {
    let (tasks, _stop) = runtime_tasks();
    let server = postgres(&tasks).await;
    let setup = session(&server, "postgres").await;
    setup
        .run(
            "CREATE TABLE scanned AS SELECT g AS id, repeat('x', 500) AS note FROM generate_series(1, 30000) g;
             CREATE TABLE looked_up AS SELECT * FROM scanned; ALTER TABLE looked_up ADD PRIMARY KEY (id);
             CREATE TABLE long_ago AS SELECT * FROM scanned; CREATE TABLE probed AS SELECT * FROM scanned;
             CREATE TABLE shared AS SELECT * FROM scanned; ALTER TABLE shared SET (parallel_workers = 2);
             CREATE TABLE thinned AS SELECT g AS id FROM generate_series(1, 800000) g; CREATE INDEX thinned_id ON thinned (id);
             DELETE FROM thinned WHERE id % 10 <> 0;
             GRANT SELECT (starelid, staattnum, stainherit, stanullfrac, stawidth, stadistinct) ON pg_catalog.pg_statistic TO pharos",
        )
        .await
        .unwrap();
    setup.run("VACUUM ANALYZE thinned").await.unwrap();
    setup.run("ANALYZE scanned, looked_up, long_ago, probed, shared").await.unwrap();
    setup.run(&"SELECT count(*) FROM long_ago;".repeat(150)).await.unwrap();
    setup.run("SELECT pg_stat_force_next_flush()").await.unwrap();
    let agent = TestAgent::watch(&server).await;
    // Reads before the agent started are not new, so they are neither fine nor bad.
    let unknown = [("respect", "sequential-scans"), ("relation", "scanned")];
    let unjudged = wait_row(&agent, &server, "unjudged_indexes", &unknown, |_| true).await;
    assert!(unjudged["why"].as_str().unwrap().contains("less than an hour"), "{unjudged:#}");

    setup.run(&format!("SET enable_seqscan = off; {}", "SELECT note FROM looked_up WHERE id = 7;".repeat(500))).await.unwrap();
    setup.run("SET enable_seqscan = on; SET parallel_setup_cost = 0; SET parallel_tuple_cost = 0").await.unwrap();
    setup.run(&"SELECT note FROM probed LIMIT 1;".repeat(1_000)).await.unwrap();
    setup.run(&"SELECT count(*) FROM shared;".repeat(60)).await.unwrap();
    setup.run("SELECT pg_stat_force_next_flush()").await.unwrap();
    let workers = "SELECT seq_scan >= 120 AND seq_tup_read = 60 * 30000 FROM pg_stat_user_tables WHERE relname = 'shared'";
    eventually(&setup, workers).await;
    // None of the tables above was read a hundred times as a whole, so only the last one is reported.
    setup.run("SET max_parallel_workers_per_gather = 0").await.unwrap();
    setup.run(&"SELECT count(*) FROM scanned;".repeat(150)).await.unwrap();
    setup.run("SELECT pg_stat_force_next_flush()").await.unwrap();
    let whole = [("fact", "sequential-scans"), ("relation", "scanned")];
    let scanned = wait_row(&agent, &server, "schema_facts", &whole, |_| true).await;
    assert!(scanned["evidence"].as_str().unwrap().contains("a scan reads 30000 of 30000 rows"), "{scanned:#}");
    let thinned = wait_row(&agent, &server, "index_facts", &[("fact", "bloated"), ("index", "thinned_id")], |_| true).await;
    assert!(thinned["evidence"].as_str().unwrap().contains('%'), "{thinned:#}");
    let facts = wait_rows(&agent, &server, "schema_facts", |rows| !rows.is_empty()).await;
    let told: Vec<&Value> = facts.iter().filter(|row| row["fact"] == "sequential-scans").map(|row| &row["relation"]).collect();
    assert_eq!(told, ["scanned"], "{facts:#?}");

    setup.run("CREATE INDEX scanned_id ON scanned (id)").await.unwrap();
    setup.run(&format!("SET enable_seqscan = off; {}", "SELECT note FROM scanned WHERE id = 7;".repeat(500))).await.unwrap();
    setup.run("SELECT pg_stat_force_next_flush()").await.unwrap();
    wait_rows(&agent, &server, "schema_facts", |rows| !rows.is_empty() && find(rows, &whole).is_none()).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_time_of_an_unused_index_survives_restarts_of_the_agent() {
    let (tasks, _stop) = runtime_tasks();
    let server = postgres(&tasks).await;
    let setup = session(&server, "postgres").await;
    setup.run("CREATE TABLE pages (id int PRIMARY KEY, note text); CREATE INDEX pages_note ON pages (note)").await.unwrap();
    let config = format!("{}{}", AT_ONCE.replace("1ms", "5s"), postgres_config("app", &server));
    let agent = TestAgent::start_with(&config, Vec::new()).await;
    let wanted = [("fact", "unused"), ("index", "pages_note")];
    let first = wait_row(&agent, &server, "index_facts", &wanted, |_| true).await;
    assert!(first["guard"].is_string(), "known at once: {first:#}");
    wait_row(&agent, &server, "index_facts", &wanted, |row| row["guard"].is_null()).await;
    let folder = agent.stop().await;
    let agent = TestAgent::start_in(folder, &config, Vec::new()).await;
    let first = wait_row(&agent, &server, "index_facts", &wanted, |_| true).await;
    assert!(first["guard"].is_null(), "the restart forgot: {first:#}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_api_lists_facts_by_datname_and_kind_and_refuses_unknown_ones() {
    let (tasks, _stop) = runtime_tasks();
    let server = postgres(&tasks).await;
    let setup = session(&server, "postgres").await;
    setup.run(SCHEMA).await.unwrap();
    let agent = TestAgent::start_with(&format!("{AT_ONCE}{}", postgres_config("app", &server)), Vec::new()).await;
    let answer = agent.wait_json("/api/database/indexes?database=app&fact=unused&limit=1", |answer| answer["items"][0].is_object()).await;
    assert_eq!(answer["items"].as_array().unwrap().len(), 1, "{answer:#}");
    // At the first visit, the age of an index is unknown, however long scans have been counted.
    let is_known = |answer: &Value| {
        let items = answer["items"].as_array().unwrap();
        items.iter().any(|item| item["index"] == "child_part_again" && item["guard"].is_null())
    };
    let all = agent.wait_json("/api/database/indexes?fact=unused&datname=postgres", is_known).await;
    let items = all["items"].as_array().unwrap();
    let guard = |index: &str| &items.iter().find(|item| item["index"] == index).unwrap()["guard"];
    assert!(guard("child_part").as_str().unwrap().starts_with("it does the work of child_part_again"), "{all:#}");
    assert!(guard("child_parent").as_str().unwrap().contains("foreign key child_parent_id_fkey"), "{all:#}");
    assert!(items.iter().all(|item| item["server"] == server_id(server.port()) && item["fact"] == "unused"), "{all:#}");
    let elsewhere = agent.json("/api/database/indexes?datname=elsewhere").await;
    assert_eq!(elsewhere["items"].as_array().unwrap().len(), 0, "{elsewhere:#}");
    for (path, status, hint) in [
        ("/api/database/indexes?fact=ugly", 400, "there are: unused, duplicate"),
        ("/api/database/indexes?database=none", 404, "configured are: app"),
    ] {
        let (found, body) = agent.request(path, &[]).await;
        assert!(found == status && body.contains(hint), "{path}: {found} {body}");
    }
    assert_eq!(agent.request("/api/database/indexes?limit=-1", &[]).await.0, 400);
    assert_eq!(agent.request("/api/database/indexes?fcat=unused", &[]).await.0, 400);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_sequence_is_as_full_as_its_column_and_hidden_values_are_not_guessed() {
    let (tasks, _stop) = runtime_tasks();
    let server = postgres(&tasks).await;
    let setup = session(&server, "postgres").await;
    setup
        .run(
            "CREATE SEQUENCE wide; CREATE TABLE narrow (id int DEFAULT nextval('wide')); SELECT setval('wide', 1932735283);
             CREATE TABLE owned (id smallserial); SELECT setval('owned_id_seq', 29491);
             CREATE TABLE big (id bigint GENERATED ALWAYS AS IDENTITY); SELECT setval('big_id_seq', 1932735283);
             CREATE SEQUENCE falling INCREMENT -1 MINVALUE -100 MAXVALUE -1; SELECT setval('falling', -76);
             CREATE SEQUENCE fresh; CREATE SEQUENCE secret; SELECT setval('secret', 5);
             GRANT SELECT ON wide, owned_id_seq, big_id_seq, falling, fresh TO pharos",
        )
        .await
        .unwrap();
    let agent = TestAgent::watch(&server).await;
    let rows = wait_rows(&agent, &server, "sequences", |rows| rows.len() == 6).await;
    let of = |name: &str| find(&rows, &[("sequence", name)]).unwrap();
    for (name, ratio) in [("wide", 0.9), ("owned_id_seq", 0.9), ("falling", 0.7575)] {
        assert!((of(name)["used_ratio"].as_f64().unwrap() - ratio).abs() < 0.001, "{:#}", of(name));
    }
    assert!(of("big_id_seq")["used_ratio"].as_f64().unwrap() < 1e-6);
    assert_eq!((&of("wide")["column_type"], &of("wide")["relation"]), (&"int4".into(), &"narrow".into()));
    assert_eq!((&of("fresh")["state"], &of("secret")["state"]), (&"never-used".into(), &"no-privilege".into()));
    assert!(of("secret")["last_value"].is_null() && of("secret")["used_ratio"].is_null());
    let metrics = agent.wait_metrics(|text| text.contains("pharos_postgres_sequence_used_ratio{")).await;
    assert_eq!(metrics.matches("pharos_postgres_sequence_used_ratio{").count(), 3, "only the full ones have a series");

    // A change of a sequence locks its value for others, which delays no visit.
    setup.run("BEGIN; ALTER SEQUENCE wide CACHE 5").await.unwrap();
    let locked = wait_row(&agent, &server, "sequences", &[("sequence", "wide")], |row| row["state"] == "locked").await;
    assert!(locked["last_value"].is_null(), "{locked:#}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_outdated_extension_is_reported() {
    let (tasks, _stop) = runtime_tasks();
    let server = postgres(&tasks).await;
    let setup = session(&server, "postgres").await;
    setup.run("CREATE EXTENSION pgstattuple VERSION '1.4'").await.unwrap();
    let available: String =
        setup.query_value("SELECT default_version::text FROM pg_available_extensions WHERE name = 'pgstattuple'").await.unwrap();
    let agent = TestAgent::watch(&server).await;
    let row = wait_row(&agent, &server, "extensions", &[("extension", "pgstattuple")], |row| row["installed"] == "1.4").await;
    assert_eq!((&row["datname"], &row["available"]), (&"postgres".into(), &available.into()), "{row:#}");
    let of = crate::fixture::series("pharos_postgres_extensions_outdated", server.port(), &[("datname", "postgres")]);
    agent.wait_series(&of, |outdated| outdated == 1.0).await;
}
