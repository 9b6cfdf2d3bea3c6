//! No alert about a disk or the archive outlives its trouble.
//!
//! Disks and the archive: the way back is a person's work, and the alert ends with it.

use std::io::{Seek, SeekFrom, Write};

use pharos::demo::postgres::{PostgresOptions, ShutdownMode};

use super::{ends, fires, session, statements, watch};
use crate::fixture::{TestAgent, eventually, postgres_config, postgres_with, runtime_tasks, server_id, shipped};
use crate::versions;

const SETTINGS: &str = r#"
    [plugin.postgres-essentials.settings.checks]
    archive-failing = { for = "0s", warning = 1, critical = 3600 }
    checksum-failure = { for = "0s" }
"#;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_failing_archive_is_reported_until_it_accepts_wal_again() {
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

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_page_that_the_disk_changed_is_reported_until_it_is_repaired_and_its_counts_are_reset() {
    a_torn_page_is_reported_until_its_counts_are_reset(18).await;
}

/// There each count has a time of its beginning, be it a reset or a crash.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_page_that_the_disk_changed_is_reported_by_version_14_as_well() {
    a_torn_page_is_reported_until_its_counts_are_reset(14).await;
}

async fn a_torn_page_is_reported_until_its_counts_are_reset(major: u32) {
    let (tasks, _stop) = runtime_tasks();
    let options = PostgresOptions { has_checksums: true, ..PostgresOptions::default() };
    let mut server = versions::start_with(&versions::versions(), major, options, &tasks).await;
    let setup = session(&server).await;
    setup.run("CREATE TABLE torn AS SELECT generate_series(1, 10000) AS id").await.unwrap();
    let file: String = setup.query_value("SELECT pg_relation_filepath('torn')").await.unwrap();
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
    let config = format!("{SETTINGS}{}", postgres_config("app", &server));
    let plugins = || shipped().into_iter().filter(|(id, _)| id == "postgres-essentials").collect();
    let agent = TestAgent::start_with(&config, plugins()).await;
    let torn = [("datname", "postgres")];
    let alert = fires(&agent, "checksum-failure", &torn, "pg_stat_reset").await;
    assert_eq!(alert["severity"], "critical", "{alert:#}");
    // A crash resets the statistics but repairs no page.
    drop(setup);
    server.stop(ShutdownMode::Immediate).await.unwrap();
    server.restart().await.unwrap();
    let setup = session(&server).await;
    let is_anew =
        "SELECT checksum_failures IS NOT DISTINCT FROM 0 AND xact_commit > 0 FROM pg_stat_database WHERE datname = current_database()";
    eventually(&setup, is_anew).await;
    let still = fires(&agent, "checksum-failure", &torn, "before a crash").await;
    assert_eq!(still["since"], alert["since"], "{still:#}");
    let runs = format!("pharos_collect_runs_total{{server=\"{}\",collector=\"database\"}}", server_id(server.port()));
    let before = agent.wait_series(&runs, |_| true).await;
    agent.wait_series(&runs, |runs| runs >= before + 3.0).await;
    // Nor does a restart of the agent.
    let folder = agent.stop().await;
    let agent = TestAgent::start_in(folder, &config, plugins()).await;
    let before = agent.wait_series(&runs, |_| true).await;
    agent.wait_series(&runs, |runs| runs >= before + 3.0).await;
    let still = fires(&agent, "checksum-failure", &torn, "before a crash").await;
    assert_eq!(still["since"], alert["since"], "{still:#}");
    // The repair: here the table can go.
    setup.run("DROP TABLE torn").await.unwrap();
    for statement in statements(&alert) {
        setup.run(&statement).await.unwrap_or_else(|err| panic!("`{statement}`: {err:?}"));
    }
    ends(&agent, "checksum-failure", &[]).await;
    agent.stop().await;
}
