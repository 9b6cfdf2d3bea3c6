//! No cure leaves its table or extension as it was.
//!
//! Tables that autovacuum leaves out, and extensions.

use super::{cure, fires, session, watch};
use crate::fixture::{postgres, runtime_tasks};

const SETTINGS: &str = r#"
    [plugin.postgres-essentials.settings.checks]
    extensions-outdated = { for = "0s" }
    [plugin.postgres-maintenance.settings.checks]
    autovacuum-disabled = { for = "0s" }
"#;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_table_gets_autovacuum_back_and_an_extension_its_version() {
    let (tasks, _stop) = runtime_tasks();
    let server = postgres(&tasks).await;
    let setup = session(&server).await;
    setup.run("DROP EXTENSION pg_stat_statements").await.unwrap();
    setup.run("CREATE EXTENSION pg_stat_statements VERSION '1.8'").await.unwrap();
    // Large enough that its vacuum matters.
    let large = "CREATE TABLE \"Large one\" WITH (autovacuum_enabled = off) AS SELECT repeat('x', 1000) FROM generate_series(1, 120000)";
    setup.run(large).await.unwrap();
    let agent = watch(&server, SETTINGS, &["postgres-essentials", "postgres-maintenance"]).await;
    let alert = fires(&agent, "extensions-outdated", &[], "").await;
    cure(&agent, &setup, &alert, &["ALTER EXTENSION"]).await;
    let alert = fires(&agent, "autovacuum-disabled", &[("relation", "Large one")], "").await;
    cure(&agent, &setup, &alert, &["ALTER TABLE"]).await;
    agent.stop().await;
}
