//! Disks and the archive: the way back is a person's work, and the alert ends with it.

use std::io::{Seek, SeekFrom, Write};

use pharos::demo::postgres::{PostgresOptions, ShutdownMode};

use super::{ends, fires, session, statements, watch};
use crate::fixture::{eventually, postgres_with, runtime_tasks};
use crate::versions;

const SETTINGS: &str = r#"
    [plugin.postgres-essentials.settings.checks]
    archive-failing = { for = "0s", warning = 1, critical = 3600 }
    checksum-failure = { for = "0s" }
"#;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_archive_that_fails_is_told_and_ends_when_it_takes_wal_again() {
    let (tasks, _stop) = runtime_tasks();
    let settings = [("archive_mode", "on"), ("archive_command", "false"), ("archive_timeout", "1s")];
    let settings = settings.map(|(name, value)| (name.to_owned(), value.to_owned())).to_vec();
    let server = postgres_with(PostgresOptions { settings, ..PostgresOptions::default() }, &tasks).await;
    let setup = session(&server).await;
    setup.run("SELECT pg_switch_wal()").await.unwrap();
    let agent = watch(&server, SETTINGS, &["postgres-essentials"]).await;
    let alert = fires(&agent, "archive-failing", &[], "archive_command").await;
    for statement in statements(&alert) {
        setup.run(&statement).await.unwrap_or_else(|err| panic!("`{statement}`: {err:?}"));
    }
    setup.run("ALTER SYSTEM SET archive_command = 'true'").await.unwrap();
    setup.run("SELECT pg_reload_conf()").await.unwrap();
    ends(&agent, "archive-failing", &[]).await;
    agent.stop().await;
}

/// PostgreSQL 18 has checksums as it comes.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_page_that_the_disk_changed_is_told_until_it_is_repaired_and_its_counts_are_reset() {
    let (tasks, _stop) = runtime_tasks();
    let mut server = versions::start(&versions::versions(), 18, &tasks).await;
    let setup = session(&server).await;
    setup.run("CREATE TABLE torn AS SELECT generate_series(1, 10000) AS id").await.unwrap();
    let file: String = setup.ask("SELECT pg_relation_filepath('torn')").await.unwrap();
    drop(setup);
    server.stop(ShutdownMode::Fast).await.unwrap();
    let mut pages = std::fs::OpenOptions::new().write(true).open(server.data_dir().join(file)).unwrap();
    pages.seek(SeekFrom::Start(8192 + 4000)).unwrap();
    pages.write_all(b"what the disk made of it").unwrap();
    drop(pages);
    server.restart().await.unwrap();
    let setup = session(&server).await;
    setup.run("SELECT count(*) FROM torn").await.expect_err("the page is not what was written");
    eventually(&setup, "SELECT checksum_failures > 0 FROM pg_stat_database WHERE datname = current_database()").await;
    let agent = watch(&server, SETTINGS, &["postgres-essentials"]).await;
    let alert = fires(&agent, "checksum-failure", &[("datname", "postgres")], "pg_stat_reset").await;
    assert_eq!(alert["severity"], "critical", "{alert:#}");
    // A crash takes the statistics and mends no page.
    drop(setup);
    server.stop(ShutdownMode::Immediate).await.unwrap();
    server.restart().await.unwrap();
    let setup = session(&server).await;
    eventually(&setup, "SELECT checksum_failures IS NOT DISTINCT FROM 0 FROM pg_stat_database WHERE datname = current_database()").await;
    let stands_still = |alert: &serde_json::Value| {
        let why = alert["frozen"].as_str().unwrap_or_default();
        alert["rule"] == "checksum-failure" && alert["state"] == "firing" && why.contains("lost its statistics")
    };
    agent.wait_json("/api/alerts", |answer| answer["items"].as_array().is_some_and(|items| items.iter().any(stands_still))).await;
    // The repair: here the table can go.
    setup.run("DROP TABLE torn").await.unwrap();
    for statement in statements(&alert) {
        setup.run(&statement).await.unwrap_or_else(|err| panic!("`{statement}`: {err:?}"));
    }
    ends(&agent, "checksum-failure", &[]).await;
    agent.stop().await;
}
