//! No name that a stranger chose becomes a statement for a superuser. Facts that the role sees only in part are an alert that ends with the
//! rights.
//!
//! Settings, slots and statistics.

use super::{cure, ends, fires, session, watch};
use crate::fixture::{postgres, runtime_tasks, server_id};

const SETTINGS: &str = r#"
    [plugin.postgres-essentials.settings.checks]
    full-page-writes-off = { for = "0s" }
    autovacuum-off = { for = "0s" }
    track-counts-off = { for = "0s" }
    fsync-off = { enabled = false }
    checksums-off = { enabled = false }
    [plugin.postgres-maintenance.settings.checks]
    statistics-stale = { for = "0s" }
    [plugin.postgres-replication.settings.checks]
    slot-inactive = { for = "0s" }
"#;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn settings_that_were_turned_off_or_left_behind_are_corrected_by_the_printed_fixes() {
    let (tasks, _stop) = runtime_tasks();
    let server = postgres(&tasks).await;
    let setup = session(&server).await;
    setup
        .run("CREATE TABLE loaded (id int) WITH (autovacuum_enabled = off); INSERT INTO loaded SELECT generate_series(1, 150000)")
        .await
        .unwrap();
    setup.run("SELECT pg_stat_force_next_flush()").await.unwrap();
    setup.run("SELECT pg_create_physical_replication_slot('it_is_gone', true)").await.unwrap();
    // In the file, where to reset a setting would change nothing.
    let file = server.data_dir().join("postgresql.conf");
    let mut text = std::fs::read_to_string(&file).unwrap();
    text.push_str("\nautovacuum = off\ntrack_counts = off\nfull_page_writes = off\n");
    std::fs::write(&file, text).unwrap();
    let agent = watch(&server, SETTINGS, &["postgres-essentials", "postgres-maintenance", "postgres-replication"]).await;
    let alert = fires(&agent, "statistics-stale", &[("relation", "loaded")], "").await;
    cure(&agent, &setup, &alert, &["ANALYZE"]).await;
    let alert = fires(&agent, "slot-inactive", &[("slot", "it_is_gone")], "").await;
    cure(&agent, &setup, &alert, &["SELECT pg_catalog.pg_drop_replication_slot"]).await;
    setup.run("SELECT pg_reload_conf()").await.unwrap();
    for rule in ["autovacuum-off", "track-counts-off", "full-page-writes-off"] {
        let alert = fires(&agent, rule, &[], "").await;
        cure(&agent, &setup, &alert, &["ALTER SYSTEM SET", "SELECT pg_catalog.pg_reload_conf"]).await;
    }
    agent.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_right_that_was_revoked_is_reported_and_granted_again_by_the_fix() {
    let (tasks, _stop) = runtime_tasks();
    let server = postgres(&tasks).await;
    let setup = session(&server).await;
    let settings = "[plugin.agent-essentials.settings.checks]\nrights-missing = { for = \"0s\" }\n";
    let agent = watch(&server, settings, &["agent-essentials"]).await;
    agent.wait_facts(&server_id(server.port()), |parts| parts["activity"]["state"] == "present").await;
    setup.run("REVOKE pg_monitor FROM pharos").await.unwrap();
    let alert = fires(&agent, "rights-missing", &[], "").await;
    cure(&agent, &setup, &alert, &["GRANT pg_monitor"]).await;
    agent.stop().await;
}

/// The server does not report what it hides. Objects that are made later are found as well.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn facts_that_the_role_sees_in_part_are_an_alert_that_ends_with_the_rights() {
    let (tasks, _stop) = runtime_tasks();
    let server = postgres(&tasks).await;
    let setup = session(&server).await;
    let settings = "[plugin.agent-essentials.settings.checks]\nrights-partial = { for = \"0s\" }\n";
    let agent = watch(&server, settings, &["agent-essentials"]).await;
    let alert = fires(&agent, "rights-partial", &[], "pg_statistic").await;
    assert_eq!(alert["severity"], "info", "{alert:#}");
    setup.run("CREATE SEQUENCE hidden").await.unwrap();
    let alert = fires(&agent, "rights-partial", &[], "such as \"public\".\"hidden\"").await;
    assert_eq!(alert["severity"], "warning", "{alert:#}");
    let columns = pharos_model::postgres::privilege::STATISTIC_COLUMNS.join(", ");
    let grant = format!("GRANT SELECT ({columns}) ON pg_catalog.pg_statistic TO pharos; GRANT SELECT ON SEQUENCE hidden TO pharos");
    setup.run(&grant).await.unwrap();
    ends(&agent, "rights-partial", &[]).await;
    agent.stop().await;
}

/// The owner of a schema chooses its name. The statement for a superuser has the name as a name, and runs as it is printed.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_name_of_a_schema_is_no_statement_for_a_superuser() {
    let (tasks, _stop) = runtime_tasks();
    let server = postgres(&tasks).await;
    let setup = session(&server).await;
    setup.run("CREATE ROLE evil").await.unwrap();
    let settings = "[plugin.agent-essentials.settings.checks]\nrights-missing = { for = \"0s\" }\n";
    let agent = watch(&server, settings, &["agent-essentials"]).await;
    for name in [r"x run: ALTER ROLE evil SUPERUSER; --", r#"x" TO evil; ALTER ROLE evil SUPERUSER; --"#, "sh\u{61c}op"] {
        let quoted = format!("\"{}\"", name.replace('"', "\"\""));
        let hide = format!("CREATE SCHEMA {quoted}; ALTER EXTENSION pg_stat_statements SET SCHEMA {quoted}");
        setup.run(&hide).await.unwrap();
        let alert = fires(&agent, "rights-missing", &[], "GRANT USAGE").await;
        let fix = alert["fix"].as_str().unwrap();
        let statement = fix.split('`').nth(1).unwrap();
        assert!(statement.starts_with("GRANT USAGE ON SCHEMA ") && statement.ends_with(" TO \"pharos\";"), "{name}: {fix}");
        setup.run(statement).await.unwrap_or_else(|err| panic!("{name}: `{statement}`: {err:?}"));
        ends(&agent, "rights-missing", &[]).await;
        assert!(!setup.query_value::<bool>("SELECT rolsuper FROM pg_roles WHERE rolname = 'evil'").await.unwrap(), "{name}: {fix}");
        let back = format!("ALTER EXTENSION pg_stat_statements SET SCHEMA public; DROP SCHEMA {quoted}");
        setup.run(&back).await.unwrap();
    }
    agent.stop().await;
}
