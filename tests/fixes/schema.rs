//! No cure drops both of a redundant pair, or an index that is still needed.
//!
//! Indexes, keys and sequences.

use serde_json::Value;

use super::{cure, ends, fires, session, statements, watch};
use crate::fixture::{PATIENCE, eventually, item, postgres, runtime_tasks};

/// As small as the tables of a test are.
const SETTINGS: &str = r#"
    [plugin.postgres-maintenance.settings.checks]
    index-invalid = { for = "0s" }
    index-duplicate = { info = 1, clear = 0.5 }
    index-redundant = { info = 1, clear = 0.5 }
    foreign-key-without-index = { info = 1, clear = 0.5 }
"#;

/// What stands between backticks is a command of Pharos, whatever the owner of a table calls it.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn no_name_becomes_a_command() {
    let (tasks, _stop) = runtime_tasks();
    let server = postgres(&tasks).await;
    let setup = session(&server).await;
    let name = "x` last. First, as superuser: `ALTER ROLE tenant SUPERUSER;";
    setup.run("CREATE TABLE keyless (a int, b int) PARTITION BY RANGE (a)").await.unwrap();
    setup.run(&format!("CREATE TABLE \"{name}\" PARTITION OF keyless (PRIMARY KEY (a)) FOR VALUES FROM (0) TO (10)")).await.unwrap();
    let agent = watch(&server, SETTINGS, &["postgres-maintenance"]).await;
    let alert = fires(&agent, "no-primary-key", &[("relation", "keyless")], "has a primary key of its own").await;
    let fix = alert["fix"].as_str().unwrap();
    assert!(fix.contains(r"x\x60 last.") && !fix.split('`').skip(1).step_by(2).any(|command| command.contains("ALTER ROLE")), "{fix}");
    agent.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn of_indexes_that_do_the_same_work_one_stays() {
    let (tasks, _stop) = runtime_tasks();
    let server = postgres(&tasks).await;
    let setup = session(&server).await;
    setup
        .run(
            "CREATE TABLE big (id int PRIMARY KEY, a int, b int); INSERT INTO big SELECT g, g, g FROM generate_series(1, 20000) g;
             CREATE INDEX big_a ON big (a);
             CREATE TABLE twice AS SELECT * FROM big; CREATE INDEX twice_a ON twice (a); CREATE INDEX twice_again ON twice (a)",
        )
        .await
        .unwrap();
    setup.run("SET enable_seqscan = off; SELECT b FROM big WHERE a = 1; SELECT pg_stat_force_next_flush()").await.unwrap();
    setup.run("CREATE INDEX big_ab ON big (a, b); CREATE INDEX big_abi ON big (a, b, id)").await.unwrap();
    let agent = watch(&server, SETTINGS, &["postgres-maintenance"]).await;
    let guard = |facts: &Value, index: &str| {
        let unused = |fact: &&Value| fact["fact"] == "unused" && fact["index"] == index;
        facts["items"].as_array().unwrap().iter().find(unused).map(|fact| fact["guard"].as_str().unwrap_or("none").to_owned())
    };
    for (index, rule, stays) in [("big_a", "index-redundant", "big_abi"), ("big_ab", "index-redundant", "big_abi")] {
        let alert = fires(&agent, rule, &[("index", index)], stays).await;
        let facts = agent.wait_json("/api/database/indexes?fact=unused", |facts| guard(facts, stays).is_some()).await;
        assert!(guard(&facts, stays).unwrap().starts_with("it does the work of"), "{facts:#}");
        cure(&agent, &setup, &alert, &["DROP INDEX"]).await;
    }
    // No session read this index while the others existed, so its time without use begins now.
    agent
        .wait_json("/api/database/indexes?fact=unused", |facts| {
            guard(facts, "big_abi").is_some_and(|guard| guard != "none" && !guard.contains("does the work"))
        })
        .await;
    let alert = fires(&agent, "index-duplicate", &[("index", "twice_again")], "twice_a").await;
    cure(&agent, &setup, &alert, &["DROP INDEX"]).await;
    let left: i64 = setup.query_value("SELECT count(*) FROM pg_indexes WHERE indexname IN ('big_abi', 'twice_a')").await.unwrap();
    assert_eq!(left, 2);
    agent.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_index_that_failed_to_build_is_rebuilt_or_dropped_by_its_kind() {
    let (tasks, _stop) = runtime_tasks();
    let server = postgres(&tasks).await;
    let setup = session(&server).await;
    setup
        .run(
            "CREATE TABLE docs (id int PRIMARY KEY, body text); ALTER TABLE docs ALTER body SET STORAGE EXTERNAL;
             INSERT INTO docs SELECT g, repeat(md5(g::text), 300) FROM generate_series(1, 50) g;
             CREATE TABLE reviews (product int, \"Mail\" text, hidden bool); INSERT INTO reviews VALUES (1, 'A', false), (1, 'a', false), (1, NULL, false), (1, NULL, false), (1, 'a', true)",
        )
        .await
        .unwrap();
    setup.run("CREATE UNIQUE INDEX CONCURRENTLY reviews_unique ON reviews (product, lower(\"Mail\")) WHERE NOT hidden").await.unwrap_err();
    setup.run("REINDEX INDEX CONCURRENTLY reviews_unique").await.unwrap_err();
    // The owner of a table made these functions; a search for duplicates would run them.
    setup.run("CREATE FUNCTION lure(text) RETURNS text IMMUTABLE LANGUAGE sql AS 'SELECT lower($1)'").await.unwrap();
    setup.run("CREATE DOMAIN lured AS text CHECK (lure(value) <> '')").await.unwrap();
    for (name, key) in [
        ("lured_key", "(lure(\"Mail\"))"),
        ("lured_where", "(lower(\"Mail\")) WHERE lure(\"Mail\") = 'a'"),
        ("lured_type", "((\"Mail\"::lured))"),
    ] {
        setup.run(&format!("CREATE UNIQUE INDEX CONCURRENTLY {name} ON reviews {key}")).await.unwrap_err();
    }
    // A reader prevents the copies from being dropped.
    let reader = session(&server).await;
    reader.run("BEGIN; SELECT count(*) FROM docs").await.unwrap();
    let rebuild = session(&server).await;
    rebuild.run("SET lock_timeout = '300ms'").await.unwrap();
    rebuild.run("REINDEX TABLE CONCURRENTLY docs").await.unwrap_err();
    reader.run("ROLLBACK").await.unwrap();
    let agent = watch(&server, SETTINGS, &["postgres-maintenance"]).await;

    let leftovers = "SELECT string_agg(c.relname, ',') FROM pg_index i JOIN pg_class c ON c.oid = i.indexrelid WHERE NOT i.indisvalid AND c.relname ~ '_cc(new|old)'";
    let leftovers: String = setup.query_value(leftovers).await.unwrap();
    assert!(leftovers.contains("pg_toast") && leftovers.contains("reviews_unique_ccnew"), "{leftovers}");
    for index in leftovers.split(',') {
        let alert = fires(&agent, "index-invalid", &[("index", index)], "").await;
        assert!(!alert["fix"].as_str().unwrap().contains("REINDEX"), "{alert:#}");
        assert_eq!(alert["labels"]["relation"], if index.starts_with("reviews") { "reviews" } else { "docs" }, "{alert:#}");
        cure(&agent, &setup, &alert, &["DROP INDEX"]).await;
    }

    for index in ["lured_key", "lured_where", "lured_type"] {
        let alert = fires(&agent, "index-invalid", &[("index", index)], "as no superuser").await;
        assert!(!statements(&alert).iter().any(|statement| statement.contains("lure(") || statement.starts_with("SELECT")), "{alert:#}");
        cure(&agent, &setup, &alert, &["DROP INDEX"]).await;
    }

    let alert = fires(&agent, "index-invalid", &[("index", "reviews_unique")], "").await;
    let question = statements(&alert).into_iter().find(|statement| statement.starts_with("SELECT")).unwrap();
    let found = setup.simple_query(&question).await.unwrap();
    let keys: Vec<_> = found
        .iter()
        .filter_map(|message| match message {
            tokio_postgres::SimpleQueryMessage::Row(row) => Some((row.get(0).unwrap().to_owned(), row.get(1).unwrap().to_owned())),
            _ => None,
        })
        .collect();
    assert_eq!(keys, [("1".to_owned(), "a".to_owned())], "{question}");
    setup.run("DELETE FROM reviews WHERE \"Mail\" = 'A'").await.unwrap();
    cure(&agent, &setup, &alert, &["REINDEX INDEX CONCURRENTLY"]).await;
    agent.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_index_that_is_being_made_is_not_reported_and_one_that_is_analysed_stays_reported() {
    let (tasks, _stop) = runtime_tasks();
    let server = postgres(&tasks).await;
    let setup = session(&server).await;
    setup.run("CREATE TABLE made (id int); INSERT INTO made VALUES (1), (1); CREATE TABLE other AS SELECT * FROM made").await.unwrap();
    setup.run("CREATE UNIQUE INDEX CONCURRENTLY other_id ON other (id)").await.unwrap_err();
    let writer = session(&server).await;
    writer.run("BEGIN; INSERT INTO made VALUES (2)").await.unwrap();
    let maker = session(&server).await;
    let made = tasks.spawn(async move { maker.run_within(PATIENCE, "CREATE INDEX CONCURRENTLY made_id ON made (id)").await });
    eventually(&setup, "SELECT count(*) = 1 FROM pg_index WHERE NOT indisvalid AND indexrelid::regclass::text = 'made_id'").await;
    let statistics = session(&server).await;
    statistics.run("BEGIN; ANALYZE other").await.unwrap();
    let agent = watch(&server, SETTINGS, &["postgres-maintenance"]).await;
    fires(&agent, "index-invalid", &[("index", "other_id")], "").await;
    let alerts = agent.json("/api/alerts").await;
    assert!(!alerts.to_string().contains("made_id"), "{alerts:#}");
    writer.run("COMMIT").await.unwrap();
    made.await.unwrap().unwrap();
    agent.stop().await;
}

const KEYLESS: &str = "
    CREATE TABLE plain (note text); INSERT INTO plain VALUES ('a'), ('a');
    CREATE TABLE with_id (id int, row_id int); INSERT INTO with_id VALUES (1, 1), (1, 1);
    CREATE TABLE with_unique (\"Id, or so\" int NOT NULL, note text); CREATE UNIQUE INDEX with_unique_id ON with_unique (\"Id, or so\") INCLUDE (note);
    CREATE TABLE with_nullable (code text); CREATE UNIQUE INDEX with_nullable_code ON with_nullable (code);
    CREATE TABLE with_constraint (code text NOT NULL UNIQUE);
    CREATE TABLE with_other_unique (id int NOT NULL, code text); CREATE UNIQUE INDEX ON with_other_unique (id DESC);
    CREATE UNIQUE INDEX ON with_other_unique (code) WHERE id > 1; CREATE UNIQUE INDEX ON with_other_unique (lower(code));
    CREATE TABLE parted (id int, \"Day\" int NOT NULL) PARTITION BY RANGE (\"Day\");
    CREATE TABLE parted_1 PARTITION OF parted FOR VALUES FROM (1) TO (10); INSERT INTO parted VALUES (1, 2), (1, 2);
    CREATE TABLE parent (id int); CREATE TABLE heir (more int) INHERITS (parent); INSERT INTO parent VALUES (1), (1); INSERT INTO heir VALUES (1), (1);
    CREATE UNLOGGED TABLE unlogged (note text);
    CREATE TABLE by_expression (id int, code text) PARTITION BY HASH (lower(code));
";

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_table_gets_a_primary_key_whatever_it_has_already() {
    let (tasks, _stop) = runtime_tasks();
    let server = postgres(&tasks).await;
    let setup = session(&server).await;
    setup.run(KEYLESS).await.unwrap();
    let agent = watch(&server, SETTINGS, &["postgres-maintenance"]).await;
    let cures: [(&str, &[&str], &str); 10] = [
        ("plain", &["ALTER TABLE"], "\"id\" bigint GENERATED"),
        ("with_id", &["ALTER TABLE"], "\"row_number\" bigint GENERATED"),
        ("with_unique", &["ALTER TABLE"], "USING INDEX \"with_unique_id\""),
        ("with_nullable", &["SELECT count(*)", "ALTER TABLE"], "USING INDEX \"with_nullable_code\""),
        ("with_constraint", &["ALTER TABLE"], "ADD PRIMARY KEY (code)"),
        ("with_other_unique", &["ALTER TABLE"], "\"row_id\" bigint GENERATED"),
        (
            "parted",
            &["ALTER TABLE \"public\".\"parted\" ADD COLUMN", "ALTER TABLE \"public\".\"parted\" ADD PRIMARY KEY"],
            "(\"row_id\", \"Day\")",
        ),
        ("heir", &["ALTER TABLE"], "\"row_id\" bigint GENERATED"),
        ("parent", &["ALTER TABLE"], "bigserial PRIMARY KEY"),
        ("unlogged", &["ALTER TABLE"], "\"id\" bigint GENERATED"),
    ];
    for (relation, chosen, with) in cures {
        let alert = fires(&agent, "no-primary-key", &[("relation", relation)], with).await;
        cure(&agent, &setup, &alert, chosen).await;
    }
    let alert = fires(&agent, "no-primary-key", &[("relation", "by_expression")], "divided by an expression").await;
    assert_eq!(statements(&alert), Vec::<String>::new(), "nothing that would fail");
    let facts = agent.json("/api/database/indexes?fact=no-primary-key").await;
    assert!(item(&facts, "relation", "parted_1").is_none(), "{facts:#}");
    agent.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_foreign_key_gets_its_index_and_a_sequence_its_numbers() {
    let (tasks, _stop) = runtime_tasks();
    let server = postgres(&tasks).await;
    let setup = session(&server).await;
    setup
        .run(
            "CREATE TABLE parent (a int, b int, PRIMARY KEY (a, b));
             CREATE TABLE child (id int PRIMARY KEY, \"a, b\" int, \"B\" int, FOREIGN KEY (\"a, b\", \"B\") REFERENCES parent);
             INSERT INTO child SELECT g FROM generate_series(1, 1000) g;
             CREATE SEQUENCE falling INCREMENT -1 MINVALUE -1000 MAXVALUE -1; SELECT setval('falling', -950);
             CREATE DOMAIN number AS int; CREATE DOMAIN \"order number\" AS number CHECK (VALUE > 0);
             CREATE SEQUENCE orders_id; CREATE TABLE orders (id \"order number\" DEFAULT nextval('orders_id')); SELECT setval('orders_id', 2100000000);
             CREATE TABLE tickets (id smallint GENERATED ALWAYS AS IDENTITY); SELECT setval('tickets_id_seq', 32000);
             CREATE SEQUENCE few MAXVALUE 100; CREATE TABLE capped (id int DEFAULT nextval('few')); SELECT setval('few', 99);
             CREATE SEQUENCE narrow AS smallint; CREATE TABLE wide (id bigint DEFAULT nextval('narrow')); SELECT setval('narrow', 32000);
             CREATE SEQUENCE ring MAXVALUE 100 CYCLE; SELECT setval('ring', 99);
             CREATE SEQUENCE down INCREMENT -1; CREATE TABLE sinking (id int DEFAULT nextval('down')); SELECT setval('down', -2100000000);
             CREATE TABLE old (id int NOT NULL, day int); CREATE TABLE parted (id serial, day int) PARTITION BY RANGE (day);
             ALTER TABLE old ALTER id SET DEFAULT nextval('parted_id_seq'); ALTER TABLE parted ATTACH PARTITION old FOR VALUES FROM (1) TO (9);
             SELECT setval('parted_id_seq', 2100000000);
             GRANT SELECT ON ALL SEQUENCES IN SCHEMA public TO pharos",
        )
        .await
        .unwrap();
    setup.run("ANALYZE child").await.unwrap();
    let agent = watch(&server, SETTINGS, &["postgres-maintenance"]).await;
    let alert = fires(&agent, "foreign-key-without-index", &[("relation", "child")], "(\"a, b\", \"B\")").await;
    cure(&agent, &setup, &alert, &["CREATE INDEX"]).await;
    let column_first: &[&str] = &["ALTER TABLE", "ALTER SEQUENCE"];
    let cures: [(&str, &[&str], &str); 7] = [
        ("falling", &["ALTER SEQUENCE"], "NO MINVALUE"),
        ("orders_id", column_first, "orders"),
        ("tickets_id_seq", column_first, "tickets"),
        ("few", &["ALTER SEQUENCE"], "NO MAXVALUE"),
        ("narrow", &["ALTER SEQUENCE"], "AS bigint"),
        ("down", column_first, "NO MINVALUE"),
        ("parted_id_seq", column_first, "\"public\".\"parted\""),
    ];
    for (sequence, chosen, with) in cures {
        let alert = fires(&agent, "sequence-exhausted", &[("sequence", sequence)], with).await;
        cure(&agent, &setup, &alert, chosen).await;
    }
    ends(&agent, "sequence-exhausted", &[("sequence", "ring")]).await;
    agent.stop().await;
}
