//! The log of a start names every server, and no grant that is not needed.
//!
//! Covers the log of a start.

use crate::fixture::program::{Running, command};
use crate::fixture::{postgres, postgres_config, redis, redis_config, runtime_tasks, server_id};

fn start(folder: &std::path::Path, more: &str) -> Running {
    let config = folder.join("pharos.toml");
    std::fs::write(&config, format!("[agent]\ndata_dir = \"data\"\n[http]\nlisten = \"127.0.0.1:0\"\n{more}")).unwrap();
    Running::logging(command(&["run", "--config", config.to_str().unwrap()]))
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn every_server_is_named_with_its_version_where_the_agent_first_reaches_it() {
    let (tasks, _stop) = runtime_tasks();
    let (server, cache) = (postgres(&tasks).await, redis(&tasks).await);
    let folder = tempfile::tempdir().unwrap();
    let mut agent = start(folder.path(), &format!("{}{}", postgres_config("app", &server), redis_config("cache", &[&cache])));
    let mut seen = Vec::new();
    for port in [server.port(), cache.port()] {
        let expected = format!("connected to `{}`", server_id(port));
        let line = match seen.iter().find(|line: &&String| line.contains(&expected)) {
            Some(line) => line.clone(),
            None => {
                seen.extend(agent.lines_to(&expected).await);
                seen.last().cloned().unwrap_or_default()
            }
        };
        let version = line.split("version=\"").nth(1).unwrap_or_else(|| panic!("no version in {line}"));
        assert!(version.starts_with(|first: char| first.is_ascii_digit()), "{line}");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_missing_grant_is_reported_only_if_a_receiver_needs_it() {
    let folder = tempfile::tempdir().unwrap();
    let log = start(folder.path(), "").lines_to("`redis-essentials` ").await;
    assert!(log.iter().any(|line| line.contains("`email` ")) && log.iter().any(|line| line.contains("`webhook` ")), "{log:#?}");
    assert!(!log.iter().any(|line| line.contains("has no grant")), "{log:#?}");
    // If a receiver uses it, the start reports that and ends. The first agent may not have left its folder yet.
    let folder = tempfile::tempdir().unwrap();
    let mail = "[relay.office]\nhost = \"mail.example.com\"\nfrom = \"a@example.com\"\n[[receiver]]\nname = \"dba\"\nplugin = \"email\"\n\
                settings = { relay = \"office\", to = [\"b@example.com\"] }\n[[route]]\nreceiver = \"dba\"\n";
    let (code, log) = start(folder.path(), mail).end().await;
    assert!(code == Some(78) && log.iter().any(|line| line.contains("is not granted")), "{log:#?}");
}
